//! The settings: a flag, else `SERIATIM_<FLAG>`, else `seriatim.toml`, else the default.
//!
//! One table names every setting, so that flag, variable and key of the file cannot drift apart. This module must
//! never know what a setting is for.

mod section;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

pub use section::{Field, SOURCE_FIELDS, Section};

/// One setting. Its variable is `SERIATIM_<NAME>`.
pub struct Setting {
    /// Its key in the file; the flag has dashes for underscores.
    pub name: &'static str,
    /// What holds if nobody says otherwise.
    pub default: Option<&'static str>,
    /// A secret is never a flag, is never shown, and may come from the file named by `<name>_file`.
    pub secret: bool,
    kind: Kind,
}

/// How its value may stand in the file besides in quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Count,
    Flag,
}

const fn plain(name: &'static str, default: Option<&'static str>) -> Setting {
    Setting {
        name,
        default,
        secret: false,
        kind: Kind::Text,
    }
}

const fn count(name: &'static str, default: &'static str) -> Setting {
    Setting {
        kind: Kind::Count,
        ..plain(name, Some(default))
    }
}

const fn flag(name: &'static str) -> Setting {
    Setting {
        kind: Kind::Flag,
        ..plain(name, Some("false"))
    }
}

const fn secret(name: &'static str) -> Setting {
    Setting {
        name,
        default: None,
        secret: true,
        kind: Kind::Text,
    }
}

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    plain("data_dir", Some("./seriatim-data")),
    plain("store", None),
    plain("server", None),
    secret("api_key"),
    plain("output", Some("plain")),
    flag("quiet"),
    plain("env", Some("development")),
    plain("accept", None),
    plain("receipts_dir", None),
    plain("receipt_template", None),
    count("workers", "4"),
    plain("lease", Some("30s")),
    count("attempts", "20"),
    plain("witness", None),
    plain("witness_every", Some("10s")),
    plain("http_addr", Some("127.0.0.1:8080")),
    secret("admin_key"),
    plain("deadline", Some("3s")),
    count("queue_max", "10000"),
    count("batch_max", "2000"),
    plain("shutdown_delay", None),
    plain("drain", Some("20s")),
    plain("log", None),
    plain("log_format", None),
];

/// The configuration cannot be used. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

fn wrong<T>(message: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(message.into()))
}

/// Who said it; the later in this list, the stronger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody.
    Default,
    /// The file, with the place of the value.
    File(String),
    /// This variable.
    Environment(String),
    /// The command line.
    Flag,
}

impl Source {
    /// Where it stands among the others, whatever its details.
    fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::File(_) => 1,
            Self::Environment(_) => 2,
            Self::Flag => 3,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => f.write_str(place),
            Self::Environment(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A value as it was written, and by whom.
#[derive(Debug, Clone)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Who said it.
    pub source: Source,
    /// The file that a secret was read from.
    pub file: Option<PathBuf>,
}

/// The flags that were given, by setting.
pub type Flags = BTreeMap<&'static str, String>;

/// Where variables are looked up: the process's environment, or a test's.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Every setting with its value.
#[derive(Debug, Clone)]
pub struct Config {
    values: BTreeMap<&'static str, Value>,
    sources: Vec<Section>,
}

impl Config {
    /// Reads file and environment, and puts the flags above them.
    ///
    /// # Errors
    /// The file cannot be read, names a setting that does not exist, or a secret is given twice.
    pub fn load(file: Option<&Path>, flags: Flags, environment: Environment<'_>) -> Result<Self, ConfigError> {
        let mut values = defaults();
        let mut sources = Vec::new();
        values.extend(port(environment));
        if let Some(path) = find_file(file, environment)? {
            let read = read_file(&path)?;
            values.extend(read.values);
            sources = read.sources;
        }
        for source in &mut sources {
            source.overlay(environment)?;
        }
        for setting in SETTINGS {
            values.extend(from_environment(setting, environment)?.map(|value| (setting.name, value)));
        }
        values.extend(said_by_flag(flags));
        Ok(Self { values, sources })
    }

    /// The defaults, and the flags above them.
    #[must_use]
    pub fn of_flags(flags: Flags) -> Self {
        let mut values = defaults();
        values.extend(said_by_flag(flags));
        Self {
            values,
            sources: Vec::new(),
        }
    }

    /// Every `[sources.NAME]`, by name.
    #[must_use]
    pub fn sources(&self) -> &[Section] {
        &self.sources
    }

    /// The value of a setting as it was written.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The text of a setting.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| value.text.as_str())
    }

    /// Whether the first of two settings was said by a stronger source than the second.
    #[must_use]
    pub fn is_stronger(&self, one: &str, other: &str) -> bool {
        let rank = |name| self.get(name).map(|value| value.source.rank());
        rank(one) > rank(other)
    }

