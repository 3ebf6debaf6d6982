//! The process that renders: the same binary, called with a hidden argument. It limits itself before it looks at a
//! template, keeps fonts and template warm, and ends with its parent.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::error::RenderError;
use crate::folder::Folder;
use crate::pipe;
use crate::template::{Job, Template};

/// The first frame; the bytes of the files are the second, one after the other.
#[derive(Serialize, Deserialize)]
pub(crate) struct Start {
    pub memory_max: u64,
    pub start_within: Duration,
    pub render_within: Duration,
    pub path: PathBuf,
    pub files: Vec<(String, usize)>,
}

/// One answer: a PDF, or why there is none.
pub(crate) type Answer = Result<Vec<u8>, RenderError>;

const PDF: u8 = b'P';
const ERROR: u8 = b'E';

/// Renders for the parent that started it, until that closes the pipe. For a hidden command of a binary.
pub fn child_main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot render receipts: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut from = io::stdin().lock();
    let mut to = io::stdout().lock();
    let Some(start) = pipe::receive(&mut from)? else {
        return Ok(());
    };
    let start: Start = serde_json::from_slice(&start)?;
    limit_memory(start.memory_max)?;
    limit_time(start.start_within)?;
    let Some(bytes) = pipe::receive(&mut from)? else {
        return Ok(());
    };
    let template = match Template::load(unpack(&start, &bytes)?) {
        Ok(template) => template,
        Err(error) => return pipe::send(&mut to, &encode(Err(error))?),
    };
    pipe::send(&mut to, &encode(Ok(Vec::new()))?)?;
    while let Some(job) = pipe::receive(&mut from)? {
        limit_time(start.render_within)?;
        let job: Job = serde_json::from_slice(&job)?;
        pipe::send(&mut to, &encode(template.make(&job))?)?;
    }
    Ok(())
}

fn limit_memory(bytes: u64) -> io::Result<()> {
    let limit = Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    setrlimit(Resource::As, limit)?;
    // A template that runs out of memory is no crash that anybody wants on disk.
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // It writes no file, whatever happens.
    Ok(setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?)
}

/// The parent kills at the deadline. Should it be gone by then, the kernel does, a little later.
fn limit_time(within: Duration) -> io::Result<()> {
    let used = u64::try_from(clock_gettime(ClockId::ProcessCPUTime).tv_sec).unwrap_or(0);
    let limit = Rlimit {
        current: Some(used + within.as_secs() + 2),
        maximum: getrlimit(Resource::Cpu).maximum,
    };
    Ok(setrlimit(Resource::Cpu, limit)?)
}

pub(crate) fn pack(folder: &Folder) -> (Vec<(String, usize)>, Vec<u8>) {
    let files = folder.files.iter().map(|(name, bytes)| (name.clone(), bytes.len()));
    (files.collect(), folder.files.values().flatten().copied().collect())
}

fn unpack(start: &Start, mut bytes: &[u8]) -> io::Result<Folder> {
    let mut files = BTreeMap::new();
    for (name, size) in &start.files {
        let (file, rest) = bytes
            .split_at_checked(*size)
            .ok_or_else(|| io::Error::other("the template is cut off"))?;
        files.insert(name.clone(), file.to_vec());
        bytes = rest;
    }
    let path = start.path.clone();
    Ok(Folder { path, files })
}

fn encode(answer: Answer) -> io::Result<Vec<u8>> {
    let (kind, mut body) = match answer {
        Ok(pdf) => (PDF, pdf),
        Err(error) => (ERROR, serde_json::to_vec(&error)?),
    };
    body.insert(0, kind);
    Ok(body)
}

pub(crate) fn decode(frame: Vec<u8>) -> io::Result<Answer> {
    match frame.split_first() {
        Some((&PDF, pdf)) => Ok(Ok(pdf.to_vec())),
        Some((&ERROR, error)) => Ok(Err(serde_json::from_slice(error)?)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "an answer of no kind")),
    }
}
