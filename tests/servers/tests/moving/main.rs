//! Moving in from a real table: looked through, adopted, compared; the switch and the way back with writers running.

mod seriatim;
mod shop;

use std::time::Duration;

use seriatim::Desk;
use seriatim_servers_tests::Postgres;
use shop::{Shop, switch_over, way_back};

const OLD: &str = "
    create schema billing;
    create table billing.\"Invoice\" (
        id bigint generated always as identity primary key, \"tenantId\" text, \"invoiceNumber\" text,
        \"createdAt\" timestamptz, \"paymentId\" text);
    insert into billing.\"Invoice\" (\"tenantId\", \"invoiceNumber\", \"createdAt\", \"paymentId\")
    select 'acme', 'INV-' || lpad(n::text, greatest(3, length(n::text)), '0'),
           timestamptz '2025-01-01 00:00:00+05:30' + n * interval '5 hours', 'pay_' || n
    from generate_series(1, 1000) n where n <> 500;
    insert into billing.\"Invoice\" (\"tenantId\", \"invoiceNumber\", \"createdAt\", \"paymentId\") values
        ('acme', 'INV-007', '2025-06-01 12:00:00+05:30', 'pay_7b'), ('zeta', 'INV-001', '2025-01-01 23:30:00+00', 'z1'),
        ('zeta', null, '2025-02-01 12:00:00+00', 'draft');
    create role reader login; grant usage on schema billing to reader; grant select on billing.\"Invoice\" to reader;
    create role stranger login;";

const COLUMNS: [&str; 10] = [
    "--table",
    "billing.Invoice",
    "--column",
    "invoiceNumber",
    "--tenant-column",
    "tenantId",
    "--date-column",
    "createdAt",
    "--key-column",
    "paymentId",
];

