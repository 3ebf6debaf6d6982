//! The commands of the README, of the recipes and of the pages in docs, run as a reader would, in an empty directory each.
//!
//! A block fenced as `console` holds commands after `$ ` and below each what it prints, where `[..]` stands for
//! anything within a line and a line `...` for any lines. What a block leaves running (`… &`) is stopped at the end
//! of its page. Blocks fenced otherwise are not run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::step::root;

struct Example {
    line: usize,
    command: String,
    expected: Vec<String>,
}

pub fn run() -> Result<()> {
    let binaries = root().join("target/debug");
    ensure!(
        binaries.join("seriatim").exists(),
        "target/debug/seriatim is not there; run cargo build first"
    );
    let mut count = 0;
    for page in pages()? {
        let text = std::fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
        let examples = examples(&text);
        eprintln!(
            "\n==> {} ({} commands)",
            page.strip_prefix(root()).unwrap_or(&page).display(),
            examples.len()
        );
        check_page(&page, &binaries, &examples)?;
        count += examples.len();
    }
    ensure!(count > 0, "no page has a command to run");
    eprintln!("    {count} commands print what their pages say");
    Ok(())
}

fn pages() -> Result<Vec<PathBuf>> {
    let mut pages = vec![root().join("README.md")];
    for folder in std::fs::read_dir(root().join("examples"))? {
        let page = folder?.path().join("README.md");
        if page.exists() {
            pages.push(page);
        }
    }
    for folder in std::fs::read_dir(root().join("docs"))? {
        let folder = folder?.path();
        for page in folder
            .is_dir()
            .then(|| std::fs::read_dir(&folder))
            .transpose()?
            .into_iter()
            .flatten()
        {
            let page = page?.path();
            let is_page = page.extension().is_some_and(|extension| extension == "md");
            // Most pages there only show what a command looks like.
            if is_page && std::fs::read_to_string(&page)?.contains("```console") {
                pages.push(page);
            }
        }
    }
    pages.sort();
    Ok(pages)
}

fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut is_console = false;
    for (i, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_console = line == "```console";
        } else if is_console && let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example {
                line: i + 1,
                command: command.to_string(),
                expected: Vec::new(),
            });
        } else if is_console && let Some(example) = examples.last_mut() {
            match example.command.strip_suffix('\\') {
                // A command goes on in the next line.
                Some(begun) if example.expected.is_empty() => example.command = format!("{begun}{}", line.trim_start()),
                Some(_) | None => example.expected.push(line.to_string()),
            }
        }
    }
    examples
}

/// Runs the page's commands in one shell and compares what each printed.
fn check_page(page: &Path, binaries: &Path, examples: &[Example]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    // A recipe's own files lie beside its page; the README is read in a clone.
    if page.parent() == Some(&root()) {
        std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples"))?;
    } else {
        for file in std::fs::read_dir(page.parent().unwrap_or(page))? {
            let file = file?.path();
            if file.is_file() {
                std::fs::copy(&file, folder.path().join(file.file_name().unwrap_or_default()))?;
            }
        }
    }
    let mut script = String::from("exec 2>&1\n");
    for (i, example) in examples.iter().enumerate() {
        // Not every command ends its last line.
        script.push_str(&format!("printf '\\n@@{i}\\n'\n{}\n", example.command));
    }
    script.push_str("printf '\\n@@end\\n'\nkill $(jobs -p) 2>/dev/null\nwait\n");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("timeout")
        .args(["120", "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", binaries.display()))
        .env_remove("SERIATIM_API_KEY")
        .stdin(Stdio::null())
        .output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        printed.contains("@@end"),
        "the commands of {} did not end:\n{printed}",
        page.display()
    );
    for (i, example) in examples.iter().enumerate() {
        let from = printed.split_once(&format!("@@{i}\n")).map_or("", |(_, rest)| rest);
        let actual = from.lines().take_while(|line| !line.starts_with("@@"));
        let mut actual: Vec<&str> = actual.collect();
        actual.pop_if(|line| line.is_empty());
        let expected: Vec<&str> = example.expected.iter().map(String::as_str).collect();
        if !matches(&expected, &actual) {
            bail!(
                "{}:{}: `{}` prints\n{}\nbut the page says\n{}",
                page.display(),
                example.line,
                example.command,
                actual.join("\n"),
                expected.join("\n")
            );
        }
    }
    Ok(())
}

fn matches(expected: &[&str], actual: &[&str]) -> bool {
    match expected {
        [] => actual.iter().all(|line| line.is_empty()),
        ["...", rest @ ..] => (0..=actual.len()).any(|skip| matches(rest, &actual[skip..])),
        [first, rest @ ..] => actual
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others)),
    }
}

/// `[..]` stands for anything.
fn line_matches(pattern: &str, line: &str) -> bool {
    let (pattern, line) = (pattern.trim_end(), line.trim_end());
    match pattern.split_once("[..]") {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| &rest[at..])
                .chain([""])
                .any(|rest| line_matches(after, rest))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anything_stands_within_a_line_and_dots_for_lines() {
        assert!(line_matches("at [..]:8080/", "at http://127.0.0.1:8080/"));
        assert!(!line_matches("at [..]:8080/", "at http://127.0.0.1:8081/"));
        assert!(!line_matches("INV-1", "INV-12"));
        assert!(matches(&["a", "...", "z"], &["a", "b", "c", "z"]));
        assert!(!matches(&["a", "z"], &["a", "b", "z"]));
    }

    #[test]
    fn only_console_blocks_are_run_and_a_backslash_joins_lines() {
        let page = "```console\n$ echo a \\\n    b\na b\n```\n```sh\n$ rm x\n```\n";
        let examples = examples(page);
        assert_eq!(examples.len(), 1);
        assert_eq!(examples[0].command, "echo a b");
        assert_eq!(examples[0].expected, ["a b"]);
    }
}
