//! Putting the door in place, and leaving it.

use seriatim::store::postgres::door::{DoorError, detach, install, script, uninstall};
use seriatim::store::postgres::{OpenError, PostgresOptions};

use super::Door;
use super::number_column::define;

fn options() -> PostgresOptions {
    PostgresOptions::default()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, DoorError>) -> String {
    match outcome.expect_err("a refusal") {
        DoorError::Refused { code, .. } => code,
        other => other.to_string(),
    }
}

#[tokio::test]
async fn the_printed_script_and_the_installed_door_are_the_same() {
    let printed = Door::install();
    let installed = printed.server.create_database();
    let url = printed.server.url_of(&installed);
    assert!(install(&url, &options()).await.expect("it is installed").created);
    // Again, as after an update.
    assert!(!install(&url, &options()).await.expect("it is replaced").created);
    let inside = "select string_agg(n, E'\\n' order by n collate \"C\") from (
        select pg_get_functiondef(oid) from pg_proc where pronamespace = 'seriatim'::regnamespace
        union all select c.relname || a.attname || format_type(a.atttypid, a.atttypmod) from pg_attribute a
            join pg_class c on c.oid = a.attrelid where c.relnamespace = 'seriatim'::regnamespace and a.attnum > 0) f (n)";
    assert_eq!(printed.psql(inside), printed.server.psql(&installed, inside));
    // The script is for an empty database, and says so.
    assert!(printed.try_psql(&script(0)).unwrap_err().contains("version 0"));
    printed.psql(&script(seriatim::store::postgres::MIGRATIONS.len()));
}

#[tokio::test]
async fn numbers_are_dropped_only_by_name() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "order", &[("format", "O-{seq}")]);
    door.psql("select seriatim.next('order')");
    assert_eq!(code(uninstall(&url, None, &options()).await), "has_numbers");
    assert_eq!(code(uninstall(&url, Some("another"), &options()).await), "has_numbers");
    uninstall(&url, Some(&door.database), &options())
        .await
        .expect("it goes");
    assert_eq!(code(uninstall(&url, None, &options()).await), "not_installed");
    assert_eq!(code(detach(&url, &options()).await), "not_installed");
    assert_eq!(
        door.psql("select count(*) from pg_namespace where nspname = 'seriatim'"),
        "0"
    );
    // A gate that is done is as good a reason: without it the receipt would be made once more.
    assert!(install(&url, &options()).await.expect("it is installed").created);
    door.psql("select seriatim.gate_claim('receipt', 'pay_1', '60s', 'w')");
    assert_eq!(code(uninstall(&url, None, &options()).await), "has_numbers");
    uninstall(&url, Some(&door.database), &options())
        .await
        .expect("it goes");
    // Another program's schema of that name is left alone.
    door.psql("create schema seriatim create table seriatim.things (a int)");
    let foreign = install(&url, &options()).await;
    assert!(
        matches!(foreign, Err(DoorError::Open(OpenError::Unusable(_)))),
        "{foreign:?}"
    );
    assert_eq!(code(uninstall(&url, None, &options()).await), "not_installed");
}

