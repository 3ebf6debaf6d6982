//! PhonePe has three schemes in the field.

use hyper::header::HeaderMap;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::super::headers;
use super::{Kind, Secret, Signed, Unsignable, Unverified, fits_any, mac, same, signed_by};

const X_VERIFY: &str = "x-verify";
const AUTHORIZATION: &str = "authorization";
// From independent public code, not from the provider's own text.
const CHECKSUM: &str = "x-phonepe-checksum-signature";

/// The body of an older callback. A field that comes twice is refused, so what is verified is what is read.
#[derive(Deserialize)]
struct Envelope {
    response: String,
}

/// The base64 text of an older callback: what is signed, and what holds the event.
pub(in crate::webhooks) fn enveloped(body: &[u8]) -> Option<String> {
    let envelope: Envelope = serde_json::from_slice(body).ok()?;
    Some(envelope.response)
}

pub(super) fn verify_x_verify(headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> Result<(), Unverified> {
    let header = headers::one(headers, X_VERIFY)?;
    let malformed = Unverified::Malformed(X_VERIFY, "expected HASH###INDEX");
    let (hash, index) = header.split_once("###").ok_or(malformed.clone())?;
    let index = headers::seconds(index)
        .and_then(|index| u32::try_from(index).ok())
        .ok_or(malformed)?;
    let given = hex::decode(hash).map_err(|_| Unverified::Undecodable(X_VERIFY))?;
    let text = enveloped(body).ok_or(Unverified::NoSignedText)?;
    let mut salts = salts(secrets)
        .filter(|(at, _)| *at == index)
        .map(|(_, salt)| salt)
        .peekable();
    if salts.peek().is_none() {
        return Err(Unverified::UnknownSalt(index));
    }
    let fits = salts.fold(false, |fits, salt| fits | same(&given, &salted(&text, "", salt)));
    if fits { Ok(()) } else { Err(Unverified::Mismatch) }
}

pub(super) fn sign_x_verify(body: &[u8], secret: &Secret) -> Result<Signed, Unsignable> {
    let text = enveloped(body).ok_or(Unsignable::Body)?;
    let (index, salt) = salts(std::slice::from_ref(secret)).next().ok_or(Unsignable::Secret)?;
    Ok(vec![("X-VERIFY", x_verify(&text, "", salt, index))])
}

/// The value of `X-VERIFY`: on a callback the path is empty, on a request it is the path of the API.
pub(in crate::webhooks) fn x_verify(text: &str, path: &str, salt: &str, index: u32) -> String {
    format!("{}###{index}", hex::encode(salted(text, path, salt)))
}

fn salted(text: &str, path: &str, salt: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(text).chain_update(path).chain_update(salt);
    hash.finalize().into()
}

fn salts(secrets: &[Secret]) -> impl Iterator<Item = (u32, &str)> {
    secrets.iter().filter_map(|secret| match &secret.0 {
        Kind::Salt { index, salt } => Some((*index, salt.as_str())),
        Kind::Key(_) | Kind::Login(_) | Kind::Signing(_) | Kind::Public(_) => None,
    })
}

pub(super) fn verify_authorization(headers: &HeaderMap, secrets: &[Secret]) -> Result<(), Unverified> {
    let header = headers::one(headers, AUTHORIZATION)?;
    let given = hex::decode(header).map_err(|_| Unverified::Undecodable(AUTHORIZATION))?;
    let fits = logins(secrets).fold(false, |fits, login| fits | same(&given, &Sha256::digest(login)));
    if fits { Ok(()) } else { Err(Unverified::Mismatch) }
}

pub(super) fn sign_authorization(secret: &Secret) -> Result<Signed, Unsignable> {
    let login = logins(std::slice::from_ref(secret)).next().ok_or(Unsignable::Secret)?;
    Ok(vec![("Authorization", hex::encode(Sha256::digest(login)))])
}

fn logins(secrets: &[Secret]) -> impl Iterator<Item = &str> {
    secrets.iter().filter_map(|secret| match &secret.0 {
        Kind::Login(login) => Some(login.as_str()),
        Kind::Key(_) | Kind::Salt { .. } | Kind::Signing(_) | Kind::Public(_) => None,
    })
}

pub(super) fn verify_hmac(headers: &HeaderMap, body: &[u8], secrets: &[Secret]) -> Result<(), Unverified> {
    let header = headers::one(headers, CHECKSUM)?;
    let given = hex::decode(header).map_err(|_| Unverified::Undecodable(CHECKSUM))?;
    if fits_any(secrets, mac(given).as_slice(), &[body]) {
        Ok(())
    } else {
        Err(Unverified::Mismatch)
    }
}

pub(super) fn sign_hmac(body: &[u8], secret: &Secret) -> Result<Signed, Unsignable> {
    Ok(vec![(
        "X-PhonePe-Checksum-Signature",
        hex::encode(signed_by(secret, &[body])?),
    )])
}
