//! Which formats the numbers have, and which series would print them: a guess, to be looked at by a person.
//!
//! A number is cut into text and runs of digits. What a run is, a date or the seq, is told from how it goes along
//! with the dates of all rows. Whether the guess is a series at all is said by the core, later.

use std::collections::BTreeMap;
use std::io;

use seriatim::{Date, Zone};

use super::dates;
use super::row::Row;
use super::spool::Reader;

/// Numbers that look alike.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many rows.
    pub count: u64,
    /// The number that was read first.
    pub first: String,
    /// The number that was read last.
    pub last: String,
    /// What may print them, format and reset, the likeliest first.
    pub guesses: Vec<(String, String)>,
    skeleton: String,
}

impl Shape {
    /// Whether the number of this row looks so.
    #[must_use]
    pub fn has(&self, row: &Row) -> bool {
        skeleton(&segments(&row.number, row.tenant.as_deref())) == self.skeleton
    }

    /// Whether it stands for all kinds that are too many to tell apart.
    #[must_use]
    pub fn is_rest(&self) -> bool {
        self.skeleton == REST
    }
}

/// More kinds of numbers than this are no kinds.
const SHAPES_MAX: usize = 100;
/// What the others look like, which is nothing.
const REST: &str = "\u{0}";

/// What all the numbers look like, the most common first.
pub fn shapes(reader: &mut Reader, zone: &Zone) -> io::Result<Vec<Shape>> {
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    while let Some((_, row)) = reader.next()? {
        see(&mut kinds, &row, zone);
    }
    let shapes = kinds.into_iter().map(|(skeleton, kind)| kind.into_shape(skeleton));
    let mut shapes: Vec<Shape> = shapes.collect();
    shapes.sort_by_key(|shape| (shape.is_rest(), std::cmp::Reverse(shape.count)));
    Ok(shapes)
}

fn see(kinds: &mut BTreeMap<String, Kind>, row: &Row, zone: &Zone) {
    let segments = segments(&row.number, row.tenant.as_deref());
    let mut skeleton = skeleton(&segments);
    if kinds.len() >= SHAPES_MAX && !kinds.contains_key(&skeleton) {
        skeleton = REST.to_string();
    }
    let date = row.date.as_deref().and_then(|date| dates::day(date, zone));
    let kind = kinds
        .entry(skeleton)
        .or_insert_with(|| Kind::new(&row.number, &segments));
    kind.see(&row.number, &segments, date);
}

/// A stretch of a number.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment<'a> {
    Text(&'a str),
    Tenant,
    /// `2025-26`.
    FiscalLong(i16),
    Digits(&'a str),
}

fn segments<'a>(number: &'a str, tenant: Option<&str>) -> Vec<Segment<'a>> {
    let named = tenant.filter(|tenant| tenant.bytes().any(|b| b.is_ascii_alphabetic()));
    let split = named.and_then(|tenant| number.split_once(tenant));
    let Some((before, after)) = split else {
        return fiscal_joined(runs(number));
    };
    let mut segments = runs(before);
    segments.push(Segment::Tenant);
    segments.extend(runs(after));
    fiscal_joined(segments)
}

fn runs(text: &str) -> Vec<Segment<'_>> {
    let mut runs = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_digits = first.is_ascii_digit();
        let end = rest
            .find(|c: char| c.is_ascii_digit() != is_digits)
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        runs.push(if is_digits {
            Segment::Digits(run)
        } else {
            Segment::Text(run)
        });
        rest = after;
    }
    runs
}

/// `2025`, `-`, `26` is one fiscal year.
fn fiscal_joined(mut segments: Vec<Segment<'_>>) -> Vec<Segment<'_>> {
    for i in 0..segments.len().saturating_sub(2) {
        if let [Segment::Digits(start), Segment::Text("-"), Segment::Digits(end)] = segments[i..i + 3]
            && start.len() == 4
            && end.len() == 2
            && let (Ok(year), Ok(next)) = (start.parse::<i16>(), end.parse::<i16>())
            && (year + 1) % 100 == next
        {
            segments.splice(i..i + 3, [Segment::FiscalLong(year)]);
            break;
        }
    }
    segments
}

fn skeleton(segments: &[Segment<'_>]) -> String {
    let mark = |segment: &Segment<'_>| match segment {
        Segment::Text(text) => (*text).to_string(),
        Segment::Digits(_) => "\u{1}".to_string(),
        Segment::Tenant => "\u{2}".to_string(),
        Segment::FiscalLong(_) => "\u{3}".to_string(),
    };
    segments.iter().map(mark).collect()
}

/// What a run of digits may stand for, besides the seq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Date,
    YearMonth,
    Fiscal,
    Year,
    FiscalStart,
    ShortYear,
    Month,
    Day,
}

