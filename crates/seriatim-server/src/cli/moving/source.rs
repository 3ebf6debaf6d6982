//! Where somebody else's numbers are: a table of a PostgreSQL database, or a CSV file.

use std::fs::File;
use std::io::Read;

use clap::Args;
use indicatif::ProgressBar;

use super::super::failed::Failed;
use super::quotes::{Misquoted, Quotes};
use super::row::Row;
use super::spool::Spool;
use super::table::Table;

/// Which columns say what.
#[derive(Args, Debug, Clone, Default)]
pub struct Columns {
    /// The table or view, e.g. invoices or billing.invoices; a name that has a dot in it goes in quotes
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// Column of the number [default in a file: number]
    #[arg(long, value_name = "COLUMN")]
    pub column: Option<String>,
    /// Column that says whose number it is [default in a file: tenant, if there is one]
    #[arg(long, value_name = "COLUMN")]
    pub tenant_column: Option<String>,
    /// Column of the document date; an instant counts in the series' time zone [default in a file: date]
    #[arg(long, value_name = "COLUMN")]
    pub date_column: Option<String>,
    /// Column of the business reference, which becomes the key [default in a file: key, if there is one]
    #[arg(long, value_name = "COLUMN")]
    pub key_column: Option<String>,
    /// Column of JSON to store with the number [default in a file: document, if there is one]
    #[arg(long, value_name = "COLUMN")]
    pub document_column: Option<String>,
    /// Column of a free reference [default in a file: reference, if there is one]
    #[arg(long, value_name = "COLUMN")]
    pub reference_column: Option<String>,
}

impl Columns {
    /// What each column says, in the order in which rows are read.
    pub fn named(&self) -> [(&'static str, Option<&str>); 6] {
        [
            ("number", self.column.as_deref()),
            ("tenant", self.tenant_column.as_deref()),
            ("date", self.date_column.as_deref()),
            ("key", self.key_column.as_deref()),
            ("document", self.document_column.as_deref()),
            ("reference", self.reference_column.as_deref()),
        ]
    }
}

/// A row of six texts in the order of [`Columns::named`]; nothing without a number, for that is a draft.
pub fn row(line: u64, texts: [Option<String>; 6]) -> Option<Row> {
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let [number, tenant, date, key, document, reference] = texts.map(given);
    Some(Row {
        line,
        number: number?,
        tenant,
        date,
        key,
        document,
        reference,
    })
}

/// Where the numbers are.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file; `-` is stdin.
    Csv(String),
    /// A database.
    Table(String),
}

/// What was read.
pub struct Rows {
    /// The rows.
    pub spool: Spool,
    /// How many had no number.
    pub drafts: u64,
    /// Whether there is a date in them.
    pub dated: bool,
}

impl Source {
    /// A URL of PostgreSQL, or else the name of a file.
    pub fn parse(text: &str) -> Result<Self, Failed> {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Table(text.to_string()));
        }
        // Whatever URL it is, it may hold a password: it is not repeated.
        if text.contains("://") {
            return Err(Failed::Usage(
                "the URL of a database is like postgres://user@host/database; anything else is the name of a file"
                    .to_string(),
            ));
        }
        Ok(Self::Csv(text.to_string()))
    }

    /// One of two flags.
    pub fn of_flags(file: Option<&str>, url: Option<&str>) -> Result<Self, Failed> {
        match (file, url) {
            (Some(file), None) => Ok(Self::Csv(file.to_string())),
            (None, Some(url)) => match Self::parse(url) {
                Ok(table @ Self::Table(_)) => Ok(table),
                // This too may be a password.
                Ok(Self::Csv(_)) | Err(_) => Err(Failed::Usage(
                    "--with is the URL of a database, like postgres://user@host/database".to_string(),
                )),
            },
            (Some(_), Some(_)) | (None, None) => Err(Failed::Usage(
                "say where the numbers are: --from-csv FILE, or --with URL --table TABLE".to_string(),
            )),
        }
    }

    /// What a row of it is called.
    pub fn row_word(&self) -> &'static str {
        match self {
            Self::Csv(_) => "line",
            Self::Table(_) => "row",
        }
    }

    /// What it is called in a reason that is kept for ever.
    pub fn name(&self, columns: &Columns) -> String {
        match self {
            Self::Csv(file) if file == "-" => "the list".to_string(),
            Self::Csv(file) => file.rsplit(['/', '\\']).next().unwrap_or(file).to_string(),
            Self::Table(_) => format!("table {}", columns.table.as_deref().unwrap_or_default()),
        }
    }

    /// Reads all of it once.
    pub async fn read(&self, columns: &Columns, bar: &ProgressBar) -> Result<Rows, Failed> {
        match self {
            Self::Csv(file) => read_csv(file, columns, bar),
            Self::Table(url) => Table::connect(url, columns).await?.read(bar).await,
        }
    }
}

