//! Asks a scenario's line through the SQL functions.

use seriatim::conformance::scenario::{
    GateShown, GateWords, NumberShown, Order, Outcome, PolicyWords, TakeWords, Which,
};
use seriatim::{Code, Date, Kind, Timestamp, Ttl};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};

/// The door tells this session's time instead of the server's; it was said with [`set_clock`].
pub const SET_CLOCK: &str = "create or replace function seriatim.clock() returns timestamptz language sql volatile \
     return seriatim.instant(current_setting('seriatim.test_clock')::bigint)";

pub async fn set_clock(client: &Client, now: Timestamp) {
    let now = now.as_micros().to_string();
    client
        .execute("select set_config('seriatim.test_clock', $1, false)", &[&now])
        .await
        .expect("a clock");
}

/// What the door answers; nothing if it has no such verb, or none with these words: definitions, periods, API keys,
/// `advance`, `redact`, `wipe`, `open` and looks are the service's, and so are runs and batches, and words that no function
/// gets to see because their type keeps them out: a date that is none, a duration that is none, a NUL.
pub async fn ask(client: &Client, order: &Order) -> Option<Outcome> {
    let shown = match order {
        Order::Issue { series, take } => {
            check_words(take)?;
            let sql = "select number, state, replayed, differs, warnings, test from seriatim.issue($1, $2, \
                       coalesce($3, 'default'), $4::text::jsonb, $5::text::date, $6, $7)";
            take_number(client, sql, series, take, None).await
        }
        Order::Reserve { series, take, ttl } => {
            check_words(take)?;
            let ttl = seconds(ttl)?;
            let sql = "select number, state, replayed, differs, warnings, test from seriatim.reserve($1, $2, \
                       make_interval(secs => $8::text::float8), coalesce($3, 'default'), $4::text::jsonb, \
                       $5::text::date, $6, $7)";
            take_number(client, sql, series, take, Some(&ttl)).await
        }
        Order::Adopt { series, number, take } => {
            check_words(take)?;
            let sql = "select number, state, replayed, differs, warnings, test \
                       from seriatim.adopt($1, $2, $3::text::date, $4, coalesce($5, 'default'), $6, $7)";
            let words: [&(dyn ToSql + Sync); 7] = [
                series,
                number,
                &take.date,
                &take.key,
                &take.tenant,
                &take.document,
                &take.reference,
            ];
            client.query_one(sql, &words).await.map(|row| numbers(&row, None))
        }
        Order::Preview { series, take, count } if *count == 1 && !has_more(take) => {
            check_words(take)?;
            let sql = "select number, 'issued', replayed, differs, warnings, test \
                       from seriatim.preview($1, coalesce($2, 'default'), $3::text::jsonb, $4::text::date)";
            let words: [&(dyn ToSql + Sync); 4] = [series, &take.tenant, &params(take), &take.date];
            client.query_one(sql, &words).await.map(|row| numbers(&row, None))
        }
        Order::Confirm { which, document } => {
            let id = id_of(client, which).await?;
            let sql = "select number, state, replayed, differs, warnings, test from seriatim.confirm($1, $2)";
            client
                .query_one(sql, &[&id, document])
                .await
                .map(|row| numbers(&row, None))
        }
        Order::Release { which, reason } => {
            let id = id_of(client, which).await?;
            let sql = "select number, state, replayed, differs, warnings, test from seriatim.release($1, $2)";
            client
                .query_one(sql, &[&id, reason])
                .await
                .map(|row| numbers(&row, None))
        }
        Order::Void {
            which,
            code,
            reason,
            reissue,
        } => {
            let id = id_of(client, which).await?;
            let sql = "select a.number, a.state, a.replayed, a.differs, a.warnings, a.test, o.number \
                       from seriatim.void($1, $2, $3, $4) a left join seriatim.entries o on o.id = a.replaces and $4";
            client.query_one(sql, &[&id, reason, code, reissue]).await.map(|row| {
                let voided = row.get(6);
                numbers(&row, voided)
            })
        }
        Order::Claim {
            gate,
            ttl,
            holder,
            key,
            policy,
        } => claim(client, gate, ttl, holder, key.as_ref(), policy).await?,
        Order::Renew { gate, token, ttl } => {
            let sql = "select replayed, id from seriatim.gate_renew($1, $2, make_interval(secs => $3::text::float8))";
            move_gate(client, sql, gate, &[&signed(*token), &seconds(ttl)?]).await?
        }
        Order::Complete { gate, token, result } => {
            let sql = "select replayed, id from seriatim.gate_complete($1, $2, $3)";
            move_gate(client, sql, gate, &[&signed(*token), result]).await?
        }
        Order::Fail {
            gate,
            token,
            error,
            retry_in,
            give_up,
        } => {
            let sql = "select replayed, id \
                       from seriatim.gate_fail($1, $2, $3, make_interval(secs => $4::text::float8), $5)";
            let retry_in = seconds_if_any(retry_in.as_ref())?;
            move_gate(client, sql, gate, &[&signed(*token), error, &retry_in, give_up]).await?
        }
        Order::Retry { gate, reason } => {
            let sql = "select replayed, id from seriatim.gate_retry($1, $2)";
            move_gate(client, sql, gate, &[reason]).await?
        }
        Order::Gate(gate) => {
            let id = gate.id().ok()?.to_string();
            let gate = look(client, &id).await;
            Ok(Outcome::Gate { gate, replayed: false })
        }
        _ => return None,
    };
    Some(shown.unwrap_or_else(|error| refused(&error)))
}

