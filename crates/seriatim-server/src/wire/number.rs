//! What callers send about numbers.

use serde::Deserialize;
use serde_json::value::RawValue;
use seriatim::{Adopt, Code, Command, Date, Document, Key, Reason, Reference, Refusal, Take, Tenant, Ttl};
use utoipa::ToSchema;

use super::{NumberOrText, Object, Texts};
use crate::extract::HeaderKey;
use crate::problem::{self, Problem};

/// A number to issue.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = IssueRequest)]
pub struct IssueAsk<'a> {
    /// The caller's key, best the business reference; may come as the header `Idempotency-Key` instead.
    #[schema(example = "pay_1", max_length = 255)]
    key: Option<String>,
    /// Whose number; `default` if there is only one.
    #[schema(example = "acme")]
    tenant: Option<String>,
    /// Values for the format, as the series declares them.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<Texts>,
    /// The document date, e.g. `2026-03-31`; today in the series' zone if not given.
    #[schema(format = Date)]
    date: Option<String>,
    /// Any JSON of up to 64 KiB, stored as received.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<&'a RawValue>,
    /// Free text kept with the entry.
    reference: Option<String>,
}

impl IssueAsk<'_> {
    /// The number to take.
    pub fn take(self, header: HeaderKey) -> Result<Take, Problem> {
        let key = header.or_body(key_of(self.key.as_deref())?)?;
        Ok(self.take_with(key)?)
    }

    /// The number to take, as one item of a batch.
    fn item(self) -> Result<Take, Refusal> {
        let key = key_of(self.key.as_deref())?;
        self.take_with(key)
    }

    fn take_with(self, key: Option<Key>) -> Result<Take, Refusal> {
        Ok(Take {
            key,
            tenant: tenant(self.tenant.as_deref())?,
            params: self.params.unwrap_or_default().0,
            date: self.date.map(|date| date.parse::<Date>()).transpose()?,
            document: document(self.document)?,
            reference: reference(self.reference.as_deref())?,
        })
    }
}

/// A number to reserve.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ReserveRequest)]
pub struct ReserveAsk<'a> {
    /// The caller's key; may come as the header `Idempotency-Key` instead.
    key: Option<String>,
    /// How long it is held: seconds, or a text like `90s`, `15m`, `24h`, `7d`.
    ttl: NumberOrText,
    /// Whose number.
    tenant: Option<String>,
    /// Values for the format.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<Texts>,
    /// The document date.
    #[schema(format = Date)]
    date: Option<String>,
    /// The document, if it is known already.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<&'a RawValue>,
    /// Free text kept with the entry.
    reference: Option<String>,
}

impl ReserveAsk<'_> {
    /// The number to take, and for how long.
    pub fn take(self, header: HeaderKey) -> Result<(Take, Ttl), Problem> {
        let ttl = match &self.ttl {
            NumberOrText::Number(seconds) => Ttl::from_seconds(*seconds)?,
            NumberOrText::Text(text) => Ttl::parse(text)?,
        };
        let issue = IssueAsk {
            key: self.key,
            tenant: self.tenant,
            params: self.params,
            date: self.date,
            document: self.document,
            reference: self.reference,
        };
        Ok((issue.take(header)?, ttl))
    }
}

/// Several numbers in one commit: `items`, each with its key; or one `key` and a `count`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = BatchRequest)]
pub struct BatchAsk<'a> {
    /// 1 to 1,000 numbers, each with its key.
    #[serde(borrow)]
    #[schema(value_type = Option<Vec<IssueAsk>>, max_items = 1000)]
    items: Option<Vec<Object<IssueAsk<'a>>>>,
    /// How many numbers the one key stands for, 1 to 1,000.
    #[schema(maximum = 1000)]
    count: Option<u64>,
    /// With `count`: the caller's key.
    key: Option<String>,
    /// With `count`: whose numbers.
    tenant: Option<String>,
    /// With `count`: values for the format.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<Texts>,
    /// With `count`: the document date.
    #[schema(format = Date)]
    date: Option<String>,
    /// With `count`: the document of each.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<&'a RawValue>,
    /// With `count`: free text kept with each entry.
    reference: Option<String>,
}

