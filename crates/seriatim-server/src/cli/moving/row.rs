//! One document that bears a number.

use serde::{Deserialize, Serialize};

/// One document that bears a number, as the table or the file has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its line in the file, or its place among the rows of the table, counted from 1.
    pub line: u64,
    /// The number.
    pub number: String,
    /// Whose.
    pub tenant: Option<String>,
    /// Its date, as it is written there.
    pub date: Option<String>,
    /// What it was issued for.
    pub key: Option<String>,
    /// The document.
    pub document: Option<String>,
    /// A free reference.
    pub reference: Option<String>,
}

impl Row {
    /// Whose number: `default` if nothing is said.
    #[must_use]
    pub fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or("default")
    }
}
