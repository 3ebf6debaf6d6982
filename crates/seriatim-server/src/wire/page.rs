//! Lists and the way through them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Problem;

/// One page of a list.
#[derive(Serialize, ToSchema)]
pub struct List<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Where the next page begins, as `?cursor=`; null at the end. A page may be short and yet not the last.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that has one page.
    pub fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }
}

/// A cursor as it is given out: its kind first, so that one of another list is refused.
pub fn next_cursor(kind: char, next: Option<u64>) -> Option<String> {
    next.map(|next| format!("{kind}{next:x}"))
}

/// Reads [`next_cursor`] back.
pub fn cursor_of(kind: char, text: Option<&str>) -> Result<Option<u64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let digits = text
        .strip_prefix(kind)
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    // No store counts further than 63 bits.
    let cursor = digits.and_then(|digits| i64::from_str_radix(digits, 16).ok());
    cursor.map(|cursor| Some(cursor.unsigned_abs())).ok_or_else(|| {
        let detail = "this is not a cursor of this list; take next_cursor from the page before, or leave it out";
        Problem::malformed("invalid_cursor", detail).at("/cursor")
    })
}

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 500;

/// How many rows a page shall have.
pub fn limit_of(text: Option<&str>) -> Result<usize, Problem> {
    let Some(text) = text else { return Ok(LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        let detail = format!("a page has 1 to {LIMIT_MAX} rows");
        Problem::malformed("invalid_limit", detail).at("/limit")
    })
}
