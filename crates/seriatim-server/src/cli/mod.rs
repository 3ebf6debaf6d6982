//! The command line: reads what is asked, sends it as one request, prints the answer.
//!
//! A verb must never know a rule, nor whether the service runs in this process or in another.

mod about;
mod audit;
mod bench;
mod compare;
mod counter;
mod entry;
mod export;
mod failed;
mod fence;
mod gate;
mod import;
mod inspect;
mod kept;
mod key;
mod moving;
mod output;
mod period;
mod pg;
mod progress;
mod series;
mod serve;
mod session;
mod store;
mod webhook;

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use tokio::sync::OnceCell;

use crate::config::{Config, Flags};
use failed::Failed;
use output::{Form, Output};
use session::{Absent, Session};

/// Unique, gap-free, ordered and explainable numbers for documents.
#[derive(Parser)]
#[command(name = "seriatim", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

const AFTER_HELP: &str = "\
Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 a check found something, 4 store unreachable, 5 refused.
Each global option is also SERIATIM_<OPTION> in the environment and, but for config, a key of seriatim.toml.";

/// What every verb understands.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
struct Common {
    /// Configuration file [default: ./seriatim.toml, then /etc/seriatim/seriatim.toml]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of the store, or of files beside it [default: ./seriatim-data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Another place for the store: sqlite:PATH or postgres://USER@HOST/DATABASE
    #[arg(long, global = true, value_name = "STORE")]
    store: Option<String>,
    /// A server to ask instead, with the API key in SERIATIM_API_KEY or SERIATIM_API_KEY_FILE
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["data_dir", "store"])]
    server: Option<String>,
    /// How data is written: plain or json [default: plain]
    #[arg(short, long, global = true, value_name = "FORM")]
    output: Option<String>,
    /// Leave out remarks on stderr
    #[arg(short, long, global = true)]
    quiet: bool,
}

impl Common {
    fn flags(&self) -> Flags {
        let given = [
            ("data_dir", &self.data_dir),
            ("store", &self.store),
            ("server", &self.server),
            ("output", &self.output),
            ("quiet", &self.quiet.then(|| true.to_string())),
        ];
        given
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.clone()?)))
            .collect()
    }
}

#[derive(Subcommand)]
enum Verb {
    /// Make an empty store
    Init(store::Init),
    /// Run the server
    Serve(serve::Serve),
    /// Define, change and look at series
    #[command(subcommand)]
    Series(series::Series),
    /// List counters: how far each count is
    Counters(counter::Counters),
    /// Take the next number of a series
    #[command(visible_alias = "next")]
    Issue(entry::Issue),
    /// Record a number that was issued elsewhere
    Adopt(entry::Adopt),
    /// Take a number that is confirmed or released later
    Reserve(entry::Reserve),
    /// A reserved number is on a document now
    Confirm(entry::Confirm),
    /// A reserved number was never used
    Release(entry::Release),
    /// A number is spent
    Void(entry::Void),
    /// Empty the document of a number; its hash stays
    Redact(entry::Redact),
    /// Show one number with its history
    Show(entry::Show),
    /// Search numbers, newest first
    List(entry::List),
    /// Check every chain, entry and document
    Verify(audit::Verify),
    /// Write down where every chain ends, signed, to be kept elsewhere
    Checkpoint(audit::Checkpoint),
    /// List seqs that were passed over, and why
    Gaps(audit::Gaps),
    /// Count documents by counter and date
    Summary(audit::Summary),
    /// Close a period, or open it again
    #[command(subcommand)]
    Period(period::Period),
    /// Let one caller through to an effect: claim, complete, fail
    #[command(subcommand)]
    Gate(gate::Gate),
    /// Pass over numbers, with a reason
    Advance(counter::Advance),
    /// Look through numbers that were issued elsewhere, in a table or a file
    Inspect(inspect::Inspect),
    /// Adopt the numbers of a table or a file
    Import(import::Import),
    /// Compare the numbers of a series with the documents of a table or a file
    Compare(compare::Compare),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(key::Key),
    /// Numbers inside your own PostgreSQL transactions
    #[command(subcommand)]
    Pg(pg::Pg),
    /// Play a payment provider
    #[command(subcommand)]
    Webhook(webhook::Webhook),
    /// Write every entry, counter, gate and event with its hash, one JSON object a line
    Export(export::Export),
    /// Copy the store to a new file while it goes on
    Backup(store::Backup),
    /// Put a backup into an empty place
    Restore(store::Restore),
    /// Check the store's settings, lock, disk and permissions
    Doctor(store::Doctor),
    /// Look at the fence of a store in PostgreSQL, or open it
    #[command(subcommand)]
    Fence(fence::Fence),
    /// Ask a running server whether it is ready
    Healthcheck(about::Healthcheck),
    /// Measure, and prove that no number comes twice and none is left out
    Bench(bench::Bench),
    /// Print the description of the HTTP interface
    Openapi(about::Openapi),
    /// Print completions for a shell
    Completions(about::Completions),
    /// Print the version
    Version(about::Version),
    /// Look at the settings
    #[command(subcommand)]
    Config(about::Configuration),
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    // A child of our own pool of renderers: it reads frames, and no command line of a person.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == crate::payments::RENDER_COMMAND)
    {
        return seriatim_receipt::child_main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let plain = Output {
        form: Form::Plain,
        quiet: cli.common.quiet,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            plain.warn(format!("error: cannot start: {error}"));
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(run(cli));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            failed.say(plain);
            ExitCode::from(failed.exit_code())
        }
    }
}

