//! Which definitions are accepted, and what the others hear: the setting, the words, and the place in the format.

mod common;

use std::collections::BTreeMap;

use common::{date, define, settings, spec_of, words};
use expect_test::{Expect, expect};
use seriatim_core::{DefinitionError, ParamKind, Params, Series};

/// Defines a series from the words of a line and shows what comes of it.
fn check(line: &str, expected: Expect) {
    let words = words(line);
    let spec = spec_of(settings(&words));
    let shown = match define(&spec) {
        Ok(series) => show_accepted(&series),
        Err(error) => show_error(&spec.format, &error),
    };
    expected.assert_eq(&shown);
}

/// The message, and the place drawn under the format.
fn show_error(format: &str, error: &DefinitionError) -> String {
    let mut shown = format!("{error}\n");
    if let Some((at, length)) = error.place {
        let escaped = |part: &str| part.escape_debug().to_string();
        let before = escaped(&format[..at]).chars().count();
        let marked = escaped(&format[at..at + length]).chars().count().max(1);
        shown += &format!(
            "  {}\n  {}{}\n",
            escaped(format),
            " ".repeat(before),
            "^".repeat(marked)
        );
    }
    shown
}

/// The first number on a day in a fiscal year, which must read back as what it is.
fn show_accepted(series: &Series) -> String {
    let values = series.params.iter().map(|(name, kind)| {
        let value = match kind {
            ParamKind::Digits { min, .. } => "7".repeat(usize::from(*min)),
            ParamKind::Letters { min, .. } => "K".repeat(usize::from(*min)),
            ParamKind::OneOf(values) => values[0].clone(),
        };
        (name.clone(), value)
    });
    let given: BTreeMap<String, String> = values.collect();
    let params = Params::canonical(&series.params, &given).expect("fitting params");
    let date = date("2026-02-03");
    series.accept_date(date).expect("a date within range");
    let number = series.render("acme", &params, date, series.start);
    let read = series.read(&number, "acme");
    assert_eq!(
        read,
        Some((params, series.reset.period_of(date), series.start)),
        "{number}"
    );
    format!("{number}\n")
}