/// What a batch asks for.
pub enum Batch {
    /// Numbers with a key each.
    Items(Vec<Take>),
    /// One key for several numbers.
    Count(Take, u32),
}

impl BatchAsk<'_> {
    /// The numbers to take.
    pub fn batch(self, header: HeaderKey) -> Result<Batch, Problem> {
        let refuse = |at: &str, detail: &str| Err(Problem::malformed("items_or_count", detail).at(at));
        match (self.items, self.count) {
            (Some(_), Some(_)) => refuse("/count", "give items or count, not both"),
            (None, None) => refuse("", "give items, each with its key, or a key with a count"),
            (None, Some(count)) => {
                let issue = IssueAsk {
                    key: self.key,
                    tenant: self.tenant,
                    params: self.params,
                    date: self.date,
                    document: self.document,
                    reference: self.reference,
                };
                Ok(Batch::Count(issue.take(header)?, count_of(count)?))
            }
            (Some(items), None) => {
                let shared = [
                    ("/key", self.key.is_some()),
                    (problem::IDEMPOTENCY_KEY, header.0.is_some()),
                    ("/tenant", self.tenant.is_some()),
                    ("/params", self.params.is_some()),
                    ("/date", self.date.is_some()),
                    ("/document", self.document.is_some()),
                    ("/reference", self.reference.is_some()),
                ];
                if let Some((at, _)) = shared.iter().find(|(_, given)| *given) {
                    return refuse(at, "with items, this belongs to each item");
                }
                let takes = items
                    .into_iter()
                    .enumerate()
                    .map(|(i, Object(item))| item.item().map_err(|refusal| refusal.inside(&format!("/items/{i}"))));
                Ok(Batch::Items(takes.collect::<Result<_, _>>()?))
            }
        }
    }
}

/// What the next numbers would look like.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = PreviewRequest)]
pub struct PreviewAsk {
    /// Whose numbers.
    tenant: Option<String>,
    /// Values for the format.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    params: Option<Texts>,
    /// The document date.
    #[schema(format = Date)]
    date: Option<String>,
    /// How many, 1 to 1,000; 1 if not given.
    count: Option<u64>,
}

impl PreviewAsk {
    /// What to preview, and how many.
    pub fn take(self) -> Result<(Take, u32), Problem> {
        let take = Take {
            tenant: tenant(self.tenant.as_deref())?,
            params: self.params.unwrap_or_default().0,
            date: self.date.map(|date| date.parse::<Date>()).transpose()?,
            ..Take::default()
        };
        Ok((take, count_of(self.count.unwrap_or(1))?))
    }
}

/// A number that was issued elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = AdoptRequest)]
pub struct AdoptAsk<'a> {
    /// The text on the document.
    #[schema(example = "INV-2526-00042")]
    number: String,
    /// Its date.
    #[schema(format = Date)]
    date: String,
    /// Whose number.
    tenant: Option<String>,
    /// The key it was issued for, if known; may come as the header `Idempotency-Key` instead.
    key: Option<String>,
    /// The document.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<&'a RawValue>,
    /// Free text kept with the entry.
    reference: Option<String>,
}

impl AdoptAsk<'_> {
    /// The number to adopt.
    pub fn adopt(self, header: HeaderKey) -> Result<Adopt, Problem> {
        let key = header.or_body(key_of(self.key.as_deref())?)?;
        Ok(self.adopt_with(key)?)
    }

    /// The number to adopt, as one item of a batch.
    fn item(self) -> Result<Adopt, Refusal> {
        let key = key_of(self.key.as_deref())?;
        self.adopt_with(key)
    }

    fn adopt_with(self, key: Option<Key>) -> Result<Adopt, Refusal> {
        Ok(Adopt {
            key,
            number: self.number,
            date: self.date.parse::<Date>()?,
            tenant: tenant(self.tenant.as_deref())?,
            document: document(self.document)?,
            reference: reference(self.reference.as_deref())?,
        })
    }
}

