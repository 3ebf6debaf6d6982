//! How long a number may stay reserved.

use alloc::format;

use crate::refusal::{Code, Refusal};

/// How long something is held, in whole seconds: 1 second to 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ttl(u32);

impl Ttl {
    pub(crate) const SECOND: Self = Self(1);
    pub(crate) const FIVE_MINUTES: Self = Self(300);
    const SECONDS_MAX: u64 = 366 * 86_400;

    /// Checks a number of seconds.
    ///
    /// # Errors
    /// `invalid_ttl`.
    pub fn from_seconds(seconds: u64) -> Result<Self, Refusal> {
        match u32::try_from(seconds) {
            Ok(ttl) if (1..=Self::SECONDS_MAX).contains(&seconds) => Ok(Self(ttl)),
            Ok(_) | Err(_) => Err(Self::refuse(format!("{seconds}s"))),
        }
    }

    /// Reads `90s`, `15m`, `24h` or `7d`.
    ///
    /// ```
    /// use seriatim_core::Ttl;
    /// assert_eq!(Ttl::parse("15m")?.as_seconds(), 900);
    /// # Ok::<(), seriatim_core::Refusal>(())
    /// ```
    ///
    /// # Errors
    /// `invalid_ttl`.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let unit = match text.as_bytes().last() {
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3_600,
            Some(b'd') => 86_400,
            Some(_) | None => 0u64,
        };
        let count = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
        let digits = !count.is_empty() && count.bytes().all(|b| b.is_ascii_digit());
        match count.parse::<u64>() {
            Ok(count) if digits && unit > 0 => Self::from_seconds(count.saturating_mul(unit)).ok(),
            Ok(_) | Err(_) => None,
        }
        // In the words of the caller, not in seconds.
        .ok_or_else(|| Self::refuse(format!("`{}`", text.escape_debug())))
    }

    fn refuse(given: alloc::string::String) -> Refusal {
        let message = format!("{given} is not a duration from 1s to 366d; write it like 90s, 15m, 24h or 7d");
        Refusal::new(Code::InvalidTtl, message).at("/ttl")
    }

    /// Seconds.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        i64::from(self.0)
    }
}
