//! Two nodes on one database, each behind a proxy of its own, and what is done to them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use seriatim_servers_tests::{Held, Postgres, Proxy, WrittenGate};
use sha2::{Digest as _, Sha256};

use super::super::client::{KEY, call};
use super::super::payments::{deliver, expect, signal};
use super::super::seriatim::{Desk, Service};
use super::{Blow, Step};

/// Beyond two leases: a worker looks every half second, the receipt is made again, and all this on a busy machine.
const ALLOWANCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(60);
/// What counts nothing, for some hundred milliseconds, so that there is a middle to be hit.
const TEMPLATE: &str = r#"
#let receipt = json("receipt.json")
= Receipt #receipt.number
#let sum = 0
#if receipt.payment != none and receipt.payment.reference.starts-with("slow") {
  for i in range(LOOPS) { sum = calc.rem(sum * 31 + i, 65521) }
}
Checked: #sum
"#;
const LOOPS: &str = "150000";

struct Node {
    proxy: Proxy,
    /// Not there between a kill and the next start.
    service: Option<Service>,
    address: String,
}

impl Node {
    fn process(&self) -> u32 {
        self.service.as_ref().expect("it runs").process()
    }

    fn signal(&self, name: &str) {
        signal(self.service.as_ref().expect("it runs"), name);
    }

    async fn get(&self, path: &str) -> Value {
        let answer = call(&self.address, "GET", path, "").await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        serde_json::from_str(&answer.text).expect("JSON")
    }

    /// The SHA-256 of the receipt that is served, if one is.
    async fn served(&self, entry: &str) -> Option<String> {
        let path = format!("/v1/entries/{entry}/receipt");
        let answer = call(&self.address, "GET", &path, "").await.expect("an answer");
        match answer.status {
            200 => Some(sha256(&answer.bytes)),
            // Not yet.
            409 | 503 => None,
            status => panic!("{status}: {}", answer.text),
        }
    }

    /// How often somebody was told here that his token is old.
    async fn stale(&self) -> u64 {
        let page = call(&self.address, "GET", "/metrics", "")
            .await
            .expect("an answer")
            .text;
        let is_meant =
            |line: &&str| line.starts_with("seriatim_refusals_total{") && line.contains("code=\"stale_token\"");
        page.lines()
            .filter(is_meant)
            .map(|line| {
                line.rsplit(' ')
                    .next()
                    .expect("a value")
                    .parse::<u64>()
                    .expect("a count")
            })
            .sum()
    }
}

pub struct Station {
    desk: Desk,
    url: String,
    database: String,
    lease: Duration,
    nodes: [Node; 2],
    rows: tokio_postgres::Client,
    payments: Vec<String>,
}

impl Station {
    pub async fn start(server: &Postgres, lease: Duration) -> Self {
        let database = server.create_database();
        let desk = Desk::new();
        let config = format!(
            "lease = \"{}s\"\nworkers = 2\nreceipt_template = \"template\"\n\
             [sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"topsecret\"]\ntest = true\n",
            lease.as_secs()
        );
        std::fs::write(desk.path().join("seriatim.toml"), config).expect("a file");
        std::fs::create_dir(desk.path().join("template")).expect("a folder");
        let template = TEMPLATE.replace("LOOPS", LOOPS);
        std::fs::write(desk.path().join("template/receipt.typ"), template).expect("a file");
        let mut station = Self {
            nodes: [idle(server).await, idle(server).await],
            url: server.url_of(&database),
            rows: server.connect(&database).await,
            desk,
            database,
            lease,
            payments: Vec::new(),
        };
        station.start_node(0);
        station.start_node(1);
        let series = r#"{"format": "RCP-{seq:4}", "test": true}"#;
        let defined = call(&station.nodes[0].address, "PUT", "/v1/series/receipt", series).await;
        assert_eq!(defined.expect("an answer").status, 201);
        station
    }

    fn start_node(&mut self, which: usize) {
        let node = &mut self.nodes[which];
        let store = node.proxy.url_of(&self.database);
        // Receipts lie where both nodes find them.
        let flags = ["--store", &store, "--receipts-dir", "receipts"];
        let variables = [("SERIATIM_ADMIN_KEY", KEY)];
        let service = tokio::task::block_in_place(|| self.desk.serve_with(&flags, &variables));
        node.address = service.url.trim_start_matches("http://").to_string();
        node.service = Some(service);
    }

