//! The verbs on API keys.

use clap::{Args, Subcommand};
use hyper::Method;
use serde::Serialize;
use serde_json::json;

use super::Context;
use super::failed::Failed;
use super::output::{Form, list, row, text, words};
use crate::transport::{Call, path};

/// Make, list and revoke API keys
#[derive(Subcommand)]
pub enum Key {
    /// Make an API key; it is shown once
    Create(Create),
    /// List API keys; no secret is kept, so none is shown
    List(List),
    /// Revoke an API key
    Revoke(Revoke),
}

impl Key {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Create(verb) => verb.run(context).await,
            Self::List(verb) => verb.run(context).await,
            Self::Revoke(verb) => verb.run(context).await,
        }
    }
}

/// Make an API key; it is shown once
#[derive(Args, Serialize)]
pub struct Create {
    /// What it is for
    #[arg(long, short)]
    label: String,
    /// What it may do: issue, void, read, audit, gate or admin
    #[arg(long = "scope", value_name = "SCOPE", value_delimiter = ',', required = true)]
    scopes: Vec<String>,
    /// The only tenants it may see [default: all]
    #[arg(long = "tenant", short, value_name = "TENANT", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tenants: Vec<String>,
    /// The only series it may see [default: all]
    #[arg(long, value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<String>,
    /// It reaches test series only
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    test: bool,
}

impl Create {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("key create").await?;
        for series in &self.series {
            // It may be defined later; but most often it is a slip, and the key would reach nothing.
            let there = session.reply(Call::get(path(&["v1", "series", series]))).await?;
            if there.status == hyper::StatusCode::NOT_FOUND {
                context.output.warn(format!(
                    "warning: there is no series {series}; the key reaches nothing until there is"
                ));
            }
        }
        let answer = session.answer(Call::post("/v1/keys", &self)?).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
        } else {
            context.output.line(text(&answer.json, "key"));
        }
        let id = text(&answer.json, "id");
        context.output.written().map_err(|why| {
            Failed::Other(format!(
                "{why}; the key {id} exists and nobody has seen it: revoke it with `seriatim key revoke {id}`"
            ))
        })?;
        context.output.note("keep it: it is shown once and kept nowhere");
        Ok(())
    }
}

/// List API keys
#[derive(Args)]
pub struct List {}

impl List {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("key list").await?;
        let answer = session.answer(Call::get("/v1/keys")).await?;
        if context.output.form == Form::Json {
            answer.print(context.output);
            return Ok(());
        }
        let head = ["id", "label", "scopes", "tenants", "series", "created_at", "revoked_at"];
        let rows = list(&answer.json, "data").iter().map(|key| {
            let mut row = row(key, &head);
            for (cell, field) in row.iter_mut().zip(head).skip(2).take(3) {
                *cell = words(key, field);
            }
            row
        });
        context.output.table(&head, rows.collect());
        Ok(())
    }
}

/// Revoke an API key
#[derive(Args)]
pub struct Revoke {
    /// Its id, as `key list` shows it
    id: String,
}

impl Revoke {
    async fn run(self, context: &Context) -> Result<(), Failed> {
        let session = context.session("key revoke").await?;
        session
            .answer(Call::new(Method::DELETE, path(&["v1", "keys", &self.id])))
            .await?;
        let revoked = json!({ "id": self.id, "revoked": true });
        context.output.done(format!("{} is revoked", self.id), &revoked);
        Ok(())
    }
}
