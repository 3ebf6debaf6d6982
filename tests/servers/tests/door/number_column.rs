//! A column that fills itself, under load and by the book.

use rand::RngExt as _;
use seriatim::store::postgres::{Postgres, PostgresOptions};
use seriatim::verify::{Options, verify};
use seriatim::{Issuer, SeriesSpec};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::Door;

const CALLERS: usize = 100;
const ORDERS_EACH: usize = 100;

const TABLE: &str = "
    create table orders (
        id bigint generated always as identity primary key,
        order_number text unique,
        payment_reference text not null unique,
        total_minor bigint not null,
        paid_at timestamptz
    );
    select seriatim.number_column('orders', 'order_number', 'order', key_column => 'payment_reference',
        on_delete => 'void');";

/// A definition as the service writes it.
pub fn define(door: &Door, name: &str, settings: &[(&str, &str)]) {
    let defaults = [
        ("format", "{seq}"),
        ("reset", "never"),
        ("time_zone", "UTC"),
        ("start", "1"),
        ("partition_by", ""),
        ("gaps", "explain"),
        ("overflow", "widen"),
        ("limit", ""),
        ("max_length", "64"),
        ("date_order", "free"),
        ("date_window", "-400d..+32d"),
        ("keys", "required"),
        ("replay", "lenient"),
        ("on_expiry", "hold"),
        ("on_outage", "fail"),
        ("test", "false"),
        ("replaces", ""),
        ("replaced_by", ""),
    ];
    let given = |name: &str| {
        settings
            .iter()
            .find(|(given, _)| *given == name)
            .map(|(_, value)| *value)
    };
    let mut lines: Vec<String> = defaults
        .iter()
        .map(|(name, value)| format!("{name}={}", given(name).unwrap_or(value)))
        .collect();
    let params = settings.iter().filter(|(name, _)| name.starts_with("params."));
    lines.extend(params.map(|(name, value)| format!("{name}={value}")));
    let definition = lines.join("\n");
    door.psql(&format!(
        "insert into seriatim.series values ('{name}', 1, '{definition}')"
    ));
}

/// A shop whose series was defined by the service, so that the whole database verifies.
async fn shop() -> (Door, Postgres) {
    let door = Door::install();
    let store = Postgres::open(&door.server.url_of(&door.database), PostgresOptions::default())
        .await
        .expect("a store");
    let issuer = Issuer::open(store.clone()).await.expect("an issuer");
    let spec = SeriesSpec {
        format: "GAM-{date}-{seq:4}".to_string(),
        reset: Some("daily".to_string()),
        time_zone: Some("Asia/Kolkata".to_string()),
        ..SeriesSpec::default()
    };
    issuer.define("order", spec).await.expect("a series");
    issuer.close().await;
    door.psql(TABLE);
    (door, store)
}

