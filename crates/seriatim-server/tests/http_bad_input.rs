//! What is wrong with a request is said with a stable code and a pointer to the field, and nothing is written.

mod http;

use http::{Answer, World};
use serde_json::{Value, json};

const ENTRIES: &str = "/v1/series/invoice/entries";
const BATCH: &str = "/v1/series/invoice/entries/batch";

/// One request that must be refused.
struct Bad {
    world: World,
    before: String,
}

impl Bad {
    async fn begin() -> Self {
        let world = World::furnished().await;
        Self::after(world).await
    }

    async fn after(world: World) -> Self {
        let before = world.census().await;
        Self { world, before }
    }

    async fn unchanged(&self) {
        assert_eq!(self.world.census().await, self.before, "something was written");
    }

    async fn post(&self, path: &str, body: Value, status: u16, code: &str, pointer: &str) -> Answer {
        let answer = self.world.post(path, body).await.problem(status, code).at(pointer);
        assert_eq!(answer.text("outcome"), "nothing");
        self.unchanged().await;
        answer
    }

    async fn raw(
        &self,
        path: &str,
        body: impl Into<axum::body::Body>,
        status: u16,
        code: &str,
        pointer: &str,
    ) -> Answer {
        let ask = self
            .world
            .ask("POST", path)
            .header("content-type", "application/json")
            .body(body);
        let answer = ask.send().await.problem(status, code).at(pointer);
        self.unchanged().await;
        answer
    }
}

#[tokio::test]
async fn an_unknown_series_is_named() {
    let bad = Bad::begin().await;
    bad.post(
        "/v1/series/nothing/entries",
        json!({"key": "a"}),
        404,
        "unknown_series",
        "/series",
    )
    .await;
    bad.post(
        "/v1/series/No!/entries",
        json!({"key": "a"}),
        400,
        "invalid_series",
        "/series",
    )
    .await;
}

#[tokio::test]
async fn a_key_of_another_tenant_is_forbidden_and_one_of_another_series_knows_none() {
    let world = World::furnished().await;
    let other_tenant = world.key(json!({"scopes": ["issue"], "tenants": ["acme"]})).await;
    let other_series = world.key(json!({"scopes": ["issue"], "series": ["branch"]})).await;
    let bad = Bad::after(world).await;
    for (key, status, code) in [(other_tenant, 403, "forbidden"), (other_series, 404, "unknown_series")] {
        let ask = bad.world.ask("POST", ENTRIES).key(&key).json(&json!({"key": "a"}));
        ask.send().await.problem(status, code);
        bad.unchanged().await;
    }
}

#[tokio::test]
async fn params_are_those_that_are_declared() {
    let bad = Bad::begin().await;
    let path = "/v1/series/branch/entries";
    for (params, code, pointer) in [
        (json!({"branch": "1", "desk": "2"}), "unknown_param", "/params/desk"),
        (json!({"branch": "1", "a/b~c": "2"}), "unknown_param", "/params/a~1b~0c"),
        (json!({}), "missing_param", "/params/branch"),
        (json!({"branch": "123"}), "invalid_param", "/params/branch"),
        (json!({"branch": "x"}), "invalid_param", "/params/branch"),
        (json!({"branch": "1\u{202e}"}), "invalid_param", "/params/branch"),
    ] {
        bad.post(path, json!({"key": "a", "params": params}), 422, code, pointer)
            .await;
    }
    bad.post(
        path,
        json!({"key": "a", "params": {"branch": 7}}),
        400,
        "wrong_type",
        "/params/branch",
    )
    .await;
    let twice = r#"{"key": "a", "params": {"branch": "1", "branch": "2"}}"#;
    bad.raw(path, twice, 400, "duplicate_field", "/params/branch").await;
}

#[tokio::test]
async fn control_characters_and_bidi_marks_are_refused() {
    let bad = Bad::begin().await;
    for text in ["a\u{0}b", "line\nbreak", "\u{202e}gnp", "zero\u{200b}width", ""] {
        bad.post(
            ENTRIES,
            json!({"key": "a", "reference": text}),
            400,
            "invalid_text",
            "/reference",
        )
        .await;
        bad.post(
            ENTRIES,
            json!({"key": "a", "tenant": text}),
            400,
            "invalid_tenant",
            "/tenant",
        )
        .await;
        bad.post(
            "/v1/series/invoice/advance",
            json!({"to": 5, "reason": text}),
            400,
            "invalid_text",
            "/reason",
        )
        .await;
    }
    let ask = bad
        .world
        .ask("POST", ENTRIES)
        .header("seriatim-actor", "a\u{200b}b")
        .json(&json!({"key": "a"}));
    ask.send()
        .await
        .problem(400, "invalid_text")
        .at("/headers/Seriatim-Actor");
    bad.unchanged().await;
}

