//! The real binary in a directory of its own.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A directory, and what is run in it.
pub struct Desk {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The binary lies beside the tests; `cargo build` makes it.
fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a file");
    let built = own.ancestors().nth(2).expect("target/debug").join("seriatim");
    assert!(
        built.exists(),
        "{} is not there; run cargo build first",
        built.display()
    );
    built
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
        }
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        command
            .env_clear()
            .env("TZ", "America/Los_Angeles")
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        let output = self.command(arguments).output().expect("it can be started");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A script of a guide, in which commands are found by their names.
    pub fn sh(&self, script: &str, variables: &[(&str, &str)]) -> Ran {
        let binary = binary();
        let own = binary.parent().expect("a folder").to_path_buf();
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let paths = std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&paths)));
        let mut command = Command::new("sh");
        command
            .args(["-ec", script])
            .current_dir(self.folder.path())
            .env_clear();
        command.env("PATH", paths.expect("paths")).stdin(Stdio::null());
        let output = command.envs(variables.iter().copied()).output().expect("a shell");
        Ran {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A command that runs beside others.
    #[allow(dead_code, reason = "each test binary uses its own part of this")]
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it can be started")
    }

    /// A command that must end well; what it said on stdout.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        ran.stdout
    }

    /// The service on a free port.
    pub fn serve(&self) -> Service {
        self.serve_with(&[], &[])
    }

    /// The service on a free port, with more flags and variables.
    pub fn serve_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Service {
        match self.try_serve(flags, variables) {
            Ok(service) => service,
            Err(ran) => panic!("it did not start: {ran:?}"),
        }
    }

    /// The same; or what it said when it did not start.
    pub fn try_serve(&self, flags: &[&str], variables: &[(&str, &str)]) -> Result<Service, Ran> {
        let serve = ["serve", "--http-addr", "127.0.0.1:0", "--shutdown-delay", "0s"];
        let mut command = self.command(&[&serve, flags].concat());
        command.envs(variables.iter().copied());
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it can be started");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok);
        let mut said = Vec::new();
        let health = lines.find_map(|line| {
            said.push(line.clone());
            Some(line.trim().strip_prefix("Health     ")?.to_string())
        });
        let Some(health) = health else {
            return Err(Ran {
                code: child.wait().expect("it ends").code().unwrap_or(-1),
                stdout: String::new(),
                stderr: said.join("\n"),
            });
        };
        let url = health.split("/livez").next().unwrap_or_default().to_string();
        // What it says further on must be read, or it would wait.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Service { child, url })
    }
}

/// A running service.
pub struct Service {
    child: Child,
    pub url: String,
}

impl Service {
    /// Its process id.
    #[allow(dead_code, reason = "each test binary uses its own part of this")]
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// As a service manager stops it: what is under way is ended.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill")
                .success()
        );
        self.child.wait().expect("it ends");
    }

    /// SIGKILL: no drain, no goodbye.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
