//! Somebody else's numbers, ordered by what they count: duplicates, holes, dates that run backwards, ends in sight.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;

use seriatim::{Date, Document, Key, Params, Period, Reference, Refusal, Series, Tenant};

use super::dates;
use super::finding::Finding;
use super::row::Row;
use super::shape::Shape;
use super::spool::Reader;

/// Where a number stands: its counter and seq, and where its row waits.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    counter: u32,
    /// The seq.
    pub seq: u64,
    /// Where its row waits.
    pub at: u64,
    /// Its date.
    pub date: Option<Date>,
    key: Option<u64>,
}

/// One count of theirs.
#[derive(Debug)]
pub struct Seen {
    /// Whose.
    pub tenant: String,
    /// The params that split the count.
    pub partition: Params,
    /// The period.
    pub period: Period,
    /// The lowest seq.
    pub first: u64,
    /// The highest seq: the highest number, not the highest text.
    pub last: u64,
    /// How many rows.
    pub rows: u64,
    too_long: u64,
    longest: String,
}

/// What a table or file holds, as one series reads it.
#[derive(Debug, Default)]
pub struct Survey {
    /// The counts, in the order of tenant and period.
    pub counters: Vec<Seen>,
    /// One place for each seq, in the order of counters and seqs: of several rows the one that keeps it.
    pub places: Vec<Place>,
    /// Rows whose number another row keeps.
    pub left_out: u64,
    /// Rows whose number only another series of the line can have printed.
    pub of_line: u64,
    /// Rows that cannot be adopted.
    pub bad: Vec<Finding>,
    /// What else was noticed.
    pub findings: Vec<Finding>,
    index: HashMap<CounterAt, u32>,
    start: u64,
    /// Positions of rows that cannot be adopted, though their number reads.
    in_doubt: HashSet<(CounterAt, u64)>,
    /// Numbers of rows whose tenant does not read.
    of_nobody: HashSet<String>,
}

/// Tenant, params that split the count, and period.
type CounterAt = (String, Params, Period);

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The series that reads the numbers.
    pub series: &'a Series,
    /// The series that it replaced, and those that replaced it: what only they can have printed is passed over.
    pub line: &'a [Series],
    /// Whether each row must have a date.
    pub dated: bool,
    /// Whether the rows are to be moved in, so that key, reference and document must be such as are taken.
    pub entering: bool,
    /// The most characters of a number.
    pub length_max: usize,
    /// What a row is called: `line` of a file, `row` of a table.
    pub row_word: &'static str,
    /// What numbers that the series cannot have printed look like if they are of concern: others are of another series.
    /// Without it all are.
    pub shape: Option<&'a Shape>,
}

impl Survey {
    /// Reads all rows once, and a few of them again. Of several rows with one number the earliest keeps it.
    pub fn of(look: &Look<'_>, reader: &mut Reader) -> io::Result<Self> {
        Self::read(look, reader)?.settle(look, reader, &HashSet::new())
    }

    /// Reads all rows; several may have one seq.
    pub fn read(look: &Look<'_>, reader: &mut Reader) -> io::Result<Self> {
        let mut survey = Self {
            start: look.series.start,
            ..Self::default()
        };
        while let Some((at, row)) = reader.next()? {
            survey.take(look, at, &row);
        }
        survey.put_in_order();
        Ok(survey)
    }

    /// The rows that share their seq with another, those of one seq together.
    #[must_use]
    pub fn contested(&self) -> Vec<Place> {
        let groups = self.places.chunk_by(Place::has_seq_of);
        groups.filter(|group| group.len() > 1).flatten().copied().collect()
    }

    /// Looks at what was read. A row that is recorded with its number keeps it, or else the earliest.
    pub fn settle(mut self, look: &Look<'_>, reader: &mut Reader, recorded: &HashSet<u64>) -> io::Result<Self> {
        if !recorded.is_empty() {
            self.places
                .sort_by_key(|place| (place.counter, place.seq, !recorded.contains(&place.at)));
        }
        self.find_duplicates(look, reader, recorded)?;
        self.find_keys(look, reader)?;
        self.find_holes();
        self.find_dates(look.series, reader)?;
        self.find_ends(look, reader)?;
        Ok(self)
    }

