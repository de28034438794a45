//! Logins with JSON web tokens (RFC 7519) signed with HMAC-SHA256, for user centres that share a secret with the server.
//!
//! A token has the claims `sub`, the user, and `exp`, its end in whole seconds of UTC; others are not looked at. Nothing but
//! HS256 is accepted, whatever the token's header says.
//!
//! ```
//! use std::time::Duration;
//! use im_core::id::Uid;
//! use im_core::time::Timestamp;
//! use im_transport::jwt::{JwtAuthenticator, JwtIssuer, JwtSecret};
//!
//! let secret = JwtSecret::new(b"at least thirty-two random bytes")?;
//! let token = JwtIssuer::new(&secret).issue(&Uid::new("alice")?, Timestamp(0), Duration::from_secs(3_600))?;
//! let _authenticator = JwtAuthenticator::new(&secret); // for Server::builder().authenticator(…)
//! assert_eq!(token.split('.').count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use im_core::id::Uid;
use im_core::ports::{AuthError, Authenticator, Credentials, Identity};
use im_core::time::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

/// Why there is no token.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// The secret is shorter than the hash that it keys (RFC 7518 §3.2).
    #[error("a secret of {len} bytes is shorter than the {} that HS256 needs", JwtSecret::MIN_LEN)]
    ShortSecret {
        /// Bytes given.
        len: usize,
    },
    /// The token could not be signed.
    #[error("the token cannot be signed")]
    Signing(#[source] jsonwebtoken::errors::Error),
}

/// What the server and the user centre share.
#[derive(Clone)]
pub struct JwtSecret(Vec<u8>);

impl JwtSecret {
    /// The shortest secret in bytes: as long as the hash.
    pub const MIN_LEN: usize = 32;

    /// Takes random bytes; a password is not random.
    ///
    /// # Errors
    /// [`JwtError::ShortSecret`].
    pub fn new(secret: impl Into<Vec<u8>>) -> Result<Self, JwtError> {
        let secret = secret.into();
        if secret.len() < Self::MIN_LEN {
            return Err(JwtError::ShortSecret { len: secret.len() });
        }
        Ok(Self(secret))
    }
}

impl fmt::Debug for JwtSecret {
    /// Leaves the bytes out, so that they get into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSecret").finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
}

/// Lets in whoever shows a token that is signed with the secret and has not expired.
pub struct JwtAuthenticator {
    key: DecodingKey,
    validation: Validation,
}

impl JwtAuthenticator {
    /// An authenticator for tokens signed with `secret`. An expired token has no leeway: the server gives the time.
    pub fn new(secret: &JwtSecret) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_required_spec_claims(&["sub", "exp"]);
        // The time is an argument here; see `identity`.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { key: DecodingKey::from_secret(&secret.0), validation }
    }

    fn identity(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = decoded.map_err(|_| AuthError::Refused("the token is not one of ours"))?.claims;
        let uid = Uid::new(&claims.sub).map_err(|_| AuthError::Refused("the token names no user"))?;
        let expires_at = Timestamp(claims.exp.saturating_mul(1_000));
        if expires_at <= now {
            return Err(AuthError::Refused("the token has expired"));
        }
        Ok(Identity { uid, expires_at: Some(expires_at) })
    }
}

#[async_trait]
impl Authenticator for JwtAuthenticator {
    async fn authenticate(&self, credentials: &Credentials, now: Timestamp) -> Result<Identity, AuthError> {
        self.identity(&credentials.token, now)
    }
}

impl fmt::Debug for JwtAuthenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtAuthenticator").finish_non_exhaustive()
    }
}

/// Makes tokens that a [`JwtAuthenticator`] with the same secret takes.
pub struct JwtIssuer {
    key: EncodingKey,
}

impl JwtIssuer {
    /// An issuer that signs with `secret`.
    pub fn new(secret: &JwtSecret) -> Self {
        Self { key: EncodingKey::from_secret(&secret.0) }
    }

    /// A token for `uid` that ends `ttl` after `now`, to the second below.
    ///
    /// # Errors
    /// [`JwtError::Signing`].
    pub fn issue(&self, uid: &Uid, now: Timestamp, ttl: Duration) -> Result<String, JwtError> {
        let claims = Claims { sub: uid.as_str().to_owned(), exp: (now + ttl).0 / 1_000 };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.key).map_err(JwtError::Signing)
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn secret(byte: u8) -> JwtSecret {
        JwtSecret::new([byte; 32]).unwrap()
    }

