//! Params: the values that a request supplies to the format, and who shares a count by them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::refusal::{Code, Refusal};

/// What a declared param may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParamKind {
    /// Decimal digits; shorter values are padded with zeros to `min`.
    Digits {
        /// The printed width.
        min: u8,
        /// The largest width.
        max: u8,
    },
    /// Latin letters, in the case they are given.
    Letters {
        /// The smallest width.
        min: u8,
        /// The largest width.
        max: u8,
    },
    /// One of a list of texts.
    OneOf(Vec<String>),
}

impl ParamKind {
    /// The widest value of a param, in characters.
    pub const WIDTH_MAX: u8 = 32;

    /// Reads `digits = 2`, `letters = "1..4"` and the like: the kind's name and its width.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn parse(kind: &str, width: &str) -> Result<Self, String> {
        let (min, max) = widths(width).ok_or_else(|| {
            format!(
                "`{}` is not a width; write a number or a range like \"1..4\", from 1 to {}",
                width.escape_debug(),
                Self::WIDTH_MAX
            )
        })?;
        match kind {
            "digits" => Ok(Self::Digits { min, max }),
            "letters" => Ok(Self::Letters { min, max }),
            _ => Err(format!(
                "unknown kind `{}`; use digits, letters or one_of",
                kind.escape_debug()
            )),
        }
    }

    /// A list of allowed texts.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn one_of(values: Vec<String>) -> Result<Self, String> {
        let fits = |value: &String| {
            (1..=usize::from(Self::WIDTH_MAX)).contains(&value.len())
                && value
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/'))
        };
        if values.is_empty() {
            return Err("one_of needs at least one text".into());
        }
        if let Some(value) = values.iter().find(|value| !fits(value)) {
            return Err(format!(
                "`{}` cannot be a value; use 1 to {} of A-Z, a-z, 0-9, `-`, `_`, `.` and `/`",
                value.escape_debug(),
                Self::WIDTH_MAX
            ));
        }
        let mut sorted = values.clone();
        sorted.sort();
        sorted.dedup();
        if sorted.len() < values.len() {
            return Err("one_of names a text twice".into());
        }
        Ok(Self::OneOf(values))
    }

    /// The one spelling of a value: `1` is `01` where two digits are declared.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub fn canonical(&self, value: &str) -> Result<String, String> {
        match self {
            Self::Digits { min, max } => {
                let digits = value.trim_start_matches('0');
                if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
                    Err(format!("must be {} digits", width_text(*min, *max)))
                } else if digits.len() > usize::from(*max) || value.len() > 255 {
                    Err(format!(
                        "has {} digits; it is declared with {}",
                        digits.len(),
                        width_text(*min, *max)
                    ))
                } else {
                    Ok(format!("{digits:0>width$}", width = usize::from(*min)))
                }
            }
            Self::Letters { min, max } => {
                if !value.bytes().all(|b| b.is_ascii_alphabetic())
                    || !(usize::from(*min)..=usize::from(*max)).contains(&value.len())
                {
                    return Err(format!("must be {} letters of A-Z, a-z", width_text(*min, *max)));
                }
                Ok(value.to_string())
            }
            Self::OneOf(values) => {
                if values.iter().any(|allowed| allowed == value) {
                    return Ok(value.to_string());
                }
                Err(format!("must be one of {}", values.join(", ")))
            }
        }
    }

    /// The printed width if every value has the same.
    pub(crate) fn fixed_width(&self) -> Option<usize> {
        match self {
            Self::Digits { min, max } | Self::Letters { min, max } => (min == max).then_some(usize::from(*min)),
            Self::OneOf(values) => {
                let first = values.first()?.len();
                values.iter().all(|value| value.len() == first).then_some(first)
            }
        }
    }

    /// Whether a value may contain this character.
    pub(crate) fn may_contain(&self, c: char) -> bool {
        match self {
            Self::Digits { .. } => c.is_ascii_digit(),
            Self::Letters { .. } => c.is_ascii_alphabetic(),
            Self::OneOf(values) => values.iter().any(|value| value.contains(c)),
        }
    }

    pub(crate) fn width_min(&self) -> usize {
        match self {
            Self::Digits { min, .. } | Self::Letters { min, .. } => usize::from(*min),
            Self::OneOf(values) => values.iter().map(String::len).min().unwrap_or(0),
        }
    }
}

