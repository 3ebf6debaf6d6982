//! Secrets of a source, each in the form that its scheme wants. They are never shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};

use super::Scheme;

/// One secret of a source.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub(super) Kind);

/// What a secret is made of.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key of a MAC: its bytes.
    Key(Vec<u8>),
    /// A salt of PhonePe and its index.
    Salt { index: u32, salt: String },
    /// User and password as PhonePe hashes them, with the colon.
    Login(String),
    /// Both halves of an Ed25519 key.
    Signing(Box<SigningKey>),
    /// The public half of an Ed25519 key: enough to verify.
    Public(Box<VerifyingKey>),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Secret {
    /// Reads a secret as it stands in the configuration.
    ///
    /// # Errors
    /// What form the scheme wants; the secret itself is not in the message.
    pub fn parse(scheme: Scheme, text: &str) -> Result<Self, String> {
        if text.is_empty() || text.trim() != text {
            return Err("a secret must not be empty, nor begin or end with a space".to_string());
        }
        let kind = match scheme {
            Scheme::PhonepeXVerify => salt(text),
            Scheme::PhonepeAuthorization => login(text),
            Scheme::PhonepeHmac | Scheme::Razorpay => Ok(Kind::Key(text.as_bytes().to_vec())),
            Scheme::Stripe => stripe(text),
            Scheme::Standard => standard(text),
        };
        kind.map(Self)
    }
}

fn salt(text: &str) -> Result<Kind, String> {
    let parts = text.split_once(':');
    let read = parts.and_then(|(index, salt)| Some((index.parse().ok()?, salt)));
    match read {
        Some((index, salt)) if !salt.is_empty() => Ok(Kind::Salt {
            index,
            salt: salt.to_string(),
        }),
        _ => Err("write a salt as INDEX:SALT, e.g. 1:099eb0cd-…".to_string()),
    }
}

fn login(text: &str) -> Result<Kind, String> {
    match text.split_once(':') {
        Some((user, password)) if !user.is_empty() && !password.is_empty() => Ok(Kind::Login(text.to_string())),
        _ => Err("write user name and password as USER:PASSWORD".to_string()),
    }
}

fn stripe(text: &str) -> Result<Kind, String> {
    // An API key in the place of the endpoint's secret would only show as a signature that never fits.
    if text.starts_with("whsec_") {
        Ok(Kind::Key(text.as_bytes().to_vec()))
    } else {
        Err("a secret of a Stripe endpoint begins with whsec_".to_string())
    }
}

fn standard(text: &str) -> Result<Kind, String> {
    let decoded = |encoded: &str| {
        let bytes = STANDARD.decode(encoded);
        bytes.map_err(|_| "what follows the prefix of the secret is no base64".to_string())
    };
    if let Some(encoded) = text.strip_prefix("whsec_") {
        let key = decoded(encoded)?;
        return if (24..=64).contains(&key.len()) {
            Ok(Kind::Key(key))
        } else {
            Err(format!(
                "a whsec_ secret has 24 to 64 bytes; this one has {}",
                key.len()
            ))
        };
    }
    if let Some(encoded) = text.strip_prefix("whpk_") {
        let key = decoded(encoded)?;
        let key = <[u8; 32]>::try_from(key)
            .ok()
            .and_then(|key| VerifyingKey::from_bytes(&key).ok());
        let kind = key.map(|key| Kind::Public(Box::new(key)));
        return kind.ok_or_else(|| "a whpk_ key is the 32 bytes of an Ed25519 public key".to_string());
    }
    if let Some(encoded) = text.strip_prefix("whsk_") {
        let kind = signing_key(&decoded(encoded)?).map(|key| Kind::Signing(Box::new(key)));
        return kind.ok_or_else(|| "a whsk_ key is the 32 or 64 bytes of an Ed25519 secret key".to_string());
    }
    Err("a secret of Standard Webhooks begins with whsec_, or with whpk_ or whsk_ for Ed25519".to_string())
}

/// Some libraries write the seed alone, others the seed with the public half behind it.
fn signing_key(bytes: &[u8]) -> Option<SigningKey> {
    match bytes.len() {
        32 => Some(SigningKey::from_bytes(&bytes.try_into().ok()?)),
        64 => SigningKey::from_keypair_bytes(&bytes.try_into().ok()?).ok(),
        _ => None,
    }
}
