//! What a line answers, as plain values with one way to print them. A boundary fills them in; it never prints itself.

use std::fmt;

use seriatim_core::{
    Answer, ClaimOutcome, Code, Counter, Counts, EntriesAnswer, Entry, Gate, GateState, Refusal, State,
};

use crate::audit::Gaps;
use crate::failure::Failure;

/// What a line answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Numbers that were taken, changed or would be next.
    Numbers {
        /// The numbers, in the order of the request.
        numbers: Vec<NumberShown>,
        /// With `reissue`: the number that was voided.
        voided: Option<String>,
        /// Codes of the warnings.
        warnings: Vec<String>,
        /// Whether the answer says that this is a test series.
        test: bool,
    },
    /// A series as it is now.
    Series {
        /// Its version.
        version: u64,
        /// Whether the command changed anything.
        changed: bool,
    },
    /// A period was closed, with these counters.
    Closed(Vec<CounterShown>),
    /// A period is open again.
    Open,
    /// Seqs were passed over.
    Missing {
        /// The first.
        first: u64,
        /// The last.
        last: u64,
    },
    /// A test series is empty.
    Empty,
    /// There is an API key of this name now.
    Key(String),
    /// The API key is revoked.
    Revoked(String),
    /// So many overdue reservations were voided.
    Swept(usize),
    /// What a claim came to.
    Claimed {
        /// `won`, `busy`, `done` or `dead`.
        outcome: String,
        /// Whether the token had been given before.
        replayed: bool,
        /// When a claim may succeed, in whole seconds, rounded up.
        retry_after: Option<i64>,
        /// The gate.
        gate: GateShown,
    },
    /// A gate that was moved, or looked at; or none.
    Gate {
        /// The gate.
        gate: Option<GateShown>,
        /// Whether it had been so before.
        replayed: bool,
    },
    /// One counter, or none.
    Counter(Option<CounterShown>),
    /// One entry, or none.
    Entry(Option<Box<EntryShown>>),
    /// Missing seqs.
    Gaps(Vec<GapShown>),
    /// Codes of the findings of `verify`.
    Verified(Vec<String>),
    /// An expected no.
    Refused {
        /// The stable code.
        code: String,
        /// JSON pointer to the field, if one is to blame.
        field: Option<String>,
        /// The numbers that it is about. Shown are those of `voided`: the voided one, and the one that replaces it.
        entries: Vec<String>,
    },
    /// An accident, by its code, or something that cannot be told.
    Failed(String),
}

/// One number of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberShown {
    /// The text on the document.
    pub number: String,
    /// `issued`, `reserved` or `voided`.
    pub state: String,
    /// Whether it had been given before.
    pub replayed: bool,
    /// In what the request differs from the first one with its key.
    pub differs: Vec<String>,
}

/// A counter.
#[derive(Debug, Clone, PartialEq)]
pub struct CounterShown {
    /// The seq it began with.
    pub first: u64,
    /// The seq taken last.
    pub last: u64,
    /// How many seqs are in which state.
    pub counts: Counts,
}

/// A gate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GateShown {
    /// `open`, `claimed`, `done` or `dead`.
    pub state: String,
    /// The token of the latest claim.
    pub token: u64,
    /// How many attempts there were.
    pub attempts: u32,
    /// Who holds it.
    pub holder: Option<String>,
    /// The result, byte for byte.
    pub result: Option<String>,
    /// The last error.
    pub error: Option<String>,
}

impl GateShown {
    /// A gate of the core.
    #[must_use]
    pub fn of(gate: &Gate) -> Self {
        let holder = gate.holder.as_ref().filter(|_| gate.state == GateState::Claimed);
        Self {
            state: gate.state.as_str().to_string(),
            token: gate.token,
            attempts: gate.attempts,
            holder: holder.map(ToString::to_string),
            result: gate.result.as_ref().map(|result| result.as_str().to_string()),
            error: gate.last_error.as_ref().map(ToString::to_string),
        }
    }
}