    /// One payment whose holder is hit at a step; how long after that its gate was done.
    pub async fn round(&mut self, step: Step, blow: Blow) -> Duration {
        // Late winners wake up by turns while their successor works, and when it has ended.
        let is_early = blow == Blow::Pause && step.is_taken_over() && self.payments.len().is_multiple_of(2);
        let pace = if is_early || step == Step::InPdf { "slow" } else { "pay" };
        let payment = format!("{pace}_{}", self.payments.len());
        self.payments.push(payment.clone());
        expect(&self.nodes[0].address, &payment).await;
        let holds = [0, 1].map(|node: usize| self.nodes[node].proxy.hold("receipt", step.state(), step.hold()));
        let addresses = [0, 1].map(|node: usize| self.nodes[node].address.clone());
        let senders = deliver(&self.desk, &addresses, &payment, 2);
        let (holder, held, gate) = self.first(holds).await;
        assert_eq!(gate.subject, payment);
        let stale = self.nodes[holder].stale().await;
        let (struck, children) = self.strike(step, blow, holder, &held, &gate).await;

        if is_early {
            self.until_taken_over(&gate.id).await;
            held.let_go();
            self.nodes[holder].signal("CONT");
        }
        let served = self.until_done(1 - holder, &gate).await;
        let took = struck.elapsed();
        assert!(
            took <= 2 * self.lease + ALLOWANCE,
            "{step:?} {blow:?}: done after {took:?}"
        );
        for mut sender in senders {
            // Who spoke to the one that was killed has failed, and a provider sends again.
            let _ = tokio::task::block_in_place(|| sender.wait());
        }
        let ended = self.nodes[1 - holder].get(&format!("/v1/gates/{}", gate.id)).await;
        match blow {
            Blow::Kill => {
                must_be_gone(&children).await;
                self.start_node(holder);
            }
            Blow::Pause => {
                // Past the lease, also where nobody had to take over.
                tokio::time::sleep_until((struck + self.lease + Duration::from_millis(200)).into()).await;
                held.let_go();
                self.nodes[holder].signal("CONT");
                if step.is_taken_over() {
                    self.must_hear_stale(holder, stale).await;
                }
            }
        }
        self.must_be_one_result(step, &ended, served).await;
        took
    }

    /// Who comes to that point first. The other goes free, whatever it does.
    async fn first(&self, holds: [Held; 2]) -> (usize, Held, WrittenGate) {
        let [mut one, mut other] = holds;
        let first = async {
            tokio::select! {
                gate = one.reached() => (0, gate),
                gate = other.reached() => (1, gate),
            }
        };
        let (holder, gate) = tokio::time::timeout(PATIENCE, first)
            .await
            .expect("somebody comes there");
        self.nodes[1 - holder].proxy.hold_nothing();
        (holder, if holder == 0 { one } else { other }, gate)
    }

    /// Hits the holder where it stands, and shows that it stood there; the processes that it had started.
    async fn strike(
        &mut self,
        step: Step,
        blow: Blow,
        holder: usize,
        held: &Held,
        gate: &WrittenGate,
    ) -> (Instant, Vec<u32>) {
        let children = children_of(self.nodes[holder].process());
        assert!(!children.is_empty(), "it has processes that render");
        if step == Step::InPdf {
            held.let_go();
            until_at_work(self.nodes[holder].process()).await;
        } else {
            assert_eq!(self.standing(&gate.id).await, step.standing(), "{step:?} {blow:?}");
        }
        let struck = Instant::now();
        match blow {
            Blow::Kill => self.nodes[holder].service.take().expect("it runs").kill(),
            Blow::Pause => self.nodes[holder].signal("STOP"),
        }
        if step == Step::InPdf {
            assert_eq!(self.standing(&gate.id).await, step.standing(), "{step:?} {blow:?}");
        }
        (struck, children)
    }

    /// The state and token that are committed, and whether the first holder's file is there.
    async fn standing(&self, gate: &str) -> (&'static str, i64, bool) {
        let sql = "select state, token from seriatim.gate where id = $1";
        let row = self.rows.query_one(sql, &[&gate]).await.expect("the gate is there");
        let states = ["open", "claimed", "done", "dead"];
        let state = states.into_iter().find(|state| *state == row.get::<_, &str>(0));
        (
            state.expect("a state"),
            row.get(1),
            self.receipts().join(gate).join("1.pdf").exists(),
        )
    }

