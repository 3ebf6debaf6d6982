//! A document is a receipt only if what is printed is there and adds up; an error names the field.

use serde_json::{Value, json};
use seriatim_receipt::{DocumentError, Issued, Receipt, sample};

fn read(document: &str) -> Result<Receipt, DocumentError> {
    let issued = Issued {
        number: "INV-1".to_string(),
        date: "2025-11-20".parse().unwrap(),
    };
    Receipt::read(document, issued, None)
}

/// The sample with one field changed.
fn changed(pointer: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(sample::DOCUMENT).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
        parent => parent[field] = value,
    }
    document.to_string()
}

fn refused(pointer: &str, value: Value) -> DocumentError {
    read(&changed(pointer, value.clone())).expect_err(&format!("{pointer} = {value}"))
}

#[test]
fn the_sample_is_a_receipt() {
    sample::receipt().unwrap();
    assert!(sample::paid().unwrap().at.is_some());
}

#[test]
fn what_a_shop_keeps_besides_is_left_alone() {
    let document = changed("/cart", json!({"total": 1.5, "number": "other"}));
    let printed = read(&document).unwrap().printed();
    assert_eq!(printed["number"], "INV-1", "the number is the entry's");
}

#[test]
fn a_wrong_field_is_named_by_its_pointer() {
    let cases = [
        ("/currency", json!("INT"), "no currency code"),
        ("/currency", json!(null), "invalid type: null"),
        ("/locale", json!("../etc"), "no locale"),
        ("/seller/name", json!("  "), "is empty"),
        ("/seller/tax_ids/0/value", json!(""), "is empty"),
        ("/seller/address/1", json!(7), "invalid type: integer"),
        ("/buyer/name", json!("a\u{0}b"), "control character"),
        ("/lines", json!([]), "at least one line"),
        ("/lines/1/description", json!("\u{7}"), "control character"),
        ("/lines/1/amount", json!(1200.5), "integers in minor units"),
        ("/lines/1/amount", json!("120000"), "invalid type: string"),
        ("/lines/1/amount", json!(1e30), "integers in minor units"),
        ("/lines/2/unit_price", json!(-1.0), "integers in minor units"),
        ("/lines/2/quantity", json!(1.5), "decimal as text"),
        ("/lines/2/quantity", json!("1,5"), "decimal as text"),
        ("/lines/2/quantity", json!("-1"), "decimal as text"),
        ("/lines/2/quantity", json!("1.1234567"), "decimal as text"),
        ("/lines/1/discount", json!(-1), "negative"),
        ("/discounts/0/amount", json!(-17000), "negative"),
        ("/taxes/0/rate", json!("12%"), "decimal as text"),
        ("/taxes/1/base", json!(true), "invalid type: boolean"),
        ("/totals/total", json!(18446744073709551615u64), "invalid value"),
        ("/notes/0", json!({}), "invalid type: map"),
    ];
    for (pointer, value, problem) in cases {
        let error = refused(pointer, value.clone());
        assert_eq!(error.pointer, pointer, "{value}: {error}");
        assert!(error.problem.contains(problem), "{pointer} = {value}: {error}");
    }
}

#[test]
fn a_missing_field_is_named() {
    let mut document: Value = serde_json::from_str(sample::DOCUMENT).unwrap();
    document["lines"][1].as_object_mut().unwrap().remove("amount");
    let error = read(&document.to_string()).unwrap_err();
    assert_eq!(error.pointer, "/lines/1");
    assert!(error.problem.contains("missing field `amount`"), "{error}");
}

#[test]
fn sums_that_differ_are_both_named() {
    let cases = [
        ("/lines/0/amount", 150001, ["150001", "150000"]),
        ("/lines/2/amount", 147001, ["147001", "147000"]),
        ("/totals/subtotal", 416999, ["416999", "417000"]),
        ("/totals/discount", 0, ["says 0", "17000"]),
        ("/totals/tax", 30001, ["30001", "30000"]),
        ("/totals/total", 430001, ["430001", "430000"]),
    ];
    for (pointer, value, sums) in cases {
        let error = refused(pointer, json!(value));
        assert_eq!(error.pointer, pointer, "{error}");
        assert!(sums.iter().all(|sum| error.problem.contains(sum)), "{error}");
    }
}

#[test]
fn rounding_is_part_of_the_total() {
    let mut document: Value = serde_json::from_str(sample::DOCUMENT).unwrap();
    document["totals"]["rounding"] = json!(-40);
    document["totals"]["total"] = json!(429960);
    read(&document.to_string()).unwrap();
}

#[test]
fn tax_that_is_included_is_not_added_again() {
    let mut document: Value = serde_json::from_str(sample::DOCUMENT).unwrap();
    document["tax_included"] = json!(true);
    let error = read(&document.to_string()).unwrap_err();
    assert!(
        error.problem.contains("430000") && error.problem.contains("400000"),
        "{error}"
    );
    document["totals"]["total"] = json!(400000);
    read(&document.to_string()).unwrap();
}

#[test]
fn a_fraction_of_a_minor_unit_may_be_rounded_either_way_but_no_further() {
    // 0.333 x 1000 = 333; 1.005 x 150 = 150.75.
    for (amount, is_right) in [(149, false), (150, true), (151, true), (152, false)] {
        let document = json!({
            "currency": "EUR", "seller": {"name": "A"},
            "lines": [{"description": "B", "quantity": "1.005", "unit_price": 150, "amount": amount}],
            "totals": {"subtotal": amount, "total": amount},
        });
        assert_eq!(read(&document.to_string()).is_ok(), is_right, "{amount}");
    }
}

#[test]
fn sums_beyond_64_bits_are_an_error_and_no_panic() {
    let line = json!({"description": "B", "quantity": "999999999999", "unit_price": i64::MAX, "amount": i64::MAX});
    let document = json!({
        "currency": "EUR", "seller": {"name": "A"}, "lines": [line, line],
        "totals": {"subtotal": i64::MAX, "total": i64::MAX},
    });
    assert_eq!(read(&document.to_string()).unwrap_err().pointer, "/lines/0/amount");
    let whole = json!({"description": "B", "quantity": 1, "unit_price": i64::MAX, "amount": i64::MAX});
    let document = json!({
        "currency": "EUR", "seller": {"name": "A"}, "lines": [whole, whole],
        "totals": {"subtotal": i64::MAX, "total": i64::MAX},
    });
    assert_eq!(read(&document.to_string()).unwrap_err().pointer, "/totals/subtotal");
}

#[test]
fn what_is_no_json_is_an_error() {
    for document in ["", "null", "[]", "{", "{}x", "\u{feff}{}"] {
        read(document).unwrap_err();
    }
    let deep = "[".repeat(100_000);
    read(&deep).unwrap_err();
}
