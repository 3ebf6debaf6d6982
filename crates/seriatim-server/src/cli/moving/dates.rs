//! The day that a text names, as databases and spreadsheets write it.

use seriatim::{Date, Timestamp, Zone};

/// The day of a date, of a time of day without a zone (as it is written), or of an instant (in the series' zone).
///
/// An instant has its offset behind it: `2026-03-31 18:29:59+00`, `2026-03-31T18:29:59Z`.
pub fn day(text: &str, zone: &Zone) -> Option<Date> {
    let text = text.trim();
    let date = text.get(..10)?.parse::<Date>().ok()?;
    let rest = &text[10..];
    if rest.is_empty() {
        return Some(date);
    }
    let time = rest.strip_prefix(['T', ' '])?;
    let at = time.find(['Z', 'z', '+', '-']);
    let (clock, offset) = time.split_at(at.unwrap_or(time.len()));
    is_clock(clock.trim_end()).then_some(())?;
    match offset {
        "" => Some(date),
        offset => instant(&text[..10], clock.trim_end(), offset).map(|at| zone.date_at(at)),
    }
}

fn is_clock(text: &str) -> bool {
    text.len() >= 5 && text.bytes().all(|b| b.is_ascii_digit() || b == b':' || b == b'.')
}

fn instant(day: &str, clock: &str, offset: &str) -> Option<Timestamp> {
    let seconds = if clock.len() == 5 { ":00" } else { "" };
    // PostgreSQL writes whole hours as `+00`.
    let minutes = if offset.len() == 3 { ":00" } else { "" };
    format!("{day}T{clock}{seconds}{offset}{minutes}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use seriatim::{BundledZones, Zones as _};

    #[test]
    fn an_instant_is_a_day_of_the_series_zone_and_anything_else_is_as_written() {
        let kolkata = BundledZones.zone("Asia/Kolkata").expect("a zone");
        let read = |text: &str| day(text, &kolkata).map(|day| day.to_string()).unwrap_or_default();
        for (text, expected) in [
            ("2026-03-31", "2026-03-31"),
            ("2026-03-31 23:59:59", "2026-03-31"),
            ("2026-03-31 18:29:59.999+00", "2026-03-31"),
            ("2026-03-31 18:30:00+00", "2026-04-01"),
            ("2026-03-31T18:30:00Z", "2026-04-01"),
            ("2026-03-31T18:30Z", "2026-04-01"),
            ("2026-04-01 00:00:00+05:30", "2026-04-01"),
            ("31.03.2026", ""),
            ("2026-02-30", ""),
            ("2026-03-31x", ""),
            ("2026-03-31 soon", ""),
            ("", ""),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
