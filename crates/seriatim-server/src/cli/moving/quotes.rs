//! Quotes of a CSV file, watched while it is read: one that is out of place would swallow the rows behind it.

use std::io::{self, Read};

/// Where a quote is out of place.
#[derive(Debug, thiserror::Error)]
pub enum Misquoted {
    /// It never ends.
    #[error("line {0}: a quote opens here and is never closed, so that the rows behind it are none")]
    Open(u64),
    /// Its field goes on behind it.
    #[error(
        "line {0}: a quote opens here, and text follows where it is closed in line {1}; a quote in a text is written twice"
    )]
    TextBehind(u64, u64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    FieldStart,
    Bare,
    Quoted,
    /// Behind a quote within quotes: the end of the field, or the first of two.
    Closed,
}

/// A reader that fails where a quote is out of place; the cause is a [`Misquoted`].
pub struct Quotes<R> {
    inner: R,
    at: At,
    bytes: usize,
    line: u64,
    opened: u64,
}

/// Spreadsheets put it first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R> Quotes<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            at: At::FieldStart,
            bytes: 0,
            line: 1,
            opened: 1,
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Misquoted> {
        let is_mark = BYTE_ORDER_MARK.get(self.bytes) == Some(&byte);
        self.bytes += 1;
        self.at = match (self.at, byte) {
            _ if is_mark => At::FieldStart,
            (At::FieldStart, b'"') => {
                self.opened = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Closed, b'"') => At::Quoted,
            (At::FieldStart | At::Bare | At::Closed, b',' | b'\r' | b'\n') => At::FieldStart,
            (At::FieldStart | At::Bare, _) => At::Bare,
            (At::Closed, _) => return Err(Misquoted::TextBehind(self.opened, self.line)),
        };
        self.line += u64::from(byte == b'\n');
        Ok(())
    }
}

impl<R: Read> Read for Quotes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if read == 0 && self.at == At::Quoted {
            return Err(io::Error::other(Misquoted::Open(self.opened)));
        }
        for byte in &buffer[..read] {
            self.step(*byte).map_err(io::Error::other)?;
        }
        Ok(read)
    }
}
