//! Everything that is stored about numbers, one JSON object a line, for whoever wants to check it without us.

use clap::Args;

use super::Context;
use super::entry::PAGE_MAX;
use super::failed::Failed;
use super::output::{list, text};
use super::session::{Answer, Session};
use crate::transport::{Call, path, query};

/// Write every entry, gate and event with its hash, one JSON object a line
#[derive(Args)]
pub struct Export {
    /// Only of this series; gates are of none
    series: Option<String>,
}

impl Export {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("export").await?;
        let mut chains = Vec::new();
        if self.series.is_none() {
            chains.push("definitions".to_string());
        }
        for series in self.series(session).await? {
            chains.extend(counters(session, &series).await?);
        }
        print_chains(session, &chains).await?;
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

async fn counters(session: &Session, series: &str) -> Result<Vec<String>, Failed> {
    let mut ids = Vec::new();
    let at = path(&["v1", "series", series, "counters"]);
    each_page(session, &at, &[], |page| {
        ids.extend(list(&page.json, "data").iter().map(|counter| text(counter, "id")));
        Ok(())
    })
    .await?;
    Ok(ids)
}

async fn print_gates(session: &Session) -> Result<(), Failed> {
    let mut chains = Vec::new();
    each_page(session, "/v1/gates", &[], |page| {
        chains.extend(list(&page.json, "data").iter().map(|gate| text(gate, "id")));
        print(session, page, "\"gate\":")
    })
    .await?;
    print_chains(session, &chains).await
}

async fn print_chains(session: &Session, chains: &[String]) -> Result<(), Failed> {
    for chain in chains {
        let wanted = [("chain", Some(chain.as_str()))];
        let before = format!("\"chain\":\"{chain}\",\"event\":");
        each_page(session, "/v1/audit/events", &wanted, |page| {
            print(session, page, &before)
        })
        .await?;
    }
    Ok(())
}

/// The rows of a page, each as an object that begins like this.
fn print(session: &Session, page: &Answer, before: &str) -> Result<(), Failed> {
    let rows = page.rows()?;
    let lines = rows.iter().map(|row| format!("{{{before}{}}}\n", row.get()));
    session.output.bytes(lines.collect::<String>().as_bytes());
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
