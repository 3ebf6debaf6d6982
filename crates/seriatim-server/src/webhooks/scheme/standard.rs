//! Standard Webhooks 1.0.0: a signature over `id.time.body`, by HMAC-SHA256 (`v1`) or Ed25519 (`v1a`), in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, Verifier as _, VerifyingKey};
use hyper::header::HeaderMap;
use seriatim_core::Timestamp;

use super::super::headers;
use super::{
    Kind, SIGNATURES_MAX, Secret, Signed, Unsignable, Unverified, check_window, fits_any, mac, signed_by, unix_seconds,
};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";
/// Fewer than of the others: each one reads the whole body, for no two share what they hash.
const ED25519_MAX: usize = 4;

/// The delivery's id, which stays the same over retries.
pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    secrets: &[Secret],
) -> Result<String, Unverified> {
    let id = headers::one(headers, ID)?;
    let time = headers::one(headers, TIMESTAMP)?;
    let signatures = headers::one(headers, SIGNATURE)?;
    // A point would let the fields be cut in another place.
    if id.is_empty() || id.contains('.') {
        return Err(Unverified::Malformed(ID, "it is empty or has a `.`"));
    }
    let signed_at = headers::seconds(time).ok_or(Unverified::Malformed(TIMESTAMP, "it is no unix time"))?;
    let given = read(signatures)?;
    let parts = signed_text(id, time, body);
    if !(fits_any(secrets, &given.macs, &parts) | fits_public(secrets, &given.ed25519, &parts)) {
        return Err(Unverified::Mismatch);
    }
    check_window(signed_at, now)?;
    Ok(id.to_string())
}

/// The signatures that can be any, by their length.
#[derive(Default)]
struct Given {
    macs: Vec<[u8; 32]>,
    ed25519: Vec<Signature>,
}

/// The signatures of the versions that are known; others are left alone, as the specification wants.
fn read(header: &str) -> Result<Given, Unverified> {
    let mut given = Given::default();
    let (mut known, mut ed25519, mut decoded) = (0usize, 0usize, 0usize);
    for part in header.split(' ').filter(|part| !part.is_empty()) {
        let pair = part.split_once(',');
        let (version, encoded) = pair.ok_or(Unverified::Malformed(SIGNATURE, "expected v1,… or v1a,…"))?;
        match version {
            "v1" => {}
            "v1a" => ed25519 += 1,
            _ => continue,
        }
        known += 1;
        if known > SIGNATURES_MAX || ed25519 > ED25519_MAX {
            return Err(Unverified::TooMany(SIGNATURE));
        }
        let Ok(bytes) = STANDARD.decode(encoded) else { continue };
        decoded += 1;
        match version {
            "v1" => given.macs.extend(mac(bytes)),
            _ => given.ed25519.extend(Signature::from_slice(&bytes)),
        }
    }
    match (decoded, known) {
        (1.., _) => Ok(given),
        (0, 1..) => Err(Unverified::Undecodable(SIGNATURE)),
        (0, 0) => Err(Unverified::Malformed(SIGNATURE, "it has no v1 and no v1a")),
    }
}

fn fits_public(secrets: &[Secret], given: &[Signature], parts: &[&[u8]]) -> bool {
    let keys: Vec<VerifyingKey> = public_keys(secrets).collect();
    if keys.is_empty() || given.is_empty() {
        return false;
    }
    // Joined once: each signature reads all of it.
    let text = parts.concat();
    let fits = |key: &VerifyingKey| given.iter().any(|signature| key.verify(&text, signature).is_ok());
    keys.iter().any(fits)
}

fn public_keys(secrets: &[Secret]) -> impl Iterator<Item = VerifyingKey> {
    secrets.iter().filter_map(|secret| match &secret.0 {
        Kind::Public(key) => Some(**key),
        Kind::Signing(key) => Some(key.verifying_key()),
        Kind::Key(_) | Kind::Salt { .. } | Kind::Login(_) => None,
    })
}

fn signed_text<'a>(id: &'a str, time: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", time.as_bytes(), b".", body]
}

pub(super) fn sign(body: &[u8], secret: &Secret, now: Timestamp, id: &str) -> Result<Signed, Unsignable> {
    if id.is_empty() || id.contains('.') {
        return Err(Unsignable::Id);
    }
    let time = unix_seconds(now).to_string();
    let parts = signed_text(id, &time, body);
    let signature = match &secret.0 {
        Kind::Key(_) => format!("v1,{}", STANDARD.encode(signed_by(secret, &parts)?)),
        Kind::Signing(key) => format!("v1a,{}", STANDARD.encode(key.sign(&parts.concat()).to_bytes())),
        Kind::Public(_) | Kind::Salt { .. } | Kind::Login(_) => return Err(Unsignable::Secret),
    };
    Ok(vec![
        ("Webhook-Id", id.to_string()),
        ("Webhook-Timestamp", time),
        ("Webhook-Signature", signature),
    ])
}
