//! Reads a line: words become an [`Ask`], or the line says what is wrong with it.

use seriatim_core::SeriesSpec;

use super::ask::{Ask, GateWords, NewKey, Order, PolicyWords, TakeWords, Which};
use super::words::{Word, Words, split};

/// Reads one command.
pub(super) fn ask(line: &str) -> Result<Ask, String> {
    let mut words = split(line)?;
    let mut caller = None;
    if words.first() == Some(&Word::Plain("as".to_string())) {
        match words.get(1) {
            Some(Word::Plain(name)) => caller = Some(name.clone()),
            _ => return Err("say as whom: as KEY issue …".to_string()),
        }
        words.drain(..2);
    }
    let bar = Word::Plain("|".to_string());
    let mut parts = words.split(|word| *word == bar).map(|part| Words::of(part.to_vec()));
    let mut words = parts.next().unwrap_or_else(|| Words::of(Vec::new()));
    let verb = words.next("verb")?;
    let order = if verb == "batch" {
        let series = words.next("series")?;
        let items = parts.by_ref().map(item).collect::<Result<_, _>>()?;
        Order::Batch { series, items }
    } else {
        order(&verb, &mut words)?
    };
    words.end()?;
    if parts.next().is_some() {
        return Err("only a batch has `|`".to_string());
    }
    Ok(Ask { caller, order })
}

fn order(verb: &str, words: &mut Words) -> Result<Order, String> {
    Ok(match verb {
        "series" => series(words)?,
        "issue" => issue(words)?,
        "preview" => Order::Preview {
            series: words.next("series")?,
            count: words.number("count")?.unwrap_or(1),
            take: take(words),
        },
        "reserve" => Order::Reserve {
            series: words.next("series")?,
            ttl: words.get("ttl").unwrap_or_else(|| "1h".to_string()),
            take: take(words),
        },
        "confirm" => Order::Confirm {
            which: which(words)?,
            document: words.get("document"),
        },
        "release" => Order::Release {
            which: which(words)?,
            reason: reason(words),
        },
        "redact" => Order::Redact {
            which: which(words)?,
            reason: reason(words),
        },
        "void" => Order::Void {
            reissue: words.flag("reissue"),
            which: which(words)?,
            code: words.get("code").unwrap_or_else(|| "other".to_string()),
            reason: reason(words),
        },
        "adopt" => Order::Adopt {
            series: words.next("series")?,
            number: words.next("number")?,
            take: take(words),
        },
        "close" => Order::Close {
            series: words.next("series")?,
            period: words.next("period")?,
            tenant: words.get("tenant"),
            reason: reason(words),
        },
        "reopen" => Order::Reopen {
            series: words.next("series")?,
            period: words.next("period")?,
            tenant: words.get("tenant"),
            reason: reason(words),
        },
        "advance" => Order::Advance {
            series: words.next("series")?,
            tenant: words.get("tenant"),
            period: words.get("period"),
            to: words.number("to")?.ok_or("to=… is missing")?,
            reason: reason(words),
            params: words.params(),
        },
        "wipe" => Order::Wipe {
            series: words.next("series")?,
        },
        "key" => Order::Key(NewKey {
            test: words.flag("test"),
            name: words.next("name")?,
            scopes: words.list("scopes"),
            tenants: words.list("tenants"),
            series: words.list("series"),
        }),
        "revoke" => Order::Revoke {
            name: words.next("name")?,
        },
        "open" | "claim" | "renew" | "complete" | "fail" | "retry" | "gate" => gate(verb, words)?,
        "sweep" => Order::Sweep,
        "counter" => Order::Counter {
            series: words.next("series")?,
            tenant: words.get("tenant"),
            period: words.get("period"),
            params: words.params(),
        },
        "entry" => Order::Entry(which(words)?),
        "gaps" => Order::Gaps {
            series: words.next("series")?,
        },
        "verify" => Order::Verify,
        _ => return Err(format!("`{verb}` is no verb")),
    })
}

