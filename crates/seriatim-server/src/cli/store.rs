//! The verbs on a store as a whole.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use seriatim::Reads;
use seriatim::store::postgres::Postgres;
use seriatim::store::sqlite::{APPLICATION_ID, OpenError, Sqlite};

use super::Context;
use super::failed::Failed;
use super::output::Form;
use super::session::{Session, Where, issuing, postgres_options};
use crate::config::Config;
use crate::open::{self, Lock, Opened, Place, PlaceError};
use crate::transport::Call;

/// Make an empty store
#[derive(Args)]
pub struct Init {}

impl Init {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        if let Where::Postgres(url) = Where::of(&context.config)? {
            return init_postgres(context, &url).await;
        }
        let place = Where::here(&context.config)?;
        if place.exists()? {
            say_made(context, &format!("sqlite {}", place.database.display()), false);
            return Ok(());
        }
        place.make_directory()?;
        let lock = open::claim(&place, "init").await?;
        let opened = Opened::open(&place, lock, issuing(&context.config)?).await?;
        open::checkpoint_key(&place)?;
        opened.close().await;
        say_made(context, &format!("sqlite {}", place.database.display()), true);
        Ok(())
    }
}

fn say_made(context: &Context, store: &str, created: bool) {
    let remark = if created {
        format!("store {store} (created)")
    } else {
        format!("there is a store already: {store}")
    };
    context
        .output
        .done(remark, &json!({ "store": store, "created": created }));
}

async fn init_postgres(context: &Context, url: &str) -> Result<(), Failed> {
    let options = postgres_options(&context.config, true)?;
    let store = Postgres::open(url, options).await.map_err(PlaceError::from)?;
    say_made(context, &store.describe(), store.was_created());
    store.close().await;
    Ok(())
}

/// Copy the store to a new file while it goes on
#[derive(Args)]
pub struct Backup {
    /// The file to write; it must not be there yet
    to: PathBuf,
}

impl Backup {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let place = Where::here(&context.config)?;
        if !place.exists()? {
            return Err(absent(&place));
        }
        if self.to.exists() {
            return Err(Failed::Usage(format!(
                "{} is there already; name a new file",
                self.to.display()
            )));
        }
        // A second process may read beside a server; the lock is held only if nobody has it.
        let held = Lock::take(&place, &open::Holder::this("backup"))?;
        let how = if held.is_some() {
            "in process"
        } else {
            "beside its server"
        };
        context
            .output
            .note(format!("store sqlite {} ({how})", place.database.display()));
        // Only read: who opens it to write beside a server would bring it up to date, and work on its log.
        Sqlite::copy(place.file(), &self.to)
            .await
            .map_err(|error| match error {
                OpenError::Store(error) => Failed::Other(format!("cannot back up to {}: {error}", self.to.display())),
                error => PlaceError::from(error).into(),
            })?;
        let to = self.to.display().to_string();
        context.output.line(match context.output.form {
            Form::Plain => to,
            Form::Json => json!({ "file": to }).to_string(),
        });
        context.output.note(
            "the key that signs checkpoints (checkpoint.key) is not in it; numbers that are taken from now on are not \
             in it either",
        );
        Ok(())
    }
}

fn absent(place: &Place) -> Failed {
    let database = place.database.display();
    Failed::from(PlaceError::Absent(format!(
        "there is no store {database}; say where it is with --data-dir"
    )))
}

/// Put a backup into an empty place
#[derive(Args)]
pub struct Restore {
    /// The file that `backup` wrote
    from: PathBuf,
}

impl Restore {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let place = Where::here(&context.config)?;
        match std::fs::metadata(&self.from) {
            Ok(found) if found.is_file() => {}
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failed::Usage(format!("cannot read {}: {error}", self.from.display())));
            }
            Ok(_) | Err(_) => return Err(Failed::Usage(format!("there is no file {}", self.from.display()))),
        }
        place.make_directory()?;
        let lock = open::claim(&place, "restore").await?;
        refuse_existing(&place)?;
        refuse_unfinished(&self.from)?;
        refuse_foreign(&self.from)?;
        let opened = match begin(&self.from, &place, lock, &context.config).await {
            Ok(opened) => opened,
            Err(failed) => {
                // What was begun here is ours to clear away: the place was empty.
                let _ = std::fs::remove_file(&place.database);
                return Err(failed);
            }
        };
        context
            .output
            .note(format!("store sqlite {} (restored)", place.database.display()));
        let said = say_where_it_stands(context, &opened).await;
        opened.close().await;
        said
    }
}

