//! Where a verb's words go: data on stdout, everything else on stderr. Nothing else in the package prints.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use serde_json::Value;

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people: a table on a terminal, columns between tabs elsewhere.
    Plain,
    /// For programs: what the service answered.
    Json,
}

/// Why data could not be written, once it could not: what came behind the loss would read as if it were whole.
static LOST: OnceLock<String> = OnceLock::new();

/// The two streams.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// How data is written.
    pub form: Form,
    /// Whether remarks are left out.
    pub quiet: bool,
}

impl Output {
    /// One line of data.
    pub fn line(&self, text: impl AsRef<str>) {
        self.bytes(format!("{}\n", text.as_ref()).as_bytes());
    }

    /// Data as it is.
    pub fn bytes(&self, bytes: &[u8]) {
        if LOST.get().is_some() {
            return;
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            // Whoever closed the pipe has read enough; that is no failure of ours.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                LOST.get_or_init(|| format!("cannot write to stdout: {error}"));
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether all data could be written until now; if not, why.
    pub fn written(self) -> Result<(), String> {
        LOST.get().map_or(Ok(()), |why| Err(why.clone()))
    }

    /// What was done: a remark for people, an object for programs.
    pub fn done(&self, remark: impl AsRef<str>, object: &Value) {
        if self.form == Form::Json {
            self.line(object.to_string());
        }
        self.note(remark);
    }

    /// A remark: not data, and left out with `--quiet`.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.stderr(text.as_ref());
        }
    }

    /// What must be said even with `--quiet`.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.stderr(text.as_ref());
    }

    fn stderr(self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Whether a person looks at the data.
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// Rows under a head. As JSON each row is an object.
    pub fn table<C: Into<Value>>(&self, head: &[&str], rows: Vec<Vec<C>>) {
        if rows.is_empty() {
            return;
        }
        let rows = rows.into_iter().map(|row| row.into_iter().map(Into::into));
        if self.form == Form::Json {
            return rows.for_each(|row| self.line(object(head, row).to_string()));
        }
        let rows: Vec<Vec<String>> = rows.map(|row| row.map(|cell| word(&cell)).collect()).collect();
        if self.is_terminal() {
            self.line(drawn(head, rows));
        } else {
            // No head: what reads this is a program, and every line is a row.
            let cells = rows.iter().map(|row| row.iter().map(|cell| as_cell(cell)));
            let lines: Vec<String> = cells.map(|row| row.collect::<Vec<_>>().join("\t") + "\n").collect();
            self.bytes(lines.concat().as_bytes());
        }
    }

    /// Names and values of one thing.
    pub fn card(&self, pairs: Vec<(&str, String)>) {
        let given = pairs.into_iter().filter(|(_, value)| !value.is_empty());
        self.table(
            &["", ""],
            given.map(|(name, value)| vec![name.to_string(), value]).collect(),
        );
    }
}

/// A tab or a line feed in somebody's number or reason is none between columns and rows.
fn as_cell(cell: &str) -> String {
    cell.chars().fold(String::with_capacity(cell.len()), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        line
    })
}

fn object(head: &[&str], row: impl Iterator<Item = Value>) -> Value {
    let names = head.iter().map(|name| (*name).to_string());
    Value::Object(names.zip(row).collect())
}

fn drawn(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if head.iter().any(|name| !name.is_empty()) {
        table.set_header(head.iter().copied());
    }
    table.add_rows(rows);
    table.trim_fmt()
}

/// A field as a person reads it: nothing for what is absent.
#[must_use]
pub fn text(value: &Value, field: &str) -> String {
    value.get(field).map(word).unwrap_or_default()
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Some fields of a row, in this order.
#[must_use]
pub fn row(value: &Value, fields: &[&str]) -> Vec<String> {
    fields.iter().map(|field| text(value, field)).collect()
}

/// The elements of a list, wherever the service put them.
#[must_use]
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The texts of a list, with commas between.
#[must_use]
pub fn words(value: &Value, field: &str) -> String {
    let words = list(value, field).iter().filter_map(Value::as_str);
    words.collect::<Vec<_>>().join(",")
}

/// `name=value` of an object, with commas between.
#[must_use]
pub fn pairs(value: &Value, field: &str) -> String {
    let object = value.get(field).and_then(Value::as_object);
    let written = object.into_iter().flatten().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        format!("{name}={value}")
    });
    written.collect::<Vec<_>>().join(",")
}
