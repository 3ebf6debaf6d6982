//! The library's scenarios once more, over HTTP: a route that decided something of its own would answer otherwise.
//!
//! Every command goes through the routes with the caller's own API key. Looks that HTTP answers in other words
//! (`verify`, `sweep`, an entry's links) are read from the same store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};
use seriatim::conformance::SetClock;
use seriatim::conformance::scenario::{
    Ask, AtIssuer, Boundary, CounterShown, GateShown, GateWords, NewKey, NumberShown, Order, Outcome, TakeWords, Which,
    run_file,
};
use seriatim::{Actor, Counts, Issuer, Memory, Options, Reads as _, SeriesSpec, Timestamp};
use seriatim_server::app::{App, AppOptions};
use seriatim_server::auth::Local;
use seriatim_server::routes::router;
use tower::ServiceExt as _;

struct AtHttp {
    store: Memory,
    clock: Arc<SetClock>,
    router: Router,
    looks: AtIssuer,
    /// Of the keys that the script made: id and text.
    keys: BTreeMap<String, (String, String)>,
}

struct Call {
    method: &'static str,
    path: String,
    body: Option<String>,
    if_match: Option<u64>,
}

impl AtHttp {
    async fn new() -> Self {
        let store = Memory::new();
        let clock = Arc::new(SetClock::at("2026-03-02T10:00:00Z".parse().unwrap()));
        Self {
            router: service(&store, &clock).await,
            looks: AtIssuer::open(Arc::new(store.clone())).await.unwrap(),
            store,
            clock,
            keys: BTreeMap::new(),
        }
    }