impl Token {
    const ALL: [Self; 8] = [
        Self::Date,
        Self::YearMonth,
        Self::Fiscal,
        Self::Year,
        Self::FiscalStart,
        Self::ShortYear,
        Self::Month,
        Self::Day,
    ];

    fn width(self) -> usize {
        match self {
            Self::Date => 8,
            Self::YearMonth => 6,
            Self::Fiscal | Self::Year | Self::FiscalStart => 4,
            Self::ShortYear | Self::Month | Self::Day => 2,
        }
    }

    fn written(self) -> &'static str {
        match self {
            Self::Date => "{date}",
            Self::YearMonth => "{year}{month}",
            Self::Fiscal => "{fy}",
            Self::Year => "{year}",
            Self::FiscalStart => "{fy:start}",
            Self::ShortYear => "{yy}",
            Self::Month => "{month}",
            Self::Day => "{day}",
        }
    }

    /// Whether nothing else is likely to look like it.
    fn is_telling(self) -> bool {
        match self {
            Self::Date | Self::YearMonth | Self::Fiscal | Self::Year | Self::FiscalStart => true,
            Self::ShortYear | Self::Month | Self::Day => false,
        }
    }

    /// Whether these digits are this of that date; without a date, whether they can hardly be anything else.
    fn fits(self, digits: &str, date: Option<Date>) -> bool {
        let Some(date) = date else {
            return matches!(self, Self::Date | Self::Year) && self.is_well_formed(digits);
        };
        let printed = match self {
            Self::Date => format!("{:04}{:02}{:02}", date.year(), date.month(), date.day()),
            Self::YearMonth => format!("{:04}{:02}", date.year(), date.month()),
            Self::Year => format!("{:04}", date.year()),
            Self::ShortYear => format!("{:02}", date.year() % 100),
            Self::Month => format!("{:02}", date.month()),
            Self::Day => format!("{:02}", date.day()),
            Self::Fiscal | Self::FiscalStart => {
                return self
                    .fiscal_year(digits)
                    .is_some_and(|start| (0..=1).contains(&(date.year() - start)));
            }
        };
        printed == digits
    }

    /// Whether these digits can be this of any date.
    fn is_well_formed(self, digits: &str) -> bool {
        let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or_default();
        let is_date = |year: &str, month: &str, day: &str| {
            matches!(year.get(..3), Some("199" | "200" | "201" | "202" | "203"))
                && format!("{year}-{month}-{day}").parse::<Date>().is_ok()
        };
        match self {
            Self::Date => is_date(part(0..4), part(4..6), part(6..8)),
            Self::YearMonth => is_date(part(0..4), part(4..6), "01"),
            Self::Year | Self::FiscalStart => is_date(part(0..4), "01", "01"),
            Self::Fiscal => self.fiscal_year(digits).is_some(),
            Self::ShortYear => true,
            Self::Month => is_date("2000", part(0..2), "01"),
            Self::Day => is_date("2000", "01", part(0..2)),
        }
    }

    fn fiscal_year(self, digits: &str) -> Option<i16> {
        let number = digits.parse::<i16>().ok()?;
        match self {
            Self::Fiscal => ((number / 100 + 1) % 100 == number % 100).then_some(2000 + number / 100),
            Self::FiscalStart => Some(number),
            Self::Date | Self::YearMonth | Self::Year | Self::ShortYear | Self::Month | Self::Day => None,
        }
    }
}

/// What is known of the run of digits at one place.
#[derive(Debug, Clone)]
struct Run {
    len_min: usize,
    len_max: usize,
    /// How many rows have this many digits, those with a zero in front apart.
    widths: BTreeMap<(usize, bool), u64>,
    /// Its one value, as long as there is but one.
    constant: Option<String>,
    count: u64,
    /// What all of it, or its front, may stand for, and how many rows have another date.
    tokens: Vec<(Token, u64)>,
    /// What follows the front of a token's width, as far as it is the same everywhere.
    tails: BTreeMap<usize, String>,
}

impl Run {
    fn new(digits: &str) -> Self {
        let widths = Token::ALL.map(Token::width);
        let tails = widths
            .iter()
            .filter_map(|width| Some((*width, digits.get(*width..)?.to_string())));
        Self {
            len_min: digits.len(),
            len_max: digits.len(),
            widths: BTreeMap::new(),
            constant: Some(digits.to_string()),
            count: 0,
            tokens: Token::ALL.map(|token| (token, 0)).to_vec(),
            tails: tails.collect(),
        }
    }

