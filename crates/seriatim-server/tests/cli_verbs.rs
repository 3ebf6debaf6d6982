//! What the verbs do: the first five minutes, and the same answers with a server and without one.

mod cli_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use cli_support::{Desk, timeless};
use expect_test::expect;

#[test]
fn the_first_five_minutes() {
    let desk = Desk::new();
    let server = desk.serve();
    let key = server.says("Admin key").split_whitespace().last().unwrap().to_string();
    assert!(key.starts_with("srt_"));

    let create = [
        "series",
        "create",
        "invoice",
        "--format",
        "INV-{fy}-{seq:5}",
        "--reset",
        "fiscal-year:04-01",
    ];
    let window = ["--time-zone", "Asia/Kolkata", "--date-window", "-4000d..+4000d"];
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (through its server)
        next NEXT
        invoice	version 1	created
        exit 0
    "#]]
    .assert_eq(
        &desk
            .run(&[&create[..], &window].concat())
            .seen()
            .replace(&next_of(&desk), "NEXT"),
    );

    let issue = ["issue", "invoice", "--key", "pay_ABC123", "--date", "2025-11-20"];
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (through its server)
        INV-2526-00001
        exit 0
    "#]]
    .assert_eq(&desk.run(&issue).seen());
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (through its server)
        INV-2526-00001 was given for this key before
        INV-2526-00001
        exit 0
    "#]]
    .assert_eq(&desk.run(&issue).seen());

    // The same over the network, with the key.
    let url = server.url.clone();
    let remote = [
        "next",
        "invoice",
        "--key",
        "pay_XYZ",
        "--date",
        "2025-11-20",
        "--server",
        &url,
    ];
    let ran = desk.run_with(&remote, &[("SERIATIM_API_KEY", &key)]);
    expect![[r#"
        store URL
        INV-2526-00002
        exit 0
    "#]]
    .assert_eq(&ran.seen().replace(&url, "URL"));
    let without = desk.run(&remote);
    expect![[r#"
        store URL
        error: this needs an API key; send it as `Authorization: Bearer srt_…`
          code api_key_required; nothing was written; give a key in SERIATIM_API_KEY or SERIATIM_API_KEY_FILE
        exit 5
    "#]]
    .assert_eq(&without.seen().replace(&url, "URL"));

    assert_eq!(desk.run(&["healthcheck", "--server", &url]).code, 0);
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (through its server)
        nothing found: walked 1 of 1 counters, 4 events, 2 entries
        exit 0
    "#]]
    .assert_eq(&desk.run(&["verify"]).seen());
    assert_eq!(server.stop(), Some(0));

    // The key is shown once; the store is the same.
    let again = desk.serve();
    assert!(!again.said().contains("srt_"), "{}", again.said());
    assert_eq!(desk.ok(&issue), "INV-2526-00001\n");
}

fn next_of(desk: &Desk) -> String {
    desk.ok(&["series", "preview", "invoice"]).trim().to_string()
}

/// Every verb that reads or writes numbers, in an order in which each has something to do.
const EVERY_VERB: &[&str] = &[
    "series create invoice --format INV-{fy}-{seq:5} --reset fiscal-year:04-01 --tz Asia/Kolkata --date-window -4000d..+4000d",
    "issue invoice --key a --date 2025-11-20 --document document.json --reference order-42",
    "issue invoice --key a --date 2025-11-20",
    "issue invoice --key a --date 2025-11-21 -o json",
    "next invoice --key b --date 2025-11-20 --count 3",
    "issue invoice --key c --date 2025-11-20 --tenant acme",
    "series preview invoice --date 2025-11-20 --count 2",
    "reserve invoice --key r --date 2025-11-20 --ttl 1h",
    "confirm invoice INV-2526-00005 --document document.json",
    "reserve invoice --key s --date 2025-11-20 --ttl 1h",
    "release invoice INV-2526-00006 --reason left",
    "void invoice INV-2526-00002 --reason shared",
    "issue invoice --key d --date 2025-11-20",
    "void invoice INV-2526-00007 --reason-code spoiled --reason torn",
    "issue invoice --key d --date 2025-11-20",
    "series create slip --format S{seq:3}",
    "issue slip --key e",
    "void slip S001 --reason-code spoiled --reason torn --reissue",
    "issue slip --key e",
    "show slip S001",
    "adopt invoice INV-2526-00020 --date 2025-12-01 --key x",
    "redact invoice INV-2526-00001 --reason asked",
    "redact invoice INV-2526-00001 --reason asked",
    "show invoice INV-2526-00001",
    "show invoice INV-2526-00005 -o json",
    "show invoice INV-2526-00001 --tenant acme",
    "list",
    "list invoice --state voided",
    "list invoice --key d",
    "list --limit 2 -o json",
    "counters",
    "counters invoice -o json",
    "gaps",
    "gaps -o json",
    "summary --from 2025-04-01 --to 2026-03-31",
    "advance invoice --to 30 --period 2025-26 --reason paper",
    "checkpoint",
    "verify",
    "verify -o json",
    "period close invoice 2025-26 --reason audited",
    "issue invoice --key late --date 2025-11-20",
    "period list",
    "period close invoice 2024-25 --reason audited",
    "period reopen invoice 2025-26 --reason forgotten",
    "period list -o json",
    "period show invoice 2025-26",
    "period show invoice 2025-26 -o json",
    "period show invoice 2025-26 --tenant acm",
    "series apply series.toml --dry-run",
    "series apply series.toml",
    "series apply series.toml",
    "series list",
    "series show order",
    "series show order -o json",
    "series create order --format {seq}",
    "series create order --format {branch}-{seq} --param branch=digits:2 --max-length 21 --if-version 2",
    "series create order --format {branch}-{seq} --param branch=digits:2 --max-length 21 --if-version 1",
    "issue order --key o1 --param branch=7",
    "series create trial --format T{seq} --test",
    "issue trial --key t",
    "series wipe trial --yes",
    "list trial",
    "gate claim receipt pay_1 --holder worker",
    "export invoice",
    "export",
    "inspect old.csv",
    "inspect old.csv -o json",
    "series create old --format OLD-{seq:3}",
    "import old --from-csv old.csv --dry-run",
    "import old --from-csv old.csv",
    "import old --from-csv old.csv -o json",
    "compare old --from-csv old.csv",
    "compare old --from-csv old.csv -o json",
    "key create --label shop --scope issue,read --tenant acme",
    "key revoke nobody",
    "key revoke root",
    "doctor --quiet",
];

fn play(desk: &Desk) -> Vec<String> {
    desk.write("document.json", "{\"total\": 11800.00, \"currency\": \"INR\"}\n");
    let series = "[[series]]\nname = \"order\"\nformat = \"{branch}-{seq}\"\nmax_length = 20\n\
                  [series.params]\nbranch = { digits = 2 }\n";
    desk.write("series.toml", series);
    let old = "number,date,key\nOLD-002,2025-01-02,b\nOLD-004,2025-01-04,d\nOLD-002,2025-01-05,e\n";
    desk.write("old.csv", old);
    EVERY_VERB.iter().map(|line| play_line(desk, line)).collect()
}

fn play_line(desk: &Desk, line: &str) -> String {
    let ran = desk.run(&line.split(' ').collect::<Vec<_>>());
    // Whether the store is reached through its server is the one thing that may differ; the doctor looks at that.
    let stdout = if line.starts_with("doctor") {
        String::new()
    } else {
        ran.stdout
    };
    // What comes next depends on the day.
    let stderr: String = ran
        .stderr
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("next "))
        .collect();
    let stderr = stderr
        .replace("(created)", "(in process)")
        .replace("(through its server)", "(in process)");
    let verification = |text: String| match text.split_once("\"ver_") {
        Some((before, after)) => format!("{before}\"ver_{}", after.split_once('"').map_or("", |(_, rest)| rest)),
        None => text,
    };
    format!(
        "$ seriatim {line}\n{}{}exit {}\n",
        timeless(&stderr),
        timeless(&verification(stdout)),
        ran.code
    )
}

#[test]
fn every_verb_answers_the_same_beside_a_server_and_without_one() {
    let key = [("SERIATIM_ADMIN_KEY", "srt_root_0123456789abcdefghij")];
    let alone = Desk::new();
    assert_eq!(alone.serve_with(&[], &key).stop(), Some(0));
    let without = play(&alone);
    let served = Desk::new();
    let server = served.serve_with(&[], &key);
    let beside = play(&served);
    for (without, beside) in without.iter().zip(&beside) {
        assert_eq!(without, beside);
    }
    assert_eq!(server.stop(), Some(0));
    expect_test::expect_file!["verbs.txt"].assert_eq(&without.join("\n"));
}

#[test]
fn without_a_key_one_is_made_and_said() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}"]);
    let ran = desk.run(&["issue", "order"]);
    let key = ran
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("key "))
        .unwrap()
        .to_string();
    assert_eq!(key.len(), 36, "{ran:?}");
    assert_eq!(ran.ok(), "1\n");
    assert_eq!(desk.ok(&["issue", "order", "--key", &key]), "1\n");
    // With --quiet as well: else a lost answer could not be asked for again.
    let ran = desk.run(&["issue", "order", "--quiet"]);
    let key = ran.stderr.strip_prefix("key ").unwrap().trim_end().to_string();
    assert_eq!((key.len(), ran.ok().as_str()), (36, "2\n"));
    assert_eq!(desk.ok(&["issue", "order", "--key", &key]), "2\n");
}