async fn claim(
    client: &Client,
    gate: &GateWords,
    ttl: &str,
    holder: &str,
    key: Option<&String>,
    policy: &PolicyWords,
) -> Option<Result<Outcome, Error>> {
    let sql = "select outcome, replayed, retry_after_ms, gate \
               from seriatim.gate_claim($1, $2, make_interval(secs => $3::text::float8), $4, coalesce($5, 'default'), \
               $6, $7, make_interval(secs => $8::text::float8), make_interval(secs => $9::text::float8))";
    let attempts = policy.attempts.map(i32::try_from).transpose().ok()?;
    let (pause, pause_max) = (
        seconds_if_any(policy.pause.as_ref())?,
        seconds_if_any(policy.pause_max.as_ref())?,
    );
    let words: [&(dyn ToSql + Sync); 9] = [
        &gate.effect,
        &gate.subject,
        &seconds(ttl)?,
        &holder,
        &gate.tenant,
        &key,
        &attempts,
        &pause,
        &pause_max,
    ];
    let row = match client.query_one(sql, &words).await {
        Ok(row) => row,
        Err(error) => return Some(Err(error)),
    };
    let id: &str = row.get(3);
    assert_eq!(id, gate.id().expect("good words").to_string());
    Some(Ok(Outcome::Claimed {
        outcome: row.get(0),
        replayed: row.get(1),
        retry_after: row.get::<_, Option<i64>>(2).map(|ms| (ms + 999) / 1000),
        gate: look(client, id).await.expect("the gate is there"),
    }))
}

/// A gate that is moved is looked at in the view afterwards.
async fn move_gate(
    client: &Client,
    sql: &str,
    gate: &GateWords,
    more: &[&(dyn ToSql + Sync)],
) -> Option<Result<Outcome, Error>> {
    let id = gate.id().ok()?.to_string();
    let mut words: Vec<&(dyn ToSql + Sync)> = vec![&id];
    words.extend(more);
    let row = match client.query_one(sql, &words).await {
        Ok(row) => row,
        Err(error) => return Some(Err(error)),
    };
    assert_eq!(row.get::<_, &str>(1), id);
    let gate = look(client, &id).await;
    let replayed = row.get(0);
    Some(Ok(Outcome::Gate { gate, replayed }))
}

async fn look(client: &Client, id: &str) -> Option<GateShown> {
    let sql = "select state, token, attempts, case state when 'claimed' then holder end, result, last_error \
               from seriatim.gates where id = $1";
    let row = client.query_opt(sql, &[&id]).await.expect("the view reads")?;
    Some(GateShown {
        state: row.get(0),
        token: unsigned(row.get(1)),
        attempts: u32::try_from(row.get::<_, i64>(2)).expect("small"),
        holder: row.get(3),
        result: row.get(4),
        error: row.get(5),
    })
}

fn signed(token: u64) -> i64 {
    i64::try_from(token).expect("small")
}

