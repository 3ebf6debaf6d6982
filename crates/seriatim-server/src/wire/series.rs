//! A series: the settings that a caller writes, and the definition as it is.

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use seriatim::{ParamKind, ParamKinds, SeriesName, SeriesSpec};
use utoipa::ToSchema;

use super::{Named, NumberOrText, Object, Shown};
use crate::problem::Problem;

/// The settings of a series. One that is absent means its default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = SeriesRequest)]
pub struct SeriesAsk {
    /// If given, the name in the path again.
    name: Option<String>,
    /// What the numbers look like.
    #[schema(example = "INV-{fy}-{seq:5}")]
    format: String,
    /// `never`, `daily`, `monthly`, `yearly` or `fiscal-year:MM-DD`.
    #[schema(example = "fiscal-year:04-01", default = "never")]
    reset: Option<String>,
    /// An IANA time zone: whose midnight counts.
    #[schema(example = "Asia/Kolkata", default = "UTC")]
    time_zone: Option<String>,
    /// The first seq of a counter.
    #[schema(default = 1)]
    start: Option<u64>,
    /// Params that split the count besides the tenant.
    partition_by: Option<Vec<String>>,
    /// Declared params.
    #[schema(value_type = Option<BTreeMap<String, ParamAsk>>)]
    params: Option<Named<Object<ParamAsk>>>,
    /// `explain`; `allow` comes later.
    #[schema(default = "explain")]
    gaps: Option<String>,
    /// `widen` or `refuse`, when seq outgrows its width.
    #[schema(default = "widen")]
    overflow: Option<String>,
    /// The last seq that a counter may take.
    limit: Option<u64>,
    /// The most characters that a number may have.
    #[schema(default = 64)]
    max_length: Option<u64>,
    /// `free` or `required`: whether dates may run backwards.
    #[schema(default = "free")]
    date_order: Option<String>,
    /// Days around today from which dates are accepted.
    #[schema(default = "-400d..+32d")]
    date_window: Option<String>,
    /// `required` or `optional`.
    #[schema(default = "required")]
    keys: Option<String>,
    /// `lenient` or `strict`.
    #[schema(default = "lenient")]
    replay: Option<String>,
    /// `hold` or `void`, of a reservation.
    #[schema(default = "hold")]
    on_expiry: Option<String>,
    /// `fail`; `fallback` comes later.
    #[schema(default = "fail")]
    on_outage: Option<String>,
    /// Whether the series can be wiped.
    test: Option<bool>,
    /// The series whose uniqueness this one shares.
    replaces: Option<String>,
}

/// What a param may be: exactly one of these.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = ParamRequest)]
pub struct ParamAsk {
    /// Decimal digits, of this width: a number, or a range like `1..4`.
    digits: Option<NumberOrText>,
    /// Latin letters, of this width: a number, or a range like `1..4`.
    letters: Option<NumberOrText>,
    /// One of these texts.
    one_of: Option<Vec<String>>,
}

impl SeriesAsk {
    /// The definition as it was written.
    pub fn spec(self, name: &SeriesName) -> Result<SeriesSpec, Problem> {
        if self.name.is_some_and(|given| given != name.as_str()) {
            let detail = format!("the path says series {name}, the body another name; leave it out of the body");
            return Err(Problem::malformed("name_mismatch", detail).at("/name"));
        }
        let params = self.params.unwrap_or_default().0.into_iter();
        let params = params.map(|(name, Object(param))| Ok((name.clone(), param.kind(&name)?)));
        Ok(SeriesSpec {
            params: params.collect::<Result<_, Problem>>()?,
            format: self.format,
            reset: self.reset,
            time_zone: self.time_zone,
            start: self.start,
            partition_by: self.partition_by.unwrap_or_default(),
            gaps: self.gaps,
            overflow: self.overflow,
            limit: self.limit,
            max_length: self.max_length,
            date_order: self.date_order,
            date_window: self.date_window,
            keys: self.keys,
            replay: self.replay,
            on_expiry: self.on_expiry,
            on_outage: self.on_outage,
            test: self.test.unwrap_or(false),
            replaces: self.replaces,
        })
    }
}

