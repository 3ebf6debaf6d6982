//! Who may do what: every operation of `openapi.json` asked by every sort of caller.

mod http;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request;
use http::{Answer, Who, World};
use serde_json::{Value, json};
use seriatim::conformance::{Layer, Layered};
use seriatim::{Memory, Store};
use seriatim_server::app::AppOptions;
use tower::ServiceExt as _;

const SCOPES: [&str; 5] = ["issue", "void", "read", "audit", "admin"];

/// An operation as the description has it.
struct Operation {
    id: String,
    method: String,
    path: String,
    scope: Option<String>,
}

fn operations() -> Vec<Operation> {
    let described: Value = serde_json::from_str(&seriatim_server::routes::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            // Payments and gates need a world of their own: tests/once.rs, and the scenarios.
            if matches!(operation["tags"][0].as_str(), Some("payments" | "gates")) {
                continue;
            }
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_string(),
                method: method.to_uppercase(),
                path: path.clone(),
                scope: operation["security"][0]["api_key"][0].as_str().map(str::to_string),
            });
        }
    }
    assert!(operations.len() > 30, "{}", operations.len());
    operations
}

/// A world in which every operation can succeed, on series `trial` (a test series) or `invoice`, for tenant `acme`.
struct Stage {
    world: World,
    series: &'static str,
    issued: String,
    reserved: String,
    counter: String,
    verification: String,
}

impl Stage {
    async fn set(series: &'static str) -> Self {
        let world = World::furnished().await;
        let body = json!({"key": "a", "tenant": "acme", "document": {"to": "Ann"}});
        let issued = world.issue(series, body).await.text("id");
        let reserve = json!({"key": "r", "tenant": "acme", "ttl": "1h"});
        let reserved = world
            .post(&format!("/v1/series/{series}/reservations"), reserve)
            .await
            .is(201)
            .text("id");
        let counter = issued.split('_').nth(1).unwrap().to_string();
        let verification = world
            .post("/v1/audit/verifications", json!({}))
            .await
            .is(202)
            .header("location");
        while world.get(&verification).await.text("state") == "running" {
            tokio::task::yield_now().await;
        }
        world.post("/v1/keys", json!({"scopes": ["read"]})).await.is(201);
        Self {
            world,
            series,
            issued,
            reserved,
            counter,
            verification: verification.rsplit('/').next().unwrap().to_string(),
        }
    }

    async fn ask(&self, operation: &Operation, who: &Who) -> Answer {
        let id = if ["confirm", "release"].contains(&operation.id.as_str()) {
            &self.reserved
        } else {
            &self.issued
        };
        let id = match operation.id.as_str() {
            "show_verification" => &self.verification,
            "revoke_key" => &self.world.get("/v1/keys").await.json["data"][0]["id"]
                .as_str()
                .unwrap()
                .to_string(),
            _ => id,
        };
        if operation.id == "reopen_period" {
            let close = json!({"series": self.series, "tenant": "globex", "period": "all", "reason": "x"});
            self.world.post("/v1/periods/close", close).await.is(200);
        }
        let path = operation.path.replace("{series}", self.series).replace("{id}", id);
        let query = if operation.id == "list_events" {
            format!("?chain={}", self.counter)
        } else {
            String::new()
        };
        let ask = self.world.ask(&operation.method, &format!("{path}{query}")).who(who);
        match self.body(&operation.id) {
            Some(body) => ask.json(&body).send().await,
            None => ask.send().await,
        }
    }

