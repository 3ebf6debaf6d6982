//! Standard Webhooks 1.0.0: a signature over `id.time.body`, by HMAC-SHA256 (`v1`) or Ed25519 (`v1a`), in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, Verifier as _};
use hyper::header::HeaderMap;
use seriatim_core::Timestamp;

use super::super::headers;
use super::{Kind, Secret, Signed, Unsignable, Unverified, check_window, fits_any, signed_by, unix_seconds};

const ID: &str = "webhook-id";
const TIMESTAMP: &str = "webhook-timestamp";
const SIGNATURE: &str = "webhook-signature";

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
    let signatures = read(signatures)?;
    let parts = signed_text(id, time, body);
    if !signatures
        .iter()
        .fold(false, |fits, given| fits | given.fits(secrets, &parts))
    {
        return Err(Unverified::Mismatch);
    }
    check_window(signed_at, now)?;
    Ok(id.to_string())
}

enum Given {
    Mac(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Given {
    fn fits(&self, secrets: &[Secret], parts: &[&[u8]]) -> bool {
        match self {
            Self::Mac(mac) => fits_any(secrets, mac, parts),
            Self::Ed25519(bytes) => fits_public(secrets, bytes, &parts.concat()),
        }
    }
}

/// The signatures of the versions that are known; others are left alone, as the specification wants.
fn read(header: &str) -> Result<Vec<Given>, Unverified> {
    let mut given = Vec::new();
    let mut is_known = false;
    for part in header.split(' ').filter(|part| !part.is_empty()) {
        let pair = part.split_once(',');
        let (version, encoded) = pair.ok_or(Unverified::Malformed(SIGNATURE, "expected v1,… or v1a,…"))?;
        let make = match version {
            "v1" => Given::Mac,
            "v1a" => Given::Ed25519,
            _ => continue,
        };
        is_known = true;
        given.extend(STANDARD.decode(encoded).ok().map(make));
    }
    match (given.is_empty(), is_known) {
        (false, _) => Ok(given),
        (true, true) => Err(Unverified::Undecodable(SIGNATURE)),
        (true, false) => Err(Unverified::Malformed(SIGNATURE, "it has no v1 and no v1a")),
    }
}

fn fits_public(secrets: &[Secret], given: &[u8], text: &[u8]) -> bool {
    let Ok(signature) = Signature::from_slice(given) else {
        return false;
    };
    secrets.iter().any(|secret| match &secret.0 {
        Kind::Public(key) => key.verify(text, &signature).is_ok(),
        Kind::Signing(key) => key.verifying_key().verify(text, &signature).is_ok(),
        Kind::Key(_) | Kind::Salt { .. } | Kind::Login(_) => false,
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