/// Orders as a shop takes them: a third of the transactions fail, a tenth pay for what was paid before.
async fn take_orders(mut client: Client, caller: usize) -> (usize, usize) {
    let (mut kept, mut busy) = (0, 0);
    for i in 0..ORDERS_EACH {
        let (retried, rolled_back) = {
            let mut dice = rand::rng();
            (dice.random_ratio(1, 10), dice.random_ratio(1, 3))
        };
        let of = if retried { i.saturating_sub(3) } else { i };
        let by = if retried { (caller + i) % CALLERS } else { caller };
        let reference = format!("pay_{by}_{of}");
        loop {
            let transaction = client.transaction().await.expect("a transaction");
            let inserted = transaction
                .query(
                    "insert into orders (payment_reference, total_minor) values ($1, 100)
                     on conflict (payment_reference) do nothing returning order_number",
                    &[&reference],
                )
                .await;
            match inserted {
                Ok(rows) if rolled_back => {
                    drop(rows);
                    transaction.rollback().await.expect("a rollback");
                }
                Ok(rows) => {
                    transaction.commit().await.expect("a commit");
                    kept += rows.len();
                }
                Err(error) if error.code() == Some(&SqlState::from_code("SR503")) => {
                    busy += 1;
                    continue;
                }
                Err(error) => panic!("{error:?}"),
            }
            break;
        }
    }
    (kept, busy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orders_are_accounted_unique_and_one_a_payment() {
    let (door, store) = shop().await;
    let mut callers = Vec::new();
    for caller in 0..CALLERS {
        let client = door.server.connect(&door.database).await;
        callers.push(tokio::spawn(take_orders(client, caller)));
    }
    let mut kept = 0;
    for caller in callers {
        kept += caller.await.expect("a caller ends").0;
    }
    let one = |sql: &str| door.psql(sql);
    assert_eq!(one("select count(*) from orders"), kept.to_string());
    assert!(kept > CALLERS * ORDERS_EACH / 2, "{kept} orders");
    assert_eq!(one("select count(*) from orders where order_number is null"), "0");
    assert_eq!(
        one(
            "select count(*) from orders o join seriatim.entries e on e.number = o.order_number \
             and e.key = o.payment_reference and e.state = 'issued' and e.reference = 'public.orders'"
        ),
        kept.to_string()
    );
    // Every seq of every day is an order; midnight may have come in between.
    assert_eq!(
        one("select sum(last_seq), sum(issued) from seriatim.counters"),
        format!("{kept}|{kept}")
    );
    assert_eq!(one(CHAIN), "t");

    // A deleted order shows as a void, and its payment gets no second number.
    let number = one("select order_number from orders order by id limit 1");
    let reference = one("delete from orders where id = (select min(id) from orders) returning payment_reference");
    assert_eq!(
        one(&format!(
            "select state, reason_code, reason from seriatim.entries where number = '{number}'"
        )),
        "voided|other|deleted from public.orders"
    );
    let again = door.try_psql(&format!(
        "insert into orders (payment_reference, total_minor) values ('{reference}', 1)"
    ));
    assert!(again.unwrap_err().contains("voided: the key's number"), "{number}");
    assert_eq!(one(CHAIN), "t");
    let report = verify(&store, &Options::default(), &|_| {}).await.expect("it reads");
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    // Out of its line a number could be printed once more: that is found as well.
    one("update seriatim.entry set line = line + 1 where seq = 7");
    let report = verify(&store, &Options::default(), &|_| {}).await.expect("it reads");
    assert!(!report.findings.is_empty());
}

/// Every event stands on the one before it, and the head of every counter is its last event.
const CHAIN: &str = "select bool_and(e.hash = seriatim.event_hash(coalesce(before.hash, \
     seriatim.counter_genesis(c.series, c.tenant, c.partition, c.period)), e)) \
     and bool_and(e.position < c.length or e.hash = c.head) and count(*) = (select sum(length) from seriatim.counter) \
     from seriatim.event e join seriatim.counter c on c.no = e.chain \
     left join seriatim.event before on before.chain = e.chain and before.position = e.position - 1";

#[test]
fn a_row_is_numbered_when_its_condition_holds_and_by_its_own_columns() {
    let door = Door::install();
    define(
        &door,
        "invoice",
        &[
            ("format", "{branch}/{year}-{seq:3}"),
            ("reset", "yearly"),
            ("time_zone", "Asia/Tokyo"),
            ("params.branch", "digits:2"),
            ("partition_by", "branch"),
        ],
    );
    door.psql(
        "create table invoices (id int primary key, shop text, number varchar(40), branch int, status text,
            issued_at timestamptz, unique (shop, number));
         select seriatim.number_column('invoices', 'number', 'invoice', tenant_column => 'shop',
            date_column => 'issued_at', params => '{\"branch\": \"branch\"}',
            number_when => 'new.status = ''issued'' and new.branch % 100 > 0', supplied => 'adopt');
         -- A trigger of the user's own, which fires before ours.
         create function set_shop() returns trigger language plpgsql as
            $$ begin new.shop := coalesce(new.shop, 'acme'); return new; end $$;
         create trigger zz_shop before insert on invoices for each row execute function set_shop();",
    );
    let insert = |values: &str| door.psql(&format!("insert into invoices values {values} returning number"));
    let this_year = door.psql("select to_char(clock_timestamp() at time zone 'Asia/Tokyo', 'YYYY')");
    assert_eq!(insert("(1, null, null, 7, 'draft', null)"), "");
    assert_eq!(
        insert("(2, null, null, 7, 'issued', now())"),
        format!("07/{this_year}-001")
    );
    assert_eq!(
        door.psql("update invoices set status = 'issued', issued_at = now() where id = 1 returning number"),
        format!("07/{this_year}-002")
    );
    assert_eq!(
        insert("(3, 'zenith', null, 7, 'issued', now())"),
        format!("07/{this_year}-001")
    );
    // The day is Tokyo's, whatever the session's zone is: 16:00 UTC is tomorrow there.
    let date = "select date from seriatim.entries order by taken_at desc limit 1";
    door.psql(
        "set timezone = 'America/Lima'; insert into invoices values (4, null, null, 8, 'issued', \
               date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '8 hours')",
    );
    assert_eq!(door.psql(date), door.psql("select (now() at time zone 'UTC')::date"));
    // A number from elsewhere is adopted; what it passes over is missing.
    assert_eq!(
        insert(&format!("(5, null, '09/{this_year}-004', 9, 'issued', now())")),
        format!("09/{this_year}-004")
    );
    assert_eq!(
        door.psql("select missing, issued from seriatim.counters where partition = 'branch=09'"),
        "3|1"
    );
    let unfit = door.try_psql("insert into invoices values (6, null, 'X-1', 9, 'issued', now())");
    assert!(unfit.unwrap_err().contains("number_does_not_fit"));
    // A row that stays the same but for its other columns is left alone.
    door.psql("update invoices set status = 'sent', number = number where id = 2");
    let refused = door.try_psql("delete from invoices where id = 2").unwrap_err();
    assert!(refused.contains("number_fixed"), "{refused}");
    door.psql("delete from invoices where number is null");
}

/// A table of payments, filled from the series `invoice`.
fn payments(options: &str) -> Door {
    let door = Door::install();
    define(&door, "invoice", &[("format", "INV-{seq:4}")]);
    door.psql(&format!(
        "create table orders (tenant text not null, number text, pay text, unique (tenant, number), unique (tenant, pay));
         select seriatim.number_column('orders', 'number', 'invoice', key_column => 'pay', tenant_column => 'tenant'{options})"
    ));
    door
}

/// What was said by a statement that failed.
fn refused(door: &Door, sql: &str) -> String {
    door.try_psql(sql).expect_err(sql)
}

const ENTRIES: &str =
    "select string_agg(tenant || ' ' || number || ' ' || state, ', ' order by tenant, number) from seriatim.entries";

#[test]
fn a_column_that_is_not_there_any_more_takes_no_number() {
    let door = payments("");
    door.psql("alter table orders rename number to invoice_no");
    let gone = refused(&door, "insert into orders values ('acme', null, 'p1')");
    assert!(
        gone.contains("unknown_column") && gone.contains("number_column again"),
        "{gone}"
    );
    door.psql("alter table orders rename invoice_no to number; alter table orders rename pay to payment");
    let gone = refused(&door, "insert into orders values ('acme', null, 'p1')");
    assert!(gone.contains("unknown_column"), "{gone}");
    door.psql("alter table orders rename payment to pay; insert into orders values ('acme', null, 'p1')");
    assert_eq!(door.psql(ENTRIES), "acme INV-0001 issued");
    let kept = refused(&door, "alter table orders alter number type varchar(80)");
    assert!(kept.contains("trigger"), "{kept}");
}

#[test]
fn what_a_number_stands_for_stays_and_a_void_number_may_leave() {
    let door = payments(", on_delete => 'void'");
    door.psql("select seriatim.next('invoice', key => 'z1', tenant => 'zeta'); insert into orders values ('acme', null, 'p1')");
    // Otherwise the delete that follows would void the number of another tenant.
    for change in ["tenant = 'zeta'", "pay = 'p2'", "number = 'INV-0007'", "number = null"] {
        let fixed = refused(&door, &format!("update orders set {change}"));
        assert!(fixed.contains("number_fixed"), "{change}: {fixed}");
    }
    // A number that was voided leaves its row for the one that replaces it, and for no other.
    door.psql("select seriatim.void(seriatim.id_of('invoice', 'INV-0001', 'acme'), 'wrong address', reissue => true)");
    assert!(refused(&door, "update orders set number = 'INV-0003'").contains("number_fixed"));
    door.psql("update orders set number = 'INV-0002'");
    // Nor does a void number keep its row.
    door.psql("select seriatim.void(seriatim.id_of('invoice', 'INV-0002', 'acme'), 'cancelled'); delete from orders");
    assert_eq!(
        door.psql(ENTRIES),
        "acme INV-0001 voided, acme INV-0002 voided, zeta INV-0001 issued"
    );
    // A key that comes later was never bound, and may.
    door.psql("insert into orders values ('acme', null, null); update orders set pay = 'p9'");
}

#[test]
fn two_tables_do_not_share_a_number_by_keys_that_look_alike() {
    let door = Door::install();
    define(&door, "invoice", &[("format", "INV-{seq:4}")]);
    for table in ["bills", "orders"] {
        door.psql(&format!(
            "create table {table} (id bigint generated always as identity primary key, number text unique);
             select seriatim.number_column('{table}', 'number', 'invoice', key_column => 'id')"
        ));
    }
    door.psql("insert into bills default values");
    let reused = refused(&door, "insert into orders default values");
    assert!(
        reused.contains("key_reused") && reused.contains("public.bills"),
        "{reused}"
    );
    assert_eq!(door.psql(ENTRIES), "default INV-0001 issued");
    // The rows of a partitioned table are of one table, whichever partition they are in.
    door.psql(
        "create table parts (part int, pay text, number text, unique (part, number), unique (part, pay)) partition by list (part);
         create table part_1 partition of parts for values in (1); create table part_2 partition of parts for values in (2)",
    );
    let partly = refused(
        &door,
        "select seriatim.number_column('parts', 'number', 'invoice', supplied => 'adopt', on_delete => 'void')",
    );
    assert!(
        partly.contains("not_unique") || partly.contains("column_unfit"),
        "{partly}"
    );
}

#[test]
fn what_cannot_be_a_key_or_a_number_is_refused_at_once() {
    let door = Door::install();
    define(&door, "invoice", &[("format", "INV-{seq:4}")]);
    door.psql(
        "create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
         create type channel as enum ('web', 'shop');
         create domain payment as text;
         create table orders (number text unique, made text generated always as ('x' || amount::text) stored unique,
            amount numeric unique, at timestamptz unique, code char(4) unique, loose text collate loose unique,
            channel channel unique, payment payment unique, blob bytea, odd json)",
    );
    for key in ["made", "amount", "at", "code", "loose"] {
        let unfit = refused(
            &door,
            &format!("select seriatim.number_column('orders', 'number', 'invoice', key_column => '{key}')"),
        );
        assert!(unfit.contains("column_unfit"), "{key}: {unfit}");
    }
    for (wrong, code) in [
        ("'made', 'invoice'", "column_unfit"),
        ("'number', 'invoice', number_when => null", "invalid_text"),
        ("'number', 'invoice', date_column => 'amount'", "column_unfit"),
        ("'number', 'invoice', params => '{\"a\": \"odd\"}'", "column_unfit"),
        ("null, 'invoice'", "unknown_column"),
    ] {
        let unfit = refused(&door, &format!("select seriatim.number_column('orders', {wrong})"));
        assert!(unfit.contains(code), "{wrong}: {unfit}");
    }
    // Columns that do not count are not looked at, whatever is in them.
    door.psql(
        "select seriatim.number_column('orders', 'number', 'invoice', key_column => 'payment');
         insert into orders (payment, blob, odd) values ('p1', repeat('x', 100000)::bytea, '{\"a\": \"\\u0000\"}');
         update orders set odd = '{}'",
    );
    assert_eq!(door.psql("select number from orders"), "INV-0001");
    let fills = |column: &str| {
        door.psql(&format!(
            "alter table orders add \"{column}\" text unique; select seriatim.number_column('orders', '{column}', 'invoice')"
        ));
    };
    fills("a_name_as_long_as_a_name_may_be_and_then_some_1");
    fills("a_name_as_long_as_a_name_may_be_and_then_some_2");
    fills("номер_документа_по_порядку_1");
    fills("номер_документа_по_порядку_2");
}

#[test]
fn a_date_is_that_of_the_row_whatever_the_session_is_set_to() {
    let door = Door::install();
    define(&door, "daily", &[("format", "D{date}-{seq:3}"), ("reset", "daily")]);
    door.psql(
        "create table days (day date, number text unique);
         select seriatim.number_column('days', 'number', 'daily', date_column => 'day')",
    );
    let day = door.psql("select to_char(now() at time zone 'UTC', 'YYYYMMDD')");
    for settings in [
        "",
        "set standard_conforming_strings = off",
        "set datestyle = 'SQL, DMY'",
    ] {
        let number = door.psql(&format!(
            "set timezone = 'Asia/Tokyo'; {settings}; insert into days values (to_date('{day}', 'YYYYMMDD')) returning number"
        ));
        assert!(number.contains(&format!("D{day}-")), "{settings}: {number}");
    }
}

// CET in PostgreSQL is an abbreviation: one hour, all year round.
#[test]
fn the_day_is_that_of_the_zone_in_summer_too() {
    let door = Door::install();
    let at = |zone: &str, instant: &str, set: &str| {
        let name = format!("of_{}", zone.to_lowercase());
        define(
            &door,
            &name,
            &[("format", "{date}-{seq}"), ("time_zone", zone), ("reset", "daily")],
        );
        door.psql(&format!(
            "create or replace function seriatim.clock() returns timestamptz language sql volatile \
             return timestamptz '2026-07-01 {instant}Z'"
        ));
        door.psql(&format!("{set}; select seriatim.next('{name}')"))
            .lines()
            .last()
            .unwrap_or_default()
            .to_string()
    };
    for (zone, instant) in [("CET", "22:00"), ("MET", "22:00"), ("EET", "21:00"), ("WET", "23:00")] {
        assert_eq!(at(zone, instant, "select"), "20260702-1", "{zone}");
    }
    // These are whatever the setting says.
    let set = "set timezone_abbreviations = 'Australia'";
    for (zone, instant) in [("EST", "04:59"), ("MST", "06:59"), ("HST", "09:59"), ("GMT", "23:59")] {
        let day = if zone == "GMT" { "20260701-1" } else { "20260630-1" };
        assert_eq!(at(zone, instant, set), day, "{zone}");
    }
}
