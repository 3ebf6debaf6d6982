//! A receipt as a template gets it: every amount as an integer and ready to print.

use serde_json::{Map, Value, json};

use crate::money::{self, Currency};
use crate::receipt::{Document, Line, Paid, Party, Receipt};

impl Receipt {
    /// What the template reads as `json("receipt.json")`. An amount is `{minor, text, money}`: `123450`, `1,234.50`,
    /// `₹1,234.50`.
    pub fn printed(&self) -> Value {
        let document = &self.document;
        let print = Print {
            currency: self.currency,
            locale: &document.locale,
        };
        let mut printed = json!({
            "number": self.issued.number,
            "date": {
                "iso": self.issued.date.to_string(),
                "text": self.issued.date.strftime("%-d %B %Y").to_string(),
            },
            "currency": {"code": self.currency.code(), "sign": self.currency.sign()},
            "locale": document.locale,
            "language": document.locale.split('-').next(),
            "title": document.title,
            "place_of_supply": document.place_of_supply,
            "payment": self.paid.as_ref().map(payment),
            "seller": party(&document.seller),
            "buyer": document.buyer.as_ref().map(party),
            "lines": document.lines.iter().enumerate().map(|(at, line)| print.line(at, line)).collect::<Vec<_>>(),
            "tax_included": document.tax_included,
            "notes": document.notes,
        });
        if let Value::Object(fields) = &mut printed {
            print.sums(document, fields);
        }
        printed
    }
}

struct Print<'a> {
    currency: Currency,
    locale: &'a str,
}

impl Print<'_> {
    fn amount(&self, minor: i64) -> Value {
        json!({
            "minor": minor,
            "text": money::digits(minor, self.currency, self.locale),
            "money": money::money(minor, self.currency, self.locale),
        })
    }

    fn decimal(&self, text: &str) -> String {
        money::decimal(text, self.locale)
    }

    fn line(&self, at: usize, line: &Line) -> Value {
        json!({
            "position": at + 1,
            "description": line.description,
            "code": line.code,
            "quantity": self.decimal(line.quantity.text()),
            "unit": line.unit,
            "unit_price": self.amount(line.unit_price),
            "discount": self.amount(line.discount),
            "amount": self.amount(line.amount),
        })
    }

    fn sums(&self, document: &Document, fields: &mut Map<String, Value>) {
        let totals = &document.totals;
        let discounts = document
            .discounts
            .iter()
            .map(|discount| json!({"label": discount.label, "amount": self.amount(discount.amount)}));
        let taxes = document.taxes.iter().map(|tax| {
            json!({
                "label": tax.label,
                "rate": self.decimal(tax.rate.text()),
                "base": self.amount(tax.base),
                "amount": self.amount(tax.amount),
            })
        });
        fields.insert("discounts".to_string(), discounts.collect());
        fields.insert("taxes".to_string(), taxes.collect());
        let printed = json!({
            "subtotal": self.amount(totals.subtotal),
            "discount": self.amount(totals.discount),
            "tax": self.amount(totals.tax),
            "rounding": self.amount(totals.rounding),
            "total": self.amount(totals.total),
            "in_words": money::in_words(totals.total, self.currency),
        });
        fields.insert("totals".to_string(), printed);
    }
}

fn payment(paid: &Paid) -> Value {
    json!({
        "reference": paid.reference,
        "method": paid.method,
        "at": paid.at.as_ref().map(|at| json!({
            "iso": at.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            "text": at.strftime("%-d %B %Y, %H:%M %Z").to_string(),
        })),
    })
}

fn party(party: &Party) -> Value {
    let tax_ids = party
        .tax_ids
        .iter()
        .map(|id| json!({"label": id.label, "value": id.value}))
        .collect::<Vec<_>>();
    json!({
        "name": party.name,
        "address": party.address,
        "tax_ids": tax_ids,
        "email": party.email,
        "phone": party.phone,
    })
}
