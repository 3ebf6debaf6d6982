//! What may be stored with a number: JSON of a size and a depth, and no name twice. It is kept byte for byte.

use expect_test::{Expect, expect};
use seriatim_core::{Code, Document, Hash};

fn kept(text: &str) {
    let document = Document::parse(text).unwrap_or_else(|refusal| panic!("{text}: {refusal}"));
    assert_eq!(document.as_str(), text);
    assert_eq!(document.sha256(), Hash::of(text.as_bytes()));
}

fn refused(text: &str, expected: Expect) {
    let refusal = Document::parse(text).expect_err(text);
    assert_eq!(
        (refusal.code, refusal.field.as_deref()),
        (Code::InvalidDocument, Some("/document"))
    );
    expected.assert_eq(&refusal.message);
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    format!("{}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn a_document_is_kept_byte_for_byte() {
    for text in [
        "{}",
        "[]",
        "null",
        "true",
        "0",
        "-1.5e3",
        "\"\"",
        " { \"a\" : [ 1 , 2 ] } ",
        "{\"ä\":\"№ \\u20ac\"}",
    ] {
        kept(text);
    }
    // The same value, another text: another document.
    let hash = |text| Document::parse(text).map(|document| document.sha256());
    assert_ne!(hash("{\"a\":1}"), hash("{\"a\": 1}"));
}

#[test]
fn a_document_has_up_to_64_kib() {
    let of_size = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    kept(&of_size(Document::BYTES_MAX));
    let refusal = Document::parse(&of_size(Document::BYTES_MAX + 1)).expect_err("too large");
    assert_eq!(
        (refusal.code, refusal.field.as_deref()),
        (Code::DocumentTooLarge, Some("/document"))
    );
    expect!["the document has 65537 bytes; at most 65536 are kept: store it elsewhere and keep a reference"]
        .assert_eq(&refusal.message);
    // Bytes count, not characters.
    let refusal = Document::parse(&format!("\"{}\"", "é".repeat(Document::BYTES_MAX / 2))).expect_err("too large");
    assert_eq!(refusal.code, Code::DocumentTooLarge);
}

#[test]
fn a_document_nests_up_to_64_levels() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
        let levels = open.matches(['[', '{']).count();
        let inner = |depth: usize| nested(open, close, depth / levels).replace(":}", ":0}");
        kept(&inner(64));
        for too_deep in [66, 200, 1_000] {
            refused(&inner(too_deep), expect!["the document nests deeper than 64 levels"]);
        }
    }
    refused(
        &nested("[", "]", 65),
        expect!["the document nests deeper than 64 levels"],
    );
    // So deep that a parser that recurses would be in danger.
    refused(&"[".repeat(60_000), expect!["the document nests deeper than 64 levels"]);
    // Side by side is not deep.
    kept(&format!("[{}]", vec!["[[]]"; 500].join(",")));
}

#[test]
fn brackets_in_strings_do_not_nest() {
    kept(&format!("\"{}\"", "[".repeat(200)));
    kept(&format!("[\"\\\"{}\"]", "{".repeat(200)));
    kept(&format!("{{\"\\\\\":\"{}\"}}", "[{".repeat(200)));
    kept(&format!("[\"\\\\\\\"{}\"]", "[".repeat(200)));
    // After a string that ends in a backslash, brackets count again.
    refused(
        &format!("[\"\\\\\",{}]", nested("[", "]", 64)),
        expect!["the document nests deeper than 64 levels"],
    );
}

#[test]
fn no_object_names_a_field_twice() {
    refused(
        r#"{"total": 1, "total": 2}"#,
        expect!["the document is not valid: duplicate field `total` at line 1 column 20"],
    );
    refused(
        r#"{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}"#,
        expect!["the document is not valid: duplicate field `c` at line 1 column 33"],
    );
    // Two spellings of one name.
    refused(
        r#"{"a": 1, "\u0061": 2}"#,
        expect!["the document is not valid: duplicate field `a` at line 1 column 17"],
    );
    refused(
        r#"{"": 1, "": 2}"#,
        expect!["the document is not valid: duplicate field `` at line 1 column 10"],
    );
    // The same name in another object is another field; case tells names apart.
    kept(r#"{"a": {"a": 1}, "b": [{"a": 1}, {"a": 2}], "A": 3}"#);
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    refused(
        "",
        expect!["the document is not valid: EOF while parsing a value at line 1 column 0"],
    );
    refused(
        "{",
        expect!["the document is not valid: EOF while parsing an object at line 1 column 1"],
    );
    refused(
        "{a:1}",
        expect!["the document is not valid: key must be a string at line 1 column 2"],
    );
    refused(
        "{'a':1}",
        expect!["the document is not valid: key must be a string at line 1 column 2"],
    );
    refused(
        "[1,]",
        expect!["the document is not valid: trailing comma at line 1 column 4"],
    );
    refused(
        "{} {}",
        expect!["the document is not valid: trailing characters at line 1 column 4"],
    );
    refused(
        "NaN",
        expect!["the document is not valid: expected value at line 1 column 1"],
    );
    refused(
        "01",
        expect!["the document is not valid: invalid number at line 1 column 2"],
    );
    refused(
        "1e999",
        expect!["the document is not valid: number out of range at line 1 column 5"],
    );
    refused(
        "\"\\ud800\"",
        expect!["the document is not valid: unexpected end of hex escape at line 1 column 8"],
    );
    refused(
        "\"a\nb\"",
        expect![
            "the document is not valid: control character (\\u0000-\\u001F) found while parsing a string at line 2 column 0"
        ],
    );
    refused(
        "\u{feff}{}",
        expect!["the document is not valid: expected value at line 1 column 1"],
    );
    refused(
        "[1}",
        expect!["the document is not valid: expected `,` or `]` at line 1 column 3"],
    );
    // Closing brackets that were never opened must not lift what comes after them.
    refused(
        &format!("]]]]{}", nested("[", "]", 65)),
        expect!["the document nests deeper than 64 levels"],
    );
}

#[test]
fn a_document_in_a_log_is_its_hash_only() {
    let document = Document::parse("{\"name\":\"Ann Payer\"}").expect("valid");
    assert_eq!(
        format!("{document:?}"),
        format!("Document({})", Hash::of(b"{\"name\":\"Ann Payer\"}"))
    );
}
