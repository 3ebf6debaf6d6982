//! The verbs on periods.

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use seriatim::Closure;

use super::Context;
use super::failed::Failed;
use super::output::{Form, list, pairs, row, text};
use super::session::Session;
use crate::transport::{Call, path, query};
use crate::wire;

/// Close a period, or open it again
#[derive(Subcommand)]
pub enum Period {
    /// Close a period of one tenant: nothing more is issued, adopted or voided in it
    ///
    /// `seriatim counters SERIES --period PERIOD` lists the tenants that have numbers in it; close it for each.
    Close(Change),
    /// Open a closed period of one tenant again
    Reopen(Change),
    /// List periods that were closed, as they are now
    List(List),
    /// Show each time that a period was closed or opened again: who, for whom, why, and what was in it
    Show(Show),
}

impl Period {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Close(verb) => verb.run(context, "close").await,
            Self::Reopen(verb) => verb.run(context, "reopen").await,
            Self::List(verb) => verb.run(context).await,
            Self::Show(verb) => verb.run(context).await,
        }
    }
}

/// Which period, and why.
#[derive(Args, Serialize)]
pub struct Change {
    /// The series
    series: String,
    /// The period, e.g. 2025-26
    period: String,
    /// Whose period; each tenant's is closed by itself [default: default]
    #[arg(long, short)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Why
    #[arg(long, short)]
    reason: String,
}

const FIELDS: [&str; 8] = [
    "series",
    "tenant",
    "period",
    "state",
    "reason",
    "closed_at",
    "reopened_at",
    "actor",
];

impl Change {
    async fn run(self, context: &Context, verb: &str) -> Result<(), Failed> {
        let session = context.session("period").await?;
        let answer = session
            .answer(Call::post(format!("/v1/periods/{verb}"), &self)?)
            .await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        } else {
            context.output.table(&FIELDS, vec![row(&answer.json, &FIELDS)]);
            let counters = list(&answer.json, "counters").iter();
            context
                .output
                .table(&IN_IT, counters.map(|counter| in_it(context, counter)).collect());
        }
        self.warn_of_nothing(context, &answer.json);
        Ok(())
    }

    /// A year that is closed for somebody who has no number in it is most often a slip: it is still open for the others.
    fn warn_of_nothing(&self, context: &Context, closure: &Value) {
        if text(closure, "state") != "closed" || !list(closure, "counters").is_empty() {
            return;
        }
        let (series, tenant, period) = (&self.series, text(closure, "tenant"), text(closure, "period"));
        context.output.warn(format!(
            "warning: tenant {tenant} has no number in period {period} of series {series}; a period is closed for one \
             tenant, and `seriatim counters {series} --period {period}` shows whose numbers are in it"
        ));
    }
}

/// What is said of each counter that a period had when it was closed.
const IN_IT: [&str; 5] = ["partition", "first", "last", "counts", "head"];

fn in_it(context: &Context, counter: &Value) -> Vec<String> {
    let [first, last, mut head] = ["first_seq", "last_seq", "head"].map(|field| text(counter, field));
    if context.output.is_terminal() {
        // 64 digits are wider than most terminals; elsewhere and in the JSON they are whole.
        head.truncate(12);
    }
    vec![pairs(counter, "partition"), first, last, pairs(counter, "counts"), head]
}

/// List periods that were closed, as they are now
#[derive(Args)]
pub struct List {
    /// Only of this series
    series: Option<String>,
    /// Only of this tenant
    #[arg(long, short)]
    tenant: Option<String>,
}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("period list").await?;
        let wanted = [("series", self.series.as_deref()), ("tenant", self.tenant.as_deref())];
        let answer = session
            .answer(Call::get(format!("/v1/periods{}", query(&wanted))))
            .await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        } else {
            let closures = list(&answer.json, "data").iter();
            context
                .output
                .table(&FIELDS, closures.map(|closure| row(closure, &FIELDS)).collect());
        }
        Ok(())
    }
}

