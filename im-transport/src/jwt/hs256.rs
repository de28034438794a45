//! HS256: the server and the user centre share a secret.
//!
//! The token's form (RFC 7515 §3.1) and its claims are read by `jsonwebtoken`; its signature is checked by `hmac`,
//! because any of the former's back ends would bring dozens of crates for one hash.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use im_core::id::Uid;
use im_core::time::Timestamp;
use jsonwebtoken::dangerous::insecure_decode;
use jsonwebtoken::{Algorithm, decode_header};
use sha2::Sha256;

use super::{Claims, JwtError, NoClaims};

/// The header of every token that is made here: `{"alg":"HS256","typ":"JWT"}`.
const HEADER: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";

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

/// The hash, keyed: cloned for each token, so that the key is scheduled once.
pub(super) struct Hs256(Hmac<Sha256>);

impl Hs256 {
    pub(super) fn new(secret: &JwtSecret) -> Self {
        let keyed = Hmac::new_from_slice(&secret.0);
        // RFC 2104 §2: longer keys are hashed, shorter ones padded.
        Self(keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length")))
    }

    /// The claims of a token with our signature. The signature is checked before anything of the token is read.
    pub(super) fn claims(&self, token: &str) -> Result<Claims, NoClaims> {
        if !self.signed(token) {
            let is_alike = decode_header(token).is_ok_and(|header| header.alg == Algorithm::HS256);
            return Err(if is_alike { NoClaims::WrongSignature } else { NoClaims::NotOurs });
        }
        let token = insecure_decode::<Claims>(token).map_err(|_| NoClaims::NotOurs)?;
        if token.header.alg == Algorithm::HS256 { Ok(token.claims) } else { Err(NoClaims::NotOurs) }
    }

    fn signed(&self, token: &str) -> bool {
        let Some((message, signature)) = token.rsplit_once('.') else { return false };
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
        // Takes as long for each signature that is wrong.
        self.over(message).verify_slice(&signature).is_ok()
    }

    fn over(&self, message: &str) -> Hmac<Sha256> {
        self.0.clone().chain_update(message)
    }
}

/// Makes tokens that a [`JwtAuthenticator`](super::JwtAuthenticator) with the same secret takes.
pub struct JwtIssuer(Hs256);

impl JwtIssuer {
    /// An issuer that signs with `secret`.
    pub fn new(secret: &JwtSecret) -> Self {
        Self(Hs256::new(secret))
    }

    /// A token for `uid` that ends `ttl` after `now`, to the second below.
    ///
    /// # Errors
    /// [`JwtError::Signing`].
    pub fn issue(&self, uid: &Uid, now: Timestamp, ttl: Duration) -> Result<String, JwtError> {
        let claims = Claims { sub: uid.as_str().to_owned(), exp: (now + ttl).0 / 1_000 };
        let claims = serde_json::to_vec(&claims).map_err(|failure| JwtError::Signing(failure.into()))?;
        let message = format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.over(&message).finalize().into_bytes();
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for JwtIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtIssuer").finish_non_exhaustive()
    }
}