    /// A setting that must be there, read as what it is.
    ///
    /// # Errors
    /// It is missing or does not read; the message names setting, value and source.
    pub fn parse<T>(&self, name: &str) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        let value = self.required(name)?;
        let parsed = value.text.parse::<T>();
        parsed.or_else(|error| wrong(complaint(name, value, &error.to_string())))
    }

    /// A stretch of time such as `5s` or `200ms`.
    ///
    /// # Errors
    /// It is missing or does not read.
    pub fn duration(&self, name: &str) -> Result<Duration, ConfigError> {
        let value = self.required(name)?;
        parse_duration(&value.text).or_else(|error| wrong(complaint(name, value, &error)))
    }

    /// A stretch of time that is longer than none.
    ///
    /// # Errors
    /// It is missing, does not read, or is none.
    pub fn stretch(&self, name: &str) -> Result<Duration, ConfigError> {
        let duration = self.duration(name)?;
        self.above_zero(name, duration)
    }

    /// A count that is at least one.
    ///
    /// # Errors
    /// It is missing, does not read, or is zero.
    pub fn count<T>(&self, name: &str) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display> + Default + PartialEq,
    {
        let count = self.parse(name)?;
        self.above_zero(name, count)
    }

    fn above_zero<T: Default + PartialEq>(&self, name: &str, value: T) -> Result<T, ConfigError> {
        if value == T::default() {
            return wrong(complaint(name, self.required(name)?, "must be more than 0"));
        }
        Ok(value)
    }

    /// One of a few words.
    ///
    /// # Errors
    /// It is another word.
    pub fn choice<'a>(&self, name: &str, choices: &[&'a str]) -> Result<&'a str, ConfigError> {
        let value = self.required(name)?;
        let found = choices.iter().find(|choice| **choice == value.text);
        let expected = || format!("use one of {}", choices.join(", "));
        found
            .copied()
            .map_or_else(|| wrong(complaint(name, value, &expected())), Ok)
    }

    fn required(&self, name: &str) -> Result<&Value, ConfigError> {
        self.get(name).map_or_else(|| wrong(format!("{name} is not set")), Ok)
    }

    /// Every setting: name, what may be shown of it, and who said it.
    pub fn shown(&self) -> impl Iterator<Item = (String, String, String)> {
        let settings = SETTINGS.iter().map(|setting| {
            let Some(value) = self.get(setting.name) else {
                return (setting.name.to_string(), String::new(), "not set".to_string());
            };
            // The URL of a database may hold its password.
            let is_hidden = setting.secret || value.text.contains("://") && value.text.contains('@');
            let text = if is_hidden { "(hidden)" } else { value.text.as_str() };
            (setting.name.to_string(), text.to_string(), value.source.to_string())
        });
        settings.chain(self.sources.iter().flat_map(Section::shown))
    }
}

/// A stretch of time such as `5s`, `200ms` or `1h 30m`; never negative.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    let unsigned = parsed.ok().and_then(|duration| Duration::try_from(duration).ok());
    unsigned.ok_or_else(|| "write a duration like 5s, 200ms or 2m".to_string())
}

fn defaults() -> BTreeMap<&'static str, Value> {
    let default = |setting: &Setting| Some((setting.name, said(setting.default?, Source::Default)));
    SETTINGS.iter().filter_map(default).collect()
}

fn said_by_flag(flags: Flags) -> impl Iterator<Item = (&'static str, Value)> {
    flags.into_iter().map(|(name, text)| (name, said(&text, Source::Flag)))
}

fn said(text: &str, source: Source) -> Value {
    Value {
        text: text.to_string(),
        source,
        file: None,
    }
}

fn said_in(file: PathBuf, text: &str, source: Source) -> Value {
    Value {
        file: Some(file),
        ..said(text, source)
    }
}

fn complaint(name: &str, value: &Value, what: &str) -> String {
    let is_secret = SETTINGS.iter().any(|setting| setting.name == name && setting.secret);
    let text = if is_secret { "(hidden)" } else { &value.text };
    format!("{name} = `{}` ({}): {what}", text.escape_debug(), value.source)
}

/// Platforms say the port in `PORT`. They run the image in production and reach it from outside; on a desk the
/// variable may be somebody else's, so there only this machine can reach the server.
fn port(environment: Environment<'_>) -> Option<(&'static str, Value)> {
    let port = environment("PORT").filter(|port| !port.is_empty())?;
    let production = environment("SERIATIM_ENV").as_deref() == Some("production");
    let host = if production { "0.0.0.0" } else { "127.0.0.1" };
    Some((
        "http_addr",
        said(&format!("{host}:{port}"), Source::Environment("PORT".to_string())),
    ))
}

