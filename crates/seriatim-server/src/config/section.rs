//! Settings that come several times, each time under a name: `[sources.NAME]`.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Environment, Source, read_secret_lines, wrong};

/// One key of a section.
pub struct Field {
    /// Its name.
    pub name: &'static str,
    kind: Kind,
    /// Never shown, and may come from the file named by `<name>_file` or from a variable.
    pub secret: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Texts,
    Flag,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        secret: false,
    }
}

const fn secret(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        secret: true,
    }
}

/// Every key of a `[sources.NAME]`.
pub const SOURCE_FIELDS: &[Field] = &[
    field("scheme", Kind::Text),
    field("tenant", Kind::Text),
    secret("secrets", Kind::Texts),
    field("series", Kind::Text),
    field("effects", Kind::Texts),
    field("paid", Kind::Texts),
    field("test", Kind::Flag),
    field("status", Kind::Text),
    field("status_url", Kind::Text),
    field("status_token_url", Kind::Text),
    field("status_id", Kind::Text),
    secret("status_secret", Kind::Text),
    field("status_version", Kind::Text),
    field("pointer_event", Kind::Text),
    field("pointer_reference", Kind::Text),
    field("pointer_amount", Kind::Text),
    field("pointer_currency", Kind::Text),
    field("pointer_time", Kind::Text),
    field("paid_events", Kind::Texts),
    field("authorized_events", Kind::Texts),
    field("failed_events", Kind::Texts),
    field("refunded_events", Kind::Texts),
];

/// What was said of one key.
#[derive(Clone)]
struct Said {
    texts: Vec<String>,
    source: Source,
}

/// One `[sources.NAME]` as it was written; what its words mean is not known here.
#[derive(Clone)]
pub struct Section {
    /// Its name.
    pub name: String,
    place: String,
    values: BTreeMap<&'static str, Said>,
}

impl std::fmt::Debug for Section {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may be secrets.
        f.debug_tuple("Section").field(&self.name).finish()
    }
}

impl Section {
    /// A text that need not be there.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.values.get(field)?.texts.first().map(String::as_str)
    }

    /// The texts of a list that need not be there.
    #[must_use]
    pub fn texts(&self, field: &str) -> Option<&[String]> {
        self.values.get(field).map(|said| said.texts.as_slice())
    }

    /// Whether a flag is set.
    #[must_use]
    pub fn flag(&self, field: &str) -> bool {
        self.text(field) == Some("true")
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// It is not.
    pub fn required(&self, field: &str) -> Result<&str, ConfigError> {
        self.text(field).ok_or_else(|| self.wrong(field, "is not set"))
    }

    /// What is wrong with one of its keys, with the place.
    #[must_use]
    pub fn wrong(&self, field: &str, what: &str) -> ConfigError {
        let place = match self.values.get(field) {
            Some(said) => said.source.to_string(),
            None => self.place.clone(),
        };
        ConfigError(format!("{place}: sources.{}: {field} {what}", self.name))
    }

    /// Every key that has a value: its full name, what may be shown of it, and who said it.
    pub(super) fn shown(&self) -> impl Iterator<Item = (String, String, String)> {
        SOURCE_FIELDS.iter().filter_map(|field| {
            let said = self.values.get(field.name)?;
            let text = if field.secret {
                "(hidden)".to_string()
            } else {
                said.texts.join(", ")
            };
            let name = format!("sources.{}.{}", self.name, field.name);
            Some((name, text, said.source.to_string()))
        })
    }

    /// Variables stand above the file; only secrets have them.
    pub(super) fn overlay(&mut self, environment: Environment<'_>) -> Result<(), ConfigError> {
        let name = self.name.replace('-', "_");
        for field in SOURCE_FIELDS.iter().filter(|field| field.secret) {
            let variable = format!("SERIATIM_SOURCE_{name}_{}", field.name).to_uppercase();
            let look = |name: &str| environment(name).filter(|text| !text.is_empty());
            let by_file = format!("{variable}_FILE");
            let (texts, source) = match (look(&variable), look(&by_file)) {
                (None, None) => continue,
                (Some(_), Some(_)) => {
                    return wrong(format!("{variable} and {by_file} are both set; set one of them"));
                }
                (Some(text), None) => (lines(&text), variable),
                (None, Some(path)) => (read_secret_lines(&path, &by_file)?, by_file),
            };
            let source = Source::Environment(source);
            self.values.insert(field.name, Said { texts, source });
        }
        Ok(())
    }
}