    fn take(&mut self, look: &Look<'_>, at: u64, row: &Row) {
        let (params, period, seq, date) = match read(look, row) {
            Ok(read) => read,
            Err(Unreadable::Other) => return,
            Err(Unreadable::OfLine) => {
                self.of_line += 1;
                return;
            }
            Err(Unreadable::Bad(code, message)) => {
                self.doubt(look, row);
                return self.bad.push(bad(look, code, row, message));
            }
        };
        let partition = params.only(&look.series.partition_by);
        let counter = *self
            .index
            .entry((row.tenant().to_string(), partition, period))
            .or_insert_with_key(|(tenant, partition, period)| {
                self.counters.push(Seen {
                    tenant: tenant.clone(),
                    partition: partition.clone(),
                    period: period.clone(),
                    first: seq,
                    last: seq,
                    rows: 0,
                    too_long: 0,
                    longest: String::new(),
                });
                u32::try_from(self.counters.len() - 1).unwrap_or(u32::MAX)
            });
        let seen = &mut self.counters[counter as usize];
        seen.first = seen.first.min(seq);
        seen.last = seen.last.max(seq);
        seen.rows += 1;
        if row.number.chars().count() > look.length_max {
            seen.too_long += 1;
            seen.longest.clone_from(&row.number);
        }
        self.places.push(Place {
            counter,
            seq,
            at,
            date,
            key: row.key.as_deref().map(|key| hash_of(row.tenant(), key)),
        });
    }

    /// Whatever else is wrong with a row, its number is on a document.
    fn doubt(&mut self, look: &Look<'_>, row: &Row) {
        if Tenant::parse(row.tenant()).is_err() {
            self.of_nobody.insert(row.number.clone());
        } else if let Some(at) = position(look.series, &row.number, row.tenant()) {
            self.in_doubt.insert(at);
        }
    }

    /// Counters by tenant and period, places by counter, seq, date and then as they came: a file that is sorted
    /// otherwise tomorrow leaves a number with the same document.
    fn put_in_order(&mut self) {
        let mut order: Vec<usize> = (0..self.counters.len()).collect();
        let key = |i: &usize| {
            let seen = &self.counters[*i];
            (&seen.tenant, &seen.period, &seen.partition)
        };
        order.sort_by(|a, b| key(a).cmp(&key(b)));
        let mut rank = vec![0u32; order.len()];
        for (new, old) in order.iter().enumerate() {
            rank[*old] = u32::try_from(new).unwrap_or(u32::MAX);
        }
        let mut counters: Vec<(u32, Seen)> = rank.iter().copied().zip(self.counters.drain(..)).collect();
        counters.sort_by_key(|(rank, _)| *rank);
        self.counters = counters.into_iter().map(|(_, seen)| seen).collect();
        self.index
            .values_mut()
            .for_each(|counter| *counter = rank[*counter as usize]);
        for place in &mut self.places {
            place.counter = rank[place.counter as usize];
        }
        self.places
            .sort_unstable_by_key(|place| (place.counter, place.seq, place.date.is_none(), place.date, place.at));
    }

    fn finding(
        &self,
        code: &'static str,
        severity: &'static str,
        counter: u32,
        what: String,
        message: String,
    ) -> Finding {
        let seen = &self.counters[counter as usize];
        Finding {
            code,
            severity,
            tenant: seen.tenant.clone(),
            period: seen.period.as_str().to_string(),
            what,
            message,
        }
    }