fn with<'a>(first: &[&'a str], last: &[&'a str]) -> Vec<&'a str> {
    [first, &COLUMNS[..], last].concat()
}

#[test]
fn a_table_is_looked_through_moved_in_and_compared() {
    let server = Postgres::start();
    server.psql("postgres", OLD);
    let url = server.url().replace("postgres@", "reader@");
    let desk = Desk::new();

    // Who may only read can look, and leaves nothing behind.
    let before = server.psql("postgres", "select count(*) from pg_class");
    let inspected = desk.run(&with(&["inspect", &url], &["--time-zone", "Asia/Kolkata"]));
    assert_eq!(inspected.code, 3, "{inspected:?}");
    for line in [
        "format\t\t\tINV-{seq:3}\treset never, start 1; 1001 rows, ",
        "counter\tacme\tall\t1 to 1000\t1000 rows\n",
        "hole\tacme\tall\t500\tthis seq is on no row\n",
        "widened\tacme\tall\t1000\thas outgrown INV-{seq:3}: by text order 999 comes after it\n",
        "and 1 without a number\n",
    ] {
        assert!(inspected.stdout.contains(line), "{line}: {}", inspected.stdout);
    }
    let duplicate = inspected
        .stdout
        .lines()
        .find(|line| line.starts_with("duplicate"))
        .expect("a duplicate");
    assert!(
        duplicate.starts_with("duplicate\tacme\tall\tINV-007\trow ") && duplicate.contains("(pay_7b) again"),
        "{duplicate}"
    );
    assert_eq!(server.psql("postgres", "select count(*) from pg_class"), before);

    desk.ok(&[
        "series",
        "create",
        "invoice",
        "--format",
        "INV-{seq:3}",
        "--time-zone",
        "Asia/Kolkata",
    ]);
    let rehearsed = desk.run(&with(&["import", "invoice", "--with", &url], &["--dry-run"]));
    assert_eq!(
        (rehearsed.code, desk.ok(&["list"])),
        (3, String::new()),
        "{rehearsed:?}"
    );
    let imported = desk.run(&with(&["import", "invoice", "--with", &url], &["-o", "json"]));
    assert_eq!(imported.code, 3, "{imported:?}");
    let report: serde_json::Value = serde_json::from_str(&imported.stdout).expect("JSON");
    assert_eq!(
        (&report["adopted"], &report["left_out"], &report["holes"]),
        (&1000.into(), &1.into(), &1.into())
    );
    assert_eq!(
        desk.ok(&["gaps"]),
        "invoice\tacme\t\tall\t500\t500\tnot in table billing.Invoice when it was imported\n"
    );
    // 23:30 in Greenwich is the next day in Kolkata.
    assert!(
        desk.ok(&["show", "invoice", "INV-001", "--tenant", "zeta"])
            .contains("2025-01-02")
    );
    assert_eq!(
        desk.ok(&["issue", "invoice", "--tenant", "acme", "--key", "pay_1000"]),
        "INV-1000\n"
    );
    let number = desk.ok(&["issue", "invoice", "--tenant", "acme", "--key", "pay_7b"]);
    assert_eq!(number, "INV-1001\n");

    let again = desk.run(&with(&["compare", "invoice", "--with", &url], &[]));
    assert!(
        again.stdout.contains("number_without_document\tacme\tall\tINV-1001"),
        "{again:?}"
    );
    let correct = "update billing.\"Invoice\" set \"invoiceNumber\" = 'INV-1001', \"createdAt\" = now() where \"paymentId\" = 'pay_7b'";
    server.psql("postgres", correct);
    desk.ok(&with(&["compare", "invoice", "--with", &url], &[]));
    server.psql(
        "postgres",
        "delete from billing.\"Invoice\" where \"paymentId\" = 'pay_3'",
    );
    server.psql(
        "postgres",
        "insert into billing.\"Invoice\" select 2000, 'acme', 'INV-1002', now(), 'x'"
            .replace(
                "select 2000, ",
                "(\"tenantId\", \"invoiceNumber\", \"createdAt\", \"paymentId\") select ",
            )
            .as_str(),
    );
    let differ = desk.run(&with(&["compare", "invoice", "--with", &url], &["-o", "json"]));
    let report: serde_json::Value = serde_json::from_str(&differ.stdout).expect("JSON");
    assert_eq!(
        report["counts"],
        serde_json::json!({"number_without_document": 1, "document_without_number": 1})
    );
    desk.ok(&["verify"]);
}

/// Two documents of one day have one number. Which of them kept it was a matter of where its row lay in the table, and
/// the next import refused everything.
#[test]
fn a_repeated_import_leaves_the_number_with_the_same_document() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "create schema \"bill.ing\"; create table \"bill.ing\".\"In.voice\" (number text, day date, payment text);
         insert into \"bill.ing\".\"In.voice\" values
             ('INV-001', '2026-03-02', 'b'), ('INV-001', '2026-03-02', 'a'), ('INV-002', '2026-03-02', 'c')",
    );
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    let url = server.url();
    let table = [
        "--table",
        "\"bill.ing\".\"In.voice\"",
        "--column",
        "number",
        "--date-column",
        "day",
    ];
    let source = [&["--with", &url][..], &table, &["--key-column", "payment"]].concat();
    let import = [&["import", "invoice"][..], &source].concat();
    let first = desk.run(&import);
    assert_eq!(first.code, 3, "{first:?}");
    assert!(
        first.stdout.contains("row 1 (a) has it first, row 2 (b) again"),
        "{first:?}"
    );
    server.psql(
        "postgres",
        "update \"bill.ing\".\"In.voice\" set day = '2026-03-03' where payment = 'a'",
    );
    let again = desk.run(&import);
    assert_eq!(again.code, 3, "{again:?}");
    assert!(
        again.stdout.contains("row 3 (a) is recorded with it, row 1 (b) again"),
        "{again:?}"
    );
}

#[test]
fn what_a_database_refuses_is_said_and_the_exit_code_says_whose_fault_it_is() {
    let server = Postgres::start();
    server.psql("postgres", OLD);
    let desk = Desk::new();
    let url = server.url();
    let stranger = url.replace("postgres@", "stranger:hush@");
    let missing = server.url_of("nowhere");
    let table =
        |url: &str, table: &str, column: &str| desk.run(&["inspect", url, "--table", table, "--column", column]);
    for (ran, code, said) in [
        (table(&url, "invoices", "n"), 2, "relation \"invoices\" does not exist"),
        (
            table(&url, "billing.Invoice", "number"),
            2,
            "column \"number\" does not exist",
        ),
        (table(&url, "billing.Invoice\"; drop table x", "n"), 2, "does not exist"),
        (
            table(&stranger, "billing.Invoice", "invoiceNumber"),
            2,
            "permission denied for schema billing",
        ),
        (table(&missing, "t", "c"), 4, "database \"nowhere\" does not exist"),
    ] {
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.stderr.contains(said), "{said}: {ran:?}");
        assert!(!ran.stderr.contains("hush"), "{ran:?}");
    }
}

