//! The verbs on numbers.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::Context;
use super::failed::{Failed, read_text};
use super::moving::series_of;
use super::output::{Form, list, pairs, row, text};
use super::session::{Answer, Session};
use crate::transport::{Call, path, query};

/// What a number is taken for.
#[derive(Args)]
pub struct Take {
    /// The series
    series: String,
    /// Business reference, e.g. the payment id: the same key gets the same number, for ever. Without it one is made and
    /// said on stderr, also with --quiet
    #[arg(long, short)]
    key: Option<String>,
    /// Whose number [default: default]
    #[arg(long, short)]
    tenant: Option<String>,
    /// A value for the format
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// Document date, YYYY-MM-DD [default: today in the series' time zone]
    #[arg(long, short)]
    date: Option<String>,
    /// JSON to store with the number; - is stdin
    #[arg(long, value_name = "FILE")]
    document: Option<String>,
    /// A free reference, e.g. `order 42`
    #[arg(long)]
    reference: Option<String>,
}

/// Reads `name=value`.
pub fn param(text: &str) -> Result<(String, String), String> {
    let split = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = split.ok_or("write it like branch=07")?;
    Ok((name.to_string(), value.to_string()))
}

/// The params of a request, each said once: which of two was meant, nobody can know.
pub fn params(given: Vec<(String, String)>) -> Result<BTreeMap<String, String>, Failed> {
    let mut params = BTreeMap::new();
    for (name, value) in given {
        if params.contains_key(&name) {
            return Err(Failed::Usage(format!("param {name} is given twice; give it once")));
        }
        params.insert(name, value);
    }
    Ok(params)
}

/// A take as the service reads it.
#[derive(Serialize, Default)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
}

impl Take {
    fn into_body(self) -> Result<(String, Body), Failed> {
        let body = Body {
            key: self.key,
            tenant: self.tenant,
            params: params(self.params)?,
            date: self.date,
            document: read_document(self.document.as_deref())?,
            reference: self.reference,
            ..Body::default()
        };
        Ok((self.series, body))
    }
}

/// The document as it is written in the file: it goes into the request byte for byte.
fn read_document(file: Option<&str>) -> Result<Option<Box<RawValue>>, Failed> {
    let Some(file) = file else { return Ok(None) };
    let text = read_text(file)?;
    let document = RawValue::from_string(text.trim().to_string());
    document
        .map(Some)
        .map_err(|error| Failed::Usage(format!("{file} is not JSON: {error}")))
}

/// A request without a key could not be repeated when its answer is lost. It is said before it is used, and even with
/// --quiet: nobody else has it.
fn make_key(context: &Context) -> String {
    let bits: u128 = rand::random();
    let hex = format!("{bits:032x}");
    let key = format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    );
    context.output.warn(format!("key {key}"));
    key
}

/// Take the next number of a series
#[derive(Args)]
pub struct Issue {
    #[command(flatten)]
    take: Take,
    /// How many numbers, in one commit
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u32>,
}

impl Issue {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let (series, mut body) = self.take.into_body()?;
        let session = context.session("issue").await?;
        body.key = Some(body.key.unwrap_or_else(|| make_key(context)));
        body.count = self.count;
        let parts = ["v1", "series", &series, "entries"];
        let batch = if self.count.is_some() { "/batch" } else { "" };
        let answer = session.answer(Call::post(path(&parts) + batch, &body)?).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

/// Take a number that is confirmed or released later
#[derive(Args)]
pub struct Reserve {
    #[command(flatten)]
    take: Take,
    /// How long it is held, e.g. 15m
    #[arg(long, default_value = "15m")]
    ttl: String,
}

impl Reserve {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let (series, mut body) = self.take.into_body()?;
        let session = context.session("reserve").await?;
        body.key = Some(body.key.unwrap_or_else(|| make_key(context)));
        body.ttl = Some(self.ttl);
        let parts = ["v1", "series", &series, "reservations"];
        let answer = session.answer(Call::post(path(&parts), &body)?).await?;
        context
            .output
            .note(format!("reserved until {}", text(&answer.json, "expires_at")));
        print_numbers(session, &answer);
        Ok(())
    }
}

/// Record a number that was issued elsewhere
#[derive(Args)]
pub struct Adopt {
    /// The series
    series: String,
    /// The number as it stands on the document
    number: String,
    /// Its date, YYYY-MM-DD
    #[arg(long, short)]
    date: String,
    /// The key it was issued for, if known
    #[arg(long, short)]
    key: Option<String>,
    /// Whose number [default: default]
    #[arg(long, short)]
    tenant: Option<String>,
    /// JSON to store with the number; - is stdin
    #[arg(long, value_name = "FILE")]
    document: Option<String>,
    /// A free reference
    #[arg(long)]
    reference: Option<String>,
}