    async fn send(&self, caller: Option<&str>, call: Call) -> (u16, bool, Value, Vec<u8>) {
        let mut request = Request::builder().method(call.method).uri(&call.path);
        if let Some(version) = call.if_match {
            request = request.header("if-match", format!("\"{version}\""));
        }
        if let Some((_, key)) = caller.and_then(|name| self.keys.get(name)) {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if call.body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let mut request = request.body(Body::from(call.body.unwrap_or_default())).unwrap();
        if caller.is_none() {
            request
                .extensions_mut()
                .insert(Local(Actor::parse("scenario").unwrap()));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        (
            head.status.as_u16(),
            head.headers.contains_key("idempotent-replayed"),
            json,
            bytes.to_vec(),
        )
    }

    /// The id of a number that was taken before.
    async fn id_of(&self, which: &Which) -> String {
        let filter = seriatim::store::EntryFilter {
            series: seriatim::SeriesName::parse(&which.series).into_iter().collect(),
            tenants: which
                .tenant
                .iter()
                .filter_map(|tenant| seriatim::Tenant::parse(tenant).ok())
                .collect(),
            number: Some(which.number.clone()),
            ..Default::default()
        };
        let page = self.store.entries(&filter, 2).await.unwrap();
        let unknown = || "ent_0000000000000000_1".to_string();
        page.rows.first().map_or_else(unknown, |entry| entry.id.to_string())
    }

    async fn call(&self, order: &Order) -> Call {
        let post = |path: String, body: String| Call {
            method: "POST",
            path,
            body: Some(body),
            if_match: None,
        };
        match order {
            Order::Series { name, spec, if_version } => Call {
                method: "PUT",
                path: format!("/v1/series/{name}"),
                body: Some(series_body(spec)),
                if_match: *if_version,
            },
            Order::Issue { series, take } => post(format!("/v1/series/{series}/entries"), take_body(take, &[])),
            Order::Batch { series, items } => {
                let items: Vec<String> = items.iter().map(|item| take_body(item, &[])).collect();
                post(
                    format!("/v1/series/{series}/entries/batch"),
                    format!("{{\"items\":[{}]}}", items.join(",")),
                )
            }
            Order::Count { series, take, count } => post(
                format!("/v1/series/{series}/entries/batch"),
                take_body(take, &[("count", json!(count))]),
            ),
            Order::Preview { series, take, count } => post(
                format!("/v1/series/{series}/preview"),
                take_body(take, &[("count", json!(count))]),
            ),
            Order::Reserve { series, take, ttl } => post(
                format!("/v1/series/{series}/reservations"),
                take_body(take, &[("ttl", json!(ttl))]),
            ),
            Order::Confirm { which, document } => {
                let take = TakeWords {
                    document: document.clone(),
                    ..TakeWords::default()
                };
                post(
                    format!("/v1/entries/{}/confirm", self.id_of(which).await),
                    take_body(&take, &[]),
                )
            }
            Order::Release { which, reason } => post(
                format!("/v1/entries/{}/release", self.id_of(which).await),
                json!({ "reason": reason }).to_string(),
            ),
            Order::Redact { which, reason } => post(
                format!("/v1/entries/{}/redact", self.id_of(which).await),
                json!({ "reason": reason }).to_string(),
            ),
            Order::Void {
                which,
                code,
                reason,
                reissue,
            } => {
                let body = json!({ "reason_code": code, "reason": reason, "reissue": reissue });
                post(
                    format!("/v1/entries/{}/void", self.id_of(which).await),
                    body.to_string(),
                )
            }
            Order::Adopt { series, number, take } => post(
                format!("/v1/series/{series}/adopt"),
                take_body(take, &[("number", json!(number))]),
            ),
            Order::Close {
                series,
                tenant,
                period,
                reason,
            } => post(
                "/v1/periods/close".into(),
                period_body(series, tenant.as_ref(), period, reason),
            ),
            Order::Reopen {
                series,
                tenant,
                period,
                reason,
            } => post(
                "/v1/periods/reopen".into(),
                period_body(series, tenant.as_ref(), period, reason),
            ),
            Order::Advance {
                series,
                tenant,
                params,
                period,
                to,
                reason,
            } => {
                let mut body = Map::from_iter([("to".to_string(), json!(to)), ("reason".to_string(), json!(reason))]);
                put_if(&mut body, "tenant", tenant.as_ref());
                put_if(&mut body, "period", period.as_ref());
                if !params.is_empty() {
                    body.insert("params".into(), json!(params));
                }
                post(format!("/v1/series/{series}/advance"), Value::Object(body).to_string())
            }
            Order::Wipe { series } => post(format!("/v1/series/{series}/wipe"), "{}".into()),
            Order::Key(key) => post("/v1/keys".into(), key_body(key)),
            Order::Revoke { name } => Call {
                method: "DELETE",
                path: format!("/v1/keys/{}", self.keys.get(name).map_or(name, |(id, _)| id)),
                body: None,
                if_match: None,
            },
            Order::Claim {
                gate,
                ttl,
                holder,
                key,
                policy,
            } => {
                let mut body = Map::from_iter([
                    ("effect".to_string(), json!(gate.effect)),
                    ("subject".to_string(), json!(gate.subject)),
                    ("ttl".to_string(), json!(ttl)),
                    ("holder".to_string(), json!(holder)),
                ]);
                put_if(&mut body, "tenant", gate.tenant.as_ref());
                put_if(&mut body, "key", key.as_ref());
                put_if(&mut body, "pause", policy.pause.as_ref());
                put_if(&mut body, "pause_max", policy.pause_max.as_ref());
                if let Some(attempts) = policy.attempts {
                    body.insert("attempts".into(), json!(attempts));
                }
                post("/v1/gates/claim".into(), Value::Object(body).to_string())
            }
            Order::Renew { gate, token, ttl } => post(
                gate_path(gate, "renew"),
                json!({ "token": token, "ttl": ttl }).to_string(),
            ),
            // As it is, so that it arrives byte for byte.
            Order::Complete { gate, token, result } => post(
                gate_path(gate, "complete"),
                format!("{{\"token\":{token},\"result\":{result}}}"),
            ),
            Order::Fail {
                gate,
                token,
                error,
                retry_in,
                give_up,
            } => {
                let mut body =
                    Map::from_iter([("token".to_string(), json!(token)), ("error".to_string(), json!(error))]);
                put_if(&mut body, "retry_in", retry_in.as_ref());
                body.insert("give_up".into(), json!(give_up));
                post(gate_path(gate, "fail"), Value::Object(body).to_string())
            }
            Order::Retry { gate, reason } => post(gate_path(gate, "retry"), json!({ "reason": reason }).to_string()),
            Order::Open { .. } => unreachable!("HTTP opens a gate by claiming it"),
            Order::Sweep
            | Order::Gate(_)
            | Order::Counter { .. }
            | Order::Entry(_)
            | Order::Gaps { .. }
            | Order::Verify => {
                unreachable!("looks are not commands")
            }
        }
    }
}

async fn service(store: &Memory, clock: &Arc<SetClock>) -> Router {
    let options = Options {
        clock: clock.clone(),
        ..Options::default()
    };
    let issuer = Issuer::with(Arc::new(store.clone()), options).await.unwrap();
    router(App::new(issuer, AppOptions::default()))
}

fn gate_path(gate: &GateWords, verb: &str) -> String {
    let id = gate.id().expect("scenarios claim a gate before they do more with it");
    format!("/v1/gates/{id}/{verb}")
}

fn gate(json: &Value) -> GateShown {
    let is_claimed = json["state"] == "claimed";
    GateShown {
        state: text(&json["state"]).unwrap_or_default(),
        token: json["token"].as_u64().unwrap_or(0),
        attempts: u32::try_from(json["attempts"].as_u64().unwrap_or(0)).unwrap(),
        holder: text(&json["holder"]).filter(|_| is_claimed),
        result: None,
        error: text(&json["last_error"]),
    }
}

fn put_if(body: &mut Map<String, Value>, name: &str, value: Option<&String>) {
    if let Some(value) = value {
        body.insert(name.into(), json!(value));
    }
}

/// The document goes in as it is, so that it arrives byte for byte.
fn take_body(take: &TakeWords, more: &[(&str, Value)]) -> String {
    let mut body = Map::new();
    put_if(&mut body, "key", take.key.as_ref());
    put_if(&mut body, "tenant", take.tenant.as_ref());
    put_if(&mut body, "date", take.date.as_ref());
    put_if(&mut body, "reference", take.reference.as_ref());
    if !take.params.is_empty() {
        body.insert("params".into(), json!(take.params));
    }
    for (name, value) in more {
        body.insert((*name).into(), value.clone());
    }
    let body = Value::Object(body).to_string();
    match &take.document {
        None => body,
        Some(document) => {
            let comma = if body == "{}" { "" } else { "," };
            format!("{{\"document\":{document}{comma}{}", &body[1..])
        }
    }
}

fn period_body(series: &str, tenant: Option<&String>, period: &str, reason: &str) -> String {
    let mut body = Map::from_iter([
        ("series".to_string(), json!(series)),
        ("period".to_string(), json!(period)),
        ("reason".to_string(), json!(reason)),
    ]);
    put_if(&mut body, "tenant", tenant);
    Value::Object(body).to_string()
}

fn key_body(key: &NewKey) -> String {
    let mut body = Map::from_iter([
        ("label".to_string(), json!(key.name)),
        ("scopes".to_string(), json!(key.scopes)),
        ("test".to_string(), json!(key.test)),
    ]);
    for (name, bound) in [("tenants", &key.tenants), ("series", &key.series)] {
        // All of them is said by leaving it out; an empty list is refused.
        if !bound.is_empty() {
            body.insert(name.into(), json!(bound));
        }
    }
    Value::Object(body).to_string()
}

fn series_body(spec: &SeriesSpec) -> String {
    let mut body = Map::from_iter([
        ("format".to_string(), json!(spec.format)),
        ("test".to_string(), json!(spec.test)),
    ]);
    for (name, value) in [
        ("reset", &spec.reset),
        ("time_zone", &spec.time_zone),
        ("gaps", &spec.gaps),
        ("overflow", &spec.overflow),
        ("date_order", &spec.date_order),
        ("date_window", &spec.date_window),
        ("keys", &spec.keys),
        ("replay", &spec.replay),
        ("on_expiry", &spec.on_expiry),
        ("on_outage", &spec.on_outage),
        ("replaces", &spec.replaces),
    ] {
        put_if(&mut body, name, value.as_ref());
    }
    for (name, value) in [
        ("start", spec.start),
        ("limit", spec.limit),
        ("max_length", spec.max_length),
    ] {
        if let Some(value) = value {
            body.insert(name.into(), json!(value));
        }
    }
    if !spec.partition_by.is_empty() {
        body.insert("partition_by".into(), json!(spec.partition_by));
    }
    let params: Map<String, Value> = spec
        .params
        .iter()
        .map(|(name, (kind, values))| {
            let value = if kind == "one_of" {
                json!(values)
            } else {
                json!(values.join("|"))
            };
            (name.clone(), json!({ kind.as_str(): value }))
        })
        .collect();
    if !params.is_empty() {
        body.insert("params".into(), Value::Object(params));
    }
    Value::Object(body).to_string()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}

fn texts(value: &Value, field: Option<&str>) -> Vec<String> {
    let rows = value.as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter_map(|row| text(field.map_or(row, |field| &row[field])))
        .collect()
}

fn number(entry: &Value, replayed: bool) -> NumberShown {
    NumberShown {
        number: text(&entry["number"]).unwrap_or_default(),
        state: text(&entry["state"]).unwrap_or_else(|| "issued".into()),
        replayed: replayed || entry["replayed"] == true,
        differs: texts(&entry["differs"], None),
    }
}

/// What the answer shows; `test` is asked of the series where an answer has no entry.
fn shown(order: &Order, (status, replayed, json): (u16, bool, Value)) -> Outcome {
    if status >= 400 {
        return refused(&json);
    }
    let warnings = |json: &Value| texts(&json["warnings"], Some("code"));
    match order {
        Order::Series { .. } => Outcome::Series {
            version: json["version"].as_u64().unwrap_or(0),
            changed: json["changed"] == true,
        },
        Order::Batch { .. } | Order::Count { .. } | Order::Preview { .. } => {
            let rows = json["data"].as_array().cloned().unwrap_or_default();
            Outcome::Numbers {
                numbers: rows.iter().map(|entry| number(entry, replayed)).collect(),
                voided: None,
                warnings: warnings(&json),
                test: json["test"] == true || rows.iter().any(|entry| entry["test"] == true),
            }
        }
        Order::Void { reissue, .. } => {
            let shown = if *reissue {
                &json["replacement"]
            } else {
                &json["voided"]
            };
            Outcome::Numbers {
                numbers: vec![number(shown, replayed)],
                voided: if *reissue {
                    text(&json["voided"]["number"])
                } else {
                    None
                },
                warnings: warnings(shown),
                test: shown["test"] == true,
            }
        }
        Order::Close { .. } => Outcome::Closed(
            json["counters"]
                .as_array()
                .cloned()
                .unwrap_or_default()
                .iter()
                .map(counter)
                .collect(),
        ),
        Order::Claim { .. } => Outcome::Claimed {
            outcome: text(&json["outcome"]).unwrap_or_default(),
            replayed,
            retry_after: json["retry_after_ms"].as_i64().map(|ms| (ms + 999) / 1000),
            gate: gate(&json["gate"]),
        },
        Order::Renew { .. } | Order::Complete { .. } | Order::Fail { .. } | Order::Retry { .. } => Outcome::Gate {
            gate: Some(gate(&json)),
            replayed,
        },
        Order::Reopen { .. } => Outcome::Open,
        Order::Advance { .. } => Outcome::Missing {
            first: json["missing"]["first"].as_u64().unwrap_or(0),
            last: json["missing"]["last"].as_u64().unwrap_or(0),
        },
        Order::Wipe { .. } => Outcome::Empty,
        Order::Key(key) => Outcome::Key(key.name.clone()),
        Order::Revoke { name } => Outcome::Revoked(name.clone()),
        _ => Outcome::Numbers {
            numbers: vec![number(&json, replayed)],
            voided: None,
            warnings: warnings(&json),
            test: json["test"] == true,
        },
    }
}

/// The result of a gate byte for byte: parsed and written again it would be another.
fn result_in(body: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Gate<'a> {
        #[serde(borrow)]
        result: Option<&'a serde_json::value::RawValue>,
        #[serde(borrow)]
        gate: Option<Box<Gate<'a>>>,
    }
    let gate: Gate<'_> = serde_json::from_slice(body).ok()?;
    let result = gate.result.or(gate.gate.and_then(|gate| gate.result));
    result.map(|raw| raw.get().to_string())
}

fn counter(json: &Value) -> CounterShown {
    let count = |state: &str| json["counts"][state].as_u64().unwrap_or(0);
    CounterShown {
        first: json["first_seq"].as_u64().unwrap_or(0),
        last: json["last_seq"].as_u64().unwrap_or(0),
        counts: Counts {
            issued: count("issued"),
            reserved: count("reserved"),
            voided: count("voided"),
            missing: count("missing"),
        },
    }
}

/// What HTTP finds in the body before a rule sees it, and what the rule would have said.
type Said = (&'static str, &'static str);
const EARLIER: [(Said, Said); 4] = [
    (("invalid_json", "/result"), ("invalid_document", "/result")),
    (
        ("unknown_field", "/params/branch/words"),
        ("invalid_definition", "/params/branch"),
    ),
    (("body_incomplete", ""), ("invalid_document", "/document")),
    (("invalid_text", "/scopes/0"), ("invalid_text", "/scopes")),
];

fn refused(json: &Value) -> Outcome {
    let code = text(&json["code"]).unwrap_or_else(|| json.to_string());
    // Only here is there a header to point at.
    let field = text(&json["errors"][0]["pointer"]).filter(|field| field != "/headers/If-Match");
    let earlier = EARLIER
        .iter()
        .find(|(found, _)| *found == (code.as_str(), field.as_deref().unwrap_or_default()));
    if let Some((_, (code, field))) = earlier {
        return Outcome::Refused {
            code: (*code).to_string(),
            field: Some((*field).to_string()),
            entries: Vec::new(),
        };
    }
    let about = ["entry", "replacement"].iter();
    Outcome::Refused {
        code,
        field,
        entries: about.filter_map(|field| text(&json[field]["number"])).collect(),
    }
}

#[async_trait]
impl Boundary for AtHttp {
    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
        self.looks.set_clock(now);
    }

