//! A table of somebody's PostgreSQL: read in one read-only transaction, and nothing is installed.

use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::failed::Failed;
use super::source::{Columns, Rows, row, spool_failed};
use super::spool::Spool;

/// How many rows are fetched at a time.
const FETCH: i32 = 5_000;

/// Of the transaction, for behind a pooler the session is not ours. Dates are read in one form, and a table of which a policy hides rows is refused: a hidden row
/// would be a number on no row. The time zone stays that of the role and the database: instants come with their offset
/// whatever it is, and a view that makes a date of one must give the day that everybody sees.
const SETTINGS: &str = "set local datestyle = 'ISO'; set local row_security = off";

pub struct Table {
    client: Client,
    columns: Columns,
    table: String,
}

impl Table {
    /// Connects; a failure names host and port, never the password.
    pub async fn connect(url: &str, columns: &Columns) -> Result<Self, Failed> {
        let Some(table) = &columns.table else {
            return Err(Failed::Usage("say which table: --table TABLE".to_string()));
        };
        if columns.column.is_none() {
            return Err(Failed::Usage(
                "say which column of the table has the number: --column COLUMN".to_string(),
            ));
        }
        let mut config: Config = url.parse().map_err(|_| {
            Failed::Usage(
                "the URL of the database cannot be read; write it like postgres://user@host/database".to_string(),
            )
        })?;
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        config.application_name("seriatim");
        Ok(Self {
            client: client(&config).await.map_err(|what| {
                Failed::Unreachable(format!("cannot connect to PostgreSQL at {}: {what}", place(&config)))
            })?,
            columns: columns.clone(),
            table: quoted(table),
        })
    }

    /// Reads all rows, as they are at one moment.
    pub async fn read(mut self, bar: &ProgressBar) -> Result<Rows, Failed> {
        let query = format!("{} {}", self.select(), self.order());
        let failed = |error| explain(&error, &self.columns);
        let transaction = begin(&mut self.client).await.map_err(failed)?;
        let statement = transaction.prepare(&query).await.map_err(failed)?;
        let portal = transaction.bind(&statement, &[]).await.map_err(failed)?;
        let mut rows = Rows {
            spool: Spool::new().map_err(spool_failed)?,
            drafts: 0,
            dated: self.columns.date_column.is_some(),
        };
        let mut line = 0;
        loop {
            let fetched = transaction.query_portal(&portal, FETCH).await.map_err(failed)?;
            if fetched.is_empty() {
                return Ok(rows);
            }
            for fetched in &fetched {
                line += 1;
                match row(line, std::array::from_fn(|i| fetched.get(i))) {
                    Some(row) => rows.spool.push(&row).map_err(spool_failed)?,
                    None => rows.drafts += 1,
                }
            }
            bar.inc(fetched.len() as u64);
        }
    }

    /// Which of these numbers are on a row now, with their tenants.
    pub async fn look_again(&mut self, numbers: &[String]) -> Result<Vec<(String, Option<String>)>, Failed> {
        let query = format!("{} where {}::text = any($1)", self.select(), self.number());
        let failed = |error| explain(&error, &self.columns);
        let transaction = begin(&mut self.client).await.map_err(failed)?;
        let rows = transaction.query(&query, &[&numbers]).await.map_err(failed)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    fn number(&self) -> String {
        identifier(self.columns.column.as_deref().unwrap_or_default())
    }

    fn select(&self) -> String {
        let columns = self.columns.named().map(|(_, column)| match column {
            Some(column) => format!("{}::text", identifier(column)),
            None => "null::text".to_string(),
        });
        format!("select {} from {}", columns.join(", "), self.table)
    }

    /// Of two rows with one number the earlier has it first, and of two on one day the same one each time: the order
    /// in which rows lie in a table changes with every update.
    fn order(&self) -> String {
        let date = self.columns.date_column.as_deref().map(identifier);
        let key = self.columns.key_column.as_deref().map(identifier);
        let key = key.map(|key| format!("{key}::text collate \"C\""));
        let by = [date, Some(self.number()), key].into_iter().flatten();
        format!("order by {}", by.collect::<Vec<_>>().join(", "))
    }
}

async fn begin(client: &mut Client) -> Result<Transaction<'_>, tokio_postgres::Error> {
    let transaction = client.build_transaction().read_only(true);
    let transaction = transaction.isolation_level(IsolationLevel::RepeatableRead).start();
    let transaction = transaction.await?;
    transaction.batch_execute(SETTINGS).await?;
    Ok(transaction)
}

