//! Stripe: HMAC-SHA256 over `time.body`, hex; the key is the whole text of the secret, with `whsec_`.

use hyper::header::HeaderMap;
use seriatim_core::Timestamp;

use super::super::headers;
use super::{
    SIGNATURES_MAX, Secret, Signed, Unsignable, Unverified, check_window, fits_any, mac, signed_by, unix_seconds,
};

const SIGNATURE: &str = "stripe-signature";

pub(super) fn verify(headers: &HeaderMap, body: &[u8], now: Timestamp, secrets: &[Secret]) -> Result<(), Unverified> {
    let header = headers::one(headers, SIGNATURE)?;
    let (time, signatures) = read(header)?;
    let signed_at = headers::seconds(time).ok_or(Unverified::Malformed(SIGNATURE, "`t` is no unix time"))?;
    if signatures.is_empty() {
        return Err(Unverified::Malformed(SIGNATURE, "it has no `v1`"));
    }
    let decoded: Vec<Vec<u8>> = signatures.iter().filter_map(|text| hex::decode(text).ok()).collect();
    if decoded.is_empty() {
        return Err(Unverified::Undecodable(SIGNATURE));
    }
    let macs: Vec<[u8; 32]> = decoded.into_iter().filter_map(mac).collect();
    if !fits_any(secrets, &macs, &[time.as_bytes(), b".", body]) {
        return Err(Unverified::Mismatch);
    }
    // Last, so that only who knows a secret learns anything of our clock.
    check_window(signed_at, now)
}

/// The one `t` and every `v1`; other schemes are left alone.
fn read(header: &str) -> Result<(&str, Vec<&str>), Unverified> {
    let mut time = None;
    let mut signatures = Vec::new();
    for part in header.split(',') {
        let pair = part.trim().split_once('=');
        match pair.ok_or(Unverified::Malformed(SIGNATURE, "expected t=…,v1=…"))? {
            ("t", _) if time.is_some() => return Err(Unverified::Malformed(SIGNATURE, "`t` comes twice")),
            ("t", value) => time = Some(value),
            ("v1", _) if signatures.len() == SIGNATURES_MAX => return Err(Unverified::TooMany(SIGNATURE)),
            ("v1", value) => signatures.push(value),
            _ => {}
        }
    }
    let time = time.ok_or(Unverified::Malformed(SIGNATURE, "it has no `t`"))?;
    Ok((time, signatures))
}

pub(super) fn sign(body: &[u8], secret: &Secret, now: Timestamp) -> Result<Signed, Unsignable> {
    let time = unix_seconds(now).to_string();
    let signature = hex::encode(signed_by(secret, &[time.as_bytes(), b".", body])?);
    Ok(vec![("Stripe-Signature", format!("t={time},v1={signature}"))])
}
