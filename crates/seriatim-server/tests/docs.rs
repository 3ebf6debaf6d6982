//! Pages that must not fall behind the code.

use seriatim::Code;

const PROBLEMS: &str = include_str!("../../../docs/reference/problems.md");

#[test]
fn every_refusal_has_its_line_among_the_problems() {
    for code in Code::ALL {
        assert!(
            PROBLEMS.contains(&format!("| `{code}` |")),
            "{code} is not in docs/reference/problems.md"
        );
    }
}
