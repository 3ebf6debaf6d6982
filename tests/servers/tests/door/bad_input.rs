//! What is refused, with which code, and that nothing is written then.

use seriatim::conformance::scenario::Outcome;

use super::Door;
use super::at_door::refused;
use super::number_column::define;

fn door() -> Door {
    let door = Door::install();
    define(&door, "order", &[("format", "O-{seq}")]);
    define(
        &door,
        "branchy",
        &[("format", "{branch}-{seq}"), ("params.branch", "digits:2")],
    );
    define(
        &door,
        "lettered",
        &[("format", "{l}-{seq}"), ("params.l", "letters:1..8")],
    );
    door
}

/// Statements with the code, or the SQLSTATE, that each must fail with.
async fn check(door: &Door, cases: &[(&str, &str)]) {
    let client = door.server.connect(&door.database).await;
    let before = door.psql("select count(*) from seriatim.event");
    for (sql, expected) in cases {
        let error = client.batch_execute(sql).await.expect_err(sql);
        let said = match refused(&error) {
            Outcome::Refused { code, field, .. } => format!("{code} {}", field.unwrap_or_default()),
            Outcome::Failed(what) => what.split(' ').next().unwrap_or_default().to_string(),
            other => other.to_string(),
        };
        assert_eq!(said.trim_end(), *expected, "{sql}: {error:?}");
        client.batch_execute("rollback; reset role").await.expect("a rollback");
    }
    assert_eq!(door.psql("select count(*) from seriatim.event"), before);
}

#[tokio::test]
async fn a_bad_request_is_refused_with_its_code() {
    let door = door();
    door.psql("select seriatim.next('branchy', key => 'a', params => '{\"branch\": 7}')");
    check(
        &door,
        &[
            ("select seriatim.next('orders', key => 'a')", "unknown_series /series"),
            ("select seriatim.next('Order', key => 'a')", "invalid_series /series"),
            ("select seriatim.next(null, key => 'a')", "invalid_series /series"),
            (
                "select seriatim.next('order', tenant => 'a/b')",
                "invalid_tenant /tenant",
            ),
            (
                "select seriatim.next('order', tenant => null)",
                "invalid_tenant /tenant",
            ),
            ("select seriatim.next('order', key => '')", "invalid_key /key"),
            ("select seriatim.next('branchy')", "missing_param /params/branch"),
            (
                "select seriatim.next('branchy', params => '{\"branch\": 7, \"a~/\": 1}')",
                "unknown_param /params/a~0~1",
            ),
            (
                "select seriatim.next('branchy', params => '[1]')",
                "invalid_param /params",
            ),
            (
                "select seriatim.next('branchy', params => '{\"branch\": null}')",
                "missing_param /params/branch",
            ),
            (
                "select seriatim.next('branchy', key => 'a', params => '{\"branch\": 8}')",
                "key_reused /key",
            ),
            (
                "select seriatim.reserve('branchy', key => 'a', params => '{\"branch\": 7}')",
                "key_reused /key",
            ),
            (
                "select seriatim.reserve('order', ttl => '1 second 1 millisecond')",
                "invalid_ttl /ttl",
            ),
            (
                "select seriatim.next('order', date => 'infinity')",
                "date_outside_window /date",
            ),
            (
                "select seriatim.next('order', date => '2062-01-01')",
                "date_outside_window /date",
            ),
            (
                "select seriatim.next('order', document => '{')",
                "invalid_document /document",
            ),
            (
                "select seriatim.next('order', reference => E'a\\tb')",
                "invalid_text /reference",
            ),
            ("select seriatim.adopt('order', 'O-7', null)", "invalid_date /date"),
            (
                "select seriatim.adopt('order', 'O-7', 'infinity')",
                "date_out_of_range /date",
            ),
            (
                "select seriatim.adopt('order', null, '2026-01-01')",
                "number_does_not_fit /number",
            ),
            (
                "select seriatim.adopt('order', 'O-99999999999999999999', '2026-01-01')",
                "number_does_not_fit /number",
            ),
            (
                "select seriatim.adopt('order', 'O-' || repeat('9', 140000), '2026-01-01')",
                "number_does_not_fit /number",
            ),
            (
                "select seriatim.adopt('order', 'O-9223372036854775807', '2026-01-01')",
                "counter_exhausted /number",
            ),
            (
                "select seriatim.next('lettered', params => '{\"l\": true}')",
                "wrong_type /params/l",
            ),
            (
                "select seriatim.next('lettered', params => '{\"l\": [\"A\"]}')",
                "wrong_type /params/l",
            ),
            (
                "select seriatim.next('lettered', params => '{\"l\": 7}')",
                "invalid_param /params/l",
            ),
            (
                r#"select seriatim.next('order', document => '{"\u0000": 1, "\u0000": 2}')"#,
                "invalid_document /document",
            ),
            (
                r#"select seriatim.next('order', document => '{"\u0000": 1, "\uE000": 2, "\ue000": 3}')"#,
                "invalid_document /document",
            ),
            ("select seriatim.confirm('ent_1')", "invalid_id /id"),
            (
                "select seriatim.confirm('ent_0000000000000000_9223372036854775807')",
                "unknown_entry /id",
            ),
            (
                "select seriatim.confirm('ent_0000000000000000_9223372036854775808')",
                "invalid_id /id",
            ),
            ("select seriatim.void(null, 'gone')", "invalid_id /id"),
            (
                "select seriatim.void('ent_0000000000000000_1', null)",
                "invalid_text /reason",
            ),
            (
                "select seriatim.void('ent_0000000000000000_1', 'x', null)",
                "invalid_text /reason_code",
            ),
            (
                "set local seriatim.actor = E'a\\u202eb'; select seriatim.next('order')",
                "invalid_text /on_behalf_of",
            ),
        ],
    )
    .await;
}