/// Show each time that a period was closed or opened again: who, for whom, why, and what was in it
#[derive(Args)]
pub struct Show {
    /// The series
    series: String,
    /// The period, e.g. 2025-26
    period: String,
    /// Whose period [default: default]
    #[arg(long, short, default_value = "default", hide_default_value = true)]
    tenant: String,
}

impl Show {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("period show").await?;
        let events = self.events(session).await?;
        if events.is_empty() {
            return Err(self.refuse_unclosed());
        }
        if context.output.form == Form::Json {
            events.iter().for_each(|event| context.output.line(event.to_string()));
            return Ok(());
        }
        let head = ["at", "event", "actor", "on behalf of", "reason"];
        let fields = ["at", "kind", "actor", "on_behalf_of", "reason"];
        let rows = events.iter().map(|event| row(event, &fields));
        context.output.table(&head, rows.collect());
        let head = [&["closed at"], &IN_IT[..]].concat();
        let rows = events.iter().flat_map(|event| {
            let counters = list(event, "counters").iter();
            counters.map(|counter| [vec![text(event, "at")], in_it(context, counter)].concat())
        });
        context.output.table(&head, rows.collect());
        Ok(())
    }

    /// What the definitions chain has of this period, oldest first. A list of closures has only the latest of each.
    async fn events(&self, session: &Session) -> Result<Vec<Value>, Failed> {
        self.check_names(session).await?;
        let mut events = Vec::new();
        let mut cursor = None;
        loop {
            let wanted = [
                ("chain", Some("definitions")),
                ("limit", Some("500")),
                ("cursor", cursor.as_deref()),
            ];
            let answer = session
                .answer(Call::get(format!("/v1/audit/events{}", query(&wanted))))
                .await?;
            for event in list(&answer.json, "data") {
                events.extend(self.told(event)?);
            }
            cursor = answer.next_cursor();
            if cursor.is_none() {
                return Ok(events);
            }
        }
    }

    /// A series, tenant or period that cannot be is refused, as everywhere; a journal only lacks it.
    async fn check_names(&self, session: &Session) -> Result<(), Failed> {
        let wanted = [
            ("tenant", Some(self.tenant.as_str())),
            ("period", Some(self.period.as_str())),
            ("limit", Some("1")),
        ];
        let counters = path(&["v1", "series", &self.series, "counters"]) + &query(&wanted);
        session.answer(Call::get(counters)).await.map(|_| ())
    }

    /// An event of this period, with its detail read; nothing if it is about something else.
    fn told(&self, event: &Value) -> Result<Option<Value>, Failed> {
        let kind = text(event, "kind");
        let detail = text(event, "detail");
        let whose = [
            format!("series={}", self.series),
            format!("tenant={}", self.tenant),
            format!("period={}", self.period),
        ];
        if !matches!(kind.as_str(), "closed" | "reopened") || !detail.lines().take(3).eq(whose) {
            return Ok(None);
        }
        let counters = Closure::counters_from_text(&detail).ok_or_else(|| {
            Failed::Other(format!(
                "event {} of the definitions does not read; run `seriatim verify`",
                text(event, "position")
            ))
        })?;
        let mut told = json!({ "series": self.series, "tenant": self.tenant, "period": self.period });
        for field in ["position", "kind", "at", "actor", "on_behalf_of", "reason", "hash"] {
            if let Some(value) = event.get(field) {
                told[field] = value.clone();
            }
        }
        if kind == "closed" {
            told["counters"] = counters
                .iter()
                .map(|counter| serde_json::to_value(wire::ClosureCounter::of(counter)))
                .collect::<Result<_, _>>()?;
        }
        Ok(Some(told))
    }

    fn refuse_unclosed(&self) -> Failed {
        let Self { series, period, tenant } = self;
        Failed::missing(
            "period_not_closed",
            format!(
                "period {period} of series {series} was never closed for tenant {tenant}; `seriatim period list {series}` \
                 shows what was"
            ),
        )
    }
}