async fn begin(from: &Path, place: &Place, lock: Lock, config: &Config) -> Result<Opened, Failed> {
    copy(from, place).map_err(|error| {
        let place = place.database.display();
        Failed::Other(format!("cannot copy {} to {place}: {error}", from.display()))
    })?;
    Ok(Opened::open(place, lock, issuing(config)?).await?)
}

/// The backup itself is only read: it may be on a medium that cannot be written, and it may be needed again. Under its own
/// name the copy is only seen when it is whole.
fn copy(from: &Path, place: &Place) -> std::io::Result<()> {
    let partial = place
        .directory()
        .join(format!(".restore-{}.partial", std::process::id()));
    let write = || {
        let mut options = std::fs::OpenOptions::new();
        let mut to = options.create_new(true).write(true).mode(0o600).open(&partial)?;
        std::io::copy(&mut std::fs::File::open(from)?, &mut to)?;
        to.sync_all()?;
        std::fs::rename(&partial, &place.database)?;
        std::fs::File::open(place.directory())?.sync_all()
    };
    let written = write();
    if written.is_err() {
        // It may not even be there.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn refuse_existing(place: &Place) -> Result<(), Failed> {
    let [log, _] = place.log_files();
    let there = if place.exists()? {
        &place.database
    } else if has_bytes(&log) {
        // It would be taken for the log of the backup.
        &log
    } else {
        return Ok(());
    };
    Err(Failed::Usage(format!(
        "{} is there already and is not overwritten; give an empty --data-dir, or move the old database away, and with it \
         {}: what was issued last is in that",
        there.display(),
        log.display()
    )))
}

fn has_bytes(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.len() > 0)
}

/// A file with a log beside it was copied by hand while it was in use: its last numbers are in the log.
fn refuse_unfinished(from: &Path) -> Result<(), Failed> {
    let [log, _] = Place {
        database: from.to_path_buf(),
    }
    .log_files();
    if has_bytes(&log) {
        let from = from.display();
        return Err(Failed::Usage(format!(
            "{from} is no backup but a store in use, or was copied by hand: {from}-wal belongs to it; make a backup of \
             it with `seriatim backup --store sqlite:{from} FILE`"
        )));
    }
    Ok(())
}

/// Where SQLite has the id of the application that a database is of.
const APPLICATION_ID_AT: u64 = 68;

/// An empty file would be a new store, which begins at 1 again.
fn refuse_foreign(from: &Path) -> Result<(), Failed> {
    let owner = || {
        let mut file = std::fs::File::open(from)?;
        let mut owner = [0; 4];
        file.seek(SeekFrom::Start(APPLICATION_ID_AT))?;
        file.read_exact(&mut owner)
            .map(|()| i64::from(u32::from_be_bytes(owner)))
    };
    let what = match owner() {
        Ok(APPLICATION_ID) => return Ok(()),
        Ok(_) => "it is no store of Seriatim",
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "it is empty or was cut off",
        Err(error) => return Err(Failed::Usage(format!("cannot read {}: {error}", from.display()))),
    };
    Err(Failed::Usage(format!(
        "{} is no backup: {what}; name the file that `seriatim backup` wrote",
        from.display()
    )))
}

/// A restored store knows nothing of the numbers that were handed out after the backup.
async fn say_where_it_stands(context: &Context, opened: &Opened) -> Result<(), Failed> {
    let heads = opened
        .issuer()
        .reads()
        .heads()
        .await
        .map_err(|error| Failed::Other(error.to_string()))?;
    let counters = heads.counters.iter();
    let rows = counters.map(|counter| vec![json!(counter.key.to_string()), json!(counter.last_seq)]);
    context.output.table(&["counter", "last"], rows.collect());
    context.output.warn(
        "numbers handed out after this backup are not in it. Before anything is issued, take each counter above the \
         last number that is on a document:\n  seriatim advance SERIES --to SEQ --reason 'restored from backup'\nWhat else was \
         decided since is undone, too: an API key that was revoked is valid again, a closed period is open, a void number \
         stands, a redacted document is back. Do it again, the keys first.",
    );
    Ok(())
}

/// Check the store's settings, lock, disk and permissions
#[derive(Args)]
pub struct Doctor {}

/// What one check found.
struct Check {
    name: String,
    found: String,
    holds: bool,
}

impl Check {
    fn new(name: &str, found: impl Into<String>, holds: bool) -> Self {
        Self {
            name: name.to_string(),
            found: found.into(),
            holds,
        }
    }
}

