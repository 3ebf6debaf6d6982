//! The yardstick and the SQL door, driven by pgbench on a local socket.

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use seriatim_servers_tests::Postgres;
use tempfile::TempDir;

use crate::figure::Measured;

/// What a team writes by hand: number and document in one transaction, and nothing else.
const HAND_MADE: &str = "\
\\set tenant random(1, :tenants)
begin;
update hand_made.counter set last_seq = last_seq + 1 where tenant = :tenant returning last_seq \\gset
insert into hand_made.invoice (tenant, number, document)
    values (:tenant, 'INV-' || :last_seq, '{\"total_minor\": 11800}');
commit;
";
/// The same without its round trips, so that nothing is measured but the server.
const HAND_MADE_AT_ONCE: &str = "\
\\startpipeline
begin;
update hand_made.counter set last_seq = last_seq + 1 where tenant = 1 returning last_seq;
insert into hand_made.invoice (tenant, number, document)
    values (1, 'INV-' || (select last_seq from hand_made.counter where tenant = 1), '{\"total_minor\": 11800}');
commit;
\\endpipeline
";
const NEXT: &str = "select seriatim.next('invoice');\n";
const NEXT_WITH_KEY: &str = "\
\\set draw random(1, 9000000000000000000)
select seriatim.next('invoice', key => 'pay_' || :draw::text);
";

/// A transaction that pgbench repeats.
#[derive(Clone, Copy)]
pub enum Script {
    /// BEGIN; UPDATE … RETURNING; INSERT; COMMIT, over so many counters.
    HandMade { tenants: u32 },
    /// The same over one counter, sent together.
    HandMadeAtOnce,
    /// `seriatim.next()` without a key.
    Next,
    /// `seriatim.next()` with a key that was never used.
    NextWithKey,
}

impl Script {
    fn text(self) -> &'static str {
        match self {
            Self::HandMade { .. } => HAND_MADE,
            Self::HandMadeAtOnce => HAND_MADE_AT_ONCE,
            Self::Next => NEXT,
            Self::NextWithKey => NEXT_WITH_KEY,
        }
    }
}

/// Makes the tables of the yardstick.
pub fn prepare(server: &Postgres, database: &str) {
    server.psql(
        database,
        "create schema hand_made;
         create table hand_made.counter (tenant integer primary key, last_seq bigint not null) with (fillfactor = 50);
         insert into hand_made.counter select tenant, 0 from generate_series(1, 1000) tenant;
         create table hand_made.invoice (
             id bigint generated always as identity primary key, tenant integer not null, number text not null,
             document text not null, at timestamptz not null default clock_timestamp(), unique (tenant, number));",
    );
}

/// Repeats a transaction from so many clients for a while.
pub fn run(server: &Postgres, database: &str, script: Script, clients: u32, seconds: u32) -> Result<Measured> {
    let folder = folder()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script.text())?;
    let tenants = match script {
        Script::HandMade { tenants } => tenants,
        Script::HandMadeAtOnce | Script::Next | Script::NextWithKey => 1,
    };
    let output = server
        .program("pgbench")
        .current_dir(folder.path())
        .args(["--no-vacuum", "--protocol=prepared", "--log", "--log-prefix=took"])
        .args(["--client", &clients.to_string(), "--jobs", &clients.min(2).to_string()])
        .args([
            "--time",
            &seconds.to_string(),
            "--define",
            &format!("tenants={tenants}"),
        ])
        .arg("--file")
        .arg(&file)
        .arg(database)
        .output()
        .context("pgbench cannot be started")?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let rate = said
        .lines()
        .find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    Ok(Measured {
        rate: rate.with_context(|| format!("pgbench gives no rate: {said}"))?,
        took: took(&folder)?,
    })
}

/// pgbench may run as another user, who must be able to write here.
fn folder() -> Result<TempDir> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777))?;
    Ok(folder)
}

/// Client, number of the transaction, microseconds …: one line a transaction.
fn took(folder: &TempDir) -> Result<Histogram<u64>> {
    let mut took = Histogram::new(3)?;
    for file in std::fs::read_dir(folder.path())? {
        let path = file?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("took"))
        {
            for line in std::fs::read_to_string(&path)?.lines() {
                let micros = line.split(' ').nth(2).and_then(|micros| micros.parse().ok());
                took.record(micros.with_context(|| format!("pgbench logs {line}"))?)?;
            }
        }
    }
    Ok(took)
}