/// A NUL is no character of a text here, and was taken for another one.
#[test]
fn a_name_with_a_nul_is_a_name_of_its_own() {
    let door = door();
    for document in [
        r#"{"\u0000": 1, "\ue000": 2, "\u0000\u0000": 3, "\uE0000": 4}"#,
        r#"{"\\u0000": 1, "\\ue000": 2}"#,
        r#"{"\u0000": 1, "\\u0000": 2, "\\\u0000": 3, "\\ue000": 4}"#,
    ] {
        door.psql(&format!("select seriatim.next('order', document => '{document}')"));
        let kept = door.psql("select document from seriatim.entries order by seq desc limit 1");
        assert_eq!(kept, document);
    }
}

/// As many digits as the largest seq has.
#[test]
fn an_id_that_was_given_out_is_an_id() {
    let door = door();
    define(&door, "edge", &[("format", "E{seq}"), ("start", "1000000000000000000")]);
    for (verb, state) in [
        ("confirm({id})", "issued"),
        ("release({id}, 'not used')", "voided"),
        ("void({id}, 'spoiled')", "voided"),
    ] {
        let id = door.psql("select id from seriatim.reserve('edge')");
        let verb = verb.replace("{id}", &format!("'{id}'"));
        assert_eq!(door.psql(&format!("select state from seriatim.{verb}")), state);
    }
}

/// As the core says it.
#[tokio::test]
async fn a_number_that_is_there_for_another_key_says_for_which() {
    let door = door();
    door.psql("select seriatim.adopt('order', 'O-1', '2026-01-01', 'a'), seriatim.adopt('order', 'O-2', '2026-01-01')");
    for (adopt, said) in [
        (
            "'O-1', '2026-01-01', 'b'",
            "O-1 exists already in series order, for key a and not for b; the document of b needs a number of its own",
        ),
        (
            "'O-2', '2026-01-01', 'b'",
            "O-2 exists already in series order, without a key and not for b; adopt it without one",
        ),
        ("'O-1', '2026-01-01'", "O-1 exists already in series order"),
    ] {
        let error = door
            .try_psql(&format!("select seriatim.adopt('order', {adopt})"))
            .unwrap_err();
        assert!(error.contains(&format!("number_exists: {said}\n")), "{error}");
    }
}

