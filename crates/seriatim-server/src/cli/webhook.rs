//! The verb that plays the provider: it builds a delivery, signs it and sends it, as often and as much at once as asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::json;
use seriatim::{Clock as _, SystemClock};

use super::Context;
use super::about::reachable;
use super::failed::{Failed, read_text};
use crate::transport::without_login;
use crate::webhooks::sample::Sample;
use crate::webhooks::status::client;
use crate::webhooks::{Money, PaymentReference, Pointers, Scheme, Secret, Source};

/// Play a payment provider
#[derive(Subcommand)]
pub enum Webhook {
    /// Build, sign and send a delivery, as the provider would
    Send(Send),
}

impl Webhook {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Send(verb) => verb.run(context).await,
        }
    }
}

/// Build, sign and send a delivery, as the provider would
#[derive(Args)]
pub struct Send {
    /// How it is signed: phonepe-x-verify, phonepe-authorization, phonepe-hmac, razorpay, stripe or standard
    scheme: Scheme,
    /// The provider's name of the event, e.g. payment.captured
    event: String,
    /// The payment's reference
    #[arg(long, value_name = "REFERENCE", value_parser = reference)]
    payment: PaymentReference,
    /// The amount in the currency's smallest unit
    #[arg(long, value_name = "MINOR", default_value_t = 49_900, value_parser = clap::value_parser!(i64).range(0..))]
    amount: i64,
    /// The currency
    #[arg(long, default_value = "INR", value_parser = currency)]
    currency: String,
    /// The source of the configuration that it is for [default: the one with this scheme]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Where to send it [default: the source's URL at --server, else at http_addr]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// How often it is sent
    #[arg(long, value_name = "TIMES", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    repeat: u16,
    /// Send all at once, not one after the other
    #[arg(long)]
    parallel: bool,
    /// A file with the secret [default: the source's first one]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<String>,
    /// The series that real numbers may be issued in by this, if the source is not for a test series
    #[arg(long, value_name = "SERIES")]
    live: Option<String>,
}

fn reference(text: &str) -> Result<PaymentReference, String> {
    PaymentReference::parse(text).map_err(|what| format!("it {what}"))
}

fn currency(text: &str) -> Result<String, String> {
    if text.len() == 3 && text.bytes().all(|b| b.is_ascii_alphabetic()) {
        Ok(text.to_ascii_uppercase())
    } else {
        Err("a currency is three letters".to_string())
    }
}

impl Send {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let sources = Source::all(&context.config)?;
        let source = self.source(&sources)?;
        self.check_series(source)?;
        let url = self.url(context, source)?;
        let secret = self.secret(source)?;
        let money = Money {
            minor: self.amount,
            currency: self.currency.clone(),
        };
        let sample = Sample {
            event: &self.event,
            payment: &self.payment,
            money: &money,
            at: SystemClock.now(),
        };
        let usual = Pointers::default();
        let pointers = source.map_or(&usual, Source::pointers);
        let unusable = |error: &dyn std::fmt::Display| Failed::Usage(error.to_string());
        let body = sample.body(self.scheme, pointers).map_err(|error| unusable(&error))?;
        let delivery = Delivery {
            client: client(Duration::from_secs(30)).map_err(Failed::Other)?,
            url,
            scheme: self.scheme,
            secret,
            event_id: sample.event_id(self.scheme),
            body,
        };
        let to = without_login(delivery.url.as_str());
        let said = format!("{} of {} to {to}", self.event, self.payment);
        context
            .output
            .note(format!("sending {said}, signed as {}", self.scheme));
        let answers = self.send(delivery).await?;
        tell(context, &answers)
    }

    /// The source that is named, else the only one with this scheme.
    fn source<'a>(&self, sources: &'a [Source]) -> Result<Option<&'a Source>, Failed> {
        let usage = |message: String| Err(Failed::Usage(message));
        if let Some(name) = &self.source {
            return match sources.iter().find(|source| source.name == *name) {
                Some(source) if source.scheme == self.scheme => Ok(Some(source)),
                Some(source) => usage(format!(
                    "source {name} has the scheme {}, not {}",
                    source.scheme, self.scheme
                )),
                None => usage(format!("there is no [sources.{name}] in the configuration")),
            };
        }
        let fitting: Vec<&Source> = sources.iter().filter(|source| source.scheme == self.scheme).collect();
        match fitting.as_slice() {
            [] => Ok(None),
            [source] => Ok(Some(source)),
            several => {
                let names: Vec<&str> = several.iter().map(|source| source.name.as_str()).collect();
                usage(format!(
                    "several sources have the scheme {}: {}; name one with --source",
                    self.scheme,
                    names.join(", ")
                ))
            }
        }
    }

    /// A payment that nobody made must not get a real number by a slip.
    fn check_series(&self, source: Option<&Source>) -> Result<(), Failed> {
        let refused = |detail: String| Err(Failed::refused("not_a_test_series", &detail));
        match (source, &self.live) {
            (Some(source), _) if source.test => Ok(()),
            (Some(source), Some(live)) if source.series.as_str() == live => Ok(()),
            (Some(source), Some(live)) => refused(format!(
                "source {} issues in series {}, not in {live}",
                source.name, source.series
            )),
            (Some(source), None) => refused(format!(
                "source {} issues real numbers, in series {}; set test = true in [sources.{}], or say --live {}",
                source.name, source.series, source.name, source.series
            )),
            (None, Some(_)) => Ok(()),
            (None, None) => refused(format!(
                "no source of the configuration has the scheme {}, so nobody can tell whether real numbers would be \
                 issued; give --config with the server's [sources.NAME], or name the series with --live SERIES",
                self.scheme
            )),
        }
    }

    fn url(&self, context: &Context, source: Option<&Source>) -> Result<reqwest::Url, Failed> {
        let text = match (&self.to, source) {
            (Some(to), _) => to.clone(),
            (None, Some(source)) => {
                let base = match context.config.text("server") {
                    Some(server) => server.trim_end_matches('/').to_string(),
                    None => format!("http://{}", reachable(context.config.parse("http_addr")?)),
                };
                format!("{base}/v1/webhooks/{}", source.name)
            }
            (None, None) => return Err(Failed::Usage("say where to send it, with --to or --source".to_string())),
        };
        let url = reqwest::Url::parse(&text).ok();
        let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https");
        url.filter(is_http).ok_or_else(|| {
            Failed::Usage(format!(
                "--to {}: write it like http://127.0.0.1:8080/v1/webhooks/NAME",
                without_login(&text)
            ))
        })
    }

    fn secret(&self, source: Option<&Source>) -> Result<Secret, Failed> {
        if let Some(file) = &self.secret_file {
            let text = read_text(file)?;
            let secret = Secret::parse(self.scheme, text.trim());
            return secret.map_err(|what| Failed::Usage(format!("--secret-file {file}: {what}")));
        }
        let secret = source.and_then(Source::secret).cloned();
        secret.ok_or_else(|| Failed::Usage("say what to sign with, with --secret-file or --source".to_string()))
    }

    async fn send(&self, delivery: Delivery) -> Result<Vec<Told>, Failed> {
        let delivery = std::sync::Arc::new(delivery);
        let mut answers = Vec::new();
        if !self.parallel {
            for _ in 0..self.repeat {
                answers.push(delivery.send().await?);
            }
            return Ok(answers);
        }
        let mut running = tokio::task::JoinSet::new();
        for _ in 0..self.repeat {
            let delivery = delivery.clone();
            running.spawn(async move { delivery.send().await });
        }
        while let Some(ended) = running.join_next().await {
            answers.push(ended.map_err(|error| Failed::Other(format!("a delivery broke off: {error}")))??);
        }
        Ok(answers)
    }
}