fn read_csv(file: &str, columns: &Columns, bar: &ProgressBar) -> Result<Rows, Failed> {
    let opened: std::io::Result<Box<dyn Read>> = match file {
        "-" => Ok(Box::new(std::io::stdin())),
        _ => File::open(file).map(|file| Box::new(file) as Box<dyn Read>),
    };
    let opened = opened.map_err(|error| Failed::Usage(format!("cannot read {file}: {error}")))?;
    let quotes = Quotes::new(opened);
    let lines = quotes.row_lines();
    let wrong = |error: csv::Error, line: Option<u64>| match line {
        _ if misquoted(&error).is_some() => Failed::refused("bad_rows", &format!("{file}, {}", csv_words(&error))),
        Some(line) => Failed::Usage(format!("{file}, line {line}: {}", csv_words(&error))),
        None => Failed::Usage(format!("{file}: {}", csv_words(&error))),
    };
    let mut reader = csv::Reader::from_reader(quotes);
    let head = reader.headers().cloned();
    let line = lines.next();
    let head = head.map_err(|error| wrong(error, line))?;
    let at = places(file, columns, &head)?;
    let mut spool = Spool::new().map_err(spool_failed)?;
    let mut drafts = 0;
    let mut record = csv::StringRecord::new();
    loop {
        let read = reader.read_record(&mut record);
        let line = lines.next();
        if !read.map_err(|error| wrong(error, line))? {
            break;
        }
        let texts = at.map(|at| record.get(at?).map(|text| text.trim().to_string()));
        match row(line.unwrap_or_default(), texts) {
            Some(row) => spool.push(&row).map_err(spool_failed)?,
            None => drafts += 1,
        }
        bar.inc(1);
    }
    Ok(Rows {
        spool,
        drafts,
        dated: at[2].is_some(),
    })
}

/// Where each column stands: what was named must be there, what was not may be.
fn places(file: &str, columns: &Columns, head: &csv::StringRecord) -> Result<[Option<usize>; 6], Failed> {
    let is = |column: &str, name: &str| column.trim_start_matches('\u{feff}').trim() == name;
    let mut places = [None; 6];
    for (place, (word, named)) in places.iter_mut().zip(columns.named()) {
        let name = named.unwrap_or(word);
        *place = head.iter().position(|column| is(column, name));
        if head.iter().filter(|column| is(column, name)).count() > 1 {
            return Err(Failed::Usage(format!(
                "{file} has several columns {name}; nobody can tell which one is meant"
            )));
        }
        if place.is_none() && (named.is_some() || word == "number") {
            let there: Vec<&str> = head.iter().collect();
            if let [line] = there[..]
                && let Some(c) = [';', '\t', '|'].into_iter().find(|c| line.contains(*c))
            {
                let line = line.escape_debug();
                return Err(Failed::Usage(format!(
                    "{file} has one column, {line}; columns are separated by commas, and not by {c:?}"
                )));
            }
            let flag = if word == "number" {
                "--column".to_string()
            } else {
                format!("--{word}-column")
            };
            return Err(Failed::Usage(format!(
                "{file} has no column {name}; its first line names {}; say which one it is with {flag}",
                there.join(", ")
            )));
        }
    }
    Ok(places)
}

fn misquoted(error: &csv::Error) -> Option<&Misquoted> {
    match error.kind() {
        csv::ErrorKind::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

fn csv_words(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("it has {len} columns, and the first line {expected_len}")
        }
        csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_string(),
        _ => error.to_string(),
    }
}

/// The temporary file cannot be used.
pub fn spool_failed(error: std::io::Error) -> Failed {
    Failed::Other(format!(
        "cannot keep rows in a temporary file: {error}; TMPDIR says where"
    ))
}
