//! What statements are given, with its type: so that they can be sent without being prepared first.

use bytes::BytesMut;
use seriatim_core::Date;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

type AnyError = Box<dyn std::error::Error + Sync + Send>;

/// A value of a statement.
pub(super) trait Param: ToSql + Sync + Send {
    /// The type that PostgreSQL knows it by.
    fn kind(&self) -> Type;
    /// For the driver.
    fn as_sql(&self) -> &(dyn ToSql + Sync);
}

/// The values of a statement, in the order of their places.
pub(super) type Params<'a> = Vec<Box<dyn Param + 'a>>;

macro_rules! params {
    ($($rust:ty => $kind:ident,)*) => {$(
        impl Param for $rust {
            fn kind(&self) -> Type {
                Type::$kind
            }
            fn as_sql(&self) -> &(dyn ToSql + Sync) {
                self
            }
        }
    )*};
}

params! {
    bool => BOOL,
    i32 => INT4,
    i64 => INT8,
    Option<i64> => INT8,
    &str => TEXT,
    Option<&str> => TEXT,
    String => TEXT,
    Day => DATE,
    Option<Day> => DATE,
    Vec<bool> => BOOL_ARRAY,
    Vec<i32> => INT4_ARRAY,
    Vec<i64> => INT8_ARRAY,
    Option<Vec<i64>> => INT8_ARRAY,
    Vec<Option<i64>> => INT8_ARRAY,
    Vec<&str> => TEXT_ARRAY,
    Option<Vec<&str>> => TEXT_ARRAY,
    Vec<Option<&str>> => TEXT_ARRAY,
    Vec<String> => TEXT_ARRAY,
    Vec<Option<String>> => TEXT_ARRAY,
    Vec<&[u8]> => BYTEA_ARRAY,
    Vec<Option<&[u8]>> => BYTEA_ARRAY,
    Vec<Day> => DATE_ARRAY,
    Vec<Option<Day>> => DATE_ARRAY,
}

/// The values of a statement: `values![name, limit]`.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$(Box::new($value) as Box<dyn $crate::store::postgres::params::Param + '_>),*]
    };
}
pub(super) use values;

/// A date as PostgreSQL sends it: days since 2000-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) Date);

/// 2000-01-01, counted from 1970-01-01.
const EPOCH: i32 = 10_957;

impl Day {
    /// Days since 1970-01-01 in the Gregorian calendar, which begins again every 400 years of 146,097 days.
    fn since_1970(self) -> i32 {
        let (year, month, day) = (
            i32::from(self.0.year()),
            i32::from(self.0.month()),
            i32::from(self.0.day()),
        );
        // Years that begin in March have their leap day at the end.
        let year = if month <= 2 { year - 1 } else { year };
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }
}

impl ToSql for Day {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, AnyError> {
        (self.since_1970() - EPOCH).to_sql(ty, out)
    }
    accepts!(DATE);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Day {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, AnyError> {
        let days = i32::from_sql(ty, raw)?;
        // The ends of the scale are PostgreSQL's infinities.
        let first = Date::new(2000, 1, 1).filter(|_| days.unsigned_abs() < 3_000_000);
        first
            .map(|first| Self(first.plus_days(days)))
            .ok_or_else(|| "a date out of range".into())
    }
    accepts!(DATE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_go_to_postgresql_and_back() {
        for text in [
            "1970-01-01",
            "1999-12-31",
            "2000-01-01",
            "2000-02-29",
            "2026-03-01",
            "2100-02-28",
            "0001-01-01",
        ] {
            let day = Day(text.parse().unwrap());
            let mut bytes = BytesMut::new();
            assert!(matches!(day.to_sql(&Type::DATE, &mut bytes), Ok(IsNull::No)));
            assert_eq!(Day::from_sql(&Type::DATE, &bytes).unwrap(), day, "{text}");
        }
        assert_eq!(Day("2000-01-01".parse().unwrap()).since_1970(), EPOCH);
        assert!(Day::from_sql(&Type::DATE, &i32::MAX.to_be_bytes()).is_err());
    }
}