    fn body(&self, operation: &str) -> Option<Value> {
        let series = self.series;
        Some(match operation {
            "define_series" if series == "trial" => json!({"format": "T-{seq}", "test": true}),
            "define_series" => json!({"format": "INV-{seq:3}"}),
            "issue" => json!({"key": "new", "tenant": "acme"}),
            "issue_batch" => json!({"items": [{"key": "new", "tenant": "acme"}]}),
            "reserve" => json!({"key": "new", "tenant": "acme", "ttl": "1m"}),
            "preview" => json!({"tenant": "acme"}),
            "adopt" => {
                let number = if series == "trial" { "T-50" } else { "INV-050" };
                json!({"number": number, "tenant": "acme", "date": today()})
            }
            "adopt_batch" => {
                let number = if series == "trial" { "T-50" } else { "INV-050" };
                json!({"items": [{"number": number, "tenant": "acme", "date": today()}]})
            }
            "advance" => json!({"to": 90, "tenant": "acme", "reason": "x"}),
            "void" => json!({"reason_code": "other", "reason": "x"}),
            "release" | "redact" => json!({"reason": "x"}),
            "close_period" | "reopen_period" => {
                json!({"series": series, "tenant": "globex", "period": "all", "reason": "x"})
            }
            "create_key" => json!({"scopes": ["read"]}),
            _ => return None,
        })
    }

    /// Makes a key and lets the census forget it.
    async fn key(&self, body: Value) -> Who {
        Who::Key(self.world.key(body).await)
    }
}

fn today() -> String {
    let now = seriatim::Clock::now(&seriatim::SystemClock);
    now.to_string()[..10].to_string()
}

