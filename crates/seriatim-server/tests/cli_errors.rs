//! What goes wrong: every exit code, every bad configuration, every place that is no place for a store.

mod cli_support;

use cli_support::{Desk, Ran};
use expect_test::{Expect, expect};

fn check(desk: &Desk, arguments: &[&str], expected: Expect) {
    check_ran(desk, &desk.run(arguments), expected);
}

fn check_ran(desk: &Desk, ran: &Ran, expected: Expect) {
    let here = desk.path().display().to_string();
    expected.assert_eq(&ran.seen().replace(&here, "HERE"));
}

fn desk_with_series() -> Desk {
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    desk
}

#[test]
fn a_refusal_is_5_and_says_code_field_and_way_out() {
    let desk = desk_with_series();
    check(&desk, &["issue", "invoce", "--key", "a"], expect![[]]);
    check(&desk, &["issue", "invoice", "--key", "a", "--param", "branch=1"], expect![[]]);
    check(&desk, &["issue", "invoice", "--key", "a", "--date", "2026-02-30"], expect![[]]);
    check(&desk, &["show", "invoice", "INV-009"], expect![[]]);
    check(&desk, &["series", "wipe", "invoice", "--yes"], expect![[]]);
}

#[test]
fn a_replay_with_other_params_or_of_a_voided_key_is_refused() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{branch}-{seq}", "--param", "branch=digits:2"]);
    desk.ok(&["issue", "order", "--key", "a", "--param", "branch=1"]);
    check(&desk, &["issue", "order", "--key", "a", "--param", "branch=2"], expect![[]]);
    desk.ok(&["void", "order", "01-1", "--reason", "torn"]);
    check(&desk, &["issue", "order", "--key", "a", "--param", "branch=1"], expect![[]]);
}

#[test]
fn a_usage_error_is_2() {
    let desk = desk_with_series();
    for arguments in [
        &["isue"][..],
        &["issue"],
        &["issue", "invoice", "--param", "branch"],
        &["issue", "invoice", "--document", "missing.json"],
        &["confirm", "invoice"],
        &["series", "wipe", "invoice"],
        &["--data-dir", "a", "--server", "http://b", "list"],
        &["list", "-o", "xml"],
        &["list", "--server", "https://example.com"],
        &["list", "--store", "postgres://localhost/x"],
        &["list", "--store", "mysql:x"],
        &["serve", "--deadline", "soon"],
        &["serve", "--http-addr", "here"],
        &["serve", "--server", "http://127.0.0.1:1"],
        &["bench", "--clients", "0"],
    ] {
        let ran = desk.run(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{arguments:?}: {ran:?}");
        assert!(ran.stderr.contains("error: "), "{arguments:?}: {ran:?}");
    }
}

#[test]
fn a_password_in_a_store_is_not_repeated() {
    let ran = Desk::new().run(&["list", "--store", "postgres://me:secret@localhost/x"]);
    assert_eq!(ran.code, 2);
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
}

#[test]
fn a_document_that_is_no_json_says_where() {
    let desk = desk_with_series();
    desk.write("bad.json", "{\n  \"a\": 1,\n}");
    check(&desk, &["issue", "invoice", "--key", "a", "--document", "bad.json"], expect![[]]);
    assert_eq!(desk.ok(&["list"]), "");
}

#[test]
fn a_bad_file_of_settings_is_2_with_line_and_column() {
    let desk = Desk::new();
    desk.write("seriatim.toml", "# settings\ndeadline = \"2s\"\n  htp_addr = \"127.0.0.1:1\"\n");
    check(&desk, &["list"], expect![[]]);
    desk.write("seriatim.toml", "deadline = \n");
    check(&desk, &["list"], expect![[]]);
    check(&desk, &["list", "--config", "other.toml"], expect![[]]);
}

#[test]
fn the_store_that_is_not_there_is_4_and_none_is_made() {
    let desk = Desk::new();
    check(&desk, &["issue", "invoice", "--key", "a"], expect![[]]);
    check(&desk, &["backup", "copy.db"], expect![[]]);
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0);
    let server = ["list", "--server", "http://127.0.0.1:1"];
    check(&desk, &server, expect![[]]);
    check(&desk, &["healthcheck", "--server", "http://127.0.0.1:1"], expect![[]]);
}

#[test]
fn production_makes_no_store_by_itself() {
    let desk = Desk::new();
    let production = [("SERIATIM_ENV", "production")];
    let ran = desk.run_with(&["serve", "--http-addr", "127.0.0.1:0"], &production);
    check_ran(&desk, &ran, expect![[]]);
    let ran = desk.run_with(&["series", "create", "a", "--format", "{seq}"], &production);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0);
    assert_eq!(desk.run_with(&["init"], &production).code, 0);
    let ran = desk.run_with(&["series", "create", "a", "--format", "{seq}"], &production);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_data_directory_that_cannot_be_written_is_2() {
    let desk = Desk::new();
    desk.write("file", "");
    check(&desk, &["init", "--data-dir", "file/below"], expect![[]]);
    // Nobody can make a directory here, not even root.
    check(&desk, &["serve", "--data-dir", "/proc/seriatim"], expect![[]]);
}