#[tokio::test]
async fn who_leaves_goes_on_with_the_present_values() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "order", &[("format", "O-{seq:3}")]);
    define(
        &door,
        "invoice",
        &[
            ("format", "INV-{fy}{branch}/{tenant}/{seq:2}"),
            ("reset", "fiscal-year:04-01"),
            ("params.branch", "digits:2"),
            ("partition_by", "branch"),
        ],
    );
    door.psql(
        "create table orders (number text unique); select seriatim.number_column('orders', 'number', 'order');
        insert into orders values (null), (null)",
    );
    let next =
        "next('invoice', tenant => 'acme', params => '{\"branch\": 7}', date => date_trunc('year', now())::date)";
    let before = door.psql(&format!("select seriatim.{next}"));
    door.psql(
        "select seriatim.gate_claim('receipt', 'pay_' || i, '60s', 'w') from generate_series(1, 2) i;
        select seriatim.gate_complete(id, 1, '{\"file\": 7}') from seriatim.gates where subject = 'pay_1'",
    );
    let emptied = detach(&url, &options()).await.expect("it leaves");
    assert_eq!(emptied, ["public.orders.number from order"]);
    assert_eq!(door.psql("select numbers.next('order')"), "O-003");
    assert_eq!(door.psql("select numbers.next('order', 'acme')"), "O-001");
    assert_eq!(
        door.psql(&format!("select numbers.{next}")),
        before.replace("/01", "/02")
    );
    door.psql("alter table orders alter number set default numbers.next('order'); insert into orders default values");
    assert_eq!(
        door.psql("select string_agg(number, ' ' order by number) from orders"),
        "O-001 O-002 O-004"
    );
    assert_eq!(door.psql("select count(*) from numbers.entry"), "3");
    let events = "select count(*), count(gate) from numbers.event";
    assert_eq!(door.psql(events), "8|5");
    assert_eq!(
        door.psql("select subject, state, result from numbers.gate order by subject"),
        "pay_1|done|{\"file\": 7}\npay_2|claimed|"
    );
    let again = "insert into numbers.gate (tenant, effect, subject) values ('default', 'receipt', 'pay_1')";
    assert!(door.try_psql(again).unwrap_err().contains("duplicate key"));
}

/// What is in the way is a refusal with its way out, and nothing that somebody built goes without a word.
#[tokio::test]
async fn leaving_is_refused_while_something_is_in_the_way() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "order", &[("format", "O-{seq:3}")]);
    let refused = async || match detach(&url, &options()).await.expect_err("a refusal") {
        DoorError::Refused { code, message } => format!("{code}: {message}"),
        other => format!("{other:?}"),
    };
    door.psql("create schema numbers");
    let said = refused().await;
    assert!(
        said.starts_with("schema_exists: ") && said.contains("alter schema numbers rename"),
        "{said}"
    );
    door.psql(
        "drop schema numbers; create table mine (number text unique default seriatim.next('order'), n int);
        create view open_numbers as select number from seriatim.entries;
        create view upon_it as select * from open_numbers;
        create function of_entry(e seriatim.entries) returns text language sql as 'select e.number';
        create table theirs (number text unique); select seriatim.number_column('theirs', 'number', 'order');
        insert into mine default values",
    );
    let said = refused().await;
    let named = "default value for column number of table public.mine, function public.of_entry(seriatim.entries), \
                 view public.open_numbers; drop it";
    assert!(said.starts_with("in_use: ") && said.contains(named), "{said}");
    assert_eq!(door.psql("select count(*) from open_numbers"), "1");
    door.psql("drop view open_numbers cascade; drop function of_entry; alter table mine alter number drop default");
    assert_eq!(
        detach(&url, &options()).await.expect("it leaves"),
        ["public.theirs.number from order"]
    );

    // The store alone has no functions.
    let database = door.server.create_database();
    let url = door.server.url_of(&database);
    let store = seriatim::store::postgres::Postgres::open(&url, options()).await;
    store.expect("a store").close().await;
    assert_eq!(code(detach(&url, &options()).await), "no_functions");
}

#[tokio::test]
async fn who_comes_back_moves_in_before_a_column_fills_itself() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "order", &[("format", "O-{seq:3}")]);
    let fills = "select seriatim.number_column('orders', 'number', 'order', key_column => 'pay')";
    door.psql(&format!(
        "create table orders (number text unique, pay text unique); {fills}"
    ));
    door.psql("insert into orders values (null, 'p1')");
    detach(&url, &options()).await.expect("it leaves");
    door.psql(
        "alter table orders alter number set default numbers.next('order'); insert into orders (pay) values ('p2')",
    );
    assert!(install(&url, &options()).await.expect("it is installed").created);
    define(&door, "order", &[("format", "O-{seq:3}")]);
    let refused = door.try_psql(fills).unwrap_err();
    assert!(
        refused.contains("column_unfit") && refused.contains("numbers.next"),
        "{refused}"
    );
    door.psql("alter table orders alter number drop default");
    door.psql("select seriatim.adopt('order', number, current_date, pay) from orders order by number");
    door.psql(fills);
    let retry =
        "insert into orders (pay) values ('p1') on conflict (pay) do update set pay = excluded.pay returning number";
    assert_eq!(door.psql(retry), "O-001");
    assert_eq!(
        door.psql("insert into orders (pay) values ('p3') returning number"),
        "O-003"
    );
}

