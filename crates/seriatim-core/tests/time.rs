//! Which day it is, and which period a day belongs to.

mod common;

use common::{at, date, zone};
use seriatim_core::{Code, Date, Period, Reset, Timestamp};

fn reset(text: &str) -> Reset {
    Reset::parse(text).unwrap_or_else(|message| panic!("{text}: {message}"))
}

fn period(text: &str, day: &str) -> String {
    reset(text).period_of(date(day)).to_string()
}

/// Each line: an instant, a zone, the day that it is there.
fn check_days(lines: &[(&str, &str, &str)]) {
    for (instant, place, day) in lines {
        assert_eq!(zone(place).date_at(at(instant)), date(day), "{instant} in {place}");
    }
}

#[test]
fn the_fiscal_year_turns_at_midnight_in_kolkata_and_nowhere_else() {
    let (kolkata, indian) = (zone("Asia/Kolkata"), reset("fiscal-year:04-01"));
    let year = |instant| indian.period_of(kolkata.date_at(at(instant))).to_string();
    assert_eq!(year("2026-03-31T23:59:59+05:30"), "2025-26");
    assert_eq!(year("2026-03-31T23:59:59.999999+05:30"), "2025-26");
    assert_eq!(year("2026-04-01T00:00:00+05:30"), "2026-27");
    assert_eq!(year("2026-04-01T00:00:01+05:30"), "2026-27");
    // The same instants as a server in London or in UTC sees them.
    assert_eq!(year("2026-03-31T18:29:59Z"), "2025-26");
    assert_eq!(year("2026-03-31T18:30:00Z"), "2026-27");
}

#[test]
fn a_leap_day_is_a_day_like_any_other() {
    check_days(&[
        ("2028-02-28T23:59:59Z", "UTC", "2028-02-28"),
        ("2028-02-29T00:00:00Z", "UTC", "2028-02-29"),
        ("2028-02-29T23:59:59Z", "UTC", "2028-02-29"),
        ("2028-03-01T00:00:00Z", "UTC", "2028-03-01"),
        ("2027-03-01T00:00:00Z", "UTC", "2027-03-01"),
    ]);
    assert_eq!(period("daily", "2028-02-29"), "2028-02-29");
    assert_eq!(period("monthly", "2028-02-29"), "2028-02");
    assert_eq!(period("yearly", "2028-02-29"), "2028");
    assert_eq!(period("fiscal-year:03-01", "2028-02-29"), "2027-28");
    assert_eq!(period("fiscal-year:02-28", "2028-02-29"), "2028-29");
    assert_eq!(period("fiscal-year:02-28", "2028-02-27"), "2027-28");
    for no_day in ["2027-02-29", "2100-02-29", "1900-02-29"] {
        let refusal = no_day.parse::<Date>().expect_err(no_day);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidDate, Some("/date"))
        );
    }
    assert!("2000-02-29".parse::<Date>().is_ok());
}

