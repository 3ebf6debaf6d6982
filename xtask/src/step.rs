//! One command of a chore: said aloud, run at the root, and fatal if it fails.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

pub struct Step {
    command: Command,
    said: String,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// A cargo command, with the cargo that runs this.
pub fn cargo(arguments: &[&str]) -> Step {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    Step::new(&cargo, "cargo", arguments)
}

/// Any other program.
pub fn program(name: &str, arguments: &[&str]) -> Step {
    Step::new(OsStr::new(name), name, arguments)
}

/// Installs a Debian package if its program is not there; as root only, for a bare machine of CI.
pub fn ensure(name: &str, package: &str) -> Result<()> {
    let is_there = Command::new(name).arg("--version").output().is_ok();
    if is_there {
        return Ok(());
    }
    program("apt-get", &["update", "-qq"]).run()?;
    program("apt-get", &["install", "-y", "-qq", package])
        .run()
        .with_context(|| format!("install {name} and try again"))
}

impl Step {
    fn new(program: &OsStr, name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(root());
        Self {
            command,
            said: format!("{name} {}", arguments.join(" ")),
        }
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        for argument in arguments {
            self.said = format!("{} {argument}", self.said);
            self.command.arg(argument);
        }
        self
    }

    pub fn run(mut self) -> Result<()> {
        eprintln!("\n==> {}", self.said);
        let started = Instant::now();
        let status = self
            .command
            .status()
            .with_context(|| format!("cannot start {}", self.said))?;
        ensure!(status.success(), "failed: {} ({status})", self.said);
        eprintln!("    done in {:.1} s", started.elapsed().as_secs_f64());
        Ok(())
    }
}