#[tokio::test]
async fn dates_are_days_within_the_window() {
    let bad = Bad::begin().await;
    for (date, status, code) in [
        ("2026-02-29", 400, "invalid_date"),
        ("2026-13-01", 400, "invalid_date"),
        ("26-01-01", 400, "invalid_date"),
        ("2062-01-01", 422, "date_outside_window"),
    ] {
        bad.post(ENTRIES, json!({"key": "a", "date": date}), status, code, "/date")
            .await;
    }
    bad.post(
        ENTRIES,
        json!({"key": "a", "date": 20260101}),
        400,
        "wrong_type",
        "/date",
    )
    .await;
}

#[tokio::test]
async fn a_closed_period_takes_nothing() {
    let world = World::furnished().await;
    world
        .post(
            "/v1/periods/close",
            json!({"series": "invoice", "period": "all", "reason": "done"}),
        )
        .await
        .is(200);
    let bad = Bad::after(world).await;
    bad.post(ENTRIES, json!({"key": "a"}), 409, "period_closed", "/date")
        .await;
    let wrong = json!({"series": "invoice", "period": "2026", "reason": "x"});
    bad.post("/v1/periods/close", wrong, 400, "invalid_period", "/period")
        .await;
}

#[tokio::test]
async fn a_batch_has_one_to_a_thousand_numbers() {
    let bad = Bad::begin().await;
    for count in [0_u64, 1_001, u64::MAX] {
        bad.post(
            BATCH,
            json!({"key": "a", "count": count}),
            400,
            "invalid_count",
            "/count",
        )
        .await;
    }
    bad.post(BATCH, json!({"items": []}), 400, "invalid_count", "/items")
        .await;
    let many: Vec<Value> = (0..1_001).map(|i| json!({"key": i.to_string()})).collect();
    bad.post(BATCH, json!({"items": many}), 400, "invalid_count", "/items")
        .await;
    bad.post(BATCH, json!({"key": "a", "count": -1}), 400, "invalid_value", "/count")
        .await;
    bad.post(BATCH, json!({}), 400, "items_or_count", "").await;
    bad.post(
        BATCH,
        json!({"items": [{"key": "a"}], "count": 1}),
        400,
        "items_or_count",
        "/count",
    )
    .await;
    bad.post(
        BATCH,
        json!({"items": [{"key": "a"}], "tenant": "acme"}),
        400,
        "items_or_count",
        "/tenant",
    )
    .await;
}

#[tokio::test]
async fn a_batch_with_one_bad_item_is_refused_as_a_whole_and_names_it() {
    let bad = Bad::begin().await;
    for (item, status, code, pointer) in [
        (json!({"key": ""}), 400, "invalid_key", "/items/1/key"),
        (json!({}), 400, "key_required", "/items/1/key"),
        (
            json!({"key": "b", "date": "2062-01-01"}),
            422,
            "date_outside_window",
            "/items/1/date",
        ),
        (
            json!({"key": "b", "params": {"x": "1"}}),
            422,
            "unknown_param",
            "/items/1/params/x",
        ),
        (json!({"key": "b", "kee": 1}), 400, "unknown_field", "/items/1/kee"),
        (
            json!({"key": "b", "params": {"x": 1}}),
            400,
            "wrong_type",
            "/items/1/params/x",
        ),
        (json!(["b"]), 400, "wrong_type", "/items/1"),
    ] {
        bad.post(
            BATCH,
            json!({"items": [{"key": "a"}, item, {"key": "c"}]}),
            status,
            code,
            pointer,
        )
        .await;
    }
}