#[test]
fn a_night_with_a_clock_change_has_one_midnight() {
    check_days(&[
        // Berlin, spring: 02:00 becomes 03:00. UTC+1 before, UTC+2 after.
        ("2026-03-28T22:59:59Z", "Europe/Berlin", "2026-03-28"),
        ("2026-03-28T23:00:00Z", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T00:59:59Z", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T01:00:00Z", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T21:59:59Z", "Europe/Berlin", "2026-03-29"),
        ("2026-03-29T22:00:00Z", "Europe/Berlin", "2026-03-30"),
        // Berlin, autumn: 03:00 becomes 02:00.
        ("2026-10-24T21:59:59Z", "Europe/Berlin", "2026-10-24"),
        ("2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T00:59:59Z", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T01:00:00Z", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T22:59:59Z", "Europe/Berlin", "2026-10-25"),
        ("2026-10-25T23:00:00Z", "Europe/Berlin", "2026-10-26"),
        // New York, spring: UTC-5 before, UTC-4 after.
        ("2026-03-08T04:59:59Z", "America/New_York", "2026-03-07"),
        ("2026-03-08T05:00:00Z", "America/New_York", "2026-03-08"),
        ("2026-03-09T03:59:59Z", "America/New_York", "2026-03-08"),
        ("2026-03-09T04:00:00Z", "America/New_York", "2026-03-09"),
        // New York, autumn.
        ("2026-11-01T03:59:59Z", "America/New_York", "2026-10-31"),
        ("2026-11-01T04:00:00Z", "America/New_York", "2026-11-01"),
        ("2026-11-02T04:59:59Z", "America/New_York", "2026-11-01"),
        ("2026-11-02T05:00:00Z", "America/New_York", "2026-11-02"),
    ]);
    // A month ends in the same night as the clock changes back.
    let month = |instant| {
        reset("monthly")
            .period_of(zone("America/New_York").date_at(at(instant)))
            .to_string()
    };
    assert_eq!(month("2026-11-01T03:59:59Z"), "2026-10");
    assert_eq!(month("2026-11-01T04:00:00Z"), "2026-11");
}

#[test]
fn midnight_itself_may_be_skipped_or_come_twice() {
    check_days(&[
        // Beirut springs forward at midnight: after 23:59:59 comes 01:00.
        ("2026-03-28T21:59:59Z", "Asia/Beirut", "2026-03-28"),
        ("2026-03-28T22:00:00Z", "Asia/Beirut", "2026-03-29"),
        // Havana falls back at 01:00 to midnight: the first hour of the day comes twice, the day does not.
        ("2026-11-01T03:59:59Z", "America/Havana", "2026-10-31"),
        ("2026-11-01T04:30:00Z", "America/Havana", "2026-11-01"),
        ("2026-11-01T05:30:00Z", "America/Havana", "2026-11-01"),
        // Samoa crossed the date line: it never was 30 December 2011 there.
        ("2011-12-30T09:59:59Z", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31"),
    ]);
}

#[test]
fn the_ends_of_the_world_are_25_hours_apart() {
    check_days(&[
        ("2026-12-31T10:00:00Z", "Pacific/Kiritimati", "2027-01-01"),
        ("2026-12-31T09:59:59Z", "Pacific/Kiritimati", "2026-12-31"),
        ("2026-12-31T10:00:00Z", "Pacific/Pago_Pago", "2026-12-30"),
        ("2026-12-31T10:59:59Z", "Pacific/Pago_Pago", "2026-12-30"),
        ("2026-12-31T11:00:00Z", "Pacific/Pago_Pago", "2026-12-31"),
        ("2027-01-01T10:59:59Z", "Pacific/Pago_Pago", "2026-12-31"),
        ("2027-01-01T11:00:00Z", "Pacific/Pago_Pago", "2027-01-01"),
    ]);
    let now = at("2026-12-31T10:30:00Z");
    let year = |place| reset("yearly").period_of(zone(place).date_at(now)).to_string();
    assert_eq!(
        (year("Pacific/Kiritimati").as_str(), year("Pacific/Pago_Pago").as_str()),
        ("2027", "2026")
    );
}

#[test]
fn a_fiscal_year_is_named_by_the_two_years_it_lies_in() {
    assert_eq!(period("fiscal-year:07-01", "2026-06-30"), "2025-26");
    assert_eq!(period("fiscal-year:07-01", "2026-07-01"), "2026-27");
    assert_eq!(period("fiscal-year:07-01", "2026-12-31"), "2026-27");
    assert_eq!(period("fiscal-year:07-01", "2027-01-01"), "2026-27");
    assert_eq!(period("fiscal-year:04-06", "2026-04-05"), "2025-26");
    assert_eq!(period("fiscal-year:04-06", "2026-04-06"), "2026-27");
    assert_eq!(period("fiscal-year:12-31", "2026-12-30"), "2025-26");
    assert_eq!(period("fiscal-year:12-31", "2026-12-31"), "2026-27");
    assert_eq!(period("fiscal-year:01-02", "2026-01-01"), "2025-26");
    assert_eq!(period("fiscal-year:04-01", "2099-04-01"), "2099-00");
    assert_eq!(period("never", "2026-06-30"), "all");
}

const RESETS: [&str; 9] = [
    "never",
    "daily",
    "monthly",
    "yearly",
    "fiscal-year:04-01",
    "fiscal-year:07-01",
    "fiscal-year:02-28",
    "fiscal-year:10-31",
    "fiscal-year:12-31",
];

/// Every day of ten years, two leap days among them.
fn ten_years() -> impl Iterator<Item = Date> {
    let first = date("2022-01-01");
    (0..3_652).map(move |days| first.plus_days(days))
}

#[test]
fn periods_follow_one_another_as_days_do() {
    assert_eq!(ten_years().last(), Some(date("2031-12-31")));
    for name in RESETS {
        let reset = reset(name);
        let mut ended: Vec<Period> = Vec::new();
        let mut current = reset.period_of(date("2021-12-31"));
        for day in ten_years() {
            let period = reset.period_of(day);
            if period == current {
                continue;
            }
            assert!(period > current, "{name}: {period} on {day} after {current}");
            assert!(!ended.contains(&period), "{name}: {period} came back on {day}");
            let begins = match reset {
                Reset::Never => false,
                Reset::Daily => true,
                Reset::Monthly => day.day() == 1,
                Reset::Yearly => (day.month(), day.day()) == (1, 1),
                Reset::FiscalYear { month, day: first } => (day.month(), day.day()) == (month, first),
            };
            assert!(begins, "{name}: {period} began on {day}");
            ended.push(std::mem::replace(&mut current, period));
        }
        let turns = match reset {
            Reset::Never => 0,
            Reset::Daily => 3_652,
            Reset::Monthly => 120,
            Reset::Yearly | Reset::FiscalYear { .. } => 10,
        };
        assert_eq!(ended.len(), turns, "{name}");
    }
}

#[test]
fn a_period_reads_back_from_its_text() {
    for name in RESETS {
        let reset = reset(name);
        for day in ten_years() {
            let period = reset.period_of(day);
            assert_eq!(reset.period(period.as_str()), Ok(period), "{name} on {day}");
        }
        assert_eq!(Reset::parse(&reset.to_string()), Ok(reset));
    }
}

#[test]
fn a_text_that_is_no_period_is_refused_with_an_example() {
    let foreign = [
        ("never", "ALL", "all"),
        ("never", "2026", "all"),
        ("yearly", "26", "2026"),
        ("yearly", "02026", "2026"),
        ("yearly", "0000", "2026"),
        ("yearly", "2026-03", "2026"),
        ("monthly", "2026-13", "2026-03"),
        ("monthly", "2026-3", "2026-03"),
        ("monthly", "2026-03-01", "2026-03"),
        ("daily", "2026-02-29", "2026-03-31"),
        ("daily", "20260301", "2026-03-31"),
        ("fiscal-year:04-01", "2025-27", "2025-26"),
        ("fiscal-year:04-01", "2025", "2025-26"),
        ("fiscal-year:04-01", "2025-2026", "2025-26"),
        ("fiscal-year:04-01", "2025/26", "2025-26"),
        ("fiscal-year:04-01", "２０２５-26", "2025-26"),
        ("fiscal-year:04-01", "", "2025-26"),
    ];
    for (name, text, example) in foreign {
        let refusal = reset(name).period(text).expect_err(text);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidPeriod, Some("/period")),
            "{name} {text}"
        );
        let message = format!("`{text}` is not a period of this series; write it like `{example}`");
        assert_eq!(refusal.message, message);
    }
}