    /// Of several rows with one seq the first stays; the others are found.
    fn find_duplicates(&mut self, look: &Look<'_>, reader: &mut Reader, recorded: &HashSet<u64>) -> io::Result<()> {
        let mut kept: Vec<Place> = Vec::with_capacity(self.places.len());
        let mut twice: Vec<(Place, Place)> = Vec::new();
        for place in std::mem::take(&mut self.places) {
            match kept.last() {
                Some(first) if first.has_seq_of(&place) => twice.push((*first, place)),
                _ => kept.push(place),
            }
        }
        self.places = kept;
        self.left_out = twice.len() as u64;
        for (first, second) in twice {
            let (first_row, second_row) = (reader.at(first.at)?, reader.at(second.at)?);
            let key = |row: &Row| row.key.as_ref().map(|key| format!(" ({key})")).unwrap_or_default();
            let message = format!(
                "{word} {}{} {}, {word} {}{} again{}",
                first_row.line,
                key(&first_row),
                if recorded.contains(&first.at) {
                    "is recorded with it"
                } else {
                    "has it first"
                },
                second_row.line,
                key(&second_row),
                if first_row.number == second_row.number {
                    String::new()
                } else {
                    format!(" as {}", second_row.number)
                },
                word = look.row_word,
            );
            let finding = self.finding("duplicate", "error", first.counter, first_row.number, message);
            self.findings.push(finding);
        }
        Ok(())
    }

    /// One key for two numbers: a retry could not be answered.
    fn find_keys(&mut self, look: &Look<'_>, reader: &mut Reader) -> io::Result<()> {
        let mut keys: Vec<(u64, u64)> = self
            .places
            .iter()
            .filter_map(|place| Some((place.key?, place.at)))
            .collect();
        keys.sort_unstable();
        for pair in keys.windows(2) {
            let [(hash, first), (other, second)] = pair else {
                continue;
            };
            if hash != other {
                continue;
            }
            let (first, second) = (reader.at(*first)?, reader.at(*second)?);
            if first.key == second.key && first.tenant() == second.tenant() {
                let message = format!(
                    "the key {} stands for {} in {word} {} already; each number needs a key of its own",
                    second.key.as_deref().unwrap_or_default(),
                    first.number,
                    first.line,
                    word = look.row_word,
                );
                self.bad.push(bad(look, "key_twice", &second, message));
            }
        }
        Ok(())
    }

    fn find_holes(&mut self) {
        let mut findings = Vec::new();
        for (i, after) in self.places.iter().enumerate() {
            let before = i.checked_sub(1).map(|i| &self.places[i]);
            let before = before.filter(|before| before.counter == after.counter);
            let next = before.map_or(self.start, |before| before.seq + 1);
            if after.seq > next {
                let (first, last) = (next, after.seq - 1);
                let what = if first == last {
                    first.to_string()
                } else {
                    format!("{first} to {last}")
                };
                let message = match last - first {
                    0 => "this seq is on no row".to_string(),
                    more => format!("{} seqs are on no row", more + 1),
                };
                findings.push(self.finding("hole", "warning", after.counter, what, message));
            }
        }
        self.findings.extend(findings);
    }

    fn find_dates(&mut self, series: &Series, reader: &mut Reader) -> io::Result<()> {
        let required = series.date_order == seriatim::DateOrder::Required;
        let mut found = Vec::new();
        for pair in self.places.windows(2) {
            let [before, after] = pair else { continue };
            let (Some(earlier), Some(later)) = (before.date, after.date) else {
                continue;
            };
            if before.counter == after.counter && later < earlier {
                let row = reader.at(after.at)?;
                let what = reader.at(before.at)?.number;
                let message = format!("dated {later}, and {what} before it {earlier}");
                let severity = if required { "error" } else { "warning" };
                found.push(self.finding("date_order", severity, after.counter, row.number, message));
            }
        }
        let into = if required { &mut self.bad } else { &mut self.findings };
        into.extend(found);
        Ok(())
    }