    fn see(&mut self, digits: &str, date: Option<Date>) {
        self.len_min = self.len_min.min(digits.len());
        self.len_max = self.len_max.max(digits.len());
        *self.widths.entry((digits.len(), digits.starts_with('0'))).or_default() += 1;
        self.constant.take_if(|constant| constant != digits);
        self.count += 1;
        self.tokens.retain_mut(|(token, misses)| {
            let front = digits.get(..token.width()).unwrap_or_default();
            *misses += u64::from(!token.fits(front, date));
            token.is_well_formed(front)
        });
        for (width, tail) in &mut self.tails {
            let here = digits.get(*width..).unwrap_or_default();
            let same = tail.bytes().zip(here.bytes()).take_while(|(a, b)| a == b).count();
            tail.truncate(same);
        }
    }

    /// The width of a count that prints the most rows, of equal ones the narrowest: one number that somebody wrote by
    /// hand is looked for, and must not decide.
    fn width(&self) -> usize {
        let printed = |width: usize| -> u64 {
            let fitting = self.widths.iter();
            let fitting = fitting.filter(|((len, zero), _)| *len == width || *len > width && !zero);
            fitting.map(|(_, rows)| rows).sum()
        };
        let widths = self.widths.keys().map(|(len, _)| *len).chain([1]);
        let best = widths.max_by_key(|width| (printed(*width), std::cmp::Reverse(*width)));
        best.unwrap_or(1)
    }

    /// What it may stand for. Some rows may be in the wrong period; that is what is looked for.
    fn likely(&self) -> impl Iterator<Item = Token> + Clone {
        let likely = |(_, misses): &&(Token, u64)| misses * 4 <= self.count;
        self.tokens.iter().filter(likely).map(|(token, _)| *token)
    }

    /// What the whole of it stands for.
    fn whole(&self, before: Option<Token>) -> Option<Token> {
        let fits = |token: &Token| self.len_min == token.width() && self.len_max == token.width();
        let mut fitting = self.likely().filter(fits);
        let after = match before {
            Some(Token::Year | Token::ShortYear) => Token::Month,
            Some(_) | None => Token::Day,
        };
        let first = fitting.clone().find(|token| token.is_telling() || *token == after);
        first.or_else(|| fitting.next())
    }

    /// What its front stands for.
    fn front(&self) -> Option<Token> {
        self.likely()
            .find(|token| token.is_telling() && self.len_min > token.width())
    }
}

/// In which month a fiscal year begins, by how many rows say so.
#[derive(Debug, Clone, Copy, Default)]
struct FiscalMonths {
    rows: u64,
    fitting: [u64; 13],
}

impl FiscalMonths {
    fn see(&mut self, start: i16, date: Date) {
        self.rows += 1;
        for month in 2..=12u8 {
            let began = date.year() - i16::from(date.month() < month);
            self.fitting[usize::from(month)] += u64::from(began == start);
        }
    }

    /// The likeliest, of equal ones the most usual; none if too many rows speak against it.
    fn reset(self) -> Option<String> {
        let months = [4, 7, 10, 2, 3, 5, 6, 8, 9, 11, 12];
        let best = months.into_iter().rev().max_by_key(|month| self.fitting[*month])?;
        (self.fitting[best] * 4 >= self.rows * 3).then(|| format!("fiscal-year:{best:02}-01"))
    }
}

/// Numbers of one skeleton.
struct Kind {
    count: u64,
    first: String,
    last: String,
    /// The segments of the first number, with what is known of each run of digits.
    pieces: Vec<Piece>,
    fiscal: FiscalMonths,
}

enum Piece {
    Literal(String),
    Tenant,
    FiscalLong,
    Run(Run),
}

impl Kind {
    fn new(number: &str, segments: &[Segment<'_>]) -> Self {
        let piece = |segment: &Segment<'_>| match segment {
            Segment::Text(text) => Piece::Literal((*text).to_string()),
            Segment::Tenant => Piece::Tenant,
            Segment::FiscalLong(_) => Piece::FiscalLong,
            Segment::Digits(digits) => Piece::Run(Run::new(digits)),
        };
        Self {
            count: 0,
            first: number.to_string(),
            last: String::new(),
            pieces: segments.iter().map(piece).collect(),
            fiscal: FiscalMonths::default(),
        }
    }