/// What is sent again and again; each time it is signed anew, for the time is in the signature.
struct Delivery {
    client: reqwest::Client,
    url: reqwest::Url,
    scheme: Scheme,
    secret: Secret,
    event_id: String,
    body: Vec<u8>,
}

/// What the receiver said to one delivery, and after how long.
struct Told {
    answer: Result<u16, String>,
    took: Duration,
}

impl Delivery {
    async fn send(&self) -> Result<Told, Failed> {
        let signed = self
            .scheme
            .sign(&self.body, &self.secret, SystemClock.now(), &self.event_id)
            .map_err(|error| Failed::Usage(format!("cannot sign as {}: {error}", self.scheme)))?;
        let mut request = self
            .client
            .post(self.url.clone())
            .header("Content-Type", "application/json")
            .body(self.body.clone());
        for (name, value) in signed {
            request = request.header(name, value);
        }
        let started = Instant::now();
        let answer = match request.send().await {
            Ok(response) => Ok(response.status().as_u16()),
            Err(error) if error.is_timeout() => Err("timeout".to_string()),
            Err(error) if error.is_connect() => Err("no connection".to_string()),
            Err(_) => Err("connection lost".to_string()),
        };
        let took = started.elapsed();
        Ok(Told { answer, took })
    }
}

fn tell(context: &Context, answers: &[Told]) -> Result<(), Failed> {
    let mut summary: BTreeMap<String, (usize, Duration)> = BTreeMap::new();
    for told in answers {
        let answer = told.answer.as_ref().map_or_else(Clone::clone, u16::to_string);
        let (count, slowest) = summary.entry(answer).or_default();
        *count += 1;
        *slowest = told.took.max(*slowest);
    }
    let in_ms = |slowest: Duration| format!("{:.1} ms", slowest.as_secs_f64() * 1000.0);
    let rows = summary.into_iter();
    let rows = rows.map(|(answer, (times, slowest))| vec![json!(answer), json!(times), json!(in_ms(slowest))]);
    context.output.table(&["answer", "times", "slowest"], rows.collect());
    let taken = |told: &&Told| matches!(told.answer, Ok(200..=299));
    let refused = answers.len() - answers.iter().filter(taken).count();
    if answers.iter().all(|told| told.answer.is_err()) {
        return Err(Failed::Unreachable("none of the deliveries was answered".to_string()));
    }
    match refused {
        0 => Ok(()),
        _ => Err(Failed::Other(format!(
            "{refused} of {} deliveries were not taken",
            answers.len()
        ))),
    }
}
