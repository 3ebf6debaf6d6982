//! What a caller may see. What he may not see does not exist for him: one thing is unknown, a list leaves it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use seriatim::{Access, Code, Entry, EntryId, Period, Refusal, Series, SeriesName, Tenant};

use crate::app::App;
use crate::problem::Problem;

/// The series that a caller sees, by name.
pub struct View {
    series: BTreeMap<SeriesName, Arc<Series>>,
    everything: bool,
    access: Access,
}

impl View {
    /// What this caller sees.
    pub async fn of(app: &App, access: Access) -> Result<Self, Problem> {
        let all = app.issuer().reads().series().await?;
        let count = all.len();
        let seen = all.into_iter().filter(|series| access.sees_series(series));
        let series: BTreeMap<_, _> = seen.map(|series| (series.name.clone(), series)).collect();
        Ok(Self {
            everything: series.len() == count,
            series,
            access,
        })
    }

    /// Every series he sees.
    pub fn series(&self) -> impl Iterator<Item = &Arc<Series>> {
        self.series.values()
    }

    /// One series.
    pub fn one(&self, name: &SeriesName) -> Result<&Arc<Series>, Problem> {
        self.series.get(name).ok_or_else(|| {
            let refusal = Refusal::new(
                Code::UnknownSeries,
                format!("there is no series {name}, or none for this API key"),
            );
            refusal.at("/series").into()
        })
    }

    /// Whether a series is a test series.
    pub fn is_test(&self, name: &SeriesName) -> bool {
        self.series.get(name).is_some_and(|series| series.test)
    }

    /// Whether he sees this tenant's numbers in this series.
    pub fn sees(&self, series: &SeriesName, tenant: &Tenant) -> bool {
        self.series.contains_key(series) && self.access.sees_tenant(tenant)
    }

    /// One entry.
    pub async fn entry(&self, app: &App, id: EntryId) -> Result<Arc<Entry>, Problem> {
        let entry = app.issuer().reads().entry(id).await?;
        let seen = entry.filter(|entry| self.sees(&entry.counter.series, &entry.counter.tenant));
        seen.ok_or_else(|| {
            let refusal = Refusal::new(Code::UnknownEntry, format!("there is no entry {id}"));
            refusal.at("/id").into()
        })
    }

    /// Narrows a wish to what he sees; nothing if that leaves nothing. Empty lists in the answer mean all.
    pub fn narrow(&self, wish: &Wish) -> Result<Option<Narrowed>, Problem> {
        let series = match &wish.series {
            Some(name) => vec![self.one(name)?.name.clone()],
            None if self.everything => Vec::new(),
            None if self.series.is_empty() => return Ok(None),
            None => self.series.keys().cloned().collect(),
        };
        let tenants = match &wish.tenant {
            Some(tenant) if self.access.sees_tenant(tenant) => vec![tenant.clone()],
            Some(_) => return Ok(None),
            None => self.access.tenants.iter().cloned().collect(),
        };
        Ok(Some(Narrowed {
            series,
            tenants,
            period: self.period(wish)?,
        }))
    }

    /// A period of a series is checked; without a series it can only be looked for.
    fn period(&self, wish: &Wish) -> Result<Option<Period>, Problem> {
        let Some(text) = &wish.period else { return Ok(None) };
        match &wish.series {
            Some(name) => Ok(Some(self.one(name)?.reset.period(text)?)),
            None => Ok(Some(Period::stored(printed("/period", text)?))),
        }
    }
}

/// A text to look for; none that is stored has control characters, and not every store can look for them.
pub fn printed<'a>(pointer: &str, text: &'a str) -> Result<&'a str, Problem> {
    if text.chars().any(char::is_control) {
        let detail = "this has control characters, which nothing that is stored here has";
        return Err(Problem::malformed("invalid_text", detail).at(pointer));
    }
    Ok(text)
}

/// What a list is asked for.
pub struct Wish {
    /// The series.
    pub series: Option<SeriesName>,
    /// The tenant.
    pub tenant: Option<Tenant>,
    /// The period, as it is written.
    pub period: Option<String>,
}

impl Wish {
    /// Reads the query.
    pub fn read(series: Option<&str>, tenant: Option<&str>, period: Option<String>) -> Result<Self, Problem> {
        Ok(Self {
            series: series.map(SeriesName::parse).transpose()?,
            tenant: tenant.map(Tenant::parse).transpose()?,
            period,
        })
    }
}

/// What of it the caller sees; empty lists mean all.
pub struct Narrowed {
    /// The series.
    pub series: Vec<SeriesName>,
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// The period.
    pub period: Option<Period>,
}
