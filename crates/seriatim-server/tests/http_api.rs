//! Every route, walked as its users walk it.

mod http;

use expect_test::expect_file;
use http::World;
use serde_json::{Value, json};
use seriatim_server::app::AppOptions;
use seriatim_server::routes;

#[tokio::test]
async fn the_description_is_the_one_in_the_repository() {
    expect_file!["../openapi.json"].assert_eq(&(routes::openapi() + "\n"));
}

#[tokio::test]
async fn the_description_says_what_is_read_and_answered() {
    let described: Value = serde_json::from_str(&routes::openapi()).unwrap();
    let operations = || {
        described["paths"]
            .as_object()
            .unwrap()
            .values()
            .flat_map(|path| path.as_object().unwrap().values())
    };
    let reads = |operation: &Value, header: &str| {
        let found = operation["parameters"].as_array().into_iter().flatten();
        found.filter(|parameter| parameter["name"] == header).count() == 1
    };
    for operation in operations().filter(|operation| operation["security"].is_array()) {
        assert!(reads(operation, "Seriatim-Actor"), "{operation}");
    }
    for id in [
        "confirm",
        "void",
        "claim",
        "close_period",
        "create_key",
        "define_series",
    ] {
        let operation = operations().find(|operation| operation["operationId"] == id).unwrap();
        assert!(reads(operation, "Prefer"), "{id}");
    }
    let schemas = &described["components"]["schemas"];
    assert_eq!(schemas["NumberOrText"]["type"], json!(["integer", "string"]));
    for (schema, field) in [
        ("ReserveRequest", "ttl"),
        ("ParamRequest", "digits"),
        ("ClaimRequest", "pause"),
        ("FailRequest", "retry_in"),
    ] {
        let shown = schemas[schema]["properties"][field].to_string();
        assert!(shown.contains("#/components/schemas/NumberOrText"), "{shown}");
    }
    // A checkpoint is written by the library, so that its description could fall behind.
    let world = World::furnished().await;
    world
        .post(
            "/v1/gates/claim",
            json!({"effect": "x", "subject": "y", "ttl": 60, "holder": "z"}),
        )
        .await
        .is(200);
    let checkpoint = world.get("/v1/audit/checkpoint").await.is(200).json;
    let known = &schemas["Checkpoint"]["properties"];
    for field in checkpoint.as_object().unwrap().keys() {
        assert!(known[field].is_object(), "{field}");
    }
}

#[tokio::test]
async fn a_series_is_defined_shown_changed_and_listed() {
    let world = World::new().await;
    let body = json!({
        "name": "order", "format": "{branch}/{fy:long}/{seq:5}", "reset": "fiscal-year:04-01", "time_zone": "Asia/Kolkata",
        "params": {"branch": {"one_of": ["N", "S"]}}, "partition_by": ["branch"], "limit": 50_000,
    });
    let created = world.put("/v1/series/order", body.clone()).await.is(201);
    assert_eq!(
        (created.header("etag").as_str(), &created.json["changed"]),
        ("\"1\"", &json!(true))
    );
    assert_eq!(created.json["params"], json!({"branch": {"one_of": ["N", "S"]}}));

    let again = world.put("/v1/series/order", body).await.is(200);
    assert_eq!(
        (again.header("etag").as_str(), &again.json["changed"]),
        ("\"1\"", &json!(false))
    );

    let change = json!({
        "format": "{branch}/{fy:long}/{seq:5}", "reset": "fiscal-year:04-01", "time_zone": "Asia/Kolkata",
        "params": {"branch": {"one_of": ["N", "S"]}}, "partition_by": ["branch"], "limit": 60_000,
    });
    let put = || world.ask("PUT", "/v1/series/order").json(&change);
    put().send().await.problem(428, "version_required");
    put()
        .header("if-match", "\"7\"")
        .send()
        .await
        .problem(412, "version_mismatch");
    let changed = put().header("if-match", "\"1\"").send().await.is(200);
    assert_eq!(
        (changed.header("etag").as_str(), &changed.json["limit"]),
        ("\"2\"", &json!(60_000))
    );

    let shown = world.get("/v1/series/order").await.is(200);
    assert_eq!(
        (shown.text("time_zone").as_str(), shown.text("date_window").as_str()),
        ("Asia/Kolkata", "-400d..+32d")
    );
    let known = world
        .ask("GET", "/v1/series/order")
        .header("if-none-match", "W/\"2\"")
        .send()
        .await
        .is(304);
    assert_eq!((known.raw.as_str(), known.header("etag").as_str()), ("", "\"2\""));
    assert_eq!(
        world.get("/v1/series").await.is(200).rows(&["name", "version"]),
        ["order 2"]
    );
}

