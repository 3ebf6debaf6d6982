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
    Ask(Box<Ask>),
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
        if wrong.is_empty() {
            Ok(Self { name, lines })
        } else {
            Err(wrong)
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        Self::parse(&name, &text)
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
            _ => Step::Ask(Box::new(read::ask(asked)?)),
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
    let played = Played::of(script, boundary).await;
    played.verdict(true)
}

/// Runs the script of a file.
///
/// # Errors
/// The file cannot be read; else as [`run`].
pub async fn run_file(path: &Path, boundary: &mut dyn Boundary) -> Result<(), String> {
    run(&Script::read(path)?, boundary).await
}

/// Runs the script of a file; with `UPDATE_EXPECT=1` the file says afterwards what came.
///
/// One boundary of all should do so, or they overwrite one another.
///
/// # Errors
/// The file cannot be read or written; else as [`run`].
pub async fn update_file(path: &Path, boundary: &mut dyn Boundary) -> Result<(), String> {
    let played = Played::of(&Script::read(path)?, boundary).await;
    let updates = std::env::var_os("UPDATE_EXPECT").is_some();
    if updates && !played.wrong.is_empty() {
        std::fs::write(path, &played.rewritten).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    played.verdict(!updates)
}

/// What a script answered.
#[derive(Default)]
struct Played {
    /// Lines that answered something else.
    wrong: String,
    /// What verify found at the end.
    found: String,
    /// The script as it would be right.
    rewritten: String,
}

impl Played {
    async fn of(script: &Script, boundary: &mut dyn Boundary) -> Self {
        let mut played = Self::default();
        for (i, line) in script.lines.iter().enumerate() {
            match &line.step {
                Step::Nothing => {}
                Step::Clock(now) => boundary.set_clock(*now),
                Step::Restart => boundary.restart().await,
                Step::Ask(ask) => {
                    let actual = boundary.answer(ask).await;
                    played.judge(&format!("{}:{}", script.name, i + 1), line, &actual);
                    continue;
                }
            }
            played.keep(&line.text);
        }
        let verify = Ask {
            caller: None,
            order: Order::Verify,
        };
        let verified = boundary.answer(&verify).await;
        if verified != Outcome::Verified(Vec::new()) {
            played.found = format!("{}: at the end verify finds: {verified}\n", script.name);
        }
        played
    }

    fn judge(&mut self, at: &str, line: &Line, answered: &Outcome) {
        let actual = answered.to_string();
        let expected = match &line.expected {
            None if answered.is_done() => return self.keep(&line.text),
            Some(expected) if *expected == actual => return self.keep(&line.text),
            None => "(no refusal)",
            Some(expected) => expected,
        };
        let asked = line.text.split(ARROW).next().unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.wrong,
            "{at}: {}\n    expected: {expected}\n    actual:   {actual}",
            asked.trim_end()
        );
        self.keep(&format!("{asked}{ARROW}{actual}"));
    }

    fn keep(&mut self, line: &str) {
        self.rewritten += line;
        self.rewritten.push('\n');
    }

    fn verdict(self, lines_count: bool) -> Result<(), String> {
        let wrong = if lines_count {
            self.wrong + &self.found
        } else {
            self.found
        };
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}
