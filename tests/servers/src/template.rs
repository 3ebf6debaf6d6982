//! Where the programs of PostgreSQL are, as whom they run, and an empty cluster to copy: initdb takes a second.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const DEBIAN: &str = "/usr/lib/postgresql/15/bin";

/// The programs of the server: of `SERIATIM_TEST_POSTGRES_BIN`, else Debian's.
pub(crate) fn programs() -> PathBuf {
    std::env::var_os("SERIATIM_TEST_POSTGRES_BIN").map_or_else(|| PathBuf::from(DEBIAN), PathBuf::from)
}

/// Where a program is: a bundle of a server alone has no psql, and Debian's speaks to it as well.
fn path_of(name: &str) -> PathBuf {
    let own = programs().join(name);
    assert!(
        programs().join("postgres").exists(),
        "there is no PostgreSQL in {}; install Debian's postgresql-15 or set SERIATIM_TEST_POSTGRES_BIN",
        programs().display()
    );
    if own.exists() {
        own
    } else {
        Path::new(DEBIAN).join(name)
    }
}

/// A program of PostgreSQL, run as a user that may run it: the server refuses root.
pub(crate) fn program(name: &str) -> Command {
    let mut command = as_postgres(Command::new(path_of(name)));
    // Nothing of the environment may point it elsewhere.
    for name in [
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGDATABASE",
        "PGDATA",
        "PGPASSWORD",
        "PGSERVICE",
        "PGOPTIONS",
    ] {
        command.env_remove(name);
    }
    command.env("LC_ALL", "C.UTF-8").current_dir("/");
    command
}

/// A command that is run by `postgres`, if the tests run as root.
pub(crate) fn as_postgres(mut command: Command) -> Command {
    if let Some((user, group)) = other_user() {
        command.uid(user).gid(group);
    }
    command
}

/// Runs it to its end.
///
/// # Panics
/// It cannot be started, or it fails.
pub(crate) fn run(name: &str, arguments: &[&dyn AsRef<OsStr>]) -> Output {
    let mut command = program(name);
    command.args(arguments.iter().map(|argument| argument.as_ref()));
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "cannot start {name} of {}: {error}; install Debian's postgresql-15 or set SERIATIM_TEST_POSTGRES_BIN",
            programs().display()
        )
    });
    assert!(
        output.status.success(),
        "{name} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// `postgres`, if the tests run as root.
fn other_user() -> Option<(u32, u32)> {
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let user = id(&["-u", "postgres"]).expect("as root the tests need the user postgres");
    Some((user, id(&["-g", "postgres"]).unwrap_or(user)))
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Gives a folder to whoever runs the server.
pub(crate) fn hand_over(folder: &Path) {
    if let Some((user, group)) = other_user() {
        std::os::unix::fs::chown(folder, Some(user), Some(group)).expect("root may give a folder away");
    }
}

/// Copies the empty cluster to a folder that is not there yet.
pub(crate) fn copy_to(data: &Path) {
    copy(&template(), data);
}

/// Copies a cluster that is stopped.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut copy = as_postgres(Command::new("cp"));
    let copied = copy.args(["-a", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {}",
        from.display()
    );
}

/// The empty cluster, made once for all processes of this user and this version.
fn template() -> PathBuf {
    let version = run("postgres", &[&"--version"]);
    let version: String = String::from_utf8_lossy(&version.stdout)
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == '.')
        .collect();
    let user = other_user().map_or_else(|| id(&["-u"]).unwrap_or(0), |(user, _)| user);
    let at = std::env::temp_dir().join(format!("seriatim-tests-postgres-{version}-{user}"));
    if !at.exists() {
        make_template(&at);
    }
    let owner = std::fs::metadata(&at).expect("the empty cluster is there").uid();
    assert_eq!(owner, user, "{} belongs to somebody else", at.display());
    at
}

fn make_template(at: &Path) {
    let workshop = tempfile::tempdir().expect("a folder");
    hand_over(workshop.path());
    let data = workshop.path().join("data");
    run(
        "initdb",
        &[
            &"--pgdata",
            &data,
            &"--username=postgres",
            &"--encoding=UTF8",
            &"--locale=C.UTF-8",
            &"--auth=trust",
            &"--no-sync",
            &"--no-instructions",
        ],
    );
    // Whoever is first wins; the others take what is there.
    if let Err(error) = std::fs::rename(&data, at) {
        assert!(
            at.exists(),
            "cannot move {} to {}: {error}",
            data.display(),
            at.display()
        );
    }
}
