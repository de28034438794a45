use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use im_core::id::Uid;
use im_core::time::Timestamp;
use im_transport::jwt::{JwtIssuer, JwtSecret};

use crate::fault::Fault;
use crate::wire::Dialect;

/// How long tokens are good for: longer than any run.
const TOKEN_TTL: Duration = Duration::from_secs(24 * 3_600);

/// The users of a round, whom no other round has, and how they log in.
#[derive(Debug)]
pub(crate) struct Accounts {
    issuer: Option<JwtIssuer>,
    salt: u64,
}

impl Accounts {
    /// Users of a server that takes tokens signed with the secret in this file: hexadecimal digits, as `im-standalone` keeps it.
    pub(crate) fn with_secret(file: &Path) -> Result<Self, Fault> {
        let wrong = |why: &str| Fault::Environment(format!("the token secret {}: {why}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| wrong(&error.to_string()))?;
        let bytes = hex(text.trim()).ok_or_else(|| wrong("no hexadecimal digits"))?;
        let secret = JwtSecret::new(bytes).map_err(|error| wrong(&error.to_string()))?;
        Ok(Accounts { issuer: Some(JwtIssuer::new(&secret)), salt: salt() })
    }

    /// Users of a floor, which takes anyone.
    pub(crate) fn of_floor() -> Self {
        Accounts { issuer: None, salt: salt() }
    }

    /// What makes this round's ids differ from every other's.
    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    pub(crate) fn uid(&self, number: u32) -> String {
        format!("load-{:x}-{number}", self.salt)
    }

    /// The first frame of a user's link.
    pub(crate) fn login(&self, dialect: Dialect, number: u32, device: &str) -> Result<Vec<u8>, Fault> {
        let uid = self.uid(number);
        let token = match &self.issuer {
            Some(issuer) => token(issuer, &uid)?,
            None => String::new(),
        };
        Ok(dialect.login(number, &uid, &token, device))
    }
}

fn token(issuer: &JwtIssuer, uid: &str) -> Result<String, Fault> {
    let harness = |error: &dyn std::error::Error| Fault::Harness(format!("no token for {uid}: {error}"));
    let uid = Uid::new(uid).map_err(|error| harness(&error))?;
    let now = i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX);
    issuer.issue(&uid, Timestamp(now), TOKEN_TTL).map_err(|error| harness(&error))
}

/// Nanoseconds since 1970, which two rounds never share.
fn salt() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_digits() {
        assert_eq!(hex("00ff"), Some(vec![0, 255]));
        for wrong in ["0", "zz", "ü0"] {
            assert_eq!(hex(wrong), None);
        }
    }

    #[test]
    fn two_rounds_share_no_user() {
        assert_ne!(Accounts::of_floor().uid(1), Accounts::of_floor().uid(1));
    }
}
