//! Reads the fields of one protobuf level, borrowed and bounded.
//!
//! This module knows the wire format and no message. It never allocates and never recurses: a caller reads a nested
//! message with another [`ProtobufFields`]. The Widevine reader uses it.

/// The bytes are not the expected message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct MalformedProtobuf;

/// Depth of nested groups that common parsers skip.
const GROUPS_MAX: u8 = 100;

/// Reads like the parsers of license servers. Anything that those skip or truncate is accepted here too, or an addition
/// that no server reads would hide a message from sidebeat alone.
pub(super) struct ProtobufFields<'a> {
    rest: &'a [u8],
}

#[derive(Clone, Copy)]
pub(super) enum WireValue<'a> {
    Bytes(&'a [u8]),
    /// A value of a wire type that no known field has: 32 or 64 bits, or a group.
    Other,
    Varint(u64),
}

impl<'a> ProtobufFields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field's number and value; `None` at a clean end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, WireValue<'a>)>, MalformedProtobuf> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let value = match wire_type {
            0 => WireValue::Varint(self.varint()?),
            1 => self.take(8).map(|_| WireValue::Other)?,
            2 => self.varint().and_then(|length| self.take(length)).map(WireValue::Bytes)?,
            3 => self.skip_group().map(|()| WireValue::Other)?,
            5 => self.take(4).map(|_| WireValue::Other)?,
            // The end of a group that did not begin, or an unknown type.
            _ => return Err(MalformedProtobuf),
        };
        Ok(Some((number, value)))
    }

    /// Number and wire type; parsers drop what does not fit into 32 bits.
    fn tag(&mut self) -> Result<(u32, u8), MalformedProtobuf> {
        let tag = self.varint()? & u64::from(u32::MAX);
        let number = u32::try_from(tag >> 3).map_err(|_| MalformedProtobuf)?;
        let wire_type = u8::try_from(tag & 7).map_err(|_| MalformedProtobuf)?;
        if number == 0 { Err(MalformedProtobuf) } else { Ok((number, wire_type)) }
    }

    /// No known message has groups, so a group is skipped, with those inside it.
    fn skip_group(&mut self) -> Result<(), MalformedProtobuf> {
        let mut open = 1;
        while open > 0 {
            match self.tag()?.1 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                3 if open < GROUPS_MAX => open += 1,
                4 => open -= 1,
                5 => drop(self.take(4)?),
                _ => return Err(MalformedProtobuf),
            }
        }
        Ok(())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], MalformedProtobuf> {
        let length = usize::try_from(length).map_err(|_| MalformedProtobuf)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(MalformedProtobuf)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, MalformedProtobuf> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(MalformedProtobuf)?;
            self.rest = rest;
            // Of the tenth byte only one bit fits; the others are dropped.
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(MalformedProtobuf)
    }
}

impl<'a> WireValue<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], MalformedProtobuf> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Other | Self::Varint(_) => Err(MalformedProtobuf),
        }
    }

    pub(super) fn varint(self) -> Result<u64, MalformedProtobuf> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) | Self::Other => Err(MalformedProtobuf),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(message: &[u8]) -> Result<usize, MalformedProtobuf> {
        let mut fields = ProtobufFields::of(message);
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
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 1),
            // Groups, empty and with others inside.
            (b"\x0b\x0c", 1),
            (b"\x0b\x08\x01\x13\x12\x01x\x14\x0c\x08\x01", 2),
            // A tag of more than 32 bits.
            (b"\x88\x80\x80\x80\xf0\x01\x04", 1),
        ] {
            assert_eq!(count(message), Ok(fields), "{message:02x?}");
        }
    }

    #[test]
    fn hostile_levels_are_malformed() {
        let deep = [0x0b].repeat(101);
        for message in [
            &b"\x08"[..],
            b"\x12\x05abc",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
            b"\x00\x01",
            b"\x0b",
            b"\x0c",
            b"\x0b\x08",
            b"\x0e\x01",
            b"\x0d123",
            &deep,
        ] {
            assert_eq!(count(message), Err(MalformedProtobuf), "{message:02x?}");
        }
        assert_eq!(count(&[8, 0].repeat(5_000)), Ok(5_000));
    }
}
