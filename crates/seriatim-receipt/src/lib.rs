//! Receipts as PDF, from a template: heavy, so apart from the rest of Seriatim. It knows no store, no gate, no server.
//!
//! A [`Receipt`] is read from the document that is stored with an entry and checked: what is printed adds up. A
//! [`Pool`] of child processes turns it into a PDF with a deadline and a limit of memory. [`Files`] keeps PDFs that
//! nobody can overwrite.
//!
//! ```
//! use seriatim_receipt::{Folder, Issued, Receipt, Template};
//!
//! let document = r#"{
//!     "currency": "INR", "locale": "en-IN", "seller": {"name": "Acme"},
//!     "lines": [{"description": "Tea", "quantity": 2, "unit_price": 12500, "amount": 25000}],
//!     "totals": {"subtotal": 25000, "total": 25000}
//! }"#;
//! let issued = Issued { number: "INV-2526-00001".to_string(), date: "2025-11-20".parse()? };
//! let receipt = Receipt::read(document, issued, None)?;
//! let pdf = Template::load(Folder::builtin())?.render(&receipt)?;
//! assert!(pdf.starts_with(b"%PDF-"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod child;
mod error;
pub mod files;
mod folder;
pub mod money;
mod pipe;
mod pool;
mod printed;
mod receipt;
pub mod sample;
mod template;

pub use child::child_main;
pub use error::{Fault, RenderError};
pub use files::{Files, FilesError, Kept};
pub use folder::{DATA, Folder, FolderError, MAIN};
pub use pool::{Pool, PoolOptions};
pub use receipt::{DocumentError, Issued, Paid, Quantity, Receipt};
pub use template::Template;
