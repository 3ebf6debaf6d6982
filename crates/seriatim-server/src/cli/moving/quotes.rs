//! Quotes of a CSV file, watched while it is read: one that is out of place would swallow the rows behind it. And in
//! which line each row begins, which nobody else knows who has skipped empty lines.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::rc::Rc;

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
    /// Before a row; empty lines are none.
    RowStart,
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
    before: u8,
    rows: RowLines,
}

/// The lines of the rows that were read ahead, the next one in front.
#[derive(Clone, Default)]
pub struct RowLines(Rc<RefCell<VecDeque<u64>>>);

impl RowLines {
    /// The line in which the next row begins.
    pub fn next(&self) -> Option<u64> {
        self.0.borrow_mut().pop_front()
    }
}

/// Spreadsheets put it first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl<R> Quotes<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            at: At::RowStart,
            bytes: 0,
            line: 1,
            opened: 1,
            before: 0,
            rows: RowLines::default(),
        }
    }

    /// In which lines rows begin, each to be asked for once.
    pub fn row_lines(&self) -> RowLines {
        self.rows.clone()
    }

    fn step(&mut self, byte: u8) -> Result<(), Misquoted> {
        let is_mark = BYTE_ORDER_MARK.get(self.bytes) == Some(&byte);
        self.bytes += 1;
        if is_mark {
            return Ok(());
        }
        if self.at == At::RowStart && !matches!(byte, b'\r' | b'\n') {
            self.rows.0.borrow_mut().push_back(self.line);
        }
        self.at = match (self.at, byte) {
            (At::RowStart | At::FieldStart, b'"') => {
                self.opened = self.line;
                At::Quoted
            }
            (At::Quoted, b'"') => At::Closed,
            (At::Quoted, _) | (At::Closed, b'"') => At::Quoted,
            (_, b'\r' | b'\n') => At::RowStart,
            (_, b',') => At::FieldStart,
            (At::RowStart | At::FieldStart | At::Bare, _) => At::Bare,
            (At::Closed, _) => return Err(Misquoted::TextBehind(self.opened, self.line)),
        };
        let is_second = byte == b'\n' && self.before == b'\r';
        self.line += u64::from(matches!(byte, b'\r' | b'\n') && !is_second);
        self.before = byte;
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
