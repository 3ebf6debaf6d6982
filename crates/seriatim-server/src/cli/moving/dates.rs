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

/// `18:30`, `18:30:00`, `18:30:00.5`; a sixtieth second is one that leaps.
fn is_clock(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let is_time = match parts[..] {
        [hour, minute] => is_up_to(23, hour) && is_up_to(59, minute) && minute.len() == 2,
        [hour, minute, second] => {
            is_up_to(23, hour) && is_up_to(59, minute) && is_up_to(60, second) && (minute.len(), second.len()) == (2, 2)
        }
        _ => false,
    };
    is_time && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit())
}

fn is_up_to(most: u8, part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_digit()) && part.len() <= 2 && part.parse().is_ok_and(|part: u8| part <= most)
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
            // As Kolkata's clocks were before there were zones, and those of Amsterdam.
            ("1900-01-01 17:53:27+05:53:28", "1900-01-01"),
            ("1900-01-01 23:53:28+00:19:32", "1900-01-02"),
            ("2026-03-31 9:05", "2026-03-31"),
            ("2026-03-31 23:59:60.5", "2026-03-31"),
            ("2026-03-31 24:00", ""),
            ("2026-03-31 99:99:99", ""),
            ("2026-03-31 ::...", ""),
            ("2026-03-31 12:5", ""),
            ("2026-03-31 12:05:06.", ""),
            ("2026-03-31 12:05:06:07", ""),
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
