//! Moving in from a file: what is found, what is adopted, and what is not.

mod cli_support;

use std::fmt::Write as _;

use cli_support::Desk;
use expect_test::expect;

/// Two tenants; one went past its width, with a hole, a duplicate and a date that runs backwards.
const INVOICES: &str = "\
number,tenant,date,key,total
INV-995,acme,2025-09-01,pay_995,10
INV-996,acme,2025-09-02,pay_996,10
INV-999,acme,2025-10-01,pay_999,10
INV-1000,acme,2025-09-30,pay_1000,10
INV-998,acme,2025-09-03,pay_998,10
INV-998,acme,2025-09-04,pay_998b,20
,acme,2025-10-02,draft,10
INV-001,zeta,2025-10-01,pay_1,10
";

fn desk() -> Desk {
    let desk = Desk::new();
    desk.write("invoices.csv", INVOICES);
    desk
}

fn with_series() -> Desk {
    let desk = desk();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}", "-q"]);
    desk
}

#[test]
fn inspect_tells_what_is_there_and_writes_nothing() {
    let desk = desk();
    expect![[r#"
        to go on with them: seriatim series create NAME --format 'INV-{seq:3}'
        found: 1 date_order, 1 duplicate, 2 hole, 1 widened
        rows			7	and 1 without a number
        format			INV-{seq:3}	reset never, start 1; 7 rows, INV-995 to INV-001
        counter	acme	all	995 to 1000	6 rows
        counter	zeta	all	1 to 1	1 row
        duplicate	acme	all	INV-998	line 6 (pay_998) has it first, line 7 (pay_998b) again
        hole	acme	all	1 to 994	994 seqs are on no row
        hole	acme	all	997	this seq is on no row
        date_order	acme	all	INV-1000	dated 2025-09-30, and INV-999 before it 2025-10-01
        widened	acme	all	1000	has outgrown INV-{seq:3}: by text order 999 comes after it
        exit 3
    "#]]
    .assert_eq(&desk.run(&["inspect", "invoices.csv"]).seen());
    assert_eq!(std::fs::read_dir(desk.path()).unwrap().count(), 1);
    let report: serde_json::Value = serde_json::from_str(
        &desk
            .run(&["inspect", "invoices.csv", "-o", "json", "--max-length", "7"])
            .stdout,
    )
    .unwrap();
    assert_eq!(report["formats"][0]["format"], "INV-{seq:3}");
    assert_eq!(report["counts"]["too_long"], 1);
    assert_eq!(report["counts"]["duplicate"], 1);

    desk.write("clean.csv", "number,date\nR-1,2026-01-01\nR-2,2026-01-02\n");
    let ran = desk.run(&["inspect", "clean.csv"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // Who says the format hears of every row that is not like it.
    let ran = desk.run(&["inspect", "clean.csv", "--format", "R-{seq:3}"]);
    assert!(
        ran.stdout
            .contains("unfit\tdefault\t\tR-1\tline 2: the format R-{seq:3} cannot print it"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 3);
}

/// One number without its zeros made the format `INV-{seq:1}`: two rows were looked at, and the rest were holes.
#[test]
fn one_number_that_is_written_otherwise_does_not_blind_inspect() {
    let desk = Desk::new();
    let mut file = String::from("number,date\n");
    for seq in (1..=1_000).chain([42]) {
        writeln!(file, "INV-{seq:04},2025-09-01").unwrap();
    }
    desk.write("mostly.csv", &(file + "INV-7,2025-09-01\n"));
    expect![[r#"
        to go on with them: seriatim series create NAME --format 'INV-{seq:4}'
        found: 1 duplicate, 1 unfit
        rows			1002	
        format			INV-{seq:4}	reset never, start 1; 1002 rows, INV-0001 to INV-7
        counter	default	all	1 to 1000	1001 rows
        unfit	default		INV-7	line 1003: the format INV-{seq:4} cannot print it
        duplicate	default	all	INV-0042	line 43 has it first, line 1002 again
        exit 3
    "#]]
    .assert_eq(&desk.run(&["inspect", "mostly.csv"]).seen());
}

#[test]
fn what_inspect_proposes_can_be_defined_and_takes_the_numbers_in() {
    let desk = Desk::new();
    let fiscal = "number,date\n\
                  INV-242501102200009,2025-03-31T18:29:59Z\n\
                  INV-252601102200001,2025-03-31T18:30:00Z\n\
                  INV-252601102200002,2025-11-20T00:00:00Z\n\
                  INV-FALLBACK-01102219345678,2025-11-21T00:00:00Z\n\
                  INV-252601102200004,2026-03-31T12:00:00Z\n";
    desk.write("fiscal.csv", fiscal);
    let ran = desk.run(&["inspect", "fiscal.csv", "--tz", "Asia/Kolkata", "--max-length", "16"]);
    expect![[r#"
        to go on with them: seriatim series create NAME --format 'INV-{fy}011022{seq:5}' --reset fiscal-year:04-01 --time-zone Asia/Kolkata
        found: 2 hole, 1 other_format, 2 too_long
        rows			5	
        format			INV-{fy}011022{seq:5}	reset fiscal-year:04-01, start 1; 4 rows, INV-242501102200009 to INV-252601102200004
        format			(not known)	1 row, INV-FALLBACK-01102219345678 to INV-FALLBACK-01102219345678
        counter	default	2024-25	9 to 9	1 row
        counter	default	2025-26	1 to 4	3 rows
        hole	default	2024-25	1 to 8	8 seqs are on no row
        hole	default	2025-26	3	this seq is on no row
        too_long	default	2024-25	INV-242501102200009	1 number has more than 16 characters
        too_long	default	2025-26	INV-252601102200004	3 numbers have more than 16 characters
        other_format			INV-FALLBACK-01102219345678	1 number looks like this, the last is INV-FALLBACK-01102219345678
        exit 3
    "#]].assert_eq(&ran.seen());
    let daily = "number,date\nGAM-20250331-0001,2025-03-31\nGAM-20250401-0001,2025-04-01\n\
                 GAM-20250401-0002,2025-04-01\nGAM-20250401-0003,2025-03-31\n";
    desk.write("daily.csv", daily);
    let ran = desk.run(&["inspect", "daily.csv"]);
    expect![[r#"
        to go on with them: seriatim series create NAME --format 'GAM-{date}-{seq:4}' --reset daily
        found: 1 wrong_period
        rows			4	
        format			GAM-{date}-{seq:4}	reset daily, start 1; 4 rows, GAM-20250331-0001 to GAM-20250401-0003
        counter	default	2025-03-31	1 to 1	1 row
        counter	default	2025-04-01	1 to 2	2 rows
        wrong_period	default		GAM-20250401-0003	line 5: dated 2025-03-31, on which the format GAM-{date}-{seq:4} prints GAM-20250331-0003
        exit 3
    "#]]
    .assert_eq(&ran.seen());

    let clean: String = fiscal
        .lines()
        .filter(|line| !line.contains("FALLBACK"))
        .map(|line| format!("{line}\n"))
        .collect();
    desk.write("fiscal.csv", &clean);
    let create = [
        "series",
        "create",
        "invoice",
        "--format",
        "INV-{fy}011022{seq:5}",
        "--reset",
        "fiscal-year:04-01",
    ];
    desk.ok(&[
        &create[..],
        &["--time-zone", "Asia/Kolkata", "--date-window", "-4000d..+4000d"],
    ]
    .concat());
    desk.ok(&["import", "invoice", "--from-csv", "fiscal.csv"]);
    expect![[r#"
        invoice	default		2025-26	1	4	issued=3,missing=1,reserved=0,voided=0
        invoice	default		2024-25	1	9	issued=1,missing=8,reserved=0,voided=0
    "#]]
    .assert_eq(&desk.ok(&["counters"]));
    let next = ["issue", "invoice", "--key", "new", "--date", "2026-03-31"];
    assert_eq!(desk.ok(&next), "INV-252601102200005\n");
}

#[test]
fn a_file_is_moved_in_and_compared() {
    let desk = with_series();
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        found: 1 date_order, 1 duplicate, 2 hole, 1 widened
        duplicate	acme	all	INV-998	line 6 (pay_998) has it first, line 7 (pay_998b) again
        hole	acme	all	1 to 994	994 seqs are on no row
        hole	acme	all	997	this seq is on no row
        date_order	acme	all	INV-1000	dated 2025-09-30, and INV-999 before it 2025-10-01
        widened	acme	all	1000	has outgrown INV-{seq:3}: by text order 999 comes after it
        numbers	6
        counters	2
        would be adopted	6
        left out	1
        seqs on no row	995
        exit 3
    "#]]
    .assert_eq(
        &desk
            .run(&["import", "invoice", "--from-csv", "invoices.csv", "--dry-run"])
            .seen(),
    );
    assert_eq!(desk.ok(&["list", "invoice"]), "");
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        found: 1 row was left out, whose number another row keeps
        duplicate	acme	all	INV-998	line 6 (pay_998) has it first, line 7 (pay_998b) again
        hole	acme	all	1 to 994	994 seqs are on no row
        hole	acme	all	997	this seq is on no row
        date_order	acme	all	INV-1000	dated 2025-09-30, and INV-999 before it 2025-10-01
        widened	acme	all	1000	has outgrown INV-{seq:3}: by text order 999 comes after it
        numbers	6
        counters	2
        adopted	6
        left out	1
        seqs on no row	995
        exit 3
    "#]]
    .assert_eq(&desk.run(&["import", "invoice", "--from-csv", "invoices.csv"]).seen());
    expect![[r#"
        invoice	acme		all	1	1000	issued=5,missing=995,reserved=0,voided=0
        invoice	zeta		all	1	1	issued=1,missing=0,reserved=0,voided=0
    "#]]
    .assert_eq(&desk.ok(&["counters", "invoice"]));
    expect![[r#"
        invoice	acme		all	1	994	not in invoices.csv when it was imported
        invoice	acme		all	997	997	not in invoices.csv when it was imported
    "#]]
    .assert_eq(&desk.ok(&["gaps"]));
    // The highest number counts, and a retry of an old payment finds its old number.
    assert_eq!(
        desk.ok(&["issue", "invoice", "--tenant", "acme", "--key", "pay_1001"]),
        "INV-1001\n"
    );
    let retry = ["issue", "invoice", "--tenant", "acme", "--key", "pay_999", "-q"];
    assert_eq!(desk.ok(&retry), "INV-999\n");
    desk.ok(&["verify"]);

    // Again: everything is there already.
    expect![[r#"
        found: 1 row was left out, whose number another row keeps
        duplicate	acme	all	INV-998	line 6 (pay_998) is recorded with it, line 7 (pay_998b) again
        hole	acme	all	1 to 994	994 seqs are on no row
        hole	acme	all	997	this seq is on no row
        date_order	acme	all	INV-1000	dated 2025-09-30, and INV-999 before it 2025-10-01
        widened	acme	all	1000	has outgrown INV-{seq:3}: by text order 999 comes after it
        numbers	6
        counters	2
        adopted	0
        already there	6
        left out	1
        seqs on no row	995
        exit 3
    "#]]
    .assert_eq(
        &desk
            .run(&["import", "invoice", "--from-csv", "invoices.csv", "-q"])
            .seen(),
    );

    // The duplicate gets a number of its own, and the books agree.
    let number = desk.ok(&[
        "issue",
        "invoice",
        "--tenant",
        "acme",
        "--key",
        "pay_998b",
        "--date",
        "2025-11-20",
        "-q",
    ]);
    let ended = INVOICES.replace(
        "INV-998,acme,2025-09-04,pay_998b",
        &format!("{},acme,2025-11-20,pay_998b", number.trim()),
    );
    desk.write("invoices.csv", &ended);
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        found: 1 number_without_document
        number_without_document	acme	all	INV-1001	no document bears it
        numbers	8
        documents	7
        exit 3
    "#]]
    .assert_eq(&desk.run(&["compare", "invoice", "--from-csv", "invoices.csv"]).seen());
}

/// Which of two documents keeps their number was a matter of the order of lines, and what was recorded was not asked
/// for: the same command refused everything as soon as the other one was.
#[test]
fn of_two_documents_the_recorded_one_keeps_the_number_and_else_the_earlier() {
    let desk = with_series();
    let head = "number,date,key\n";
    let (early, late) = ("INV-001,2025-09-01,pay_a\n", "INV-001,2025-09-02,pay_b\n");
    let import = ["import", "invoice", "--from-csv", "all.csv", "-q"];
    desk.write("all.csv", &format!("{head}{late}{early}"));
    let ran = desk.run(&import);
    assert!(
        ran.stdout.contains("line 3 (pay_a) has it first, line 2 (pay_b) again"),
        "{ran:?}"
    );
    assert_eq!(desk.ok(&["issue", "invoice", "--key", "pay_a", "-q"]), "INV-001\n");

    // The old code adopted the later one of these.
    desk.ok(&["adopt", "invoice", "INV-002", "--date", "2025-09-04", "--key", "pay_d"]);
    let more = "INV-002,2025-09-03,pay_c\nINV-002,2025-09-04,pay_d\nINV-003,2025-09-05,pay_e\n";
    desk.write("all.csv", &format!("{head}{early}{late}{more}"));
    expect![[r#"
        found: 2 rows were left out, whose number another row keeps
        duplicate	default	all	INV-001	line 2 (pay_a) is recorded with it, line 3 (pay_b) again
        duplicate	default	all	INV-002	line 5 (pay_d) is recorded with it, line 4 (pay_c) again
        numbers	3
        counters	1
        adopted	1
        already there	2
        left out	2
        exit 3
    "#]]
    .assert_eq(&desk.run(&import).seen());
    let compared = desk.run(&["compare", "invoice", "--from-csv", "all.csv", "-q"]);
    assert!(compared.stderr.contains("found: 2 duplicate\n"), "{compared:?}");

    // Neither of them is recorded: the refusal says who is.
    desk.write("all.csv", &format!("{head}INV-002,2025-09-03,pay_c\n"));
    let ran = desk.run(&import);
    let said = "INV-002 exists already in series invoice, for key pay_d and not for pay_c; \
                the document of pay_c needs a number of its own (number_exists)";
    assert!(ran.stdout.contains(said), "{ran:?}");
    assert_eq!(ran.code, 5);
}

#[test]
fn a_number_that_no_other_can_follow_is_no_number_to_move_in() {
    let desk = with_series();
    desk.write(
        "absurd.csv",
        "number,tenant,date\nINV-001,acme,2025-09-01\nINV-9223372036854775807,acme,2025-09-02\n\
         INV-9223372036854775807,beta,2025-09-02\nINV-9223372036854775807,zeta,2025-09-02\n",
    );
    let said = "exhausted\tacme\tall\tINV-9223372036854775807\tline 3: no number can come after it: 9223372036854775807 is the last seq of all";
    let ran = desk.run(&["inspect", "absurd.csv"]);
    assert!(ran.stdout.contains(said), "{ran:?}");
    let ran = desk.run(&["import", "invoice", "--from-csv", "absurd.csv", "-q"]);
    assert!(ran.stdout.contains(said), "{ran:?}");
    assert!(ran.stderr.contains("code bad_rows; nothing was written"), "{ran:?}");
    assert_eq!(ran.code, 5);
    // By its length, too; but a count that is meant to end may.
    desk.ok(&[
        "series",
        "create",
        "short",
        "--format",
        "S-{seq:2}",
        "--max-length",
        "5",
        "-q",
    ]);
    desk.ok(&[
        "series",
        "create",
        "ended",
        "--format",
        "S-{seq:2}",
        "--limit",
        "999",
        "--max-length",
        "5",
        "-q",
    ]);
    desk.write("absurd.csv", "number,date\nS-999,2025-09-02\n");
    let ran = desk.run(&["import", "short", "--from-csv", "absurd.csv", "-q"]);
    let said = "line 2: no number can come after it: the next one has 6 characters at least, more than max_length = 5";
    assert!(ran.stdout.contains(said), "{ran:?}");
    assert_eq!((ran.code, desk.ok(&["list", "-q"])), (5, String::new()));
    desk.ok(&["import", "ended", "--from-csv", "absurd.csv", "-q"]);
}

/// With CRLF, and after empty lines, each row was said to be in the line before it.
#[test]
fn a_bad_row_is_found_in_the_line_that_is_named() {
    let desk = with_series();
    for (rows, line) in [
        ("number,date\r\nINV-001,2026-01-01\r\nINV-002,bad\r\n", 3),
        ("number,date\n\n\nINV-001,2026-01-01\n\nINV-002,bad\n", 6),
        ("\r\nnumber,date\r\n\r\nINV-002,bad", 4),
        ("number,date\rINV-001,2026-01-01\rINV-002,bad\r", 3),
        (
            "\u{feff}number,date,name\r\nINV-001,2026-01-01,\"a\r\nb\r\n\"\r\nINV-002,bad,\r\n",
            5,
        ),
    ] {
        desk.write("bad.csv", rows);
        let ran = desk.run(&["import", "invoice", "--from-csv", "bad.csv", "-q"]);
        assert!(
            ran.stdout.contains(&format!("line {line}: `bad` is not a date")),
            "{rows:?}: {ran:?}"
        );
        desk.write("bad.csv", &rows.replace(",bad", ""));
        let ran = desk.run(&["inspect", "bad.csv"]);
        assert!(
            ran.stderr.contains(&format!("bad.csv, line {line}: it has ")),
            "{rows:?}: {ran:?}"
        );
    }
}

#[test]
fn compare_finds_what_is_on_one_side_only() {
    let desk = with_series();
    desk.run(&["import", "invoice", "--from-csv", "invoices.csv", "-q"]);
    desk.ok(&[
        "void",
        "invoice",
        "INV-001",
        "--tenant",
        "zeta",
        "--reason-code",
        "spoiled",
        "--reason",
        "torn",
    ]);
    let theirs = "number,tenant,date,key\n\
                  INV-995,acme,2025-09-01,pay_995\n\
                  INV-996,acme,2025-09-09,pay_996\n\
                  INV-998,acme,2025-09-03,other\n\
                  INV-1000,acme,2025-09-30,pay_1000\n\
                  INV-1007,acme,2025-09-30,pay_1007\n\
                  R-1,acme,2025-09-30,pay_r\n\
                  INV-001,zeta,2025-10-01,pay_1\n";
    desk.write("theirs.csv", theirs);
    expect![[r#"
        store sqlite ./seriatim-data/seriatim.db (in process)
        found: 1 date_differs, 1 document_without_number, 1 key_differs, 1 number_without_document, 1 unfit, 1 void_on_document
        unfit	acme		R-1	line 7: the format INV-{seq:3} cannot print it
        void_on_document	zeta	all	INV-001	it is void; line 8
        key_differs	acme	all	INV-998	issued for pay_998; line 4
        date_differs	acme	all	INV-996	dated 2025-09-02 here and 2025-09-09 there; line 3
        document_without_number	acme		INV-1007	the series does not have it; line 6
        number_without_document	acme	all	INV-999	no document bears it
        numbers	6
        documents	7
        exit 3
    "#]].assert_eq(&desk.run(&["compare", "invoice", "--from-csv", "theirs.csv"]).seen());
    let ran = desk.run(&["compare", "invoice", "--from-csv", "theirs.csv", "-o", "json", "-q"]);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["counts"]["document_without_number"], 1);
}

/// A date that does not fit, or does not read, made the number one without a document, which is to be voided.
#[test]
fn a_number_on_a_row_that_is_wrong_otherwise_has_its_document() {
    let desk = Desk::new();
    let create = "series create gam --format GAM-{date}-{seq:4} --reset daily --date-window -4000d..+4000d -q";
    desk.ok(&create.split(' ').collect::<Vec<_>>());
    let head = "number,tenant,date,key\n";
    let row = |seq: u32, tenant: &str, date: &str| format!("GAM-20260101-{seq:04},{tenant},{date},p{seq}\n");
    let rows: String = (1..=5).map(|seq| row(seq, "acme", "2026-01-01")).collect();
    desk.write("before.csv", &format!("{head}{rows}"));
    desk.ok(&["import", "gam", "--from-csv", "before.csv", "-q"]);
    let rows = [
        row(1, "acme", "2026-01-02"),
        row(2, "acme", "kaputt"),
        row(3, "no/tenant", "2026-01-01"),
        row(4, "acme", "2026-01-01"),
        row(5, "beta", "kaputt"),
    ];
    desk.write("theirs.csv", &format!("{head}{}", rows.concat()));
    expect![[r#"
        found: 2 bad_date, 1 bad_tenant, 1 number_without_document, 1 wrong_period
        wrong_period	acme		GAM-20260101-0001	line 2: dated 2026-01-02, on which the format GAM-{date}-{seq:4} prints GAM-20260102-0001
        bad_date	acme		GAM-20260101-0002	line 3: `kaputt` is not a date; write it like 2026-03-31
        bad_tenant	no/tenant		GAM-20260101-0003	line 4: tenant: a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`
        bad_date	beta		GAM-20260101-0005	line 6: `kaputt` is not a date; write it like 2026-03-31
        number_without_document	acme	2026-01-01	GAM-20260101-0005	no document bears it
        numbers	5
        documents	5
        exit 3
    "#]]
    .assert_eq(&desk.run(&["compare", "gam", "--from-csv", "theirs.csv", "-q"]).seen());
}

#[test]
fn one_bad_row_and_nothing_is_imported() {
    let desk = with_series();
    let bad = [
        (
            "INV-2,acme,2025-09-01,a",
            "line 3: the format INV-{seq:3} cannot print it",
        ),
        (
            "INV-002,acme,1.9.2025,a",
            "line 3: `1.9.2025` is not a date; write it like 2026-03-31",
        ),
        ("INV-002,acme,,a", "line 3: it has no date"),
        (
            "INV-002,no/tenant,2025-09-01,a",
            "line 3: tenant: a tenant is a letter or digit",
        ),
        (
            "INV-002,acme,2025-09-01,pay_1",
            "line 3: the key pay_1 stands for INV-001 in line 2 already",
        ),
        ("INV-002,acme,2025-09-01,schlüssel", "line 3: key: "),
    ];
    for (row, reason) in bad {
        desk.write(
            "bad.csv",
            &format!("number,tenant,date,key\nINV-001,acme,2025-09-01,pay_1\n{row}\n"),
        );
        let ran = desk.run(&["import", "invoice", "--from-csv", "bad.csv", "-q"]);
        assert!(ran.stdout.contains(reason), "{row}: {ran:?}");
        assert!(ran.stderr.contains("code bad_rows; nothing was written"), "{ran:?}");
        assert_eq!(ran.code, 5);
    }
    desk.write(
        "bad.csv",
        "number,date,document\nINV-001,2025-09-01,{}\nINV-002,2025-09-01,{\n",
    );
    let ran = desk.run(&["import", "invoice", "--from-csv", "bad.csv", "-q"]);
    assert!(ran.stdout.contains("line 3: the document is not valid: "), "{ran:?}");
    assert_eq!(desk.ok(&["list", "-q"]), "");
}

/// Only what could be read in a row was looked at: a row without a date, or with a key that no number can have, was
/// found at the import, and there one kind after the other.
#[test]
fn inspect_finds_every_row_that_import_refuses_and_import_names_all_at_once() {
    let desk = with_series();
    let long = "x".repeat(300);
    let rows = [
        "INV-001,2026-01-01,a,,",
        "INV-002,,b,,",
        "INV-003,2026-01-01,schlüssel,,",
        &format!("INV-004,2026-01-01,{long},,"),
        "INV-005,2026-01-01,e,{,",
        &format!("INV-006,2026-01-01,f,,{long}"),
    ];
    desk.write(
        "bad.csv",
        &format!("number,date,key,document,reference\n{}\n", rows.join("\n")),
    );
    let said = |arguments: &[&str]| {
        let ran = desk.run(arguments);
        let bad = ran.stdout.lines().filter(|line| line.starts_with("bad_"));
        (
            ran.code,
            bad.map(|line| line.split(": ").next().unwrap().to_string())
                .collect::<Vec<_>>(),
        )
    };
    let bad = [
        "bad_date\tdefault\t\tINV-002\tline 3",
        "bad_key\tdefault\t\tINV-003\tline 4",
        "bad_key\tdefault\t\tINV-004\tline 5",
        "bad_document\tdefault\t\tINV-005\tline 6",
        "bad_reference\tdefault\t\tINV-006\tline 7",
    ];
    let bad = bad.map(str::to_string).to_vec();
    assert_eq!(said(&["inspect", "bad.csv"]), (3, bad.clone()));
    assert_eq!(said(&["import", "invoice", "--from-csv", "bad.csv"]), (5, bad));
    // To compare moves nothing in.
    desk.write("bad.csv", "number,date,key\nINV-001,2026-01-01,schlüssel\n");
    desk.ok(&["adopt", "invoice", "INV-001", "--date", "2026-01-01"]);
    assert_eq!(desk.run(&["compare", "invoice", "--from-csv", "bad.csv"]).code, 0);
}

/// The numbers were blamed for a format that is none.
#[test]
fn what_inspect_is_told_has_to_be_so() {
    let desk = Desk::new();
    desk.write("some.csv", "number,date\nINV-001,2026-01-01\n");
    desk.write("semi.csv", "number;date\nINV-001;2026-01-01\n");
    desk.write("tabs.csv", "number\tdate\nINV-001\t2026-01-01\n");
    for (arguments, said) in [
        (
            &["some.csv", "--format", "X{nope}{seq}"][..],
            "--format X{nope}{seq}: unknown token {nope}",
        ),
        (
            &["some.csv", "--format", "INV-{seq}", "--reset", "sometimes"],
            "--format INV-{seq}: unknown reset `sometimes`",
        ),
        (
            &["some.csv", "--format", "INV-{fy}-{seq:3}"],
            "; --reset says when their count restarts, and is never if it is not given",
        ),
        (
            &["some.csv", "--table", "invoices"],
            "--table is a table of a database, and some.csv is a file",
        ),
        (
            &["postgre://u:secret@h/d"],
            "the URL of a database is like postgres://user@host/database",
        ),
        (
            &["semi.csv"],
            "semi.csv has one column, number;date; columns are separated by commas, and not by ';'",
        ),
        (
            &["tabs.csv"],
            "tabs.csv has one column, number\\tdate; columns are separated by commas, and not by '\\t'",
        ),
    ] {
        let ran = desk.run(&[&["inspect"], arguments].concat());
        assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    }
}

/// It was said of each kind of numbers, whatever its own number looks like.
#[test]
fn a_bad_row_among_several_kinds_is_found_once() {
    let desk = Desk::new();
    desk.write(
        "kinds.csv",
        "number,tenant\nINV-1,a\nINV-2,a\nINV-3,ten ant\nR-1,a\nR-2,a\nQ-1,a\n\"INV-\n4\",a\n",
    );
    let ran = desk.run(&["inspect", "kinds.csv"]);
    assert_eq!(ran.stdout.matches("bad_tenant\t").count(), 1, "{ran:?}");
    // A line feed in a number makes no second row.
    assert!(ran.stdout.contains("\tINV-\\n4\t"), "{ran:?}");
}

/// A row that is there with another date was counted, and nothing said which one it is; what is there already was none
/// in a rehearsal; and twenty bad rows were all that there seemed to be.
#[test]
fn what_import_counts_is_so() {
    let desk = with_series();
    let import = ["import", "invoice", "--from-csv", "all.csv", "-q"];
    desk.write(
        "all.csv",
        "number,date,key\nINV-001,2026-01-01,a\nINV-002,2026-01-01,b\n",
    );
    desk.ok(&import);
    desk.write(
        "all.csv",
        "number,date,key\nINV-001,2026-01-01,a\nINV-002,2026-01-02,b\nINV-003,2026-01-02,c\n",
    );
    let dry = desk.run(&[&import[..], &["--dry-run", "-o", "json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&dry.stdout).unwrap();
    assert_eq!(
        (&report["adopted"], &report["already_there"]),
        (&1.into(), &2.into()),
        "{dry:?}"
    );
    assert_eq!(
        (&report["with_another_date_or_document"], dry.code),
        (&1.into(), 3),
        "{dry:?}"
    );
    expect![[r#"
        differs	default	all	INV-002	recorded with another date, which stays
        numbers	3
        counters	1
        adopted	1
        already there	2
        with another date or document	1
        exit 0
    "#]]
    .assert_eq(&desk.run(&import).seen());

    let mut file = String::from("number,date\n");
    (1..=30).for_each(|seq| writeln!(file, "OLD-{seq},2026-01-01").unwrap());
    desk.write("all.csv", &file);
    desk.ok(&[
        "series",
        "create",
        "invoice2",
        "--format",
        "OLD-{seq}",
        "--date-order",
        "required",
        "-q",
    ]);
    desk.ok(&["adopt", "invoice2", "OLD-31", "--date", "2026-01-01", "-q"]);
    let ran = desk.run(&["import", "invoice2", "--from-csv", "all.csv", "-q"]);
    assert!(
        ran.stderr
            .contains("at least 20 rows cannot be adopted, and what comes after them was not looked at"),
        "{ran:?}"
    );
}

/// A table keeps the numbers of the old series: with both in it neither series could be compared, nor be imported into.
#[test]
fn a_table_may_have_the_numbers_of_a_series_and_of_the_one_that_replaced_it() {
    let desk = Desk::new();
    let create = |name: &str, format: &str, more: &[&str]| {
        desk.ok(&[&["series", "create", name, "--format", format, "-q"], more].concat());
    };
    let issue = |series: &str, key: &str| desk.ok(&["issue", series, "--key", key, "-q"]);
    create("c1", "C-{seq:3}", &[]);
    create("e1", "E-{seq}", &[]);
    for (series, key) in [("c1", "a"), ("c1", "b"), ("e1", "e"), ("e1", "f")] {
        issue(series, key);
    }
    create("c2", "C-{seq:4}", &["--replaces", "c1"]);
    create("c3", "C-{seq:5}", &["--replaces", "c2"]);
    create("e2", "E-{seq}", &["--replaces", "e1", "--start", "3"]);
    issue("c3", "c");
    issue("e2", "g");
    let today = desk.ok(&["list", "c3", "-q"]).split('\t').nth(4).unwrap().to_string();
    let file = |name: &str, rows: &[(&str, &str)]| {
        let rows = rows.iter().map(|(number, key)| format!("{number},{today},{key}\n"));
        desk.write(name, &format!("number,date,key\n{}", rows.collect::<String>()));
    };
    let c = [("C-001", "a"), ("C-002", "b"), ("C-00001", "c")];
    file("c.csv", &c);
    file("e.csv", &[("E-1", "e"), ("E-2", "f"), ("E-3", "g")]);
    for (series, rows) in [
        ("c1", "c.csv"),
        ("c2", "c.csv"),
        ("c3", "c.csv"),
        ("e1", "e.csv"),
        ("e2", "e.csv"),
    ] {
        let ran = desk.run(&["compare", series, "--from-csv", rows, "-q"]);
        assert_eq!(ran.code, 0, "{series}: {ran:?}");
    }
    let imported = desk.ok(&["import", "c3", "--from-csv", "c.csv", "-q"]);
    assert!(
        imported.contains("already there\t1\nof series before or after it\t2\n"),
        "{imported}"
    );

    // What none of them has is found as before.
    file(
        "c.csv",
        &[&c[..], &[("C-003", "d"), ("X-1", "x"), ("C-00002", "h")]].concat(),
    );
    file("e.csv", &[("E-1", "e"), ("E-2", "f"), ("E-3", "g"), ("E-9", "h")]);
    let found = |series: &str, rows: &str| desk.run(&["compare", series, "--from-csv", rows, "-q"]).stderr;
    assert_eq!(found("c1", "c.csv"), "found: 1 document_without_number, 1 unfit\n");
    assert_eq!(found("c3", "c.csv"), "found: 1 document_without_number, 1 unfit\n");
    for series in ["e1", "e2"] {
        assert_eq!(found(series, "e.csv"), "found: 1 document_without_number\n");
    }
}

/// A stray quote in a column that nobody asked for took all rows behind it along: they were not imported, and their
/// numbers were issued again.
#[test]
fn a_quote_out_of_place_swallows_no_rows() {
    let desk = with_series();
    let row = |seq: u32, name: &str| format!("INV-{seq:03},2025-09-01,pay_{seq},{name}\n");
    let refused = [
        (
            row(2, "\"Bob") + &row(3, "Ann"),
            "bad.csv, line 3: a quote opens here and is never closed",
        ),
        (
            row(2, "\"Bob") + &row(3, "\"Ann\""),
            "bad.csv, line 3: a quote opens here, and text follows where it is closed in line 4",
        ),
        (
            row(2, "\"Bob\" the builder"),
            "bad.csv, line 3: a quote opens here, and text follows where it is closed in line 3",
        ),
    ];
    for (rows, said) in refused {
        desk.write("bad.csv", &format!("number,date,key,name\n{}{rows}", row(1, "Eve")));
        for verb in [
            &["import", "invoice", "--from-csv", "bad.csv"][..],
            &["compare", "invoice", "--from-csv", "bad.csv"],
            &["inspect", "bad.csv"],
        ] {
            let ran = desk.run(verb);
            assert!(ran.stderr.contains(said), "{verb:?}: {ran:?}");
            assert!(ran.stderr.contains("code bad_rows; nothing was written"), "{ran:?}");
            assert_eq!(ran.code, 5);
        }
    }
    assert_eq!(desk.ok(&["list", "-q"]), "");

    let twice = "number,date,number\nINV-001,2025-09-01,R-1\n";
    desk.write("twice.csv", twice);
    let ran = desk.run(&["inspect", "twice.csv"]);
    assert!(ran.stderr.contains("twice.csv has several columns number"), "{ran:?}");
    assert_eq!(ran.code, 2);

    // What spreadsheets write is right: a byte order mark, CRLF, quotes within quotes, lines within a field.
    let good = "\u{feff}\"number\",\"date\",name\r\n\
                INV-001,2025-09-01,\"Bob \"\"the\"\"\r\nbuilder, and \"\"sons\"\"\"\r\n\
                INV-002,2025-09-01,5\" disk\r\n\
                \"INV-003\",2025-09-01,\"\"";
    desk.write("good.csv", good);
    desk.ok(&["import", "invoice", "--from-csv", "good.csv", "-q"]);
    assert_eq!(desk.ok(&["issue", "invoice", "--key", "new", "-q"]), "INV-004\n");
}

#[test]
fn what_is_wrong_with_the_file_is_said() {
    let desk = with_series();
    desk.write("ragged.csv", "number,date\nINV-001,2025-09-01\nINV-002\n");
    desk.write("named.csv", "invoice_no,date\nINV-001,2025-09-01\n");
    desk.write("dateless.csv", "number\nINV-001\n");
    let cases: [(&[&str], &str); 6] = [
        (&["inspect", "nowhere.csv"], "cannot read nowhere.csv: "),
        (
            &["inspect", "ragged.csv"],
            "ragged.csv, line 3: it has 1 columns, and the first line 2",
        ),
        (
            &["inspect", "named.csv"],
            "named.csv has no column number; its first line names invoice_no, date; say which one it is with --column",
        ),
        (
            &["import", "invoice", "--from-csv", "dateless.csv"],
            "every number needs its date; say which column has it with --date-column",
        ),
        (
            &["import", "invoice"],
            "say where the numbers are: --from-csv FILE, or --with URL --table TABLE",
        ),
        (
            &["compare", "invoice", "--with", "mysql://u:secret@h/db", "--table", "t"],
            "--with is the URL of a database, like postgres://user@host/database",
        ),
    ];
    for (arguments, said) in cases {
        let ran = desk.run(arguments);
        assert!(ran.stderr.contains(said), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("secret"), "{ran:?}");
        assert_eq!(ran.code, 2, "{ran:?}");
    }
    let ran = desk.run(&["inspect", "named.csv", "--column", "invoice_no"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(desk.run(&["import", "nothing", "--from-csv", "named.csv"]).code, 5);
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    let desk = Desk::new();
    let arguments = [
        "inspect",
        "postgres://ann:hush@127.0.0.1:1/shop",
        "--table",
        "t",
        "--column",
        "c",
    ];
    let ran = desk.run(&arguments);
    assert!(
        ran.stderr.contains("cannot connect to PostgreSQL at 127.0.0.1:1: "),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("hush"), "{ran:?}");
    assert_eq!(ran.code, 4);
}

#[test]
fn an_import_that_was_interrupted_is_run_again() {
    let desk = with_series();
    let mut file = String::from("number,tenant,date,key,document\n");
    // Written backwards: the order of the file is not the order of the seqs.
    for seq in (1..=2_500).rev() {
        writeln!(file, "INV-{seq:03},acme,2025-09-01,pay_{seq},\"{{\"\"n\"\": {seq}}}\"").unwrap();
    }
    desk.write("all.csv", &file);
    // The first part came in before; in between the new system went on.
    let part: String = file
        .lines()
        .filter(|line| !line.starts_with("INV-2"))
        .map(|line| format!("{line}\n"))
        .collect();
    desk.write("part.csv", &part);
    desk.ok(&[
        "import",
        "invoice",
        "--from-csv",
        "part.csv",
        "-q",
        "--missing-reason",
        "to be moved in",
    ]);
    desk.ok(&[
        "void",
        "invoice",
        "INV-100",
        "--tenant",
        "acme",
        "--reason-code",
        "spoiled",
        "--reason",
        "torn",
    ]);
    let ran = desk.run(&["import", "invoice", "--from-csv", "all.csv", "-q", "-o", "json"]);
    let report: serde_json::Value = serde_json::from_str(&ran.ok()).unwrap();
    assert_eq!(
        (&report["numbers"], &report["holes"]),
        (&2_500.into(), &0.into()),
        "{report}"
    );
    let there = report["already_there"].as_u64().unwrap();
    assert_eq!(report["adopted"].as_u64().unwrap() + there, 2_500);
    let counts = "issued=2499,missing=0,reserved=0,voided=1";
    assert!(desk.ok(&["counters", "-q"]).contains(counts));
    assert_eq!(
        desk.ok(&["issue", "invoice", "--tenant", "acme", "--key", "new", "-q"]),
        "INV-2501\n"
    );
    desk.ok(&["verify"]);
    assert!(
        desk.ok(&["show", "invoice", "INV-777", "--tenant", "acme", "-o", "json"])
            .contains("{\"n\": 777}")
    );
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was() {
    let desk = with_series();
    let mut file = String::from("number,date,key\n");
    for seq in 1..=20_000 {
        writeln!(file, "INV-{seq:03},2025-09-01,pay_{seq}").unwrap();
    }
    desk.write("all.csv", &file);
    let server = desk.serve();
    let import = ["import", "invoice", "--from-csv", "all.csv", "-q"];
    let mut child = desk.command(&import).spawn().unwrap();
    let adopted = || {
        let counters = desk.ok(&["counters", "invoice", "-q"]);
        counters
            .split('\t')
            .nth(5)
            .map_or(0, |last| last.parse::<u64>().unwrap())
    };
    while adopted() == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = adopted();
    assert!(
        before.is_multiple_of(1_000),
        "a batch is all or none, and {before} are in"
    );
    let report = desk.ok(&[&import[..], &["-o", "json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        report["adopted"].as_u64().unwrap() + report["already_there"].as_u64().unwrap(),
        20_000
    );
    assert!(report["already_there"].as_u64().unwrap() >= before, "{report}");
    assert_eq!(adopted(), 20_000);
    desk.ok(&["compare", "invoice", "--from-csv", "all.csv", "-q"]);
    desk.ok(&["verify", "-q"]);
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_file_is_moved_in_through_a_running_server() {
    let desk = with_series();
    let server = desk.serve();
    let ran = desk.run(&["import", "invoice", "--from-csv", "invoices.csv"]);
    assert!(ran.stderr.contains("(through its server)"), "{ran:?}");
    assert_eq!(ran.code, 3);
    assert_eq!(
        desk.ok(&["issue", "invoice", "--tenant", "zeta", "--key", "x", "-q"]),
        "INV-002\n"
    );
    assert_eq!(server.stop(), Some(0));
}