#[test]
fn a_document_is_stored_as_it_was_received() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}"]);
    let document = "{\"z\": 1.10, \"a\":  [1e3]}";
    let issued = desk.run_with_stdin(
        &["issue", "order", "--key", "a", "--document", "-", "-o", "json"],
        document,
    );
    assert!(issued.ok().contains(document));
    assert!(desk.ok(&["list", "-o", "json"]).contains(document));
}

/// The SQL functions keep a document with `1e400`. Each verb that met one failed, also where it had done its work.
#[test]
fn a_number_in_a_document_may_be_larger_than_any_of_ours() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    desk.write("document.json", "{\"sum\": 1.50e200,\n \"of\": \"a b\"}");
    for key in ["a", "b"] {
        desk.ok(&["issue", "invoice", "--key", key, "--document", "document.json"]);
    }
    let gate = desk.ok(&["gate", "claim", "mail", "pay_1"]);
    let gate = gate.split('\t').next().unwrap();
    let complete = ["gate", "complete", gate, "--token", "1", "--result", "[1.50e200]"];
    desk.ok(&complete);
    // As such a document would have come into the database.
    let path = desk.path().join("seriatim-data/seriatim.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - 8)
        .filter(|at| bytes[*at..].starts_with(b"1.50e200"))
        .collect();
    assert!(places.len() >= 3, "{places:?}");
    places
        .iter()
        .for_each(|at| bytes[*at..at + 8].copy_from_slice(b"1.50e400"));
    std::fs::write(&path, bytes).unwrap();

    let raw = "{\"sum\": 1.50e400,\n \"of\": \"a b\"}";
    let show = ["show", "invoice", "INV-001"];
    assert!(desk.ok(&show).contains("document\t{\"sum\":1.50e400,\"of\":\"a b\"}\n"));
    let text = serde_json::to_string(raw).unwrap();
    for (arguments, expected) in [
        (&["show", "invoice", "INV-001", "-o", "json"][..], raw),
        (&["list", "-o", "json"], &raw.replace('\n', " ")),
        (&["export"], &text),
    ] {
        assert!(desk.ok(arguments).contains(expected), "{arguments:?}");
    }
    assert!(desk.ok(&["list"]).contains("INV-001\tissued"));
    assert_eq!(desk.ok(&["issue", "invoice", "--key", "a"]), "INV-001\n");
    desk.write("theirs.csv", "number\nINV-001\nINV-002\n");
    assert_eq!(desk.run(&["compare", "invoice", "--from-csv", "theirs.csv"]).code, 0);
    let void = ["void", "invoice", "INV-001", "--reason", "torn"];
    assert_eq!(desk.ok(&void), "INV-001\n");
    let again = desk.run(&void);
    assert!(again.stderr.contains("INV-001 is void already (torn)"), "{again:?}");
    assert!(
        desk.ok(&["gate", "claim", "mail", "pay_1"])
            .ends_with("done\t[1.50e400]\n")
    );
    assert!(desk.ok(&["gate", "show", gate]).contains("result\t[1.50e400]\n"));
}