/// The guide's function for old code that asks in SQL. Without the payment as key, the next import refused its row.
#[test]
fn a_number_that_was_asked_for_in_sql_is_in_the_books_for_its_payment() {
    let server = Postgres::start();
    let desk = Desk::new();
    let url = server.url();
    desk.ok(&["pg", "install", &url]);
    desk.ok(&[
        "series",
        "create",
        "invoice",
        "--format",
        "INV-{seq:3}",
        "--store",
        &url,
    ]);
    server.psql(
        "postgres",
        "create table invoices (payment text, tenant text, number text, issued date default current_date);
         insert into invoices values ('p1', 'acme', 'INV-001');
         create role app login; grant insert on invoices to app;
         create function next_invoice(of_tenant text, payment text) returns text language sql as $$
             select seriatim.next('invoice', tenant => of_tenant, key => payment)
         $$;
         grant seriatim_issuer to app;",
    );
    let import = [
        "import", "invoice", "--store", &url, "--with", &url, "--table", "invoices",
    ];
    let columns = [
        "--column",
        "number",
        "--tenant-column",
        "tenant",
        "--date-column",
        "issued",
    ];
    let import = [&import[..], &columns, &["--key-column", "payment"]].concat();
    desk.ok(&import);
    server.psql(
        "postgres",
        "set role app; insert into invoices values ('p2', 'acme', next_invoice('acme', 'p2'))",
    );
    let imported = desk.ok(&import);
    assert!(imported.contains("already there\t2\n"), "{imported}");
}

