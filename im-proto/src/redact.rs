//! Debug output of the messages that carry a token, without it: requests end in logs.

use std::fmt;

use crate::v1::{AuthRequest, LogoutRequest};

/// Stands for a token, of which even the length is nobody's business.
struct Hidden;

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// The two messages have the same fields but are two types.
macro_rules! debug_without_token {
    ($($message:ident),*) => {$(
        impl fmt::Debug for $message {
            /// Shows every field but `token`.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let $message {
                    token: _,
                    uid,
                    timestamp,
                    device_id,
                    device_type,
                    heartbeat_seconds,
                    capabilities,
                } = self;
                f.debug_struct(stringify!($message))
                    .field("token", &Hidden)
                    .field("uid", uid)
                    .field("timestamp", timestamp)
                    .field("device_id", device_id)
                    .field("device_type", device_type)
                    .field("heartbeat_seconds", heartbeat_seconds)
                    .field("capabilities", capabilities)
                    .finish()
            }
        }
    )*};
}

debug_without_token!(AuthRequest, LogoutRequest);
