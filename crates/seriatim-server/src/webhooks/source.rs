//! A source: where payment events come from, and what a paid one does. It belongs to one tenant.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use reqwest::Url;
use seriatim_core::{SeriesName, Tenant, Timestamp};
use sha2::{Digest as _, Sha256};

use super::event::{Body, parse_callback, parse_phonepe_event, parse_razorpay, parse_standard, parse_stripe};
use super::scheme::enveloped;
use super::status::{Provider, StatusSettings};
use super::{BODY_BYTES_MAX, Malformed, Meaning, PaymentEvent, Pointers, Scheme, Secret, Unverified, Verified};
use crate::config::{Config, ConfigError, Section};

/// The effect that follows from a number, and the only one yet.
pub const RECEIPT: &str = "receipt";
/// How long a provider may take to answer when it is asked for a payment.
const STATUS_WITHIN: Duration = Duration::from_secs(10);

/// Where payment events come from, and what a paid one does.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, the last part of the URL that the provider calls.
    pub name: String,
    /// How the provider signs.
    pub scheme: Scheme,
    /// Whose payments they are.
    pub tenant: Tenant,
    /// The series that a paid event takes a number of.
    pub series: SeriesName,
    /// What follows from the number: `receipt`.
    pub effects: Vec<String>,
    /// Which meanings count as paid.
    pub paid: Vec<Meaning>,
    /// Only a test series may be issued in.
    pub test: bool,
    /// How the provider is asked for a payment.
    pub status: Option<StatusSettings>,
    secrets: Vec<Secret>,
    pointers: Pointers,
}

/// A delivery that was believed and understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What it says.
    pub event: PaymentEvent,
    /// The body is not covered by a signature: ask the provider before anything is done.
    pub must_confirm: bool,
    /// The body as it came, to be stored.
    pub body: Bytes,
}

/// Why a delivery is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not believed: 401, and no more is said.
    #[error("not believed: {0}")]
    Unverified(#[from] Unverified),
    /// It is not understood: 400, or 413 if it is too large.
    #[error("not understood: {0}")]
    Malformed(#[from] Malformed),
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unverified(_) => 401,
            Self::Malformed(Malformed::TooLarge(_)) => 413,
            Self::Malformed(_) => 400,
        }
    }

    /// The reason as a stable word, for metrics and log fields.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unverified(unverified) => unverified.code(),
            Self::Malformed(malformed) => malformed.code(),
        }
    }
}

impl Source {
    /// Every source of the configuration.
    ///
    /// # Errors
    /// What is wrong with one of them, with the place.
    pub fn all(config: &Config) -> Result<Vec<Self>, ConfigError> {
        let read = |section| Ok((section, Self::read(section)?));
        let sources: Vec<(&Section, Self)> = config.sources().iter().map(read).collect::<Result<_, _>>()?;
        for (section, source) in sources.iter().filter(|(_, source)| source.test) {
            // They would share the payments of that tenant: what is paid in a test would count as paid.
            let is_live = |(_, other): &&(&Section, Self)| other.tenant == source.tenant && !other.test;
            if let Some((_, live)) = sources.iter().find(is_live) {
                let what = format!(
                    "is true, and [sources.{}] of the same tenant is for real payments; give one of them a tenant of its own",
                    live.name
                );
                return Err(section.wrong("test", &what));
            }
        }
        Ok(sources.into_iter().map(|(_, source)| source).collect())
    }

    fn read(section: &Section) -> Result<Self, ConfigError> {
        let scheme: Scheme = parsed(section, "scheme", str::parse)?;
        let status = read_status(section, scheme)?;
        if status.is_none() && !scheme.protects_body() {
            return Err(section.wrong(
                "status",
                "is not set; phonepe-authorization does not protect the body, so every payment is confirmed there first",
            ));
        }
        Ok(Self {
            name: section.name.clone(),
            scheme,
            tenant: match section.text("tenant") {
                Some(_) => parsed(section, "tenant", |text| {
                    Tenant::parse(text).map_err(|no| no.to_string())
                })?,
                None => Tenant::default(),
            },
            series: parsed(section, "series", |text| {
                SeriesName::parse(text).map_err(|no| no.to_string())
            })?,
            effects: read_effects(section)?,
            paid: read_paid(section)?,
            test: section.flag("test"),
            status,
            secrets: read_secrets(section, scheme)?,
            pointers: read_pointers(section, scheme)?,
        })
    }

