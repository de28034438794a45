#![allow(clippy::unwrap_used)]

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};

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
    let key = EncodingKey::from_secret(&[1; 32]).unwrap();
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
    assert_eq!(refused(&forged, NOW), "the token's signature is wrong");
}

#[test]
fn claims_put_under_another_tokens_signature_are_refused() {
    let (alice, bob) = (token_of("alice"), token_of("bob"));
    let alice: Vec<&str> = alice.split('.').collect();
    let bob: Vec<&str> = bob.split('.').collect();
    let mixed = [alice[0], bob[1], alice[2]].join(".");
    assert_eq!(refused(&mixed, NOW), "the token's signature is wrong");
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
fn an_end_that_overflows_is_far_away_and_one_before_1970_has_passed() {
    let far = signed(Algorithm::HS256, &serde_json::json!({ "sub": "alice", "exp": i64::MAX }));
    assert!(JwtAuthenticator::new(&secret(1)).identity(&far, NOW).is_ok());
    let past = signed(Algorithm::HS256, &serde_json::json!({ "sub": "alice", "exp": i64::MIN }));
    assert_eq!(refused(&past, NOW), "the token has expired");
}

#[test]
fn garbage_is_refused() {
    for garbage in ["", ".", "..", "a.b.c", "....", "\0", "ü.ü.ü"] {
        assert_eq!(refused(garbage, NOW), "the token is not one of ours");
    }
    assert_eq!(refused("eyJhbGciOiJIUzI1NiJ9.e30.", NOW), "the token's signature is wrong");
    assert_eq!(refused(&"x".repeat(8_192), NOW), "the token is not one of ours");
}

#[test]
fn a_short_secret_is_refused_and_none_is_shown() {
    assert!(matches!(JwtSecret::new([0; 31]), Err(JwtError::ShortSecret { len: 31 })));
    assert_eq!(format!("{:?}", secret(7)), "JwtSecret { .. }");
}