    fn see(&mut self, number: &str, segments: &[Segment<'_>], date: Option<Date>) {
        self.count += 1;
        self.last = number.to_string();
        if self.pieces.len() != segments.len() {
            return;
        }
        for (piece, segment) in self.pieces.iter_mut().zip(segments) {
            match (piece, segment) {
                (Piece::Run(run), Segment::Digits(digits)) => {
                    run.see(digits, date);
                    let may_be = |token: &Token| run.tokens.iter().any(|(known, _)| known == token);
                    let fiscal = [Token::Fiscal, Token::FiscalStart].into_iter().find(may_be);
                    let start = fiscal.and_then(|token| token.fiscal_year(digits.get(..4)?));
                    if let (Some(start), Some(date)) = (start, date) {
                        self.fiscal.see(start, date);
                    }
                }
                (Piece::FiscalLong, Segment::FiscalLong(start)) => {
                    if let Some(date) = date {
                        self.fiscal.see(*start, date);
                    }
                }
                (Piece::Literal(_) | Piece::Tenant | Piece::FiscalLong | Piece::Run(_), _) => {}
            }
        }
    }

    fn into_shape(self, skeleton: String) -> Shape {
        Shape {
            // Of many kinds the first says nothing of the others.
            guesses: if skeleton == REST { None } else { self.guesses() }.unwrap_or_default(),
            skeleton,
            count: self.count,
            first: self.first,
            last: self.last,
        }
    }

    /// The last run is the seq, unless it can hardly be anything but a year (`001/2026`).
    fn seq_at(&self) -> Option<usize> {
        let runs = || {
            self.pieces
                .iter()
                .enumerate()
                .rev()
                .filter_map(|(i, piece)| match piece {
                    Piece::Run(run) => Some((i, run)),
                    Piece::Literal(_) | Piece::Tenant | Piece::FiscalLong => None,
                })
        };
        let open = runs().find(|(_, run)| run.whole(None).is_none_or(|token| !token.is_telling()));
        open.or_else(|| runs().next()).map(|(i, _)| i)
    }

    fn guesses(&self) -> Option<Vec<(String, String)>> {
        let seq_at = self.seq_at()?;
        let mut format = String::new();
        let mut tokens = Vec::new();
        let mut fiscal = false;
        for (i, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Literal(text) => format += &text.replace('{', "{{").replace('}', "}}"),
                Piece::Tenant => format += "{tenant}",
                Piece::FiscalLong => {
                    fiscal = true;
                    format += "{fy:long}";
                }
                Piece::Run(run) if i == seq_at => {
                    if let Some(token) = run.front() {
                        tokens.push(token);
                        format += token.written();
                    }
                    format += &seq(run);
                }
                Piece::Run(run) => match (run.whole(tokens.last().copied()), &run.constant) {
                    (Some(token), _) => {
                        tokens.push(token);
                        format += token.written();
                    }
                    (None, Some(constant)) => format += constant,
                    (None, None) => return None,
                },
            }
        }
        fiscal |= tokens
            .iter()
            .any(|token| matches!(token, Token::Fiscal | Token::FiscalStart));
        let resets = self.resets(&tokens, fiscal)?;
        Some(resets.into_iter().map(|reset| (format.clone(), reset)).collect())
    }

    fn resets(&self, tokens: &[Token], fiscal: bool) -> Option<Vec<String>> {
        let has = |any: &[Token]| tokens.iter().any(|token| any.contains(token));
        if fiscal {
            return Some(vec![self.fiscal.reset()?]);
        }
        let mut resets = Vec::new();
        let year = has(&[Token::Date, Token::YearMonth, Token::Year, Token::ShortYear]);
        let month = has(&[Token::Date, Token::YearMonth, Token::Month]);
        let named = [
            ("daily", year && month && has(&[Token::Date, Token::Day])),
            ("monthly", year && month),
            ("yearly", year),
        ];
        resets.extend(
            named
                .into_iter()
                .filter(|(_, shown)| *shown)
                .map(|(reset, _)| reset.to_string()),
        );
        resets.push("never".to_string());
        Some(resets)
    }
}