#[tokio::test]
async fn without_a_key_only_the_probes_answer() {
    let stage = Stage::set("invoice").await;
    let before = stage.world.census().await;
    for operation in operations() {
        let answer = stage.ask(&operation, &Who::Nobody).await;
        match operation.scope {
            None => assert_eq!(answer.status, 200, "{}", operation.id),
            Some(_) if operation.id == "reopen_period" => drop(answer.problem(401, "api_key_required")),
            Some(_) => {
                let answer = answer.problem(401, "api_key_required");
                assert_eq!(answer.header("www-authenticate"), "Bearer", "{}", operation.id);
            }
        }
    }
    // Only what the test itself closed.
    let close = json!({"series": "invoice", "tenant": "globex", "period": "all", "reason": "x"});
    stage.world.post("/v1/periods/reopen", close).await.is(200);
    assert_eq!(
        before.matches("CounterKey").count(),
        stage.world.census().await.matches("CounterKey").count()
    );
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_id_sound_alike() {
    let stage = Stage::set("invoice").await;
    let Who::Key(good) = stage.key(json!({"scopes": ["admin"]})).await else {
        unreachable!()
    };
    let (head, _) = good.rsplit_once('_').unwrap();
    let wrong = [
        format!("{head}_{}", "0".repeat(40)),
        format!("srt_000000000000_{}", "0".repeat(40)),
        good.replace("srt_", "srt_test_"),
        good[..good.len() - 1].to_string(),
        format!("{good}0"),
        good.to_uppercase(),
        "nonsense".to_string(),
    ];
    for operation in operations()
        .iter()
        .filter(|operation| operation.scope.is_some() && operation.id != "reopen_period")
    {
        let mut heard = Vec::new();
        for key in &wrong {
            let answer = stage
                .ask(operation, &Who::Key(key.clone()))
                .await
                .problem(401, "invalid_api_key");
            heard.push((answer.text("detail"), answer.header("www-authenticate")));
        }
        heard.dedup();
        assert_eq!(heard.len(), 1, "{}", operation.id);
    }
}

#[tokio::test]
async fn each_scope_opens_its_operations_and_no_other() {
    for operation in operations() {
        let Some(needed) = &operation.scope else { continue };
        for scope in SCOPES {
            // Only a test series can be wiped at all.
            let stage = Stage::set(if operation.id == "wipe_series" {
                "trial"
            } else {
                "invoice"
            })
            .await;
            let who = stage.key(json!({"scopes": [scope]})).await;
            let answer = stage.ask(&operation, &who).await;
            if scope == needed || scope == "admin" {
                assert!(
                    (200..300).contains(&answer.status),
                    "{} by {scope}: {}",
                    operation.id,
                    answer.raw
                );
            } else {
                answer.problem(403, "forbidden");
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_another_tenant_is_seen_or_touched() {
    for operation in operations() {
        let Some(needed) = &operation.scope else { continue };
        let stage = Stage::set("invoice").await;
        let who = stage.key(json!({"scopes": [needed], "tenants": ["other"]})).await;
        let before = stage.world.census().await;
        let answer = stage.ask(&operation, &who).await;
        match operation.id.as_str() {
            "show_entry" | "confirm" | "release" | "void" | "redact" => {
                answer.problem(404, "unknown_entry");
            }
            // A definition belongs to every tenant: it may be read, and not changed for the others.
            "list_series" | "show_series" => assert_eq!(answer.status, 200, "{}", answer.raw),
            "list_entries" | "list_counters" | "list_periods" | "list_gaps" | "summary" => {
                assert_eq!(answer.is(200).json["data"], json!([]), "{}", operation.id);
            }
            _ => drop(answer.problem(403, "forbidden")),
        }
        if operation.id != "reopen_period" {
            assert_eq!(stage.world.census().await, before, "{}", operation.id);
        }
    }
}

#[tokio::test]
async fn a_list_is_empty_for_who_asks_for_another_tenant() {
    let stage = Stage::set("invoice").await;
    let who = stage.key(json!({"scopes": ["read"], "tenants": ["other"]})).await;
    for path in [
        "/v1/entries?tenant=acme",
        "/v1/entries?series=invoice&tenant=acme&key=a",
        "/v1/entries?number=INV-001",
        "/v1/series/invoice/counters?tenant=acme",
        "/v1/periods?tenant=acme",
    ] {
        let answer = stage.world.ask("GET", path).who(&who).send().await.is(200);
        assert_eq!(answer.json["data"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_key_bound_to_a_series_knows_no_other() {
    let stage = Stage::set("invoice").await;
    let who = stage
        .key(json!({"scopes": ["read", "issue"], "series": ["branch"]}))
        .await;
    let get = |path: &str| stage.world.ask("GET", path).who(&who).send();
    assert_eq!(get("/v1/series").await.is(200).rows(&["name"]), ["branch"]);
    get("/v1/series/invoice").await.problem(404, "unknown_series");
    get("/v1/series/invoice/counters").await.problem(404, "unknown_series");
    get("/v1/entries?series=invoice").await.problem(404, "unknown_series");
    assert_eq!(get("/v1/entries").await.is(200).json["data"], json!([]));
    get(&format!("/v1/entries/{}", stage.issued))
        .await
        .problem(404, "unknown_entry");
}

/// A key that was bound heard of a series that it could not see that it is not allowed there, or that it is no test series,
/// so it could tell which ones there are.
#[tokio::test]
async fn a_series_that_a_key_does_not_see_answers_as_if_there_were_none() {
    let stage = Stage::set("invoice").await;
    let date = stage.world.get("/v1/entries").await.json["data"][0]["date"].clone();
    let adopt = json!({"number": "INV-009", "tenant": "acme", "date": date});
    let calls = [
        ("entries", json!({"key": "new", "tenant": "acme"})),
        ("entries/batch", json!({"items": [{"key": "new", "tenant": "acme"}]})),
        ("entries/batch", json!({"key": "new", "tenant": "acme", "count": 2})),
        ("reservations", json!({"key": "new", "tenant": "acme", "ttl": "1h"})),
        ("preview", json!({"tenant": "acme"})),
        ("adopt", adopt.clone()),
        ("adopt/batch", json!({"items": [adopt]})),
        ("advance", json!({"tenant": "acme", "to": 9, "reason": "x"})),
        ("wipe", json!({})),
    ];
    for bound in [json!({"series": ["branch"]}), json!({"test": true})] {
        for scope in ["admin", "issue", "audit"] {
            let mut rights = json!({"scopes": [scope]});
            rights
                .as_object_mut()
                .unwrap()
                .extend(bound.as_object().unwrap().clone());
            let who = stage.key(rights).await;
            for (path, body) in &calls {
                let mut heard = Vec::new();
                for series in ["invoice", "nosuch"] {
                    let path = format!("/v1/series/{series}/{path}");
                    let answer = stage.world.ask("POST", &path).who(&who).json(body).send().await;
                    let answer = answer.problem(404, "unknown_series");
                    heard.push(answer.text("detail").replace(series, "SERIES"));
                }
                assert_eq!(heard[0], heard[1], "{path} {scope} {bound}");
            }
            for verb in ["close", "reopen"] {
                let body = |series| json!({"series": series, "tenant": "acme", "period": "all", "reason": "x"});
                for series in ["invoice", "nosuch"] {
                    let ask = stage.world.ask("POST", &format!("/v1/periods/{verb}")).who(&who);
                    ask.json(&body(series)).send().await.problem(404, "unknown_series");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_test_key_reaches_test_series_only() {
    for operation in operations() {
        let Some(needed) = &operation.scope else { continue };
        for (series, is_test) in [("invoice", false), ("trial", true)] {
            let stage = Stage::set(series).await;
            let who = stage.key(json!({"scopes": [needed], "test": true})).await;
            let before = stage.world.census().await;
            let answer = stage.ask(&operation, &who).await;
            let whole_store = matches!(
                operation.id.as_str(),
                "checkpoint"
                    | "verify"
                    | "show_verification"
                    | "list_events"
                    | "create_key"
                    | "list_keys"
                    | "revoke_key"
            );
            let is_list = matches!(
                operation.id.as_str(),
                "list_series" | "list_entries" | "list_periods" | "list_gaps" | "summary"
            );
            if whole_store {
                answer.problem(403, "forbidden");
            } else if is_list {
                assert!(!answer.is(200).raw.contains("invoice"), "{}", operation.id);
            } else if is_test {
                assert!((200..300).contains(&answer.status), "{}: {}", operation.id, answer.raw);
            } else {
                assert!([403, 404].contains(&answer.status), "{}: {}", operation.id, answer.raw);
                if operation.id != "reopen_period" {
                    assert_eq!(stage.world.census().await, before, "{}", operation.id);
                }
            }
        }
    }
}

#[tokio::test]
async fn an_empty_store_shows_a_bound_key_nothing() {
    let world = World::new().await;
    let key = world.key(json!({"scopes": ["read", "audit"], "test": true})).await;
    world
        .put("/v1/series/invoice", json!({"format": "INV-{seq:3}"}))
        .await
        .is(201);
    world.issue("invoice", json!({"key": "a"})).await;
    for path in ["/v1/entries", "/v1/series", "/v1/audit/gaps", "/v1/audit/summary"] {
        // None of the series is his: that must not be taken for no restriction.
        assert_eq!(
            world.ask("GET", path).key(&key).send().await.is(200).json["data"],
            json!([]),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_at_once() {
    let world = World::furnished().await;
    let made = world.post("/v1/keys", json!({"scopes": ["read"]})).await.is(201);
    let get = || world.ask("GET", "/v1/series").key(&made.text("key")).send();
    get().await.is(200);
    world
        .ask("DELETE", &format!("/v1/keys/{}", made.text("id")))
        .send()
        .await
        .is(200);
    get().await.problem(401, "invalid_api_key");
}

#[tokio::test]
async fn a_key_that_another_door_made_is_looked_for() {
    let world = World::furnished().await;
    world.key(json!({"scopes": ["read"]})).await;
    let text = seriatim_server::auth::draw_key(false).unwrap();
    let token = seriatim_server::auth::Token::parse(&text).unwrap();
    let key = token.api_key("elsewhere", seriatim::Access::full(), world.app.issuer().clock().now());
    let request = seriatim::Request {
        actor: seriatim::Actor::parse("os:ann").unwrap(),
        on_behalf_of: None,
        access: seriatim::Access::full(),
        rehearsal: false,
        command: seriatim::Command::CreateApiKey(Box::new(key)),
    };
    world.app.issuer().execute(request).await.unwrap();
    // Not for each caller whose key nobody made.
    tokio::time::sleep(std::time::Duration::from_millis(110)).await;
    world.ask("GET", "/v1/series").key(&text).send().await.is(200);
}

/// A store whose keys take a while to be read, or cannot be read in time; counts how often somebody asks for them.
#[derive(Default)]
struct FarAway {
    asked: AtomicU64,
    takes_ms: AtomicU64,
}

struct Slow(Arc<FarAway>);

#[async_trait]
impl Layer for Slow {
    async fn before_read(&self, _: &Arc<dyn Store>, what: &'static str) {
        if what == "api_keys" {
            self.0.asked.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(self.0.takes_ms.load(Ordering::Relaxed))).await;
        }
    }
}

/// Two nodes of one store, the way to its keys from the second one, and a key that both know.
async fn two_nodes() -> (World, World, Arc<FarAway>, Answer) {
    let (store, way) = (Memory::new(), Arc::new(FarAway::default()));
    way.takes_ms.store(50, Ordering::Relaxed);
    let here = World::over(store.clone(), AppOptions::default()).await;
    let layered = Layered::new(Arc::new(store), Slow(way.clone()));
    let there = World::over(layered, AppOptions::default()).await;
    let made = here.post("/v1/keys", json!({"scopes": ["admin"]})).await.is(201);
    assert_eq!(at_once(&there, &made, 3).await, [200, 200, 200]);
    (here, there, way, made)
}

/// What callers with one key hear who come in the same moment.
async fn at_once(world: &World, key: &Answer, callers: usize) -> Vec<u16> {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let request = Request::get("/v1/series").header("authorization", format!("Bearer {}", key.text("key")));
        let request = request.body(Body::empty()).unwrap();
        asking.spawn(world.router.clone().oneshot(request));
    }
    let answers = asking.join_all().await;
    answers
        .into_iter()
        .map(|answer| answer.unwrap().status().as_u16())
        .collect()
}

async fn revoke(world: &World, key: &Answer) {
    let path = format!("/v1/keys/{}", key.text("id"));
    world.ask("DELETE", &path).send().await.is(200);
}

/// A node that had been idle read the keys again for one caller, and let in whoever came in the same moment by what it
/// had known before, however long ago that was: a key that was revoked on another node went on working.
#[tokio::test(start_paused = true)]
async fn a_key_revoked_on_another_node_opens_nothing_after_a_quiet_time() {
    for quiet in [2, 25, 3_600].map(Duration::from_secs) {
        let (here, there, way, made) = two_nodes().await;
        revoke(&here, &made).await;
        tokio::time::sleep(quiet).await;
        let before = way.asked.load(Ordering::Relaxed);
        assert_eq!(at_once(&there, &made, 8).await, [401; 8], "{quiet:?}");
        assert_eq!(way.asked.load(Ordering::Relaxed) - before, 1, "one reads for all");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_revoked_on_another_node_opens_nothing_after_two_seconds_under_load() {
    let (here, there, _, made) = two_nodes().await;
    revoke(&here, &made).await;
    let revoked = tokio::time::Instant::now();
    let mut last = revoked;
    while last.elapsed() < Duration::from_secs(1) {
        let asked = tokio::time::Instant::now();
        if at_once(&there, &made, 3).await.contains(&200) {
            last = asked;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(last - revoked < Duration::from_secs(2), "{:?}", last - revoked);
}

#[tokio::test(start_paused = true)]
async fn while_the_keys_cannot_be_read_those_known_go_on() {
    let (here, there, way, made) = two_nodes().await;
    way.takes_ms.store(60_000, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(25)).await;
    let asked = tokio::time::Instant::now();
    assert_eq!(at_once(&there, &made, 8).await, [200; 8]);
    // All wait for the one who tries, and who comes then does not.
    assert!(asked.elapsed() < Duration::from_millis(1_500), "{:?}", asked.elapsed());
    let asked = tokio::time::Instant::now();
    assert_eq!(at_once(&there, &made, 8).await, [200; 8]);
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
    // It can be read again.
    way.takes_ms.store(50, Ordering::Relaxed);
    revoke(&here, &made).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(at_once(&there, &made, 8).await, [401; 8]);
}