#[test]
fn days_never_run_backwards_while_the_clock_runs_on() {
    let zones = [
        "UTC",
        "Asia/Kolkata",
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Beirut",
        "Pacific/Kiritimati",
        "Pacific/Pago_Pago",
        "Africa/Casablanca",
    ];
    let (first, last) = (
        at("2022-01-01T00:00:00Z").as_micros(),
        at("2032-01-01T00:00:00Z").as_micros(),
    );
    // Every half hour, one second after the half.
    let step = 1_800_000_000;
    for name in zones {
        let zone = zone(name);
        let mut today = zone.date_at(Timestamp::from_micros(first));
        for now in (first + 1_000_000..last).step_by(step) {
            let day = zone.date_at(Timestamp::from_micros(now));
            let tomorrow = today.plus_days(1);
            assert!(day == today || day == tomorrow, "{name}: {day} after {today}");
            today = day;
        }
    }
}

#[test]
fn an_instant_reads_back_from_its_text() {
    for (text, printed) in [
        ("2026-03-31T23:59:59+05:30", "2026-03-31T18:29:59.000000Z"),
        ("2026-03-31T23:59:59.1234567-11:00", "2026-04-01T10:59:59.123456Z"),
        ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z"),
    ] {
        assert_eq!(at(text).to_string(), printed);
        assert_eq!(at(printed), at(text));
    }
    for text in [
        "",
        "2026-03-31",
        "2026-03-31T23:59:59",
        "2026-02-29T00:00:00Z",
        "yesterday",
        "\u{202e}",
    ] {
        let refusal = text.parse::<Timestamp>().expect_err(text);
        assert_eq!(refusal.code, Code::InvalidTime, "{text}");
        assert!(
            refusal.message.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{}",
            refusal.message
        );
    }
}

#[test]
fn time_stays_within_the_calendar() {
    assert_eq!(
        Timestamp::from_micros(i64::MAX).to_string(),
        "9999-12-30T22:00:00.000000Z"
    );
    assert_eq!(
        Timestamp::from_micros(i64::MAX).plus_seconds(i64::MAX),
        Timestamp::from_micros(i64::MAX)
    );
    assert_eq!(date("9999-12-31").plus_days(1), date("9999-12-31"));
    assert_eq!(date("0001-01-01").plus_days(-1), date("0001-01-01"));
    assert_eq!(
        zone("UTC").date_at(Timestamp::from_micros(i64::MIN)),
        date("0001-01-01")
    );
    assert_eq!(
        (Date::new(0, 12, 31), Date::new(2026, 13, 1), Date::new(2026, 4, 31)),
        (None, None, None)
    );
}