impl Adopt {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let body = Body {
            number: Some(self.number),
            key: self.key,
            tenant: self.tenant,
            date: Some(self.date),
            document: read_document(self.document.as_deref())?,
            reference: self.reference,
            ..Body::default()
        };
        let session = context.session("adopt").await?;
        let call = Call::post(path(&["v1", "series", &self.series, "adopt"]), &body)?;
        let answer = session.answer(call).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

/// Which entry: by its id, or by series and number.
#[derive(Args)]
pub struct Target {
    /// Id of the entry (ent_…), or its series
    #[arg(value_name = "ID|SERIES")]
    target: String,
    /// The number as it is printed, behind its series
    #[arg(value_name = "NUMBER")]
    number: Option<String>,
    /// Whose number [default: default]
    #[arg(long, short)]
    tenant: Option<String>,
}

impl Target {
    /// The id of the entry.
    async fn id(&self, session: &Session) -> Result<String, Failed> {
        match &self.number {
            Some(number) => find(session, &self.target, number, self.tenant.as_deref()).await,
            None if self.target.starts_with("ent_") => Ok(self.target.clone()),
            None => Err(Failed::Usage(
                "say which number: SERIES NUMBER, or its id (ent_…)".to_string(),
            )),
        }
    }

    async fn post(&self, session: &Session, verb: &str, body: &impl Serialize) -> Result<Answer, Failed> {
        let id = self.id(session).await?;
        session
            .answer(Call::post(path(&["v1", "entries", &id, verb]), body)?)
            .await
    }
}

async fn find(session: &Session, series: &str, number: &str, tenant: Option<&str>) -> Result<String, Failed> {
    let tenant = tenant.unwrap_or("default");
    let wanted = [
        ("series", Some(series)),
        ("tenant", Some(tenant)),
        ("number", Some(number)),
    ];
    let answer = session
        .answer(Call::get(format!("/v1/entries{}", query(&wanted))))
        .await?;
    match list(&answer.json, "data") {
        [entry] => Ok(text(entry, "id")),
        _ => Err(Failed::missing(
            "unknown_entry",
            match passed_over(session, series, number, tenant).await {
                Some(why) => format!("{number} is on no document: {why}; `seriatim gaps {series}` lists such seqs"),
                None => format!(
                    "series {series} has no number {number} of tenant {tenant}; `seriatim list {series}` shows what \
                     there is"
                ),
            },
        )),
    }
}

/// Why there is no entry, if its seq was passed over; nothing if it was not, or this key may not look.
async fn passed_over(session: &Session, series: &str, number: &str, tenant: &str) -> Option<String> {
    let definition = series_of(session, series).await.ok()?;
    let (params, period, seq) = definition.read(number, tenant)?;
    let wanted = [
        ("series", Some(series)),
        ("tenant", Some(tenant)),
        ("period", Some(period.as_str())),
    ];
    let answer = session
        .answer(Call::get(format!("/v1/audit/gaps{}", query(&wanted))))
        .await;
    let gaps = answer.ok()?.json;
    let is_of_it = |gap: &Value| {
        let bound = |field| gap.get(field).and_then(Value::as_u64);
        let holds = bound("first") <= Some(seq) && Some(seq) <= bound("last");
        let partition = gap.get("partition").unwrap_or(&Value::Null);
        let is_same = |name: &String| params.get(name).is_some_and(|value| text(partition, name) == *value);
        holds && definition.partition_by.iter().all(is_same)
    };
    let gap = list(&gaps, "data").iter().find(|gap| is_of_it(gap))?;
    Some(format!("its seq {seq} is missing ({})", text(gap, "reason")))
}

/// A reserved number is on a document now
#[derive(Args)]
pub struct Confirm {
    #[command(flatten)]
    target: Target,
    /// The document, if it was not given when the number was reserved; - is stdin
    #[arg(long, value_name = "FILE")]
    document: Option<String>,
}

impl Confirm {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let body = Body {
            document: read_document(self.document.as_deref())?,
            ..Body::default()
        };
        let session = context.session("confirm").await?;
        let answer = self.target.post(session, "confirm", &body).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

#[derive(Serialize)]
struct Why<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason_code: Option<&'a str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reissue: bool,
}

impl<'a> Why<'a> {
    fn only(reason: &'a str) -> Self {
        Self {
            reason_code: None,
            reason,
            reissue: false,
        }
    }
}

/// A reserved number was never used
#[derive(Args)]
pub struct Release {
    #[command(flatten)]
    target: Target,
    /// Why
    #[arg(long, short)]
    reason: String,
}

impl Release {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("release").await?;
        let answer = self.target.post(session, "release", &Why::only(&self.reason)).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

/// A number is spent
#[derive(Args)]
pub struct Void {
    #[command(flatten)]
    target: Target,
    /// Why, as a code: spoiled, duplicate, rejected, cancelled or other
    #[arg(long, value_name = "CODE", default_value = "other")]
    reason_code: String,
    /// Why, in words
    #[arg(long, short)]
    reason: String,
    /// Issue the replacement in the same commit; the key moves to it
    #[arg(long)]
    reissue: bool,
}

impl Void {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("void").await?;
        let why = Why {
            reason_code: Some(&self.reason_code),
            reason: &self.reason,
            reissue: self.reissue,
        };
        let answer = self.target.post(session, "void", &why).await?;
        print_void(session, &answer);
        Ok(())
    }
}

/// The number to use from now on: the replacement, or the one that was voided if there is none.
fn print_void(session: &Session, answer: &Answer) {
    let output = session.output;
    let voided = answer
        .json
        .get("voided")
        .map(|entry| text(entry, "number"))
        .unwrap_or_default();
    if output.form == Form::Json {
        answer.print(output);
    }
    match answer.json.get("replacement").filter(|entry| !entry.is_null()) {
        Some(entry) => {
            output.note(format!("{voided} is void; its replacement:"));
            print_entries(session, answer, std::slice::from_ref(entry));
            say_unread(session, std::slice::from_ref(entry));
        }
        None if output.form == Form::Plain => output.line(voided),
        None => {}
    }
}

/// Empty the document of a number; its hash stays
///
/// A replacement has a copy of its own: redact it as well.
#[derive(Args)]
pub struct Redact {
    #[command(flatten)]
    target: Target,
    /// Why
    #[arg(long, short)]
    reason: String,
}

impl Redact {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("redact").await?;
        let answer = self.target.post(session, "redact", &Why::only(&self.reason)).await?;
        print_numbers(session, &answer);
        Ok(())
    }
}