/// The guide's way back into the database, word for word. A number on top that was void, or whose row was deleted, was
/// issued a second time.
#[test]
fn who_comes_back_is_given_no_number_that_was_taken_before() {
    let guide = include_str!("../../../../docs/guides/in-your-transaction.md");
    let (_, steps) = guide.split_once("## Coming back").expect("a chapter");
    let step = |language: &str, number: usize| {
        let block = steps.split(&format!("```{language}\n")).nth(number).expect("a step");
        block.split("```").next().expect("its text").to_string()
    };
    let server = Postgres::start();
    let desk = Desk::new();
    let url = server.url();
    let branches = "--format '{branch}-{seq:3}' --param branch=digits:2 --partition-by branch";
    desk.ok(&["pg", "install", &url]);
    let create = format!(
        "seriatim series create order --format 'O-{{seq:3}}' --store $DATABASE_URL
         seriatim series create slip {branches} --store $DATABASE_URL"
    );
    let variables = [("DATABASE_URL", url.as_str())];
    assert_eq!(desk.sh(&create, &variables).code, 0);
    let fills = step("sql", 2).replace("'payment_reference'", "'payment_reference', on_delete => 'void'");
    server.psql(
        "postgres",
        &format!(
            "create table orders (order_number text unique, payment_reference text unique, created_at timestamptz default now());
             {fills};
             insert into orders (payment_reference) values ('p1'), ('p2'), ('p3');
             delete from orders where payment_reference = 'p3'"
        ),
    );
    desk.ok(&["pg", "detach", &url]);
    // The day that it was away, with a number that is on no row any more.
    server.psql(
        "postgres",
        "alter table orders alter order_number set default numbers.next('order');
         insert into orders (payment_reference) values ('p4'), ('p5'); delete from orders where payment_reference = 'p5';
         select numbers.next('slip', params => '{\"branch\": 7}')",
    );
    server.psql("postgres", &step("sql", 1));
    for (series, definition) in [("order", "--format 'O-{seq:3}'"), ("slip", branches)] {
        let script = step("sh", 1).replace('…', definition);
        let script = match series {
            "order" => script,
            // It has no table: the loop alone.
            _ => script
                .replace("seriatim pg install", "true")
                .replace("seriatim import order", "true")
                .replace("create order", "create slip")
                .replace("'order'", "'slip'")
                .replace("advance order", "advance slip"),
        };
        let ran = desk.sh(&script, &variables);
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    server.psql("postgres", &step("sql", 2));
    let next = "insert into orders (payment_reference) values ('p6') returning order_number";
    assert_eq!(server.psql("postgres", next), "O-006");
    let retry = "insert into orders (payment_reference) values ('p1')
        on conflict (payment_reference) do update set payment_reference = excluded.payment_reference returning order_number";
    assert_eq!(server.psql("postgres", retry), "O-001");
    let slip = "select seriatim.next('slip', params => '{\"branch\": 7}')";
    assert_eq!(server.psql("postgres", slip), "07-002");
    let gaps = desk.ok(&["gaps", "order", "--store", &url]);
    assert!(
        gaps.contains("\t5\t5\ttaken before we came back, on no row\n"),
        "{gaps}"
    );
}

/// A row that the reader may not see was a number on no row: its seq became missing, and at the end of a count the
/// number would have been issued again.
#[test]
fn a_table_of_which_a_part_is_hidden_is_not_read_in_part() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "create table invoices (number text, issued date, owner text);
         insert into invoices select 'R-' || n, '2026-01-01', case when n % 2 = 0 then 'nobody' else 'other' end
             from generate_series(1, 4) n;
         alter table invoices enable row level security;
         create policy own on invoices using (owner = current_user);
         create role nobody login; grant select on invoices to nobody;
         create role auditor login bypassrls; grant select on invoices to auditor",
    );
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "R-{seq}"]);
    let url = |user: &str| server.url().replace("postgres@", &format!("{user}@"));
    let source = ["--table", "invoices", "--column", "number", "--date-column", "issued"];
    let (nobody, auditor) = (url("nobody"), url("auditor"));
    let verbs = [&["inspect", &nobody][..], &["import", "invoice", "--with", &nobody]];
    for verb in [&verbs[..], &[&["compare", "invoice", "--with", &nobody]]].concat() {
        let ran = desk.run(&[verb, &source].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
        for said in [
            "row-level security",
            "table invoices hides rows from this role",
            "bypassrls",
        ] {
            assert!(ran.stderr.contains(said), "{said}: {ran:?}");
        }
    }
    desk.ok(&[&["import", "invoice", "--with", &auditor][..], &source].concat());
    desk.ok(&[&["compare", "invoice", "--with", &auditor][..], &source].concat());
    assert_eq!(desk.ok(&["gaps"]), "");
}

/// The reader's session was in UTC: a view that makes a date of an instant had another day for it than for everybody.
#[test]
fn a_date_is_the_one_that_everybody_sees_in_the_database() {
    let server = Postgres::start();
    server.psql("postgres", "alter database postgres set timezone = 'Asia/Kolkata'");
    server.psql(
        "postgres",
        "create table invoices (number text, at timestamptz);
         insert into invoices values ('INV-1', '2026-03-31 19:00+00'), ('INV-2', '1900-01-01 12:00+00');
         create view dated as select number, at::date as day, at from invoices",
    );
    let desk = Desk::new();
    let create = ["series", "create", "invoice", "--format", "INV-{seq}"];
    desk.ok(&[&create[..], &["--time-zone", "Asia/Kolkata"]].concat());
    let url = server.url();
    let source = [
        "--with",
        &url,
        "--table",
        "dated",
        "--column",
        "number",
        "--date-column",
    ];
    desk.ok(&[&["import", "invoice"][..], &source, &["day"]].concat());
    let listed = desk.ok(&["list", "invoice"]);
    assert!(
        listed.contains("INV-1\tissued\tinvoice\tdefault\t2026-04-01\t"),
        "{listed}"
    );
    // An instant is a day of the series, as before, also where the offset of the database has seconds.
    desk.ok(&[&["compare", "invoice"][..], &source, &["at"]].concat());
}