    /// The width or the limit comes near, or is passed; numbers are longer than they may be.
    fn find_ends(&mut self, look: &Look<'_>, reader: &mut Reader) -> io::Result<()> {
        let width_max = look.series.width_max();
        let mut findings = self.find_exhausted(look, reader)?;
        for (i, seen) in self.counters.iter().enumerate() {
            let counter = u32::try_from(i).unwrap_or(u32::MAX);
            let last = seen.last.to_string();
            match width_max {
                Some(max) if seen.last > max => {
                    let message = format!(
                        "has outgrown {}: by text order {max} comes after it",
                        look.series.format
                    );
                    findings.push(self.finding("widened", "warning", counter, last, message));
                }
                Some(max) if max - seen.last < (max / 10).max(1) => {
                    let left = max - seen.last;
                    let message = format!("{left} left before {} is full", look.series.format);
                    findings.push(self.finding("overflow_ahead", "warning", counter, last, message));
                }
                Some(_) | None => {}
            }
            if seen.too_long > 0 {
                let message = format!(
                    "{} more than {} characters",
                    many(seen.too_long, "number has", "numbers have"),
                    look.length_max
                );
                findings.push(self.finding("too_long", "error", counter, seen.longest.clone(), message));
            }
        }
        self.findings.extend(findings);
        Ok(())
    }

    /// Absurd numbers, which a count could never go on from. Where `limit` or `overflow = "refuse"` end it, that is meant.
    fn find_exhausted(&self, look: &Look<'_>, reader: &mut Reader) -> io::Result<Vec<Finding>> {
        let mut found = Vec::new();
        let counts = self.places.chunk_by(|a, b| a.counter == b.counter);
        for last in counts.filter_map(<[Place]>::last) {
            let seen = &self.counters[last.counter as usize];
            if let Some(why) = look.series.end_by_slip(&seen.tenant, &seen.partition, last.seq) {
                let row = reader.at(last.at)?;
                let message = format!("{} {}: no number can come after it: {why}", look.row_word, row.line);
                found.push(self.finding("exhausted", "error", last.counter, row.number, message));
            }
        }
        Ok(found)
    }

    /// How many seqs are on no row, from the start of the series to the last of each count.
    #[must_use]
    pub fn holes(&self) -> u64 {
        let span = |seen: &Seen| u128::from(seen.last - seen.first.min(self.start)) + 1;
        let span: u128 = self.counters.iter().map(span).sum();
        u64::try_from(span - self.places.len() as u128).unwrap_or(u64::MAX)
    }

    /// Which place a number has, as an index of [`Survey::places`].
    #[must_use]
    pub fn find(&self, series: &Series, number: &str, tenant: &str) -> Option<usize> {
        let (at, seq) = position(series, number, tenant)?;
        let counter = *self.index.get(&at)?;
        let found = self
            .places
            .binary_search_by_key(&(counter, seq), |place| (place.counter, place.seq));
        found.ok()
    }

    /// Whether the number is on a row that cannot be adopted: it is on a document, though it has no place.
    #[must_use]
    pub fn is_in_doubt(&self, series: &Series, number: &str, tenant: &str) -> bool {
        let is_there = |at| self.in_doubt.contains(&at);
        self.of_nobody.contains(number) || position(series, number, tenant).is_some_and(is_there)
    }
}

/// Which counter a number is of, and its seq there.
fn position(series: &Series, number: &str, tenant: &str) -> Option<(CounterAt, u64)> {
    let (params, period, seq) = series.read(number, tenant)?;
    Some(((tenant.to_string(), params.only(&series.partition_by), period), seq))
}

impl Place {
    fn has_seq_of(&self, other: &Self) -> bool {
        (self.counter, self.seq) == (other.counter, other.seq)
    }

    /// Whether its row has another key than this one.
    #[must_use]
    pub fn has_other_key(&self, tenant: &str, key: &str) -> bool {
        self.key.is_some_and(|ours| ours != hash_of(tenant, key))
    }
}