    /// Believes and understands a delivery, or says why not. Nothing is stored and nobody is asked.
    ///
    /// # Errors
    /// It is not believed, or not understood.
    pub fn receive(&self, headers: &HeaderMap, raw: Bytes, now: Timestamp) -> Result<Received, Refused> {
        if raw.len() > BODY_BYTES_MAX {
            return Err(Malformed::TooLarge(raw.len()).into());
        }
        let verified = self.scheme.verify(headers, &raw, now, &self.secrets)?;
        let must_confirm = verified.must_confirm;
        let event = self.parse(&raw, verified)?;
        Ok(Received {
            event,
            must_confirm,
            body: raw,
        })
    }

    fn parse(&self, raw: &[u8], verified: Verified) -> Result<PaymentEvent, Malformed> {
        let id = match verified.event_id {
            Some(id) => checked_id(&id)?,
            None => hex::encode(Sha256::digest(raw)),
        };
        match self.scheme {
            Scheme::PhonepeXVerify => parse_callback(&Body::read(&opened(raw)?)?, id),
            Scheme::PhonepeAuthorization | Scheme::PhonepeHmac => parse_phonepe_event(&Body::read(raw)?, id),
            Scheme::Razorpay => parse_razorpay(&Body::read(raw)?, id),
            Scheme::Stripe => parse_stripe(&Body::read(raw)?),
            Scheme::Standard => parse_standard(&Body::read(raw)?, &self.pointers, id),
        }
    }

    /// Whether an event is one that a number is issued for.
    #[must_use]
    pub fn counts_as_paid(&self, event: &PaymentEvent) -> bool {
        self.paid.contains(&event.meaning)
    }

    /// Whether a receipt follows from the number.
    #[must_use]
    pub fn makes_receipts(&self) -> bool {
        self.effects.iter().any(|effect| effect == RECEIPT)
    }

    /// The secret that new deliveries are signed with: the first.
    #[must_use]
    pub fn secret(&self) -> Option<&Secret> {
        self.secrets.first()
    }

    /// Where the fields of a Standard Webhooks body are.
    #[must_use]
    pub fn pointers(&self) -> &Pointers {
        &self.pointers
    }
}

fn checked_id(id: &str) -> Result<String, Malformed> {
    match super::PaymentReference::parse(id) {
        Ok(_) => Ok(id.to_string()),
        Err(what) => Err(Malformed::Field {
            field: "the event id's header".to_string(),
            what,
        }),
    }
}

/// The JSON inside the base64 of an older PhonePe callback.
fn opened(raw: &[u8]) -> Result<Vec<u8>, Malformed> {
    use base64::Engine as _;
    let text = enveloped(raw).ok_or_else(|| Malformed::Missing("/response".to_string()))?;
    let decoded = base64::engine::general_purpose::STANDARD.decode(text);
    decoded.map_err(|_| Malformed::NotBase64)
}

fn parsed<T>(section: &Section, field: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Result<T, ConfigError> {
    let text = section.required(field)?;
    parse(text).map_err(|what| section.wrong(field, &format!("= `{}`: {what}", text.escape_debug())))
}

fn read_secrets(section: &Section, scheme: Scheme) -> Result<Vec<Secret>, ConfigError> {
    let texts = section.texts("secrets").unwrap_or_default();
    if texts.is_empty() {
        let variable = format!("SERIATIM_SOURCE_{}_SECRETS", section.name.replace('-', "_")).to_uppercase();
        let what = format!("is empty; give secrets, secrets_file (one a line) or {variable}");
        return Err(section.wrong("secrets", &what));
    }
    let secrets = texts.iter().enumerate().map(|(index, text)| {
        // Which one, and never what it says.
        Secret::parse(scheme, text).map_err(|what| section.wrong("secrets", &format!("number {}: {what}", index + 1)))
    });
    secrets.collect()
}

fn read_effects(section: &Section) -> Result<Vec<String>, ConfigError> {
    let Some(effects) = section.texts("effects") else {
        return Ok(vec![RECEIPT.to_string()]);
    };
    match effects.iter().find(|effect| *effect != RECEIPT) {
        Some(unknown) => {
            let what = format!("has `{}`; the effects are: receipt", unknown.escape_debug());
            Err(section.wrong("effects", &what))
        }
        None => Ok(effects.to_vec()),
    }
}

fn read_paid(section: &Section) -> Result<Vec<Meaning>, ConfigError> {
    let Some(words) = section.texts("paid") else {
        return Ok(vec![Meaning::Paid]);
    };
    if words.is_empty() {
        return Err(section.wrong("paid", "is empty; leave it out, or name paid, authorized"));
    }
    let meanings = words.iter().map(|word| match word.as_str() {
        "paid" => Ok(Meaning::Paid),
        "authorized" => Ok(Meaning::Authorized),
        other => {
            let what = format!(
                "has `{}`; what can count as paid is: paid, authorized",
                other.escape_debug()
            );
            Err(section.wrong("paid", &what))
        }
    });
    meanings.collect()
}

fn read_pointers(section: &Section, scheme: Scheme) -> Result<Pointers, ConfigError> {
    let mut pointers = Pointers::default();
    let places = [
        ("pointer_event", &mut pointers.event),
        ("pointer_reference", &mut pointers.reference),
        ("pointer_amount", &mut pointers.amount),
        ("pointer_currency", &mut pointers.currency),
        ("pointer_time", &mut pointers.time),
    ];
    for (field, pointer) in places {
        if let Some(text) = section.text(field) {
            only_standard(section, field, scheme)?;
            if !text.starts_with('/') {
                return Err(section.wrong(field, "is no JSON pointer; write it like /data/payment_id"));
            }
            *pointer = text.to_string();
        }
    }
    for meaning in [Meaning::Paid, Meaning::Authorized, Meaning::Failed, Meaning::Refunded] {
        let field = format!("{meaning}_events");
        if let Some(names) = section.texts(&field) {
            only_standard(section, &field, scheme)?;
            pointers.meanings.retain(|(_, known)| *known != meaning);
            pointers
                .meanings
                .extend(names.iter().map(|name| (name.clone(), meaning)));
        }
    }
    let mut names: Vec<&str> = pointers.meanings.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(section.wrong(
            "scheme",
            &format!("standard: `{}` is listed with two meanings", pair[0]),
        )),
        None => Ok(pointers),
    }
}

