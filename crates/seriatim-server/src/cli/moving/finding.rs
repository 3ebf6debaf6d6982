//! What was noticed in somebody else's numbers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::output::{Form, Output};

/// One thing that was noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, for programs.
    pub code: &'static str,
    /// `error`: two documents, or none, for one number. `warning`: somebody should know.
    pub severity: &'static str,
    /// Whose number.
    pub tenant: String,
    /// In which period.
    pub period: String,
    /// The number, or the run of seqs.
    pub what: String,
    /// What is the matter, in words.
    pub message: String,
}

impl Finding {
    /// As an object.
    pub fn to_json(&self) -> Value {
        json!({
            "code": self.code, "severity": self.severity, "tenant": self.tenant, "period": self.period,
            "what": self.what, "message": self.message,
        })
    }
}

/// How many of each code a person is shown; with `-o json` there are all of them.
const SHOWN_MAX: usize = 20;

/// Prints findings as rows, or, as JSON, one object a line.
pub fn print_findings(output: Output, findings: &[Finding]) {
    if output.form == Form::Json {
        findings
            .iter()
            .for_each(|finding| output.line(finding.to_json().to_string()));
        return;
    }
    let mut shown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for finding in findings {
        let count = shown.entry(finding.code).or_default();
        *count += 1;
        if *count <= SHOWN_MAX {
            let columns = [
                finding.code,
                &finding.tenant,
                &finding.period,
                &finding.what,
                &finding.message,
            ];
            rows.push(columns.map(str::to_string).to_vec());
        }
    }
    output.table(&["finding", "tenant", "period", "what", "detail"], rows);
    for (code, count) in shown.into_iter().filter(|(_, count)| *count > SHOWN_MAX) {
        output.note(format!("{} more of {code}; -o json shows all", count - SHOWN_MAX));
    }
}

/// How many of each code, as words: `2 duplicate, 1 hole`.
pub fn summary(findings: &[Finding]) -> String {
    let counts = counts(findings)
        .into_iter()
        .map(|(code, count)| format!("{count} {code}"));
    counts.collect::<Vec<_>>().join(", ")
}

fn counts(findings: &[Finding]) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.code).or_default() += 1;
    }
    counts
}

/// How many of each code, as an object.
pub fn counts_json(findings: &[Finding]) -> Value {
    let counts = counts(findings).into_iter();
    Value::Object(
        counts
            .map(|(code, count)| (code.to_string(), json!(count)))
            .collect::<Map<_, _>>(),
    )
}