    fn token_of(user: &str) -> String {
        JwtIssuer::new(&secret(1)).issue(&Uid::new(user).unwrap(), NOW, HOUR).unwrap()
    }

    fn refused(token: &str, now: Timestamp) -> &'static str {
        match JwtAuthenticator::new(&secret(1)).identity(token, now).unwrap_err() {
            AuthError::Refused(why) => why,
            other => panic!("{other}"),
        }
    }

    /// A token over any claims, with any HMAC.
    fn signed(algorithm: Algorithm, claims: &serde_json::Value) -> String {
        let key = EncodingKey::from_secret(&[1; 32]);
        jsonwebtoken::encode(&Header::new(algorithm), claims, &key).unwrap()
    }

    #[test]
    fn a_token_names_its_user_and_its_end() {
        let identity = JwtAuthenticator::new(&secret(1)).identity(&token_of("alice"), NOW).unwrap();
        let uid = Uid::new("alice").unwrap();
        assert_eq!(identity, Identity { uid, expires_at: Some(Timestamp(4_600_000)) });
    }

    #[test]
    fn a_token_ends_to_the_millisecond() {
        let authenticator = JwtAuthenticator::new(&secret(1));
        assert!(authenticator.identity(&token_of("alice"), Timestamp(4_599_999)).is_ok());
        assert_eq!(refused(&token_of("alice"), Timestamp(4_600_000)), "the token has expired");
    }

    #[test]
    fn a_token_signed_with_another_secret_is_refused() {
        let forged = JwtIssuer::new(&secret(2)).issue(&Uid::new("alice").unwrap(), NOW, HOUR).unwrap();
        assert_eq!(refused(&forged, NOW), "the token is not one of ours");
    }

    #[test]
    fn claims_put_under_another_tokens_signature_are_refused() {
        let (alice, bob) = (token_of("alice"), token_of("bob"));
        let alice: Vec<&str> = alice.split('.').collect();
        let bob: Vec<&str> = bob.split('.').collect();
        let mixed = [alice[0], bob[1], alice[2]].join(".");
        assert_eq!(refused(&mixed, NOW), "the token is not one of ours");
    }

    #[test]
    fn another_algorithm_is_refused_even_with_our_secret() {
        let claims = serde_json::json!({ "sub": "alice", "exp": 9_999_999_999_i64 });
        for algorithm in [Algorithm::HS384, Algorithm::HS512] {
            assert_eq!(refused(&signed(algorithm, &claims), NOW), "the token is not one of ours");
        }
    }

    #[test]
    fn a_token_that_says_it_needs_no_signature_is_refused() {
        // {"alg":"none","typ":"JWT"}
        let header = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
        let alice = token_of("alice");
        let parts: Vec<&str> = alice.split('.').collect();
        for signature in ["", parts[2]] {
            let unsigned = [header, parts[1], signature].join(".");
            assert_eq!(refused(&unsigned, NOW), "the token is not one of ours");
        }
    }

    #[test]
    fn a_token_without_an_end_or_without_a_user_is_refused() {
        let endless = signed(Algorithm::HS256, &serde_json::json!({ "sub": "alice" }));
        assert_eq!(refused(&endless, NOW), "the token is not one of ours");
        let nobody = signed(Algorithm::HS256, &serde_json::json!({ "sub": "", "exp": 9_999_999_999_i64 }));
        assert_eq!(refused(&nobody, NOW), "the token names no user");
    }

    #[test]
    fn an_end_that_overflows_is_far_away_and_one_before_1970_is_none() {
        let far = signed(Algorithm::HS256, &serde_json::json!({ "sub": "alice", "exp": i64::MAX }));
        assert!(JwtAuthenticator::new(&secret(1)).identity(&far, NOW).is_ok());
        let past = signed(Algorithm::HS256, &serde_json::json!({ "sub": "alice", "exp": i64::MIN }));
        assert_eq!(refused(&past, NOW), "the token is not one of ours");
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in ["", ".", "..", "a.b.c", "....", "\0", "eyJhbGciOiJIUzI1NiJ9.e30.", "ü.ü.ü"] {
            assert_eq!(refused(garbage, NOW), "the token is not one of ours");
        }
        assert_eq!(refused(&"x".repeat(8_192), NOW), "the token is not one of ours");
    }

    #[test]
    fn a_short_secret_is_refused_and_none_is_shown() {
        assert!(matches!(JwtSecret::new([0; 31]), Err(JwtError::ShortSecret { len: 31 })));
        assert_eq!(format!("{:?}", secret(7)), "JwtSecret { .. }");
    }
}