/// Numbers that were issued elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = AdoptBatchRequest)]
pub struct AdoptBatchAsk<'a> {
    /// 1 to 1,000 numbers, best in the order of their seqs.
    #[serde(borrow)]
    #[schema(value_type = Vec<AdoptAsk>, max_items = 1000)]
    items: Vec<Object<AdoptAsk<'a>>>,
    /// Why the seqs between them are missing, for the person who asks later.
    #[schema(min_length = 1, max_length = 1000)]
    missing_reason: Option<String>,
}

impl AdoptBatchAsk<'_> {
    /// The numbers to adopt, and the reason of what is passed over.
    pub fn adopts(self) -> Result<(Vec<Adopt>, Option<Reason>), Problem> {
        let reason = self.missing_reason.as_deref().map(Reason::parse);
        let reason = reason.transpose().map_err(|refusal| refusal.at("/missing_reason"))?;
        let adopts = self
            .items
            .into_iter()
            .enumerate()
            .map(|(i, Object(item))| item.item().map_err(|refusal| refusal.inside(&format!("/items/{i}"))));
        Ok((adopts.collect::<Result<_, _>>()?, reason))
    }
}

/// A reserved number is on a document now.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ConfirmRequest)]
pub struct ConfirmAsk<'a> {
    /// The document, if it was not given when the number was reserved.
    #[serde(borrow)]
    #[schema(value_type = Option<serde_json::Value>)]
    document: Option<&'a RawValue>,
}

impl ConfirmAsk<'_> {
    /// The document.
    pub fn document(self) -> Result<Option<Document>, Problem> {
        Ok(document(self.document)?)
    }
}

/// Why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ReasonRequest)]
pub struct ReasonAsk {
    /// Why, for the person who asks later.
    #[schema(min_length = 1, max_length = 1000)]
    reason: String,
}

impl ReasonAsk {
    /// The reason.
    pub fn reason(self) -> Result<Reason, Problem> {
        Ok(Reason::parse(&self.reason)?)
    }
}

/// A number to void.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = VoidRequest)]
pub struct VoidAsk {
    /// `spoiled`, `duplicate`, `rejected`, `cancelled` or `other`.
    #[schema(example = "spoiled")]
    pub reason_code: String,
    /// Why, in words.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// Whether the replacement is issued in the same commit; the key moves to it.
    #[serde(default)]
    pub reissue: bool,
}

/// Seqs to pass over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = AdvanceRequest)]
pub struct AdvanceAsk {
    /// The last seq that counts as taken.
    pub to: u64,
    /// Why.
    #[schema(min_length = 1, max_length = 1000)]
    pub reason: String,
    /// Whose counter.
    pub tenant: Option<String>,
    /// The params that split the count.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub params: Option<Texts>,
    /// The period, as it is written; the present one if not given.
    pub period: Option<String>,
}

/// The tenant of a text, or the default one.
pub fn tenant(text: Option<&str>) -> Result<Tenant, Refusal> {
    text.map_or_else(|| Ok(Tenant::default()), Tenant::parse)
}

/// A count of the core's width; what is wider is far too large.
fn count_of(count: u64) -> Result<u32, Refusal> {
    u32::try_from(count).map_err(|_| {
        let most = Command::COUNT_MAX;
        let message = format!("count is {count}; one commit takes 1 to {most} numbers");
        Refusal::new(Code::InvalidCount, message).at("/count")
    })
}

fn key_of(text: Option<&str>) -> Result<Option<Key>, Refusal> {
    text.map(Key::parse).transpose()
}

fn reference(text: Option<&str>) -> Result<Option<Reference>, Refusal> {
    text.map(Reference::parse).transpose()
}

fn document(raw: Option<&RawValue>) -> Result<Option<Document>, Refusal> {
    raw.map(|raw| Document::parse(raw.get())).transpose()
}
