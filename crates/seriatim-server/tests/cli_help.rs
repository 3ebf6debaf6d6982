//! The help of every command, as it is. `UPDATE_EXPECT=1 cargo test` writes it anew.

mod cli_support;

use cli_support::Desk;
use expect_test::expect_file;

/// The commands in a help text, in its order.
fn commands(help: &str) -> Vec<String> {
    let listed = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "));
    let names = listed
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_string).collect()
}

fn collect(desk: &Desk, path: &[String], out: &mut String) {
    let mut arguments: Vec<&str> = path.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = desk.ok(&arguments);
    out.push_str(&format!("$ seriatim {}\n{help}\n", arguments.join(" ")));
    for command in commands(&help) {
        collect(desk, &[path, &[command]].concat(), out);
    }
}

#[test]
fn the_help_of_every_command_is_what_it_was() {
    let mut out = String::new();
    collect(&Desk::new(), &[], &mut out);
    expect_file!["help.txt"].assert_eq(&out);
}

#[test]
fn no_argument_shows_the_help_and_is_a_usage_error() {
    let ran = Desk::new().run(&[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("Usage: seriatim"), "{ran:?}");
}

#[test]
fn completions_version_and_openapi_need_no_store() {
    let desk = Desk::new();
    assert!(desk.ok(&["completions", "bash"]).contains("_seriatim"));
    assert!(desk.ok(&["version"]).starts_with("seriatim 0."));
    assert!(desk.ok(&["version", "-o", "json"]).starts_with("{\"version\":"));
    let openapi: serde_json::Value = serde_json::from_str(&desk.ok(&["openapi"])).unwrap();
    assert!(openapi["paths"]["/v1/series/{series}/entries"]["post"].is_object());
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0, "something was made");
}
