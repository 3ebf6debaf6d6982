//! Everything that is stored about numbers, one JSON object a line, for whoever wants to check it without us.

use clap::Args;
use serde_json::{Map, Value, json};

use super::Context;
use super::entry::PAGE_MAX;
use super::failed::Failed;
use super::kept::with_texts;
use super::output::{list, text};
use super::session::{Answer, Session};
use crate::transport::{Call, path, query};

/// Write every entry, counter, gate and event with its hash, one JSON object a line
#[derive(Args)]
pub struct Export {
    /// Only of this series: gates are of none, and definitions are in one chain for all
    series: Option<String>,
}

impl Export {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("export").await?;
        if self.series.is_none() {
            print_chain(session, "definitions").await?;
        }
        for series in self.series(session).await? {
            for counter in counters(session, &series).await? {
                print_counter(session, &counter).await?;
            }
        }
        let wanted = [("series", self.series.as_deref())];
        each_page(session, "/v1/entries", &wanted, |page| {
            print(session, page, "\"entry\":")
        })
        .await?;
        if self.series.is_none() {
            print_gates(session).await?;
        }
        Ok(())
    }

    async fn series(&self, session: &Session) -> Result<Vec<String>, Failed> {
        if let Some(series) = &self.series {
            return Ok(vec![series.clone()]);
        }
        let all = session.answer(Call::get("/v1/series")).await?;
        Ok(list(&all.json, "data")
            .iter()
            .map(|series| text(series, "name"))
            .collect())
    }
}

/// What the id and the genesis of a counter are made of: a chain alone does not say it.
const COUNTER: [&str; 5] = ["id", "series", "tenant", "partition", "period"];

async fn counters(session: &Session, series: &str) -> Result<Vec<Map<String, Value>>, Failed> {
    let named = |counter: &Value| {
        let fields = COUNTER.iter().map(|field| (*field).to_string());
        let fields = fields.map(|field| (field.clone(), counter.get(field).cloned().unwrap_or_default()));
        fields.collect()
    };
    let mut counters = Vec::new();
    let at = path(&["v1", "series", series, "counters"]);
    each_page(session, &at, &[], |page| {
        counters.extend(list(&page.json, "data").iter().map(named));
        Ok(())
    })
    .await?;
    Ok(counters)
}

async fn print_counter(session: &Session, counter: &Map<String, Value>) -> Result<(), Failed> {
    session.output.line(json!({ "counter": counter }).to_string());
    session.output.written().map_err(Failed::Other)?;
    let id = counter.get("id").and_then(Value::as_str).unwrap_or_default();
    print_chain(session, id).await
}

async fn print_gates(session: &Session) -> Result<(), Failed> {
    let mut chains = Vec::new();
    each_page(session, "/v1/gates", &[], |page| {
        chains.extend(list(&page.json, "data").iter().map(|gate| text(gate, "id")));
        print(session, page, "\"gate\":")
    })
    .await?;
    for chain in chains {
        print_chain(session, &chain).await?;
    }
    Ok(())
}

async fn print_chain(session: &Session, chain: &str) -> Result<(), Failed> {
    let wanted = [("chain", Some(chain))];
    let before = format!("\"chain\":\"{chain}\",\"event\":");
    each_page(session, "/v1/audit/events", &wanted, |page| {
        print(session, page, &before)
    })
    .await
}

/// The rows of a page, each as an object that begins like this.
fn print(session: &Session, page: &Answer, before: &str) -> Result<(), Failed> {
    let mut lines = String::new();
    for row in page.rows()? {
        lines += &format!("{{{before}{}}}\n", with_texts(row)?);
    }
    session.output.bytes(lines.as_bytes());
    session.output.written().map_err(Failed::Other)
}

/// Every page of a list, in its order.
async fn each_page(
    session: &Session,
    at: &str,
    wanted: &[(&str, Option<&str>)],
    mut take: impl FnMut(&Answer) -> Result<(), Failed>,
) -> Result<(), Failed> {
    let limit = PAGE_MAX.to_string();
    let mut cursor: Option<String> = None;
    loop {
        let paging = [("limit", Some(limit.as_str())), ("cursor", cursor.as_deref())];
        let page = session
            .answer(Call::get(format!("{at}{}", query(&[wanted, &paging].concat()))))
            .await?;
        take(&page)?;
        cursor = page.next_cursor();
        if cursor.is_none() {
            return Ok(());
        }
    }
}
