//! Logins with JSON web tokens (RFC 7519).
//!
//! A token has the claims `sub`, the user, and `exp`, its end in whole seconds of UTC; others are not looked at.
//! Nothing but the one algorithm of the authenticator is accepted, whatever the token's header says.
//!
//! | the user centre signs with | feature | authenticator |
//! |---|---|---|
//! | a secret that it shares with the server (HS256) | `jwt` | [`JwtAuthenticator::new`] |
//! | a private key of its own (RS256, ES256) | `jwt-public-key` | `JwtAuthenticator::with_public_key` |
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

mod hs256;
#[cfg(feature = "jwt-public-key")]
mod public_key;
#[cfg(test)]
mod tests;

use std::fmt;

use async_trait::async_trait;
use im_core::id::Uid;
use im_core::ports::{AuthError, Authenticator, Credentials, Identity};
use im_core::time::Timestamp;
use serde::{Deserialize, Serialize};

use self::hs256::Hs256;
pub use self::hs256::{JwtIssuer, JwtSecret};
#[cfg(feature = "jwt-public-key")]
pub use self::public_key::JwtPublicKey;

/// Why there is no token, or no key.
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
    /// The text is not a public key of the expected kind.
    #[error("not a public key in PEM")]
    Key(#[source] jsonwebtoken::errors::Error),
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    exp: i64,
}

/// Why a token has no claims to believe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoClaims {
    /// A token of the right kind: the user centre may have another key.
    WrongSignature,
    NotOurs,
}

impl NoClaims {
    fn words(self) -> &'static str {
        match self {
            Self::WrongSignature => "the token's signature is wrong",
            Self::NotOurs => "the token is not one of ours",
        }
    }
}

/// Lets in whoever shows a token that is signed as expected and has not expired.
pub struct JwtAuthenticator(Verifier);

enum Verifier {
    Hs256(Hs256),
    #[cfg(feature = "jwt-public-key")]
    PublicKey(JwtPublicKey),
}

impl JwtAuthenticator {
    /// An authenticator for tokens signed with `secret`. An expired token has no leeway: the server gives the time.
    pub fn new(secret: &JwtSecret) -> Self {
        Self(Verifier::Hs256(Hs256::new(secret)))
    }

    /// An authenticator for tokens signed with the private half of `key`. An expired token has no leeway.
    #[cfg(feature = "jwt-public-key")]
    pub fn with_public_key(key: &JwtPublicKey) -> Self {
        Self(Verifier::PublicKey(key.clone()))
    }

    fn identity(&self, token: &str, now: Timestamp) -> Result<Identity, AuthError> {
        let claims = match &self.0 {
            Verifier::Hs256(key) => key.claims(token),
            #[cfg(feature = "jwt-public-key")]
            Verifier::PublicKey(key) => key.claims(token),
        };
        let claims = claims.map_err(|why| AuthError::Refused(why.words()))?;
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
