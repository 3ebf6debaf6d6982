//! The expected no: a stable code, the field it is about, and the way out. Nothing was written.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::entry::Entry;

/// What sort of no it is; a surface translates it (HTTP status, exit code, SQLSTATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is not well-formed.
    Malformed,
    /// The caller may not do this.
    Forbidden,
    /// There is no such thing, or none that the caller may see.
    NotFound,
    /// The request does not fit the present state.
    Conflict,
    /// The caller's idea of the version is out of date.
    Precondition,
    /// The version is needed and was not given.
    PreconditionRequired,
    /// The request is too large.
    TooLarge,
    /// A rule of the series refuses it.
    Rule,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $kind:ident;)*) => {
        /// The stable code of a refusal.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of the reference page.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as it is written in answers, logs and metrics.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// What sort of no it is.
            #[must_use]
            pub fn kind(self) -> Kind {
                match self { $(Code::$name => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// A series name that breaks the rules for names.
    InvalidSeries = "invalid_series", Malformed;
    /// A tenant name that breaks the rules for names.
    InvalidTenant = "invalid_tenant", Malformed;
    /// A key that is empty, too long or not printable ASCII.
    InvalidKey = "invalid_key", Malformed;
    /// Free text with control characters or of a wrong length.
    InvalidText = "invalid_text", Malformed;
    /// A date that is no date.
    InvalidDate = "invalid_date", Malformed;
    /// An instant that is no instant.
    InvalidTime = "invalid_time", Malformed;
    /// A period that the series cannot have.
    InvalidPeriod = "invalid_period", Malformed;
    /// A document that is not JSON, names a field twice or nests too deep.
    InvalidDocument = "invalid_document", Malformed;
    /// A document over 64 KiB.
    DocumentTooLarge = "document_too_large", TooLarge;
    /// A duration out of range.
    InvalidTtl = "invalid_ttl", Malformed;
    /// A count or batch out of range.
    InvalidCount = "invalid_count", Malformed;
    /// An id that is no id.
    InvalidId = "invalid_id", Malformed;
    /// The name of an effect that breaks the rules for names.
    InvalidEffect = "invalid_effect", Malformed;
    /// A subject that is empty, too long or not printable ASCII.
    InvalidSubject = "invalid_subject", Malformed;
    /// The series definition breaks a rule of the format language.
    InvalidDefinition = "invalid_definition", Rule;
    /// There is no such series.
    UnknownSeries = "unknown_series", NotFound;
    /// There is no such entry.
    UnknownEntry = "unknown_entry", NotFound;
    /// There is no such gate.
    UnknownGate = "unknown_gate", NotFound;
    /// There is no such API key.
    UnknownApiKey = "unknown_api_key", NotFound;
    /// The API key lacks the scope, tenant or series.
    Forbidden = "forbidden", Forbidden;
    /// The series does not declare this param.
    UnknownParam = "unknown_param", Rule;
    /// A declared param was not given.
    MissingParam = "missing_param", Rule;
    /// The param's value does not fit its kind.
    InvalidParam = "invalid_param", Rule;
    /// The series requires a key and none was given.
    KeyRequired = "key_required", Malformed;
    /// The key was used for another request.
    KeyReused = "key_reused", Rule;
    /// The key stands for several numbers.
    KeyShared = "key_shared", Conflict;
    /// The key's number was voided.
    Voided = "voided", Conflict;
    /// The date lies outside the series' window.
    DateOutsideWindow = "date_outside_window", Rule;
    /// The date would run backwards.
    DateOrder = "date_order", Rule;
    /// The date is out of the range that the format can print unambiguously.
    DateOutOfRange = "date_out_of_range", Rule;
    /// The period is closed.
    PeriodClosed = "period_closed", Conflict;
    /// The period is not closed.
    PeriodNotClosed = "period_not_closed", Conflict;
    /// The period still has reserved numbers.
    PeriodBusy = "period_busy", Conflict;
    /// The counter is at its end.
    CounterExhausted = "counter_exhausted", Rule;
    /// The series was replaced by another.
    SeriesReplaced = "series_replaced", Conflict;
    /// The number was already issued.
    NumberExists = "number_exists", Conflict;
    /// There is an API key of this id already.
    ApiKeyExists = "api_key_exists", Conflict;
    /// The format cannot print this number on this date.
    NumberDoesNotFit = "number_does_not_fit", Rule;
    /// The entry was never reserved.
    NotReserved = "not_reserved", Conflict;
    /// The reservation is over.
    ReservationExpired = "reservation_expired", Conflict;
    /// The reservation still runs.
    ReservationOpen = "reservation_open", Conflict;
    /// The entry is already void.
    AlreadyVoided = "already_voided", Conflict;
    /// The entry is already issued with another document.
    AlreadyIssued = "already_issued", Conflict;
    /// The entry's document is already redacted, or it has none.
    NothingToRedact = "nothing_to_redact", Conflict;
    /// The token is not the current one of its gate.
    StaleToken = "stale_token", Conflict;
    /// The gate is held, over or was claimed since, so its task stays.
    GateFixed = "gate_fixed", Conflict;
    /// The gate is not dead, so there is nothing to retry.
    GateNotDead = "gate_not_dead", Conflict;
    /// The change of a series with numbers is not allowed.
    SeriesFixed = "series_fixed", Conflict;
    /// The limit is below a number already taken, or `max_length` leaves no room for the number after it.
    LimitTooLow = "limit_too_low", Rule;
    /// The target of an advance is not above the counter.
    AdvanceTooLow = "advance_too_low", Rule;
    /// The version in If-Match is not the present one.
    VersionMismatch = "version_mismatch", Precondition;
    /// A change needs If-Match.
    VersionRequired = "version_required", PreconditionRequired;
    /// Only test series can be wiped.
    NotATestSeries = "not_a_test_series", Conflict;
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An expected no. Nothing was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What is wrong and the way out, for a person.
    pub message: String,
    /// JSON pointer to the field of the request, if one is to blame.
    pub field: Option<String>,
    /// The entries it is about: the voided one first, then its replacement.
    pub entries: Box<[Arc<Entry>]>,
    /// For a definition: byte offset and length of the place in the format.
    pub place: Option<(usize, usize)>,
}

impl Refusal {
    /// A refusal with its code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            field: None,
            entries: Box::default(),
            place: None,
        }
    }

    /// The same refusal, pointing at a field.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.field = Some(pointer.into());
        self
    }

    /// The same refusal, pointing at a field inside `prefix`, e.g. one item of a batch.
    #[must_use]
    pub fn inside(mut self, prefix: &str) -> Self {
        self.field = Some(alloc::format!("{prefix}{}", self.field.unwrap_or_default()));
        self
    }

    pub(crate) fn about(mut self, entries: impl IntoIterator<Item = Arc<Entry>>) -> Self {
        self.entries = entries.into_iter().collect();
        self
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for Refusal {}
