//! A service over a store in memory, asked without a network.
#![allow(dead_code, reason = "each test binary uses its part")]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use seriatim::{Actor, Issuer, Memory, Store};
use seriatim_server::app::{App, AppOptions};
use seriatim_server::auth::Local;
use seriatim_server::routes::router;
use tower::ServiceExt as _;

/// A service and the way to ask it.
pub struct World {
    pub app: App,
    pub router: Router,
}

/// Who asks.
#[derive(Clone)]
pub enum Who {
    Owner,
    Nobody,
    Key(String),
}

impl World {
    pub async fn new() -> Self {
        let options = AppOptions {
            checkpoint_key: Some([7; 32]),
            production: true,
            ..AppOptions::default()
        };
        Self::with(options).await
    }

    pub async fn with(options: AppOptions) -> Self {
        Self::over(Memory::new(), options).await
    }

    /// One node over a store that others may use as well.
    pub async fn over(store: impl Store, options: AppOptions) -> Self {
        let issuer = Issuer::open(store).await.unwrap();
        let app = App::new(issuer, options);
        Self {
            router: router(app.clone()),
            app,
        }
    }

    /// With the series of most tests: `invoice` (`INV-{seq:3}`), `branch` with a param, and `trial`, a test series.
    pub async fn furnished() -> Self {
        let world = Self::new().await;
        world
            .put("/v1/series/invoice", json!({"format": "INV-{seq:3}"}))
            .await
            .is(201);
        let branch =
            json!({"format": "{branch}-{seq:4}", "params": {"branch": {"digits": 2}}, "partition_by": ["branch"]});
        world.put("/v1/series/branch", branch).await.is(201);
        world
            .put("/v1/series/trial", json!({"format": "T-{seq}", "test": true}))
            .await
            .is(201);
        world
    }

    pub fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask {
            world: self,
            who: Who::Owner,
            request: Request::builder()
                .method(Method::from_bytes(method.as_bytes()).unwrap())
                .uri(path),
            body: Body::empty(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path).json(&body).send().await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path).json(&body).send().await
    }

    /// Issues a number and says its id.
    pub async fn issue(&self, series: &str, body: Value) -> Answer {
        self.post(&format!("/v1/series/{series}/entries"), body).await.is(201)
    }

    /// Makes an API key and says its text.
    pub async fn key(&self, body: Value) -> String {
        self.post("/v1/keys", body).await.is(201).text("key")
    }

    /// Everything that a refusal must leave as it was: counters and the number of keys and series.
    pub async fn census(&self) -> String {
        let reads = self.app.issuer().reads();
        let heads = reads.heads().await.unwrap();
        format!("{heads:?}")
    }
}

pub struct Ask<'a> {
    world: &'a World,
    who: Who,
    request: axum::http::request::Builder,
    body: Body,
}

impl Ask<'_> {
    pub fn who(mut self, who: &Who) -> Self {
        self.who = who.clone();
        self
    }

    pub fn key(self, key: &str) -> Self {
        self.who(&Who::Key(key.to_string()))
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.request = self.request.header(name, value.as_ref());
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub async fn send(self) -> Answer {
        let mut request = self.request.body(self.body).unwrap();
        match &self.who {
            Who::Owner => {
                request.extensions_mut().insert(Local(Actor::parse("os:ann").unwrap()));
            }
            Who::Nobody => {}
            Who::Key(key) => {
                let value = format!("Bearer {key}").parse().unwrap();
                request.headers_mut().insert("authorization", value);
            }
        }
        let response = self.world.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let raw = String::from_utf8_lossy(&bytes).into_owned();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            json: serde_json::from_str(&raw).unwrap_or(Value::Null),
            raw,
        }
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
    pub raw: String,
}

impl Answer {
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.raw);
        self
    }

    /// A problem with this status and code; every problem says what happened and what to do.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!(
            (self.status, self.text("code").as_str()),
            (status, code),
            "{}",
            self.raw
        );
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.json["status"], status);
        assert_eq!(self.text("request_id"), self.header("x-request-id"));
        assert_eq!(self.text("type"), format!("/docs/reference/problems#{code}"));
        assert!(!self.text("detail").is_empty() && !self.text("title").is_empty());
        assert!(["nothing", "unknown"].contains(&self.text("outcome").as_str()));
        assert!(["retry", "retry_same_key", "never"].contains(&self.text("retry").as_str()));
        self
    }

    #[track_caller]
    pub fn at(self, pointer: &str) -> Self {
        assert_eq!(self.json["errors"][0]["pointer"], pointer, "{}", self.raw);
        self
    }

    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers));
        value.to_str().unwrap().to_string()
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        let value = &self.json[field];
        value
            .as_str()
            .unwrap_or_else(|| panic!("no text {field}: {}", self.raw))
            .to_string()
    }

    /// The fields of each row of a list, joined by spaces.
    #[track_caller]
    pub fn rows(&self, fields: &[&str]) -> Vec<String> {
        let data = self.json["data"]
            .as_array()
            .unwrap_or_else(|| panic!("no data: {}", self.raw));
        let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_string);
        let row = |row: &Value| {
            fields
                .iter()
                .map(|field| cell(&row[*field]))
                .collect::<Vec<_>>()
                .join(" ")
        };
        data.iter().map(row).collect()
    }
}
