//! What a caller may do: scopes, tenants and series.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::journal::Hash;
use crate::name::{SeriesName, Tenant};
use crate::refusal::{Code, Refusal};
use crate::series::Series;
use crate::time::Timestamp;

/// A right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ApiScope {
    /// Issue, reserve, confirm, release.
    Issue,
    /// Void and redact.
    Void,
    /// Read series, counters and entries.
    Read,
    /// Verify, gaps, summary, checkpoint.
    Audit,
    /// Claim gates, renew, complete and fail.
    Gate,
    /// Everything, and series, periods, keys.
    Admin,
}

impl ApiScope {
    /// Every scope.
    pub const ALL: [Self; 6] = [
        Self::Issue,
        Self::Void,
        Self::Read,
        Self::Audit,
        Self::Gate,
        Self::Admin,
    ];

    /// The scope as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Void => "void",
            Self::Read => "read",
            Self::Audit => "audit",
            Self::Gate => "gate",
            Self::Admin => "admin",
        }
    }

    /// Reads [`ApiScope::as_str`] back.
    ///
    /// # Errors
    /// `invalid_text` with the choices.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.as_str() == text)
            .ok_or_else(|| {
                let message = format!(
                    "unknown scope `{}`; use issue, void, read, audit, gate or admin",
                    text.escape_debug()
                );
                Refusal::new(Code::InvalidText, message).at("/scopes")
            })
    }
}

impl fmt::Display for ApiScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a caller may do. An empty set of tenants or series means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// The rights.
    pub scopes: BTreeSet<ApiScope>,
    /// The only tenants it may see; empty for all.
    pub tenants: BTreeSet<Tenant>,
    /// The only series it may see; empty for all.
    pub series: BTreeSet<SeriesName>,
    /// Whether it reaches test series only.
    pub test_only: bool,
}

impl Access {
    /// Everything: the owner of the store.
    #[must_use]
    pub fn full() -> Self {
        Self {
            scopes: BTreeSet::from([ApiScope::Admin]),
            ..Self::default()
        }
    }

    /// Whether it has the scope; `admin` has every one.
    #[must_use]
    pub fn has(&self, scope: ApiScope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&ApiScope::Admin)
    }

    /// Whether it may see this tenant's numbers in this series.
    #[must_use]
    pub fn sees(&self, series: &Series, tenant: &Tenant) -> bool {
        self.sees_series(series) && self.sees_tenant(tenant)
    }

    /// Whether it may see this series at all.
    #[must_use]
    pub fn sees_series(&self, series: &Series) -> bool {
        (self.series.is_empty() || self.series.contains(&series.name)) && (!self.test_only || series.test)
    }

    /// Whether it may see this tenant.
    #[must_use]
    pub fn sees_tenant(&self, tenant: &Tenant) -> bool {
        self.tenants.is_empty() || self.tenants.contains(tenant)
    }

    /// Requires a scope.
    ///
    /// # Errors
    /// `forbidden` with the scope that is missing.
    pub fn require(&self, scope: ApiScope) -> Result<(), Refusal> {
        if self.has(scope) {
            return Ok(());
        }
        let message = format!("this needs an API key with the scope `{scope}`");
        Err(Refusal::new(Code::Forbidden, message))
    }

    /// Requires access to everything of every tenant and series, for what cannot be split.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_unbound(&self, scope: ApiScope) -> Result<(), Refusal> {
        self.require(scope)?;
        if self.tenants.is_empty() && self.series.is_empty() && !self.test_only {
            return Ok(());
        }
        let message = "this concerns every tenant and series; it needs an API key that is not bound to some of them";
        Err(Refusal::new(Code::Forbidden, message))
    }

    /// Requires a scope on the gates of a tenant. A gate belongs to no series, so a test key reaches none.
    ///
    /// # Errors
    /// `forbidden` with what the key is bound to.
    pub fn require_gates(&self, scope: ApiScope, tenant: &Tenant) -> Result<(), Refusal> {
        self.require(scope)?;
        let message = if self.test_only {
            "a test key reaches test series only, and a gate is of no series".to_string()
        } else if !self.sees_tenant(tenant) {
            format!("this API key is not allowed on tenant {tenant}")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Code::Forbidden, message))
    }

    /// Requires a scope on a tenant of a series.
    ///
    /// # Errors
    /// `forbidden` with what the key is bound to.
    pub fn require_on(&self, scope: ApiScope, series: &Series, tenant: &Tenant) -> Result<(), Refusal> {
        self.require(scope)?;
        let message = if self.test_only && !series.test {
            format!("a test key reaches test series only; {} is not one", series.name)
        } else if !self.sees_series(series) {
            format!("this API key is not allowed on series {}", series.name)
        } else if !self.sees_tenant(tenant) {
            format!("this API key is not allowed on tenant {tenant}")
        } else {
            return Ok(());
        };
        Err(Refusal::new(Code::Forbidden, message))
    }
}

/// An API key: what it may do, and the SHA-256 of its secret. The secret itself is shown once and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public part, `srt_<id>_…`.
    pub id: String,
    /// What it is for.
    pub label: String,
    /// SHA-256 of the secret part.
    pub secret_sha256: Hash,
    /// What it may do.
    pub access: Access,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked, if it was.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// What the journal and a store keep of its rights, one line each.
    #[must_use]
    pub fn to_text(&self) -> String {
        let scopes: Vec<&str> = self.access.scopes.iter().map(|scope| scope.as_str()).collect();
        let tenants: Vec<&str> = self.access.tenants.iter().map(Tenant::as_str).collect();
        let series: Vec<&str> = self.access.series.iter().map(SeriesName::as_str).collect();
        [
            format!("id={}", self.id),
            format!("label={}", self.label),
            format!("secret_sha256={}", self.secret_sha256),
            format!("scopes={}", scopes.join(",")),
            format!("tenants={}", tenants.join(",")),
            format!("series={}", series.join(",")),
            format!("test={}", self.access.test_only),
            format!("created_at={}", self.created_at.as_micros()),
        ]
        .join("\n")
    }

    /// Reads [`ApiKey::to_text`] back.
    ///
    /// # Errors
    /// What is wrong; a stored key that does not read is damage.
    pub fn from_text(text: &str, revoked_at: Option<Timestamp>) -> Result<Self, Refusal> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            line.ok_or_else(|| Refusal::new(Code::InvalidText, format!("the API key has no `{name}`")))
        };
        let list = |name: &str| -> Result<Vec<&str>, Refusal> {
            Ok(field(name)?.split(',').filter(|part| !part.is_empty()).collect())
        };
        let damaged = |name: &str| Refusal::new(Code::InvalidText, format!("the API key's `{name}` does not read"));
        let micros = field("created_at")?.parse().map_err(|_| damaged("created_at"))?;
        Ok(Self {
            id: field("id")?.to_string(),
            label: field("label")?.to_string(),
            secret_sha256: field("secret_sha256")?.parse()?,
            access: Access {
                scopes: list("scopes")?
                    .into_iter()
                    .map(ApiScope::parse)
                    .collect::<Result<_, _>>()?,
                tenants: list("tenants")?
                    .into_iter()
                    .map(Tenant::parse)
                    .collect::<Result<_, _>>()?,
                series: list("series")?
                    .into_iter()
                    .map(SeriesName::parse)
                    .collect::<Result<_, _>>()?,
                test_only: field("test")?.parse().map_err(|_| damaged("test"))?,
            },
            created_at: Timestamp::from_micros(micros),
            revoked_at,
        })
    }
}
