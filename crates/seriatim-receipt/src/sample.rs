//! What a template is tried with before the first payment.

use jiff::civil::{Date, date, datetime};
use jiff::tz::{Offset, TimeZone};

use crate::receipt::{DocumentError, Issued, Paid, Receipt};
use crate::template::Job;

/// A document with every field that is printed.
pub const DOCUMENT: &str = include_str!("../templates/sample.json");

const DATE: Date = date(2025, 11, 20);

/// The sample as a receipt.
///
/// Errors: none, as a test shows.
pub fn receipt() -> Result<Receipt, DocumentError> {
    let issued = Issued {
        number: "INV-2526-00001".to_string(),
        date: DATE,
    };
    Receipt::read(DOCUMENT, issued, paid())
}

/// The sample's payment.
pub fn paid() -> Option<Paid> {
    let kolkata = TimeZone::fixed(Offset::from_seconds(19_800).ok()?);
    Some(Paid {
        reference: "pay_QxT7c2mLd0Zk1V".to_string(),
        method: Some("UPI".to_string()),
        at: datetime(2025, 11, 20, 16, 38, 14, 0).to_zoned(kolkata).ok(),
    })
}

pub(crate) fn job() -> Result<Job, DocumentError> {
    receipt().map(|receipt| Job::of(&receipt))
}
