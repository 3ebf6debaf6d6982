//! Promise P8: whoever changes, removes, inserts or swaps anything in the file is found out by `verify`.
//!
//! By default every column in rows of every kind, and a sample of all rows. `SERIATIM_TAMPER=rows` (as in CI) tries every
//! row in one column at least; `SERIATIM_TAMPER=all`, every column of every row.
#![cfg(feature = "sqlite")]
#![allow(clippy::print_stdout, reason = "says how many fields were flipped")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;
use rusqlite::types::Value;
use seriatim::checkpoint::{self, Checkpoint};
use seriatim::store::sqlite::SqliteOptions;
use seriatim::verify::{self, Options, Report};
use seriatim::{
    Access, Actor, Adopt, Answer, ApiKey, ApiScope, Claim, ClaimOutcome, Clock, Command, Document, Effect, EntryId,
    Event, EventKind, GateId, GatePolicy, Hash, Holder, Issuer, Key, Reason, Reference, Request, SeriesName,
    SeriesSpec, Sqlite, Subject, Take, Tenant, Timestamp, Ttl, Void, VoidReason,
};

/// Storage details that say nothing about a number.
const NOT_EVIDENCE: [(&str, &str); 4] = [
    ("gate", "no"),        // order of arrival; the events that go by it are tested by removing rows
    ("entry", "no"),       // order of arrival, for listings
    ("document", "entry"), // tested by removing and inserting rows
    ("key", "hash"),       // tested by removing rows: an index that leads nowhere
];

/// A second for each look at the clock.
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

fn reason() -> Reason {
    Reason::parse("because").unwrap()
}

fn desk(desk: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("desk".into(), desk.into())])
}

/// A store in which everything has happened that can happen, with about a thousand events.
struct Story {
    issuer: Issuer,
    drawn: u64,
}

impl Story {
    async fn tell(path: &Path) -> Checkpoint {
        let store = Sqlite::open(path, SqliteOptions::default()).await.unwrap();
        let options = seriatim::Options {
            clock: Arc::new(Ticking(AtomicI64::new(1_770_000_000_000_000))),
            ..seriatim::Options::default()
        };
        let issuer = Issuer::with(Arc::new(store.clone()), options).await.unwrap();
        let mut story = Self { issuer, drawn: 0 };
        story.define().await;
        for _ in 0..110 {
            story.chapter().await;
        }
        story.administer().await;
        story.gates().await;
        let taken = checkpoint::take(story.issuer.reads(), &[7; 32], Timestamp::from_micros(0))
            .await
            .unwrap();
        story.issuer.close().await;
        store.close().await;
        taken
    }

    async fn execute(&self, command: Command) -> Answer {
        let request = Request {
            actor: Actor::parse("os:ann").unwrap(),
            on_behalf_of: Some(Actor::parse("bob").unwrap()),
            access: Access::full(),
            rehearsal: false,
            command,
        };
        self.issuer.execute(request).await.unwrap()
    }

    async fn define(&self) {
        let spec = |format: &str, on_expiry: &str| SeriesSpec {
            format: format.into(),
            params: BTreeMap::from([("desk".into(), ("digits".into(), vec!["2".into()]))]),
            partition_by: vec!["desk".into()],
            on_expiry: Some(on_expiry.into()),
            ..SeriesSpec::default()
        };
        self.issuer
            .define("invoice", spec("INV-{desk}-{seq:4}", "hold"))
            .await
            .unwrap();
        self.issuer
            .define("receipt", spec("RCT-{desk}-{seq:4}", "void"))
            .await
            .unwrap();
        self.issuer
            .define("old", spec("OLD-{desk}-{seq:4}", "hold"))
            .await
            .unwrap();
    }