fn unsigned(token: i64) -> u64 {
    u64::try_from(token).expect("not negative")
}

/// An interval is not spelled as our durations are.
fn seconds(ttl: &str) -> Option<String> {
    Some(Ttl::parse(ttl).ok()?.as_seconds().to_string())
}

/// Nothing at all if it is no duration.
fn seconds_if_any(ttl: Option<&String>) -> Option<Option<String>> {
    match ttl {
        Some(ttl) => seconds(ttl).map(Some),
        None => Some(None),
    }
}

/// Words that the preview of the door does not take, for they do not change the number.
fn has_more(take: &TakeWords) -> bool {
    take.key.is_some() || take.document.is_some() || take.reference.is_some()
}

/// A date that no calendar has never reaches a function whose argument is a date.
fn check_words(take: &TakeWords) -> Option<()> {
    let is_date = take.date.as_ref().is_none_or(|date| date.parse::<Date>().is_ok());
    // Nor does a NUL reach the server in a text.
    let has_nul = take.params.values().any(|value| value.contains('\0'));
    (is_date && !has_nul).then_some(())
}

async fn take_number(
    client: &Client,
    sql: &str,
    series: &str,
    take: &TakeWords,
    ttl: Option<&String>,
) -> Result<Outcome, Error> {
    let params = params(take);
    let mut words: Vec<&(dyn ToSql + Sync)> = vec![
        &series,
        &take.key,
        &take.tenant,
        &params,
        &take.date,
        &take.document,
        &take.reference,
    ];
    words.extend(ttl.iter().map(|ttl| ttl as &(dyn ToSql + Sync)));
    client.query_one(sql, &words).await.map(|row| numbers(&row, None))
}

fn params(take: &TakeWords) -> String {
    serde_json::json!(take.params).to_string()
}

fn numbers(row: &tokio_postgres::Row, voided: Option<String>) -> Outcome {
    Outcome::Numbers {
        numbers: vec![NumberShown {
            number: row.get(0),
            state: row.get(1),
            replayed: row.get(2),
            differs: row.get(3),
        }],
        voided,
        warnings: row.get(4),
        test: row.get(5),
    }
}

/// What the error says in the places where a driver reads it.
pub fn refused(error: &Error) -> Outcome {
    let Some(error) = error.as_db_error() else {
        return Outcome::Failed(error.to_string());
    };
    if !error.code().code().starts_with("SR") {
        return Outcome::Failed(format!("{} {}", error.code().code(), error.message()));
    }
    let detail: serde_json::Value = serde_json::from_str(error.detail().unwrap_or_default()).expect("JSON");
    let code = detail["code"].as_str().expect("a code").to_string();
    assert!(error.message().starts_with(&format!("{code}: ")), "{}", error.message());
    if let Some(known) = Code::ALL.iter().find(|known| known.as_str() == code) {
        assert_eq!(error.code().code(), format!("SR{}", status(known.kind())), "{code}");
    }
    let about = detail["entries"].as_array().into_iter().flatten();
    Outcome::Refused {
        entries: about.filter_map(|number| number.as_str()).map(str::to_string).collect(),
        field: detail["field"].as_str().map(str::to_string),
        code,
    }
}

fn status(kind: Kind) -> u16 {
    match kind {
        Kind::Malformed => 400,
        Kind::Forbidden => 403,
        Kind::NotFound => 404,
        Kind::Conflict => 409,
        Kind::Precondition => 412,
        Kind::PreconditionRequired => 428,
        Kind::TooLarge => 413,
        Kind::Rule => 422,
    }
}

/// The id of a number; one that no counter has if there is none; nothing if several tenants have it.
pub async fn id_of(client: &Client, which: &Which) -> Option<String> {
    if which.number.starts_with("ent_") {
        return Some(which.number.clone());
    }
    let sql = "select id from seriatim.entries where series = $1 and number = $2 and tenant = coalesce($3, tenant)";
    let rows = client
        .query(sql, &[&which.series, &which.number, &which.tenant])
        .await
        .expect("the view reads");
    match rows.as_slice() {
        [] => Some("ent_0000000000000000_1".to_string()),
        [row] => Some(row.get(0)),
        _ => None,
    }
}