impl fmt::Display for GateShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} token {} attempts {}", self.state, self.token, self.attempts)?;
        show(f, " holder=", self.holder.as_deref().map(quoted).as_ref())?;
        show(f, " result=", self.result.as_ref())?;
        show(f, " error=", self.error.as_deref().map(quoted).as_ref())
    }
}

/// An entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntryShown {
    /// `issued`, `reserved` or `voided`.
    pub state: String,
    /// The document date.
    pub date: String,
    /// The key.
    pub key: Option<String>,
    /// The reference.
    pub reference: Option<String>,
    /// The params, `branch=07,desk=A`.
    pub params: Option<String>,
    /// The document, byte for byte.
    pub document: Option<String>,
    /// Whether the document was emptied.
    pub redacted: bool,
    /// Why it was voided, as a code.
    pub reason_code: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// The number that it replaces.
    pub replaces: Option<String>,
    /// The number that replaces it.
    pub replacement: Option<String>,
}

/// A run of missing seqs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GapShown {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// Why.
    pub reason: String,
}

impl Outcome {
    /// Whether the line got what it asked for.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !matches!(self, Self::Refused { .. } | Self::Failed(_))
    }

    /// What an answer of the core shows.
    #[must_use]
    pub fn of_answer(answer: &Answer) -> Self {
        match answer {
            Answer::Entries(answer) | Answer::Preview(answer) => Self::of_entries(answer),
            Answer::Series { series, changed } => Self::Series {
                version: series.version,
                changed: *changed,
            },
            Answer::Closure(closure) if closure.closed => Self::Closed(
                closure
                    .counters
                    .iter()
                    .map(|counter| CounterShown {
                        first: counter.first_seq,
                        last: counter.last_seq,
                        counts: counter.counts,
                    })
                    .collect(),
            ),
            Answer::Closure(_) => Self::Open,
            Answer::Advanced { missing, .. } => Self::Missing {
                first: missing.first,
                last: missing.last,
            },
            Answer::Claim { gate, outcome } => Self::of_claim(gate, *outcome),
            Answer::Gate { gate, replayed } => Self::Gate {
                gate: Some(GateShown::of(gate)),
                replayed: *replayed,
            },
            Answer::Wiped(_) => Self::Empty,
            Answer::ApiKey(key) if key.revoked_at.is_some() => Self::Revoked(key.label.clone()),
            Answer::ApiKey(key) => Self::Key(key.label.clone()),
        }
    }

    fn of_claim(gate: &Gate, outcome: ClaimOutcome) -> Self {
        let retry_after = match outcome {
            ClaimOutcome::Busy { retry_after_micros } => Some((retry_after_micros + 999_999) / 1_000_000),
            ClaimOutcome::Won { .. } | ClaimOutcome::Done | ClaimOutcome::Dead => None,
        };
        Self::Claimed {
            outcome: outcome.as_str().to_string(),
            replayed: matches!(outcome, ClaimOutcome::Won { replayed: true, .. }),
            retry_after,
            gate: GateShown::of(gate),
        }
    }

    fn of_entries(answer: &EntriesAnswer) -> Self {
        let shown = answer.taken.iter().map(|taken| NumberShown {
            number: taken.entry.number.to_string(),
            state: taken.entry.state.as_str().to_string(),
            replayed: taken.replayed,
            differs: taken.differs.iter().map(ToString::to_string).collect(),
        });
        Self::Numbers {
            numbers: shown.collect(),
            voided: answer.voided.as_ref().map(|entry| entry.number.to_string()),
            warnings: answer
                .warnings
                .iter()
                .map(|warning| warning.code().to_string())
                .collect(),
            test: answer.series.test,
        }
    }

    /// What a refusal shows.
    #[must_use]
    pub fn of_refusal(refusal: &Refusal) -> Self {
        Self::Refused {
            code: refusal.code.as_str().to_string(),
            field: refusal.field.clone(),
            entries: refusal.entries.iter().map(|entry| entry.number.to_string()).collect(),
        }
    }

    /// What a failure shows.
    #[must_use]
    pub fn of_failure(failure: &Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::of_refusal(refusal),
            other => Self::Failed(other.code().to_string()),
        }
    }

    /// The one counter that was looked for.
    #[must_use]
    pub fn of_counters<'a>(found: impl IntoIterator<Item = &'a Counter>) -> Self {
        let mut found = found.into_iter();
        match (found.next(), found.next()) {
            (_, Some(_)) => Self::Failed("several counters; say which period, tenant or params".to_string()),
            (counter, None) => Self::Counter(counter.map(CounterShown::of)),
        }
    }

    /// The missing seqs that were found.
    #[must_use]
    pub fn of_gaps(found: &Gaps) -> Self {
        if let Some(counter) = found.unaccounted.first() {
            return Self::Failed(format!("unaccounted {counter}"));
        }
        Self::Gaps(
            found
                .gaps
                .iter()
                .map(|gap| GapShown {
                    first: gap.missing.first,
                    last: gap.missing.last,
                    reason: gap.missing.reason.to_string(),
                })
                .collect(),
        )
    }
}

