//! An accepted definition prints every position differently, and reads back what it printed.
//!
//! Definitions are made at random, half of them with care and half without, so that many lie just on one side or the
//! other of what is accepted: open widths side by side, texts that contain the separator, digits next to the seq,
//! two-digit years a century apart, fiscal years that begin on any day. What is accepted must keep its word.
//!
//! `SERIATIM_FUZZ_SECONDS=3600 cargo test --release --test injective -- --nocapture` goes on for an hour.

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{BundledZones, define, seconds_from_env};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use seriatim_core::{Date, ParamKind, Params, Period, Series, SeriesSpec};

/// One definition and the dice for the positions that are printed under it.
#[derive(Debug, Clone)]
struct Trial {
    spec: SeriesSpec,
    dice: Vec<Dice>,
    /// Whether all positions lie close together, so that two texts meet as soon as they can.
    narrow: bool,
}

/// Chooses params, a date and a seq, once it is known what the definition takes.
#[derive(Debug, Clone)]
struct Dice {
    params: [u16; 4],
    date: u16,
    days: i32,
    seq: u16,
    more: u64,
}

#[derive(Default)]
struct Tally {
    tried: AtomicU64,
    accepted: AtomicU64,
    positions: AtomicU64,
    pairs: AtomicU64,
}

impl Tally {
    fn add(count: &AtomicU64, more: usize) {
        count.fetch_add(more as u64, Ordering::Relaxed);
    }
}

#[test]
fn an_accepted_definition_prints_every_position_differently_and_reads_it_back() {
    let tally = Tally::default();
    let began = Instant::now();
    let longest = seconds_from_env("SERIATIM_FUZZ_SECONDS").map(Duration::from_secs);
    loop {
        // Config::default() reads PROPTEST_CASES. What fails is shrunk and printed; it becomes a test of its own.
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&trials(), |trial| keeps_its_word(&trial, &tally));
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
        if longest.is_none_or(|longest| began.elapsed() >= longest) {
            break;
        }
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (tried, accepted) = (count(&tally.tried), count(&tally.accepted));
    eprintln!(
        "{tried} definitions tried, {accepted} accepted, {} positions printed and read, {} pairs compared, in {:?}",
        count(&tally.positions),
        count(&tally.pairs),
        began.elapsed()
    );
    // A generator that makes only what is refused would prove nothing; one that makes only what is accepted, little.
    if tried >= 200 {
        assert!(
            accepted * 4 >= tried,
            "only {accepted} of {tried} definitions were accepted"
        );
        assert!(
            accepted * 10 <= tried * 9,
            "{accepted} of {tried} definitions were accepted: none comes near the edge"
        );
    }
}

fn keeps_its_word(trial: &Trial, tally: &Tally) -> Result<(), TestCaseError> {
    Tally::add(&tally.tried, 1);
    let Ok(series) = define(&trial.spec) else { return Ok(()) };
    Tally::add(&tally.accepted, 1);
    reads_back_from_its_text(&series)?;

    type Position = (Params, Period, u64);
    let mut printed: HashMap<String, (Position, Date)> = HashMap::new();
    for dice in &trial.dice {
        let (params, date, seq) = position(&series, dice, trial.narrow);
        if series.accept_date(date).is_err() {
            continue;
        }
        let period = series.reset.period_of(date);
        let text = series.render("acme-1", &params, date, seq);
        prop_assert_eq!(
            series.read(&text, "acme-1"),
            Some((params.clone(), period.clone(), seq)),
            "{} on {} of {}",
            text,
            date,
            series.format
        );
        let position = (params.only(&series.partition_by), period, seq);
        Tally::add(&tally.positions, 1);
        Tally::add(&tally.pairs, printed.len());
        let (before, on) = printed.entry(text.clone()).or_insert_with(|| (position.clone(), date));
        prop_assert_eq!(
            &*before,
            &position,
            "{} on {} and {} of {}",
            text,
            on,
            date,
            series.format
        );
    }
    Ok(())
}