async fn client(config: &Config) -> Result<Client, String> {
    // A socket has no TLS, and a server without it need not be offered any.
    if config.get_ssl_mode() == SslMode::Disable {
        let (client, connection) = config.connect(NoTls).await.map_err(|error| in_words(&error))?;
        tokio::spawn(connection);
        return Ok(client);
    }
    let connected = config.connect(tls()?).await;
    let (client, connection) = connected.map_err(|error| match in_words(&error) {
        words if words.contains("certificate") => format!("{words}; sslmode=disable in the URL does without TLS"),
        words => words,
    })?;
    tokio::spawn(connection);
    Ok(client)
}

fn tls() -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    // What of the system's store cannot be read is no reason to trust anybody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(MakeRustlsConnect::new(
        builder.with_root_certificates(roots).with_no_client_auth(),
    ))
}

fn place(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => host.clone(),
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".to_string(),
    };
    format!("{host}:{}", config.get_ports().first().unwrap_or(&5432))
}

/// An error with its causes; the library's own words for the first are too short to be of use.
fn in_words(error: &tokio_postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return error.message().to_string();
    }
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

fn explain(error: &tokio_postgres::Error, columns: &Columns) -> Failed {
    let words = in_words(error);
    let table = columns.table.as_deref().unwrap_or_default();
    match error.code() {
        Some(code) if *code == SqlState::UNDEFINED_TABLE => Failed::Usage(format!(
            "{words}; --table is written exactly as it is in the database, e.g. billing.invoices; a name with a dot in it \
             is quoted: '\"bill.ing\".invoices'"
        )),
        Some(code) if *code == SqlState::UNDEFINED_COLUMN => Failed::Usage(format!(
            "{words}, in table {table}; columns are written exactly as they are"
        )),
        // The same code as without SELECT, which PostgreSQL says of hidden rows only because we asked it to.
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE && is_hidden(error) => Failed::Usage(format!(
            "{words}: table {table} hides rows from this role, and a hidden row would count as a number on no row; read \
             it as a role with bypassrls, as its owner, or through a view of the owner's"
        )),
        Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
            Failed::Usage(format!("{words}; reading needs SELECT on table {table}"))
        }
        Some(_) => Failed::Other(format!("cannot read table {table}: {words}")),
        None => Failed::Unreachable(format!("cannot read table {table}: {words}")),
    }
}

/// By the function of PostgreSQL that refuses: its words are in the language of the server.
fn is_hidden(error: &tokio_postgres::Error) -> bool {
    let routine = error.as_db_error().and_then(|error| error.routine());
    routine == Some("check_enable_rls")
}

/// `billing.invoices` as two identifiers. A name in quotes, as in `"Bill.ing".invoices`, may have dots.
fn quoted(table: &str) -> String {
    let mut names = Vec::new();
    let mut rest = Some(table);
    while let Some(text) = rest {
        let (name, behind) = in_quotes(text).unwrap_or_else(|| match text.split_once('.') {
            Some((name, behind)) => (name.to_string(), Some(behind)),
            None => (text.to_string(), None),
        });
        names.push(identifier(&name));
        rest = behind;
    }
    names.join(".")
}

/// A name that stands in quotes, and what follows behind its dot.
fn in_quotes(text: &str) -> Option<(String, Option<&str>)> {
    let mut name = String::new();
    let mut rest = text.strip_prefix('"')?;
    loop {
        let (part, behind) = rest.split_once('"')?;
        name += part;
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if behind.is_empty() => return Some((name, None)),
            None => return behind.strip_prefix('.').map(|behind| (name, Some(behind))),
        }
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_so_that_nothing_in_them_is_sql() {
        for (given, names) in [
            ("billing.Invoice", r#""billing"."Invoice""#),
            (r#""Bill.ing"."In""voice""#, r#""Bill.ing"."In""voice""#),
            (r#""Bill.ing".invoices"#, r#""Bill.ing"."invoices""#),
            (r#"billing."In.voice""#, r#""billing"."In.voice""#),
            // These are no names in quotes.
            (r#""open.t"#, r#""""open"."t""#),
            (r#""a" t.b"#, r#""""a"" t"."b""#),
            (r#"a"; drop table b"#, r#""a""; drop table b""#),
        ] {
            assert_eq!(quoted(given), names, "{given}");
        }
        assert_eq!(identifier("a\"; drop table b"), "\"a\"\"; drop table b\"");
    }
}