/// Whoever writes documents wrote lines of an auditor's file: a document and a result came with their line feeds.
#[test]
fn every_line_of_an_export_is_an_object_and_of_what_was_received_the_hash_can_be_computed() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq}"]);
    let document = "[\n{\"entry\":{\"id\":\"ent_x_9\",\"number\":\"INV-99\",\"seq\":99}}\r\n]";
    desk.write("document.json", document);
    desk.ok(&["issue", "invoice", "--key", "a", "--document", "document.json"]);
    let gate = desk.ok(&["gate", "claim", "mail", "pay_1"]);
    let gate = gate.split('\t').next().unwrap();
    let result = "{\n\"gate\": 1}";
    desk.ok(&["gate", "complete", gate, "--token", "1", "--result", result]);
    let lines = |arguments: &[&str]| -> Vec<serde_json::Value> {
        let written = desk.ok(arguments);
        let lines = written
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        lines.collect()
    };
    let exported = lines(&["export"]);
    let of = |name: &str| -> Vec<&serde_json::Value> { exported.iter().filter_map(|line| line.get(name)).collect() };
    let (entries, gates) = (of("entry"), of("gate"));
    let ([entry], [done]) = (&entries[..], &gates[..]) else {
        panic!("{exported:?}");
    };
    assert_eq!(entry["document_text"], document);
    assert_eq!(entry["document_sha256"], sha256(document));
    assert_eq!(
        (&done["result_text"], &done["task_text"]),
        (&result.into(), &serde_json::Value::Null)
    );
    let completed = exported
        .iter()
        .find(|line| line["event"]["kind"] == "completed")
        .unwrap();
    assert_eq!(completed["event"]["document_sha256"], sha256(result));
    let [listed] = &lines(&["list", "-o", "json"])[..] else {
        panic!("one line for one entry");
    };
    assert_eq!(
        listed["document"],
        serde_json::from_str::<serde_json::Value>(document).unwrap()
    );
}

