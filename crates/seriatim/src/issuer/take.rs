//! The library's short form of one command: issue.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::pin::Pin;
use std::sync::Arc;

use serde::Serialize;
use seriatim_core::{Answer, Command, Document, Entry, Key, Reference, Refusal, SeriesName, Take};

use super::{Issuer, tenant_or_default, unexpected};
use crate::failure::Failure;

/// One number to be issued; `.await` it.
pub struct Issue<'a> {
    issuer: &'a Issuer,
    series: &'a str,
    tenant: Option<&'a str>,
    key: Option<&'a str>,
    reference: Option<&'a str>,
    date: Option<&'a str>,
    params: BTreeMap<String, String>,
    document: Option<Result<String, String>>,
}

impl<'a> Issue<'a> {
    pub(super) fn new(issuer: &'a Issuer, series: &'a str) -> Self {
        Self {
            issuer,
            series,
            tenant: None,
            key: None,
            reference: None,
            date: None,
            params: BTreeMap::new(),
            document: None,
        }
    }

    /// Whose number; `default` if not said.
    #[must_use]
    pub fn tenant(mut self, tenant: &'a str) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// The idempotency key, best the business reference: a retry with it gets the same number, for ever.
    #[must_use]
    pub fn key(mut self, key: &'a str) -> Self {
        self.key = Some(key);
        self
    }

    /// A free reference, e.g. `order 42`.
    #[must_use]
    pub fn reference(mut self, reference: &'a str) -> Self {
        self.reference = Some(reference);
        self
    }

    /// The document date, `2026-03-31`; today in the series' zone if not said.
    #[must_use]
    pub fn date(mut self, date: &'a str) -> Self {
        self.date = Some(date);
        self
    }

    /// A value for the format.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.insert(name.to_string(), value.to_string());
        self
    }

    /// The document, stored in the same commit as its number.
    #[must_use]
    pub fn document<T: Serialize + ?Sized>(mut self, document: &T) -> Self {
        self.document = Some(serde_json::to_string(document).map_err(|error| error.to_string()));
        self
    }

    fn command(self) -> Result<Command, Refusal> {
        let document = self.document.map(|text| match text {
            Ok(text) => Document::parse(&text),
            Err(error) => Err(Refusal::new(
                seriatim_core::Code::InvalidDocument,
                format!("the document cannot be written as JSON: {error}"),
            )
            .at("/document")),
        });
        Ok(Command::Issue {
            series: SeriesName::parse(self.series)?,
            take: Take {
                key: self.key.map(Key::parse).transpose()?,
                tenant: tenant_or_default(self.tenant)?,
                params: self.params,
                date: self.date.map(str::parse).transpose()?,
                document: document.transpose()?,
                reference: self.reference.map(Reference::parse).transpose()?,
            },
        })
    }
}

impl<'a> IntoFuture for Issue<'a> {
    type Output = Result<Arc<Entry>, Failure>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let issuer = self.issuer;
        Box::pin(async move {
            let command = self.command()?;
            match issuer.execute(issuer.own(command)).await? {
                Answer::Entries(mut answer) if answer.taken.len() == 1 => Ok(answer.taken.remove(0).entry),
                other => Err(unexpected(&other)),
            }
        })
    }
}
