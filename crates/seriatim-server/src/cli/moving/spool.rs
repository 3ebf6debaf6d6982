//! Rows that wait on disk: what was checked is what is written, and a million rows need no memory.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, SeekFrom, Write as _};

use super::row::Row;

/// Rows in the order in which they came, in a file without a name.
pub struct Spool {
    file: BufWriter<File>,
    end: u64,
    /// How many rows.
    pub count: u64,
}

impl Spool {
    /// An empty one, where temporary files are.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::new(tempfile::tempfile()?),
            end: 0,
            count: 0,
        })
    }

    /// One more row.
    pub fn push(&mut self, row: &Row) -> io::Result<()> {
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.end += line.len() as u64;
        self.count += 1;
        Ok(())
    }

    /// Reads from the front.
    pub fn reader(&mut self) -> io::Result<Reader> {
        self.file.flush()?;
        let mut file = self.file.get_ref().try_clone()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Reader {
            // Large, for what is read in the order of seqs lies close together in most tables.
            file: BufReader::with_capacity(256 * 1024, file),
            at: 0,
            end: self.end,
            line: Vec::new(),
        })
    }
}

/// A way through the rows. Two readers of one spool share its place: use one after the other.
pub struct Reader {
    file: BufReader<File>,
    at: u64,
    end: u64,
    line: Vec<u8>,
}

impl Reader {
    /// The next row with its place.
    pub fn next(&mut self) -> io::Result<Option<(u64, Row)>> {
        if self.at >= self.end {
            return Ok(None);
        }
        let place = self.at;
        self.line.clear();
        self.at += self.file.read_until(b'\n', &mut self.line)? as u64;
        Ok(Some((place, serde_json::from_slice(&self.line)?)))
    }

    /// Goes back to the front.
    pub fn rewind(&mut self) -> io::Result<()> {
        self.at = 0;
        self.file.seek(SeekFrom::Start(0)).map(drop)
    }

    /// The row at a place.
    pub fn at(&mut self, place: u64) -> io::Result<Row> {
        let ahead = i64::try_from(place).unwrap_or(0) - i64::try_from(self.at).unwrap_or(0);
        self.file.seek_relative(ahead)?;
        self.at = place;
        let row = self.next()?;
        row.map(|(_, row)| row)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back_in_order_and_by_place() {
        let mut spool = Spool::new().expect("a file");
        for line in 1..=1000 {
            let row = Row {
                line,
                number: format!("INV-{line}\n\"ä\""),
                ..Row::default()
            };
            spool.push(&row).expect("room");
        }
        let mut reader = spool.reader().expect("a reader");
        let mut places = Vec::new();
        while let Some((place, row)) = reader.next().expect("a row") {
            assert_eq!(row.line, places.len() as u64 + 1);
            places.push(place);
        }
        for line in [1000, 1, 500, 501, 2] {
            assert_eq!(reader.at(places[line - 1]).expect("a row").line, line as u64);
        }
    }
}
