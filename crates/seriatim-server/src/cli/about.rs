//! Verbs about the program itself.

use std::io::IsTerminal;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use clap::{Args, Subcommand};
use serde_json::json;

use super::Context;
use super::failed::{Failed, Problem};
use super::output::Form;
use super::serve;
use crate::transport::{Call, Transport};

/// Ask a running server whether it is ready
#[derive(Args)]
pub struct Healthcheck {}

impl Healthcheck {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let config = &context.config;
        let url = match config.text("server") {
            Some(url) => url.to_string(),
            None => format!("http://{}", reachable(config.parse("http_addr")?)),
        };
        let reply = Transport::network(&url, None)?.send(Call::get("/readyz")).await?;
        if reply.status.is_success() {
            let ready = json!({ "url": url, "ready": true });
            context.output.done(format!("{url} is ready"), &ready);
            return Ok(());
        }
        let mut problem = Problem::of(&reply);
        if problem.body.is_null() {
            let said = String::from_utf8_lossy(&reply.body).trim().to_string();
            problem.body = json!({ "detail": format!("{url} is not ready: {said}"), "retry": "retry" });
        }
        Err(Failed::Problem(Box::new(problem)))
    }
}

/// A server that listens everywhere is asked here.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

/// Print the description of the HTTP interface
#[derive(Args)]
pub struct Openapi {}

impl Openapi {
    pub fn run(self, context: &Context) -> Result<(), Failed> {
        context.output.line(crate::routes::openapi());
        Ok(())
    }
}

/// Print completions for a shell
#[derive(Args)]
pub struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self, context: &Context) -> Result<(), Failed> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "seriatim", &mut script);
        context.output.bytes(&script);
        if std::io::stdout().is_terminal() {
            context.output.note("put this where your shell looks for completions");
        }
        Ok(())
    }
}

/// Print the version
#[derive(Args)]
pub struct Version {}

impl Version {
    pub fn run(self, context: &Context) -> Result<(), Failed> {
        let version = env!("CARGO_PKG_VERSION");
        context.output.line(match context.output.form {
            Form::Plain => format!("seriatim {version}"),
            Form::Json => json!({ "version": version }).to_string(),
        });
        Ok(())
    }
}

/// Look at the settings
#[derive(Subcommand)]
pub enum Configuration {
    /// Show every setting, and who said it; secrets are hidden. What `serve` would refuse is refused here
    Show,
}

impl Configuration {
    pub fn run(self, context: &Context) -> Result<(), Failed> {
        match self {
            Self::Show => show(context),
        }
        // Behind the settings, where whoever looks for the fault can see them.
        serve::check(&context.config)
    }
}

fn show(context: &Context) {
    let rows = context
        .config
        .shown()
        .map(|(name, text, source)| match serve::usual(&context.config, &name) {
            Some((usual, source)) if context.config.get(&name).is_none() => vec![name, usual, source],
            Some(_) | None => vec![name, text, source],
        });
    context.output.table(&["setting", "value", "from"], rows.collect());
}