fn from_environment(setting: &Setting, environment: Environment<'_>) -> Result<Option<Value>, ConfigError> {
    let variable = format!("SERIATIM_{}", setting.name.to_uppercase());
    // An empty variable is an unset one: compose files and CI cannot unset what they inherit.
    let look = |name: &str| environment(name).filter(|text| !text.is_empty());
    let direct = look(&variable);
    let by_file = if setting.secret {
        look(&format!("{variable}_FILE"))
    } else {
        None
    };
    match (direct, by_file) {
        (Some(_), Some(_)) => wrong(format!("{variable} and {variable}_FILE are both set; set one of them")),
        (Some(text), None) => Ok(Some(said(&text, Source::Environment(variable)))),
        (None, Some(path)) => {
            let source = format!("{variable}_FILE");
            let path = PathBuf::from(path);
            let text = read_secret(&path, &source)?;
            Ok(Some(said_in(path, &text, Source::Environment(source))))
        }
        (None, None) => Ok(None),
    }
}

/// A file with several secrets, one a line.
fn read_secret_lines(path: &str, source: &str) -> Result<Vec<String>, ConfigError> {
    Ok(section::lines(&read_secret(Path::new(path), source)?))
}

fn read_secret(path: &Path, source: &str) -> Result<String, ConfigError> {
    let text = std::fs::read_to_string(path)
        .or_else(|error| wrong(format!("cannot read {} ({source}): {error}", path.display())))?;
    let text = text.trim();
    if text.is_empty() {
        return wrong(format!("{} ({source}) is empty", path.display()));
    }
    Ok(text.to_string())
}

