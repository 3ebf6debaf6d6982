//! A receipt, read from the document that is stored with an entry and checked: what is printed adds up.
//! It knows no template and no PDF.

use jiff::Zoned;
use jiff::civil::Date;
use serde::Deserialize;

use crate::money::Currency;

mod check;
mod quantity;

pub use quantity::Quantity;

/// What the entry says: the number and its date are those of the journal, whatever the document holds.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The number that is printed.
    pub number: String,
    /// The date of the document.
    pub date: Date,
}

/// What the payment says.
#[derive(Debug, Clone)]
pub struct Paid {
    /// The reference of the payment, `pay_123`.
    pub reference: String,
    /// How it was paid, `UPI`.
    pub method: Option<String>,
    /// When it was paid, in the zone in which it is printed.
    pub at: Option<Zoned>,
}

/// A receipt whose sums are right.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub(crate) issued: Issued,
    pub(crate) paid: Option<Paid>,
    pub(crate) currency: Currency,
    pub(crate) document: Document,
}

/// Why a document is no receipt: the field, as a JSON pointer, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("document field {pointer}: {problem}", pointer = if self.pointer.is_empty() { "(root)" } else { &self.pointer })]
pub struct DocumentError {
    /// RFC 6901, `/lines/3/amount`.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Receipt {
    /// Reads a document as it is stored with its entry. Fields that are not printed are left alone; those that are must
    /// be right, and the sums must add up.
    ///
    /// Errors: the first field that is wrong.
    pub fn read(document: &str, issued: Issued, paid: Option<Paid>) -> Result<Self, DocumentError> {
        let mut reader = serde_json::Deserializer::from_str(document);
        let document: Document = serde_path_to_error::deserialize(&mut reader).map_err(DocumentError::of)?;
        reader.end().map_err(|error| DocumentError::at("", error.to_string()))?;
        let currency = check::document(&document)?;
        Ok(Self {
            issued,
            paid,
            currency,
            document,
        })
    }

    /// The number, which is the title of the PDF.
    pub fn number(&self) -> &str {
        &self.issued.number
    }
}

impl DocumentError {
    pub(crate) fn at(pointer: impl Into<String>, problem: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            problem: problem.into(),
        }
    }

    fn of(error: serde_path_to_error::Error<serde_json::Error>) -> Self {
        use serde_path_to_error::Segment;
        let pointer = error
            .path()
            .iter()
            .map(|segment| match segment {
                Segment::Seq { index } => format!("/{index}"),
                Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
                Segment::Enum { variant } => format!("/{variant}"),
                Segment::Unknown => String::new(),
            })
            .collect::<String>();
        let problem = error.into_inner().to_string();
        if problem.contains("floating point") && problem.contains("i64") {
            let problem = format!("{problem}; amounts are integers in minor units, 1250 for 12.50");
            return Self { pointer, problem };
        }
        Self { pointer, problem }
    }
}

/// What is read of a document. Amounts are integers in minor units.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Document {
    /// `Tax invoice`; the template has a default.
    pub title: Option<String>,
    pub currency: String,
    #[serde(default = "english")]
    pub locale: String,
    pub seller: Party,
    pub buyer: Option<Party>,
    pub place_of_supply: Option<String>,
    pub lines: Vec<Line>,
    #[serde(default)]
    pub discounts: Vec<Discount>,
    #[serde(default)]
    pub taxes: Vec<Tax>,
    /// The amounts of the lines hold the tax already.
    #[serde(default)]
    pub tax_included: bool,
    pub totals: Totals,
    #[serde(default)]
    pub notes: Vec<String>,
}

fn english() -> String {
    "en".to_string()
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Party {
    pub name: String,
    #[serde(default)]
    pub address: Vec<String>,
    #[serde(default)]
    pub tax_ids: Vec<TaxId>,
    pub email: Option<String>,
    pub phone: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TaxId {
    pub label: String,
    pub value: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Line {
    pub description: String,
    /// HSN or SAC.
    pub code: Option<String>,
    pub quantity: Quantity,
    pub unit: Option<String>,
    pub unit_price: i64,
    #[serde(default)]
    pub discount: i64,
    pub amount: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Discount {
    pub label: String,
    pub amount: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Tax {
    /// `CGST`, `VAT`.
    pub label: String,
    /// Percent, `9` or `2.5`.
    pub rate: Quantity,
    pub base: i64,
    pub amount: i64,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Totals {
    pub subtotal: i64,
    #[serde(default)]
    pub discount: i64,
    #[serde(default)]
    pub tax: i64,
    #[serde(default)]
    pub rounding: i64,
    pub total: i64,
}