/// Show one number with its history
#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    target: Target,
}

impl Show {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("show").await?;
        let id = self.target.id(session).await?;
        let answer = session.answer(Call::get(path(&["v1", "entries", &id]))).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        } else {
            print_card(context, &answer.json);
        }
        Ok(())
    }
}

/// What a person asks of one number, in the order he asks it.
const CARD: [&str; 23] = [
    "number",
    "state",
    "series",
    "tenant",
    "period",
    "seq",
    "date",
    "key",
    "reference",
    "id",
    "origin",
    "taken_at",
    "issued_at",
    "expires_at",
    "overdue",
    "voided_at",
    "reason_code",
    "reason",
    "replaces",
    "replacement",
    "document_sha256",
    "redacted",
    "hash",
];

fn print_card(context: &Context, entry: &Value) {
    let mut card: Vec<(&str, String)> = CARD.iter().map(|field| (*field, text(entry, field))).collect();
    card.insert(7, ("params", pairs(entry, "params")));
    card.push(("document", text(entry, "document")));
    context.output.card(card);
    let events = list(entry, "events");
    let mut head = vec!["at", "event", "actor", "reason", "hash"];
    let mut fields = vec!["at", "kind", "actor", "reason", "hash"];
    if events.iter().any(|event| event.get("on_behalf_of").is_some()) {
        head.push("on behalf of");
        fields.push("on_behalf_of");
    }
    let mut rows: Vec<Vec<String>> = events.iter().map(|event| row(event, &fields)).collect();
    if context.output.is_terminal() {
        // 64 digits are wider than most terminals; elsewhere and in the JSON they are whole.
        rows.iter_mut()
            .filter_map(|row| row.get_mut(4))
            .for_each(|hash| hash.truncate(12));
    }
    context.output.table(&head, rows);
}

/// Search numbers, newest first
#[derive(Args)]
pub struct List {
    /// Only this series
    series: Option<String>,
    /// Only this tenant [default: all; with --key: default]
    #[arg(long, short)]
    tenant: Option<String>,
    /// Only this number
    #[arg(long)]
    number: Option<String>,
    /// Only this key, which belongs to a series and a tenant: what it stands for, in its order, and then what that replaces
    #[arg(long, short)]
    key: Option<String>,
    /// Only in this state: issued, reserved or voided
    #[arg(long)]
    state: Option<String>,
    /// Only in this period, e.g. 2025-26
    #[arg(long)]
    period: Option<String>,
    /// Only dated this day or later
    #[arg(long, value_name = "DATE")]
    from: Option<String>,
    /// Only dated this day or earlier
    #[arg(long, value_name = "DATE")]
    to: Option<String>,
    /// How many at most; if there are more, stderr says where to go on, with -o json as {"next_cursor": …}
    #[arg(long, short = 'n', default_value_t = 50)]
    limit: usize,
    /// Where to go on, as an earlier list said
    #[arg(long)]
    cursor: Option<String>,
}

