//! Headers of a delivery, read strictly: a header that comes twice is refused, for nobody can say which one counts.

use hyper::header::HeaderMap;

use super::Unverified;

/// The one value of a header.
pub(super) fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Unverified> {
    optional(headers, name)?.ok_or(Unverified::Missing(name))
}

/// The one value of a header that need not be there.
pub(super) fn optional<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Unverified> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Unverified::Repeated(name));
    }
    match value.to_str() {
        Ok(text) => Ok(Some(text)),
        Err(_) => Err(Unverified::Malformed(name, "it is not printable ASCII")),
    }
}

/// Whole seconds since 1970, in digits and nothing else.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}
