//! Reads the fields of one protobuf level, borrowed and bounded.
//!
//! Knows the wire format and no message. Never allocates, never recurses: whoever wants a nested
//! message walks its bytes with another [`Fields`]. Used by the Widevine and pssh readers.

/// The bytes are not the message that was looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// Fields of one level, repeated ones included. No license message met has half as many.
const FIELDS_MAX: u8 = 64;

pub(super) struct Fields<'a> {
    rest: &'a [u8],
    left: u8,
}

#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    /// 32 or 64 bits; no field that we read has this type.
    Fixed,
    Varint(u64),
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message, left: FIELDS_MAX }
    }

    /// The next field's number and value; `None` at a clean end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.left = self.left.checked_sub(1).ok_or(Malformed)?;
        let tag = u32::try_from(self.varint()?).map_err(|_| Malformed)?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        if number == 0 {
            return Err(Malformed);
        }
        let value = match wire_type {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => self.varint().and_then(|length| self.take(length)).map(Value::Bytes)?,
            5 => self.take(4).map(|_| Value::Fixed)?,
            // Groups are not used by any message, and 6 and 7 do not exist.
            _ => return Err(Malformed),
        };
        Ok(Some((number, value)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Malformed)?;
            self.rest = rest;
            // Of the tenth byte only one bit fits.
            if shift == 63 && byte > 1 {
                return Err(Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Fixed | Self::Varint(_) => Err(Malformed),
        }
    }

    pub(super) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) | Self::Fixed => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(message: &[u8]) -> Result<usize, Malformed> {
        let mut fields = Fields::of(message);
        let mut count = 0;
        while fields.next()?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn well_formed_levels_are_read_to_their_end() {
        for (message, fields) in [
            (&b""[..], 0),
            (b"\x08\x04", 1),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 1),
            (b"\x12\x00\x1a\x01x", 2),
            (b"\x0d1234\x0912345678", 2),
        ] {
            assert_eq!(count(message), Ok(fields), "{message:02x?}");
        }
    }

    #[test]
    fn hostile_levels_are_malformed() {
        let many = [8, 0].repeat(65);
        for message in [
            &b"\x08"[..],
            b"\x12\x05abc",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x00\x01",
            b"\x0b\x0c",
            b"\x0e\x01",
            b"\x0d123",
            &many,
        ] {
            assert_eq!(count(message), Err(Malformed), "{message:02x?}");
        }
        assert_eq!(count(&many[..128]), Ok(64));
    }
}