fn sha256(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A counter of which nothing is issued was in the file by its id alone.
#[test]
fn an_export_says_what_each_chain_of_a_counter_stands_on() {
    let desk = Desk::new();
    let format = ["--format", "{branch}-{seq}", "--param", "branch=digits:2"];
    desk.ok(&[&["series", "create", "order", "--partition-by", "branch"], &format[..]].concat());
    desk.ok(&[
        "advance", "order", "--param", "branch=7", "--to", "3", "--reason", "paper",
    ]);
    let exported = desk.ok(&["export", "order"]);
    let lines: Vec<serde_json::Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [counter, event] = lines.as_slice() else {
        panic!("{exported}");
    };
    let id = &event["chain"];
    let expected = serde_json::json!({
        "id": id, "series": "order", "tenant": "default", "partition": {"branch": "07"}, "period": "all",
    });
    assert_eq!(counter["counter"], expected);
    assert_eq!(event["event"]["kind"], "missing");
}

#[test]
fn quiet_leaves_only_data() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}"]);
    let ran = desk.run(&["issue", "order", "--key", "a", "-q"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("1\n", ""));
    let issue = ["issue", "order", "--key", "a"];
    assert_eq!(desk.run_with(&issue, &[("SERIATIM_QUIET", "true")]), ran);
    desk.write("seriatim.toml", "quiet = true\n");
    assert_eq!(desk.run(&issue), ran);
}

/// A program got two rows and no sign of more, a bare path, nothing at all, or numbers as texts.
#[test]
fn as_json_every_verb_says_what_a_program_needs() {
    let desk = Desk::new();
    let json = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&desk.ok(&[arguments, &["-o", "json", "-q"]].concat())).unwrap()
    };
    let store = "sqlite ./seriatim-data/seriatim.db";
    assert_eq!(json(&["init"]), serde_json::json!({ "store": store, "created": true }));
    assert_eq!(json(&["init"])["created"], false);
    desk.ok(&["series", "create", "order", "--format", "{seq}", "-q"]);
    desk.ok(&["issue", "order", "--count", "5", "--key", "a", "-q"]);

    let list = ["list", "-n", "3", "-o", "json", "-q"];
    let first = desk.run(&list);
    assert_eq!(first.stdout.lines().count(), 3);
    let more: serde_json::Value = serde_json::from_str(&first.stderr).unwrap();
    let rest = desk.run(&[&list[..], &["--cursor", more["next_cursor"].as_str().unwrap()]].concat());
    assert_eq!((rest.stdout.lines().count(), rest.stderr.as_str()), (2, ""));

    assert_eq!(json(&["backup", "copy.db"])["file"], "copy.db");
    let restored = desk.run(&["restore", "copy.db", "--data-dir", "new", "-o", "json", "-q"]);
    let restored: serde_json::Value = serde_json::from_str(&restored.ok()).unwrap();
    assert_eq!(restored["last"], 5);
    let key = json(&["key", "create", "--label", "shop", "--scope", "issue,read"]);
    let id = key["id"].as_str().unwrap();
    assert!(desk.ok(&["key", "list", "-q"]).contains("\tshop\tissue,read\t\t\t"));
    assert_eq!(
        json(&["key", "revoke", id]),
        serde_json::json!({ "id": id, "revoked": true })
    );
    let server = desk.serve();
    assert_eq!(json(&["healthcheck", "--server", &server.url])["ready"], true);
    assert_eq!(server.stop(), Some(0));
}