#[test]
fn a_database_that_is_not_ours_is_left_alone() {
    let desk = Desk::new();
    let text = "somebody's letters, more than a hundred bytes of them, so that nobody can take this file for an empty one";
    let path = desk.write("letters.db", text);
    check(&desk, &["list", "--store", "sqlite:letters.db"], expect![[]]);
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_definition_is_refused_with_its_place() {
    let desk = Desk::new();
    let create = |arguments: &[&str]| desk.run(&[&["series", "create", "a", "--format"], arguments].concat());
    check_ran(&desk, &create(&["INV-{yyyy}-{seq}"]), expect![[]]);
    check_ran(&desk, &create(&["{year}-{seq}", "--reset", "fiscal-year:04-01"]), expect![[]]);
    check_ran(&desk, &create(&["{seq:4}", "--reset", "daily"]), expect![[]]);
    assert_eq!(desk.ok(&["series", "list"]), "");
}

#[test]
fn a_file_of_series_is_refused_with_line_column_and_place() {
    let desk = Desk::new();
    let file = "# numbers\n[[series]]\nname = \"order\"\nformat = \"{seq}\"\n\n[[series]]\nname   = \"invoice\"\n\
                format = \"INV-{yyyy}-{seq}\"\n";
    desk.write("series.toml", file);
    check(&desk, &["series", "apply", "series.toml", "--dry-run"], expect![[]]);
    desk.write("series.toml", "[[series]]\nname = \"a\"\nformat = \"{seq}\"\nrest = \"daily\"\n");
    check(&desk, &["series", "apply", "series.toml"], expect![[]]);
    desk.write("series.toml", "[[series]]\nname = \"a\"\nformat = \"{seq}\"\ntime_zone = \"Mars/Olympus\"\n");
    check(&desk, &["series", "apply", "series.toml"], expect![[]]);
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let desk = Desk::new();
    let server = desk.serve();
    let second = desk.run(&["serve", "--http-addr", "127.0.0.1:0"]);
    let seen = second.seen().replace(&server.pid().to_string(), "PID").replace(&server.url, "URL");
    expect![[]].assert_eq(&seen);
    server.kill();
    // A lock dies with its process, however it dies.
    let third = desk.serve();
    assert_eq!(third.stop(), Some(0));
}

#[test]
fn a_check_that_finds_something_is_3() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    let checkpoint = desk.ok(&["checkpoint"]);
    desk.write("checkpoint.json", &checkpoint);
    desk.ok(&["verify", "--checkpoint", "checkpoint.json"]);
    // Another store stands where that one stood: everything the checkpoint knows is gone.
    std::fs::remove_dir_all(desk.path().join("seriatim-data")).unwrap();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    let ran = desk.run(&["verify", "--checkpoint", "checkpoint.json"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.starts_with("error\t"), "{ran:?}");
    desk.write("checkpoint.json", &checkpoint.replace("\"last_seq\": 1", "\"last_seq\": 2"));
    let changed = desk.run(&["verify", "--checkpoint", "checkpoint.json"]);
    assert_eq!(changed.code, 5, "{changed:?}");
    assert!(changed.stderr.contains("checkpoint_changed"), "{changed:?}");
}

#[test]
fn a_directory_that_others_can_read_is_found_by_the_doctor() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = desk_with_series();
    let well = desk.run(&["doctor"]);
    assert_eq!(well.code, 0, "{well:?}");
    let directory = desk.path().join("seriatim-data");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ran = desk.run(&["doctor"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("NOT OK\tpermissions of"), "{ran:?}");
}

#[test]
fn a_restore_never_overwrites() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    desk.ok(&["backup", "copy.db"]);
    check(&desk, &["backup", "copy.db"], expect![[]]);
    check(&desk, &["restore", "copy.db"], expect![[]]);
    desk.write("letters.txt", "not a backup but something else that is long enough to be looked at by anybody who wants to, really");
    let ran = desk.run(&["restore", "letters.txt", "--data-dir", "elsewhere"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    // The place is as empty as before.
    check(&desk, &["restore", "copy.db", "--data-dir", "elsewhere"], expect![[]]);
    assert_eq!(desk.ok(&["issue", "invoice", "--key", "a", "--data-dir", "elsewhere"]), "INV-001\n");
    assert_eq!(desk.ok(&["issue", "invoice", "--key", "b", "--data-dir", "elsewhere"]), "INV-002\n");
}