/// The seq, and before it the digits that are the same everywhere if there is a date in front of them.
fn seq(run: &Run) -> String {
    let Some(front) = run.front().map(Token::width) else {
        return match run.width() {
            1 => "{seq}".to_string(),
            width => format!("{{seq:{width}}}"),
        };
    };
    let constant = match run.tails.get(&front) {
        Some(tail) if run.len_min == run.len_max && run.constant.is_none() => tail.trim_end_matches('0'),
        Some(_) | None => "",
    };
    let width = run.len_min - front - constant.len();
    format!("{constant}{{seq:{width}}}")
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;
    use seriatim::{BundledZones, Zones as _};

    fn guess(rows: &[(&str, &str)]) -> String {
        let mut spool = Spool::new().expect("a file");
        for (number, date) in rows {
            let row = Row {
                number: (*number).to_string(),
                tenant: Some("acme".to_string()),
                date: (!date.is_empty()).then(|| (*date).to_string()),
                ..Row::default()
            };
            spool.push(&row).expect("room");
        }
        let zone = BundledZones.zone("UTC").expect("a zone");
        let shapes = shapes(&mut spool.reader().expect("a reader"), &zone).expect("rows");
        let written = shapes.into_iter().map(|shape| {
            let guesses = shape.guesses.iter().map(|(format, reset)| format!("{format} {reset}"));
            format!("{}: {}", shape.count, guesses.collect::<Vec<_>>().join(" | "))
        });
        written.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_plain_count_is_padded_or_not() {
        assert_eq!(
            guess(&[("INV-001", ""), ("INV-999", ""), ("INV-1000", "")]),
            "3: INV-{seq:3} never"
        );
        assert_eq!(guess(&[("9", ""), ("10", "")]), "2: {seq} never");
        assert_eq!(guess(&[("100", ""), ("101", "")]), "2: {seq} never");
        let by_hand = [("INV-0001", ""), ("INV-7", ""), ("INV-0999", ""), ("INV-1000", "")];
        assert_eq!(guess(&by_hand), "4: INV-{seq:4} never");
        assert_eq!(guess(&[("acme/007", "")]), "1: {tenant}/{seq:3} never");
        assert_eq!(guess(&[("{1}", "")]), "1: {{{seq}}} never");
        assert_eq!(guess(&[("none", "")]), "1: ");
    }

    #[test]
    fn a_run_that_goes_along_with_the_dates_is_a_date() {
        let daily = [("GAM-20260331-0001", "2026-03-31"), ("GAM-20260401-0001", "2026-04-01")];
        assert_eq!(
            guess(&daily),
            "2: GAM-{date}-{seq:4} daily | GAM-{date}-{seq:4} monthly | GAM-{date}-{seq:4} yearly | GAM-{date}-{seq:4} never"
        );
        let yearly = [("R2025-9", "2025-12-31"), ("R2026-10", "2026-01-01")];
        assert_eq!(guess(&yearly), "2: R{year}-{seq} yearly | R{year}-{seq} never");
        let behind = [("001/2025", "2025-12-31"), ("002/2026", "2026-01-01")];
        assert_eq!(guess(&behind), "2: {seq:3}/{year} yearly | {seq:3}/{year} never");
        let split = [("2026-03-31-1", "2026-03-31"), ("2026-04-01-1", "2026-04-01")];
        assert!(
            guess(&split).starts_with("2: {year}-{month}-{day}-{seq} daily | "),
            "{}",
            guess(&split)
        );
    }

    #[test]
    fn a_fiscal_year_begins_where_the_dates_say() {
        let india = [
            ("INV-252601102200001", "2025-04-01"),
            ("INV-252601102200118", "2026-03-31"),
            ("INV-262701102200001", "2026-04-01"),
        ];
        assert_eq!(
            guess(&india),
            "3: INV-{fy}11022{seq:5} fiscal-year:04-01".replace("11022", "011022")
        );
        let long = [("INV/2025-26/001", "2026-06-30"), ("INV/2026-27/001", "2026-07-01")];
        assert_eq!(guess(&long), "2: INV/{fy:long}/{seq:3} fiscal-year:07-01");
        let torn = [
            ("INV-2526-1", "2026-06-30"),
            ("INV-2526-2", "2025-02-01"),
            ("INV-2526-3", "2025-06-01"),
        ];
        assert_eq!(guess(&torn), "3: ");
    }

    #[test]
    fn of_more_kinds_than_can_be_told_apart_nothing_is_guessed() {
        let numbers: Vec<String> = (0..120).map(|i| format!("{}-1", "x".repeat(i + 1))).collect();
        let rows: Vec<(&str, &str)> = numbers.iter().map(|number| (number.as_str(), "")).collect();
        let guessed = guess(&rows);
        assert!(guessed.starts_with("1: x-{seq} never; 1: "), "{guessed}");
        assert!(guessed.ends_with("; 20: "), "{guessed}");
    }

    #[test]
    fn numbers_of_two_kinds_are_two_shapes() {
        let mixed = [
            ("INV-001", "2026-01-01"),
            ("INV-002", "2026-01-01"),
            ("INV-FALLBACK-1719999999999", "2026-01-02"),
        ];
        assert_eq!(guess(&mixed), "2: INV-{seq:3} never; 1: INV-FALLBACK-{seq} never");
    }
}
