//! Makes a PDF of a document with a template, to see what a change looks like:
//!
//! ```sh
//! cargo run -p seriatim-receipt --example preview -- out.pdf [template-folder] [document.json]
//! ```
//!
//! Beside it goes `receipt.json`, which is what the template gets.

use std::path::Path;

use seriatim_receipt::{Folder, Issued, Receipt, Template, sample};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let out = arguments.first().ok_or("say where the PDF goes: preview out.pdf")?;
    let folder = match arguments.get(1) {
        Some(folder) => Folder::read(Path::new(folder))?,
        None => Folder::builtin(),
    };
    let receipt = match arguments.get(2) {
        Some(document) => read(&std::fs::read_to_string(document)?)?,
        None => sample::receipt()?,
    };
    std::fs::write(out, Template::load(folder)?.render(&receipt)?)?;
    let data = Path::new(out).with_file_name(seriatim_receipt::DATA);
    std::fs::write(data, serde_json::to_string_pretty(&receipt.printed())?)?;
    Ok(())
}

/// The sample's number and payment, on a document of one's own.
fn read(document: &str) -> Result<Receipt, Box<dyn std::error::Error>> {
    let issued = Issued {
        number: "SAMPLE-00001".to_string(),
        date: "2025-11-20".parse()?,
    };
    Ok(Receipt::read(document, issued, sample::paid())?)
}