/// A year was closed for the tenant `default`, which had no number in it, and looked closed while it went on for others.
/// And a list forgot that a period had ever been closed, once it was open again, and never said for whom it was.
#[test]
fn a_closure_says_whose_it_is_what_was_in_it_and_for_whom_it_was() {
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&[
        "series",
        "create",
        "order",
        "--format",
        "{year}-{seq}",
        "--reset",
        "yearly",
        "-q",
    ]);
    let number = desk.ok(&["issue", "order", "--key", "a", "--tenant", "acme", "-q"]);
    let year = &number[..4];
    let close = ["period", "close", "order", year, "--reason", "year end", "-q"];
    let empty = desk.run(&close);
    assert!(
        empty.stderr.contains("tenant default has no number in period")
            && empty.stderr.contains(&format!("--period {year}` shows")),
        "{empty:?}"
    );
    // For somebody, over HTTP.
    let key = server.says("Admin key").split_whitespace().last().unwrap().to_string();
    let body = format!(r#"{{"series":"order","tenant":"acme","period":"{year}","reason":"year end"}}"#);
    let address = server.url.strip_prefix("http://").unwrap();
    let request = format!(
        "POST /v1/periods/close HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
         Seriatim-Actor: Ann (finance)\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    desk.ok(&[
        "period", "reopen", "order", year, "--tenant", "acme", "--reason", "late", "-q",
    ]);

    let show = ["period", "show", "order", year, "-q", "--tenant"];
    let shown = desk.ok(&[&show[..], &["acme", "-o", "json"]].concat());
    let events: Vec<serde_json::Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [closed, reopened] = events.as_slice() else {
        panic!("{shown}");
    };
    assert_eq!(
        (&closed["kind"], &closed["on_behalf_of"], &closed["reason"]),
        (&"closed".into(), &"Ann (finance)".into(), &"year end".into())
    );
    let actor = closed["actor"].as_str().unwrap();
    assert!(actor.starts_with("key:"), "{actor}");
    let counter = &closed["counters"][0];
    assert_eq!(
        (&counter["last_seq"], &counter["counts"]["issued"]),
        (&1.into(), &1.into())
    );
    assert_eq!(counter["head"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&reopened["kind"], &reopened["reason"], reopened.get("counters")),
        (&"reopened".into(), &"late".into(), None)
    );
    let plain = desk.ok(&[&show[..], &["acme"]].concat());
    assert!(plain.contains("\tAnn (finance)\tyear end\n"), "{plain}");
    // Nothing of another tenant, and nothing of one that is none.
    assert_eq!(desk.ok(&[&show[..], &["default"]].concat()).lines().count(), 1);
    assert_eq!(desk.run(&[&show[..], &["acm"]].concat()).code, 5);
    assert_eq!(server.stop(), Some(0));
}

/// Half a list looked like a whole one: with `--quiet` nobody was told of the rest.
#[test]
fn a_list_that_is_cut_says_so_even_if_it_is_quiet() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}", "-q"]);
    desk.ok(&["issue", "order", "--count", "4", "--key", "a", "-q"]);
    for subject in ["x", "y"] {
        desk.ok(&["gate", "claim", "mail", subject, "--ttl", "1m", "--holder", "w", "-q"]);
    }
    for (list, said) in [
        (&["list", "-n", "3"][..], "there is more; go on with --cursor "),
        (
            &["list", "order", "--key", "a", "-n", "3"],
            "there is more; go on with --cursor ",
        ),
        (
            &["gate", "list", "--limit", "1"],
            "there are more; go on with --cursor ",
        ),
    ] {
        let ran = desk.run(&[list, &["-q"]].concat());
        let cursor = ran.stderr.strip_prefix(said).expect("a cut list says so").trim();
        let rest = desk.run(&[list, &["-q", "--cursor", cursor]].concat());
        assert_eq!((rest.stdout.lines().count(), rest.stderr.as_str()), (1, ""), "{list:?}");
    }
}

/// A key of another tenant was not found, and nothing said that only one tenant had been asked.
#[test]
fn a_key_that_is_not_found_says_whose_was_looked_for() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}", "-q"]);
    desk.ok(&["issue", "order", "--key", "a", "--tenant", "acme", "-q"]);
    let list = ["list", "order", "--key", "a", "-q"];
    let ran = desk.run(&list);
    expect![[r#"
        warning: a key is one tenant's, and only `default` was looked at; say whose with --tenant
        exit 0
    "#]]
    .assert_eq(&ran.seen());
    let theirs = desk.run(&[&list[..], &["--tenant", "acme"]].concat());
    assert!(
        theirs.stdout.starts_with("1\tissued\t") && theirs.stderr.is_empty(),
        "{theirs:?}"
    );
    let none = desk.run(&[&list[..], &["--tenant", "globex"]].concat());
    assert_eq!(none.seen(), "exit 0\n");
}

#[test]
fn verbs_that_collide_wait_for_each_other() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "order", "--format", "{seq}"]);
    let mut numbers: Vec<u32> = std::thread::scope(|scope| {
        let verbs: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| desk.ok(&["issue", "order", "-q"])))
            .collect();
        verbs
            .into_iter()
            .map(|verb| verb.join().unwrap().trim().parse().unwrap())
            .collect()
    });
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
}