impl fmt::Display for ParamKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digits { min, max } => write!(f, "digits:{}", width_text(*min, *max)),
            Self::Letters { min, max } => write!(f, "letters:{}", width_text(*min, *max)),
            Self::OneOf(values) => write!(f, "one_of:{}", values.join("|")),
        }
    }
}

fn width_text(min: u8, max: u8) -> String {
    if min == max {
        format!("{min}")
    } else {
        format!("{min}..{max}")
    }
}

fn widths(text: &str) -> Option<(u8, u8)> {
    let width = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse::<u8>().ok())
            .flatten()
    };
    let (min, max) = match text.split_once("..") {
        Some((min, max)) => (width(min)?, width(max)?),
        None => (width(text)?, width(text)?),
    };
    (1 <= min && min <= max && max <= ParamKind::WIDTH_MAX).then_some((min, max))
}

/// The params that a series declares, by name.
pub type ParamKinds = BTreeMap<String, ParamKind>;

/// Canonical values by name.
///
/// ```
/// use seriatim_core::Params;
/// let params = Params::stored("branch=07,desk=A");
/// assert_eq!(params.get("branch"), Some("07"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// Reads the values that a request gives into their one spelling.
    ///
    /// # Errors
    /// `unknown_param`, `missing_param`, `invalid_param`, each at its field.
    pub fn canonical(kinds: &ParamKinds, given: &BTreeMap<String, String>) -> Result<Self, Refusal> {
        if let Some(name) = given.keys().find(|name| !kinds.contains_key(*name)) {
            return Err(unknown_param(kinds, name));
        }
        let mut params = BTreeMap::new();
        for (name, kind) in kinds {
            let value = given.get(name).ok_or_else(|| {
                Refusal::new(Code::MissingParam, format!("param `{name}` is missing; it is {kind}"))
                    .at(format!("/params/{name}"))
            })?;
            let value = kind.canonical(value).map_err(|what| {
                Refusal::new(Code::InvalidParam, format!("param `{name}` {what}")).at(format!("/params/{name}"))
            })?;
            params.insert(name.clone(), value);
        }
        Ok(Self(params))
    }

    /// Params as they were stored: `name=value,name=value`. What is damaged stays different from what was stored.
    #[must_use]
    pub fn stored(text: &str) -> Self {
        let pairs = text.split(',').filter(|pair| !pair.is_empty());
        Self::from_pairs(pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (name.to_string(), value.to_string())
        }))
    }

    pub(crate) fn from_pairs(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(pairs.into_iter().collect())
    }

    /// The value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Only the params of these names: the part that splits the count.
    #[must_use]
    pub fn only(&self, names: &[String]) -> Self {
        Self(
            names
                .iter()
                .filter_map(|name| Some((name.clone(), self.0.get(name)?.clone())))
                .collect(),
        )
    }
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, value)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{name}={value}")?;
        }
        Ok(())
    }
}

fn unknown_param(kinds: &ParamKinds, name: &str) -> Refusal {
    let known: Vec<&str> = kinds.keys().map(String::as_str).collect();
    let way_out = if known.is_empty() {
        "this series declares none".to_string()
    } else {
        format!("this series declares {}", known.join(", "))
    };
    let name = name.escape_debug().to_string();
    Refusal::new(Code::UnknownParam, format!("unknown param `{name}`; {way_out}"))
        .at(format!("/params/{}", name.replace('~', "~0").replace('/', "~1")))
}