    fn take(&mut self) -> Take {
        self.drawn += 1;
        let drawn = self.drawn;
        Take {
            key: Some(Key::parse(&format!("pay_{drawn}")).unwrap()),
            tenant: Tenant::parse(if drawn.is_multiple_of(5) { "acme" } else { "zeta" }).unwrap(),
            params: desk(if drawn.is_multiple_of(3) { "01" } else { "02" }),
            document: (!drawn.is_multiple_of(4)).then(|| Document::parse(&format!(r#"{{"total": {drawn}}}"#)).unwrap()),
            reference: drawn
                .is_multiple_of(2)
                .then(|| Reference::parse(&format!("order {drawn}")).unwrap()),
            date: None,
        }
    }

    async fn one(&mut self, series: &str, verb: impl FnOnce(SeriesName, Take) -> Command) -> EntryId {
        let take = self.take();
        match self.execute(verb(SeriesName::parse(series).unwrap(), take)).await {
            Answer::Entries(answer) => answer.taken[0].entry.id,
            other => panic!("{other:?}"),
        }
    }

    async fn issue(&mut self, series: &str) -> EntryId {
        self.one(series, |series, take| Command::Issue { series, take }).await
    }

    async fn reserve(&mut self, series: &str, seconds: u64) -> EntryId {
        let ttl = Ttl::from_seconds(seconds).unwrap();
        self.one(series, |series, take| Command::Reserve { series, take, ttl })
            .await
    }

    /// One of every life that a number can have.
    async fn chapter(&mut self) {
        let entry = self.reserve("invoice", 3_600).await;
        let document = Some(Document::parse(r#"{"final": true}"#).unwrap());
        self.execute(Command::Confirm { entry, document }).await;
        let entry = self.reserve("invoice", 3_600).await;
        self.execute(Command::Release {
            entry,
            reason: reason(),
        })
        .await;
        let entry = self.reserve("receipt", 1).await;
        self.execute(Command::Expire { entry }).await;
        for reissue in [false, true] {
            let entry = self.issue("receipt").await;
            let void = Void {
                entry,
                reason_code: VoidReason::Spoiled,
                reason: reason(),
                reissue,
            };
            self.execute(Command::Void(void)).await;
        }
        self.issue("invoice").await;
    }

    /// One of every life that a gate can have. The clock moves by a second with each look.
    async fn gates(&self) {
        for life in 0..12u64 {
            let (gate, mut token) = self.claim(life).await;
            match life % 6 {
                0 => continue,
                1 => (_, token) = self.claim(life).await,
                2 => {
                    let retry_in = Some(Ttl::from_seconds(1).unwrap());
                    let error = reason();
                    self.execute(Command::Fail {
                        gate,
                        token,
                        error,
                        retry_in,
                        give_up: false,
                    })
                    .await;
                    if life < 6 {
                        continue;
                    }
                    (_, token) = self.claim(life).await;
                }
                3 | 4 => {
                    let (error, retry_in) = (reason(), None);
                    self.execute(Command::Fail {
                        gate,
                        token,
                        error,
                        retry_in,
                        give_up: false,
                    })
                    .await;
                    if life % 6 == 3 {
                        continue;
                    }
                    let reason = reason();
                    self.execute(Command::Retry { gate, reason }).await;
                    (_, token) = self.claim(life).await;
                }
                _ => {}
            }
            let result = Document::parse(&format!(r#"{{"pdf": {life}}}"#)).unwrap();
            self.execute(Command::Complete { gate, token, result }).await;
        }
    }

    async fn claim(&self, life: u64) -> (GateId, u64) {
        let attempts = if life % 6 == 3 || life % 6 == 4 { 1 } else { 3 };
        let claim = Claim {
            tenant: Tenant::parse("acme").unwrap(),
            effect: Effect::parse("receipt").unwrap(),
            subject: Subject::parse(&format!("pay_{life}")).unwrap(),
            ttl: Ttl::from_seconds(1).unwrap(),
            holder: Holder::parse("ann").unwrap(),
            key: life
                .is_multiple_of(2)
                .then(|| Key::parse(&format!("claim {life}")).unwrap()),
            policy: GatePolicy::new(Some(attempts), None, None).unwrap(),
        };
        loop {
            if let Answer::Claim {
                gate,
                outcome: ClaimOutcome::Won { replayed: false, .. },
            } = self.execute(Command::Claim(Box::new(claim.clone()))).await
            {
                return (gate.id, gate.token);
            }
        }
    }

    async fn administer(&mut self) {
        let tenant = Tenant::parse("acme").unwrap();
        let series = SeriesName::parse("old").unwrap();
        for (number, key) in [("OLD-01-0007", "k7"), ("OLD-01-0003", "k3"), ("OLD-02-0002", "k2")] {
            let adopt = Adopt {
                number: number.into(),
                date: "2025-11-20".parse().unwrap(),
                tenant: tenant.clone(),
                key: Some(Key::parse(key).unwrap()),
                document: None,
                reference: None,
            };
            let series = series.clone();
            self.execute(Command::Adopt { series, adopt }).await;
        }
        let advance = Command::Advance {
            series: series.clone(),
            tenant: tenant.clone(),
            params: desk("01"),
            period: None,
            to: 20,
            reason: reason(),
        };
        self.execute(advance).await;
        let take = Take {
            key: Some(Key::parse("three").unwrap()),
            tenant: tenant.clone(),
            params: desk("01"),
            document: Some(Document::parse(r#"{"name": "Ann"}"#).unwrap()),
            ..Take::default()
        };
        let count = Command::IssueCount {
            series: series.clone(),
            take,
            count: 3,
        };
        let Answer::Entries(counted) = self.execute(count).await else {
            panic!("no entries");
        };
        let entry = counted.taken[1].entry.id;
        self.execute(Command::Redact {
            entry,
            reason: reason(),
        })
        .await;
        let close = Command::Close {
            series,
            tenant,
            period: "all".to_string(),
            reason: reason(),
        };
        self.execute(close).await;
        for id in ["one", "two"] {
            let key = ApiKey {
                id: id.into(),
                label: "shop".into(),
                secret_sha256: Hash::of(b"secret"),
                access: Access {
                    scopes: [ApiScope::Issue].into(),
                    ..Access::default()
                },
                created_at: Timestamp::from_micros(1),
                revoked_at: None,
            };
            self.execute(Command::CreateApiKey(Box::new(key))).await;
        }
        self.execute(Command::RevokeApiKey { id: "two".into() }).await;
    }
}

/// What verify says of a copy of the file after somebody worked on it; `None` if it cannot even be opened.
async fn verdict(original: &Path, checkpoint: Option<&Checkpoint>, work: impl FnOnce(&Connection)) -> Option<Report> {
    let folder = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(original, &copy).unwrap();
    let conn = Connection::open(&copy).unwrap();
    work(&conn);
    drop(conn);
    let store = Sqlite::open(&copy, SqliteOptions::default()).await.ok()?;
    let options = Options {
        checkpoint: checkpoint.cloned(),
        resume: None,
    };
    let report = verify::verify(&store, &options, &|_| {}).await;
    store.close().await;
    Some(report.expect("what is damaged is a finding"))
}

async fn assert_found(original: &Path, what: &str, work: impl FnOnce(&Connection)) {
    if let Some(report) = verdict(original, None, work).await {
        assert!(!report.findings.is_empty(), "not found: {what}");
    }
}

struct Table {
    name: &'static str,
    columns: Vec<String>,
    types: Vec<String>,
    key: Vec<String>,
    rows: Vec<Vec<Value>>,
}

const TABLES: [&str; 11] = [
    "gate", "series", "line", "counter", "entry", "document", "key", "event", "missing", "closure", "api_key",
];

fn read_tables(path: &Path) -> Vec<Table> {
    let conn = Connection::open(path).unwrap();
    TABLES.iter().map(|name| Table::read(&conn, name)).collect()
}

impl Table {
    fn read(conn: &Connection, name: &'static str) -> Self {
        let mut about = conn.prepare("select name, type, pk from pragma_table_info(?)").unwrap();
        let about: Vec<(String, String, i64)> = about
            .query_map([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut all = conn.prepare(&format!("select * from {name}")).unwrap();
        let rows = all
            .query_map([], |row| (0..about.len()).map(|i| row.get::<_, Value>(i)).collect())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        Self {
            name,
            types: about.iter().map(|(_, of, _)| of.to_lowercase()).collect(),
            key: about
                .iter()
                .filter(|(_, _, key)| *key > 0)
                .map(|(column, _, _)| column.clone())
                .collect(),
            columns: about.into_iter().map(|(column, _, _)| column).collect(),
            rows,
        }
    }

    /// `where` for one row, with its parameters.
    fn place(&self, row: &[Value]) -> (String, Vec<Value>) {
        let terms: Vec<String> = self.key.iter().map(|column| format!("\"{column}\" = ?")).collect();
        let value = |column: &String| row[self.columns.iter().position(|c| c == column).unwrap()].clone();
        (terms.join(" and "), self.key.iter().map(value).collect())
    }

    fn is_evidence(&self, column: &str) -> bool {
        !NOT_EVIDENCE.contains(&(self.name, column))
    }

    /// What kind of row it is, so that each column is tried in each kind.
    fn kind(&self, row: &[Value]) -> String {
        let column = |name: &str| self.columns.iter().position(|c| c == name).map(|i| &row[i]);
        let shown = ["kind", "state", "origin"].map(|name| format!("{:?}", column(name)));
        let filled: Vec<bool> = row.iter().map(|value| *value != Value::Null).collect();
        format!("{}{shown:?}{filled:?}", self.name)
    }

    /// Another value of the same type.
    fn other(&self, row: &[Value], c: usize) -> Value {
        match (&row[c], self.types[c].as_str()) {
            (Value::Null, "text") => Value::Text("1".into()),
            (Value::Null, "blob") => Value::Blob(vec![1; 32]),
            (Value::Null, _) => Value::Integer(1),
            // A renewal is no event, so that a claim may be held for longer; that it may be taken earlier is evidence.
            (Value::Integer(number), _) if self.columns[c] == "due_at" => Value::Integer(number - 1),
            (Value::Integer(number), _) => Value::Integer(number ^ 1),
            (Value::Real(number), _) => Value::Real(number + 1.0),
            (Value::Text(text), _) => {
                let mut text = text.clone();
                let last = text.pop().unwrap_or('x');
                text.push(if last == '1' { '2' } else { '1' });
                Value::Text(text)
            }
            (Value::Blob(bytes), _) => {
                let mut bytes = bytes.clone();
                *bytes.last_mut().unwrap() ^= 1;
                Value::Blob(bytes)
            }
        }
    }
}

fn wants(what: &str) -> bool {
    std::env::var("SERIATIM_TAMPER").is_ok_and(|value| value == what)
}

/// Of how many rows one is tried in a column that was tried in its kind already.
fn sample() -> usize {
    if wants("rows") || wants("all") { 1 } else { 11 }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_flipped_field_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    Story::tell(&path).await;
    let clean = verdict(&path, None, |_| {}).await.unwrap();
    assert_eq!(clean.findings, [], "an honest store has no findings");
    assert!(clean.progress.events >= 1_000, "{:?}", clean.progress);
    let mut tried = 0;
    for table in read_tables(&path) {
        let mut seen: BTreeMap<(String, usize), u32> = BTreeMap::new();
        for (i, row) in table.rows.iter().enumerate() {
            for (c, column) in table
                .columns
                .iter()
                .enumerate()
                .filter(|(_, column)| table.is_evidence(column))
            {
                let times = seen.entry((table.kind(row), c)).or_default();
                let is_sampled = i.is_multiple_of(sample()) && i % table.columns.len() == c;
                if *times > 0 && !is_sampled && !wants("all") {
                    continue;
                }
                *times += 1;
                tried += 1;
                flip(&path, &table, row, c, column).await;
            }
        }
    }
    println!("{tried} fields flipped, each found");
    assert!(tried > 500);
}

async fn flip(path: &Path, table: &Table, row: &[Value], c: usize, column: &str) {
    let (place, mut values) = table.place(row);
    values.insert(0, table.other(row, c));
    let sql = format!("update {} set \"{column}\" = ? where {place}", table.name);
    let what = format!("{}.{column} of {row:?}", table.name);
    let mut kept_out = false;
    let report = verdict(path, None, |conn| {
        // A constraint that keeps the change out has found it as well.
        kept_out = !matches!(conn.execute(&sql, rusqlite::params_from_iter(values)), Ok(1));
    });
    let report = report.await;
    let found = kept_out || report.is_none_or(|report| !report.findings.is_empty());
    assert!(found, "not found: {what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_removed_row_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    let checkpoint = Story::tell(&path).await;
    for table in read_tables(&path) {
        for row in table.rows.iter().step_by(sample()) {
            let (place, values) = table.place(row);
            let sql = format!("delete from {} where {place}", table.name);
            // A removed counter leaves nothing that could tell of it: that is what the checkpoint is for.
            let report = verdict(&path, Some(&checkpoint), |conn| {
                assert_eq!(conn.execute(&sql, rusqlite::params_from_iter(values)).unwrap(), 1);
            });
            let found = report.await.is_none_or(|report| !report.findings.is_empty());
            assert!(found, "not found: removed from {}: {row:?}", table.name);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inserted_and_swapped_rows_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    Story::tell(&path).await;
    let works = [
        // An event more, in the middle and at the end of a chain.
        "update event set position = -position - 1 where chain = 1 and position >= 20;
         update event set position = -position where chain = 1 and position < 0;
         insert into event select chain, 20, kind, seq, seq_last, number, date, key, params, reference, expires_at, link,
            reason_code, reason, document, actor, on_behalf_of, at, detail, hash from event where chain = 1 and position = 19",
        "insert into event select chain, 1 + (select max(position) from event where chain = 1), kind, seq, seq_last, number,
            date, key, params, reference, expires_at, link, reason_code, reason, document, actor, on_behalf_of, at, detail,
            hash from event where chain = 1 and position = 19",
        // Two events exchanged.
        "update event set position = -1 where chain = 1 and position = 5;
         update event set position = 5 where chain = 1 and position = 6;
         update event set position = 6 where chain = 1 and position = -1",
        // An entry more, beyond the counter.
        "insert into entry (counter, seq, line, number, state, origin, date, taken_at, issued_at, position, hash, taken_position)
            select counter, 9999, line, number || '9', state, origin, date, taken_at, issued_at, position, hash, taken_position
            from entry where counter = 1 and seq = 1",
        // Two entries exchanged.
        "update entry set seq = -1 where counter = 1 and seq = 3;
         update entry set seq = 3 where counter = 1 and seq = 4;
         update entry set seq = 4 where counter = 1 and seq = -1",
        // Two keys exchanged.
        "create table t as select * from key where counter = 1 order by seq limit 2;
         update key set seq = (select max(seq) from t) where hash = (select hash from t order by seq limit 1);
         update key set seq = (select min(seq) from t) where hash = (select hash from t order by seq desc limit 1);
         drop table t",
        // A document more; two documents exchanged.
        "insert into document select no, '{}' from entry where no not in (select entry from document) limit 1",
        "create table t as select * from document order by entry limit 2;
         update document set body = (select body from t order by entry desc limit 1) where entry = (select min(entry) from t);
         update document set body = (select body from t order by entry limit 1) where entry = (select max(entry) from t);
         drop table t",
        // A run of missing seqs more; a counter, closure, API key and series more.
        "insert into missing select counter, last + 1, last + 1, reason from missing order by last desc limit 1",
        "insert into counter (id, series, tenant, partition, period, line, first_seq, last_seq, issued, reserved, voided, missing,
            length, head) select x'00010203040506070809', series, 'mallory', partition, period, line, 1, 0, 0, 0, 0, 0, 0, head
            from counter limit 1",
        "insert into gate select null, x'00010203040506070809', 'mallory', effect, subject, state, token, attempts, policy,
            due_at, holder, key, task, result, last_error, opened_at, length, head from gate limit 1",
        // Two results exchanged; a gate that is set back to open, so that it could be claimed once more.
        "update gate set result = (select g.result from gate g where g.result is not null and g.no <> gate.no limit 1)
            where no = (select min(no) from gate where result is not null)",
        "update gate set state = 'open', result = null where no = (select min(no) from gate where state = 'done')",
        "insert into closure select series, 'mallory', period, closed, reason, actor, at, detail from closure limit 1",
        "insert into api_key select 'mallory', replace(definition, 'id=one', 'id=mallory'), null from api_key limit 1",
        "insert into series select 'mallory', version, definition from series limit 1",
        // A counter or a gate that is gone while its rows are there; rows that never had one.
        "delete from counter where no = 2",
        "delete from counter",
        "delete from gate where no = 1",
        "insert into missing values (777, 1, 2, 'because')",
        "insert into event select 777, position, kind, seq, seq_last, number, date, key, params, reference, expires_at, link,
            reason_code, reason, document, actor, on_behalf_of, at, detail, hash from event where chain = 1 and position = 1",
        // What would number beside the rules, or find nothing any more.
        "drop index entry_by_number",
        "create trigger quiet after insert on entry begin update entry set reason = null; end",
    ];
    for work in works {
        assert_found(&path, work, |conn| conn.execute_batch(work).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_tail_and_a_removed_counter_are_found_against_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    let checkpoint = Story::tell(&path).await;
    let checkpoint = Checkpoint::parse(&checkpoint.to_json()).unwrap();
    assert_eq!(verdict(&path, Some(&checkpoint), |_| {}).await.unwrap().findings, []);
    // A counter whose last event issued a number; somebody who knows the layout cuts it off and makes all agree again.
    let cut = "
        create table last as select event.* from event
            join counter on counter.no = chain and length = position and kind = 'issued' and link is null limit 1;
        delete from document where entry in (select no from entry join last on counter = chain and entry.seq = last.seq);
        delete from key where exists (select 1 from last where counter = chain and last.seq = key.seq);
        delete from entry where exists (select 1 from last where counter = chain and last.seq = entry.seq);
        delete from event where exists (select 1 from last where last.chain = event.chain and last.position = event.position);
        update counter set last_seq = last_seq - 1, length = length - 1, issued = issued - 1,
            last_date = (select max(date) from event where chain = no),
            head = (select hash from event where chain = no order by position desc limit 1)
            where no = (select chain from last);
        drop table last";
    let work = |conn: &Connection| {
        let before: i64 = conn
            .query_row("select count(*) from event", [], |row| row.get(0))
            .unwrap();
        conn.execute_batch(cut).unwrap();
        let after: i64 = conn
            .query_row("select count(*) from event", [], |row| row.get(0))
            .unwrap();
        assert_eq!(after, before - 1, "no counter ends with an issued number");
    };
    let blind = verdict(&path, None, work).await.unwrap();
    assert_eq!(
        blind.findings,
        [],
        "without a checkpoint a clean cut cannot be seen; docs/stores.md says so"
    );
    let seeing = verdict(&path, Some(&checkpoint), work).await.unwrap();
    assert!(
        seeing.findings.iter().any(|finding| finding.code == "tail_cut"),
        "{:?}",
        seeing.findings
    );

    let remove = "
        delete from document where entry in (select no from entry where counter = 1);
        delete from key where counter = 1;
        delete from entry where counter = 1;
        delete from event where chain = 1;
        delete from missing where counter = 1;
        delete from counter where no = 1";
    let seeing = verdict(&path, Some(&checkpoint), |conn| conn.execute_batch(remove).unwrap())
        .await
        .unwrap();
    assert!(
        seeing.findings.iter().any(|finding| finding.code == "counter_removed"),
        "{:?}",
        seeing.findings
    );
}

/// Appends an event to the definitions chain as somebody would who knows how it is hashed.
fn append_definition(conn: &Connection, kind: EventKind, detail: &str) {
    let last = "select position, hash from event where chain = 0 order by position desc limit 1";
    let (length, hash) = conn
        .query_row(last, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?)))
        .unwrap();
    let mut event = Event::new(kind, Actor::parse("os:ann").unwrap(), Timestamp::from_micros(1));
    event.detail = Some(detail.into());
    let hash = event.hash_after(&Hash::from_bytes(hash));
    let insert =
        "insert into event (chain, position, kind, actor, at, detail, hash) values (0, ?, ?, 'os:ann', 1, ?, ?)";
    let row = (length + 1, kind.as_str(), detail, hash.as_bytes());
    conn.execute(insert, row).unwrap();
}

/// A production series is emptied, and an event says that it was a test series; once the definition says so as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_wipe_hides_nothing_from_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    let checkpoint = Story::tell(&path).await;
    let empty = "
        create table t as select no from counter where series = 'invoice';
        delete from document where entry in (select no from entry where counter in t);
        delete from key where counter in t;
        delete from entry where counter in t;
        delete from event where chain in t;
        delete from missing where counter in t;
        delete from closure where series = 'invoice';
        delete from counter where no in t;
        drop table t";
    for says_test in [false, true] {
        let work = |conn: &Connection| {
            if says_test {
                let (version, definition) = conn
                    .query_row(
                        "select version, definition from series where name = 'invoice'",
                        [],
                        |row| Ok((row.get::<_, i64>(0)? + 1, row.get::<_, String>(1)?)),
                    )
                    .unwrap();
                let definition = definition.replace("test=false", "test=true");
                let detail = format!("name=invoice\nversion={version}\n{definition}");
                append_definition(conn, EventKind::Changed, &detail);
                let update = "update series set version = ?, definition = ? where name = 'invoice'";
                conn.execute(update, (version, definition)).unwrap();
            }
            append_definition(conn, EventKind::Wiped, "series=invoice");
            conn.execute_batch(empty).unwrap();
        };
        let report = verdict(&path, Some(&checkpoint), work).await.unwrap();
        let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
        assert!(codes.contains(&"counter_removed"), "{codes:?}");
        assert_eq!(codes.contains(&"wipe_forged"), !says_test, "{codes:?}");
        // Who does not walk the chains is not deceived either.
        let copy = folder.path().join(format!("copy_{says_test}.db"));
        std::fs::copy(&path, &copy).unwrap();
        work(&Connection::open(&copy).unwrap());
        let store = Sqlite::open(&copy, SqliteOptions::default()).await.unwrap();
        let compared = verify::compare(&store, &checkpoint).await.unwrap();
        assert!(
            compared.iter().any(|finding| finding.code == "counter_removed"),
            "{compared:?}"
        );
        store.close().await;
    }
}

/// One run of missing seqs in more than a thousand parts: the reason of the last ones was read by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_reason_is_found_in_every_part_of_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gaps.db");
    let store = Sqlite::open(&path, SqliteOptions::default()).await.unwrap();
    let issuer = Issuer::with(Arc::new(store.clone()), seriatim::Options::default())
        .await
        .unwrap();
    let spec = SeriesSpec {
        format: "{seq}".into(),
        ..SeriesSpec::default()
    };
    issuer.define("invoice", spec).await.unwrap();
    let story = Story { issuer, drawn: 0 };
    let adopt = |seq: u64| Adopt {
        number: seq.to_string(),
        date: "2026-01-01".parse().unwrap(),
        tenant: Tenant::default(),
        key: None,
        document: None,
        reference: None,
    };
    let seqs: Vec<u64> = [5_000].into_iter().chain((2..=2_400).step_by(2)).collect();
    for seqs in seqs.chunks(1_000) {
        let adopt = Command::AdoptItems {
            series: SeriesName::parse("invoice").unwrap(),
            items: seqs.iter().map(|seq| adopt(*seq)).collect(),
            missing_reason: None,
        };
        story.execute(adopt).await;
    }
    story.issuer.close().await;
    store.close().await;
    for first in [1, 2_101, 2_401] {
        let change = format!("update missing set reason = 'eaten by the dog' where first = {first}");
        let work = |conn: &Connection| assert_eq!(conn.execute(&change, []), Ok(1));
        assert_found(&path, &change, work).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let json = Story::tell(&folder.path().join("story.db")).await.to_json();
    assert!(Checkpoint::parse(&json).is_ok());
    let changed = json.replacen("\"last_seq\": ", "\"last_seq\": 1", 1);
    assert_eq!(
        Checkpoint::parse(&changed),
        Err(checkpoint::CheckpointError::BadSignature)
    );
    assert!(matches!(
        Checkpoint::parse("{}"),
        Err(checkpoint::CheckpointError::Malformed(_))
    ));
}

/// Everything of a gate is set back to the moment before its result, so that it could be claimed once more: nothing in
/// the file tells of it any more, but the checkpoint does. The same for a gate that is removed with its chain.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_set_back_or_removed_is_found_against_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    let checkpoint = Story::tell(&path).await;
    let set_back = "create table t as select no, length from gate where state = 'done' order by no limit 1;
        delete from event where chain = -(select no from t) and position = (select length from t);
        update gate set state = 'claimed', result = null, length = length - 1,
            due_at = (select expires_at from event where chain = -gate.no and position = gate.length - 1),
            head = (select hash from event where chain = -gate.no and position = gate.length - 1)
            where no = (select no from t);
        drop table t";
    let removed = "delete from event where chain = -1; delete from gate where no = 1";
    for (work, code) in [(set_back, "tail_cut"), (removed, "gate_removed")] {
        let work = |conn: &Connection| conn.execute_batch(work).unwrap();
        let alone = verdict(&path, None, work).await.unwrap();
        assert_eq!(
            alone.findings,
            [],
            "the file contradicts itself, so this shows nothing of the checkpoint"
        );
        let report = verdict(&path, Some(&checkpoint), work).await.unwrap();
        let codes: Vec<&str> = report.findings.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, [code]);
    }
}

/// Whoever breaks a row must not hide what he did to others: each is found, and the walk goes on behind what does not read.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_read_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    Story::tell(&path).await;
    let codes = async |work: &str| {
        let report = verdict(&path, None, |conn| conn.execute_batch(work).unwrap())
            .await
            .unwrap();
        assert_eq!(report.progress.counters, report.progress.counters_total, "{work}");
        let codes = report.findings.into_iter().map(|finding| finding.code);
        codes.collect::<std::collections::BTreeSet<_>>()
    };
    let changed = "update event set reason = 'the dog' where chain = 3 and reason is not null and position = \
                   (select min(position) from event where chain = 3 and reason is not null);";
    let hidden = [
        (
            "update entry set date = '31.03.2026' where counter = 1 and seq = 2;",
            "unreadable",
        ),
        ("update counter set issued = issued + 1 where no = 2;", "unreadable"),
        (
            "update event set kind = 'gone' where chain = 1 and position = 5;",
            "unreadable",
        ),
        ("update gate set state = 'gone' where no = 1;", "unreadable"),
        (
            "update series set definition = 'gone' where name = 'old';",
            "unreadable",
        ),
        (
            "update event set kind = 'gone' where chain = 0 and position = 2;",
            "unreadable",
        ),
        ("delete from entry where counter = 1 and seq = 2;", "entry_removed"),
    ];
    for (work, code) in hidden {
        let found = codes(&format!("{work}{changed}")).await;
        assert!(found.contains(code), "{work}: {found:?}");
        assert!(
            found.contains("event_changed"),
            "{work} hides the other change: {found:?}"
        );
    }
    // A key that leads nowhere is one finding, and its neighbours lead where they should.
    let report = verdict(&path, None, |conn| {
        conn.execute_batch("delete from key where counter = 1 and seq = 1")
            .unwrap();
    });
    let codes: Vec<&str> = report
        .await
        .unwrap()
        .findings
        .iter()
        .map(|finding| finding.code)
        .collect();
    assert_eq!(codes, ["key_changed", "keys_do_not_add_up"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_nothing_explains_is_said_to_be_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("story.db");
    Story::tell(&path).await;
    let gaps = async || {
        let store = Sqlite::open(&path, SqliteOptions::default()).await.unwrap();
        let gaps = seriatim::audit::gaps(&store, &seriatim::store::CounterFilter::default()).await;
        store.close().await;
        gaps.unwrap()
    };
    let before = gaps().await;
    assert!(!before.gaps.is_empty() && before.unaccounted.is_empty(), "{before:?}");
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("delete from missing").unwrap();
    drop(conn);
    let after = gaps().await;
    assert!(after.gaps.is_empty() && !after.unaccounted.is_empty(), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_not_restored() {
    use std::os::unix::fs::FileExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, to) = (folder.path().join("story.db"), folder.path().join("restored.db"));
    Story::tell(&path).await;
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 3 * 2_048], 40 * 2_048).unwrap();
    let refused = Sqlite::copy(&path, &to).await.unwrap_err().to_string();
    assert!(refused.contains("contradicts itself"), "{refused}");
    assert!(!to.exists());
}
