//! How each provider signs. This module knows headers, bytes and secrets; it must never know what a body means, nor
//! what becomes of it.

mod phonepe;
mod razorpay;
mod standard;
mod stripe;

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::HeaderMap;
use seriatim_core::Timestamp;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::secret::Kind;
use super::{Secret, Unverified};

pub(super) use phonepe::{enveloped, x_verify};

/// How long before or after now a signature that bears a time may have been made.
pub const WINDOW_SECONDS: i64 = 300;

/// How many signatures a header may bring. A provider that changes its secret sends two.
pub const SIGNATURES_MAX: usize = 16;

/// How a provider signs. It is a setting of the source and is never guessed from headers: who sends chooses those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// PhonePe, older callbacks: SHA-256 over the base64 text and a salt, in `X-VERIFY`.
    PhonepeXVerify,
    /// PhonePe v2: the SHA-256 of `user:password` in `Authorization`. It says who sends, not what.
    PhonepeAuthorization,
    /// PhonePe, newest: HMAC-SHA256 over the body.
    PhonepeHmac,
    /// Razorpay: HMAC-SHA256 over the body, in `X-Razorpay-Signature`.
    Razorpay,
    /// Stripe: HMAC-SHA256 over time and body, in `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks 1.0.0: HMAC-SHA256 (`v1`) or Ed25519 (`v1a`) over id, time and body.
    Standard,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 6] = [
        Self::PhonepeXVerify,
        Self::PhonepeAuthorization,
        Self::PhonepeHmac,
        Self::Razorpay,
        Self::Stripe,
        Self::Standard,
    ];

    /// The name in configuration and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PhonepeXVerify => "phonepe-x-verify",
            Self::PhonepeAuthorization => "phonepe-authorization",
            Self::PhonepeHmac => "phonepe-hmac",
            Self::Razorpay => "razorpay",
            Self::Stripe => "stripe",
            Self::Standard => "standard",
        }
    }

    /// Whether a signature covers the body. Where it does not, the provider is asked before anything is done.
    #[must_use]
    pub fn protects_body(self) -> bool {
        self != Self::PhonepeAuthorization
    }

    /// Whether the event's id is covered by the signature too.
    #[must_use]
    pub fn signs_event_id(self) -> bool {
        self != Self::Razorpay
    }

    /// Checks that a holder of one of the secrets sent these bytes.
    ///
    /// # Errors
    /// Why not; nothing of the body was used.
    pub fn verify(
        self,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
        secrets: &[Secret],
    ) -> Result<Verified, Unverified> {
        let event_id = match self {
            Self::PhonepeXVerify => phonepe::verify_x_verify(headers, body, secrets).map(|()| None),
            Self::PhonepeAuthorization => phonepe::verify_authorization(headers, secrets).map(|()| None),
            Self::PhonepeHmac => phonepe::verify_hmac(headers, body, secrets).map(|()| None),
            Self::Razorpay => razorpay::verify(headers, body, secrets),
            Self::Stripe => stripe::verify(headers, body, now, secrets).map(|()| None),
            Self::Standard => standard::verify(headers, body, now, secrets).map(Some),
        }?;
        Ok(Verified {
            must_confirm: !self.protects_body(),
            event_id,
        })
    }

    /// The headers that the provider would send with this body, `event_id` among them if it has a header.
    ///
    /// # Errors
    /// The secret or the body is none of this scheme.
    pub fn sign(self, body: &[u8], secret: &Secret, now: Timestamp, event_id: &str) -> Result<Signed, Unsignable> {
        match self {
            Self::PhonepeXVerify => phonepe::sign_x_verify(body, secret),
            Self::PhonepeAuthorization => phonepe::sign_authorization(secret),
            Self::PhonepeHmac => phonepe::sign_hmac(body, secret),
            Self::Razorpay => razorpay::sign(body, secret, event_id),
            Self::Stripe => stripe::sign(body, secret, now),
            Self::Standard => standard::sign(body, secret, now, event_id),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scheme| scheme.as_str() == text);
        found.ok_or_else(|| format!("use one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// A delivery that is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The body is not covered: ask the provider before anything is done.
    pub must_confirm: bool,
    /// The event's id, if the scheme has a header for it.
    pub event_id: Option<String>,
}

/// Names and values of the headers that carry a signature.
pub type Signed = Vec<(&'static str, String)>;

/// A body cannot be signed with this secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    /// The secret can verify, or is of another scheme.
    #[error("this secret cannot sign")]
    Secret,
    /// The scheme signs a part of the body that is not there.
    #[error("the body has no `response` text, which is what this scheme signs")]
    Body,
    /// The id has a character that separates the signed fields.
    #[error("an event id has no `.` in this scheme")]
    Id,
}

/// None only for a key that no MAC takes; this one takes any.
fn hmac(key: &[u8], parts: &[&[u8]]) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    parts.iter().for_each(|part| mac.update(part));
    Some(mac.finalize().into_bytes().into())
}

fn signed_by(secret: &Secret, parts: &[&[u8]]) -> Result<[u8; 32], Unsignable> {
    let key = keys(std::slice::from_ref(secret)).next();
    key.and_then(|key| hmac(key, parts)).ok_or(Unsignable::Secret)
}

/// Whether two decoded signatures are the same, in a time that does not tell where they differ.
fn same(given: &[u8], expected: &[u8]) -> bool {
    given.ct_eq(expected).into()
}

/// What can be a MAC at all: anything of another length is not worth reading the body for.
fn mac(decoded: Vec<u8>) -> Option<[u8; 32]> {
    decoded.try_into().ok()
}

/// Whether one of the signatures fits any key. Who sends them is not known yet and each MAC reads the whole body, so there
/// is one a key, however many signatures come. All are tried, so that the time does not tell which one fits.
fn fits_any(secrets: &[Secret], given: &[[u8; 32]], parts: &[&[u8]]) -> bool {
    if given.is_empty() {
        return false;
    }
    let expected = keys(secrets).filter_map(|key| hmac(key, parts));
    expected.fold(false, |fits, expected| {
        given.iter().fold(fits, |fits, given| fits | same(given, &expected))
    })
}

fn keys(secrets: &[Secret]) -> impl Iterator<Item = &[u8]> {
    secrets.iter().filter_map(|secret| match &secret.0 {
        Kind::Key(key) => Some(key.as_slice()),
        Kind::Salt { .. } | Kind::Login(_) | Kind::Signing(_) | Kind::Public(_) => None,
    })
}

fn check_window(signed_at: i64, now: Timestamp) -> Result<(), Unverified> {
    let age = unix_seconds(now).saturating_sub(signed_at);
    if age > WINDOW_SECONDS {
        Err(Unverified::TooOld(age))
    } else if age < -WINDOW_SECONDS {
        Err(Unverified::FromFuture(age.saturating_neg()))
    } else {
        Ok(())
    }
}

fn unix_seconds(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(1_000_000)
}