#[tokio::test]
async fn widths_of_params_are_written_as_they_are_read() {
    let world = World::new().await;
    let params = json!({"a": {"digits": 2}, "b": {"letters": "1..4"}, "c": {"digits": "1..3"}});
    let body = json!({"format": "{a}{b}-{c}-{seq}", "params": params});
    assert_eq!(world.put("/v1/series/wide", body).await.is(201).json["params"], params);
}

#[tokio::test]
async fn a_rehearsal_decides_and_writes_nothing() {
    let world = World::new().await;
    let body = json!({"format": "INV-{seq:3}"});
    let would = world.put("/v1/series/invoice?dry_run=true", body).await.is(201);
    assert_eq!(
        (&would.json["dry_run"], &would.json["changed"]),
        (&json!(true), &json!(true))
    );
    world.get("/v1/series/invoice").await.problem(404, "unknown_series");
}

#[tokio::test]
async fn a_number_is_issued_and_a_retry_gets_it_again() {
    let world = World::furnished().await;
    let body = json!({
        "key": "pay_1", "tenant": "acme", "reference": "order 42", "document": {"total": 11800, "lines": []},
    });
    let first = world.issue("invoice", body.clone()).await;
    assert_eq!(first.header("location"), format!("/v1/entries/{}", first.text("id")));
    assert!(!first.has_header("idempotent-replayed"));
    for (field, value) in [
        ("series", json!("invoice")),
        ("tenant", json!("acme")),
        ("number", json!("INV-001")),
        ("seq", json!(1)),
        ("period", json!("all")),
        ("state", json!("issued")),
        ("origin", json!("issue")),
        ("key", json!("pay_1")),
        ("reference", json!("order 42")),
        ("params", json!({})),
        ("document", json!({"total": 11800, "lines": []})),
    ] {
        assert_eq!(first.json[field], value, "{field}");
    }
    assert_eq!(first.text("hash").len(), 64);
    assert!(first.text("issued_at").ends_with('Z'));

    let again = world.issue("invoice", body).await;
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.raw, first.raw);
}

