//! What the promises rest on, as this server is set up now.

use std::time::Duration;

use tracing::warn;

use super::PostgresOptions;
use super::connection::Connection;
use super::fault::Fault;
use super::open::OpenError;
use super::params::values;
use super::place::Place;
use super::rows::Columns;
use crate::store::Setting;

const FIND_SETTINGS: &str = include_str!("queries/find_settings.sql");

/// The setting that is only warned of outside production: a standby that may lack what was acknowledged.
const REPLICATION: &str = "synchronous_replication";
const FSYNC: &str = "fsync";
const FULL_PAGE_WRITES: &str = "full_page_writes";
/// Not a setting but a state: it is refused when a number is asked for, not when the store is opened.
const FENCE: &str = "fence";

const SERVER: &str = "server";

/// The settings that can be accepted by name, although they break a promise.
pub const ACCEPTABLE: [&str; 4] = [FSYNC, FULL_PAGE_WRITES, SERVER, REPLICATION];

pub(super) async fn find(connection: &mut Connection, within: Duration) -> Result<Vec<Setting>, Fault> {
    let rows = connection.query(FIND_SETTINGS, values![], within).await?;
    let row = rows
        .first()
        .ok_or_else(|| Fault::damage("the server says nothing of its settings"))?;
    let mut columns = Columns::new("pg_settings", row);
    let fsync = on(FSYNC, columns.text()?);
    let pages = on(FULL_PAGE_WRITES, columns.text()?);
    let commit = columns.text()?;
    let names = columns.text()?;
    let is_standby = columns.boolean()?;
    let version = columns.text()?;
    let standbys = columns.integer()?;
    let problem = columns.text_if_any()?;
    let commit = Setting {
        name: "synchronous_commit",
        // Each transaction of ours sets it for itself.
        found: format!("on (set by each transaction; the role has {commit})"),
        holds: true,
    };
    let replication = match (names.trim(), standbys) {
        ("", 0) => ("no standby".to_string(), true),
        ("", standbys) => (
            format!("{standbys} asynchronous: after a failover, numbers that were handed out may be gone"),
            false,
        ),
        (names, _) => (format!("synchronous: {names}"), true),
    };
    Ok(vec![
        fsync,
        pages,
        commit,
        Setting {
            name: SERVER,
            found: format!("{version}, {}", if is_standby { "standby" } else { "primary" }),
            holds: !is_standby,
        },
        Setting {
            name: REPLICATION,
            found: replication.0,
            holds: replication.1,
        },
        Setting {
            name: FENCE,
            found: problem.unwrap_or("open").to_string(),
            holds: problem.is_none(),
        },
    ])
}

fn on(name: &'static str, found: &str) -> Setting {
    Setting {
        name,
        found: found.to_string(),
        holds: found == "on",
    }
}

/// What has been changed since the store was opened and was not accepted by name: without it a crash of the server
/// would lose what is acknowledged.
pub(super) fn broken(fsync: &str, pages: &str, options: &PostgresOptions) -> Option<String> {
    let settings = [on(FSYNC, fsync), on(FULL_PAGE_WRITES, pages)];
    let broken = settings
        .iter()
        .find(|setting| !setting.holds && !options.accept.contains(setting.name))?;
    let Setting { name, found, .. } = broken;
    Some(format!(
        "{name} is {found}, which breaks a promise; change it back, or {}",
        by_name(name)
    ))
}

fn by_name(setting: &str) -> String {
    format!("accept it by name: SERIATIM_ACCEPT={setting}, or `serve --accept {setting}`")
}

/// Refuses what would break a promise, unless it was accepted by name.
pub(super) fn require(settings: &[Setting], options: &PostgresOptions, place: &Place) -> Result<(), OpenError> {
    for setting in settings
        .iter()
        .filter(|setting| !setting.holds && setting.name != FENCE)
    {
        let is_accepted = options.accept.contains(setting.name);
        let is_warning = setting.name == REPLICATION && !options.production;
        if !is_accepted && !is_warning {
            return Err(OpenError::Setting(format!(
                "{place} has {} {}, which breaks a promise; change it, or {}",
                setting.name,
                setting.found,
                by_name(setting.name)
            )));
        }
        warn!(place = %place, setting = setting.name, found = %setting.found, "a setting breaks a promise");
    }
    Ok(())
}