/// The most rows that one request gives.
pub const PAGE_MAX: usize = 500;

impl List {
    fn path(&self, limit: usize, cursor: Option<&str>) -> String {
        let limit = limit.min(PAGE_MAX).to_string();
        let wanted = [
            ("series", self.series.as_deref()),
            ("tenant", self.tenant.as_deref()),
            ("number", self.number.as_deref()),
            ("key", self.key.as_deref()),
            ("state", self.state.as_deref()),
            ("period", self.period.as_deref()),
            ("date_from", self.from.as_deref()),
            ("date_to", self.to.as_deref()),
            ("limit", Some(limit.as_str())),
            ("cursor", cursor),
        ];
        format!("/v1/entries{}", query(&wanted))
    }

    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        if self.state.as_deref() == Some("missing") {
            return Err(Failed::Usage(
                "a missing seq has no entry to list; `seriatim gaps` lists those that were passed over, and why"
                    .to_string(),
            ));
        }
        let session = context.session("list").await?;
        let mut left = self.limit;
        let mut cursor = self.cursor.clone();
        loop {
            let answer = session.answer(Call::get(self.path(left, cursor.as_deref()))).await?;
            print_rows(context, &answer, self.state.as_deref())?;
            let rows = list(&answer.json, "data").len();
            if rows == 0 && self.key.is_some() && self.tenant.is_none() {
                context
                    .output
                    .warn("warning: a key is one tenant's, and only `default` was looked at; say whose with --tenant");
            }
            left = left.saturating_sub(rows);
            cursor = answer.next_cursor();
            if cursor.is_none() || left == 0 {
                break;
            }
        }
        match (cursor, context.output.form) {
            (None, _) => {}
            // Said even with --quiet, or a part would be taken for the whole.
            (Some(cursor), Form::Plain) => context
                .output
                .warn(format!("there is more; go on with --cursor {cursor}")),
            (Some(cursor), Form::Json) => context.output.warn(json!({ "next_cursor": cursor }).to_string()),
        }
        Ok(())
    }
}

fn print_rows(context: &Context, answer: &Answer, state: Option<&str>) -> Result<(), Failed> {
    if context.output.form == Form::Json {
        return answer.print_rows(context.output);
    }
    let mut fields = vec!["number", "state", "series", "tenant", "date", "key", "reference"];
    if state == Some("reserved") {
        fields.push("expires_at");
    }
    let rows = list(&answer.json, "data").iter().map(|entry| row(entry, &fields));
    context.output.table(&fields, rows.collect());
    Ok(())
}

/// The numbers of an answer, one a line; what else there is to say about them goes to stderr.
pub fn print_numbers(session: &Session, answer: &Answer) {
    if session.output.form == Form::Json {
        answer.print(session.output);
    }
    let single = std::slice::from_ref(&answer.json);
    let entries = answer.json.get("data").and_then(Value::as_array);
    print_entries(session, answer, entries.map_or(single, Vec::as_slice));
    say_unread(session, entries.map_or(single, Vec::as_slice));
    if entries.is_some() {
        warn(session, &answer.json);
    }
}

/// Numbers that could not be written where they were wanted are taken all the same: they are said, so that nobody has
/// to look for them.
fn say_unread(session: &Session, entries: &[Value]) {
    if session.output.written().is_ok() {
        return;
    }
    // A preview has no state, and nothing was done.
    for entry in entries.iter().filter(|entry| entry.get("state").is_some()) {
        let [number, state, series, tenant] = ["number", "state", "series", "tenant"].map(|field| text(entry, field));
        session.output.warn(format!(
            "{number} is {state} all the same; `seriatim show {series} {number} --tenant {tenant}` shows it"
        ));
    }
}

fn print_entries(session: &Session, answer: &Answer, entries: &[Value]) {
    for entry in entries {
        if session.output.form == Form::Plain {
            session.output.line(text(entry, "number"));
        }
        remark(session, answer, entry);
        warn(session, entry);
    }
}

fn warn(session: &Session, value: &Value) {
    for warning in list(value, "warnings") {
        session.output.warn(format!("warning: {}", text(warning, "detail")));
    }
}

fn remark(session: &Session, answer: &Answer, entry: &Value) {
    let number = text(entry, "number");
    if answer.replayed || entry.get("replayed") == Some(&Value::Bool(true)) {
        session.output.note(format!("{number} was given for this key before"));
    }
    let differs: Vec<&str> = list(entry, "differs").iter().filter_map(Value::as_str).collect();
    if !differs.is_empty() {
        let differs = differs.join(" and ");
        session.output.warn(format!(
            "warning: {number}: this request gave another {differs}; the first one stands"
        ));
    }
}