/// A day of a year that is within the years was said not to be one of them.
#[tokio::test]
async fn a_date_out_of_range_is_told_the_first_and_the_last_day() {
    let door = Door::install();
    let settings = [("format", "{fy}-{seq}"), ("reset", "fiscal-year:04-01")];
    define(&door, "fiscal", &settings);
    let error = door
        .try_psql("select seriatim.adopt('fiscal', '9900-1', '2000-03-31')")
        .unwrap_err();
    let said = "series fiscal takes dates from 2000-04-01 to 2099-12-31; 2000-03-31 is not one";
    assert!(error.contains(said), "{error}");
}

#[tokio::test]
async fn a_bad_request_about_a_gate_is_refused_with_its_code() {
    let door = door();
    let gate = door.psql("select gate from seriatim.gate_claim('receipt', 'pay_1', '60s', 'ann')");
    let claims = [
        ("null, 'p', '60s', 'w'", "invalid_effect /effect"),
        ("'Receipt', 'p', '60s', 'w'", "invalid_effect /effect"),
        ("'receipt', null, '60s', 'w'", "invalid_subject /subject"),
        ("'receipt', 'é', '60s', 'w'", "invalid_subject /subject"),
        ("'receipt', repeat('x', 256), '60s', 'w'", "invalid_subject /subject"),
        ("'receipt', 'p', null, 'w'", "invalid_ttl /ttl"),
        ("'receipt', 'p', '500 milliseconds', 'w'", "invalid_ttl /ttl"),
        ("'receipt', 'p', '367 days', 'w'", "invalid_ttl /ttl"),
        ("'receipt', 'p', '-1 second', 'w'", "invalid_ttl /ttl"),
        ("'receipt', 'p', '60s', null", "invalid_text /holder"),
        ("'receipt', 'p', '60s', E'a\\nb'", "invalid_text /holder"),
        ("'receipt', 'p', '60s', 'w', tenant => null", "invalid_tenant /tenant"),
        ("'receipt', 'p', '60s', 'w', tenant => 'a b'", "invalid_tenant /tenant"),
        ("'receipt', 'p', '60s', 'w', key => ' '", "invalid_key /key"),
        ("'receipt', 'p', '60s', 'w', attempts => 0", "invalid_count /attempts"),
        (
            "'receipt', 'p', '60s', 'w', attempts => 1001",
            "invalid_count /attempts",
        ),
        ("'receipt', 'p', '60s', 'w', pause => '0s'", "invalid_ttl /pause"),
        (
            "'receipt', 'p', '60s', 'w', pause_max => '1 year 1 day'",
            "invalid_ttl /pause_max",
        ),
        (
            "'receipt', 'p', '60s', 'w', pause => '1h', pause_max => '1m'",
            "invalid_ttl /pause",
        ),
    ];
    let changes = [
        ("gate_renew(null, 1, '60s')", "invalid_id /id"),
        ("gate_renew('gat_', 1, '60s')", "invalid_id /id"),
        ("gate_renew('ent_0000000000000000', 1, '60s')", "invalid_id /id"),
        ("gate_renew('gat_0000000000000000', 1, '60s')", "unknown_gate /id"),
        ("gate_renew($gate, 1, null)", "invalid_ttl /ttl"),
        ("gate_renew($gate, null, '60s')", "stale_token /token"),
        ("gate_renew($gate, -1, '60s')", "stale_token /token"),
        ("gate_complete($gate, 2, '{}')", "stale_token /token"),
        ("gate_complete($gate, 1, null)", "invalid_document /result"),
        ("gate_complete($gate, 1, 'fine')", "invalid_document /result"),
        (
            "gate_complete($gate, 1, to_json(repeat('x', 65536))::text)",
            "document_too_large /result",
        ),
        ("gate_fail($gate, 1, null)", "invalid_text /error"),
        ("gate_fail($gate, 1, repeat('x', 1001))", "invalid_text /error"),
        ("gate_fail($gate, 1, 'no', retry_in => '0s')", "invalid_ttl /retry_in"),
        ("gate_fail($gate, null, 'no')", "stale_token /token"),
        ("gate_retry($gate, null)", "invalid_text /reason"),
        ("gate_retry($gate, 'again')", "gate_not_dead /id"),
        ("gate_retry('gat_0000000000000000', 'again')", "unknown_gate /id"),
    ];
    let mut cases: Vec<(String, &str)> = vec![(
        "begin isolation level repeatable read; select seriatim.gate_claim('receipt', 'p', '60s', 'w')".to_string(),
        "isolation_level",
    )];
    for (words, expected) in claims {
        cases.push((format!("select seriatim.gate_claim({words})"), expected));
    }
    for (call, expected) in changes {
        let call = call.replace("$gate", &format!("'{gate}'"));
        cases.push((format!("select seriatim.{call}"), expected));
    }
    let cases: Vec<(&str, &str)> = cases.iter().map(|(sql, expected)| (&**sql, *expected)).collect();
    check(&door, &cases).await;
    // Who found two subjects of one id would gain nothing; here the id is bent instead.
    door.psql("update seriatim.gate set subject = 'pay_2'");
    let another = [(
        "select seriatim.gate_claim('receipt', 'pay_1', '60s', 'w')",
        "invalid_subject /subject",
    )];
    check(&door, &another).await;
}