#[test]
fn a_backup_is_taken_beside_a_server_and_restored_elsewhere() {
    let desk = Desk::new();
    let server = desk.serve();
    desk.ok(&["series", "create", "order", "--format", "{seq}"]);
    desk.ok(&["issue", "order", "--key", "a"]);
    assert_eq!(desk.ok(&["backup", "copy.db"]), "copy.db\n");
    assert_eq!(desk.ok(&["issue", "order", "--key", "b"]), "2\n");
    assert_eq!(server.stop(), Some(0));
    desk.ok(&["restore", "copy.db", "--data-dir", "new"]);
    desk.ok(&[
        "advance",
        "order",
        "--to",
        "2",
        "--reason",
        "restored",
        "--data-dir",
        "new",
    ]);
    assert_eq!(desk.ok(&["issue", "order", "--key", "c", "--data-dir", "new"]), "3\n");
    desk.ok(&["verify", "--data-dir", "new"]);
}

/// The lock named the socket from the server's own directory, and a verb looked for it from its own: with a server in
/// both, the number came from the other store.
#[test]
fn a_verb_asks_the_server_of_the_store_it_names_from_wherever_it_runs() {
    let (one, other, third) = (Desk::new(), Desk::new(), Desk::new());
    for desk in [&one, &other] {
        desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    }
    let _servers = [one.serve(), other.serve()];
    let named = one.path().join("seriatim-data").display().to_string();
    for (desk, key) in [(&other, "a"), (&third, "b")] {
        let ran = desk.run(&["--data-dir", &named, "issue", "invoice", "--key", key]);
        assert!(ran.stderr.contains("(through its server)"), "{ran:?}");
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(one.ok(&["-q", "list", "invoice"]).lines().count(), 2);
    assert_eq!(other.ok(&["-q", "list", "invoice"]), "");
    // By a second name too, as where it is mounted in a second place.
    let second = one.path().join("second");
    std::os::unix::fs::symlink(&named, &second).unwrap();
    let second = second.display().to_string();
    other.ok(&["--data-dir", &second, "issue", "invoice", "--key", "c"]);
    // Its server opens by the name it was given: when that leads elsewhere it says so, and nobody else is asked.
    let moved = one.path().join("moved");
    std::fs::rename(&named, &moved).unwrap();
    let moved = moved.display().to_string();
    let ran = third.run(&["--data-dir", &moved, "issue", "invoice", "--key", "d"]);
    assert!(ran.stderr.contains("moved, removed or replaced"), "{ran:?}");
    assert_eq!(ran.code, 4, "{ran:?}");
    std::fs::rename(&moved, &named).unwrap();
    let listed = third.ok(&["-q", "--data-dir", &named, "list", "invoice"]);
    assert_eq!(listed.lines().count(), 3);
}

#[test]
fn databases_of_one_directory_have_servers_of_their_own() {
    let desk = Desk::new();
    let stores = ["sqlite:orders.2025", "sqlite:orders.2026"];
    for store in stores {
        desk.ok(&["--store", store, "series", "create", "order", "--format", "O-{seq}"]);
    }
    let _server = desk.serve_with(&["--store", stores[0]], &[]);
    let ran = desk.run(&["--store", stores[1], "issue", "order", "--key", "a"]);
    assert!(ran.stderr.contains("store sqlite orders.2026 (in process)"), "{ran:?}");
    let _second = desk.serve_with(&["--store", stores[1]], &[]);
    for store in stores {
        let ran = desk.run(&["--store", store, "issue", "order", "--key", "b"]);
        assert!(ran.stderr.contains("(through its server)"), "{ran:?}");
    }
    assert_eq!(desk.ok(&["-q", "--store", stores[0], "list"]).lines().count(), 1);
    assert_eq!(desk.ok(&["-q", "--store", stores[1], "list"]).lines().count(), 2);
}

/// Whoever restores a database by moving a file into its place must not get numbers from the one that is gone.
#[test]
fn a_server_that_holds_another_file_is_not_asked() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    let data = desk.path().join("seriatim-data");
    std::fs::copy(data.join("seriatim.db"), data.join("copy.db")).unwrap();
    let _server = desk.serve();
    std::fs::rename(data.join("copy.db"), data.join("seriatim.db")).unwrap();
    let ran = desk.run(&["issue", "invoice", "--key", "a"]);
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(ran.stderr.contains("does not hold this database"), "{ran:?}");
}