impl Doctor {
    pub async fn run(self, context: &Context) -> Result<(), Failed> {
        let mut checks = Vec::new();
        let from = Where::of(&context.config)?;
        // The service over another store names its settings itself.
        if let Where::Here(place) = &from {
            if !place.exists()? {
                return Err(absent(place));
            }
            checks.extend(check_files(place));
            checks.push(check_lock(place));
            checks.push(check_disk(place));
        }
        let looked = look_inside(context, &from, &mut checks).await;
        print_checks(context, &checks);
        // What was found before may well say why.
        looked?;
        match checks.iter().filter(|check| !check.holds).count() {
            0 => Ok(()),
            wrong => Err(Failed::Found(format!("{wrong} of {} checks do not hold", checks.len()))),
        }
    }
}

async fn look_inside(context: &Context, from: &Where, checks: &mut Vec<Check>) -> Result<(), Failed> {
    if let Where::Here(place) = from {
        checks.extend(check_settings(place).await?);
    }
    let session = context.session("doctor").await?;
    checks.extend(check_service(session).await?);
    Ok(())
}

fn print_checks(context: &Context, checks: &[Check]) {
    let said = |holds: bool| if holds { "ok" } else { "NOT OK" };
    let rows = checks
        .iter()
        .map(|check| vec![said(check.holds).to_string(), check.name.clone(), check.found.clone()]);
    context.output.table(&["result", "check", "found"], rows.collect());
}

/// Documents and keys are in these files: nobody else has business with them, and their owner writes them.
fn check_files(place: &Place) -> Vec<Check> {
    let [log, index] = place.log_files();
    let files = [place.directory().to_path_buf(), place.database.clone(), log, index];
    let check = |path: &Path, wanted: u32| {
        let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
        let name = format!("permissions of {}", path.display());
        Some(Check::new(
            &name,
            format!("{mode:o}"),
            mode & (wanted | 0o077) == wanted,
        ))
    };
    let written = files.iter().filter_map(|path| check(path, 0o200));
    // Nobody writes it again.
    written.chain(check(&place.checkpoint_key(), 0)).collect()
}

fn check_lock(place: &Place) -> Check {
    match Lock::take(place, &open::Holder::this("doctor")) {
        Ok(Some(_)) => Check::new("lock", "free", true),
        Ok(None) => {
            let holder = open::holder(place);
            Check::new(
                "lock",
                holder.map_or_else(|| "held".to_string(), |holder| holder.describe()),
                true,
            )
        }
        Err(error) => Check::new("lock", error.to_string(), false),
    }
}

/// Whether a megabyte can be written and synced where the store is, and how long a sync takes.
fn check_disk(place: &Place) -> Check {
    let probe = place.directory().join(format!("doctor-{}.tmp", std::process::id()));
    let started = Instant::now();
    let write = || {
        let mut file = std::fs::File::create_new(&probe)?;
        std::io::Write::write_all(&mut file, &vec![0; 1 << 20])?;
        file.sync_all()
    };
    let written = write();
    let took = started.elapsed();
    // It may not have been made.
    let _ = std::fs::remove_file(&probe);
    match written {
        Ok(()) => Check::new("disk", format!("1 MiB written and synced in {took:.1?}"), true),
        Err(error) => Check::new(
            "disk",
            format!("cannot write to {}: {error}", place.directory().display()),
            false,
        ),
    }
}

/// The settings that the promises rest on, as a connection to this file gets them.
async fn check_settings(place: &Place) -> Result<Vec<Check>, Failed> {
    let settings = Sqlite::settings_of(place.file()).await.map_err(PlaceError::from)?;
    Ok(settings
        .into_iter()
        .map(|setting| Check::new(setting.name, setting.found, setting.holds))
        .collect())
}

/// What the service says of itself, line by line.
async fn check_service(session: &Session) -> Result<Vec<Check>, Failed> {
    let reply = session.reply(Call::get("/readyz?verbose")).await?;
    let body = String::from_utf8_lossy(&reply.body).into_owned();
    let lines = body.lines().filter_map(|line| {
        let (mark, rest) = line.split_at_checked(3)?;
        let holds = match mark {
            "[+]" => true,
            "[-]" | "[!]" => false,
            _ => return None,
        };
        let (name, found) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(Check::new(name, found, holds))
    });
    let mut checks: Vec<Check> = lines.collect();
    checks.push(Check::new("ready", reply.status.to_string(), reply.status.is_success()));
    Ok(checks)
}