/// The secrets in a text: one a line.
pub(super) fn lines(text: &str) -> Vec<String> {
    let trimmed = text.lines().map(str::trim);
    trimmed.filter(|line| !line.is_empty()).map(str::to_string).collect()
}

/// Tells the place of a byte of the file.
pub(super) type At<'a> = &'a dyn Fn(usize) -> String;

/// Every `[sources.NAME]` of a file.
pub(super) fn parse_sources(value: &Spanned<DeValue<'_>>, at: At<'_>) -> Result<Vec<Section>, ConfigError> {
    let DeValue::Table(table) = value.get_ref() else {
        let place = at(value.span().start);
        return wrong(format!("{place}: sources: write each as a table, [sources.NAME]"));
    };
    let sections = table.iter().map(|(name, value)| {
        let place = at(name.span().start);
        check_name(name.get_ref()).or_else(|what| wrong(format!("{place}: {what}")))?;
        match value.get_ref() {
            DeValue::Table(fields) => parse_section(name.get_ref(), place, fields, at),
            other => wrong(format!(
                "{place}: sources.{}: expected a table, found a {}",
                name.get_ref(),
                other.type_str()
            )),
        }
    });
    sections.collect()
}

/// It is a part of a URL and of a variable's name.
fn check_name(name: &str) -> Result<(), String> {
    let tail = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    match name.as_bytes() {
        [first, rest @ ..] if first.is_ascii_lowercase() && rest.len() < 63 && rest.iter().all(tail) => Ok(()),
        _ => Err(format!(
            "sources.{}: a source's name is a lower-case letter, then up to 62 of a-z, 0-9 and `-`",
            name.escape_debug()
        )),
    }
}

fn parse_section(name: &str, place: String, fields: &DeTable<'_>, at: At<'_>) -> Result<Section, ConfigError> {
    let mut section = Section {
        name: name.to_string(),
        place,
        values: BTreeMap::new(),
    };
    for (key, value) in fields {
        let place = at(key.span().start);
        let (field, from_file) =
            field_of(key.get_ref()).or_else(|what| wrong(format!("{place}: sources.{name}: {what}")))?;
        let kind = if from_file { Kind::Text } else { field.kind };
        let texts = written(kind, value.get_ref()).or_else(|what| {
            let place = at(value.span().start);
            wrong(format!("{place}: sources.{name}.{}: {what}", key.get_ref()))
        })?;
        let texts = match texts.first() {
            Some(path) if from_file => read_secret_lines(path, &place)?,
            _ => texts,
        };
        if section.values.contains_key(field.name) {
            let field = field.name;
            return wrong(format!(
                "{place}: sources.{name}: {field} and {field}_file are both set; set one of them"
            ));
        }
        let source = Source::File(place);
        section.values.insert(field.name, Said { texts, source });
    }
    Ok(section)
}

fn field_of(key: &str) -> Result<(&'static Field, bool), String> {
    for field in SOURCE_FIELDS {
        if key == field.name {
            return Ok((field, false));
        }
        if field.secret && key.strip_suffix("_file") == Some(field.name) {
            return Ok((field, true));
        }
    }
    let mut names: Vec<String> = SOURCE_FIELDS.iter().map(|field| field.name.to_string()).collect();
    let secrets = SOURCE_FIELDS.iter().filter(|field| field.secret);
    names.extend(secrets.map(|field| format!("{}_file", field.name)));
    names.sort_unstable();
    Err(format!(
        "unknown key `{}`; there are {}",
        key.escape_debug(),
        names.join(", ")
    ))
}

fn written(kind: Kind, value: &DeValue<'_>) -> Result<Vec<String>, String> {
    match (kind, value) {
        (Kind::Text, DeValue::Integer(number)) => Ok(vec![number.as_str().replace('_', "")]),
        (Kind::Text, DeValue::String(text)) => Ok(vec![text.to_string()]),
        (Kind::Flag, DeValue::Boolean(flag)) => Ok(vec![flag.to_string()]),
        (Kind::Texts, DeValue::Array(items)) => {
            let texts = items.iter().map(|item| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                other => Err(format!("expected a list of texts, found a {} in it", other.type_str())),
            });
            texts.collect()
        }
        (Kind::Text, other) => Err(format!("expected a text or a number, found a {}", other.type_str())),
        (Kind::Flag, other) => Err(format!("expected true or false, found a {}", other.type_str())),
        (Kind::Texts, other) => Err(format!("expected a list of texts, found a {}", other.type_str())),
    }
}
