//! Reads what the service answered. Documents, results and tasks are somebody else's, and are never parsed here: a
//! number in them may be larger than any type that we have, and what was done would look as if it had failed.

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// What is kept as it came.
const KEPT: [&str; 3] = ["document", "result", "task"];
/// Whose fields have names that users chose, which may be those.
const NAMED_BY_USERS: [&str; 2] = ["params", "partition"];
/// No answer of ours is nested deeper, documents aside.
const DEPTH_MAX: usize = 8;

/// An answer in which documents, results and tasks are texts.
///
/// # Errors
/// It is not JSON.
pub fn read(body: &[u8]) -> serde_json::Result<Value> {
    part(serde_json::from_slice(body)?, DEPTH_MAX)
}

fn part(raw: &RawValue, depth: usize) -> serde_json::Result<Value> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{') if depth > 0 => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            let fields = fields.into_iter().map(|(name, raw)| {
                let value = field(&name, raw, depth - 1)?;
                Ok((name, value))
            });
            fields.collect::<serde_json::Result<_>>().map(Value::Object)
        }
        Some(b'[') if depth > 0 => {
            let elements: Vec<&RawValue> = serde_json::from_str(text)?;
            elements.into_iter().map(|raw| part(raw, depth - 1)).collect()
        }
        _ => serde_json::from_str(text),
    }
}

fn field(name: &str, raw: &RawValue, depth: usize) -> serde_json::Result<Value> {
    match name {
        _ if raw.get() == "null" => Ok(Value::Null),
        _ if KEPT.contains(&name) => Ok(Value::String(on_one_line(raw.get()))),
        _ if NAMED_BY_USERS.contains(&name) => serde_json::from_str(raw.get()),
        _ => part(raw, depth),
    }
}

/// JSON without the space between its tokens, for a row of a table is one line; the tokens are as they were.
fn on_one_line(json: &str) -> String {
    let (mut is_text, mut is_escaped) = (false, false);
    let is_token = |c: &char| {
        let is_space = !is_text && c.is_ascii_whitespace();
        if *c == '"' && !is_escaped {
            is_text = !is_text;
        }
        is_escaped = *c == '\\' && !is_escaped;
        !is_space
    };
    json.chars().filter(is_token).collect()
}

/// JSON on one line, its tokens as they were: whoever writes documents must not write lines of a list.
///
/// Between tokens a line ends with a line feed or a carriage return; within a text some readers also take what Unicode
/// calls the end of a line for one.
pub fn as_line(json: &str) -> String {
    json.chars().fold(String::with_capacity(json.len()), |mut line, c| {
        match c {
            '\n' | '\r' => line.push(' '),
            '\u{85}' | '\u{2028}' | '\u{2029}' => line += &format!("\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
        line
    })
}

/// A row on one line, in which `document` is `document_text` and so on: JSON texts of what was received, byte for byte,
/// so that whoever reads JSON can compute their hashes.
///
/// # Errors
/// It is no object.
pub fn with_texts(row: &RawValue) -> serde_json::Result<String> {
    let Fields(fields) = serde_json::from_str(row.get())?;
    let written = fields.iter().map(|(name, raw)| {
        if !KEPT.contains(&name.as_str()) {
            return Ok(format!("{}:{}", Value::from(name.as_str()), as_line(raw.get())));
        }
        let text = match raw.get() {
            "null" => "null".to_string(),
            text => as_line(&serde_json::to_string(text)?),
        };
        Ok(format!("\"{name}_text\":{text}"))
    });
    let written = written.collect::<serde_json::Result<Vec<_>>>()?;
    Ok(format!("{{{}}}", written.join(",")))
}

/// The fields of an object in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = object.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_somebody_else_wrote_is_kept_as_it_came() {
        let body = r#"{"data": [{"number": "INV-1", "seq": 18446744073709551615, "document": {"total" : 1.50e400,
            "note": "a \"b\" \\", "none": null}, "events": []}],
            "gate": {"result": "x\ty", "task": null}, "params": {"task": "01"}, "next_cursor": null}"#;
        let expected = json!({
            "data": [{
                "number": "INV-1",
                "seq": u64::MAX,
                "document": r#"{"total":1.50e400,"note":"a \"b\" \\","none":null}"#,
                "events": [],
            }],
            "gate": { "result": r#""x\ty""#, "task": null },
            "params": { "task": "01" },
            "next_cursor": null,
        });
        assert_eq!(read(body.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_row_is_one_line_whatever_is_in_it() {
        let row =
            "{\"id\":\"a\",\"document\":[\n{\"id\": \"x\u{2028}y\"}\r\n],\"reference\":\"p\u{85}q\",\"task\":null}";
        let raw = RawValue::from_string(row.to_string()).unwrap();
        let document = row[row.find('[').unwrap()..=row.find(']').unwrap()].to_string();
        for line in [as_line(row), with_texts(&raw).unwrap()] {
            assert!(!line.contains(['\n', '\r', '\u{85}', '\u{2028}']), "{line}");
            let read: Value = serde_json::from_str(&line).unwrap();
            assert_eq!((&read["id"], &read["reference"]), (&json!("a"), &json!("p\u{85}q")));
        }
        let read: Value = serde_json::from_str(&with_texts(&raw).unwrap()).unwrap();
        assert_eq!(
            (&read["document_text"], &read["task_text"]),
            (&json!(document), &Value::Null)
        );
        assert_eq!(read.get("document"), None);
    }

    #[test]
    fn a_number_of_ours_that_is_too_large_is_an_error() {
        for body in [r#"{"seq": 1e400}"#, "{", "", "[[[[[[[[[[1e400]]]]]]]]]]"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(read(deep.as_bytes()).is_err());
    }
}
