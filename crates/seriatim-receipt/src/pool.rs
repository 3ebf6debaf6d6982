//! Child processes that render, each warm, each with a deadline and a limit of memory. One that dies is replaced.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::child::{self, Answer, Start};
use crate::error::RenderError;
use crate::folder::Folder;
use crate::pipe::Pipe;
use crate::receipt::Receipt;
use crate::template::Job;

/// How a pool starts its children and what they may use.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// The program that calls [`crate::child_main`], usually the one that runs.
    pub program: PathBuf,
    /// Its arguments, the hidden command.
    pub arguments: Vec<OsString>,
    /// At most so many children. The first starts with the pool, the others when they are needed.
    pub children_max: usize,
    /// A receipt that takes longer is stopped.
    pub render_within: Duration,
    /// A child that is not ready by then is stopped.
    pub start_within: Duration,
    /// A caller that finds no child free by then is told.
    pub wait_max: Duration,
    /// Address space of one child in bytes: what the program maps counts, too.
    pub memory_max: u64,
}

impl PoolOptions {
    /// Two children of the program with these arguments, 10 seconds and 512 MiB each.
    pub fn new(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
            children_max: 2,
            render_within: Duration::from_secs(10),
            start_within: Duration::from_secs(30),
            wait_max: Duration::from_secs(30),
            memory_max: 512 << 20,
        }
    }
}

/// Renders receipts in child processes.
pub struct Pool {
    folder: Folder,
    options: PoolOptions,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Worker>,
    /// Idle, at work, or about to start.
    alive: usize,
}

impl Pool {
    /// Starts the first child, which compiles the template with sample data: what is wrong with a template is known now
    /// and not at the first payment.
    ///
    /// Errors: what is wrong with the template, with file, line and column; it takes too long or too much memory; the
    /// program cannot be started.
    pub fn start(folder: Folder, options: PoolOptions) -> Result<Self, RenderError> {
        let first = Worker::start(&folder, &options)?;
        let state = State {
            idle: vec![first],
            alive: 1,
        };
        Ok(Self {
            folder,
            options,
            state: Mutex::new(state),
            freed: Condvar::new(),
        })
    }

    /// The PDF of a receipt: the same bytes for the same receipt. Blocks until it is there or the deadline has passed.
    ///
    /// Errors: the template does not fit this receipt; it took too long or too much memory; no child was free in time.
    pub fn render(&self, receipt: &Receipt) -> Result<Vec<u8>, RenderError> {
        let job = serde_json::to_vec(&Job::of(receipt)).map_err(|error| RenderError::Internal(error.to_string()))?;
        let mut seat = self.seat()?;
        let mut worker = match seat.worker.take() {
            Some(worker) => worker,
            None => Worker::start(&self.folder, &self.options)?,
        };
        let answer = worker.ask(&job, &self.options)?;
        seat.worker = Some(worker);
        answer
    }

    /// The process ids of the children that wait for work, for those who measure or watch.
    pub fn idle(&self) -> Vec<u32> {
        self.state().idle.iter().map(|worker| worker.child.id()).collect()
    }

    fn seat(&self) -> Result<Seat<'_>, RenderError> {
        let is_full = |state: &mut State| state.idle.is_empty() && state.alive >= self.options.children_max.max(1);
        let waited = self
            .freed
            .wait_timeout_while(self.state(), self.options.wait_max, is_full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if is_full(&mut state) {
            let problem = format!("no child process was free within {:?}", self.options.wait_max);
            return Err(RenderError::Unavailable(problem));
        }
        // One that was killed while it was idle is no fault of the next receipt.
        while let Some(mut worker) = state.idle.pop() {
            if worker.is_alive() {
                return Ok(Seat {
                    pool: self,
                    worker: Some(worker),
                });
            }
            state.alive -= 1;
        }
        state.alive += 1;
        Ok(Seat {
            pool: self,
            worker: None,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the pool. Given back with a worker that goes on, or without one that was stopped.
struct Seat<'a> {
    pool: &'a Pool,
    worker: Option<Worker>,
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        match self.worker.take() {
            Some(worker) => state.idle.push(worker),
            None => state.alive -= 1,
        }
        drop(state);
        self.pool.freed.notify_one();
    }
}

struct Worker {
    child: Child,
    to: Pipe,
    from: Pipe,
    said: Pipe,
}

impl Worker {
    fn start(folder: &Folder, options: &PoolOptions) -> Result<Self, RenderError> {
        let mut worker = Self::spawn(options).map_err(|error| {
            let problem = format!("cannot start {}: {error}", options.program.display());
            RenderError::Unavailable(problem)
        })?;
        let (files, bytes) = child::pack(folder);
        let start = Start {
            memory_max: options.memory_max,
            start_within: options.start_within,
            render_within: options.render_within,
            path: folder.path.clone(),
            files,
        };
        let start = serde_json::to_vec(&start).map_err(|error| RenderError::Internal(error.to_string()))?;
        let within = options.start_within;
        let answer = worker.exchange(&[&start, &bytes], within, options)?;
        answer.map(|_| worker)
    }

    /// Without our environment: a template needs no secret of the server.
    fn spawn(options: &PoolOptions) -> io::Result<Self> {
        let mut child = Command::new(&options.program)
            .args(&options.arguments)
            .env_clear()
            // One thread and one arena, so that the limit is of what is used and not of what is set aside.
            .env("RAYON_NUM_THREADS", "1")
            .env("MALLOC_ARENA_MAX", "1")
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let missing = || io::Error::other("no pipe");
        let to = child.stdin.take().ok_or_else(missing)?;
        let from = child.stdout.take().ok_or_else(missing)?;
        let said = child.stderr.take().ok_or_else(missing)?;
        Ok(Self {
            child,
            to: Pipe::new(to)?,
            from: Pipe::new(from)?,
            said: Pipe::new(said)?,
        })
    }

    fn ask(&mut self, job: &[u8], options: &PoolOptions) -> Result<Answer, RenderError> {
        self.exchange(&[job], options.render_within, options)
    }

    /// The outer error: this worker is of no more use.
    fn exchange(&mut self, frames: &[&[u8]], within: Duration, options: &PoolOptions) -> Result<Answer, RenderError> {
        let until = Instant::now() + within;
        let sent = frames.iter().try_for_each(|frame| self.to.write_frame(frame, until));
        let answer = sent.and_then(|()| self.from.read_frame(until)).and_then(child::decode);
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => RenderError::TooSlow { after: within },
            _ => self.died(options),
        })
    }

    fn died(&mut self, options: &PoolOptions) -> RenderError {
        let status = self.stop();
        RenderError::Died {
            status: status.map_or_else(|| "unknown".to_string(), ended),
            memory_max: options.memory_max,
            said: self.said.drain(LAST_WORDS_MAX),
        }
    }

    fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn stop(&mut self) -> Option<ExitStatus> {
        // It may have ended by itself: its own status says more than ours. The pipe closes a moment before.
        for _ in 0..50 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.kill()
    }

    fn kill(&mut self) -> Option<ExitStatus> {
        let _ = self.child.kill();
        self.child.wait().ok()
    }
}

const LAST_WORDS_MAX: usize = 2_000;

fn ended(status: ExitStatus) -> String {
    match status.signal() {
        Some(signal) => format!("signal {signal}"),
        None => status.to_string(),
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
    }
}
