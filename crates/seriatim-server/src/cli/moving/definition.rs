//! A series as the service has it, for reading numbers.

use serde_json::Value;
use seriatim::{BundledZones, Series, SeriesName, SeriesSpec};

use super::super::failed::Failed;
use super::super::output::{list, text};
use super::super::session::Session;
use crate::transport::{Call, path};
use crate::wire::SeriesAsk;

/// The series of that name.
pub async fn series_of(session: &Session, name: &str) -> Result<Series, Failed> {
    let answer = session.answer(Call::get(path(&["v1", "series", name]))).await?;
    of_settings(name, answer.json)
}

/// The series that it replaced, and those that replaced it: they share its numbers, and a table has those of all.
pub async fn line_of(session: &Session, name: &str) -> Result<Vec<Series>, Failed> {
    let all = session.answer(Call::get("/v1/series")).await?.json;
    let named = |name: &str| list(&all, "data").iter().find(|series| text(series, "name") == name);
    let mut line = Vec::new();
    for to in ["replaces", "replaced_by"] {
        let mut next = named(name).map(|series| text(series, to));
        while let Some(series) = next.as_deref().and_then(named) {
            line.push(of_settings(&text(series, "name"), series.clone())?);
            next = Some(text(series, to));
        }
    }
    Ok(line)
}

fn of_settings(name: &str, mut settings: Value) -> Result<Series, Failed> {
    if let Some(settings) = settings.as_object_mut() {
        // What a definition is answered with and cannot be asked for.
        ["version", "replaced_by"]
            .iter()
            .for_each(|field| drop(settings.remove(*field)));
        settings.retain(|_, value| !value.is_null());
    }
    read(name, settings)
        .map_err(|what| Failed::Other(format!("the definition of series {name} cannot be read: {what}")))
}

fn read(name: &str, settings: Value) -> Result<Series, String> {
    let ask: SeriesAsk = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    let name = SeriesName::parse(name).map_err(|refusal| refusal.message)?;
    let spec = ask.spec(&name).map_err(|_| "its params".to_string())?;
    define(name, &spec)
}

/// A series of these settings, as the core accepts it.
pub fn define(name: SeriesName, spec: &SeriesSpec) -> Result<Series, String> {
    Series::define(name, spec, &BundledZones).map_err(|error| error.message)
}
