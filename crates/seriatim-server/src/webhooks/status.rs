//! Asking a provider what became of a payment. This module knows the provider's API; it must never know what the answer
//! leads to.

mod client;
mod phonepe;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use seriatim::Clock;

use super::event::{Body, parse_callback, parse_intent, parse_order, parse_payment};
use super::{PaymentEvent, PaymentReference, Scheme};
pub use client::client;
use client::{Asked, Client};
use phonepe::Token;

/// Where PhonePe v2 gives out tokens.
pub const PHONEPE_TOKEN_URL: &str = "https://api.phonepe.com/apis/identity-manager/v1/oauth/token";

/// Whose status API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// PhonePe, older: a `GET` signed with the salt.
    Phonepe,
    /// PhonePe v2: order status with an OAuth token.
    PhonepeV2,
    /// Razorpay: `GET /v1/payments/{id}`.
    Razorpay,
    /// Stripe: `GET /v1/payment_intents/{id}`.
    Stripe,
}

impl Provider {
    const ALL: [Self; 4] = [Self::Phonepe, Self::PhonepeV2, Self::Razorpay, Self::Stripe];

    /// The name in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Phonepe => "phonepe",
            Self::PhonepeV2 => "phonepe-v2",
            Self::Razorpay => "razorpay",
            Self::Stripe => "stripe",
        }
    }

    /// Where it is reached if nothing else is configured.
    #[must_use]
    pub fn url(self) -> &'static str {
        match self {
            Self::Phonepe => "https://api.phonepe.com/apis/hermes",
            Self::PhonepeV2 => "https://api.phonepe.com/apis/pg",
            Self::Razorpay => "https://api.razorpay.com",
            Self::Stripe => "https://api.stripe.com",
        }
    }

    pub(super) fn answers_for(self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::PhonepeXVerify | Scheme::PhonepeAuthorization | Scheme::PhonepeHmac => {
                matches!(self, Self::Phonepe | Self::PhonepeV2)
            }
            Scheme::Razorpay => self == Self::Razorpay,
            Scheme::Stripe => self == Self::Stripe,
            // It is a way to sign, and anybody's.
            Scheme::Standard => true,
        }
    }

    pub(super) fn wants_id(self) -> bool {
        self != Self::Stripe
    }

    pub(super) fn wants_version(self) -> bool {
        matches!(self, Self::Phonepe | Self::PhonepeV2)
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|provider| provider.as_str() == text);
        found.ok_or_else(|| format!("use one of {}", Self::ALL.map(Self::as_str).join(", ")))
    }
}

/// How a provider is reached.
#[derive(Clone)]
pub struct StatusSettings {
    /// Whose API it is.
    pub provider: Provider,
    /// Its base.
    pub url: Url,
    /// Where tokens come from; PhonePe v2 only.
    pub token_url: Url,
    /// Merchant id (PhonePe), client id (PhonePe v2) or key id (Razorpay).
    pub id: String,
    /// Salt, client secret, key secret or secret key.
    pub secret: String,
    /// Salt index (PhonePe) or client version (PhonePe v2).
    pub version: u32,
    /// How long one request may take.
    pub within: Duration,
}

impl fmt::Debug for StatusSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret.
        write!(f, "StatusSettings({} at {})", self.provider, self.url)
    }
}

/// Why a provider did not say what became of a payment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot ask {provider} for payment {reference}: {what}")]
pub struct StatusError {
    /// Who was asked.
    pub provider: Provider,
    /// For what.
    pub reference: String,
    /// What happened, and what to do.
    pub what: String,
    /// Whether asking again can help.
    pub retry: bool,
    /// The provider answered that it knows no such payment.
    pub not_found: bool,
}

/// A provider's status API.
pub struct StatusApi {
    settings: StatusSettings,
    client: Client,
    token: Token,
    clock: Arc<dyn Clock>,
}

impl StatusApi {
    /// Gets ready; nobody is asked yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new(settings: StatusSettings, clock: Arc<dyn Clock>) -> Result<Self, String> {
        let client = Client::new(settings.within)?;
        let token = Token::default();
        Ok(Self {
            settings,
            client,
            token,
            clock,
        })
    }

    /// What became of a payment.
    ///
    /// # Errors
    /// The provider was not reached, refused, or answered something else; it says whether to ask again.
    pub async fn status(&self, reference: &PaymentReference) -> Result<PaymentEvent, StatusError> {
        let answered = match self.settings.provider {
            Provider::Phonepe => self.ask_phonepe(reference).await,
            Provider::PhonepeV2 => self.ask_phonepe_v2(reference).await,
            Provider::Razorpay => self.ask_razorpay(reference).await,
            Provider::Stripe => self.ask_stripe(reference).await,
        };
        let event = answered.and_then(|answer| self.understand(&answer, reference));
        event.map_err(|asked| StatusError {
            provider: self.settings.provider,
            reference: reference.to_string(),
            what: asked.what,
            retry: asked.retry,
            not_found: asked.not_found,
        })
    }

    async fn ask_razorpay(&self, reference: &PaymentReference) -> Result<Vec<u8>, Asked> {
        let url = client::join(&self.settings.url, &["v1", "payments", reference.as_str()])?;
        let request = self.client.get(url);
        let request = request.basic_auth(&self.settings.id, Some(&self.settings.secret));
        self.client.ask(request).await
    }

    async fn ask_stripe(&self, reference: &PaymentReference) -> Result<Vec<u8>, Asked> {
        let mut url = client::join(&self.settings.url, &["v1", "payment_intents", reference.as_str()])?;
        // The charge bears the time of the payment; the intent only that of its own making.
        url.query_pairs_mut().append_pair("expand[]", "latest_charge");
        let request = self.client.get(url).bearer_auth(&self.settings.secret);
        self.client.ask(request).await
    }

    /// An answer about another payment is worth nothing, whoever mixed it up.
    fn understand(&self, answer: &[u8], asked: &PaymentReference) -> Result<PaymentEvent, Asked> {
        let provider = self.settings.provider;
        let id = format!(
            "status:{provider}:{}",
            hex::encode(<sha2::Sha256 as sha2::Digest>::digest(answer))
        );
        let read = Body::read(answer).and_then(|body| match provider {
            Provider::Phonepe => parse_callback(&body, id),
            Provider::PhonepeV2 => parse_order(&body, id),
            Provider::Razorpay => parse_payment(&body, id),
            Provider::Stripe => parse_intent(&body, id),
        });
        let mut event = read.map_err(|malformed| Asked::never(format!("its answer is not understood: {malformed}")))?;
        match &event.reference {
            Some(answered) if answered == asked => Ok(event),
            Some(answered) => Err(Asked::never(format!("it answered about another payment, {answered}"))),
            // The order status of PhonePe v2 need not repeat what was asked for.
            None if provider == Provider::PhonepeV2 => {
                event.reference = Some(asked.clone());
                Ok(event)
            }
            None => Err(Asked::never("its answer names no payment".to_string())),
        }
    }
}