#[tokio::test]
async fn a_transaction_that_cannot_number_is_told_why() {
    let door = door();
    check(
        &door,
        &[
            (
                "begin isolation level repeatable read; select seriatim.next('order')",
                "isolation_level",
            ),
            (
                "begin isolation level serializable; select seriatim.next('order')",
                "isolation_level",
            ),
            ("begin read only; select seriatim.next('order')", "read_only"),
            (
                "begin; update seriatim.fence set open = false, reason = 'a failover'; select seriatim.next('order')",
                "fenced",
            ),
        ],
    )
    .await;
    assert_eq!(door.psql("select seriatim.next('order')"), "O-1");
    let standby = door.server.standby("one");
    let read_only = standby
        .try_psql(&door.database, "select seriatim.next('order')")
        .unwrap_err();
    assert!(read_only.contains("read_only: "), "{read_only}");
}

#[tokio::test]
async fn a_fence_that_is_closed_is_heard_at_once_even_by_who_has_entered_and_of_a_series_defined_meanwhile() {
    const CLOSE: &str = "update seriatim.fence set open = false, reason = 'a failover'";
    const OPEN: &str = "update seriatim.fence set open = true, reason = null";
    const DEFINE: &str = "update seriatim.series set version = version + 1 where name = 'order'";
    let door = door();
    let (till, other) = (
        door.server.connect(&door.database).await,
        door.server.connect(&door.database).await,
    );
    let take = async || match till.query_one("select seriatim.next('order')", &[]).await {
        Ok(row) => row.get(0),
        Err(error) => refused(&error).to_string(),
    };
    assert_eq!(take().await, "O-1");
    door.psql(CLOSE);
    assert!(take().await.contains("fenced"));
    door.psql(OPEN);
    assert_eq!(take().await, "O-2");

    // Neither of the two that change what a number asks may miss the other: the second one waits.
    let at_most = |sql: &str| format!("set lock_timeout = '200ms'; {sql}");
    for (first, second) in [(DEFINE, CLOSE), (CLOSE, DEFINE)] {
        other
            .batch_execute(&format!("begin; {first}"))
            .await
            .expect("the first");
        let waits = door.server.try_psql(&door.database, &at_most(second)).unwrap_err();
        assert!(waits.contains("lock timeout"), "{waits}");
        other.batch_execute("commit").await.expect("a commit");
        door.psql(second);
        assert!(take().await.contains("fenced"), "{first}, then {second}");
        door.psql(OPEN);
    }
    assert_eq!(take().await, "O-3");
}

