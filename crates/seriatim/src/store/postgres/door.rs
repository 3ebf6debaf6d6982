//! The SQL door: the functions by which a user's own transaction takes numbers, as text to be run by somebody.
//!
//! What they do is in `door/*.sql`, the one place besides the core where rules stand. This module must never connect.

/// The functions, views, triggers and roles, in the order they are made. Running them again replaces them.
pub const DOOR: [(&str, &str); 8] = [
    ("1_words.sql", include_str!("door/1_words.sql")),
    ("2_plan.sql", include_str!("door/2_plan.sql")),
    ("3_chain.sql", include_str!("door/3_chain.sql")),
    ("4_take.sql", include_str!("door/4_take.sql")),
    ("5_change.sql", include_str!("door/5_change.sql")),
    ("6_surface.sql", include_str!("door/6_surface.sql")),
    ("7_number_column.sql", include_str!("door/7_number_column.sql")),
    ("8_roles.sql", include_str!("door/8_roles.sql")),
];

/// Refuses to go while there are numbers, then takes everything with it.
pub const UNINSTALL: &str = include_str!("door/uninstall.sql");

/// Leaves a plain counter function with the present values, and nothing else of ours.
pub const DETACH: &str = include_str!("door/detach.sql");

/// All of the door as one script.
#[must_use]
pub fn door() -> String {
    DOOR.iter().map(|(_, sql)| format!("{sql}\n")).collect()
}