enum Unreadable {
    /// It looks otherwise than the numbers that are of concern.
    Other,
    /// Another series of the line has it.
    OfLine,
    Bad(&'static str, String),
}

fn read(look: &Look<'_>, row: &Row) -> Result<(Params, Period, u64, Option<Date>), Unreadable> {
    let series = look.series;
    let is_other = || look.shape.is_some_and(|shape| !shape.has(row));
    if let Err(refusal) = Tenant::parse(row.tenant()) {
        // Said once, where the numbers look like this one.
        return Err(match is_other() {
            true => Unreadable::Other,
            false => Unreadable::Bad("bad_tenant", refusal.message),
        });
    }
    let Some((params, period, seq)) = series.read(&row.number, row.tenant()) else {
        if is_other() {
            return Err(Unreadable::Other);
        }
        if look
            .line
            .iter()
            .any(|other| other.read(&row.number, row.tenant()).is_some())
        {
            return Err(Unreadable::OfLine);
        }
        let message = format!("the format {} cannot print it", series.format);
        return Err(Unreadable::Bad("unfit", message));
    };
    let date = match &row.date {
        None if look.dated => return Err(Unreadable::Bad("bad_date", "it has no date".to_string())),
        None => None,
        Some(text) => Some(dates::day(text, &series.zone).ok_or_else(|| {
            let message = format!("`{}` is not a date; write it like 2026-03-31", text.escape_debug());
            Unreadable::Bad("bad_date", message)
        })?),
    };
    if let Some(date) = date {
        let printed = series.render(row.tenant(), &params, date, seq);
        if printed != row.number {
            let message = format!("dated {date}, on which the format {} prints {printed}", series.format);
            return Err(Unreadable::Bad("wrong_period", message));
        }
    }
    if look.entering {
        accept(row)?;
    }
    Ok((params, period, seq, date))
}

/// What else of a row is taken along: all of it is checked here, so that all bad rows are named at once.
fn accept(row: &Row) -> Result<(), Unreadable> {
    let bad = |code| move |refusal: Refusal| Unreadable::Bad(code, refusal.message);
    if let Some(key) = &row.key {
        Key::parse(key).map_err(bad("bad_key"))?;
    }
    if let Some(reference) = &row.reference {
        Reference::parse(reference).map_err(bad("bad_reference"))?;
    }
    if let Some(document) = &row.document {
        Document::parse(document).map_err(bad("bad_document"))?;
    }
    Ok(())
}

/// A row that cannot be adopted.
pub fn bad(look: &Look<'_>, code: &'static str, row: &Row, message: String) -> Finding {
    Finding {
        code,
        severity: "error",
        tenant: row.tenant().to_string(),
        period: String::new(),
        what: row.number.clone(),
        message: format!("{} {}: {message}", look.row_word, row.line),
    }
}

/// `1 row`, `2 rows`.
pub fn many(count: u64, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn hash_of(tenant: &str, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant, key).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::spool::Spool;
    use super::*;
    use expect_test::{Expect, expect};
    use seriatim::{BundledZones, SeriesName, SeriesSpec};

    /// Rows as `number date key tenant`, a dot for none.
    fn check(format: &str, reset: &str, rows: &str, expected: Expect) {
        let spec = SeriesSpec {
            format: format.to_string(),
            reset: Some(reset.to_string()),
            ..SeriesSpec::default()
        };
        let name = SeriesName::parse("invoice").expect("a name");
        let series = Series::define(name, &spec, &BundledZones).expect("a series");
        let mut spool = Spool::new().expect("a file");
        for (i, line) in rows.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let word = |i: usize| {
                words
                    .get(i)
                    .filter(|word| **word != ".")
                    .map(|word| (*word).to_string())
            };
            let row = Row {
                line: i as u64 + 1,
                number: word(0).expect("a number"),
                date: word(1),
                key: word(2),
                tenant: word(3),
                ..Row::default()
            };
            spool.push(&row).expect("room");
        }
        let look = Look {
            series: &series,
            line: &[],
            dated: true,
            entering: true,
            length_max: 16,
            row_word: "row",
            shape: None,
        };
        let survey = Survey::of(&look, &mut spool.reader().expect("a reader")).expect("rows");
        let mut seen = String::new();
        for counter in &survey.counters {
            let Seen {
                tenant,
                period,
                first,
                last,
                rows,
                ..
            } = counter;
            seen += &format!("{tenant} {period}: {first} to {last}, {rows} rows\n");
        }
        for finding in survey.bad.iter().chain(&survey.findings) {
            seen += &format!(
                "{} {} {}: {}\n",
                finding.code, finding.tenant, finding.what, finding.message
            );
        }
        expected.assert_eq(&seen);
    }

