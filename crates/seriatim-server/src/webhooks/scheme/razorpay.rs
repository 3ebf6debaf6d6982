//! Razorpay: HMAC-SHA256 over the body, hex, with no time: a replay is stopped by the event's id and the gate alone.

use hyper::header::HeaderMap;

use super::super::headers;
use super::{Secret, Signed, Unsignable, Unverified, fits_any, mac, signed_by};

const SIGNATURE: &str = "x-razorpay-signature";
const EVENT_ID: &str = "x-razorpay-event-id";

/// The event's id is not signed: who replays a body may change it. Effects are therefore gated by payment as well.
pub(super) fn verify(headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> Result<Option<String>, Unverified> {
    let header = headers::one(headers, SIGNATURE)?;
    let event_id = headers::optional(headers, EVENT_ID)?;
    let given = hex::decode(header).map_err(|_| Unverified::Undecodable(SIGNATURE))?;
    if !fits_any(secrets, mac(given).as_slice(), &[body]) {
        return Err(Unverified::Mismatch);
    }
    Ok(event_id.map(str::to_string))
}

pub(super) fn sign(body: &[u8], secret: &Secret, event_id: &str) -> Result<Signed, Unsignable> {
    Ok(vec![
        ("X-Razorpay-Signature", hex::encode(signed_by(secret, &[body])?)),
        ("X-Razorpay-Event-Id", event_id.to_string()),
    ])
}