    async fn answer(&mut self, ask: &Ask) -> Outcome {
        if ask.order.is_look() || ask.order == Order::Sweep || matches!(ask.order, Order::Open { .. }) {
            return self.looks.answer(ask).await;
        }
        let call = self.call(&ask.order).await;
        let answer = self.send(ask.caller.as_deref(), call).await;
        if let (Order::Key(key), Some(id), Some(secret)) = (&ask.order, text(&answer.2["id"]), text(&answer.2["key"])) {
            self.keys.insert(key.name.clone(), (id, secret));
        }
        let raw = result_in(&answer.3);
        let (status, replayed, json, _) = answer;
        match shown(&ask.order, (status, replayed, json)) {
            Outcome::Claimed {
                outcome,
                replayed,
                retry_after,
                gate,
            } => Outcome::Claimed {
                outcome,
                replayed,
                retry_after,
                gate: GateShown { result: raw, ..gate },
            },
            Outcome::Gate {
                gate: Some(gate),
                replayed,
            } => Outcome::Gate {
                gate: Some(GateShown { result: raw, ..gate }),
                replayed,
            },
            other => other,
        }
    }

    async fn restart(&mut self) {
        self.router = service(&self.store, &self.clock).await;
    }
}

#[tokio::test]
async fn http_answers_as_the_scenarios_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../seriatim/scenarios");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10);
    let mut wrong = String::new();
    for file in files {
        wrong += &run_file(&file, &mut AtHttp::new().await)
            .await
            .err()
            .unwrap_or_default();
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
