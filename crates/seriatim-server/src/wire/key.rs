//! API keys, as callers see them. A secret is in one answer only: the one that made it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use seriatim::{Access, ApiScope, Refusal, SeriesName, Tenant, Timestamp};
use utoipa::ToSchema;

use super::Shown;
use crate::problem::Problem;

const LABEL_MAX: usize = 255;

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ApiKeyRequest)]
pub struct KeyAsk {
    /// What it is for.
    #[schema(example = "checkout service", max_length = 255)]
    label: Option<String>,
    /// Of `issue`, `void`, `read`, `audit`, `admin`; `admin` has every one.
    #[schema(example = json!(["issue", "read"]), min_items = 1)]
    scopes: Vec<String>,
    /// The only tenants it may see; all if not given.
    tenants: Option<Vec<String>>,
    /// The only series it may see; all if not given.
    series: Option<Vec<String>>,
    /// Whether it reaches test series only.
    #[serde(default)]
    test: bool,
}

impl KeyAsk {
    /// What it is for.
    pub fn label(&self) -> Result<&str, Problem> {
        let Some(label) = self.label.as_deref() else {
            return Ok("");
        };
        if label.trim().is_empty() {
            let detail = "a label says what the key is for; leave it out if there is nothing to say";
            return Err(Problem::malformed("invalid_text", detail).at("/label"));
        }
        if label.chars().count() > LABEL_MAX {
            let detail = format!("a label has at most {LABEL_MAX} characters");
            return Err(Problem::malformed("invalid_text", detail).at("/label"));
        }
        Ok(label)
    }

    /// What the key may do.
    pub fn access(&self) -> Result<Access, Problem> {
        Ok(Access {
            scopes: named("scopes", Some(&self.scopes), ApiScope::parse)?,
            tenants: named("tenants", self.tenants.as_deref(), Tenant::parse)?,
            series: named("series", self.series.as_deref(), SeriesName::parse)?,
            test_only: self.test,
        })
    }
}

fn named<T: Ord>(
    field: &str,
    texts: Option<&[String]>,
    parse: fn(&str) -> Result<T, Refusal>,
) -> Result<BTreeSet<T>, Problem> {
    let Some(texts) = texts else { return Ok(BTreeSet::new()) };
    if texts.is_empty() {
        // A list that somebody computed and that came out empty must not open everything.
        let detail = format!("{field} is empty; name at least one, or leave the field out if it may be left out");
        return Err(Problem::malformed("invalid_value", detail).at(format!("/{field}")));
    }
    let parse = |(i, text): (usize, &String)| parse(text).map_err(|refusal| refusal.at(format!("/{field}/{i}")));
    Ok(texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?)
}

/// An API key; its secret is kept nowhere.
#[derive(Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub struct ApiKey<'a> {
    /// The public part, `srt_<id>_…`.
    id: &'a str,
    /// What it is for.
    label: &'a str,
    /// What it may do.
    #[schema(value_type = Vec<String>)]
    scopes: Vec<&'static str>,
    /// The only tenants it may see; empty for all.
    tenants: Vec<&'a str>,
    /// The only series it may see; empty for all.
    series: Vec<&'a str>,
    /// Whether it reaches test series only.
    test: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Shown<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Shown<Timestamp>>,
}

impl<'a> ApiKey<'a> {
    /// A key.
    pub fn of(key: &'a seriatim::ApiKey) -> Self {
        Self {
            id: &key.id,
            label: &key.label,
            scopes: key.access.scopes.iter().map(|scope| scope.as_str()).collect(),
            tenants: key.access.tenants.iter().map(|tenant| tenant.as_str()).collect(),
            series: key.access.series.iter().map(|series| series.as_str()).collect(),
            test: key.access.test_only,
            created_at: Shown(key.created_at),
            revoked_at: key.revoked_at.map(Shown),
        }
    }
}

/// A key that was made, with its secret.
#[derive(Serialize, ToSchema)]
pub struct NewApiKey<'a> {
    /// The key as it is listed.
    #[serde(flatten)]
    pub api_key: ApiKey<'a>,
    /// The whole key. It is shown this once.
    #[schema(example = "srt_0123456789ab_…")]
    pub key: &'a str,
}