#[test]
fn the_formats_of_the_five_old_systems_are_accepted() {
    check(
        "format=INV-{fy}{admin}{channel}{seq:5} reset=fiscal-year:04-01 zone=Asia/Kolkata params.admin=digits:2 params.channel=digits:4",
        expect![[r#"
            INV-252677777700001
        "#]],
    );
    check(
        "format={seq}",
        expect![[r#"
        1
    "#]],
    );
    check(
        "format=INV-{seq:3}",
        expect![[r#"
        INV-001
    "#]],
    );
    check(
        "format=GAM-{date}-{seq:4} reset=daily",
        expect![[r#"
        GAM-20260203-0001
    "#]],
    );
}

#[test]
fn what_shows_its_period_is_accepted() {
    check(
        "format={tenant}/{year}/{seq} reset=yearly",
        expect![[r#"
        acme/2026/1
    "#]],
    );
    check(
        "format={yy}{month}-{seq:4} reset=monthly",
        expect![[r#"
        2602-0001
    "#]],
    );
    check(
        "format={day}.{month}.{year}/{seq} reset=daily",
        expect![[r#"
        03.02.2026/1
    "#]],
    );
    check(
        "format={fy:long}/{seq} reset=fiscal-year:07-01",
        expect![[r#"
        2025-26/1
    "#]],
    );
    check(
        "format={fy:start}-{seq} reset=fiscal-year:10-31",
        expect![[r#"
        2025-1
    "#]],
    );
    check(
        "format={seq}/{fy:end} reset=fiscal-year:02-28",
        expect![[r#"
        1/2026
    "#]],
    );
    // The first of April begins a month, so year and month tell the fiscal year; the sixth does not.
    check(
        "format={year}{month}-{seq} reset=fiscal-year:04-01",
        expect![[r#"
        202602-1
    "#]],
    );
    check(
        "format={date}-{seq} reset=fiscal-year:04-06",
        expect![[r#"
        20260203-1
    "#]],
    );
}

#[test]
fn what_has_a_fixed_width_may_stand_next_to_anything() {
    check(
        "format={branch}{month}{seq} params.branch=letters:2",
        expect![[r#"
        KK021
    "#]],
    );
    check(
        "format={branch}{seq} params.branch=one_of:N-1|S-2",
        expect![[r#"
        N-11
    "#]],
    );
    check(
        "format={seq:4}{month} overflow=refuse",
        expect![[r#"
        000102
    "#]],
    );
    check(
        "format={seq:4}0X limit=9999",
        expect![[r#"
        00010X
    "#]],
    );
    check(
        "format={{{branch}}}{seq} params.branch=digits:1..4",
        expect![[r#"
        {7}1
    "#]],
    );
    check(
        "format=№{seq} start=100",
        expect![[r#"
        №100
    "#]],
    );
}

#[test]
fn an_open_width_needs_a_character_that_it_cannot_contain() {
    check(
        "format={branch}-{desk}-{seq} params.branch=one_of:N|N-1 params.desk=one_of:1|1-1",
        expect![[r#"
            format: {branch} has no fixed width and may itself contain `-`, so the number could be read two ways; give it a fixed width or put another character after it
              {branch}-{desk}-{seq}
              ^^^^^^^^
        "#]],
    );
    check(
        "format={branch}{month}{seq} params.branch=letters:1..3",
        expect![[r#"
        format: {branch} has no fixed width and {month} follows at once, so the number could be read two ways; give it a fixed width or put a character like `-` between them
          {branch}{month}{seq}
          ^^^^^^^^
    "#]],
    );
    check(
        "format={seq:4}{month}",
        expect![[r#"
        format: {seq:4} has no fixed width and {month} follows at once, so the number could be read two ways; give it a fixed width or put a character like `-` between them
          {seq:4}{month}
          ^^^^^^^
    "#]],
    );
    check(
        "format={seq:4}{month} limit=10000",
        expect![[r#"
        format: {seq:4} has no fixed width and {month} follows at once, so the number could be read two ways; give it a fixed width or put a character like `-` between them
          {seq:4}{month}
          ^^^^^^^
    "#]],
    );
    check(
        "format=№{seq:4}0X",
        expect![[r#"
        format: {seq:4} has no fixed width and may itself contain `0`, so the number could be read two ways; give it a fixed width or put another character after it
          №{seq:4}0X
           ^^^^^^^
    "#]],
    );
    check(
        "format={tenant}{seq}",
        expect![[r#"
        format: {tenant} has no fixed width and {seq} follows at once, so the number could be read two ways; give it a fixed width or put a character like `-` between them
          {tenant}{seq}
          ^^^^^^^^
    "#]],
    );
    check(
        "format={tenant}-{seq}",
        expect![[r#"
        format: {tenant} has no fixed width and may itself contain `-`, so the number could be read two ways; give it a fixed width or put another character after it
          {tenant}-{seq}
          ^^^^^^^^
    "#]],
    );
    check(
        "format={branch}{seq} params.branch=digits:1..2",
        expect![[r#"
        format: {branch} has no fixed width and {seq} follows at once, so the number could be read two ways; give it a fixed width or put a character like `-` between them
          {branch}{seq}
          ^^^^^^^^
    "#]],
    );
}

#[test]
fn the_period_must_be_a_function_of_what_is_printed() {
    check(
        "format={year}-{seq} reset=fiscal-year:04-01",
        expect![[r#"
        format: {year} does not tell the fiscal year: a calendar year belongs to two of them, so numbers would repeat; use {fy}
          {year}-{seq}
          ^^^^^^
    "#]],
    );
    check(
        "format=A-{year}{month}-{seq} reset=fiscal-year:04-06",
        expect![[r#"
        format: {year} does not tell the fiscal year: a calendar year belongs to two of them, so numbers would repeat; use {fy}
          A-{year}{month}-{seq}
            ^^^^^^
    "#]],
    );
    check(
        "format=ORD-{seq:4} reset=daily",
        expect![[r#"
        format: the count restarts each day but the number does not show which, so numbers would repeat; add {date} or set reset = "never"
          ORD-{seq:4}
              ^^^^^^^
    "#]],
    );
    check(
        "format={year}-{day}-{seq} reset=daily",
        expect![[r#"
        format: the count restarts each day but the number does not show which, so numbers would repeat; add {date} or set reset = "never"
          {year}-{day}-{seq}
                       ^^^^^
    "#]],
    );
    check(
        "format={month}-{seq} reset=monthly",
        expect![[r#"
        format: the count restarts each month but the number does not show which, so numbers would repeat; add {year}{month} or set reset = "never"
          {month}-{seq}
                  ^^^^^
    "#]],
    );
    check(
        "format={month}-{seq} reset=yearly",
        expect![[r#"
        format: the count restarts each year but the number does not show which, so numbers would repeat; add {year} or set reset = "never"
          {month}-{seq}
                  ^^^^^
    "#]],
    );
    check(
        "format={month}-{seq} reset=fiscal-year:04-01",
        expect![[r#"
        format: the count restarts each fiscal year but the number does not show which, so numbers would repeat; add {fy} or set reset = "never"
          {month}-{seq}
                  ^^^^^
    "#]],
    );
    check(
        "format=INV-{fy}-{seq} reset=yearly",
        expect![[r#"
        format: {fy} needs a fiscal year; set reset = "fiscal-year:MM-DD" or use {year}
          INV-{fy}-{seq}
              ^^^^
    "#]],
    );
}

#[test]
fn an_unknown_token_hears_what_may_have_been_meant() {
    check(
        "format=INV-{yyyy}-{seq}",
        expect![[r#"
        format: unknown token {yyyy}; did you mean {year}?
          INV-{yyyy}-{seq}
              ^^^^^^
    "#]],
    );
    check(
        "format={yeer}-{seq}",
        expect![[r#"
        format: unknown token {yeer}; did you mean {year}?
          {yeer}-{seq}
          ^^^^^^
    "#]],
    );
    check(
        "format={Branch}-{seq} params.branch=digits:2",
        expect![[r#"
        format: unknown token {Branch}; did you mean {branch}?
          {Branch}-{seq}
          ^^^^^^^^
    "#]],
    );
    check(
        "format={shop}-{seq}",
        expect![[r#"
        format: unknown token {shop}; declare it as a param or use one of seq year yy month day date fy tenant
          {shop}-{seq}
          ^^^^^^
    "#]],
    );
    check(
        "format={}-{seq}",
        expect![[r#"
        format: unknown token {}; declare it as a param or use one of seq year yy month day date fy tenant
          {}-{seq}
          ^^
    "#]],
    );
    check(
        "format={fy:middle}-{seq} reset=fiscal-year:04-01",
        expect![[r#"
        format: unknown token {fy:middle}; declare it as a param or use one of seq year yy month day date fy tenant
          {fy:middle}-{seq}
          ^^^^^^^^^^^
    "#]],
    );
    check(
        "format={\u{202e}qes}",
        expect![[r#"
        format: unknown token {\u{202e}qes}; declare it as a param or use one of seq year yy month day date fy tenant
          {\u{202e}qes}
          ^^^^^^^^^^^^^
    "#]],
    );
}

#[test]
fn the_seq_stands_exactly_once_with_a_width_of_1_to_18() {
    check(
        "format={seq}-{seq:3}",
        expect![[r#"
        format: {seq} stands in the format twice; it must stand there exactly once
          {seq}-{seq:3}
                ^^^^^^^
    "#]],
    );
    check(
        "format=INV-{year}",
        expect![[r#"
        format: the format needs {seq} or {seq:N}, exactly once
          INV-{year}
                    ^
    "#]],
    );
    for width in ["0", "19", "", "+5", "x", "99999999999999999999999"] {
        let error = define(&spec_of([("format", &*format!("{{seq:{width}}}"))])).expect_err("no width");
        assert_eq!(error.message, "a seq is 1 to 18 digits wide, e.g. {seq:5}", "{width}");
    }
    check(
        "format={seq:18}",
        expect![[r#"
        000000000000000001
    "#]],
    );
}

#[test]
fn a_brace_is_closed_or_doubled() {
    check(
        "format=INV-{seq",
        expect![[r#"
        format: this `{` is never closed; a brace itself is written `{{`
          INV-{seq
              ^
    "#]],
    );
    check(
        "format=INV}-{seq}",
        expect![[r#"
        format: this `}` closes nothing; a brace itself is written `}}`
          INV}-{seq}
             ^
    "#]],
    );
    check(
        "format={a{seq}",
        expect![[r#"
        format: unknown token {a{seq}; declare it as a param or use one of seq year yy month day date fy tenant
          {a{seq}
          ^^^^^^^
    "#]],
    );
    check(
        "format={{seq}}{seq}",
        expect![[r#"
        {seq}1
    "#]],
    );
}

#[test]
fn a_format_prints_only_what_can_be_seen() {
    let message = "control characters, direction marks and invisible characters cannot be printed";
    let hidden = [
        '\u{0}',
        '\t',
        '\n',
        '\r',
        '\u{7f}',
        '\u{85}',
        '\u{a0}',
        '\u{ad}',
        '\u{61c}',
        '\u{200b}',
        '\u{200e}',
        '\u{200f}',
        '\u{2028}',
        '\u{202a}',
        '\u{202e}',
        '\u{2060}',
        '\u{2066}',
        '\u{2069}',
        '\u{3000}',
        '\u{feff}',
        '\u{e0041}',
    ];
    for c in hidden {
        let format = format!("Ä-{c}{{seq}}");
        let error = define(&spec_of([("format", &*format)])).expect_err("hidden");
        let place = Some((3, c.len_utf8()));
        assert_eq!(
            (&*error.field, &*error.message, error.place),
            ("format", message, place),
            "{c:?}"
        );
    }
    check(
        "format=INV-\u{202e}{seq}",
        expect![[r#"
        format: control characters, direction marks and invisible characters cannot be printed
          INV-\u{202e}{seq}
              ^^^^^^^^
    "#]],
    );
    check(
        "format='A B {seq}'",
        expect![[r#"
        A B 1
    "#]],
    );
}

#[test]
fn a_format_has_1_to_256_bytes() {
    check(
        "format=",
        expect![[r#"
        format: a format has 1 to 256 bytes, e.g. `INV-{year}-{seq:5}`
          
          ^
    "#]],
    );
    let longest = format!("{}{{seq}}", "a".repeat(251));
    assert!(define(&spec_of([("format", &*longest), ("max_length", "255")])).is_ok());
    let error = define(&spec_of([("format", &*format!("a{longest}"))])).expect_err("too long");
    assert_eq!(error.message, "a format has 1 to 256 bytes, e.g. `INV-{year}-{seq:5}`");
}

#[test]
fn a_fiscal_year_begins_on_a_day_that_every_year_has() {
    for start in ["04-01", "07-01", "10-01", "02-28", "03-01", "01-02", "12-31"] {
        let reset = format!("fiscal-year:{start}");
        let series = define(&spec_of([("format", "{fy}-{seq}"), ("reset", &*reset)])).expect("accepted");
        assert_eq!(series.reset.to_string(), reset);
    }
    let format = "format={fy}-{seq}";
    check(
        &format!("{format} reset=fiscal-year:02-29"),
        expect![[r#"
        reset: a fiscal year cannot start on 02-29: three years in four have no such day; use 02-28 or 03-01
    "#]],
    );
    check(
        &format!("{format} reset=fiscal-year:01-01"),
        expect![[r#"
        reset: a fiscal year from 01-01 is the calendar year; use reset = "yearly" and {year}
    "#]],
    );
    check(
        &format!("{format} reset=fiscal-year:13-01"),
        expect![[r#"
        reset: `13-01` is not a day of the year; write the first day of the fiscal year like fiscal-year:04-01
    "#]],
    );
    check(
        &format!("{format} reset=fiscal-year:06-31"),
        expect![[r#"
        reset: `06-31` is not a day of the year; write the first day of the fiscal year like fiscal-year:04-01
    "#]],
    );
    for start in [
        "00-01", "04-00", "4-1", "+4-+1", "04-1", "0401", "04-01-01", "", " 4-01",
    ] {
        let reset = format!("fiscal-year:{start}");
        let error = define(&spec_of([("format", "{fy}-{seq}"), ("reset", &*reset)])).expect_err(start);
        assert!(error.message.contains("is not a day of the year"), "{start}: {error}");
    }
    check(
        &format!("{format} reset=weekly"),
        expect![[r#"
        reset: unknown reset `weekly`; use never, daily, monthly, yearly or fiscal-year:MM-DD
    "#]],
    );
}

#[test]
fn a_param_is_declared_and_printed() {
    check(
        "format=INV-{seq} partition_by=branch params.branch=digits:2",
        expect![[r#"
        format: `branch` splits the count but is not printed, so numbers would repeat; add {branch} to the format
          INV-{seq}
          ^^^^^^^^^
    "#]],
    );
    check(
        "format=INV-{seq} params.branch=digits:2",
        expect![[r#"
        params.branch: `branch` is declared but not printed; add {branch} to the format or leave it out
    "#]],
    );
    check(
        "format={branch}-{seq} partition_by=brunch params.branch=digits:2",
        expect![[r#"
        partition_by: `brunch` is not a declared param; declare it in params
    "#]],
    );
    check(
        "format={branch}-{seq} partition_by=branch,branch params.branch=digits:2",
        expect![[r#"
        partition_by: `branch` is named twice
    "#]],
    );
}

#[test]
fn a_param_is_not_named_like_a_token() {
    for token in ["seq", "year", "yy", "month", "day", "date", "fy", "tenant"] {
        let error = define(&spec_of([
            ("format", "{seq}"),
            (&format!("params.{token}"), "digits:2"),
        ]))
        .expect_err(token);
        assert_eq!(error.field, format!("params.{token}"));
        let message = format!("{{{token}}} is a token of the format language; choose another name");
        assert_eq!(error.message, message);
    }
    for name in ["Branch", "1st", "a-b", "fy:long", "a b", "ä", ""] {
        let error = define(&spec_of([("format", "{seq}"), (&format!("params.{name}"), "digits:2")])).expect_err(name);
        assert!(
            error.message.starts_with("a param is named by a lower-case letter"),
            "{name}: {error}"
        );
    }
}

#[test]
fn a_param_has_a_kind_and_a_width() {
    let kind = |kind: &str| define(&spec_of([("format", "{p}-{seq}"), ("params.p", kind)]));
    for good in [
        "digits:1",
        "digits:32",
        "letters:1..32",
        "digits:2..2",
        "one_of:A|B/C|d_e.f",
    ] {
        assert!(kind(good).is_ok(), "{good}");
    }
    for width in ["0", "33", "4..1", "1..33", "+2", "1..+2", "x", "1...2", "-1", "256"] {
        let error = kind(&format!("digits:{width}")).expect_err(width);
        assert!(error.message.contains("is not a width"), "{width}: {error}");
        assert_eq!(error.field, "params.p");
    }
    check(
        "format={p}-{seq} params.p=hex:2",
        expect![[r#"
        params.p: unknown kind `hex`; use digits, letters or one_of
    "#]],
    );
    check(
        "format={p}-{seq} params.p=one_of:",
        expect![[r#"
        params.p: one_of needs at least one text
    "#]],
    );
    check(
        "format={p}-{seq} params.p=one_of:A|A",
        expect![[r#"
        params.p: one_of names a text twice
    "#]],
    );
    check(
        "format={p}-{seq} params.p='one_of:A B'",
        expect![[r#"
        params.p: `A B` cannot be a value; use 1 to 32 of A-Z, a-z, 0-9, `-`, `_`, `.` and `/`
    "#]],
    );
    check(
        "format={p}-{seq} params.p=digits:1|2",
        expect![[r#"
        params.p: give one width
    "#]],
    );
}

#[test]
fn a_count_has_a_first_and_a_last() {
    check(
        "format={seq} start=5 limit=4",
        expect![[r#"
        start: the first seq, 5, is above the last, 4
    "#]],
    );
    check(
        "format={seq:1} start=10 overflow=refuse",
        expect![[r#"
        start: the first seq, 10, is above the last, 9
    "#]],
    );
    check(
        "format={seq} start=0",
        expect![[r#"
        start: a count starts at 1 or above, and at most at 9223372036854775807
    "#]],
    );
    check(
        "format={seq} limit=0",
        expect![[r#"
        start: the first seq, 1, is above the last, 0
    "#]],
    );
    check(
        "format={seq} limit=9223372036854775808",
        expect![[r#"
        limit: a limit is at most 9223372036854775807
    "#]],
    );
    check(
        "format={seq} overflow=refuse",
        expect![[r#"
        overflow: `{seq}` has no width to outgrow; write {seq:N} or set a limit
    "#]],
    );
    check(
        "format={seq} overflow=refuse limit=50",
        expect![[r#"
        1
    "#]],
    );
    check(
        "format={seq} start=5 limit=5",
        expect![[r#"
        5
    "#]],
    );
}

#[test]
fn the_shortest_number_must_fit_max_length() {
    check(
        "format=INVOICE-{seq:5} max_length=12",
        expect![[r#"
        format: even the shortest number has 13 characters, more than max_length = 12
          INVOICE-{seq:5}
          ^^^^^^^^^^^^^^^
    "#]],
    );
    // {fy:long} is 2025-26: seven characters.
    check(
        "format={fy:long}/{seq} reset=fiscal-year:04-01 max_length=8",
        expect![[r#"
        format: even the shortest number has 9 characters, more than max_length = 8
          {fy:long}/{seq}
          ^^^^^^^^^^^^^^^
    "#]],
    );
    check(
        "format={fy:long}/{seq} reset=fiscal-year:04-01 max_length=9",
        expect![[r#"
        2025-26/1
    "#]],
    );
    check(
        "format={seq} start=1000 max_length=3",
        expect![[r#"
        format: even the shortest number has 4 characters, more than max_length = 3
          {seq}
          ^^^^^
    "#]],
    );
    check(
        "format={seq} max_length=0",
        expect![[r#"
        max_length: max_length is 1 to 255 characters
    "#]],
    );
    check(
        "format={seq} max_length=256",
        expect![[r#"
        max_length: max_length is 1 to 255 characters
    "#]],
    );
}

#[test]
fn a_window_is_days_back_and_ahead() {
    for good in ["-0d..+0d", "-400d..+32d", "-36600d..+36600d"] {
        let series = define(&spec_of([("format", "{seq}"), ("date_window", good)])).expect("accepted");
        assert_eq!(series.window.to_string(), good);
    }
    for bad in [
        "",
        "400d..32d",
        "-400..+32",
        "-1d",
        "-1d..+36601d",
        "+1d..-1d",
        "--1d..+1d",
        "-1d..+1d..+1d",
        "-d..+d",
    ] {
        let error = define(&spec_of([("format", "{seq}"), ("date_window", bad)])).expect_err(bad);
        assert_eq!(error.field, "date_window", "{bad}");
    }
    check(
        "format={seq} date_window=-1w..+1w",
        expect![[r#"
        date_window: `-1w..+1w` is not a window; write days back and ahead like "-400d..+32d", at most 36600 each
    "#]],
    );
}

#[test]
fn an_unknown_time_zone_hears_of_one_like_it() {
    check(
        "format={seq} zone=Kolkata",
        expect![[r#"
        time_zone: unknown time zone `Kolkata`; did you mean Asia/Kolkata?
    "#]],
    );
    check(
        "format={seq} zone=Mars/Olympus",
        expect![[r#"
        time_zone: unknown time zone `Mars/Olympus`; use an IANA name like Asia/Kolkata
    "#]],
    );
}

#[test]
fn a_choice_is_one_of_its_words() {
    check(
        "format={seq} overflow=wrap",
        expect![[r#"
        overflow: `wrap` is not a choice; use widen or refuse
    "#]],
    );
    check(
        "format={seq} date_order=strict",
        expect![[r#"
        date_order: `strict` is not a choice; use free or required
    "#]],
    );
    check(
        "format={seq} keys=none",
        expect![[r#"
        keys: `none` is not a choice; use required or optional
    "#]],
    );
    check(
        "format={seq} replay=loose",
        expect![[r#"
        replay: `loose` is not a choice; use lenient or strict
    "#]],
    );
    check(
        "format={seq} on_expiry=keep",
        expect![[r#"
        on_expiry: `keep` is not a choice; use hold or void
    "#]],
    );
    check(
        "format={seq} gaps=forbid",
        expect![[r#"
        gaps: `forbid` is not a choice; use explain or allow
    "#]],
    );
    check(
        "format={seq} on_outage=panic",
        expect![[r#"
        on_outage: `panic` is not a choice; use fail
    "#]],
    );
}

#[test]
fn what_is_not_built_yet_is_refused_by_name() {
    check(
        "format={seq} gaps=allow",
        expect![[r#"
        gaps: gaps = "allow" comes with blocks, which this version does not have yet; use "explain"
    "#]],
    );
    check(
        "format={seq} on_outage=fallback",
        expect![[r#"
        on_outage: on_outage = "fallback" is not part of this version yet; use "fail"
    "#]],
    );
}

#[test]
fn a_series_replaces_another_one() {
    check(
        "format={seq} replaces=invoice",
        expect![[r#"
        replaces: a series cannot replace itself
    "#]],
    );
    check(
        "format={seq} replaces='old one'",
        expect![[r#"
        replaces: series: a series name is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`
    "#]],
    );
    check(
        "format={seq} replaces=old",
        expect![[r#"
        1
    "#]],
    );
}

#[test]
fn a_number_that_the_series_cannot_have_printed_is_not_read() {
    let read = |line: &str, number: &str| {
        let words = words(line);
        define(&spec_of(settings(&words)))
            .expect("accepted")
            .read(number, "acme")
    };
    let fits = [
        ("format=INV-{seq:3}", "INV-001"),
        ("format=INV-{seq:3}", "INV-1000"),
        ("format={seq}", "9223372036854775807"),
        ("format={fy:long}-{seq} reset=fiscal-year:04-01", "2025-26-1"),
        ("format={seq:4}0X overflow=refuse", "00010X"),
        ("format={date}-{seq} reset=daily", "20280229-1"),
        ("format={branch}#{seq:2}/{branch} params.branch=digits:1..2", "7#01/7"),
    ];
    for (line, number) in fits {
        assert!(read(line, number).is_some(), "{line} prints {number}");
    }
    let foreign = [
        ("format=INV-{seq:3}", "INV-1"),
        ("format=INV-{seq:3}", "INV-0001"),
        ("format=INV-{seq:3}", "INV-000"),
        ("format=INV-{seq:3}", "INV-001 "),
        ("format=INV-{seq:3}", "inv-001"),
        ("format=INV-{seq:3}", "INV-٠٠١"),
        ("format={seq}", "01"),
        ("format={seq}", ""),
        ("format={seq}", "9223372036854775808"),
        ("format={seq}", "99999999999999999999999"),
        ("format={fy:long}-{seq} reset=fiscal-year:04-01", "2025-27-1"),
        ("format={fy:long}-{seq} reset=fiscal-year:04-01", "2025/26-1"),
        ("format={fy}-{seq} reset=fiscal-year:04-01", "2527-1"),
        ("format={date}-{seq} reset=daily", "20260229-1"),
        ("format={year}{month}-{seq} reset=monthly", "202613-1"),
        ("format={branch}#{seq:2}/{branch} params.branch=digits:1..2", "7#01/8"),
        ("format={branch}#{seq:2} params.branch=digits:2", "7#01"),
        ("format={branch}#{seq:2} params.branch=letters:1..2", "ABC#01"),
        ("format={branch}#{seq:2} params.branch=one_of:A|BC", "AC#01"),
        ("format={tenant}/{seq}", "other/1"),
    ];
    for (line, number) in foreign {
        assert_eq!(read(line, number), None, "{line} cannot print {number}");
    }
}
