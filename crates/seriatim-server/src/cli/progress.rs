//! How far a verb is: a bar on a terminal, nothing elsewhere (indicatif draws only on a terminal).

use indicatif::{ProgressBar, ProgressStyle};

use super::Context;

/// A bar whose end is known.
pub fn bar(context: &Context, total: u64) -> ProgressBar {
    styled(
        context,
        ProgressBar::new(total),
        "{msg}{bar:40} {pos}/{len} {per_sec} {eta}",
    )
}

/// A count whose end is not known.
pub fn count(context: &Context, what: &'static str) -> ProgressBar {
    styled(
        context,
        ProgressBar::no_length().with_message(what),
        "{spinner} {msg} {pos} {per_sec}",
    )
}

fn styled(context: &Context, bar: ProgressBar, template: &str) -> ProgressBar {
    if context.output.quiet {
        return ProgressBar::hidden();
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
