//! A script: read once, run at any boundary, compared line by line.

use std::fmt::Write as _;
use std::path::Path;

use seriatim_core::Timestamp;

use super::ask::{Ask, Order};
use super::boundary::Boundary;
use super::outcome::Outcome;
use super::read;

/// A script that was read.
#[derive(Debug, Clone)]
pub struct Script {
    name: String,
    lines: Vec<Line>,
}

#[derive(Debug, Clone)]
struct Line {
    text: String,
    /// What stands after the arrow.
    expected: Option<String>,
    step: Step,
}

#[derive(Debug, Clone)]
enum Step {
    Nothing,
    Clock(Timestamp),
    Restart,
    Ask(Ask),
}

const ARROW: &str = " -> ";

impl Script {
    /// Reads a script; `name` is what messages call it, best its path.
    ///
    /// # Errors
    /// Every line that cannot be read, as `name:line: what`.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut wrong = String::new();
        let mut lines = Vec::new();
        for (i, text) in text.lines().enumerate() {
            match Line::parse(text) {
                Ok(line) => lines.push(line),
                Err(what) => {
                    // Writing to a String cannot fail.
                    let _ = writeln!(wrong, "{name}:{}: {what}\n    {text}", i + 1);
                }
            }
        }
        let name = name.to_string();
        if wrong.is_empty() { Ok(Self { name, lines }) } else { Err(wrong) }
    }

    /// How many lines say what they answer.
    #[must_use]
    pub fn expectations(&self) -> usize {
        self.lines.iter().filter(|line| line.expected.is_some()).count()
    }
}

impl Line {
    fn parse(text: &str) -> Result<Self, String> {
        let (asked, expected) = match text.split_once(ARROW) {
            Some((asked, expected)) => (asked.trim(), Some(expected.trim().to_string())),
            None => (text.trim(), None),
        };
        let step = match asked.split_once(' ') {
            _ if asked.is_empty() || asked.starts_with('#') => Step::Nothing,
            Some(("at", time)) => Step::Clock(time.trim().parse().map_err(|refusal| format!("{refusal}"))?),
            _ if asked == "restart" => Step::Restart,
            _ => Step::Ask(read::ask(asked)?),
        };
        if !matches!(step, Step::Ask(_)) && expected.is_some() && !asked.starts_with('#') {
            return Err("this line answers nothing".to_string());
        }
        let text = text.to_string();
        Ok(Self { text, expected, step })
    }
}

/// Runs a script; at the end the store must verify.
///
/// # Errors
/// Every line that answered something else, as `name:line`, with what was expected and what came.
pub async fn run(script: &Script, boundary: &mut dyn Boundary) -> Result<(), String> {
    let (wrong, _) = compare(script, boundary).await;
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// Runs the script of a file. With `UPDATE_EXPECT=1` the file is rewritten with what came instead.
///
/// # Errors
/// The file cannot be read or written; else as [`run`].
pub async fn run_file(path: &Path, boundary: &mut dyn Boundary) -> Result<(), String> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
    let script = Script::parse(&name, &text)?;
    let (wrong, rewritten) = compare(&script, boundary).await;
    if !wrong.is_empty() && std::env::var_os("UPDATE_EXPECT").is_some() {
        return std::fs::write(path, rewritten).map_err(|error| format!("{name}: {error}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong) }
}

/// What is wrong, and the script as it would be right.
async fn compare(script: &Script, boundary: &mut dyn Boundary) -> (String, String) {
    let (mut wrong, mut rewritten) = (String::new(), String::new());
    for (i, line) in script.lines.iter().enumerate() {
        let answered = match &line.step {
            Step::Nothing => None,
            Step::Clock(now) => {
                boundary.set_clock(*now);
                None
            }
            Step::Restart => {
                boundary.restart().await;
                None
            }
            Step::Ask(ask) => Some(boundary.answer(ask).await),
        };
        let text = answered.map_or_else(|| line.text.clone(), |answered| line.judge(&answered, &mut |what| {
            let _ = writeln!(wrong, "{}:{}: {}\n{what}", script.name, i + 1, line.asked());
        }));
        rewritten += &(text + "\n");
    }
    let verified = boundary.answer(&Ask { caller: None, order: Order::Verify }).await;
    if verified != Outcome::Verified(Vec::new()) {
        let _ = writeln!(wrong, "{}: at the end verify finds: {verified}", script.name);
    }
    (wrong, rewritten)
}

impl Line {
    fn asked(&self) -> &str {
        self.text.split(ARROW).next().unwrap_or_default().trim_end()
    }

    /// Tells what is wrong, and gives the line as it would be right.
    fn judge(&self, answered: &Outcome, wrong: &mut dyn FnMut(String)) -> String {
        let actual = answered.to_string();
        match &self.expected {
            None if answered.is_done() => self.text.clone(),
            Some(expected) if *expected == actual => self.text.clone(),
            None => {
                wrong(format!("    expected: (no refusal)\n    actual:   {actual}"));
                format!("{}{ARROW}{actual}", self.text)
            }
            Some(expected) => {
                wrong(format!("    expected: {expected}\n    actual:   {actual}"));
                let before = self.text.split(ARROW).next().unwrap_or_default();
                format!("{before}{ARROW}{actual}")
            }
        }
    }
}