/// Help and version are data; everything else that the parser says is a usage error.
fn usage(error: &clap::Error) -> ExitCode {
    let printed = error.print();
    match (error.kind(), printed) {
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, Err(lost)) if lost.kind() != io::ErrorKind::BrokenPipe => {
            ExitCode::from(1)
        }
        (ErrorKind::DisplayHelp | ErrorKind::DisplayVersion, _) => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

/// What a verb runs with.
struct Context {
    config: Config,
    output: Output,
    /// Opened when a verb first asks, closed behind every verb, however it ended.
    session: OnceCell<Session>,
}

impl Context {
    async fn session(&self, command: &str) -> Result<&Session, Failed> {
        self.open(command, Absent::Refuse).await
    }

    /// A session of a verb that makes the store it needs, unless it is only a rehearsal.
    async fn session_to_define(&self, command: &str, dry_run: bool) -> Result<&Session, Failed> {
        self.open(command, if dry_run { Absent::Pretend } else { Absent::Create })
            .await
    }

    /// A session that the verb closes itself.
    async fn own_session(&self, command: &str) -> Result<Session, Failed> {
        Session::open(&self.config, self.output, command, Absent::Refuse).await
    }

    async fn open(&self, command: &str, absent: Absent) -> Result<&Session, Failed> {
        let open = || Session::open(&self.config, self.output, command, absent);
        self.session.get_or_try_init(open).await
    }
}

async fn run(cli: Cli) -> Result<(), Failed> {
    let mut flags = cli.common.flags();
    if let Verb::Serve(serve) = &cli.verb {
        flags.extend(serve.flags());
    }
    let environment = |name: &str| std::env::var(name).ok();
    let loaded = Config::load(cli.common.config.as_deref(), flags.clone(), &environment);
    let config = match (&cli.verb, loaded) {
        // They tell of the program, whatever is configured.
        (Verb::Openapi(_) | Verb::Completions(_) | Verb::Version(_), Err(_)) => Config::of_flags(flags),
        (_, loaded) => loaded?,
    };
    let form = match config.choice("output", &["plain", "json"])? {
        "json" => Form::Json,
        _ => Form::Plain,
    };
    let output = Output {
        form,
        quiet: config.choice("quiet", &["false", "true"])? == "true",
    };
    session::start_logging(&config, matches!(cli.verb, Verb::Serve(_)))?;
    let session = OnceCell::new();
    let changes = cli.verb.changes();
    let context = Context {
        config,
        output,
        session,
    };
    let ended = carry_out(cli.verb, &context).await;
    if let Some(session) = context.session.get() {
        session.close().await;
    }
    match ended {
        // What nobody can read is no answer.
        Ok(()) | Err(Failed::Found(_)) => output.written().map_err(|why| unwritten(why, changes)).and(ended),
        Err(failed) => Err(failed),
    }
}

/// A number that is taken stays taken, whoever could not read it.
fn unwritten(why: String, changes: bool) -> Failed {
    Failed::Other(if changes {
        format!("{why}; what was asked for was done all the same")
    } else {
        why
    })
}

impl Verb {
    /// Whether it leaves something behind in the store, once it is done.
    fn changes(&self) -> bool {
        match self {
            Self::Init(_)
            | Self::Issue(_)
            | Self::Adopt(_)
            | Self::Reserve(_)
            | Self::Confirm(_)
            | Self::Release(_)
            | Self::Void(_)
            | Self::Redact(_)
            | Self::Advance(_)
            | Self::Restore(_) => true,
            Self::Series(verb) => verb.changes(),
            Self::Period(verb) => !matches!(verb, period::Period::List(_) | period::Period::Show(_)),
            Self::Gate(verb) => !matches!(verb, gate::Gate::Show(_) | gate::Gate::List(_)),
            Self::Key(verb) => !matches!(verb, key::Key::List(_)),
            Self::Serve(_)
            | Self::Counters(_)
            | Self::Show(_)
            | Self::List(_)
            | Self::Verify(_)
            | Self::Checkpoint(_)
            | Self::Gaps(_)
            | Self::Summary(_)
            | Self::Inspect(_)
            | Self::Import(_)
            | Self::Compare(_)
            | Self::Pg(_)
            | Self::Webhook(_)
            | Self::Export(_)
            | Self::Backup(_)
            | Self::Doctor(_)
            | Self::Fence(_)
            | Self::Healthcheck(_)
            | Self::Bench(_)
            | Self::Openapi(_)
            | Self::Completions(_)
            | Self::Version(_)
            | Self::Config(_) => false,
        }
    }
}

async fn carry_out(verb: Verb, context: &Context) -> Result<(), Failed> {
    match verb {
        Verb::Init(verb) => verb.run(context).await,
        Verb::Serve(verb) => verb.run(context).await,
        Verb::Series(verb) => verb.run(context).await,
        Verb::Counters(verb) => verb.run(context).await,
        Verb::Issue(verb) => verb.run(context).await,
        Verb::Adopt(verb) => verb.run(context).await,
        Verb::Reserve(verb) => verb.run(context).await,
        Verb::Confirm(verb) => verb.run(context).await,
        Verb::Release(verb) => verb.run(context).await,
        Verb::Void(verb) => verb.run(context).await,
        Verb::Redact(verb) => verb.run(context).await,
        Verb::Show(verb) => verb.run(context).await,
        Verb::List(verb) => verb.run(context).await,
        Verb::Verify(verb) => verb.run(context).await,
        Verb::Checkpoint(verb) => verb.run(context).await,
        Verb::Gaps(verb) => verb.run(context).await,
        Verb::Summary(verb) => verb.run(context).await,
        Verb::Period(verb) => verb.run(context).await,
        Verb::Gate(verb) => verb.run(context).await,
        Verb::Advance(verb) => verb.run(context).await,
        Verb::Inspect(verb) => verb.run(context).await,
        Verb::Import(verb) => verb.run(context).await,
        Verb::Compare(verb) => verb.run(context).await,
        Verb::Key(verb) => verb.run(context).await,
        Verb::Pg(verb) => verb.run(context).await,
        Verb::Webhook(verb) => verb.run(context).await,
        Verb::Export(verb) => verb.run(context).await,
        Verb::Backup(verb) => verb.run(context).await,
        Verb::Restore(verb) => verb.run(context).await,
        Verb::Doctor(verb) => verb.run(context).await,
        Verb::Fence(verb) => verb.run(context).await,
        Verb::Healthcheck(verb) => verb.run(context).await,
        Verb::Bench(verb) => verb.run(context).await,
        Verb::Openapi(verb) => verb.run(context),
        Verb::Completions(verb) => verb.run(context),
        Verb::Version(verb) => verb.run(context),
        Verb::Config(verb) => verb.run(context),
    }
}

/// The definition of the command line, for completions.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_well_formed() {
        super::command().debug_assert();
    }
}