impl CounterShown {
    /// A counter of the core.
    #[must_use]
    pub fn of(counter: &Counter) -> Self {
        Self {
            first: counter.first_seq,
            last: counter.last_seq,
            counts: counter.counts,
        }
    }
}

impl EntryShown {
    /// An entry of the core, with the numbers of the entries that it is linked to.
    #[must_use]
    pub fn of(entry: &Entry, replaces: Option<&Entry>, replacement: Option<&Entry>) -> Self {
        let number = |entry: &Entry| entry.number.to_string();
        Self {
            state: entry.state.as_str().to_string(),
            date: entry.date.to_string(),
            key: entry.key.as_ref().map(ToString::to_string),
            reference: entry.reference.as_ref().map(ToString::to_string),
            params: (!entry.params.is_empty()).then(|| entry.params.to_string()),
            document: entry.document.as_ref().map(|document| document.as_str().to_string()),
            redacted: entry.is_redacted(),
            reason_code: entry.reason_code.as_ref().map(ToString::to_string),
            reason: entry.reason.as_ref().map(ToString::to_string),
            replaces: replaces.map(number),
            replacement: replacement.map(number),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers {
                numbers,
                voided,
                warnings,
                test,
            } => {
                show_numbers(f, numbers)?;
                show(f, " replaces ", voided.as_ref())?;
                show(
                    f,
                    " warnings ",
                    (!warnings.is_empty()).then(|| warnings.join(",")).as_ref(),
                )?;
                f.write_str(if *test { " test" } else { "" })
            }
            Self::Series { version, changed } => {
                write!(f, "version {version}{}", if *changed { "" } else { " unchanged" })
            }
            Self::Closed(counters) => {
                let counters: Vec<String> = counters.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "closed {}",
                    if counters.is_empty() {
                        "empty".to_string()
                    } else {
                        counters.join("; ")
                    }
                )
            }
            Self::Open => f.write_str("open"),
            Self::Missing { first, last } => write!(f, "missing {first}..{last}"),
            Self::Empty => f.write_str("empty"),
            Self::Key(name) => write!(f, "key {name}"),
            Self::Revoked(name) => write!(f, "revoked {name}"),
            Self::Swept(count) => write!(f, "voided {count}"),
            Self::Claimed {
                outcome,
                replayed,
                retry_after,
                gate,
            } => {
                f.write_str(outcome)?;
                match outcome.as_str() {
                    "won" => write!(f, " token {} attempt {}", gate.token, gate.attempts)?,
                    "busy" => write!(f, " retry after {}s", retry_after.unwrap_or_default())?,
                    "done" => show(f, " ", gate.result.as_ref())?,
                    _ => show(f, " ", gate.error.as_deref().map(quoted).as_ref())?,
                }
                f.write_str(if *replayed { " replayed" } else { "" })
            }
            Self::Gate {
                gate: Some(gate),
                replayed,
            } => write!(f, "{gate}{}", if *replayed { " replayed" } else { "" }),
            Self::Counter(Some(counter)) => counter.fmt(f),
            Self::Entry(Some(entry)) => entry.fmt(f),
            Self::Counter(None) | Self::Entry(None) | Self::Gate { gate: None, .. } => f.write_str("none"),
            Self::Gaps(gaps) if gaps.is_empty() => f.write_str("none"),
            Self::Gaps(gaps) => {
                let mut gaps = gaps.clone();
                gaps.sort();
                let shown = gaps
                    .iter()
                    .map(|gap| format!("{}..{} {}", gap.first, gap.last, quoted(&gap.reason)));
                f.write_str(&shown.collect::<Vec<_>>().join("; "))
            }
            Self::Verified(findings) if findings.is_empty() => f.write_str("ok"),
            Self::Verified(findings) => f.write_str(&findings.join(", ")),
            Self::Refused { code, field, entries } => {
                write!(f, "refused {code}")?;
                show(f, " ", field.as_ref())?;
                let mut shown = entries.iter().filter(|_| code == Code::Voided.as_str());
                show(f, " ", shown.next())?;
                show(f, " replacement ", shown.next())
            }
            Self::Failed(what) => write!(f, "failed {what}"),
        }
    }
}

