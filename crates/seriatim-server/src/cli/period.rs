//! The verbs on periods.

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::failed::Failed;
use super::output::{Form, list, row};
use crate::transport::{Call, query};

/// Close a period, or open it again
#[derive(Subcommand)]
pub enum Period {
    /// Close a period: nothing more is issued in it
    Close(Change),
    /// Open a closed period again
    Reopen(Change),
    /// List periods that were closed
    List(List),
}

impl Period {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Close(verb) => verb.run(context, "close").await,
            Self::Reopen(verb) => verb.run(context, "reopen").await,
            Self::List(verb) => verb.run(context).await,
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
    /// Whose period [default: default]
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
        }
        Ok(())
    }
}

/// List periods that were closed
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
