//! Frames over a pipe, with a deadline: four bytes of length, then so many bytes.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Larger than any receipt; a child that says more is broken.
pub(crate) const FRAME_MAX: usize = 64 << 20;

/// Our end of a pipe to a child that may have stopped reading or writing.
pub(crate) struct Pipe {
    end: OwnedFd,
}

impl Pipe {
    /// Only our end does not block; the child's is another open file.
    pub(crate) fn new(end: impl Into<OwnedFd>) -> io::Result<Self> {
        let end = end.into();
        let flags = rustix::fs::fcntl_getfl(&end)?;
        rustix::fs::fcntl_setfl(&end, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self { end })
    }

    pub(crate) fn write_frame(&self, frame: &[u8], until: Instant) -> io::Result<()> {
        self.write(&length(frame)?, until)?;
        self.write(frame, until)
    }

    pub(crate) fn read_frame(&self, until: Instant) -> io::Result<Vec<u8>> {
        let mut head = [0; 4];
        self.read(&mut head, until)?;
        let mut frame = vec![0; size(head)?];
        self.read(&mut frame, until)?;
        Ok(frame)
    }

    /// What is there, without waiting.
    pub(crate) fn drain(&self, bytes_max: usize) -> String {
        let mut said = vec![0; bytes_max];
        let count = rustix::io::read(&self.end, &mut said).unwrap_or(0);
        said.truncate(count);
        String::from_utf8_lossy(&said).into_owned()
    }

    fn write(&self, mut bytes: &[u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait(PollFlags::OUT, until)?;
            match rustix::io::write(&self.end, bytes) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn read(&self, mut bytes: &mut [u8], until: Instant) -> io::Result<()> {
        while !bytes.is_empty() {
            self.wait(PollFlags::IN, until)?;
            match rustix::io::read(&self.end, &mut *bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => bytes = bytes.get_mut(count..).unwrap_or_default(),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn wait(&self, what: PollFlags, until: Instant) -> io::Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let timeout = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
            match poll(&mut [PollFd::from_borrowed_fd(self.end.as_fd(), what)], Some(&timeout)) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The child's side: it may wait for ever, its parent has the watch. Nothing if the parent is gone.
pub(crate) fn receive(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut frame = vec![0; size(head)?];
    from.read_exact(&mut frame)?;
    Ok(Some(frame))
}

pub(crate) fn send(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    to.write_all(&length(frame)?)?;
    to.write_all(frame)?;
    to.flush()
}

fn length(frame: &[u8]) -> io::Result<[u8; 4]> {
    let is_small = frame.len() <= FRAME_MAX;
    let length = u32::try_from(frame.len()).ok().filter(|_| is_small);
    let length = length.ok_or_else(|| io::Error::other(format!("{} bytes are too many", frame.len())))?;
    Ok(length.to_be_bytes())
}

fn size(head: [u8; 4]) -> io::Result<usize> {
    let size = usize::try_from(u32::from_be_bytes(head)).ok();
    let small = size.filter(|size| *size <= FRAME_MAX);
    small.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"))
}