    async fn until_taken_over(&self, gate: &str) {
        let started = Instant::now();
        while self.standing(gate).await.1 < 2 {
            assert!(started.elapsed() < PATIENCE, "nobody takes over");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn receipts(&self) -> PathBuf {
        self.desk.path().join("receipts")
    }

    /// Waits for the result, as whoever is left tells it, and asks for the receipt all the time: what was served.
    async fn until_done(&self, node: usize, gate: &WrittenGate) -> BTreeSet<String> {
        let started = Instant::now();
        let mut served = BTreeSet::new();
        loop {
            let shown = self.nodes[node].get(&format!("/v1/gates/{}", gate.id)).await;
            served.extend(self.nodes[node].served(text(&shown["task"]["entry"])).await);
            if shown["state"] == "done" {
                return served;
            }
            assert!(started.elapsed() < PATIENCE, "{shown}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    async fn must_hear_stale(&self, node: usize, before: u64) {
        let started = Instant::now();
        while self.nodes[node].stale().await == before {
            assert!(started.elapsed() < PATIENCE, "a late winner is not told");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// One result, that of the gate's last token; its file is what both nodes serve, whatever lies beside it.
    async fn must_be_one_result(&self, step: Step, ended: &Value, mut served: BTreeSet<String>) {
        let (gate, token) = (text(&ended["id"]), ended["token"].as_u64().expect("a token"));
        let (path, recorded) = (text(&ended["result"]["path"]), text(&ended["result"]["sha256"]));
        assert_eq!(path, format!("{gate}/{token}.pdf"));
        let kinds: Vec<&str> = ended["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|e| text(&e["kind"]))
            .collect();
        let count = |kind: &str| kinds.iter().filter(|found| **found == kind).count() as u64;
        assert_eq!((count("completed"), kinds.last()), (1, Some(&"completed")), "{kinds:?}");
        assert_eq!((count("claimed"), count("expired") + 1), (token, token), "{kinds:?}");
        if step == Step::AfterComplete {
            assert_eq!(token, 1, "the holder's own result is the one that counts");
        }
        assert!(!step.is_taken_over() || token > 1, "{step:?}: {kinds:?}");
        // Equal receipts are equal bytes: what counts for nothing is made unlike, so that it would be noticed.
        for file in std::fs::read_dir(self.receipts().join(gate)).expect("its folder") {
            let file = file.expect("a file").path();
            if file != self.receipts().join(path) {
                std::fs::write(file, "%PDF-1.7 of a late winner").expect("it can be written");
            }
        }
        for node in &self.nodes {
            served.insert(node.served(text(&ended["task"]["entry"])).await.expect("a receipt"));
            let now = node.get(&format!("/v1/gates/{gate}")).await;
            assert_eq!(&now, ended, "what is done stays as it is");
        }
        assert_eq!(served, BTreeSet::from([recorded.to_string()]));
        let file = std::fs::read(self.receipts().join(path)).expect("the file");
        assert_eq!(sha256(&file), recorded);
    }

    /// Every payment got its number, and nothing else did; the store verifies, and no process is left.
    pub async fn end(mut self, rounds: usize) {
        for payment in &self.payments {
            let started = Instant::now();
            while self.nodes[0].get(&format!("/v1/payments/{payment}")).await["state"] != "paid" {
                assert!(started.elapsed() < PATIENCE, "{payment} is not paid");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let list = self.nodes[1].get("/v1/entries?series=receipt&limit=500").await;
        let entries = list["data"].as_array().expect("a list");
        let numbers: BTreeSet<&str> = entries.iter().map(|entry| text(&entry["number"])).collect();
        assert_eq!((entries.len(), numbers.len()), (rounds, rounds));
        tokio::task::block_in_place(|| self.desk.ok(&["verify", "--store", &self.url]));
        let children: Vec<u32> = self.nodes.iter().flat_map(|node| children_of(node.process())).collect();
        for node in &mut self.nodes {
            tokio::task::block_in_place(|| node.service.take().expect("it runs").stop());
        }
        must_be_gone(&children).await;
    }
}

async fn idle(server: &Postgres) -> Node {
    Node {
        proxy: Proxy::start(server.port()).await,
        service: None,
        address: String::new(),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kernel's letter for what a process does, and its parent; nothing if it is gone.
fn process(id: u32) -> Option<(char, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // Its name may hold anything, and ends with the last parenthesis.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn children_of(parent: u32) -> Vec<u32> {
    let folders = std::fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let ids = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    ids.filter(|id| process(*id).is_some_and(|(_, of)| of == parent))
        .collect()
}

/// Waits until a process that renders computes: it was given a receipt.
async fn until_at_work(parent: u32) {
    let started = Instant::now();
    let computes = |id: &u32| process(*id).is_some_and(|(state, _)| state == 'R');
    while !children_of(parent).iter().any(computes) {
        assert!(started.elapsed() < PATIENCE, "nothing is rendered");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What a node started dies with it, at the latest when it has rendered what it was given.
async fn must_be_gone(children: &[u32]) {
    let started = Instant::now();
    let is_there = |id: &u32| process(*id).is_some_and(|(state, _)| state != 'Z');
    while children.iter().any(is_there) {
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "{children:?} outlive their parent"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
