//! The verbs on counters.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::entry::{param, params};
use super::failed::Failed;
use super::output::{Form, list, pairs, row, text};
use crate::transport::{Call, path, query};

/// List counters: how far each count is
#[derive(Args)]
pub struct Counters {
    /// Only of this series
    series: Option<String>,
    /// Only of this tenant
    #[arg(long, short)]
    tenant: Option<String>,
    /// Only of this period
    #[arg(long)]
    period: Option<String>,
}

impl Counters {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("counters").await?;
        let series = match self.series.clone() {
            Some(series) => vec![series],
            // Asked of all, a period is that of those series that can have it.
            None => {
                let all = session.answer(Call::get("/v1/series")).await?;
                list(&all.json, "data")
                    .iter()
                    .map(|series| text(series, "name"))
                    .collect()
            }
        };
        let mut counters = Vec::new();
        let mut unfit = None;
        let mut fits = false;
        for series in series {
            let mut cursor = None;
            loop {
                let answer = match session.answer(self.page(&series, cursor.as_deref())).await {
                    Err(Failed::Problem(problem)) if self.series.is_none() && problem.code() == "invalid_period" => {
                        unfit = Some(Failed::Problem(problem));
                        break;
                    }
                    answer => answer?,
                };
                fits = true;
                if context.output.form == Form::Json {
                    answer.print_rows(context.output)?;
                } else {
                    counters.extend(list(&answer.json, "data").iter().cloned());
                }
                cursor = answer.next_cursor();
                if cursor.is_none() {
                    break;
                }
            }
        }
        if let Some(failed) = unfit.filter(|_| !fits) {
            return Err(failed);
        }
        print_counters(context, &counters);
        Ok(())
    }

    fn page(&self, series: &str, cursor: Option<&str>) -> Call {
        let wanted = [
            ("tenant", self.tenant.as_deref()),
            ("period", self.period.as_deref()),
            ("cursor", cursor),
        ];
        Call::get(path(&["v1", "series", series, "counters"]) + &query(&wanted))
    }
}

fn print_counters(context: &Context, counters: &[Value]) {
    let head = ["series", "tenant", "partition", "period", "first", "last", "counts"];
    let rows = counters.iter().map(|counter| {
        let mut row = row(counter, &["series", "tenant", "period", "first_seq", "last_seq"]);
        row.insert(2, pairs(counter, "partition"));
        row.push(pairs(counter, "counts"));
        row
    });
    context.output.table(&head, rows.collect());
}

/// Pass over numbers, with a reason
#[derive(Args)]
pub struct Advance {
    /// The series
    series: String,
    /// The last seq that counts as taken
    #[arg(long, value_name = "SEQ")]
    to: u64,
    /// Why
    #[arg(long, short)]
    reason: String,
    /// Whose count [default: default]
    #[arg(long, short)]
    tenant: Option<String>,
    /// A param that splits the count
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = param)]
    params: Vec<(String, String)>,
    /// The period [default: the present one]
    #[arg(long)]
    period: Option<String>,
}

#[derive(Serialize)]
struct AdvanceBody {
    to: u64,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<String>,
}

impl Advance {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let body = AdvanceBody {
            to: self.to,
            reason: self.reason,
            tenant: self.tenant,
            params: params(self.params)?,
            period: self.period,
        };
        let session = context.session("advance").await?;
        let call = Call::post(path(&["v1", "series", &self.series, "advance"]), &body)?;
        let answer = session.answer(call).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let counter = answer.json.get("counter").cloned().unwrap_or_default();
        print_counters(context, std::slice::from_ref(&counter));
        Ok(())
    }
}