fn only_standard(section: &Section, field: &str, scheme: Scheme) -> Result<(), ConfigError> {
    if scheme == Scheme::Standard {
        Ok(())
    } else {
        Err(section.wrong(
            field,
            &format!("is for scheme = \"standard\" only; {scheme} has its fields in known places"),
        ))
    }
}

fn read_status(section: &Section, scheme: Scheme) -> Result<Option<StatusSettings>, ConfigError> {
    let keys = [
        "status_url",
        "status_token_url",
        "status_id",
        "status_secret",
        "status_version",
    ];
    if section.text("status").is_none() {
        return match keys.into_iter().find(|key| section.text(key).is_some()) {
            Some(key) => Err(section.wrong(key, "says nothing without status, the kind of API")),
            None => Ok(None),
        };
    }
    let provider: Provider = parsed(section, "status", str::parse)?;
    if !provider.answers_for(scheme) {
        return Err(section.wrong(
            "status",
            &format!("= `{provider}` is another provider's than scheme {scheme}"),
        ));
    }
    let has_id = provider.wants_id();
    let has_version = provider.wants_version();
    if let Some(key) = [
        ("status_id", has_id),
        ("status_version", has_version),
        ("status_token_url", provider == Provider::PhonepeV2),
    ]
    .into_iter()
    .find_map(|(key, wanted)| (!wanted && section.text(key).is_some()).then_some(key))
    {
        return Err(section.wrong(key, &format!("is not used by status = \"{provider}\"")));
    }
    let url = |field: &str, usual: &str| read_url(section, field, usual);
    Ok(Some(StatusSettings {
        provider,
        url: url("status_url", provider.url())?,
        token_url: url("status_token_url", super::status::PHONEPE_TOKEN_URL)?,
        id: if has_id {
            section.required("status_id")?.to_string()
        } else {
            String::new()
        },
        secret: section.required("status_secret")?.to_string(),
        version: if has_version {
            parsed(section, "status_version", read_version)?
        } else {
            0
        },
        within: STATUS_WITHIN,
    }))
}

fn read_version(text: &str) -> Result<u32, String> {
    text.parse()
        .map_err(|_| "write the salt index or client version as a number".to_string())
}

/// Credentials travel to it, so it is https; but for this machine, where a test or a proxy listens.
fn read_url(section: &Section, field: &str, usual: &str) -> Result<Url, ConfigError> {
    let text = section.text(field).unwrap_or(usual);
    let url = Url::parse(text).map_err(|error| section.wrong(field, &format!("= `{text}`: {error}")))?;
    let is_here = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let has_login = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if has_login => Err(section.wrong(field, "has a login in it; use status_id and status_secret")),
        _ if url.query().is_some() || url.fragment().is_some() => {
            Err(section.wrong(field, "has a query or fragment; give the base only"))
        }
        "https" => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(section.wrong(field, &format!("= `{text}`: use https"))),
    }
}
