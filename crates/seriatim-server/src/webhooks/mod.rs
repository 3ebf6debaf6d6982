//! Between raw HTTP and a plain payment event, and back: signatures, bodies, sources, and what providers answer when
//! they are asked. Nothing here knows a series' rules, a gate or a store, and only [`status`] speaks to anybody.

mod event;
mod headers;
mod malformed;
pub mod sample;
mod scheme;
mod secret;
mod source;
pub mod status;
mod unverified;

pub use event::{Meaning, Money, PaymentEvent, PaymentReference, Pointers};
pub use malformed::Malformed;
pub use scheme::{SIGNATURES_MAX, Scheme, Signed, Unsignable, Verified, WINDOW_SECONDS};
pub use secret::Secret;
pub use source::{RECEIPT, Received, Refused, Source};
pub use unverified::Unverified;

/// The largest body that is read.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