    #[test]
    fn the_highest_number_counts_and_not_the_highest_text() {
        check(
            "INV-{seq:3}",
            "never",
            "INV-999  2025-10-01 a acme
             INV-1000 2025-10-02 b acme
             INV-998  2025-09-30 c acme
             INV-001  2025-09-30 c beta
             INV-998  2025-10-03 d acme
             INV-996  2025-10-04 e acme",
            expect![[r#"
                acme all: 996 to 1000, 5 rows
                beta all: 1 to 1, 1 rows
                duplicate acme INV-998: row 3 (c) has it first, row 5 (d) again
                hole acme 1 to 995: 995 seqs are on no row
                hole acme 997: this seq is on no row
                date_order acme INV-998: dated 2025-09-30, and INV-996 before it 2025-10-04
                widened acme 1000: has outgrown INV-{seq:3}: by text order 999 comes after it
            "#]],
        );
    }

    #[test]
    fn the_earlier_document_keeps_the_number_in_whatever_order_they_come() {
        check(
            "INV-{seq:3}",
            "never",
            "INV-001 2025-10-03 late
             INV-001 2025-10-01 early",
            expect![[r#"
                default all: 1 to 1, 2 rows
                duplicate default INV-001: row 2 (early) has it first, row 1 (late) again
            "#]],
        );
    }

    #[test]
    fn each_period_has_a_count_of_its_own() {
        check(
            "GAM-{date}-{seq:4}",
            "daily",
            "GAM-20260401-0001 2026-04-01 a
             GAM-20260331-0001 2026-03-31 b
             GAM-20260331-0004 2026-03-31 c
             GAM-20260401-0002 2026-03-31 d",
            expect![[r#"
                default 2026-03-31: 1 to 4, 2 rows
                default 2026-04-01: 1 to 1, 1 rows
                wrong_period default GAM-20260401-0002: row 4: dated 2026-03-31, on which the format GAM-{date}-{seq:4} prints GAM-20260331-0002
                hole default 2 to 3: 2 seqs are on no row
                too_long default GAM-20260331-0004: 2 numbers have more than 16 characters
                too_long default GAM-20260401-0001: 1 number has more than 16 characters
            "#]],
        );
    }

    #[test]
    fn a_bad_row_is_named_with_its_reason() {
        check(
            "INV-{seq:3}",
            "never",
            "INV-001 2025-10-01 a
             INV-2   2025-10-01 b
             INV-003 1.10.2025 c
             INV-004 .         d
             INV-005 2025-10-01 a
             INV-006 2025-10-01 f not/a/tenant
             INV-007 2025-10-01 schlüssel",
            expect![[r#"
                default all: 1 to 5, 2 rows
                unfit default INV-2: row 2: the format INV-{seq:3} cannot print it
                bad_date default INV-003: row 3: `1.10.2025` is not a date; write it like 2026-03-31
                bad_date default INV-004: row 4: it has no date
                bad_tenant not/a/tenant INV-006: row 6: tenant: a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`
                bad_key default INV-007: row 7: key: a key is printable ASCII; hash or encode a reference that has other characters
                key_twice default INV-005: row 5: the key a stands for INV-001 in row 1 already; each number needs a key of its own
                hole default 2 to 4: 3 seqs are on no row
            "#]],
        );
    }
}
