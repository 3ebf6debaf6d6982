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
