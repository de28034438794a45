/// The fields of a protobuf message, in the order they come, without a copy. It ends early where the message is garbled;
/// [`whole`](Self::whole) tells.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    garbled: bool,
}

/// A field's value, of the two wire types that the protocol has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// A varint.
    Number(i64),
    /// Bytes, a string or a message.
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Fields { rest: message, garbled: false }
    }

    /// Whether everything up to here was well formed.
    pub(crate) fn whole(&self) -> bool {
        !self.garbled
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?.cast_signed()),
            2 => {
                let len = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.rest.split_at_checked(len)?;
                self.rest = rest;
                Value::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() || self.garbled {
            return None;
        }
        let field = self.field();
        self.garbled = field.is_none();
        field
    }
}

#[cfg(test)]
mod tests {
    use im_proto::v1::C2cPush;
    use prost::Message as _;

    use super::*;

    #[test]
    fn fields_come_as_prost_wrote_them() {
        let push = C2cPush { from: "alice".into(), version: -1, ..C2cPush::default() };
        let body = push.encode_to_vec();
        let fields: Vec<_> = Fields::of(&body).collect();
        assert_eq!(fields, [(1, Value::Bytes(b"alice")), (10, Value::Number(-1))]);
    }

    #[test]
    fn a_message_that_breaks_off_is_garbled() {
        for broken in [&b"\x0a\x05abc"[..], b"\x08", b"\x08\xff", b"\x0d\0\0\0\0"] {
            let mut fields = Fields::of(broken);
            assert_eq!(fields.next(), None);
            assert!(!fields.whole(), "{broken:?}");
        }
    }
}
