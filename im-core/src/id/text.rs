use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use im_proto::{MAX_CLIENT_MSG_ID_LEN, MAX_DEVICE_ID_LEN, MAX_ROOM_ID_LEN, MAX_UID_LEN};

/// Why a text is not an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The id must have at least one byte.
    #[error("an id of this kind must not be empty")]
    Empty,
    /// The id is longer than the protocol allows.
    #[error("an id of {len} bytes is longer than the {max} allowed")]
    TooLong {
        /// Bytes given.
        len: usize,
        /// Most bytes allowed.
        max: usize,
    },
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $range:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the length and copies the text.
            ///
            /// # Errors
            /// [`IdError`] if the text is too short or too long.
            pub fn new(text: &str) -> Result<Self, IdError> {
                match text.len() {
                    len if ($range).contains(&len) => Ok(Self(text.into())),
                    0 => Err(IdError::Empty),
                    len => Err(IdError::TooLong { len, max: *($range).end() }),
                }
            }

            /// The id's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = IdError;
            fn try_from(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }
    };
}

text_id! {
    /// A user: 1 to 64 bytes of UTF-8, named by the integrator's user centre.
    Uid, 1..=MAX_UID_LEN
}
text_id! {
    /// A device of one user: at most 64 bytes. Empty for clients that do not name their device.
    DeviceId, 0..=MAX_DEVICE_ID_LEN
}
text_id! {
    /// The id that a client gives a message, unique for its sender: 1 to 64 bytes. A repeat with the same id is answered
    /// like the first.
    ClientMsgId, 1..=MAX_CLIENT_MSG_ID_LEN
}

text_id! {
    /// A room: 1 to 64 bytes of UTF-8, named by whoever enters it first.
    RoomId, 1..=MAX_ROOM_ID_LEN
}

impl Default for DeviceId {
    fn default() -> Self {
        Self(Arc::from(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_has_one_to_sixty_four_bytes() {
        assert_eq!(Uid::new(""), Err(IdError::Empty));
        assert!(Uid::new(&"x".repeat(64)).is_ok());
        assert_eq!(Uid::new(&"x".repeat(65)), Err(IdError::TooLong { len: 65, max: 64 }));
    }

    #[test]
    fn a_device_may_be_unnamed() {
        assert_eq!(DeviceId::new(""), Ok(DeviceId::default()));
    }
}