#[test]
fn a_link_to_a_database_is_the_database() {
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    std::os::unix::fs::symlink("seriatim-data/seriatim.db", desk.path().join("link.db")).unwrap();
    let link = ["--store", "sqlite:link.db", "issue", "invoice", "--key"];
    assert_eq!(desk.ok(&[&link[..], &["a"]].concat()), "INV-001\n");
    let _server = desk.serve();
    let ran = desk.run(&[&link[..], &["b"]].concat());
    assert!(ran.stderr.contains("(through its server)"), "{ran:?}");
}

#[test]
fn a_directory_is_no_database() {
    let desk = Desk::new();
    std::fs::create_dir(desk.path().join("folder")).unwrap();
    let ran = desk.run(&["--store", "sqlite:folder", "list"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(!desk.path().join("folder.lock").exists());
}

#[test]
fn a_long_path_still_has_a_socket() {
    let desk = Desk::new();
    let deep = format!("{}/{}", "a".repeat(60), "b".repeat(60));
    let server = desk.serve_with(&["--data-dir", &deep], &[]);
    let ran = desk.run(&["series", "create", "order", "--format", "{seq}", "--data-dir", &deep]);
    assert!(ran.stderr.contains("(through its server)"), "{ran:?}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_given_admin_key_is_registered_and_not_shown() {
    let desk = Desk::new();
    desk.ok(&["init"]);
    desk.write("admin.key", "srt_root_0123456789abcdefghij\n");
    let production = [("SERIATIM_ENV", "production"), ("SERIATIM_ADMIN_KEY_FILE", "admin.key")];
    let server = desk.serve_with(&["--shutdown-delay", "0s"], &production);
    assert!(!server.said().contains("0123456789abcdefghij"), "{}", server.said());
    let list = ["key", "list", "--server", &server.url];
    let ran = desk.run_with(&list, &[("SERIATIM_API_KEY_FILE", "admin.key")]);
    assert!(ran.stdout.starts_with("root\t"), "{ran:?}");
    assert_eq!(server.stop(), Some(0));
}

/// The server started with a key that opened nothing, or not everything, and said nothing of it.
#[test]
fn an_admin_key_that_would_make_nobody_the_admin_is_refused() {
    let desk = Desk::new();
    desk.ok(&["init"]);
    let mut made = Vec::new();
    for flags in [
        &["--scope", "admin"][..],
        &["--scope", "read"],
        &["--scope", "admin", "--test"],
    ] {
        made.push(
            desk.ok(&[&["key", "create", "--label", "x"], flags].concat())
                .trim()
                .to_string(),
        );
    }
    let [revoked, reader, test] = &made[..] else {
        panic!("{made:?}")
    };
    let secret = "0123456789abcdefghij";
    desk.ok(&["key", "revoke", revoked.split('_').nth(1).unwrap()]);
    let reader_id = reader.split('_').nth(1).unwrap();
    let cases = [
        ("hunter2", "is not an API key"),
        (
            &format!("srt_root_{}", &secret[1..]),
            "has a secret of 19 characters, which can be guessed; give 20 at least",
        ),
        (
            &format!("srt_test_root_{secret}"),
            "is a test key, which reaches test series only",
        ),
        (test, "is a test key, which reaches test series only"),
        (
            &test.replace("srt_test_", "srt_"),
            "of a test key; give a key with another id",
        ),
        (
            revoked,
            "opens nothing any more; give one with another id, or leave it out",
        ),
        (
            reader,
            "which has no scope `admin` or is bound to tenants or series; give an admin's key",
        ),
        (
            &format!("srt_{reader_id}_{secret}"),
            "of a key with another secret; give the secret of that key",
        ),
    ];
    for (key, what) in cases {
        desk.write("admin.key", key);
        let ran = desk.run_with(
            &["serve", "--http-addr", "127.0.0.1:0"],
            &[("SERIATIM_ADMIN_KEY_FILE", "admin.key")],
        );
        assert!(ran.stderr.contains("error: admin_key "), "{ran:?}");
        assert!(ran.stderr.contains(what), "{ran:?}");
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(!ran.stderr.contains(key.rsplit('_').next().unwrap()), "{ran:?}");
    }
}

#[test]
fn an_admin_key_that_everybody_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();
    desk.write("admin.key", "srt_root_0123456789abcdefghij\n");
    for (mode, warns) in [(0o640, false), (0o644, true)] {
        let path = desk.path().join("admin.key");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let server = desk.serve_with(&[], &[("SERIATIM_ADMIN_KEY_FILE", "admin.key")]);
        server.says("listening");
        let warned = server
            .said()
            .contains("every user of this machine can read the admin key in admin.key");
        assert_eq!(warned, warns, "{}", server.said());
        assert_eq!(server.stop(), Some(0));
    }
}

/// The greeting with the admin key in it stood between the lines, in plain text, and was collected with them.
#[test]
fn a_log_of_json_has_neither_greeting_nor_key() {
    let desk = Desk::new();
    let server = desk.serve_with(&["--log-format", "json"], &[]);
    let first = server.says("there is no API key; make one with `seriatim key create`");
    assert!(first.starts_with('{'), "{first}");
    let issued = desk.run(&["key", "create", "--label", "admin", "--scope", "admin"]);
    assert!(issued.stdout.starts_with("srt_"), "{issued:?}");
    let (url, path) = (server.url.clone(), "seriatim-data/seriatim.db");
    let listening = server.says("\"message\":\"listening\"");
    for said in [url.as_str(), path, "\"created\":true"] {
        assert!(listening.contains(said), "{said}: {listening}");
    }
    let said = server.said();
    assert_eq!(server.stop(), Some(0));
    for line in said.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
    }
    assert!(!said.contains("srt_"), "{said}");
}

#[test]
fn the_settings_in_force_are_shown_with_their_source_and_without_secrets() {
    let desk = Desk::new();
    desk.write("seriatim.toml", "queue_max = 500\napi_key = \"srt_a_hush\"\n");
    let ran = desk.run_with(
        &["config", "show", "--output", "plain"],
        &[
            ("SERIATIM_DEADLINE", "1s"),
            ("SERIATIM_QUIET", "true"),
            ("PORT", "9000"),
        ],
    );
    expect![[r#"
        data_dir	./seriatim-data	default
        store		not set
        server		not set
        api_key	(hidden)	seriatim.toml:2:1
        output	plain	flag
        quiet	true	SERIATIM_QUIET
        env	development	default
        accept		not set
        receipts_dir	./seriatim-data/receipts	default
        receipt_template	the one that comes with the program	default
        workers	4	default
        lease	30s	default
        attempts	20	default
        witness		not set
        witness_every	10s	default
        http_addr	127.0.0.1:9000	PORT
        admin_key		not set
        deadline	1s	SERIATIM_DEADLINE
        queue_max	500	seriatim.toml:1:1
        batch_max	2000	default
        shutdown_delay	0s	default
        drain	20s	default
        log	info	default
        log_format	text on a terminal, else json	default
        exit 0
    "#]]
    .assert_eq(&ran.seen());
}

/// Its throw-away store of some 60 MB stayed.
#[test]
fn an_interrupted_bench_leaves_nothing_behind() {
    let desk = Desk::new();
    let bench = ["bench", "--requests", "100000000", "--dir", "."];
    for signal in ["-INT", "-TERM"] {
        let mut child = desk
            .command(&bench)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let is_made = || std::fs::read_dir(desk.path()).unwrap().count() > 0;
        while !is_made() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let pid = child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(1));
        assert!(!is_made());
    }
}

#[test]
fn a_bench_proves_what_it_measured() {
    let desk = Desk::new();
    let arguments = [
        "bench",
        "--clients",
        "20",
        "--requests",
        "300",
        "--dir",
        ".",
        "-o",
        "json",
        "-q",
    ];
    let report: serde_json::Value = serde_json::from_str(&desk.ok(&arguments)).unwrap();
    assert_eq!(
        (&report["numbers"], &report["sent"], &report["replays"]),
        (&300.into(), &900.into(), &600.into())
    );
    for field in ["duplicates", "holes", "keys_with_two_numbers", "lost"] {
        assert_eq!(report[field], 0, "{report}");
    }
    assert_eq!(report["holds"], true);
    assert_eq!(
        std::fs::read_dir(desk.path()).unwrap().count(),
        0,
        "the store was not thrown away"
    );

    let server = desk.serve();
    let arguments = [
        "bench",
        "--clients",
        "5",
        "--requests",
        "50",
        "--in-data-dir",
        "-o",
        "json",
    ];
    let report: serde_json::Value = serde_json::from_str(&desk.ok(&arguments)).unwrap();
    assert_eq!((&report["numbers"], &report["holds"]), (&50.into(), &true.into()));
    assert_eq!(server.stop(), Some(0));
}
