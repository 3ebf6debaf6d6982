//! Whether a document adds up. Integers only; a difference names both sums.

use super::quantity::ONE;
use super::{Document, DocumentError, Line, Party};
use crate::money::Currency;

type Checked<T = ()> = Result<T, DocumentError>;

pub(super) fn document(document: &Document) -> Checked<Currency> {
    let code = &document.currency;
    let currency = Currency::of(code).ok_or_else(|| {
        let problem = format!("{code:?} is no currency code of ISO 4217; give one such as INR or EUR");
        DocumentError::at("/currency", problem)
    })?;
    locale(&document.locale)?;
    texts(document)?;
    if document.lines.is_empty() {
        return Err(DocumentError::at("/lines", "a receipt has at least one line"));
    }
    for (at, line) in document.lines.iter().enumerate() {
        line_amount(at, line)?;
    }
    for (at, discount) in document.discounts.iter().enumerate() {
        not_negative(&format!("/discounts/{at}/amount"), discount.amount)?;
    }
    sums(document)?;
    Ok(currency)
}

fn locale(locale: &str) -> Checked {
    let is_part = |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let has_language = locale
        .split('-')
        .next()
        .is_some_and(|language| matches!(language.len(), 2 | 3) && language.bytes().all(|b| b.is_ascii_lowercase()));
    if has_language && locale.split('-').all(is_part) {
        return Ok(());
    }
    let problem = format!("{locale:?} is no locale; give one such as en-IN or de-DE");
    Err(DocumentError::at("/locale", problem))
}

/// Goods cost what they cost: quantity times price less discount. A fraction of a minor unit may go either way, for
/// shops round differently.
fn line_amount(at: usize, line: &Line) -> Checked {
    not_negative(&format!("/lines/{at}/discount"), line.discount)?;
    let exact = line.quantity.millionths() * i128::from(line.unit_price);
    let said = (i128::from(line.amount) + i128::from(line.discount)) * ONE;
    if (exact - said).abs() < ONE {
        return Ok(());
    }
    let (quantity, price, discount) = (line.quantity.text(), line.unit_price, line.discount);
    let right = exact / ONE - i128::from(discount);
    let problem = format!(
        "the line says {}, but {quantity} x {price} - {discount} is {right}",
        line.amount
    );
    Err(DocumentError::at(format!("/lines/{at}/amount"), problem))
}

fn sums(document: &Document) -> Checked {
    let totals = &document.totals;
    let sum = |amounts: &mut dyn Iterator<Item = i64>| amounts.map(i128::from).sum::<i128>();
    let lines = sum(&mut document.lines.iter().map(|line| line.amount));
    let discounts = sum(&mut document.discounts.iter().map(|discount| discount.amount));
    let taxes = sum(&mut document.taxes.iter().map(|tax| tax.amount));
    equal("subtotal", totals.subtotal, "the lines add up to", lines)?;
    equal("discount", totals.discount, "the discounts add up to", discounts)?;
    equal("tax", totals.tax, "the taxes add up to", taxes)?;
    let added = if document.tax_included { 0 } else { taxes };
    let total = lines - discounts + added + i128::from(totals.rounding);
    let how = match document.tax_included {
        true => "subtotal - discount + rounding is",
        false => "subtotal - discount + tax + rounding is",
    };
    equal("total", totals.total, how, total)?;
    not_negative("/totals/total", totals.total)
}

fn equal(field: &str, said: i64, how: &str, sum: i128) -> Checked {
    if i128::from(said) == sum {
        return Ok(());
    }
    let problem = format!("the document says {said}, but {how} {sum}");
    Err(DocumentError::at(format!("/totals/{field}"), problem))
}

fn not_negative(pointer: &str, amount: i64) -> Checked {
    if amount >= 0 {
        return Ok(());
    }
    Err(DocumentError::at(pointer, format!("{amount} is negative")))
}

fn texts(document: &Document) -> Checked {
    optional("/title", document.title.as_deref())?;
    optional("/place_of_supply", document.place_of_supply.as_deref())?;
    party("/seller", &document.seller)?;
    if let Some(buyer) = &document.buyer {
        party("/buyer", buyer)?;
    }
    for (at, line) in document.lines.iter().enumerate() {
        filled(&format!("/lines/{at}/description"), &line.description)?;
        optional(&format!("/lines/{at}/code"), line.code.as_deref())?;
        optional(&format!("/lines/{at}/unit"), line.unit.as_deref())?;
    }
    for (at, discount) in document.discounts.iter().enumerate() {
        filled(&format!("/discounts/{at}/label"), &discount.label)?;
    }
    for (at, tax) in document.taxes.iter().enumerate() {
        filled(&format!("/taxes/{at}/label"), &tax.label)?;
    }
    for (at, note) in document.notes.iter().enumerate() {
        plain(&format!("/notes/{at}"), note)?;
    }
    Ok(())
}

fn party(pointer: &str, party: &Party) -> Checked {
    filled(&format!("{pointer}/name"), &party.name)?;
    for (at, line) in party.address.iter().enumerate() {
        plain(&format!("{pointer}/address/{at}"), line)?;
    }
    for (at, id) in party.tax_ids.iter().enumerate() {
        filled(&format!("{pointer}/tax_ids/{at}/label"), &id.label)?;
        filled(&format!("{pointer}/tax_ids/{at}/value"), &id.value)?;
    }
    optional(&format!("{pointer}/email"), party.email.as_deref())?;
    optional(&format!("{pointer}/phone"), party.phone.as_deref())
}

fn optional(pointer: &str, text: Option<&str>) -> Checked {
    text.map_or(Ok(()), |text| plain(pointer, text))
}

fn filled(pointer: &str, text: &str) -> Checked {
    if text.trim().is_empty() {
        return Err(DocumentError::at(pointer, "is empty"));
    }
    plain(pointer, text)
}

/// A line break is fine, other control characters have no shape in any font.
fn plain(pointer: &str, text: &str) -> Checked {
    match text.chars().find(|c| c.is_control() && *c != '\n') {
        Some(c) => Err(DocumentError::at(pointer, format!("holds the control character {c:?}"))),
        None => Ok(()),
    }
}