/// What the journal keeps of a definition is the whole definition.
fn reads_back_from_its_text(series: &Series) -> Result<(), TestCaseError> {
    let text = series.to_text();
    let again = Series::from_text(series.name.clone(), series.version, &text, &BundledZones);
    let again = again.map_err(|error| TestCaseError::fail(format!("{error} in\n{text}")))?;
    prop_assert_eq!(again.to_text(), text);
    prop_assert_eq!(&again, series);
    Ok(())
}

// Positions.

fn position(series: &Series, dice: &Dice, narrow: bool) -> (Params, Date, u64) {
    let digit_max = if narrow { 1 } else { 8 };
    let given = series.params.iter().zip(dice.params);
    let given = given
        .map(|((name, kind), dice)| (name.clone(), value(kind, dice, digit_max)))
        .collect();
    let params = Params::canonical(&series.params, &given).unwrap_or_else(|refusal| panic!("{refusal}"));
    if narrow {
        let seqs = [
            1, 2, 10, 11, 12, 20, 101, 110, 111, 112, 1_011, 1_111, 10_111, 11_111, 111_111, 1_111_111,
        ];
        let seq = seqs[usize::from(dice.seq) % seqs.len()];
        return (
            params,
            date(
                series,
                &Dice {
                    date: dice.date % 2,
                    ..*dice
                },
            ),
            seq.clamp(series.start, series.seq_max()),
        );
    }
    (params, date(series, dice), seq(series, dice))
}

/// Few values, and those that look like one another: all ones, all zeros, a step in width.
fn value(kind: &ParamKind, dice: u16, texts_max: u16) -> String {
    let text = |texts: [&str; 8], min: u8, max: u8| {
        let width = u16::from(min) + (dice / 8) % (u16::from(max - min) + 1);
        texts[usize::from(dice % 8 % texts_max)].repeat(32)[..usize::from(width)].to_string()
    };
    match kind {
        // Shorter than declared, too: it is padded to its one spelling.
        ParamKind::Digits { max, .. } => text(["1", "0", "2", "9", "10", "11", "20", "01"], 1, *max),
        ParamKind::Letters { min, max } => text(["A", "a", "B", "AB", "BA", "Z", "z", "N"], *min, *max),
        ParamKind::OneOf(values) => values[usize::from(dice) % values.len()].clone(),
    }
}

/// Days on both sides of where a period may end, a leap day, and the same days a century apart.
fn date(series: &Series, dice: &Dice) -> Date {
    let (month, day) = match series.reset {
        seriatim_core::Reset::FiscalYear { month, day } => (month, day),
        _ => (1, 1),
    };
    let years = [
        2025, 2026, 2027, 2028, 2000, 2001, 2098, 2099, 2100, 2125, 1925, 1999, 1000, 1001, 9998, 9997,
    ];
    let year = years[usize::from(dice.date) % years.len()];
    let anchors = [
        (month, day),
        (1, 1),
        (2, 28),
        (12, 31),
        (11, 1),
        (1, 11),
        (month, 1),
        (4, 1),
    ];
    let (month, day) = anchors[usize::from(dice.date / 16) % anchors.len()];
    let anchor = Date::new(year, month, day).unwrap_or_else(|| panic!("{year}-{month}-{day}"));
    anchor.plus_days(dice.days)
}

/// Seqs at the start, around every power of ten, and anywhere.
fn seq(series: &Series, dice: &Dice) -> u64 {
    let power = 10u64.pow(u32::from(dice.seq % 19));
    let seq = match (dice.seq / 19) % 8 {
        0 => series.start.saturating_add(dice.more % 12),
        1 => power,
        2 => power - 1,
        3 => power + dice.more % 12,
        4 => power.saturating_mul(1 + dice.more % 9),
        5 => series.seq_max().saturating_sub(dice.more % 3),
        6 => dice.more % 1_000,
        _ => dice.more,
    };
    seq.clamp(series.start, series.seq_max())
}

// Definitions.

fn trials() -> impl Strategy<Value = Trial> {
    (prop_oneof![careful(), careless()], vec(dice(), 1..48), any::<bool>()).prop_map(|(spec, dice, narrow)| Trial {
        spec,
        dice,
        narrow,
    })
}