/// A long run of like numbers shows its ends.
fn show_numbers(f: &mut fmt::Formatter<'_>, numbers: &[NumberShown]) -> fmt::Result {
    let tail = |number: &NumberShown| number.to_string()[number.number.len()..].to_string();
    match numbers {
        [first, .., last] if numbers.len() > 4 && numbers.iter().all(|number| tail(number) == tail(first)) => {
            write!(
                f,
                "{} … {} ({}){}",
                first.number,
                last.number,
                numbers.len(),
                tail(first)
            )
        }
        _ => {
            let shown: Vec<String> = numbers.iter().map(ToString::to_string).collect();
            f.write_str(&shown.join(", "))
        }
    }
}

impl fmt::Display for NumberShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.number)?;
        if self.state != State::Issued.as_str() {
            write!(f, " {}", self.state)?;
        }
        f.write_str(if self.replayed { " replayed" } else { "" })?;
        if !self.differs.is_empty() {
            write!(f, " differs {}", self.differs.join(","))?;
        }
        Ok(())
    }
}

impl fmt::Display for CounterShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first != 1 {
            write!(f, "first {} ", self.first)?;
        }
        write!(f, "last {}", self.last)?;
        let Counts {
            issued,
            reserved,
            voided,
            missing,
        } = self.counts;
        let states = [
            ("issued", issued),
            ("reserved", reserved),
            ("voided", voided),
            ("missing", missing),
        ];
        states
            .iter()
            .filter(|(_, count)| *count > 0)
            .try_for_each(|(state, count)| write!(f, " {state} {count}"))
    }
}

impl fmt::Display for EntryShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.state, self.date)?;
        show(f, " key=", self.key.as_deref().map(quoted).as_ref())?;
        show(f, " reference=", self.reference.as_deref().map(quoted).as_ref())?;
        show(f, " params=", self.params.as_ref())?;
        show(f, " document=", self.document.as_ref())?;
        f.write_str(if self.redacted { " redacted" } else { "" })?;
        show(f, " ", self.reason_code.as_ref())?;
        show(f, " ", self.reason.as_deref().map(quoted).as_ref())?;
        show(f, " replaces ", self.replaces.as_ref())?;
        show(f, " replacement ", self.replacement.as_ref())
    }
}

fn show(f: &mut fmt::Formatter<'_>, before: &str, text: Option<&String>) -> fmt::Result {
    text.map_or(Ok(()), |text| write!(f, "{before}{text}"))
}

fn quoted(text: &str) -> String {
    if text.contains(' ') {
        format!("'{text}'")
    } else {
        text.to_string()
    }
}
