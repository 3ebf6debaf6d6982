//! Pages that must not fall behind the code.

use std::collections::BTreeSet;
use std::path::Path;

use seriatim::{Code, Kind};

const PROBLEMS: &str = include_str!("../../../docs/reference/problems.md");

#[test]
fn every_refusal_has_its_line_among_the_problems() {
    for code in Code::ALL {
        let status = match code.kind() {
            Kind::Malformed => 400,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::Precondition => 412,
            Kind::TooLarge => 413,
            Kind::Rule => 422,
            Kind::PreconditionRequired => 428,
        };
        assert!(
            PROBLEMS.contains(&format!("| `{code}` | {status} |")),
            "{code} with status {status} is not in docs/reference/problems.md"
        );
    }
}

/// What a code stands behind where a problem is made.
const MAKERS: [&str; 7] = [
    "malformed(",
    "not_found(",
    "unavailable(",
    "unauthorized(",
    "refused(",
    "missing(",
    "refuse(",
];

/// The page once lacked eighteen codes: those that are no refusal were only found by reading the source.
#[test]
fn every_code_in_the_source_is_among_the_problems_and_no_other() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut made: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
    let mut sources = String::new();
    for folder in ["seriatim-server/src", "seriatim/src"] {
        each_file(&crates.join(folder), &mut |text| {
            made.extend(codes(text));
            sources.push_str(text);
        });
    }
    for one_of_each in ["bad_rows", "internal", "counter_busy", "has_numbers"] {
        assert!(made.contains(one_of_each), "{one_of_each}");
    }
    let told = told();
    let missing: Vec<&String> = made.difference(&told).collect();
    assert!(missing.is_empty(), "not in docs/reference/problems.md: {missing:?}");
    // Some are put together where this test does not look; but all of them are somewhere.
    let unknown = told.difference(&made);
    let unknown: Vec<&String> = unknown
        .filter(|code| !sources.contains(&format!("\"{code}\"")))
        .collect();
    assert!(
        unknown.is_empty(),
        "in docs/reference/problems.md and nowhere else: {unknown:?}"
    );
}

fn each_file(folder: &Path, see: &mut impl FnMut(&str)) {
    for found in std::fs::read_dir(folder).unwrap() {
        let path = found.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "conformance") {
                each_file(&path, see);
            }
        } else if path.extension().is_some_and(|end| end == "rs" || end == "sql") {
            see(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn codes(text: &str) -> Vec<String> {
    let made = MAKERS.iter().flat_map(|maker| text.split(maker).skip(1));
    let failures = text.split("Unavailable {").skip(1);
    let failures = failures.filter_map(|rest| Some(rest.split_once('}')?.0.split_once("code: ")?.1));
    let with_status = text.split("StatusCode::").skip(1);
    let with_status = with_status.filter_map(|rest| rest.split_once(',').map(|(_, rest)| rest));
    let literals = made.chain(failures).chain(with_status).filter_map(|rest| {
        let (code, _) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
        Some(code)
    });
    // What a script says when it is run for the command line.
    let said = ["message = \'", "message = format(\'"];
    let said = said.iter().flat_map(|maker| text.split(maker).skip(1));
    let said = said.filter_map(|rest| rest.split_once(": ").map(|(code, _)| code));
    let is_code = |code: &&str| !code.is_empty() && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    literals.chain(said).filter(is_code).map(str::to_string).collect()
}

/// The codes in the first cells of the page's tables.
fn told() -> BTreeSet<String> {
    let cells = PROBLEMS.lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = cells.filter_map(|line| line.split_once("` |").map(|(cell, _)| cell));
    cells.flat_map(|cell| cell.split("`, `").map(str::to_string)).collect()
}
