//! What goes wrong: every exit code, every bad configuration, every place that is no place for a store.

mod cli_support;
#[path = "../../seriatim/tests/disk/mod.rs"]
mod disk;

use std::process::Stdio;

use cli_support::{Desk, Ran};
use disk::Disk;
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
    check(
        &desk,
        &["issue", "invoce", "--key", "a"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: there is no series invoce; define it first (`seriatim series create invoce …`)
          code unknown_series, field /series; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk,
        &["issue", "invoice", "--key", "a", "--param", "branch=1"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: unknown param `branch`; this series declares none
          code unknown_param, field /params/branch; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk,
        &["issue", "invoice", "--key", "a", "--date", "2026-02-30"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: `2026-02-30` is not a day of the calendar; write a date like 2026-03-31
          code invalid_date, field /date; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk,
        &["show", "invoice", "INV-009"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: series invoice has no number INV-009 of tenant default; `seriatim list invoice` shows what there is
          code unknown_entry; nothing was written; change the request
        exit 5
    "#]],
    );
    check(
        &desk,
        &["series", "wipe", "invoice", "--yes"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: series invoice is not a test series; its numbers are kept for ever
          code not_a_test_series, field /series; nothing was written; change the request
        exit 5
    "#]],
    );
}

/// Data that could not be written counted as done: an export was cut off, a new key's secret was gone.
#[test]
fn data_that_cannot_be_written_is_a_failure() {
    let desk = desk_with_series();
    let verbs: [&[&str]; 8] = [
        &["export"],
        &["checkpoint"],
        &["issue", "invoice", "--key", "a"],
        &["list"],
        &["openapi"],
        &["version"],
        &["counters", "-o", "json"],
        &["config", "show"],
    ];
    for verb in verbs {
        let ran = desk.run_into_full(verb);
        assert!(
            ran.stderr.contains("error: cannot write to stdout: No space left"),
            "{verb:?}: {ran:?}"
        );
        assert_eq!(ran.code, 1, "{verb:?}");
    }
    assert_eq!(desk.run_into_full(&["--help"]).code, 1);
    let ran = desk.run_into_full(&["key", "create", "--label", "app", "--scope", "issue"]);
    let id = ran.stderr.split("`seriatim key revoke ").nth(1).unwrap();
    let id = id.split('`').next().unwrap();
    assert!(desk.ok(&["key", "list"]).starts_with(&format!("{id}\t")), "{ran:?}");
    assert_eq!(ran.code, 1);
    // What was done is said with it: somebody would take a second number for it.
    let ran = desk.run_into_full(&["-q", "issue", "invoice"]);
    assert!(
        ran.stderr
            .contains("INV-002 is issued all the same; `seriatim show invoice INV-002 --tenant default` shows it"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("what was asked for was done all the same"),
        "{ran:?}"
    );
    let ran = desk.run_into_full(&["show", "invoice", "INV-002"]);
    assert!(!ran.stderr.contains("all the same"), "{ran:?}");
    // Whoever closes the pipe has read enough.
    let mut command = desk.command(&["openapi"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_param_that_is_given_twice_is_refused() {
    let desk = Desk::new();
    desk.ok(&[
        "series",
        "create",
        "order",
        "--format",
        "{branch}-{seq}",
        "--param",
        "branch=digits:1",
    ]);
    let twice = ["-p", "branch=1", "-p", "branch=2"];
    let verbs: [&[&str]; 4] = [
        &["issue", "order", "--key", "a"],
        &["reserve", "order", "--key", "a"],
        &["advance", "order", "--to", "9", "--reason", "paper"],
        &["series", "preview", "order"],
    ];
    for verb in verbs {
        let ran = desk.run(&[verb, &twice].concat());
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("param branch is given twice"), "{ran:?}");
    }
}

/// The line of the same name elsewhere never resets, and its refusal was that of all.
#[test]
fn a_period_is_asked_of_every_series_that_can_have_it() {
    let desk = desk_with_series();
    desk.ok(&[
        "series",
        "create",
        "slip",
        "--format",
        "S-{year}-{seq}",
        "--reset",
        "yearly",
    ]);
    let year = desk.ok(&["issue", "slip", "--key", "a"])[2..6].to_string();
    let ran = desk.run(&["counters", "--period", &year]);
    assert!(ran.stdout.starts_with("slip\t"), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(desk.run(&["counters", "--period", "2026-27"]).code, 5);
    assert_eq!(desk.run(&["counters", "invoice", "--period", &year]).code, 5);
}

#[test]
fn a_number_that_was_passed_over_says_why_it_is_missing() {
    let desk = desk_with_series();
    desk.ok(&["advance", "invoice", "--to", "3", "--reason", "old system"]);
    check(
        &desk,
        &["show", "invoice", "INV-002"],
        expect![[r#"
            store sqlite ./seriatim-data/seriatim.db (in process)
            error: INV-002 is on no document: its seq 2 is missing (old system); `seriatim gaps invoice` lists such seqs
              code unknown_entry; nothing was written; change the request
            exit 5
        "#]],
    );
    let ran = desk.run(&["show", "invoice", "INV-004"]);
    assert!(ran.stderr.contains("has no number INV-004"), "{ran:?}");
    let ran = desk.run(&["list", "--state", "missing"]);
    assert!(ran.stderr.contains("`seriatim gaps`"), "{ran:?}");
    assert_eq!(ran.code, 2);
}

/// Without a server nothing ever ran out, and a confirmation said that the number was void.
#[test]
fn a_reservation_runs_out_without_a_server() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "seat", "--format", "S-{seq}", "--on-expiry", "void"]);
    desk.ok(&["reserve", "seat", "--key", "a", "--ttl", "1s"]);
    let fields = desk.ok(&["list", "--state", "reserved"]);
    assert_eq!(fields.trim().split('\t').count(), 8, "{fields}");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(desk.ok(&["list", "--state", "reserved"]), "");
    let ran = desk.run(&["confirm", "seat", "S-1"]);
    assert!(ran.stderr.contains("code voided"), "{ran:?}");
    let card = desk.ok(&["show", "seat", "S-1"]);
    assert!(card.contains("reason_code\texpired"), "{card}");
    desk.ok(&["period", "close", "seat", "all", "--reason", "the end"]);
}

#[test]
fn a_period_that_is_busy_says_how_to_list_what_is_reserved() {
    let desk = desk_with_series();
    desk.ok(&["reserve", "invoice", "--key", "a", "--tenant", "acme"]);
    let ran = desk.run(&[
        "period", "close", "invoice", "all", "--tenant", "acme", "--reason", "the end",
    ]);
    let command = "list invoice --tenant acme --period all --state reserved";
    assert!(ran.stderr.contains(&format!("`seriatim {command}`")), "{ran:?}");
    let command: Vec<&str> = command.split(' ').collect();
    assert!(desk.ok(&command).starts_with("INV-001\treserved"));
}

#[test]
fn a_key_for_a_series_that_is_not_there_is_said() {
    let desk = desk_with_series();
    let create = ["key", "create", "--label", "app", "--scope", "issue", "--series"];
    let ran = desk.run(&[&create[..], &["invoice,nope"]].concat());
    assert!(ran.stderr.contains("warning: there is no series nope"), "{ran:?}");
    assert!(!ran.stderr.contains("no series invoice"), "{ran:?}");
    assert_eq!(ran.code, 0);
}

#[test]
fn a_setting_that_nobody_knows_cannot_be_accepted() {
    let desk = Desk::new();
    let store = ["--store", "postgres://nobody@127.0.0.1:1/none", "list"];
    let ran = desk.run_with(&store, &[("SERIATIM_ACCEPT", "fsync,fsnyc")]);
    assert!(
        ran.stderr.contains("accept = `fsnyc`: there is no such setting"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 2);
    assert_eq!(desk.run_with(&store, &[("SERIATIM_ACCEPT", "fsync")]).code, 4);
    // SQLite has none of them.
    let ran = desk.run(&["serve", "--http-addr", "127.0.0.1:0", "--accept", "fsnyc"]);
    assert!(ran.code == 2 && ran.stderr.contains("accept = `fsnyc`"), "{ran:?}");
}

/// Anybody can sign a checkpoint, and nothing said by whom it was.
#[test]
fn a_checkpoint_of_another_key_is_said_and_can_be_refused() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    desk.write("kept.json", &desk.ok(&["checkpoint"]));
    let key = |file: &str| -> String {
        let text = std::fs::read_to_string(desk.path().join(file)).unwrap();
        text.split("\"public_key\": \"").nth(1).unwrap()[..64].to_string()
    };
    let ours = key("kept.json");
    let ran = desk.run(&[
        "verify",
        "--checkpoint",
        "kept.json",
        "--checkpoint-key",
        &ours.to_uppercase(),
    ]);
    assert!(
        ran.stderr.contains(&format!("signed by {ours} (this store's key)")),
        "{ran:?}"
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
    // Who has the files can draw a key, change the store and sign what is left.
    std::fs::rename(
        desk.path().join("seriatim-data/checkpoint.key"),
        desk.path().join("ours"),
    )
    .unwrap();
    desk.write("forged.json", &desk.ok(&["checkpoint"]));
    std::fs::rename(
        desk.path().join("ours"),
        desk.path().join("seriatim-data/checkpoint.key"),
    )
    .unwrap();
    let forged = key("forged.json");
    let ran = desk.run(&["verify", "--checkpoint", "forged.json"]);
    assert!(
        ran.stderr
            .contains(&format!("signed by {forged} (another key than this store's)")),
        "{ran:?}"
    );
    assert!(ran.stdout.starts_with("note\tcheckpoint_key_unproven\t"), "{ran:?}");
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = desk.run(&["verify", "--checkpoint", "forged.json", "--checkpoint-key", &ours]);
    assert!(
        ran.stderr
            .contains("code checkpoint_key_mismatch, field /checkpoint_key"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 5);
    // Whoever kept the other key knows better.
    desk.ok(&["verify", "--checkpoint", "forged.json", "--checkpoint-key", &forged]);
    assert_eq!(
        desk.run(&["verify", "--checkpoint", "kept.json", "--checkpoint-key", "abc"])
            .code,
        5
    );
    assert_eq!(desk.run(&["verify", "--checkpoint-key", &ours]).code, 2);
}

#[test]
fn days_that_are_swapped_are_refused() {
    let desk = desk_with_series();
    for verb in ["list", "summary"] {
        let ran = desk.run(&[verb, "--from", "2025-12-31", "--to", "2025-01-01"]);
        assert!(ran.stderr.contains("there is no day; swap them"), "{ran:?}");
        assert_eq!(ran.code, 5);
    }
}

#[test]
fn a_replay_with_other_params_or_of_a_voided_key_is_refused() {
    let desk = Desk::new();
    desk.ok(&[
        "series",
        "create",
        "order",
        "--format",
        "{branch}-{seq}",
        "--param",
        "branch=digits:2",
    ]);
    desk.ok(&["issue", "order", "--key", "a", "--param", "branch=1"]);
    check(
        &desk,
        &["issue", "order", "--key", "a", "--param", "branch=2"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: this key was used before with params branch=01, not branch=02, and got 01-1; use a key of its own for each document
          code key_reused, field /key; nothing was written; change the request
        exit 5
    "#]],
    );
    desk.ok(&["void", "order", "01-1", "--reason", "torn"]);
    check(
        &desk,
        &["issue", "order", "--key", "a", "--param", "branch=1"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: the key's number 01-1 is void (torn); use another key for a new document
          code voided, field /key; nothing was written; change the request
        exit 5
    "#]],
    );
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
fn a_setting_that_makes_no_sense_is_2_whatever_else_is_configured() {
    let desk = Desk::new();
    let flags = [
        ("--deadline", "0s"),
        ("--queue-max", "0"),
        ("--batch-max", "0"),
        ("--witness-every", "0s"),
        ("--lease", "0s"),
        ("--attempts", "0"),
        ("--workers", "0"),
    ];
    for (flag, nothing) in flags {
        let ran = desk.run(&["serve", "--http-addr", "127.0.0.1:0", flag, nothing]);
        assert!(
            ran.stderr
                .contains(&format!("= `{nothing}` (flag): must be more than 0")),
            "{flag}: {ran:?}"
        );
        assert_eq!(ran.code, 2);
    }
    let ran = desk.run_with(&["serve"], &[("SERIATIM_WORKERS", "x")]);
    assert!(
        ran.stderr.contains("error: workers = `x` (SERIATIM_WORKERS): "),
        "{ran:?}"
    );
    assert_eq!(ran.code, 2);
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0);
}

/// The key was registered, and the port was taken: nobody ever saw it, and no other came.
#[test]
fn a_server_that_cannot_listen_draws_no_key() {
    let desk = Desk::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = desk.run(&["serve", "--http-addr", &address]);
    assert!(
        ran.stderr.contains(&format!("error: cannot listen on {address}")),
        "{ran:?}"
    );
    assert_eq!(ran.code, 1);
    assert_eq!(desk.ok(&["key", "list"]), "");
    let server = desk.serve();
    server.says("Admin key  srt_");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_password_in_the_url_of_a_server_is_not_repeated() {
    let desk = Desk::new();
    let server = [("SERIATIM_SERVER", "http://u:hunter5@127.0.0.1:1")];
    for verb in [
        &["issue", "a"][..],
        &["serve"],
        &["backup", "copy.db"],
        &["healthcheck"],
        &["bench", "--clients", "1"],
    ] {
        let ran = desk.run_with(verb, &server);
        assert!(ran.stderr.contains("http://(hidden)@127.0.0.1:1"), "{ran:?}");
        assert!(!ran.stderr.contains("hunter5"), "{ran:?}");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
}

#[test]
fn a_password_in_a_store_is_not_repeated() {
    let store = "postgres://me:secret@127.0.0.1:1/x";
    let ran = Desk::new().run(&["serve", "--store", store, "--data-dir", "here"]);
    assert_eq!(ran.code, 4);
    assert!(ran.stderr.contains("127.0.0.1:1/x"), "{ran:?}");
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
}

#[test]
fn a_document_that_is_no_json_says_where() {
    let desk = desk_with_series();
    desk.write("bad.json", "{\n  \"a\": 1,\n}");
    check(
        &desk,
        &["issue", "invoice", "--key", "a", "--document", "bad.json"],
        expect![[r#"
        error: bad.json is not JSON: key must be a string at line 3 column 1
        exit 2
    "#]],
    );
    assert_eq!(desk.ok(&["list"]), "");
}

#[test]
fn a_bad_file_of_settings_is_2_with_line_and_column() {
    let desk = Desk::new();
    desk.write(
        "seriatim.toml",
        "# settings\ndeadline = \"2s\"\n  htp_addr = \"127.0.0.1:1\"\n",
    );
    check(
        &desk,
        &["list"],
        expect![[r#"
            error: seriatim.toml:3:3: unknown key `htp_addr`; there are accept, admin_key, admin_key_file, api_key, api_key_file, attempts, batch_max, data_dir, deadline, drain, env, http_addr, lease, log, log_format, output, queue_max, quiet, receipt_template, receipts_dir, server, shutdown_delay, sources, store, witness, witness_every, workers
            exit 2
        "#]],
    );
    for verb in [&["version"][..], &["openapi"], &["completions", "bash"]] {
        assert_eq!(desk.run(verb).code, 0, "{verb:?}");
    }
    desk.write("seriatim.toml", "deadline = \n");
    check(
        &desk,
        &["list"],
        expect![[r#"
        error: seriatim.toml:1:12: string values must be quoted, expected literal string
        exit 2
    "#]],
    );
    check(
        &desk,
        &["list", "--config", "other.toml"],
        expect![[r#"
        error: there is no configuration file other.toml
        exit 2
    "#]],
    );
}

#[test]
fn the_store_that_is_not_there_is_4_and_none_is_made() {
    let desk = Desk::new();
    check(
        &desk,
        &["issue", "invoice", "--key", "a"],
        expect![[r#"
        error: there is no store ./seriatim-data/seriatim.db; make one with `seriatim init`, or say where it is with --data-dir
        exit 4
    "#]],
    );
    check(
        &desk,
        &["backup", "copy.db"],
        expect![[r#"
        error: there is no store ./seriatim-data/seriatim.db; say where it is with --data-dir
        exit 4
    "#]],
    );
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 0);
    let server = ["list", "--server", "http://127.0.0.1:1"];
    check(
        &desk,
        &server,
        expect![[r#"
        store http://127.0.0.1:1
        error: cannot reach 127.0.0.1:1: Connection refused (os error 111)
        exit 4
    "#]],
    );
    check(
        &desk,
        &["healthcheck", "--server", "http://127.0.0.1:1"],
        expect![[r#"
        error: cannot reach 127.0.0.1:1: Connection refused (os error 111)
        exit 4
    "#]],
    );
}

#[test]
fn production_makes_no_store_by_itself() {
    let desk = Desk::new();
    let production = [("SERIATIM_ENV", "production")];
    let ran = desk.run_with(&["serve", "--http-addr", "127.0.0.1:0"], &production);
    check_ran(
        &desk,
        &ran,
        expect![[r#"
        error: there is no store ./seriatim-data/seriatim.db, and in production none is made by itself: if this is the first start, run `seriatim init`; otherwise the volume is not mounted here
        exit 4
    "#]],
    );
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
    check(
        &desk,
        &["init", "--data-dir", "file/below"],
        expect![[r#"
        error: cannot make the data directory file/below: Not a directory (os error 20); give a directory that this user may write with --data-dir
        exit 2
    "#]],
    );
    // Nobody can make a directory here, not even root.
    check(
        &desk,
        &["serve", "--data-dir", "/proc/seriatim"],
        expect![[r#"
        error: cannot make the data directory /proc/seriatim: No such file or directory (os error 2); give a directory that this user may write with --data-dir
        exit 2
    "#]],
    );
}

#[test]
fn a_database_that_is_not_ours_is_left_alone() {
    let desk = Desk::new();
    let text =
        "somebody's letters, more than a hundred bytes of them, so that nobody can take this file for an empty one";
    let path = desk.write("letters.db", text);
    check(
        &desk,
        &["list", "--store", "sqlite:letters.db"],
        expect![[r#"
        error: cannot open letters.db: not a Seriatim database (it is not a SQLite file); name another file
        exit 2
    "#]],
    );
    assert_eq!(std::fs::read_to_string(path).unwrap(), text);
}

#[test]
fn a_definition_is_refused_with_its_place() {
    let desk = Desk::new();
    let create = |arguments: &[&str]| desk.run(&[&["series", "create", "a", "--format"], arguments].concat());
    check_ran(
        &desk,
        &create(&["INV-{yyyy}-{seq}"]),
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (created)
        error: unknown token {yyyy}; did you mean {year}?
          INV-{yyyy}-{seq}
              ^^^^^^
          code invalid_definition, field /format; nothing was written; change the request
        exit 5
    "#]],
    );
    check_ran(
        &desk,
        &create(&["{year}-{seq}", "--reset", "fiscal-year:04-01"]),
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: {year} does not tell the fiscal year: a calendar year belongs to two of them, so numbers would repeat; use {fy}
          {year}-{seq}
          ^^^^^^
          code invalid_definition, field /format; nothing was written; change the request
        exit 5
    "#]],
    );
    check_ran(
        &desk,
        &create(&["{seq:4}", "--reset", "daily"]),
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        error: the count restarts each day but the number does not show which, so numbers would repeat; add {date} or set reset = "never"
          {seq:4}
          ^^^^^^^
          code invalid_definition, field /format; nothing was written; change the request
        exit 5
    "#]],
    );
    assert_eq!(desk.ok(&["series", "list"]), "");
}

#[test]
fn a_file_of_series_is_refused_with_line_column_and_place() {
    let desk = Desk::new();
    let file = "# numbers\n[[series]]\nname = \"order\"\nformat = \"{seq}\"\n\n[[series]]\nname   = \"invoice\"\n\
                format = \"INV-{yyyy}-{seq}\"\n";
    desk.write("series.toml", file);
    check(
        &desk,
        &["series", "apply", "series.toml", "--dry-run"],
        expect![[r#"
        store none yet; checked against an empty one in memory
        error: unknown token {yyyy}; did you mean {year}?
          series.toml:8:15
          format = "INV-{yyyy}-{seq}"
                        ^^^^^^
          code invalid_definition, field /format; nothing was written; change the request
        order	version 1	would be created
        exit 5
    "#]],
    );
    desk.write(
        "series.toml",
        "[[series]]\nname = \"a\"\nformat = \"{seq}\"\nrest = \"daily\"\n",
    );
    check(
        &desk,
        &["series", "apply", "series.toml"],
        expect![[r#"
        error: series.toml:4:1: unknown field `rest`, expected one of `name`, `format`, `reset`, `time_zone`, `start`, `partition_by`, `params`, `gaps`, `overflow`, `limit`, `max_length`, `date_order`, `date_window`, `keys`, `replay`, `on_expiry`, `on_outage`, `test`, `replaces`
          rest = "daily"
          ^^^^
        exit 2
    "#]],
    );
    desk.write(
        "series.toml",
        "[[series]]\nname = \"a\"\nformat = \"{seq}\"\ntime_zone = \"Mars/Olympus\"\n",
    );
    check(
        &desk,
        &["series", "apply", "series.toml"],
        expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (created)
        error: unknown time zone `Mars/Olympus`; use an IANA name like Asia/Kolkata
          series.toml:4:13
          time_zone = "Mars/Olympus"
                      ^^^^^^^^^^^^^^
          code invalid_definition, field /time_zone; nothing was written; change the request
        exit 5
    "#]],
    );
}

#[test]
fn two_servers_do_not_share_a_directory() {
    let desk = Desk::new();
    let server = desk.serve();
    let second = desk.run(&["serve", "--http-addr", "127.0.0.1:0"]);
    let seen = second
        .seen()
        .replace(&server.pid().to_string(), "PID")
        .replace(&server.url, "URL");
    expect![[r#"
        error: ./seriatim-data is in use by `seriatim serve` (pid PID, URL); stop it, or give another --data-dir
        exit 4
    "#]]
    .assert_eq(&seen);
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
    desk.write(
        "checkpoint.json",
        &checkpoint.replace("\"last_seq\": 1", "\"last_seq\": 2"),
    );
    let changed = desk.run(&["verify", "--checkpoint", "checkpoint.json"]);
    assert_eq!(changed.code, 5, "{changed:?}");
    assert!(changed.stderr.contains("checkpoint_changed"), "{changed:?}");
}

/// SQLite went on with the file that it could not write, and left an index of the log that was as read-only: the store
/// could not be written any more when the file could, and the doctor found nothing.
#[test]
fn a_file_that_was_read_only_for_a_while_can_be_written_again() {
    let desk = Desk::new();
    desk.give_to_nobody("", 0o755);
    let create = ["series", "create", "invoice", "--format", "INV-{seq:3}"];
    desk.run_as_nobody(&create).ok();
    let issue = ["issue", "invoice", "--key", "a"];
    desk.give_to_nobody("seriatim-data/seriatim.db", 0o400);
    let refused = expect![[r#"
        error: cannot write to ./seriatim-data/seriatim.db: Permission denied (os error 13); make sure that file and directory are there and writable
        exit 2
    "#]];
    check_ran(&desk, &desk.run_as_nobody(&issue), refused);
    desk.give_to_nobody("seriatim-data/seriatim.db", 0o600);
    assert_eq!(desk.run_as_nobody(&issue).ok(), "INV-001\n");

    desk.write("seriatim-data/seriatim.db-shm", "");
    desk.give_to_nobody("seriatim-data/seriatim.db-shm", 0o400);
    let ran = desk.run_as_nobody(&["doctor"]);
    let found = "NOT OK\tpermissions of ./seriatim-data/seriatim.db-shm\t400\n";
    assert!(ran.stdout.contains(found), "{ran:?}");
    let refused = "cannot write to ./seriatim-data/seriatim.db-shm: Permission denied";
    assert!(ran.stderr.contains(refused), "{ran:?}");
    assert_eq!(ran.code, 2);
}

#[test]
fn a_directory_that_cannot_be_read_is_not_said_to_be_empty() {
    let desk = Desk::new();
    desk.give_to_nobody("", 0o755);
    desk.run_as_nobody(&["init"]).ok();
    desk.give_to_nobody("seriatim-data", 0);
    for verb in [
        &["list"][..],
        &["init"],
        &["doctor"],
        &["backup", "copy.db"],
        &["series", "create", "a", "--format", "{seq}"],
    ] {
        let ran = desk.run_as_nobody(verb);
        let said = "cannot see whether there is a store ./seriatim-data/seriatim.db: Permission denied";
        assert!(ran.stderr.contains(said), "{verb:?}: {ran:?}");
        assert_eq!(ran.code, 2);
    }
    for arguments in [
        &["list", "--config", "seriatim-data/mine.toml"][..],
        &["restore", "seriatim-data/seriatim.db", "--data-dir", "new"],
    ] {
        let ran = desk.run_as_nobody(arguments);
        assert!(ran.stderr.contains("error: cannot read seriatim-data/"), "{ran:?}");
    }
    desk.give_to_nobody("seriatim-data", 0o700);
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

/// What a server that was killed had issued last is in the log. With the database moved away it would have been taken for
/// the log of the backup, or removed.
#[test]
fn a_log_whose_database_was_moved_away_is_left_alone() {
    let desk = desk_with_series();
    desk.ok(&["backup", "copy.db"]);
    let server = desk.serve();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    server.kill();
    let (database, log) = (
        desk.path().join("seriatim-data/seriatim.db"),
        desk.path().join("seriatim-data/seriatim.db-wal"),
    );
    let moved = desk.path().join("moved.db");
    std::fs::rename(&database, &moved).unwrap();
    let before = std::fs::read(&log).unwrap();
    assert!(!before.is_empty());
    for is_empty in [false, true] {
        if is_empty {
            std::fs::write(&database, "").unwrap();
        }
        for verb in [
            &["restore", "copy.db"][..],
            &["init"],
            &["serve", "--http-addr", "127.0.0.1:0"],
        ] {
            let ran = desk.run(verb);
            assert!(ran.stderr.contains("seriatim.db-wal"), "{verb:?}: {ran:?}");
            assert_eq!(ran.code, 2, "{verb:?}: {ran:?}");
        }
        assert!(before == std::fs::read(&log).unwrap());
    }
    std::fs::rename(&moved, &database).unwrap();
    assert_eq!(desk.ok(&["-q", "list", "invoice", "--key", "a"]).lines().count(), 1);
}

/// A file that lost its bytes is no store: one that is made there begins at 1 again.
#[test]
fn an_empty_file_is_no_store() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    std::fs::write(desk.path().join("seriatim-data/seriatim.db"), "").unwrap();
    for verb in [
        &["counters"][..],
        &["backup", "copy.db"],
        &["serve", "--http-addr", "127.0.0.1:0"],
    ] {
        let ran = desk.run_with(verb, &[("SERIATIM_ENV", "production")]);
        assert!(ran.stderr.contains("there is no store"), "{verb:?}: {ran:?}");
        assert_eq!(ran.code, 4, "{verb:?}: {ran:?}");
    }
}

/// A log that cannot be written ended whatever wrote to it: the start, a lane, the one who waits for signals.
#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let desk = desk_with_series();
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let mut serving = desk
        .command(&["serve", "--http-addr", "127.0.0.1:0", "--log", "trace"])
        .stdout(std::process::Stdio::null())
        .stderr(full)
        .spawn()
        .unwrap();
    let started = std::time::Instant::now();
    // Before it has the lock a verb does without it.
    while !desk
        .run(&["issue", "invoice", "--key", "a"])
        .stderr
        .contains("(through its server)")
    {
        assert!(
            started.elapsed() < std::time::Duration::from_secs(20),
            "it does not answer"
        );
    }
    assert_eq!(serving.try_wait().unwrap(), None, "it ended");
    let pid = serving.id().to_string();
    // A terminal that is closed sends this; what is under way ends well.
    assert!(
        std::process::Command::new("kill")
            .args(["-HUP", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(serving.wait().unwrap().code(), Some(0));
    let ran = desk.run(&["-q", "issue", "invoice", "--key", "a"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_restore_never_overwrites() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    desk.ok(&["backup", "copy.db"]);
    check(
        &desk,
        &["backup", "copy.db"],
        expect![[r#"
        error: copy.db is there already; name a new file
        exit 2
    "#]],
    );
    check(
        &desk,
        &["restore", "copy.db"],
        expect![[r#"
        error: ./seriatim-data/seriatim.db is there already and is not overwritten; give an empty --data-dir, or move the old database away, and with it ./seriatim-data/seriatim.db-wal: what was issued last is in that
        exit 2
    "#]],
    );
    desk.write(
        "letters.txt",
        "not a backup but something else that is long enough to be looked at by anybody who wants to, really",
    );
    // A backup that was made on a full disk, and another program's database.
    desk.write("empty.db", "");
    let mut theirs = b"SQLite format 3\0".to_vec();
    theirs.resize(4096, 0);
    std::fs::write(desk.path().join("theirs.db"), theirs).unwrap();
    for (file, what) in [
        ("letters.txt", "it is no store of Seriatim"),
        ("empty.db", "it is empty or was cut off"),
        ("theirs.db", "it is no store of Seriatim"),
    ] {
        let ran = desk.run(&["restore", file, "--data-dir", "elsewhere"]);
        let said = format!("{file} is no backup: {what}; name the file that `seriatim backup` wrote");
        assert!(ran.stderr.contains(&said), "{ran:?}");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    // The place is as empty as before.
    check(
        &desk,
        &["restore", "copy.db", "--data-dir", "elsewhere"],
        expect![[r#"
        store sqlite elsewhere/seriatim.db (restored)
        numbers handed out after this backup are not in it. Before anything is issued, take each counter above the last number that is on a document:
          seriatim advance SERIES --to SEQ --reason 'restored from backup'
        invoice default all	1
        exit 0
    "#]],
    );
    assert_eq!(
        desk.ok(&["issue", "invoice", "--key", "a", "--data-dir", "elsewhere"]),
        "INV-001\n"
    );
    assert_eq!(
        desk.ok(&["issue", "invoice", "--key", "b", "--data-dir", "elsewhere"]),
        "INV-002\n"
    );
}

/// A restored directory has a key of its own. The witness was refused for that, with another file as the way out: on it
/// the server issued again what the witness knew.
#[test]
fn a_restored_backup_is_compared_with_the_witness_whatever_its_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    desk.ok(&["backup", "copy.db"]);
    let witness = ["--witness", "file:witness.json"];
    let server = desk.serve_with(&witness, &[]);
    desk.ok(&["issue", "invoice", "--key", "b"]);
    assert_eq!(server.stop(), Some(0));
    for file in ["copy.db", "witness.json"] {
        let mode = std::fs::metadata(desk.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    desk.ok(&["restore", "copy.db", "--data-dir", "new"]);
    let serve = ["serve", "--http-addr", "127.0.0.1:0"];
    let ran = desk.run(&[&serve[..], &witness, &["--data-dir", "new"]].concat());
    assert!(ran.stderr.contains("found: the witness witness.json of "), "{ran:?}");
    assert!(
        ran.stderr.contains("numbers that were handed out are missing"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 3);
    // The store that lacks nothing, and another's key.
    std::fs::remove_file(desk.path().join("seriatim-data/checkpoint.key")).unwrap();
    let ran = desk.run(&[&serve[..], &witness].concat());
    assert!(ran.stderr.contains("was signed by another key"), "{ran:?}");
    assert_eq!(ran.code, 2);
}

#[test]
fn small_mistakes_are_told_from_what_is_right() {
    let desk = desk_with_series();
    let cases: [(&[&str], i32, &str); 4] = [
        (&["list", "--limit", "0"], 5, "code invalid_limit, field /limit"),
        (
            &["reserve", "invoice", "--key", "a", "--ttl", "400d"],
            5,
            "error: `400d` is not a duration from 1s to 366d",
        ),
        (
            &["key", "create", "--label", " ", "--scope", "issue"],
            5,
            "error: a label says what the key is for",
        ),
        (
            &["pg", "print", "--from", "999"],
            2,
            "error: --from is 999, and this version knows tables up to ",
        ),
    ];
    for (arguments, code, said) in cases {
        let ran = desk.run(arguments);
        assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
        assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{arguments:?}");
    }
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let desk = desk_with_series();
    let path = desk.path().join("seriatim-data/seriatim.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // Where SQLite keeps `user_version`, the number of migrations taken.
    bytes[60..64].copy_from_slice(&999u32.to_be_bytes());
    std::fs::write(&path, &bytes).unwrap();
    check(
        &desk,
        &["issue", "invoice", "--key", "a"],
        expect![[r#"
            error: cannot open ./seriatim-data/seriatim.db: it was written by a newer version 999; this one knows 3: use the newer Seriatim
            exit 1
        "#]],
    );
    check(
        &desk,
        &["serve"],
        expect![[r#"
            error: cannot open ./seriatim-data/seriatim.db: it was written by a newer version 999; this one knows 3: use the newer Seriatim
            exit 1
        "#]],
    );
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_full_disk_is_4_and_says_what_to_do() {
    let Some(disk) = Disk::mount("8m") else { return };
    let desk = Desk::new();
    let data_dir = disk.path().join("data").display().to_string();
    let run = |arguments: &[&str]| desk.run(&[arguments, &["--data-dir", &data_dir]].concat());
    run(&["series", "create", "invoice", "--format", "INV-{seq:3}"]).ok();
    disk.fill(0);
    let full = run(&["issue", "invoice", "--key", "a"]).seen();
    let full = full.replace(&data_dir, "DATA");
    expect![[r#"
        error: cannot write the lock DATA/seriatim.lock: disk is full; free space and retry
        exit 4
    "#]]
    .assert_eq(&full);
    disk.empty();
    assert_eq!(run(&["issue", "invoice", "--key", "a"]).ok(), "INV-001\n");

    // There is space for the lock and the log's index, and then no more.
    disk.fill(40 * 1024);
    let full = run(&["issue", "invoice", "--key", "c"]).seen();
    let full = full.replace(&data_dir, "DATA");
    expect![[r#"
        store sqlite DATA/seriatim.db (in process)
        error: cannot write to DATA/seriatim.db: disk is full; free space and retry
          code store_unavailable; nothing happened; try again in a moment
        exit 4
    "#]]
    .assert_eq(&full);
    disk.empty();
    disk.fill(8 * 1024);
    let doctor = run(&["doctor"]);
    assert!(doctor.stdout.contains("NOT OK\tdisk\tcannot write to "), "{doctor:?}");
    assert!(
        doctor.stderr.contains("disk is full; free space and retry"),
        "{doctor:?}"
    );
    disk.empty();

    // Beside a server: what is there can still be read, and issuing goes on by itself when there is space again.
    let server = desk.serve_with(&["--data-dir", &data_dir, "--log-format", "json"], &[]);
    disk.fill(0);
    let full = run(&["issue", "invoice", "--key", "b"]).seen();
    let full = full.replace(&data_dir, "DATA");
    expect![[r#"
        store sqlite DATA/seriatim.db (through its server)
        error: cannot write to DATA/seriatim.db: disk is full; free space and retry
          code store_unavailable; nothing happened; try again in a moment
        exit 4
    "#]]
    .assert_eq(&full);
    assert!(run(&["list"]).ok().contains("INV-001"));
    disk.empty();
    assert_eq!(run(&["issue", "invoice", "--key", "b"]).ok(), "INV-002\n");
    let logged = server.says("store unavailable; nothing happened");
    // Twice in one object, and who reads it keeps one of them.
    assert_eq!(logged.matches("\"message\":").count(), 1, "{logged}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_store_that_contradicts_itself_is_1() {
    let desk = desk_with_series();
    desk.ok(&["issue", "invoice", "--key", "a"]);
    let path = desk.path().join("seriatim-data/seriatim.db");
    let mut bytes = std::fs::read(&path).unwrap();
    // Everything but the first page, with the marks and the schema.
    bytes[8 * 2_048..].fill(0);
    std::fs::write(&path, &bytes).unwrap();
    let ran = desk.run(&["issue", "invoice", "--key", "b"]).seen();
    assert!(
        ran.contains("run `seriatim verify`") && ran.ends_with("exit 1\n"),
        "{ran}"
    );
}

#[test]
fn a_server_that_says_500_is_1() {
    use std::io::{Read as _, Write as _};
    let desk = Desk::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4_096];
        assert!(stream.read(&mut head).unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .unwrap();
    });
    let ran = desk.run_with(
        &["issue", "invoice", "--key", "a", "--server", &address],
        &[("SERIATIM_API_KEY", "x")],
    );
    expect![[r#"
        store SERVER
        error: the server answered 500 without saying why
          status 500; it may have happened; try again with the same --key to get the same answer
        exit 1
    "#]]
    .assert_eq(&ran.seen().replace(&address, "SERVER"));
    server.join().unwrap();
}
