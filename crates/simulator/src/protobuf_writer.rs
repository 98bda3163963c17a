//! Reads and writes as much of protobuf's wire format as the simulated license server needs.

/// The value of one field.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ProtoValue<'a> {
    Bytes(&'a [u8]),
    Fixed,
    Varint(u64),
}

/// The last length-delimited field of that number; `None` if there is none or the message is broken.
pub(super) fn bytes(message: &[u8], number: u64) -> Option<&[u8]> {
    find(message, number).and_then(|value| match value {
        ProtoValue::Bytes(bytes) => Some(bytes),
        ProtoValue::Fixed | ProtoValue::Varint(_) => None,
    })
}

/// The last varint field of that number; `None` if there is none or the message is broken.
pub(super) fn varint(message: &[u8], number: u64) -> Option<u64> {
    find(message, number).and_then(|value| match value {
        ProtoValue::Varint(varint) => Some(varint),
        ProtoValue::Bytes(_) | ProtoValue::Fixed => None,
    })
}

pub(super) fn put_varint(out: &mut Vec<u8>, number: u64, value: u64) {
    raw_varint(out, number << 3);
    raw_varint(out, value);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u64, value: &[u8]) {
    raw_varint(out, number << 3 | 2);
    raw_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn find(mut message: &[u8], number: u64) -> Option<ProtoValue<'_>> {
    let mut found = None;
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            0 => ProtoValue::Varint(take_varint(&mut message)?),
            1 => take(&mut message, 8).map(|_| ProtoValue::Fixed)?,
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                ProtoValue::Bytes(take(&mut message, length)?)
            }
            5 => take(&mut message, 4).map(|_| ProtoValue::Fixed)?,
            _ => return None,
        };
        if tag >> 3 == number {
            found = Some(value);
        }
    }
    found
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let &[byte] = take(message, 1)? else { return None };
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_written_field_is_found(number in 1..500u64, value: u64, text in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut message = Vec::new();
            put_varint(&mut message, number, value);
            put_bytes(&mut message, number + 1, &text);
            prop_assert_eq!(varint(&message, number), Some(value));
            prop_assert_eq!(bytes(&message, number + 1), Some(text.as_slice()));
        }

        #[test]
        fn no_input_breaks_it(message in prop::collection::vec(any::<u8>(), 0..60), number in 0..20u64) {
            let _any = (bytes(&message, number), varint(&message, number));
        }
    }
}