#[tokio::test]
async fn a_role_may_do_what_it_was_granted_and_no_more() {
    let door = door();
    door.psql(
        "create role nobody; create role till; create role clerk; create role owner_of_app; create role press;
        grant seriatim_issuer to till; grant seriatim_reader to clerk; grant seriatim_admin to owner_of_app;
        grant seriatim_worker to press;
        grant create, usage on schema public to owner_of_app",
    );
    check(
        &door,
        &[
            ("set role nobody; select seriatim.next('order')", "42501"),
            ("set role nobody; select * from seriatim.entries", "42501"),
            (
                "set role till; select seriatim.void(seriatim.id_of('order', 'O-1'), 'gone')",
                "42501",
            ),
            (
                "set role till; select seriatim.take('issue', 'order', null, 'default', '{}', null, null, null)",
                "42501",
            ),
            (
                "set role till; insert into seriatim.series values ('x', 1, '')",
                "42501",
            ),
            ("set role till; update seriatim.counter set last_seq = 0", "42501"),
            ("set role till; delete from seriatim.event", "42501"),
            ("set role clerk; select seriatim.next('order')", "42501"),
            // As the scopes of an API key: who issues may not claim, who claims may not issue, nor open a dead gate.
            (
                "set role till; select seriatim.gate_claim('receipt', 'p', '60s', 'w')",
                "42501",
            ),
            ("set role till; select * from seriatim.gates", "42501"),
            (
                "set role clerk; select seriatim.gate_claim('receipt', 'p', '60s', 'w')",
                "42501",
            ),
            ("set role press; select seriatim.next('order')", "42501"),
            ("set role press; select * from seriatim.entries", "42501"),
            (
                "set role press; select seriatim.gate_retry('gat_0000000000000000', 'x')",
                "42501",
            ),
            ("set role press; select seriatim.move_gate(null, null)", "42501"),
            ("set role press; update seriatim.gate set token = 0", "42501"),
            (
                "set role owner_of_app; select seriatim.gate_retry('gat_0000000000000000', 'x')",
                "unknown_gate /id",
            ),
        ],
    )
    .await;
    assert_eq!(door.psql("set role till; select seriatim.next('order')"), "O-1");
    assert_eq!(door.psql("set role clerk; select number from seriatim.entries"), "O-1");
    let claim = "set role press; select outcome from seriatim.gate_claim('receipt', 'p', '60s', 'w')";
    assert_eq!(door.psql(claim), "won");
    assert_eq!(door.psql("set role press; select state from seriatim.gates"), "claimed");
    // Every column of every view.
    for (role, view) in [
        ("press", "gates"),
        ("clerk", "gates"),
        ("clerk", "entries"),
        ("clerk", "counters"),
        ("clerk", "events"),
        ("owner_of_app", "events"),
    ] {
        let rows = door.psql(&format!(
            "set role {role}; select count(v::text) from seriatim.{view} v"
        ));
        assert_ne!(rows, "0", "{role}, {view}");
    }
    // Whoever may write to the table needs no right of ours; its owner needs seriatim_admin to install.
    door.psql(
        "set role owner_of_app; create table t (n text unique); select seriatim.number_column('t', 'n', 'order');
        grant insert on t to nobody",
    );
    assert_eq!(
        door.psql("set role nobody; insert into t values (null); reset role; table t"),
        "O-2"
    );
    // Who is connected did it, whatever role he took.
    assert_eq!(door.psql("select distinct actor from seriatim.events"), "db:postgres");
}

