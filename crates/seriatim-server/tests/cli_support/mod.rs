//! A place to work in, the real binary in it, and a server when one is needed.
#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A directory of one test, and what is run in it.
pub struct Desk {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// What it said on stdout; it must have ended well.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// The whole of it, as a person sees it on a terminal.
    pub fn seen(&self) -> String {
        format!("{}{}exit {}\n", self.stderr, self.stdout, self.code)
    }
}

impl Desk {
    pub fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The binary in this directory, in an environment that says nothing.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seriatim"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .stdin(Stdio::null());
        // The machine's zone must not matter.
        command.env("TZ", "America/Los_Angeles").env("COLUMNS", "100");
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        ran(self.command(arguments))
    }

    /// A command that must end well; what it said on stdout.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        ran(command)
    }

    pub fn run_with_stdin(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        finished(child)
    }

    /// As a user for whom permissions count: not as root, if that is who tests.
    pub fn run_as_nobody(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        ran(command)
    }

    /// Gives a file or directory to that user, with this mode.
    pub fn give_to_nobody(&self, name: &str, mode: u32) {
        let path = self.path().join(name);
        if is_root() {
            std::os::unix::fs::chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    /// With a disk that is full behind stdout.
    pub fn run_into_full(&self, arguments: &[&str]) -> Ran {
        let mut command = self.command(arguments);
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        finished(command.stdout(full).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// A server on the usual data directory and a free port.
    pub fn serve(&self) -> Server {
        self.serve_with(&[], &[])
    }

    pub fn serve_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Server {
        let mut command = self.command(&["serve", "--http-addr", "127.0.0.1:0"]);
        command.args(arguments).envs(variables.iter().copied());
        Server::start(command)
    }
}

const NOBODY: u32 = 65_534;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn ran(mut command: Command) -> Ran {
    finished(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

fn finished(child: Child) -> Ran {
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running `seriatim serve`.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub url: String,
    said: Arc<Mutex<String>>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let said = Arc::new(Mutex::new(String::new()));
        let (found, url) = mpsc::channel();
        let heard = said.clone();
        let json = command.get_args().any(|argument| argument == "json");
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                heard.lock().unwrap().push_str(&format!("{line}\n"));
                let greeting = line.trim().strip_prefix("Health     ");
                let url = match greeting {
                    // Comes last but for the key: by then the address is known.
                    Some(url) => url.split("/livez").next(),
                    None if json => line
                        .split("\"address\":\"")
                        .nth(1)
                        .and_then(|rest| rest.split('"').next()),
                    None => None,
                };
                if let Some(url) = url {
                    // The test may be over already.
                    let _ = found.send(url.to_string());
                }
            }
        });
        let Ok(url) = url.recv_timeout(Duration::from_secs(20)) else {
            let _ = child.kill();
            panic!("the server did not start: {}", said.lock().unwrap());
        };
        Self { child, url, said }
    }

    /// What it has said until now.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said something with this in it; that line.
    pub fn says(&self, wanted: &str) -> String {
        let started = Instant::now();
        loop {
            if let Some(line) = self.said().lines().find(|line| line.contains(wanted)) {
                return line.to_string();
            }
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "no `{wanted}` in {}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end, as a service manager does; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same text without what differs from run to run: times, today, who runs it, hashes, secrets.
pub fn timeless(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_'))) {
        let bare = word.trim_end_matches(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '.' | '_')));
        let rest = &word[bare.len()..];
        out.push_str(if is_time(bare) {
            "<time>"
        } else if is_today(bare) {
            "<today>"
        } else if bare.starts_with("os:") {
            "os:me"
        } else if is_hash(bare) {
            "<hash>"
        } else if bare.starts_with("srt_") {
            "<secret>"
        } else {
            bare
        });
        out.push_str(rest);
    }
    out
}

fn is_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    let is_micros = bytes.len() == 16 && bytes.iter().all(u8::is_ascii_digit);
    is_micros
        || bytes.len() >= 20 && bytes[10] == b'T' && word.ends_with('Z') && bytes[..4].iter().all(u8::is_ascii_digit)
}

/// Every date that a test writes is in 2025 or at the end of a fiscal year.
fn is_today(word: &str) -> bool {
    let is_date =
        word.len() == 10 && word.matches('-').count() == 2 && word.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    is_date && !word.starts_with("2025-")
}

fn is_hash(word: &str) -> bool {
    matches!(word.len(), 64 | 128) && word.bytes().all(|b| b.is_ascii_hexdigit())
}