#[tokio::test]
async fn a_document_is_json_of_a_bounded_size_and_depth() {
    let bad = Bad::begin().await;
    let large = "x".repeat(64 * 1024);
    bad.post(
        ENTRIES,
        json!({"key": "a", "document": large}),
        413,
        "document_too_large",
        "/document",
    )
    .await;
    let deep = format!(r#"{{"key": "a", "document": {}{}}}"#, "[".repeat(200), "]".repeat(200));
    bad.raw(ENTRIES, deep, 400, "invalid_document", "/document").await;
    let deepest = format!(
        r#"{{"key": "a", "document": {}{}}}"#,
        "[".repeat(50_000),
        "]".repeat(50_000)
    );
    bad.raw(ENTRIES, deepest, 413, "document_too_large", "/document").await;
    bad.raw(
        ENTRIES,
        r#"{"key": "a", "document": {"t": 1, "t": 2}}"#,
        400,
        "invalid_document",
        "/document",
    )
    .await;
    let in_batch = json!({"items": [{"key": "a", "document": "x".repeat(70_000)}]});
    bad.post(BATCH, in_batch, 413, "document_too_large", "/items/0/document")
        .await;
}

#[tokio::test]
async fn a_body_says_each_known_field_once() {
    let bad = Bad::begin().await;
    bad.raw(ENTRIES, r#"{"key": "a", "key": "b"}"#, 400, "duplicate_field", "/key")
        .await;
    let answer = bad
        .raw(ENTRIES, r#"{"key": "a", "kee": "b"}"#, 400, "unknown_field", "/kee")
        .await;
    assert!(answer.text("detail").contains("expected one of"), "{}", answer.raw);
    bad.raw(ENTRIES, r#"{"key": 7}"#, 400, "wrong_type", "/key").await;
    bad.raw(
        "/v1/series/invoice/adopt",
        r#"{"date": "2026-01-01"}"#,
        400,
        "missing_field",
        "/number",
    )
    .await;
    bad.raw(
        "/v1/series/invoice/reservations",
        r#"{"key": "a"}"#,
        400,
        "missing_field",
        "/ttl",
    )
    .await;
    bad.raw(
        "/v1/series/invoice/reservations",
        r#"{"key": "a", "ttl": true}"#,
        400,
        "wrong_type",
        "/ttl",
    )
    .await;
    bad.raw(
        "/v1/series/invoice/reservations",
        r#"{"key": "a", "ttl": "15"}"#,
        400,
        "invalid_ttl",
        "/ttl",
    )
    .await;
    bad.raw(
        "/v1/series/invoice/reservations",
        r#"{"key": "a", "ttl": 0}"#,
        400,
        "invalid_ttl",
        "/ttl",
    )
    .await;
}

#[tokio::test]
async fn a_body_is_one_json_object_in_utf_8() {
    let bad = Bad::begin().await;
    for (body, code) in [
        (&br#"["a"]"#[..], "wrong_type"),
        (br#""a""#, "wrong_type"),
        (b"null", "wrong_type"),
        (b"key=a", "invalid_json"),
        (br#"{"key": "a"} {"#, "invalid_json"),
        (br#"{"key": "a",}"#, "invalid_json"),
        (br#"{'key': "a"}"#, "invalid_json"),
        (b"{\"key\": \"a\nb\"}", "invalid_json"),
        (br#"{"key": "a""#, "body_incomplete"),
        (br#"{"key": "a", "document": {"t"#, "body_incomplete"),
        (b"  ", "body_incomplete"),
    ] {
        let ask = bad
            .world
            .ask("POST", ENTRIES)
            .header("content-type", "application/json")
            .body(body.to_vec());
        ask.send().await.problem(400, code);
        bad.unchanged().await;
    }
    let latin = b"{\"key\": \"a\", \"reference\": \"caf\xe9\"}".to_vec();
    let ask = bad
        .world
        .ask("POST", ENTRIES)
        .header("content-type", "application/json")
        .body(latin);
    ask.send().await.problem(400, "invalid_json");
    bad.unchanged().await;
}

#[tokio::test]
async fn a_body_is_sent_as_json() {
    let bad = Bad::begin().await;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "",
    ] {
        let ask = bad
            .world
            .ask("POST", ENTRIES)
            .header("content-type", kind)
            .body(r#"{"key": "a"}"#);
        ask.send().await.problem(415, "unsupported_media_type");
    }
    bad.world
        .ask("POST", ENTRIES)
        .body(r#"{"key": "a"}"#)
        .send()
        .await
        .problem(415, "unsupported_media_type");
    bad.world
        .ask("POST", ENTRIES)
        .send()
        .await
        .problem(415, "unsupported_media_type");
    bad.unchanged().await;
}

#[tokio::test]
async fn a_body_has_a_bounded_size() {
    let bad = Bad::begin().await;
    let body = |size: usize| format!(r#"{{"key": "a", "reference": "{}"}}"#, "x".repeat(size));
    let ask = |path: &str, size| {
        bad.world
            .ask("POST", path)
            .header("content-type", "application/json")
            .body(body(size))
    };
    ask(ENTRIES, 128 * 1024).send().await.problem(413, "body_too_large");
    ask(BATCH, 8 * 1024 * 1024).send().await.problem(413, "body_too_large");
    // A checkpoint grows with the store.
    let verify = "/v1/audit/verifications";
    let checkpoint = |size: usize| {
        let body = format!(r#"{{"checkpoint": {{"version": "{}"}}}}"#, "x".repeat(size));
        let ask = bad.world.ask("POST", verify);
        ask.header("content-type", "application/json").body(body)
    };
    let read = checkpoint(12 * 1024 * 1024).send().await;
    read.problem(400, "invalid_checkpoint").at("/checkpoint");
    checkpoint(64 * 1024 * 1024).send().await.problem(413, "body_too_large");
    // Within the limit of bodies it is the field that is too long.
    ask(ENTRIES, 100 * 1024)
        .send()
        .await
        .problem(400, "invalid_text")
        .at("/reference");
    let announced = bad
        .world
        .ask("POST", ENTRIES)
        .header("content-type", "application/json");
    announced
        .header("content-length", "999999999999")
        .body("{")
        .send()
        .await
        .problem(413, "body_too_large");
    bad.unchanged().await;
}

#[tokio::test]
async fn a_key_is_given_once_in_printable_ascii() {
    let bad = Bad::begin().await;
    bad.post(ENTRIES, json!({}), 400, "key_required", "/key").await;
    bad.post(ENTRIES, json!({"key": null}), 400, "key_required", "/key")
        .await;
    for key in [
        String::new(),
        "x".repeat(256),
        "é".to_string(),
        "tab\t".to_string(),
        " a".to_string(),
    ] {
        bad.post(ENTRIES, json!({"key": key}), 400, "invalid_key", "/key").await;
    }
    let header = |value: &[u8]| {
        bad.world
            .ask("POST", ENTRIES)
            .header("idempotency-key", value)
            .json(&json!({}))
            .send()
    };
    for value in [&b""[..], b"\"\"", "é".as_bytes(), b"\xff", "x".repeat(256).as_bytes()] {
        header(value)
            .await
            .problem(400, "invalid_key")
            .at("/headers/Idempotency-Key");
    }
    let both = bad
        .world
        .ask("POST", ENTRIES)
        .header("idempotency-key", "b")
        .json(&json!({"key": "a"}));
    both.send().await.problem(400, "key_mismatch").at("/key");
    let twice = bad
        .world
        .ask("POST", ENTRIES)
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    twice
        .json(&json!({}))
        .send()
        .await
        .problem(400, "key_mismatch")
        .at("/headers/Idempotency-Key");
    bad.unchanged().await;
}

/// The pointer was `/key`, and the body had none.
#[tokio::test]
async fn a_key_that_came_as_a_header_is_pointed_at_there() {
    let world = World::furnished().await;
    let ask = |path: &str, body: Value| {
        let ask = world.ask("POST", path).header("idempotency-key", "a");
        ask.json(&body).send()
    };
    let first = ask("/v1/series/branch/entries", json!({"params": {"branch": "1"}})).await;
    let first = first.is(201).text("id");
    let at = "/headers/Idempotency-Key";
    let other = json!({"params": {"branch": "2"}});
    ask("/v1/series/branch/entries", other)
        .await
        .problem(422, "key_reused")
        .at(at);
    let reserve = json!({"ttl": "1m", "params": {"branch": "1"}});
    ask("/v1/series/branch/reservations", reserve)
        .await
        .problem(422, "key_reused")
        .at(at);
    let count = json!({"count": 2, "params": {"branch": "1"}});
    ask("/v1/series/branch/entries/batch", count)
        .await
        .problem(422, "key_reused")
        .at(at);
    let adopt = json!({"number": "01-0009", "date": "2026-01-01"});
    ask("/v1/series/branch/adopt", adopt)
        .await
        .problem(422, "key_reused")
        .at(at);
    ask(BATCH, json!({"items": [{"key": "b"}]}))
        .await
        .problem(400, "items_or_count")
        .at(at);
    let void = json!({"reason_code": "spoiled", "reason": "blot"});
    world.post(&format!("/v1/entries/{first}/void"), void).await.is(200);
    ask("/v1/series/branch/entries", json!({"params": {"branch": "1"}}))
        .await
        .problem(409, "voided")
        .at(at);
}

#[tokio::test]
async fn a_version_is_wanted_in_its_header() {
    let world = World::furnished().await;
    world.issue("invoice", json!({"key": "a"})).await;
    let changed = json!({"format": "INV-{seq:4}"});
    let blind = world.put("/v1/series/invoice", changed.clone()).await;
    blind.problem(428, "version_required").at("/headers/If-Match");
    let ask = world.ask("PUT", "/v1/series/invoice").header("if-match", "\"7\"");
    let late = ask.json(&changed).send().await;
    late.problem(412, "version_mismatch").at("/headers/If-Match");
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let world = World::furnished().await;
    let path = "/v1/series/branch/entries";
    world
        .post(path, json!({"key": "a", "params": {"branch": "1"}}))
        .await
        .is(201);
    let bad = Bad::after(world).await;
    let answer = bad
        .post(
            path,
            json!({"key": "a", "params": {"branch": "2"}}),
            422,
            "key_reused",
            "/key",
        )
        .await;
    assert_eq!(answer.json["entry"]["number"], "01-0001");
    let reserve = json!({"key": "a", "ttl": "1m", "params": {"branch": "1"}});
    bad.post("/v1/series/branch/reservations", reserve, 422, "key_reused", "/key")
        .await;
}

#[tokio::test]
async fn a_strict_series_refuses_another_document() {
    let world = World::new().await;
    world
        .put(
            "/v1/series/invoice",
            json!({"format": "INV-{seq:3}", "replay": "strict"}),
        )
        .await
        .is(201);
    world.issue("invoice", json!({"key": "a", "document": 1})).await;
    let bad = Bad::after(world).await;
    bad.post(ENTRIES, json!({"key": "a", "document": 2}), 422, "key_reused", "/key")
        .await;
}

#[tokio::test]
async fn what_is_void_stays_void() {
    let world = World::furnished().await;
    let reserved = world
        .post("/v1/series/invoice/reservations", json!({"key": "a", "ttl": "1m"}))
        .await
        .is(201)
        .text("id");
    world
        .post(&format!("/v1/entries/{reserved}/release"), json!({"reason": "left"}))
        .await
        .is(200);
    let void = json!({"reason_code": "spoiled", "reason": "torn"});
    let issued = world.issue("invoice", json!({"key": "b"})).await.text("id");
    world
        .post(&format!("/v1/entries/{issued}/void"), void.clone())
        .await
        .is(200);
    let bad = Bad::after(world).await;
    for (verb, body, code) in [
        (format!("{reserved}/confirm"), json!({}), "voided"),
        (format!("{reserved}/release"), json!({"reason": "x"}), "already_voided"),
        (format!("{issued}/void"), void.clone(), "already_voided"),
        (format!("{issued}/confirm"), json!({}), "voided"),
    ] {
        let answer = bad
            .world
            .post(&format!("/v1/entries/{verb}"), body)
            .await
            .problem(409, code);
        assert_eq!(answer.json["entry"]["state"], "voided");
        bad.unchanged().await;
    }
    let wrong = json!({"reason_code": "because", "reason": "x"});
    bad.post(
        &format!("/v1/entries/{issued}/void"),
        wrong,
        400,
        "invalid_text",
        "/reason_code",
    )
    .await;
}

#[tokio::test]
async fn an_entry_id_is_one_and_exists() {
    let bad = Bad::begin().await;
    for id in [
        "x",
        "ent_0123456789abcdef_0",
        "ent_1_1",
        "ent_0123456789abcdef_99999999999999999999",
    ] {
        bad.world
            .get(&format!("/v1/entries/{id}"))
            .await
            .problem(400, "invalid_id")
            .at("/id");
    }
    let nobody = "/v1/entries/ent_0123456789abcdef_7";
    bad.world.get(nobody).await.problem(404, "unknown_entry").at("/id");
    bad.world
        .post(&format!("{nobody}/confirm"), json!({}))
        .await
        .problem(404, "unknown_entry")
        .at("/id");
    bad.world.get("/v1/entries/%ff").await.problem(400, "invalid_path");
}

#[tokio::test]
async fn an_adopted_number_is_one_that_the_format_prints_and_new() {
    let world = World::furnished().await;
    let date = world.issue("invoice", json!({"key": "a"})).await.text("date");
    let bad = Bad::after(world).await;
    let path = "/v1/series/invoice/adopt";
    for number in ["INV-1", "RE-001", "INV-0001", "", "INV-\u{200b}002"] {
        bad.post(
            path,
            json!({"number": number, "date": date}),
            422,
            "number_does_not_fit",
            "/number",
        )
        .await;
    }
    bad.post(
        path,
        json!({"number": "INV-001", "date": date}),
        409,
        "number_exists",
        "/number",
    )
    .await;
    bad.post(
        path,
        json!({"number": "INV-002", "date": "2026-02-30"}),
        400,
        "invalid_date",
        "/date",
    )
    .await;
}

#[tokio::test]
async fn a_definition_is_refused_with_its_place() {
    let bad = Bad::begin().await;
    let put = |body: Value| bad.world.ask("PUT", "/v1/series/next").json(&body).send();
    let open = json!({"branch": {"letters": "1..4"}, "desk": {"letters": "1..4"}});
    for (body, place) in [
        (
            json!({"format": "{branch}{desk}{seq}", "params": open}),
            json!({"offset": 0, "length": 8}),
        ),
        (
            json!({"format": "{year}-{seq}", "reset": "fiscal-year:04-01"}),
            json!({"offset": 0, "length": 6}),
        ),
        (json!({"format": "{yyyy}-{seq}"}), json!({"offset": 0, "length": 6})),
    ] {
        let answer = put(body).await.problem(422, "invalid_definition").at("/format");
        assert_eq!(answer.json["place"]["offset"], place["offset"], "{}", answer.raw);
        assert!(answer.json["place"]["length"].as_u64() > Some(0));
    }
    for (setting, value, status, code) in [
        ("reset", json!("weekly"), 422, "invalid_definition"),
        ("reset", json!("fiscal-year:02-29"), 422, "invalid_definition"),
        ("time_zone", json!("Asia/Calcuta"), 422, "invalid_definition"),
        ("gaps", json!("allow"), 422, "invalid_definition"),
        ("overflow", json!("wrap"), 422, "invalid_definition"),
        ("max_length", json!(0), 422, "invalid_definition"),
        ("replaces", json!("nothing"), 422, "invalid_definition"),
        ("limit", json!(-1), 400, "invalid_value"),
        ("name", json!("other"), 400, "name_mismatch"),
        ("colour", json!("red"), 400, "unknown_field"),
        (
            "params",
            json!({"branch": {"digits": 2, "letters": 2}}),
            400,
            "invalid_value",
        ),
        ("params", json!({"branch": {"width": 2}}), 400, "unknown_field"),
        ("params", json!({"branch": [2]}), 400, "wrong_type"),
    ] {
        let mut body = json!({"format": "N-{seq}"});
        body[setting] = value;
        let answer = put(body).await.problem(status, code);
        let pointer = answer.json["errors"][0]["pointer"].as_str().unwrap().to_string();
        assert!(pointer.starts_with(&format!("/{setting}")), "{}", answer.raw);
    }
    bad.unchanged().await;
}

#[tokio::test]
async fn a_change_that_the_numbers_forbid_is_refused() {
    let world = World::furnished().await;
    world
        .post("/v1/series/invoice/advance", json!({"to": 500, "reason": "earlier"}))
        .await
        .is(200);
    let bad = Bad::after(world).await;
    let put = |body: Value, version: &str| {
        bad.world
            .ask("PUT", "/v1/series/invoice")
            .header("if-match", version)
            .json(&body)
            .send()
    };
    let low = json!({"format": "INV-{seq:3}", "limit": 499});
    put(low.clone(), "\"1\"")
        .await
        .problem(422, "limit_too_low")
        .at("/limit");
    put(json!({"format": "RE-{seq:3}"}), "\"1\"")
        .await
        .problem(409, "series_fixed")
        .at("/format");
    for version in ["1", "\"x\"", "W/\"1\"", "*", "\"1\", \"2\""] {
        put(low.clone(), version)
            .await
            .problem(400, "invalid_header")
            .at("/headers/If-Match");
    }
    bad.post(
        "/v1/series/invoice/advance",
        json!({"to": 500, "reason": "again"}),
        422,
        "advance_too_low",
        "/to",
    )
    .await;
    bad.unchanged().await;
}

#[tokio::test]
async fn a_query_has_known_parameters_once_each() {
    let bad = Bad::begin().await;
    for (path, code, pointer) in [
        ("/v1/entries?serie=invoice", "unknown_parameter", "/serie"),
        ("/v1/entries?tenant=a&tenant=b", "duplicate_parameter", "/tenant"),
        ("/v1/entries?limit=0", "invalid_limit", "/limit"),
        ("/v1/entries?limit=501", "invalid_limit", "/limit"),
        ("/v1/entries?cursor=zzz", "invalid_cursor", "/cursor"),
        ("/v1/entries?cursor=c1", "invalid_cursor", "/cursor"),
        ("/v1/entries?cursor=e8000000000000000", "invalid_cursor", "/cursor"),
        (
            "/v1/series/invoice/counters?cursor=cffffffffffffffff",
            "invalid_cursor",
            "/cursor",
        ),
        ("/v1/entries?state=lost", "invalid_query", "/state"),
        ("/v1/entries?date_from=2026-02-30", "invalid_date", "/date_from"),
        ("/v1/entries?series=invoice&period=2026", "invalid_period", "/period"),
        ("/v1/entries?tenant=", "invalid_tenant", "/tenant"),
        ("/v1/entries?series=invoice&key=", "invalid_key", "/key"),
        ("/v1/series?limit=3", "unknown_parameter", "/limit"),
        ("/v1/series/invoice/counters?cursor=e1", "invalid_cursor", "/cursor"),
        ("/v1/audit/summary?from=yesterday", "invalid_date", "/from"),
        ("/v1/audit/events", "missing_parameter", "/chain"),
    ] {
        bad.world.get(path).await.problem(400, code).at(pointer);
    }
    bad.world
        .get("/v1/entries?series=nothing")
        .await
        .problem(404, "unknown_series")
        .at("/series");
    let dry = bad
        .world
        .put("/v1/series/x?dry_run=yes", json!({"format": "{seq}"}))
        .await;
    dry.problem(400, "invalid_query").at("/dry_run");
    bad.unchanged().await;
}

#[tokio::test]
async fn a_rehearsal_is_refused_where_there_is_none() {
    // The parameter was ignored, and the series was wiped.
    let world = World::furnished().await;
    let id = world.issue("trial", json!({"key": "a"})).await.text("id");
    let gate = json!({"effect": "x", "subject": "y", "ttl": "60s", "holder": "z"});
    let gate_id = world.post("/v1/gates/claim", gate.clone()).await.json["gate"]["id"].clone();
    let bad = Bad::after(world).await;
    let number = json!({"number": "INV-007", "date": "2026-01-01"});
    let period = json!({"series": "trial", "period": "all", "reason": "x"});
    let reason = json!({"reason": "x"});
    let gate_path = |verb: &str| format!("/v1/gates/{}/{verb}", gate_id.as_str().unwrap());
    for (path, body) in [
        ("/v1/series/trial/wipe".to_string(), json!({})),
        (
            "/v1/series/invoice/advance".to_string(),
            json!({"to": 5, "reason": "x"}),
        ),
        (ENTRIES.to_string(), json!({"key": "b"})),
        (BATCH.to_string(), json!({"key": "b", "count": 2})),
        (
            "/v1/series/invoice/reservations".to_string(),
            json!({"key": "b", "ttl": "1m"}),
        ),
        ("/v1/series/invoice/adopt".to_string(), number),
        ("/v1/series/invoice/preview".to_string(), json!({})),
        (format!("/v1/entries/{id}/confirm"), json!({})),
        (format!("/v1/entries/{id}/release"), reason.clone()),
        (
            format!("/v1/entries/{id}/void"),
            json!({"reason_code": "spoiled", "reason": "x"}),
        ),
        (format!("/v1/entries/{id}/redact"), reason.clone()),
        ("/v1/gates/claim".to_string(), gate),
        (gate_path("renew"), json!({"token": 1, "ttl": "60s"})),
        (gate_path("complete"), json!({"token": 1, "result": {}})),
        (gate_path("fail"), json!({"token": 1, "error": "x"})),
        (gate_path("retry"), reason),
        ("/v1/periods/close".to_string(), period.clone()),
        ("/v1/periods/reopen".to_string(), period),
        ("/v1/keys".to_string(), json!({"scopes": ["read"]})),
        ("/v1/audit/verifications".to_string(), json!({})),
    ] {
        bad.post(
            &format!("{path}?dry_run=true"),
            body,
            400,
            "unknown_parameter",
            "/dry_run",
        )
        .await;
    }
    for path in [
        format!("/v1/entries/{id}"),
        "/v1/series/trial".to_string(),
        "/v1/audit/checkpoint".to_string(),
        "/v1/audit/verifications/ver_1".to_string(),
    ] {
        let answer = bad.world.get(&format!("{path}?tenant=x")).await;
        answer.problem(400, "unknown_parameter").at("/tenant");
    }
    let wipe = json!({"dry_run": true});
    bad.post("/v1/series/trial/wipe", wipe, 400, "unknown_field", "/dry_run")
        .await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_the_request() {
    let world = World::furnished().await;
    let says = |answer: &Answer, what: &str| assert!(answer.text("detail").contains(what), "{}", answer.raw);
    let query = world
        .get("/v1/entries?fieldx=1")
        .await
        .problem(400, "unknown_parameter");
    says(&query, "unknown parameter `fieldx`");
    let count = world.post(BATCH, json!({"key": "a", "count": 5_000_000_000_u64})).await;
    says(
        &count.problem(400, "invalid_count").at("/count"),
        "count is 5000000000;",
    );
    let start = world
        .put("/v1/series/x", json!({"format": "{seq}", "start": u64::MAX}))
        .await;
    says(&start.problem(422, "invalid_definition").at("/start"), "at most at 9");
    let claim = json!({"effect": "x", "subject": "y", "ttl": 60, "holder": "z", "attempts": "many"});
    let claim = world
        .post("/v1/gates/claim", claim)
        .await
        .problem(400, "wrong_type")
        .at("/attempts");
    says(&claim, "expected a whole number");
    let ask = world.ask("POST", ENTRIES).header("content-type", "application/json");
    let packed = ask
        .header("content-encoding", "gzip")
        .body(&b"\x1f\x8b\x08"[..])
        .send()
        .await;
    says(
        &packed.problem(415, "unsupported_media_type"),
        "without Content-Encoding",
    );
}

#[tokio::test]
async fn what_nothing_stored_can_be_is_not_looked_for() {
    // PostgreSQL takes no NUL: it answered with an error that counted as damage.
    let bad = Bad::begin().await;
    for (path, pointer) in [
        ("/v1/entries?number=%00", "/number"),
        ("/v1/entries?period=%00", "/period"),
        ("/v1/audit/gaps?period=a%0a", "/period"),
    ] {
        bad.world.get(path).await.problem(400, "invalid_text").at(pointer);
    }
    let revoke = || bad.world.ask("DELETE", "/v1/keys/%00");
    revoke().send().await.problem(400, "invalid_text").at("/id");
    let reader = bad.world.key(json!({"scopes": ["read"]})).await;
    revoke().key(&reader).send().await.problem(403, "forbidden");
}

#[tokio::test]
async fn an_api_key_says_what_it_may_do() {
    let bad = Bad::begin().await;
    for (body, code, pointer) in [
        (json!({}), "missing_field", "/scopes"),
        (json!({"scopes": []}), "invalid_value", "/scopes"),
        (json!({"scopes": ["root"]}), "invalid_text", "/scopes/0"),
        (json!({"scopes": ["issue"], "tenants": []}), "invalid_value", "/tenants"),
        (
            json!({"scopes": ["issue"], "tenants": ["ok", "not ok"]}),
            "invalid_tenant",
            "/tenants/1",
        ),
        (
            json!({"scopes": ["issue"], "series": ["No"]}),
            "invalid_series",
            "/series/0",
        ),
        (
            json!({"scopes": ["issue"], "label": "two\nlines"}),
            "invalid_text",
            "/label",
        ),
        (
            json!({"scopes": ["issue"], "label": "x".repeat(256)}),
            "invalid_text",
            "/label",
        ),
    ] {
        bad.post("/v1/keys", body, 400, code, pointer).await;
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_problems() {
    let bad = Bad::begin().await;
    for path in [
        "/",
        "/v1",
        "/v2/series",
        "/v1/series/invoice/blocks",
        "/v1/series/",
        "/metrics/x",
    ] {
        bad.world.get(path).await.problem(404, "unknown_route");
    }
    let answer = bad
        .world
        .ask("DELETE", ENTRIES)
        .send()
        .await
        .problem(405, "method_not_allowed");
    assert!(answer.header("allow").contains("POST"), "{:?}", answer.headers);
    bad.world
        .ask("BREW", "/v1/entries")
        .send()
        .await
        .problem(405, "method_not_allowed");
    bad.unchanged().await;
}

/// An auditor who mistyped an id read that nothing had happened in its chain.
#[tokio::test]
async fn a_chain_that_is_not_there_is_not_an_empty_one() {
    let world = World::furnished().await;
    world.issue("invoice", json!({"key": "a"})).await;
    world.issue("invoice", json!({"key": "b"})).await;
    let counters = world.get("/v1/series/invoice/counters").await;
    let counter = counters.json["data"][0]["id"].as_str().unwrap().to_string();
    let of = |chain: &str, more: &str| format!("/v1/audit/events?chain={chain}{more}");
    let page = world.get(&of(&counter, "&limit=2")).await.is(200);
    let last = page.text("next_cursor");
    let end = world.get(&of(&counter, &format!("&cursor={last}"))).await.is(200);
    assert_eq!(end.json["data"], json!([]));
    let another = world.get(&of("definitions", &format!("&cursor={last}"))).await;
    another.problem(400, "invalid_cursor").at("/cursor");
    let absent = world.get(&of("gat_0000000000000000", "")).await;
    absent.problem(404, "unknown_gate").at("/chain");
    let absent = counter.chars().rev().collect::<String>();
    let absent = world.get(&of(&absent, "")).await;
    absent.problem(404, "unknown_counter").at("/chain");
    let empty = World::new().await;
    empty.get(&of("definitions", "")).await.is(200);
}

/// The entry in a refusal, the counters and what an auditor reads did not say that the series is one for tests.
#[tokio::test]
async fn a_test_series_says_so_in_refusals_and_lists() {
    let world = World::furnished().await;
    for (series, test) in [("trial", json!(true)), ("invoice", Value::Null)] {
        let id = world.issue(series, json!({"key": "a"})).await.text("id");
        let void = json!({"reason_code": "spoiled", "reason": "blot"});
        world.post(&format!("/v1/entries/{id}/void"), void).await.is(200);
        let again = world
            .post(&format!("/v1/series/{series}/entries"), json!({"key": "a"}))
            .await;
        assert_eq!(again.problem(409, "voided").json["entry"]["test"], test);
        let advance = json!({"to": 9, "reason": "books"});
        let advanced = world
            .post(&format!("/v1/series/{series}/advance"), advance)
            .await
            .is(200);
        assert_eq!(advanced.json["counter"]["test"], test);
        for path in [
            format!("/v1/series/{series}/counters"),
            format!("/v1/audit/gaps?series={series}"),
        ] {
            assert_eq!(world.get(&path).await.is(200).json["data"][0]["test"], test, "{path}");
        }
        let sums = world.get("/v1/audit/summary").await;
        let sums = sums.json["data"].as_array().unwrap().clone();
        let sum = sums.iter().find(|line| line["series"] == series).unwrap();
        assert_eq!(sum["test"], test);
    }
}