#[tokio::test]
async fn a_document_is_kept_as_it_was_received() {
    let world = World::furnished().await;
    let text = r#"{ "b":1.50,   "a":"\u00e9" }"#;
    let body = format!(r#"{{"key": "k", "document": {text}}}"#);
    let ask = world
        .ask("POST", "/v1/series/invoice/entries")
        .header("content-type", "application/json; charset=utf-8");
    let entry = ask.body(body).send().await.is(201);
    assert!(entry.raw.contains(text), "{}", entry.raw);
}

#[tokio::test]
async fn the_key_may_come_in_the_header() {
    let world = World::furnished().await;
    let issue = |key: &str, body: Value| {
        let ask = world
            .ask("POST", "/v1/series/invoice/entries")
            .header("idempotency-key", key)
            .json(&body);
        ask.send()
    };
    assert_eq!(issue("\"pay_1\"", json!({})).await.is(201).text("key"), "pay_1");
    assert_eq!(
        issue("pay_1", json!({"key": "pay_1"}))
            .await
            .is(201)
            .header("idempotent-replayed"),
        "true"
    );
    issue("pay_2", json!({"key": "pay_1"}))
        .await
        .problem(400, "key_mismatch")
        .at("/key");
}

#[tokio::test]
async fn a_lenient_retry_says_in_what_it_differs() {
    let world = World::furnished().await;
    world.issue("invoice", json!({"key": "a", "document": 1})).await;
    let again = world.issue("invoice", json!({"key": "a", "document": 2})).await;
    assert_eq!(
        (&again.json["differs"], &again.json["document"]),
        (&json!(["document"]), &json!(1))
    );
}

#[tokio::test]
async fn a_wider_number_comes_with_a_warning() {
    let world = World::furnished().await;
    world
        .post(
            "/v1/series/invoice/advance",
            json!({"to": 999, "reason": "earlier system"}),
        )
        .await
        .is(200);
    let wide = world.issue("invoice", json!({"key": "a"})).await;
    assert_eq!(
        (wide.text("number").as_str(), &wide.json["warnings"][0]["code"]),
        ("INV-1000", &json!("widened"))
    );
}

#[tokio::test]
async fn a_test_series_says_so_in_every_answer() {
    let world = World::furnished().await;
    let entry = world.issue("trial", json!({"key": "a"})).await;
    assert_eq!(entry.json["test"], true);
    assert_eq!(
        world.get(&format!("/v1/entries/{}", entry.text("id"))).await.json["test"],
        true
    );
    assert_eq!(
        world.get("/v1/entries?series=trial").await.json["data"][0]["test"],
        true
    );
}

#[tokio::test]
async fn a_batch_is_one_commit() {
    let world = World::furnished().await;
    let items = json!({"items": [{"key": "a"}, {"key": "b", "tenant": "acme"}, {"key": "c"}]});
    let path = "/v1/series/invoice/entries/batch";
    let first = world.post(path, items.clone()).await.is(201);
    assert_eq!(
        first.rows(&["number", "tenant", "key"]),
        ["INV-001 default a", "INV-001 acme b", "INV-002 default c"]
    );
    assert_eq!(
        world.post(path, items).await.is(201).header("idempotent-replayed"),
        "true"
    );

    let mixed = world
        .post(path, json!({"items": [{"key": "c"}, {"key": "d"}]}))
        .await
        .is(201);
    assert!(!mixed.has_header("idempotent-replayed"));
    assert_eq!(mixed.rows(&["number", "replayed"]), ["INV-002 true", "INV-003 null"]);

    let counted = world.post(path, json!({"key": "many", "count": 3})).await.is(201);
    assert_eq!(counted.rows(&["number"]), ["INV-004", "INV-005", "INV-006"]);
}

#[tokio::test]
async fn a_preview_consumes_nothing() {
    let world = World::furnished().await;
    let path = "/v1/series/branch/preview";
    let seen = world
        .post(path, json!({"params": {"branch": "7"}, "count": 2}))
        .await
        .is(200);
    assert_eq!(
        seen.rows(&["number", "seq", "period"]),
        ["07-0001 1 all", "07-0002 2 all"]
    );
    assert_eq!(
        world.get("/v1/series/branch/counters").await.rows(&["last_seq"]),
        [""; 0]
    );
    world.ask("POST", "/v1/series/invoice/preview").send().await.is(200);
}

#[tokio::test]
async fn a_reservation_is_confirmed_or_released() {
    let world = World::furnished().await;
    let reserve = |key: &str| world.post("/v1/series/invoice/reservations", json!({"key": key, "ttl": "15m"}));
    let first = reserve("a").await.is(201);
    assert_eq!(
        (first.text("state").as_str(), &first.json["issued_at"]),
        ("reserved", &Value::Null)
    );
    assert!(first.text("expires_at") > first.text("taken_at"));
    assert_eq!(reserve("a").await.is(201).header("idempotent-replayed"), "true");

    let confirm = format!("/v1/entries/{}/confirm", first.text("id"));
    let confirmed = world.post(&confirm, json!({"document": {"total": 1}})).await.is(200);
    assert_eq!(
        (confirmed.text("state").as_str(), &confirmed.json["document"]),
        ("issued", &json!({"total": 1}))
    );
    assert_eq!(
        world
            .ask("POST", &confirm)
            .send()
            .await
            .is(200)
            .header("idempotent-replayed"),
        "true"
    );

    let second = reserve("b").await.is(201).text("id");
    let released = world
        .post(&format!("/v1/entries/{second}/release"), json!({"reason": "cart left"}))
        .await
        .is(200);
    assert_eq!(
        (released.text("state").as_str(), released.text("reason").as_str()),
        ("voided", "cart left")
    );
    world
        .post(&format!("/v1/entries/{second}/confirm"), json!({}))
        .await
        .problem(409, "voided");
    world
        .post("/v1/series/invoice/reservations", json!({"key": "c", "ttl": 60}))
        .await
        .is(201);
}

#[tokio::test]
async fn a_void_with_reissue_moves_the_key() {
    let world = World::furnished().await;
    let id = world
        .issue("invoice", json!({"key": "a", "document": {"to": "Ann"}}))
        .await
        .text("id");
    let body = json!({"reason_code": "spoiled", "reason": "wrong name", "reissue": true});
    let done = world.post(&format!("/v1/entries/{id}/void"), body).await.is(200);
    let (voided, replacement) = (&done.json["voided"], &done.json["replacement"]);
    assert_eq!(
        (&voided["number"], &voided["state"]),
        (&json!("INV-001"), &json!("voided"))
    );
    assert_eq!(
        (&replacement["number"], &replacement["replaces"]),
        (&json!("INV-002"), &json!(id))
    );
    assert_eq!(voided["replacement"], replacement["id"]);

    let retry = world
        .post("/v1/series/invoice/entries", json!({"key": "a"}))
        .await
        .problem(409, "voided")
        .at("/key");
    assert_eq!(retry.json["entry"]["number"], "INV-001");
    assert_eq!(retry.json["replacement"]["number"], "INV-002");
    assert!(!retry.has_header("idempotent-replayed"));

    // The answer to the void was lost: whoever asks again hears the number that stands now.
    let body = json!({"reason_code": "spoiled", "reason": "wrong name", "reissue": true});
    let again = world.post(&format!("/v1/entries/{id}/void"), body).await;
    let again = again.problem(409, "already_voided");
    assert_eq!(again.json["replacement"]["number"], "INV-002");
    assert!(
        again.text("detail").ends_with("; its replacement is INV-002"),
        "{}",
        again.raw
    );
}

#[tokio::test]
async fn a_redaction_empties_the_document_and_keeps_its_hash() {
    let world = World::furnished().await;
    let entry = world
        .issue("invoice", json!({"key": "a", "document": {"name": "Ann"}}))
        .await;
    let path = format!("/v1/entries/{}/redact", entry.text("id"));
    let redacted = world
        .post(&path, json!({"reason": "asked by the person"}))
        .await
        .is(200);
    assert_eq!(
        (&redacted.json["document"], &redacted.json["redacted"]),
        (&Value::Null, &json!(true))
    );
    assert_eq!(redacted.json["document_sha256"], entry.json["document_sha256"]);
}

#[tokio::test]
async fn numbers_are_adopted_in_bulk_and_the_same_batch_again_changes_nothing() {
    let world = World::furnished().await;
    let item = |number: &str, key: &str| json!({"number": number, "key": key, "date": "2026-03-01"});
    let body = json!({
        "items": [item("INV-041", "a"), item("INV-044", "b"), {"number": "INV-045", "date": "2026-03-01"}],
        "missing_reason": "not in the old table",
    });
    let path = "/v1/series/invoice/adopt/batch";
    let rehearsed = world.post(&format!("{path}?dry_run=true"), body.clone()).await.is(200);
    assert_eq!(rehearsed.rows(&["number"]), ["INV-041", "INV-044", "INV-045"]);
    assert_eq!(world.get("/v1/entries").await.json["data"], json!([]));
    let adopted = world.post(path, body.clone()).await.is(201);
    assert_eq!(adopted.rows(&["number"]), ["INV-041", "INV-044", "INV-045"]);
    let again = world.post(path, body).await.is(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(again.json["data"][2]["replayed"], json!(true));
    let gaps = world.get("/v1/audit/gaps?series=invoice").await.is(200);
    assert!(gaps.raw.contains("not in the old table"), "{}", gaps.raw);

    let mixed = json!({"items": [item("INV-046", "c"), item("INV-041", "z")]});
    let refused = world.post(path, mixed).await.problem(409, "number_exists");
    assert_eq!(refused.json["errors"][0]["pointer"], "/items/1/number");
    for (body, pointer) in [
        (
            json!({"items": [{"number": "INV-046", "date": "soon"}]}),
            "/items/0/date",
        ),
        (json!({"items": [item("INV-046", "ä")]}), "/items/0/key"),
        (
            json!({"items": [item("INV-046", "c")], "missing_reason": ""}),
            "/missing_reason",
        ),
        (json!({"items": [{"number": "INV-046"}]}), "/items/0/date"),
        (json!({"items": []}), "/items"),
    ] {
        let answer = world.post(path, body).await;
        assert!((400..500).contains(&answer.status), "{}", answer.raw);
        assert_eq!(answer.json["errors"][0]["pointer"], pointer, "{}", answer.raw);
    }
    assert_eq!(world.get("/v1/entries").await.json["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn an_adopted_number_raises_the_counter() {
    let world = World::furnished().await;
    let today = world.issue("trial", json!({"key": "today"})).await.text("date");
    let body = json!({"number": "INV-041", "date": today, "key": "old"});
    let adopted = world.post("/v1/series/invoice/adopt", body.clone()).await.is(201);
    assert_eq!(
        (adopted.text("number").as_str(), adopted.text("origin").as_str()),
        ("INV-041", "adopt")
    );
    let again = world.post("/v1/series/invoice/adopt", body).await.is(201);
    assert_eq!(again.header("idempotent-replayed"), "true");
    assert_eq!(
        world.issue("invoice", json!({"key": "new"})).await.text("number"),
        "INV-042"
    );
    let gaps = world.get("/v1/audit/gaps").await.is(200);
    assert_eq!(
        gaps.rows(&["series", "tenant", "first", "last", "count"]),
        ["invoice default 1 40 40"]
    );
    assert_eq!(gaps.json["unaccounted"], json!([]));
}

#[tokio::test]
async fn entries_are_found_by_every_filter_and_page() {
    let world = World::furnished().await;
    for i in 0..5 {
        world
            .issue("invoice", json!({"key": format!("k{i}"), "tenant": "acme"}))
            .await;
    }
    let date = world
        .issue("branch", json!({"key": "b", "params": {"branch": "3"}}))
        .await
        .text("date");
    let found = |query: String| {
        let world = &world;
        async move {
            world
                .get(&format!("/v1/entries?{query}"))
                .await
                .is(200)
                .rows(&["number"])
        }
    };
    assert_eq!(found("series=branch".into()).await, ["03-0001"]);
    assert_eq!(found("tenant=acme&number=INV-003".into()).await, ["INV-003"]);
    assert_eq!(found("series=invoice&tenant=acme&key=k1".into()).await, ["INV-002"]);
    assert_eq!(
        found("series=invoice&tenant=acme&key=k1&state=voided".into()).await,
        [""; 0]
    );
    assert_eq!(
        found(format!(
            "series=branch&date_from={date}&date_to={date}&period=all&state=issued"
        ))
        .await,
        ["03-0001"]
    );
    world
        .get("/v1/entries?key=k1")
        .await
        .problem(400, "missing_parameter")
        .at("/series");

    let first = world.get("/v1/entries?series=invoice&limit=2").await.is(200);
    assert_eq!(first.rows(&["number"]), ["INV-005", "INV-004"]);
    let cursor = first.text("next_cursor");
    let link = first.header("link");
    assert_eq!(
        link,
        format!("</v1/entries?series=invoice&limit=2&cursor={cursor}>; rel=\"next\"")
    );
    let second = world.get(&link[1..link.find('>').unwrap()]).await.is(200);
    assert_eq!(second.rows(&["number"]), ["INV-003", "INV-002"]);
}

#[tokio::test]
async fn the_numbers_of_a_key_are_paged_and_found_in_the_series_that_was_replaced() {
    let world = World::furnished().await;
    let batch = json!({"key": "a", "count": 5});
    world.post("/v1/series/invoice/entries/batch", batch).await.is(201);
    let successor = json!({"format": "NEW-{seq:3}", "replaces": "invoice"});
    world.put("/v1/series/successor", successor).await.is(201);
    for series in ["invoice", "successor"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/v1/entries?series={series}&key=a&limit=2{cursor}");
            let page = world.get(&path).await.is(200);
            seen.extend(page.rows(&["number"]));
            match page.json["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
            assert!(
                page.rows(&["number"]).len() == 2 && page.has_header("link"),
                "{}",
                page.raw
            );
        }
        assert_eq!(
            seen,
            ["INV-001", "INV-002", "INV-003", "INV-004", "INV-005"],
            "{series}"
        );
    }
    let foreign = world.get("/v1/entries?series=invoice&key=a&cursor=e1").await;
    foreign.problem(400, "invalid_cursor").at("/cursor");
}

/// Whoever looked for a payment found the replacement alone, and missed the number that was spent.
#[tokio::test]
async fn a_key_finds_its_number_and_the_void_ones_before_it() {
    let world = World::furnished().await;
    let mut id = world.issue("invoice", json!({"key": "a"})).await.text("id");
    for reason_code in ["spoiled", "rejected"] {
        let void = json!({"reason_code": reason_code, "reason": "test", "reissue": true});
        let voided = world.post(&format!("/v1/entries/{id}/void"), void).await.is(200);
        id = voided.json["replacement"]["id"].as_str().unwrap().to_string();
    }
    world.issue("invoice", json!({"key": "b"})).await;
    let all = world.get("/v1/entries?series=invoice&key=a").await.is(200);
    assert_eq!(
        all.rows(&["number", "state"]),
        ["INV-003 issued", "INV-002 voided", "INV-001 voided"]
    );
    let void = world
        .get("/v1/entries?series=invoice&key=a&state=voided&limit=1")
        .await
        .is(200);
    assert_eq!(void.rows(&["number"]), ["INV-002"]);
    assert!(void.has_header("link"));
}

#[tokio::test]
async fn an_entry_is_shown_with_its_events() {
    let world = World::furnished().await;
    let ask = world
        .ask("POST", "/v1/series/invoice/entries")
        .header("seriatim-actor", "clerk 7");
    let id = ask.json(&json!({"key": "a"})).send().await.is(201).text("id");
    let void = json!({"reason_code": "other", "reason": "test"});
    world.post(&format!("/v1/entries/{id}/void"), void).await.is(200);
    let shown = world.get(&format!("/v1/entries/{id}")).await.is(200);
    let events = shown.json["events"].as_array().unwrap();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event["kind"].as_str().unwrap(), event["actor"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("issued", "os:ann"), ("voided", "os:ann")]);
    assert_eq!(events[0]["on_behalf_of"], "clerk 7");
    assert_eq!(events[1]["hash"], shown.json["hash"]);
}

#[tokio::test]
async fn counters_show_how_far_they_are() {
    let world = World::furnished().await;
    world.issue("invoice", json!({"key": "a", "tenant": "acme"})).await;
    world.issue("invoice", json!({"key": "b"})).await;
    let counters = world.get("/v1/series/invoice/counters").await.is(200);
    assert_eq!(
        counters.rows(&["tenant", "last_seq", "capacity", "fill"]),
        ["acme 1 999 0.001", "default 1 999 0.001"]
    );
    let one = world
        .get("/v1/series/invoice/counters?tenant=acme&period=all&limit=1")
        .await
        .is(200);
    assert_eq!(one.rows(&["tenant"]), ["acme"]);
    assert_eq!(
        one.json["data"][0]["counts"],
        json!({"issued": 1, "reserved": 0, "voided": 0, "missing": 0})
    );
    let page = world.get("/v1/series/invoice/counters?limit=1").await.is(200);
    let next = world
        .get(&format!(
            "/v1/series/invoice/counters?cursor={}",
            page.text("next_cursor")
        ))
        .await
        .is(200);
    assert_eq!(next.rows(&["tenant"]), ["default"]);
}

#[tokio::test]
async fn a_period_is_closed_and_opened_again() {
    let world = World::furnished().await;
    let id = world.issue("invoice", json!({"key": "a"})).await.text("id");
    let body = json!({"series": "invoice", "period": "all", "reason": "audit"});
    let closed = world.post("/v1/periods/close", body.clone()).await.is(200);
    assert_eq!(
        (closed.text("state").as_str(), &closed.json["counters"][0]["last_seq"]),
        ("closed", &json!(1))
    );
    world
        .post("/v1/series/invoice/entries", json!({"key": "b"}))
        .await
        .problem(409, "period_closed")
        .at("/date");
    let void = json!({"reason_code": "other", "reason": "late"});
    world
        .post(&format!("/v1/entries/{id}/void"), void)
        .await
        .problem(409, "period_closed");
    world
        .post("/v1/periods/close", body.clone())
        .await
        .problem(409, "period_closed")
        .at("/period");
    assert_eq!(
        world
            .get("/v1/periods?series=invoice")
            .await
            .is(200)
            .rows(&["period", "state"]),
        ["all closed"]
    );
    let opened = world.post("/v1/periods/reopen", body).await.is(200);
    assert_eq!(
        (opened.text("state").as_str(), &opened.json["closed_at"]),
        ("open", &Value::Null)
    );
    world.issue("invoice", json!({"key": "b"})).await;
}

#[tokio::test]
async fn a_counter_is_advanced_with_a_reason() {
    let world = World::furnished().await;
    let done = world
        .post(
            "/v1/series/invoice/advance",
            json!({"to": 10, "reason": "printed forms"}),
        )
        .await
        .is(200);
    assert_eq!(
        done.json["missing"],
        json!({"first": 1, "last": 10, "count": 10, "reason": "printed forms"})
    );
    assert_eq!(done.json["counter"]["last_seq"], 10);
    assert_eq!(
        world.issue("invoice", json!({"key": "a"})).await.text("number"),
        "INV-011"
    );
}

#[tokio::test]
async fn a_test_series_is_wiped() {
    let world = World::furnished().await;
    world.issue("trial", json!({"key": "a"})).await;
    let wiped = world.ask("POST", "/v1/series/trial/wipe").send().await.is(200);
    assert_eq!(wiped.json, json!({"series": "trial", "wiped": true}));
    assert_eq!(world.issue("trial", json!({"key": "b"})).await.text("number"), "T-1");
    world
        .ask("POST", "/v1/series/invoice/wipe")
        .send()
        .await
        .problem(409, "not_a_test_series");
}

/// Beside PostgreSQL, before the first `serve`: nobody could tell who has to give what.
#[tokio::test]
async fn without_a_key_for_checkpoints_it_is_said_where_one_comes_from() {
    let world = World::with(AppOptions::default()).await;
    let refused = world.get("/v1/audit/checkpoint").await.is(409);
    assert_eq!(refused.text("code"), "no_checkpoint_key");
    let detail = refused.text("detail");
    assert!(
        detail.contains("drawn when `seriatim serve` runs for the first time"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_auditor_gets_sums_and_a_checkpoint_that_verifies() {
    let world = World::furnished().await;
    let date = world.issue("invoice", json!({"key": "a"})).await.text("date");
    world.issue("invoice", json!({"key": "b"})).await;
    let sums = world
        .get(&format!("/v1/audit/summary?from={date}&to={date}"))
        .await
        .is(200);
    assert_eq!(
        sums.rows(&["series", "first", "last", "total", "net"]),
        ["invoice INV-001 INV-002 2 2"]
    );
    // What was passed over has no date, so it is not said to be none.
    let counts = &sums.json["data"][0]["counts"];
    assert_eq!(*counts, json!({"issued": 2, "reserved": 0, "voided": 0}));

    let checkpoint = world.get("/v1/audit/checkpoint").await.is(200);
    assert_eq!(checkpoint.json["counters"][0]["last_seq"], 2);
    let started = world
        .post("/v1/audit/verifications", json!({"checkpoint": checkpoint.json}))
        .await
        .is(202);
    let location = started.header("location");
    let done = loop {
        let now = world.get(&location).await.is(200);
        if now.text("state") != "running" {
            break now;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (done.text("state").as_str(), &done.json["findings"]),
        ("done", &json!([])),
        "{}",
        done.raw
    );
    assert_eq!(done.json["progress"]["counters"], 1);
    let compared = json!({
        "at": checkpoint.json["at"], "public_key": checkpoint.json["public_key"], "signer": "this_store",
    });
    assert_eq!(done.json["checkpoint"], compared);
    let resumed = json!({"resume": done.text("last")});
    world.post("/v1/audit/verifications", resumed).await.is(202);
    world
        .get("/v1/audit/verifications/ver_0")
        .await
        .problem(404, "unknown_verification");
}

#[tokio::test]
async fn a_changed_checkpoint_is_refused() {
    let world = World::furnished().await;
    let mut checkpoint = world.get("/v1/audit/checkpoint").await.is(200).json;
    checkpoint["definitions"]["length"] = json!(99);
    let answer = world
        .post("/v1/audit/verifications", json!({"checkpoint": checkpoint}))
        .await;
    answer.problem(422, "checkpoint_changed").at("/checkpoint");
    let answer = world
        .post("/v1/audit/verifications", json!({"checkpoint": {"version": 1}}))
        .await;
    answer.problem(400, "invalid_checkpoint").at("/checkpoint");
}

#[tokio::test]
async fn a_key_is_made_used_listed_and_revoked() {
    let world = World::furnished().await;
    let body = json!({"label": "checkout", "scopes": ["issue"], "tenants": ["acme"], "series": ["invoice"]});
    let made = world.post("/v1/keys", body).await.is(201);
    assert_eq!(made.header("cache-control"), "no-store");
    let (id, key) = (made.text("id"), made.text("key"));
    assert!(key.starts_with(&format!("srt_{id}_")), "{key}");
    let issue = |name: &'static str| {
        let body = json!({"key": name, "tenant": "acme"});
        let ask = world.ask("POST", "/v1/series/invoice/entries").key(&key).json(&body);
        ask.send()
    };
    let entry = issue("a").await.is(201).text("id");
    let shown = world.get(&format!("/v1/entries/{entry}")).await;
    assert_eq!(shown.json["events"][0]["actor"], format!("key:{id}"));
    let listed = world.get("/v1/keys").await.is(200);
    assert_eq!(listed.rows(&["id", "label", "test"]), [format!("{id} checkout false")]);
    assert!(!listed.raw.contains("secret") && !listed.raw.contains(&key));

    let revoked = world.ask("DELETE", &format!("/v1/keys/{id}")).send().await.is(200);
    assert!(revoked.json["revoked_at"].is_string());
    issue("b").await.problem(401, "invalid_api_key");
    world
        .ask("DELETE", "/v1/keys/none")
        .send()
        .await
        .problem(404, "unknown_api_key");
}

#[tokio::test]
async fn probes_need_no_key_and_issue_nothing() {
    let world = World::furnished().await;
    let before = world.census().await;
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/openapi.json",
        "/docs/reference/problems",
        "/readyz?verbose",
    ] {
        let answer = world.ask("GET", path).who(&http::Who::Nobody).send().await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let verbose = world.get("/readyz?verbose").await.raw;
    assert!(
        verbose.starts_with("[+]store ok\n") && verbose.contains("[!]durable"),
        "{verbose}"
    );
    assert_eq!(world.census().await, before);
    world.app.begin_shutdown();
    assert_eq!(world.get("/readyz").await.is(503).raw, "shutting down\n");
    world.get("/livez").await.is(200);
}

#[tokio::test]
async fn a_request_keeps_its_id_or_gets_one() {
    let world = World::furnished().await;
    let brought = world
        .ask("GET", "/v1/nothing")
        .header("x-request-id", "abc-1")
        .send()
        .await;
    assert_eq!(brought.problem(404, "unknown_route").text("request_id"), "abc-1");
    for bad in ["", "two words", &"x".repeat(129)] {
        let answer = world.ask("GET", "/livez").header("x-request-id", bad).send().await;
        assert!(answer.header("x-request-id").starts_with("req_"), "{bad}");
    }
}

#[tokio::test]
async fn a_wait_is_granted_within_bounds() {
    let world = World::furnished().await;
    let ask = world
        .ask("POST", "/v1/series/invoice/entries")
        .header("prefer", "wait=2")
        .json(&json!({"key": "a"}));
    ask.send().await.is(201);
}

#[tokio::test]
async fn a_seq_beyond_doubles_stays_exact() {
    let world = World::furnished().await;
    let far = 9_007_199_254_740_993_u64;
    world
        .post("/v1/series/trial/advance", json!({"to": far - 1, "reason": "far"}))
        .await
        .is(200);
    let entry = world.issue("trial", json!({"key": "a"})).await;
    assert_eq!(
        (&entry.json["seq"], entry.text("number")),
        (&json!(far), format!("T-{far}"))
    );
}

#[tokio::test]
async fn a_service_that_cannot_issue_says_when_to_retry() {
    let world = World::furnished().await;
    world.app.issuer().close().await;
    let answer = world
        .post("/v1/series/invoice/entries", json!({"key": "a"}))
        .await
        .problem(503, "shutting_down");
    assert_eq!(
        (answer.header("retry-after").as_str(), answer.text("outcome").as_str()),
        ("1", "nothing")
    );
    assert_eq!(answer.text("retry"), "retry");
    // What is only read is still there.
    world.get("/v1/series").await.is(200);
}
