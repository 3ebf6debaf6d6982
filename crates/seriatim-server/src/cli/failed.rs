//! Why a verb ended otherwise than done, what is said about it, and the exit code.

use serde_json::Value;

use super::kept::read;
use super::output::{Output, list, text};
use crate::config::ConfigError;
use crate::open::PlaceError;
use crate::problem;
use crate::transport::{Reply, TransportError};

/// Why a verb ended otherwise than done.
#[derive(Debug)]
pub enum Failed {
    /// The command line or the configuration is wrong.
    Usage(String),
    /// The service said no, or could not.
    Problem(Box<Problem>),
    /// The store could not be reached.
    Unreachable(String),
    /// It may or may not have happened.
    Unknown(String),
    /// A check did its work and found something.
    Found(String),
    /// Anything else.
    Other(String),
}

/// A problem as the service answered it.
#[derive(Debug, Clone)]
pub struct Problem {
    /// The status.
    pub status: u16,
    /// The body; an empty object if it was none of ours.
    pub body: Value,
    /// Lines that show the place, if somebody knows it.
    pub drawing: Option<String>,
}

impl Problem {
    /// The problem in a reply.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        Self {
            status: reply.status.as_u16(),
            body: read(&reply.body).unwrap_or_default(),
            drawing: None,
        }
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> String {
        text(&self.body, "code")
    }

    /// JSON pointer to the field that is to blame.
    #[must_use]
    pub fn pointer(&self) -> Option<&str> {
        list(&self.body, "errors").first()?.get("pointer")?.as_str()
    }

    /// What is the matter, in words.
    #[must_use]
    pub fn detail(&self) -> String {
        let detail = text(&self.body, "detail");
        if detail.is_empty() {
            format!("the server answered {} without saying why", self.status)
        } else {
            detail
        }
    }

    /// What the caller does next.
    fn way_out(&self) -> &'static str {
        match self.body.get("retry").and_then(Value::as_str) {
            _ if self.code() == "version_required" => {
                "nothing was written; `seriatim series apply FILE` changes a series"
            }
            _ if self.status == 401 => "nothing was written; give a key in SERIATIM_API_KEY or SERIATIM_API_KEY_FILE",
            Some("retry") if self.is_unknown() => {
                "it may have happened; try again in a moment, and the answer says whether it had"
            }
            Some("never") if self.is_unknown() => "it may have happened; look before you try again",
            Some("retry") => "nothing happened; try again in a moment",
            Some("retry_same_key") => "it may have happened; try again with the same --key to get the same answer",
            // Somebody between here and the service, or another program altogether.
            None if self.status >= 500 => "it may have happened; try again with the same --key to get the same answer",
            // What is wrong is not in the request.
            _ if self.code() == "corrupt" => {
                "nothing was written; somebody must look: run `seriatim verify`, and compare with a backup"
            }
            _ if self.code() == "internal" => {
                "nothing was written; somebody must look: the log of the service says more"
            }
            _ => "nothing was written; change the request",
        }
    }

    fn is_unknown(&self) -> bool {
        text(&self.body, "outcome") == "unknown"
    }

    fn exit_code(&self) -> u8 {
        match self.status {
            429 | 502..=504 => 4,
            400..=499 => 5,
            _ => 1,
        }
    }
}

impl Failed {
    /// A thing that a list did not have, said as the service says it.
    #[must_use]
    pub fn missing(code: &str, detail: String) -> Self {
        Self::problem(404, code, &detail)
    }

    /// A refusal before anything was asked, said as the service says it.
    #[must_use]
    pub fn refused(code: &str, detail: &str) -> Self {
        Self::problem(422, code, detail)
    }

    fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = serde_json::json!({ "code": code, "detail": detail, "retry": "never" });
        Self::Problem(Box::new(Problem {
            status,
            body,
            drawing: None,
        }))
    }

    /// The exit code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Other(_) => 1,
            Self::Usage(_) => 2,
            Self::Found(_) => 3,
            Self::Unreachable(_) | Self::Unknown(_) => 4,
            Self::Problem(problem) => problem.exit_code(),
        }
    }

    /// Says it on stderr.
    pub fn say(&self, output: Output) {
        match self {
            Self::Usage(message) | Self::Unreachable(message) | Self::Other(message) => {
                output.warn(format!("error: {message}"));
            }
            Self::Unknown(message) => {
                output.warn(format!("error: {message}"));
                output.warn("  it may have happened; try again with the same --key to get the same answer");
            }
            Self::Found(message) => output.warn(format!("found: {message}")),
            Self::Problem(problem) => say_problem(output, problem),
        }
    }
}

fn say_problem(output: Output, problem: &Problem) {
    output.warn(format!("error: {}", problem.detail()));
    if let Some(drawing) = &problem.drawing {
        output.warn(drawing);
    }
    let code = problem.code();
    let code = if code.is_empty() {
        format!("status {}", problem.status)
    } else {
        format!("code {code}")
    };
    let field = problem.pointer().map(|pointer| match pointer {
        // Here it is a flag.
        problem::IF_MATCH => ", flag --if-version".to_string(),
        pointer => format!(", field {pointer}"),
    });
    output.warn(format!("  {code}{}; {}", field.unwrap_or_default(), problem.way_out()));
}

impl From<ConfigError> for Failed {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.0)
    }
}

impl From<PlaceError> for Failed {
    fn from(error: PlaceError) -> Self {
        match error {
            PlaceError::Unusable(message) => Self::Usage(message),
            PlaceError::Absent(message) | PlaceError::Held(message) | PlaceError::Unavailable(message) => {
                Self::Unreachable(message)
            }
            PlaceError::Refused(message) => Self::Other(message),
            PlaceError::Behind(message) => Self::Found(message),
        }
    }
}

impl From<TransportError> for Failed {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Unusable(message) => Self::Usage(message),
            TransportError::Unreachable(message) => Self::Unreachable(message),
            TransportError::Lost(message) => Self::Unknown(message),
        }
    }
}

impl From<serde_json::Error> for Failed {
    fn from(error: serde_json::Error) -> Self {
        Self::Other(format!("the answer is not what was expected: {error}"))
    }
}

impl From<anyhow::Error> for Failed {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(format!("{error:#}"))
    }
}

/// A text file that somebody named on the command line; `-` is stdin.
///
/// # Errors
/// It cannot be read.
pub fn read_text(path: &str) -> Result<String, Failed> {
    let read = if path == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    read.map_err(|error| Failed::Usage(format!("cannot read {path}: {error}")))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use seriatim::StoreError;

    use super::*;

    async fn check(problem: problem::Problem, expected: Expect) {
        let response = problem.render("r", seriatim::Timestamp::from_micros(0), false);
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await.unwrap();
        let reply = Reply {
            status,
            headers: hyper::HeaderMap::new(),
            body,
        };
        expected.assert_eq(Problem::of(&reply).way_out());
    }

    /// A store that contradicts itself was answered with "change the request", even to who had only asked for a list.
    #[tokio::test]
    async fn what_is_no_fault_of_the_request_is_not_mended_by_changing_it() {
        check(
            StoreError::Corrupt("two rows".to_string()).into(),
            expect!["nothing was written; somebody must look: run `seriatim verify`, and compare with a backup"],
        )
        .await;
        check(
            problem::Problem::internal("a field is missing"),
            expect!["nothing was written; somebody must look: the log of the service says more"],
        )
        .await;
        check(
            problem::Problem::panicked(),
            expect!["it may have happened; look before you try again"],
        )
        .await;
        check(
            problem::Problem::malformed("invalid_key", "a key"),
            expect!["nothing was written; change the request"],
        )
        .await;
    }
}