impl ParamAsk {
    fn kind(self, name: &str) -> Result<(String, Vec<String>), Problem> {
        let width = |width: NumberOrText| match width {
            NumberOrText::Number(number) => vec![number.to_string()],
            NumberOrText::Text(text) => vec![text],
        };
        match (self.digits, self.letters, self.one_of) {
            (Some(digits), None, None) => Ok(("digits".to_string(), width(digits))),
            (None, Some(letters), None) => Ok(("letters".to_string(), width(letters))),
            (None, None, Some(texts)) => Ok(("one_of".to_string(), texts)),
            _ => {
                let detail = "give exactly one of digits, letters and one_of";
                let name = name.replace('~', "~0").replace('/', "~1");
                Err(Problem::malformed("invalid_value", detail).at(format!("/params/{name}")))
            }
        }
    }
}

/// The definition of a series as it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Series)]
pub struct Series<'a> {
    /// Its name.
    name: &'a str,
    /// 1 for the first definition, one more for each change; the ETag.
    version: u64,
    /// What the numbers look like.
    #[schema(value_type = String)]
    format: Shown<&'a seriatim::Format>,
    /// When the count restarts.
    #[schema(value_type = String)]
    reset: Shown<seriatim::Reset>,
    /// Whose midnight counts.
    time_zone: &'a str,
    /// The first seq of a counter.
    start: u64,
    /// Params that split the count besides the tenant.
    partition_by: &'a [String],
    /// Declared params.
    #[schema(value_type = BTreeMap<String, ParamAsk>)]
    params: KindsShown<'a>,
    /// What becomes of a released number.
    gaps: &'a str,
    /// What happens when seq outgrows its width.
    overflow: &'a str,
    /// The last seq that a counter may take.
    limit: Option<u64>,
    /// The most characters that a number may have.
    max_length: usize,
    /// Whether dates may run backwards.
    date_order: &'a str,
    /// Days around today from which dates are accepted.
    #[schema(value_type = String)]
    date_window: Shown<seriatim::Window>,
    /// Whether a key is required.
    keys: &'a str,
    /// What a retry must have in common with its first request.
    replay: &'a str,
    /// What becomes of an overdue reservation.
    on_expiry: &'a str,
    /// What is answered during an outage.
    on_outage: &'a str,
    /// Whether it can be wiped.
    test: bool,
    /// The series whose uniqueness this one shares.
    replaces: Option<&'a str>,
    /// The series that took over: this one issues nothing any more.
    replaced_by: Option<&'a str>,
}

impl<'a> Series<'a> {
    /// A series.
    pub fn of(series: &'a seriatim::Series) -> Self {
        Self {
            name: &series.name,
            version: series.version,
            format: Shown(&series.format),
            reset: Shown(series.reset),
            time_zone: series.zone.name(),
            start: series.start,
            partition_by: &series.partition_by,
            params: KindsShown(&series.params),
            gaps: "explain",
            overflow: series.overflow.as_str(),
            limit: series.limit,
            max_length: series.max_length,
            date_order: series.date_order.as_str(),
            date_window: Shown(series.window),
            keys: series.keys.as_str(),
            replay: series.replay.as_str(),
            on_expiry: series.on_expiry.as_str(),
            on_outage: series.on_outage.as_str(),
            test: series.test,
            replaces: series.replaces.as_deref(),
            replaced_by: series.replaced_by.as_deref(),
        }
    }
}

/// A series that was defined or changed, or would be.
#[derive(Serialize, ToSchema)]
pub struct Defined<'a> {
    /// The series.
    #[serde(flatten)]
    pub series: Series<'a>,
    /// Whether the call changed anything.
    pub changed: bool,
    /// Whether it was only a rehearsal: nothing was written.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub dry_run: bool,
}

/// A test series to empty: there is nothing more to say.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = WipeRequest)]
pub struct WipeAsk {}

/// A test series that is empty again.
#[derive(Serialize, ToSchema)]
pub struct Wiped<'a> {
    /// The series.
    pub series: &'a str,
    /// Always true.
    pub wiped: bool,
}

/// Declared params, written as they are read.
struct KindsShown<'a>(&'a ParamKinds);

impl Serialize for KindsShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, kind)| (name, KindShown(kind))))
    }
}

struct KindShown<'a>(&'a ParamKind);

impl Serialize for KindShown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self.0 {
            ParamKind::Digits { min, max } if min == max => map.serialize_entry("digits", min)?,
            ParamKind::Digits { min, max } => map.serialize_entry("digits", &format!("{min}..{max}"))?,
            ParamKind::Letters { min, max } if min == max => map.serialize_entry("letters", min)?,
            ParamKind::Letters { min, max } => map.serialize_entry("letters", &format!("{min}..{max}"))?,
            ParamKind::OneOf(texts) => map.serialize_entry("one_of", texts)?,
        }
        map.end()
    }
}