#[tokio::test]
async fn a_column_that_cannot_fill_itself_is_refused() {
    let door = door();
    door.psql(
        "create table t (n text unique, k text, i int unique, d timestamp, part text unique, s text unique);
        create unique index on t (k) where k <> '';
        create table late (n text unique);
        create function nothing() returns trigger language plpgsql as $$ begin return new; end $$;
        create trigger \"~tilde\" before insert on late for each row execute function nothing();
        create table done (n text unique, m text unique); select seriatim.number_column('done', 'n', 'order');
        insert into done default values",
    );
    check(
        &door,
        &[
            ("select seriatim.number_column('nothing', 'n', 'order')", "42P01"),
            ("select seriatim.number_column('t', 'm', 'order')", "unknown_column"),
            (
                "select seriatim.number_column('t', 'n', 'order', key_column => 'm')",
                "unknown_column",
            ),
            (
                "select seriatim.number_column('t', 'n', 'order', params => '{\"a\": \"m\"}')",
                "unknown_column",
            ),
            ("select seriatim.number_column('t', 'i', 'order')", "column_unfit"),
            (
                "select seriatim.number_column('t', 'n', 'order', date_column => 'd')",
                "column_unfit",
            ),
            ("select seriatim.number_column('t', 'k', 'order')", "not_unique"),
            (
                "select seriatim.number_column('t', 'n', 'order', key_column => 'k')",
                "not_unique",
            ),
            (
                "select seriatim.number_column('t', 'n', 'orders')",
                "unknown_series /series",
            ),
            (
                "select seriatim.number_column('t', 'n', 'order', supplied => 'keep')",
                "invalid_text",
            ),
            (
                "select seriatim.number_column('t', 'n', 'order', on_delete => null)",
                "invalid_text",
            ),
            (
                "select seriatim.number_column('t', 'n', 'order', number_when => 'new.nothing')",
                "42703",
            ),
            ("select seriatim.number_column('late', 'n', 'order')", "trigger_later"),
            ("select seriatim.number_column('done', 'n', 'order')", "column_numbered"),
            ("update done set n = 'O-9'", "number_fixed"),
            ("update done set n = null", "number_fixed"),
            ("insert into done values ('O-9')", "number_supplied"),
            ("delete from done", "number_fixed"),
            ("truncate done", "number_fixed"),
        ],
    )
    .await;
    // A second column beside the first one.
    door.psql("select seriatim.number_column('done', 'm', 'branchy', params => '{\"branch\": \"n\"}')");
}

#[tokio::test]
async fn a_caller_who_waits_too_long_is_told_that_the_counter_is_busy() {
    let door = door();
    door.psql("alter function seriatim.wait_for_counter set lock_timeout = '200ms'");
    let client = door.server.connect(&door.database).await;
    for birth in [true, false] {
        client
            .batch_execute("begin; select seriatim.next('order')")
            .await
            .expect("a number");
        let busy = door.try_psql("select seriatim.next('order')").unwrap_err();
        assert!(busy.contains("counter_busy: "), "birth {birth}: {busy}");
        // Another counter goes on.
        door.psql("select seriatim.next('order', tenant => 'acme')");
        client.batch_execute("commit").await.expect("a commit");
    }
    // Who is the first of a tenant has the tenant to himself; the others are told so.
    define(&door, "daily", &[("format", "D{date}-{seq}"), ("reset", "daily")]);
    let first = "begin; select seriatim.next('daily', tenant => 'new')";
    client.batch_execute(first).await.expect("a number");
    let busy = door.try_psql("select seriatim.next('daily', tenant => 'new', date => current_date - 1)");
    assert!(busy.unwrap_err().contains("first number of tenant new"));
    client.batch_execute("commit").await.expect("a commit");
    // A retry is answered though the counter is held: it takes no number.
    door.psql("select seriatim.next('order', key => 'a')");
    client
        .batch_execute("begin; select seriatim.next('order')")
        .await
        .expect("a number");
    assert_eq!(door.psql("select seriatim.next('order', key => 'a')"), "O-3");
    // Two who want two counters in opposite order: one gets both, the other is told to try again.
    let other = door.server.connect(&door.database).await;
    other
        .batch_execute("begin; select seriatim.next('order', tenant => 'acme')")
        .await
        .expect("a number");
    let (one, two) = tokio::join!(
        client.batch_execute("select seriatim.next('order', tenant => 'acme')"),
        other.batch_execute("select seriatim.next('order')")
    );
    for error in [one, two].into_iter().filter_map(Result::err) {
        assert!(matches!(refused(&error), Outcome::Refused { code, .. } if code == "counter_busy"));
    }
}

#[test]
fn series_that_replace_each_other_do_not_hang_whoever_stores_them() {
    // Nothing that the core accepts, and nothing that a statement by hand may wait for without end.
    let door = Door::install();
    define(&door, "old", &[("format", "O-{seq}")]);
    define(&door, "new", &[("format", "N-{seq}"), ("replaces", "old")]);
    door.psql(
        "set statement_timeout = '10s';
         update seriatim.series set definition = replace(definition, 'replaces=', 'replaces=new') where name = 'old'",
    );
    assert_eq!(
        door.psql("select name, olds from seriatim.series_plan order by name"),
        "new|{old}\nold|{new,old}"
    );
}