#[tokio::test]
async fn who_leaves_prints_no_number_of_a_series_that_was_replaced() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "old", &[("format", "X-{seq:2}"), ("replaced_by", "new")]);
    define(&door, "new", &[("format", "X-{seq:3}"), ("replaces", "old")]);
    door.psql("select seriatim.next('new')");
    detach(&url, &options()).await.expect("it leaves");
    door.psql("insert into numbers.entry (series, tenant, number) values ('old', 'default', 'X-002')");
    assert_eq!(door.psql("select numbers.next('new')"), "X-003");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_install_at_once_while_a_number_is_being_taken() {
    let door = Door::install();
    let url = door.server.url_of(&door.database);
    define(&door, "order", &[("format", "O-{seq}")]);
    let mut taking = door.server.connect(&door.database).await;
    let open = taking.transaction().await.expect("a transaction");
    open.query("select seriatim.next('order')", &[])
        .await
        .expect("a number");
    let installing = [url.clone(), url.clone(), url].map(|url| {
        tokio::spawn(async move {
            install(&url, &PostgresOptions::default())
                .await
                .expect("it is replaced")
        })
    });
    for installed in installing {
        assert!(!installed.await.expect("it ends").created);
    }
    open.commit().await.expect("a commit");
}

#[tokio::test]
async fn who_may_make_no_roles_is_told_which_are_missing() {
    let server = std::sync::Arc::new(seriatim_servers_tests::Postgres::start());
    server.psql("postgres", "create role owner login");
    server.psql("postgres", "create database shop owner owner");
    let url = server
        .url_of("shop")
        .replace("postgres://postgres@", "postgres://owner@");
    let installed = install(&url, &options()).await.expect("it is installed");
    assert!(installed.created && installed.missing_roles.len() == 4, "{installed:?}");
    // As the guide says: the owner is to grant what he could not make.
    for role in ["issuer", "worker", "reader", "admin"] {
        server.psql("postgres", &format!("create role seriatim_{role} nologin admin owner"));
    }
    server.psql("postgres", "create role app login");
    let installed = install(&url, &options()).await.expect("it is replaced");
    assert_eq!((installed.created, installed.missing_roles.len()), (false, 0));
    assert_eq!(
        server.psql(
            "shop",
            "select has_schema_privilege('seriatim_issuer', 'seriatim', 'usage')"
        ),
        "t"
    );
    server.psql("shop", "set session authorization owner; grant seriatim_issuer to app");
    assert_eq!(
        server.psql("shop", "select pg_has_role('app', 'seriatim_issuer', 'usage')"),
        "t"
    );
}

/// Settings of the role or the database with which other functions would be made, or none.
#[tokio::test]
async fn the_functions_are_the_same_whatever_is_set_for_the_database() {
    let server = seriatim_servers_tests::Postgres::start();
    for printed in [false, true] {
        let database = server.create_database();
        for setting in [
            "default_transaction_read_only = on",
            "standard_conforming_strings = off",
        ] {
            server.psql("postgres", &format!("alter database {database} set {setting}"));
        }
        if printed {
            server.psql(&database, &script(0));
        } else {
            install(&server.url_of(&database), &options())
                .await
                .expect("it is installed");
        }
        let tab = "select seriatim.is_printable(E'a\\tb'), seriatim.is_printable('a b')";
        assert_eq!(server.psql(&database, tab), "f|t");
    }
}