/// The file that was asked for, else the first of the usual places that has one.
fn find_file(asked: Option<&Path>, environment: Environment<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let variable = environment("SERIATIM_CONFIG").filter(|path| !path.is_empty());
    if let Some(path) = asked.map(Path::to_path_buf).or(variable.map(PathBuf::from)) {
        return if is_file(&path)? {
            Ok(Some(path))
        } else {
            wrong(format!("there is no configuration file {}", path.display()))
        };
    }
    for path in ["seriatim.toml", "/etc/seriatim/seriatim.toml"].map(PathBuf::from) {
        if is_file(&path)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// A file that this user may not look at could name another store.
fn is_file(path: &Path) -> Result<bool, ConfigError> {
    use std::io::ErrorKind;
    match std::fs::metadata(path) {
        Ok(found) => Ok(found.is_file()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => wrong(format!("cannot read {}: {error}", path.display())),
    }
}

/// What a file says.
#[derive(Debug, Default)]
struct Written {
    values: Vec<(&'static str, Value)>,
    sources: Vec<Section>,
}

fn read_file(path: &Path) -> Result<Written, ConfigError> {
    let text =
        std::fs::read_to_string(path).or_else(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    parse_file(&path.display().to_string(), &text)
}

fn parse_file(path: &str, text: &str) -> Result<Written, ConfigError> {
    let at = |offset: usize| format!("{path}:{}", Place::of(text, offset));
    let table = DeTable::parse(text).or_else(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        wrong(format!("{}: {}", at(offset), error.message()))
    })?;
    let mut written = Written::default();
    for (key, value) in table.get_ref() {
        if key.get_ref() == "sources" {
            written.sources = section::parse_sources(value, &at)?;
            continue;
        }
        let place = at(key.span().start);
        let (setting, from_file) = setting_of(key.get_ref()).or_else(|what| wrong(format!("{place}: {what}")))?;
        let name = setting.name;
        let text = scalar(setting.kind, value.get_ref())
            .or_else(|what| wrong(format!("{}: {}: {what}", at(value.span().start), key.get_ref())))?;
        let file = from_file.then(|| PathBuf::from(&text));
        let text = match &file {
            Some(path) => read_secret(path, &place)?,
            None => text,
        };
        if written.values.iter().any(|(known, _)| *known == name) {
            return wrong(format!("{place}: {name} and {name}_file are both set; set one of them"));
        }
        let value = said(&text, Source::File(place));
        written.values.push((name, Value { file, ..value }));
    }
    Ok(written)
}

/// The setting that a key of the file means, and whether its value is in another file.
fn setting_of(key: &str) -> Result<(&'static Setting, bool), String> {
    for setting in SETTINGS {
        if key == setting.name {
            return Ok((setting, false));
        }
        if setting.secret && key.strip_suffix("_file") == Some(setting.name) {
            return Ok((setting, true));
        }
    }
    let mut names: Vec<String> = SETTINGS.iter().map(|setting| setting.name.to_string()).collect();
    let secrets = SETTINGS.iter().filter(|setting| setting.secret);
    names.extend(secrets.map(|setting| format!("{}_file", setting.name)));
    names.push("sources".to_string());
    names.sort_unstable();
    Err(format!(
        "unknown key `{}`; there are {}",
        key.escape_debug(),
        names.join(", ")
    ))
}

fn scalar(kind: Kind, value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if kind == Kind::Count => Ok(number.as_str().replace('_', "")),
        DeValue::Boolean(flag) if kind == Kind::Flag => Ok(flag.to_string()),
        DeValue::Integer(_) => Err("expected a text, found a number; write it in quotes".to_string()),
        other => Err(format!("expected a text or a number, found a {}", other.type_str())),
    }
}

/// A place in a text, as editors count: lines and characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl Place {
    /// The place of a byte.
    #[must_use]
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset.min(text.len())).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn load(file: &str, variables: &[(&str, &str)], flags: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seriatim.toml");
        std::fs::write(&path, file).unwrap();
        let flags = flags.iter().map(|(name, text)| (*name, (*text).to_string())).collect();
        let environment = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, text)| (*text).to_string())
        };
        Config::load(Some(&path), flags, &environment)
    }

    fn check_error(file: &str, expected: Expect) {
        expected.assert_eq(&parse_file("seriatim.toml", file).unwrap_err().0);
    }

    #[test]
    fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
        let file = "deadline = \"1s\"\nqueue_max = 7\nbatch_max = 8";
        let variables = [("SERIATIM_DEADLINE", "2s"), ("SERIATIM_QUEUE_MAX", "9")];
        let config = load(file, &variables, &[("deadline", "4s")]).unwrap();
        assert_eq!(config.duration("deadline").unwrap(), Duration::from_secs(4));
        assert_eq!(config.parse::<usize>("queue_max").unwrap(), 9);
        assert_eq!(config.parse::<usize>("batch_max").unwrap(), 8);
        assert_eq!(config.text("drain"), Some("20s"));
    }

    #[test]
    fn an_unknown_key_is_an_error_with_line_and_column() {
        check_error(
            "deadline = \"1s\"\n\n  htp_addr = \"x\"",
            expect![
                "seriatim.toml:3:3: unknown key `htp_addr`; there are accept, admin_key, admin_key_file, api_key, api_key_file, attempts, batch_max, data_dir, deadline, drain, env, http_addr, lease, log, log_format, output, queue_max, quiet, receipt_template, receipts_dir, server, shutdown_delay, sources, store, witness, witness_every, workers"
            ],
        );
    }

    #[test]
    fn what_is_not_toml_or_of_the_wrong_kind_is_an_error_with_line_and_column() {
        check_error(
            "deadline = \"1s\"\nqueue_max 7",
            expect!["seriatim.toml:2:11: key with no value, expected `=`"],
        );
        check_error(
            "queue_max = 7\nquiet = true\ndata_dir = 3",
            expect!["seriatim.toml:3:12: data_dir: expected a text, found a number; write it in quotes"],
        );
        check_error(
            "deadline = [1]",
            expect!["seriatim.toml:1:12: deadline: expected a text or a number, found a array"],
        );
    }

    #[test]
    fn a_value_that_does_not_read_names_its_source() {
        let config = load("", &[("SERIATIM_DEADLINE", "soon")], &[]).unwrap();
        let error = config.duration("deadline").unwrap_err();
        expect!["deadline = `soon` (SERIATIM_DEADLINE): write a duration like 5s, 200ms or 2m"].assert_eq(&error.0);
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_twice() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "srt_x_y\n").unwrap();
        let path = path.display().to_string();
        let config = load("", &[("SERIATIM_API_KEY_FILE", &path)], &[]).unwrap();
        assert_eq!(config.text("api_key"), Some("srt_x_y"));
        assert!(config.shown().all(|(_, text, _)| !text.contains("srt_")));
        let both = [("SERIATIM_API_KEY_FILE", path.as_str()), ("SERIATIM_API_KEY", "b")];
        assert!(load("", &both, &[]).is_err());
    }

    #[test]
    fn a_port_is_honoured_unless_an_address_is_said() {
        let config = load("", &[("PORT", "9000")], &[]).unwrap();
        assert_eq!(config.text("http_addr"), Some("127.0.0.1:9000"));
        let production = [("PORT", "9000"), ("SERIATIM_ENV", "production")];
        assert_eq!(
            load("", &production, &[]).unwrap().text("http_addr"),
            Some("0.0.0.0:9000")
        );
        let config = load("http_addr = \"127.0.0.1:1\"", &[("PORT", "9000")], &[]).unwrap();
        assert_eq!(config.text("http_addr"), Some("127.0.0.1:1"));
    }
}
