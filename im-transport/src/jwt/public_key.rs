//! RS256 and ES256: the user centre signs with a private key, the server knows the public one.

use std::fmt;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

use super::{Claims, JwtError, NoClaims};

/// What the server needs of a user centre that keeps its private key to itself.
#[derive(Clone)]
pub struct JwtPublicKey {
    key: DecodingKey,
    validation: Validation,
}

impl JwtPublicKey {
    /// An RSA key for RS256, in PEM: `PUBLIC KEY` (SPKI) or `RSA PUBLIC KEY` (PKCS #1).
    ///
    /// # Errors
    /// [`JwtError::Key`].
    pub fn rs256_pem(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::new(DecodingKey::from_rsa_pem(pem.as_ref()), Algorithm::RS256)
    }

    /// A key on the curve P-256 for ES256, in PEM: `PUBLIC KEY` (SPKI).
    ///
    /// # Errors
    /// [`JwtError::Key`].
    pub fn es256_pem(pem: impl AsRef<[u8]>) -> Result<Self, JwtError> {
        Self::new(DecodingKey::from_ec_pem(pem.as_ref()), Algorithm::ES256)
    }

    fn new(key: jsonwebtoken::errors::Result<DecodingKey>, algorithm: Algorithm) -> Result<Self, JwtError> {
        let mut validation = Validation::new(algorithm);
        validation.set_required_spec_claims(&["sub", "exp"]);
        // The time is an argument of the authenticator.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok(Self { key: key.map_err(JwtError::Key)?, validation })
    }

    /// The claims of a token with the signature of the private key.
    pub(super) fn claims(&self, token: &str) -> Result<Claims, NoClaims> {
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        decoded.map(|token| token.claims).map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => NoClaims::WrongSignature,
            _ => NoClaims::NotOurs,
        })
    }
}

impl fmt::Debug for JwtPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtPublicKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use im_core::ports::AuthError;
    use im_core::time::Timestamp;
    use jsonwebtoken::{EncodingKey, Header, encode};

    use super::*;
    use crate::jwt::{JwtAuthenticator, JwtSecret};

    // Made for these tests, and used nowhere else.
    const RSA: (&[u8], &[u8]) = (include_bytes!("test_keys/rsa.pem"), include_bytes!("test_keys/rsa.pub"));
    const EC: (&[u8], &[u8]) = (include_bytes!("test_keys/ec.pem"), include_bytes!("test_keys/ec.pub"));
    const NOW: Timestamp = Timestamp(1_000_000);

    fn claims(exp: i64) -> Claims {
        Claims { sub: "alice".to_owned(), exp }
    }

    fn token(algorithm: Algorithm, key: &EncodingKey) -> String {
        encode(&Header::new(algorithm), &claims(2_000), key).unwrap()
    }

    fn outcome(key: &JwtPublicKey, token: &str, now: Timestamp) -> Result<String, AuthError> {
        let identity = JwtAuthenticator::with_public_key(key).identity(token, now)?;
        Ok(identity.uid.as_str().to_owned())
    }

    #[test]
    fn the_private_half_of_a_key_signs_for_its_public_half_until_the_end() {
        let rsa = token(Algorithm::RS256, &EncodingKey::from_rsa_pem(RSA.0).unwrap());
        let ec = token(Algorithm::ES256, &EncodingKey::from_ec_pem(EC.0).unwrap());
        let (rsa_key, ec_key) =
            (JwtPublicKey::rs256_pem(RSA.1).unwrap(), JwtPublicKey::es256_pem(EC.1).unwrap());
        assert_eq!(outcome(&rsa_key, &rsa, NOW).unwrap(), "alice");
        assert_eq!(outcome(&ec_key, &ec, NOW).unwrap(), "alice");
        assert!(outcome(&rsa_key, &rsa, Timestamp(2_000_000)).is_err(), "it has expired");
        assert!(outcome(&rsa_key, &ec, NOW).is_err() && outcome(&ec_key, &rsa, NOW).is_err());
    }

    /// The classic confusion: the public key, which everybody knows, taken as the secret of an HMAC.
    #[test]
    fn the_public_key_is_no_secret() {
        let forged = token(Algorithm::HS256, &EncodingKey::from_secret(RSA.1).unwrap());
        assert!(outcome(&JwtPublicKey::rs256_pem(RSA.1).unwrap(), &forged, NOW).is_err());
        let rsa = token(Algorithm::RS256, &EncodingKey::from_rsa_pem(RSA.0).unwrap());
        let secret = JwtSecret::new(RSA.1).unwrap();
        assert!(JwtAuthenticator::new(&secret).identity(&rsa, NOW).is_err());
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for (pem, is_rsa) in [(&b"no key"[..], true), (b"", false), (EC.1, true), (RSA.1, false)] {
            let key = if is_rsa { JwtPublicKey::rs256_pem(pem) } else { JwtPublicKey::es256_pem(pem) };
            assert!(matches!(key, Err(JwtError::Key(_))));
        }
        assert_eq!(format!("{:?}", JwtPublicKey::rs256_pem(RSA.1).unwrap()), "JwtPublicKey { .. }");
    }
}