fn dice() -> impl Strategy<Value = Dice> {
    (any::<[u16; 4]>(), any::<u16>(), -2..=2i32, any::<u16>(), any::<u64>()).prop_map(
        |(params, date, days, seq, more)| Dice {
            params,
            date,
            days,
            seq,
            more,
        },
    )
}

/// The pieces of a format in any order: mostly refused, and what is accepted is odd.
fn careless() -> impl Strategy<Value = SeriesSpec> {
    let piece = prop_oneof![3 => select(TOKENS), 2 => select(LITERALS)];
    (vec(piece, 0..7), select(SEQS), 0..8usize, settings()).prop_map(|(mut pieces, seq, at, settings)| {
        pieces.insert(at.min(pieces.len()), seq);
        settings.spec(&pieces.concat())
    })
}

/// The period is printed, and what has no fixed width is mostly set off; mostly accepted.
fn careful() -> impl Strategy<Value = SeriesSpec> {
    let between = prop_oneof![6 => select(SEPARATORS), 1 => select(LITERALS), 1 => Just("")];
    let token = prop_oneof![4 => select(PARAM_TOKENS), 1 => select(TOKENS)];
    let tokens = vec(token, 0..4);
    (
        select(PERIODS),
        tokens,
        select(SEQS),
        vec(between, 8),
        0..720usize,
        settings(),
    )
        .prop_map(|((reset, shown), mut tokens, seq, between, order, mut settings)| {
            tokens.push(seq);
            tokens.extend(shown.iter().copied());
            shuffle(&mut tokens, order);
            settings.reset = match reset {
                "fiscal" if settings.reset.starts_with("fiscal") => settings.reset,
                "fiscal" => "fiscal-year:04-01".into(),
                // The first of a month, so that year and month tell the fiscal year.
                "fiscal-first" => format!("fiscal-year:{:02}-01", 2 + order % 11),
                other => other.into(),
            };
            let text: String = tokens
                .iter()
                .zip(&between)
                .map(|(token, after)| format!("{token}{after}"))
                .collect();
            settings.spec(&text)
        })
}

fn shuffle(tokens: &mut [&str], mut order: usize) {
    for i in (1..tokens.len()).rev() {
        tokens.swap(i, order % (i + 1));
        order /= i + 1;
    }
}

const TOKENS: &[&str] = &[
    "{year}",
    "{yy}",
    "{month}",
    "{day}",
    "{date}",
    "{fy}",
    "{fy:long}",
    "{fy:start}",
    "{fy:end}",
    "{tenant}",
    "{a}",
    "{b}",
    "{c}",
    "{d}",
];
const PARAM_TOKENS: &[&str] = &["{a}", "{b}", "{c}", "{d}"];
const SEQS: &[&str] = &["{seq}", "{seq:1}", "{seq:2}", "{seq:4}", "{seq:5}", "{seq:18}"];
const LITERALS: &[&str] = &[
    "-", "/", "0", "1", "A", "AB", "INV-", "{{", "}}", "é", "--", "_", ".", "9-", "-0", " ", "№", "20", "a", "٣", "#",
];
const SEPARATORS: &[&str] = &["-", "/", "#", "_", ".", ":", "é-", "}}"];
const PERIODS: &[(&str, &[&str])] = &[
    ("never", &[]),
    ("yearly", &["{year}"]),
    ("yearly", &["{yy}"]),
    ("monthly", &["{year}", "{month}"]),
    ("monthly", &["{yy}", "{month}"]),
    ("daily", &["{date}"]),
    ("daily", &["{day}", "{month}", "{yy}"]),
    ("fiscal", &["{fy}"]),
    ("fiscal", &["{fy:long}"]),
    ("fiscal", &["{fy:start}"]),
    ("fiscal", &["{fy:end}"]),
    ("fiscal", &["{date}"]),
    ("fiscal", &["{yy}", "{month}", "{day}"]),
    ("fiscal-first", &["{year}", "{month}"]),
    ("fiscal-first", &["{month}", "{yy}"]),
];

