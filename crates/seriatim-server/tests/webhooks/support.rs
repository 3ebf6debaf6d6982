//! Sources, secrets and headers of a test.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use seriatim_core::Timestamp;
use seriatim_server::config::{Config, ConfigError};
use seriatim_server::webhooks::{Scheme, Secret, Source};

/// The body of the published vectors.
pub const BODY: &[u8] = br#"{"event":"payment.captured","id":"evt_1"}"#;
pub const NOW: i64 = 1_700_000_000;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

pub fn secret(scheme: Scheme, text: &str) -> Secret {
    Secret::parse(scheme, text).unwrap()
}

/// A secret of each scheme.
pub fn usual_secret(scheme: Scheme) -> &'static str {
    match scheme {
        Scheme::PhonepeXVerify => "1:099eb0cd-02cf-4e2a-8aca-3e6c6aff0399",
        Scheme::PhonepeAuthorization => "merchant_hook:Passw0rd1",
        Scheme::PhonepeHmac => "phonepe_hook_secret",
        Scheme::Razorpay => "rzp_secret",
        Scheme::Stripe => "whsec_test_secret",
        Scheme::Standard => "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }
}

pub fn config(file: &str, variables: &[(&str, &str)]) -> Result<Vec<Source>, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("seriatim.toml");
    std::fs::write(&path, file).unwrap();
    let environment = |name: &str| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, text)| (*text).to_string())
    };
    let loaded = Config::load(Some(&path), Default::default(), &environment);
    let hide = |error: ConfigError| ConfigError(error.0.replace(&format!("{}/", folder.path().display()), ""));
    loaded.and_then(|config| Source::all(&config)).map_err(hide)
}

/// The source of a scheme with its usual secret.
pub fn source(scheme: Scheme) -> Source {
    let status = match scheme {
        Scheme::PhonepeAuthorization => {
            "status = \"phonepe-v2\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_version = 1\n"
        }
        _ => "",
    };
    let secret = usual_secret(scheme);
    let file =
        format!("[sources.shop]\nscheme = \"{scheme}\"\nseries = \"receipt\"\nsecrets = [\"{secret}\"]\n{status}");
    config(&file, &[]).unwrap().remove(0)
}