fn issue(words: &mut Words) -> Result<Order, String> {
    let series = words.next("series")?;
    let count = words.number("count")?;
    let take = take(words);
    Ok(match count {
        None => Order::Issue { series, take },
        Some(count) => Order::Count { series, take, count },
    })
}

fn take(words: &mut Words) -> TakeWords {
    TakeWords {
        key: words.get("key"),
        tenant: words.get("tenant"),
        date: words.get("date"),
        document: words.get("document"),
        reference: words.get("reference"),
        params: words.params(),
    }
}

fn item(mut words: Words) -> Result<TakeWords, String> {
    let item = take(&mut words);
    words.end()?;
    Ok(item)
}

fn gate(verb: &str, words: &mut Words) -> Result<Order, String> {
    let gate = GateWords {
        effect: words.next("effect")?,
        subject: words.next("subject")?,
        tenant: words.get("tenant"),
    };
    let token = |words: &mut Words| words.number("token")?.ok_or_else(|| "token=… is missing".to_string());
    let ttl = |words: &mut Words| words.get("ttl").unwrap_or_else(|| "1m".to_string());
    Ok(match verb {
        "open" => Order::Open {
            gate,
            policy: policy(words)?,
        },
        "claim" => Order::Claim {
            gate,
            ttl: ttl(words),
            holder: words.get("holder").unwrap_or_else(|| "somebody".to_string()),
            key: words.get("key"),
            policy: policy(words)?,
        },
        "renew" => Order::Renew {
            gate,
            token: token(words)?,
            ttl: ttl(words),
        },
        "complete" => Order::Complete {
            gate,
            token: token(words)?,
            result: words.require("result")?,
        },
        "fail" => Order::Fail {
            gate,
            token: token(words)?,
            error: words.get("error").unwrap_or_else(|| "it failed".to_string()),
            retry_in: words.get("retry_in"),
            give_up: words.flag("give_up"),
        },
        "retry" => Order::Retry {
            gate,
            reason: reason(words),
        },
        _ => Order::Gate(gate),
    })
}

fn policy(words: &mut Words) -> Result<PolicyWords, String> {
    Ok(PolicyWords {
        attempts: words.number("attempts")?,
        pause: words.get("pause"),
        pause_max: words.get("pause_max"),
    })
}

fn which(words: &mut Words) -> Result<Which, String> {
    Ok(Which {
        series: words.next("series")?,
        number: words.next("number")?,
        tenant: words.get("tenant"),
    })
}

fn reason(words: &mut Words) -> String {
    words.get("reason").unwrap_or_else(|| "a scenario".to_string())
}

fn series(words: &mut Words) -> Result<Order, String> {
    let name = words.next("series")?;
    let if_version = words.number("if")?;
    let mut spec = SeriesSpec {
        format: words.require("format")?,
        reset: words.get("reset"),
        time_zone: words.get("time_zone"),
        start: words.number("start")?,
        partition_by: words.list("partition_by"),
        gaps: words.get("gaps"),
        overflow: words.get("overflow"),
        limit: words.number("limit")?,
        max_length: words.number("max_length")?,
        date_order: words.get("date_order"),
        date_window: words.get("date_window"),
        keys: words.get("keys"),
        replay: words.get("replay"),
        on_expiry: words.get("on_expiry"),
        on_outage: words.get("on_outage"),
        test: words.get("test").is_some_and(|text| text == "true"),
        replaces: words.get("replaces"),
        ..SeriesSpec::default()
    };
    for (name, value) in words.rest() {
        let param = name
            .strip_prefix("params.")
            .ok_or_else(|| format!("`{name}` is no setting of a series"))?;
        let (kind, rest) = value
            .split_once(':')
            .ok_or("write params.x=digits:2 or params.x=one_of:N|S")?;
        let values = rest.split('|').map(str::to_string).collect();
        spec.params.insert(param.to_string(), (kind.to_string(), values));
    }
    let spec = Box::new(spec);
    Ok(Order::Series { name, spec, if_version })
}