/// One writes a document and has its number recorded a moment later, another takes a number and then writes the document.
#[test]
fn what_is_under_way_while_both_are_compared_is_waited_for() {
    let server = Postgres::start();
    server.psql(
        "postgres",
        "create table invoices (number text); insert into invoices values ('INV-001')",
    );
    let desk = Desk::new();
    desk.ok(&["series", "create", "invoice", "--format", "INV-{seq:3}"]);
    let service = desk.serve();
    desk.ok(&["adopt", "invoice", "INV-001", "--date", "2026-03-02"]);
    let url = server.url();
    let compare = [
        "compare", "invoice", "--with", &url, "--table", "invoices", "--column", "number",
    ];
    desk.ok(&compare);

    server.psql("postgres", "insert into invoices values ('INV-002')");
    let mut under_way = desk.spawn(&compare);
    std::thread::sleep(Duration::from_millis(700));
    desk.ok(&["adopt", "invoice", "INV-002", "--date", "2026-03-02"]);
    assert!(under_way.wait().expect("it ends").success());

    desk.ok(&["issue", "invoice"]);
    let mut under_way = desk.spawn(&compare);
    std::thread::sleep(Duration::from_millis(700));
    server.psql("postgres", "insert into invoices values ('INV-003')");
    assert!(under_way.wait().expect("it ends").success());

    // What never comes is found.
    desk.ok(&["issue", "invoice"]);
    let ran = desk.run(&compare);
    assert_eq!(
        (ran.code, ran.stdout.contains("number_without_document")),
        (3, true),
        "{ran:?}"
    );
    service.stop();
}

/// The guide's switch without downtime and its way back, while six writers go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_switch_and_the_way_back_are_made_while_writers_go_on() {
    let server = Postgres::start();
    let desk = Desk::new();
    let shop = Shop::open(&server, &desk).await;
    let writers = shop.start_writers(6);

    // The old system alone, then the rows from before, then old code that also adopts, then what came in between.
    shop.wait_for(100).await;
    let service = desk.serve();
    let key = desk.ok(&["key", "create", "--label", "shop", "--scope", "issue", "-q"]);
    let import = shop.columns(&["import", "invoice", "--missing-reason", "before our time"]);
    let imported = desk.run(&import);
    assert_eq!(imported.code, 0, "{imported:?}");
    assert_eq!(desk.ok(&["gaps"]), "invoice\tzeta\t\tall\t1\t995\tbefore our time\n");
    shop.let_old_code_adopt(&service.url, key.trim());
    shop.wait_for(100).await;
    let imported = desk.run(&shop.columns(&["import", "invoice"]));
    assert_eq!(imported.code, 0, "{imported:?}");
    let compared = desk.run(&shop.columns(&["compare", "invoice"]));
    assert_eq!(compared.code, 0, "{compared:?}");

    shop.let_old_code_forget();
    shop.wait_for(40).await;
    let before_switch = shop.issued_by_service();
    assert_eq!(before_switch, 0, "until the switch the old function numbers everything");
    let early = shop.take_early().await;
    switch_over(&shop, &desk).await;
    let at_switch = shop.count();
    shop.welcome_new_tenant();
    shop.pay("pay_after", "late").await;
    shop.wait_for(200).await;
    assert!(shop.issued_by_service() > 100, "the service numbers now");
    let compared = desk.run(&shop.columns(&["compare", "invoice"]));
    assert_eq!(compared.code, 0, "{compared:?}");

    // Its number is nobody else's, and is filled in.
    shop.save_late(&early).await;
    assert_eq!(desk.run(&shop.columns(&["import", "invoice"])).code, 0);
    let late = desk.ok(&["list", "invoice", "--tenant", "late"]);
    assert!(
        late.contains("INV-001\tissued\t") && late.contains("INV-002\tissued\t"),
        "{late}"
    );

    let from_service = shop.issued_by_service();
    way_back(&shop, &desk, service).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let at_return = shop.issued_by_service();
    shop.wait_for(100).await;
    assert_eq!(shop.issued_by_service(), at_return, "the old function numbers again");
    assert!(at_return >= from_service && shop.count() > at_switch + 300);
    shop.stop(writers).await;
    shop.is_in_order(&server);
    // What the old function numbered since then is adopted again, and the books agree.
    assert_eq!(desk.run(&shop.columns(&["import", "invoice"])).code, 0);
    let compared = desk.run(&shop.columns(&["compare", "invoice"]));
    assert_eq!(compared.code, 0, "{compared:?}");
    desk.ok(&["verify"]);
}