/// Everything of a definition but its format.
#[derive(Debug, Clone)]
struct Settings {
    reset: String,
    zone: &'static str,
    kinds: [(&'static str, &'static [&'static str]); 4],
    split_by: [bool; 4],
    /// A param that is declared though it may not be printed.
    idle: Option<&'static str>,
    overflow: Option<&'static str>,
    limit: Option<u64>,
    start: Option<u64>,
    words: [Option<&'static str>; 4],
}

impl Settings {
    /// Declares the params that the format prints, now and then one that it does not.
    fn spec(&self, format: &str) -> SeriesSpec {
        let mut spec = SeriesSpec {
            format: format.to_string(),
            reset: Some(self.reset.clone()),
            time_zone: Some(self.zone.to_string()),
            overflow: self.overflow.map(str::to_string),
            limit: self.limit,
            start: self.start,
            max_length: Some(255),
            date_order: self.words[0].map(str::to_string),
            keys: self.words[1].map(str::to_string),
            replay: self.words[2].map(str::to_string),
            on_expiry: self.words[3].map(str::to_string),
            test: self.words[0].is_some(),
            replaces: self.words[3].map(|_| "old".to_string()),
            date_window: self.words[1].map(|_| "-7d..+0d".to_string()),
            ..SeriesSpec::default()
        };
        for ((name, kind), splits) in ["a", "b", "c", "d"].into_iter().zip(self.kinds).zip(self.split_by) {
            if format.contains(&format!("{{{name}}}")) || self.idle == Some(name) {
                let values = kind.1.iter().map(|value| (*value).to_string()).collect();
                spec.params.insert(name.to_string(), (kind.0.to_string(), values));
                if splits {
                    spec.partition_by.insert(0, name.to_string());
                }
            }
        }
        spec
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    let reset = prop_oneof![
        1 => select(&["never", "yearly", "monthly", "daily"][..]).prop_map(str::to_string),
        // Any day of the year, such as there are; 02-29, 01-01 and 06-31 are refused.
        2 => (1..=12u8, 1..=31u8).prop_map(|(month, day)| format!("fiscal-year:{month:02}-{day:02}")),
    ];
    let kind = select(&KINDS[..]);
    let limit = prop_oneof![
        3 => Just(None),
        1 => select(&[1, 9, 10, 99, 100, 9_999, 10_000, 99_999, u64::MAX >> 1][..]).prop_map(Some),
        1 => (1..200_000u64).prop_map(Some),
    ];
    let start = prop_oneof![4 => Just(None), 1 => select(&[1, 2, 9, 10, 100, 12_345][..]).prop_map(Some)];
    let word = |words: &'static [&'static str]| proptest::option::weighted(0.3, select(words));
    let words = (
        word(&["required", "free"]),
        word(&["required", "optional"]),
        word(&["strict", "lenient"]),
        word(&["hold", "void"]),
    );
    let zone = select(&["UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"][..]);
    let overflow = select(&[None, None, Some("widen"), Some("refuse"), Some("refuse")][..]);
    let idle = proptest::option::weighted(0.1, select(&["a", "b", "c", "d"][..]));
    let params = (
        [kind.clone(), kind.clone(), kind.clone(), kind],
        any::<[bool; 4]>(),
        idle,
    );
    (reset, zone, params, overflow, limit, start, words).prop_map(
        |(reset, zone, (kinds, split_by, idle), overflow, limit, start, (order, keys, replay, expiry))| Settings {
            reset,
            zone,
            kinds,
            split_by,
            idle,
            overflow,
            limit,
            start,
            words: [order, keys, replay, expiry],
        },
    )
}

const KINDS: [(&str, &[&str]); 18] = [
    ("digits", &["1"]),
    ("digits", &["2"]),
    ("digits", &["4"]),
    ("digits", &["1..2"]),
    ("digits", &["1..4"]),
    ("digits", &["2..3"]),
    ("digits", &["32"]),
    ("letters", &["1"]),
    ("letters", &["2"]),
    ("letters", &["1..2"]),
    ("letters", &["1..4"]),
    ("one_of", &["N", "S"]),
    ("one_of", &["N", "N-1", "N-1-1"]),
    ("one_of", &["A", "AB", "B"]),
    ("one_of", &["1", "11", "0"]),
    ("one_of", &["-", "--", "/", "_"]),
    ("one_of", &["a.b", "A/1", "0-0"]),
    ("one_of", &["2025", "2026", "0401"]),
];
