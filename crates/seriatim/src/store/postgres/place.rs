//! Where the database is, how to get there, and what may be said of it aloud.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};

use super::open::OpenError;

/// How the server must prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not at all: the connection may be encrypted, but anybody may be at its end.
    None,
    /// A certificate of its host name, signed by one of the system or of this file.
    Certificate(Option<PathBuf>),
}

/// Whether statements are prepared once and kept, which a pooler that shares its connections may not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparing {
    /// Where the connection turns out to be nobody else's.
    IfAlone,
    /// Always, because the URL says so: a pooler that knows prepared statements.
    Always,
    /// Never, because the URL says so.
    Never,
}

/// Where the database is.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) config: Config,
    pub(super) proof: Proof,
    pub(super) preparing: Preparing,
}

impl Place {
    /// Reads a URL as libpq does, with `sslmode=verify-full`, `sslrootcert=` and `prepare=` besides.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        // Whoever reads such a URL takes a part of the password for the host, and asks the network for it.
        if has_stray_at(url) {
            return Err(OpenError::Url(
                "the URL of the database has an @ that ends nothing; in user, password and parameters write @ as %40, / as \
                 %2F and ? as %3F"
                    .to_string(),
            ));
        }
        let (rest, extra) = split(url);
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            // The parser quotes what it does not know, never the URL as a whole.
            OpenError::Url(format!(
                "the URL of the database cannot be read: {}",
                super::fault::in_words(&error)
            ))
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(OpenError::Url(
                "the URL of the database names no host; write postgres://user@host/database".to_string(),
            ));
        }
        let preparing = extra.preparing()?;
        let mut proof = Proof::Certificate(extra.root_certificate);
        match extra.ssl_mode.as_deref() {
            // Nobody listens in on this machine's own loopback; elsewhere, who says nothing gets the safe way.
            None if config.get_hosts().iter().all(is_here) => {
                config.ssl_mode(SslMode::Prefer);
                proof = Proof::None;
            }
            None | Some("verify-full" | "verify-ca") => {
                config.ssl_mode(SslMode::Require);
            }
            Some("require") => {
                config.ssl_mode(SslMode::Require);
                proof = Proof::None;
            }
            Some("prefer" | "allow") => {
                config.ssl_mode(SslMode::Prefer);
                proof = Proof::None;
            }
            Some("disable") => {
                config.ssl_mode(SslMode::Disable);
            }
            Some(_) => {
                return Err(OpenError::Url(
                    "the value of sslmode is not known; use disable, prefer, require or verify-full".to_string(),
                ));
            }
        }
        config.application_name(config.get_application_name().unwrap_or("seriatim").to_string());
        Ok(Self {
            config,
            proof,
            preparing,
        })
    }
}

impl Place {
    /// A configuration for each host, in their order.
    pub(super) fn hosts(&self) -> Vec<Config> {
        let (hosts, ports) = (self.config.get_hosts(), self.config.get_ports());
        // Addresses beside the names belong to them in pairs, and whoever wants another order gets it from the driver.
        let is_plain =
            self.config.get_hostaddrs().is_empty() && self.config.get_load_balance_hosts() == LoadBalanceHosts::Disable;
        if hosts.len() < 2 || !is_plain {
            return vec![self.config.clone()];
        }
        let port_of = |i: usize| ports.get(i).or(ports.first()).copied();
        let alone = hosts
            .iter()
            .enumerate()
            .map(|(i, host)| only(&self.config, host, port_of(i)));
        alone.collect()
    }
}

/// The same for one host: the driver knows no way to take the others out.
fn only(all: &Config, host: &Host, port: Option<u16>) -> Config {
    let mut one = Config::new();
    match host {
        Host::Tcp(name) => one.host(name),
        Host::Unix(path) => one.host_path(path),
    };
    one.ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .channel_binding(all.get_channel_binding())
        .target_session_attrs(all.get_target_session_attrs())
        .keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle());
    port.map(|port| one.port(port));
    all.get_user().map(|user| one.user(user));
    all.get_password().map(|password| one.password(password));
    all.get_dbname().map(|name| one.dbname(name));
    all.get_options().map(|options| one.options(options));
    all.get_application_name().map(|name| one.application_name(name));
    all.get_connect_timeout().map(|within| one.connect_timeout(*within));
    all.get_tcp_user_timeout().map(|within| one.tcp_user_timeout(*within));
    all.get_keepalives_interval()
        .map(|every| one.keepalives_interval(every));
    all.get_keepalives_retries().map(|count| one.keepalives_retries(count));
    one
}

/// Host, port and database; never the password.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres ")?;
        let ports = self.config.get_ports();
        for (i, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let port = ports.get(i).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        let user = self.config.get_user().unwrap_or_default();
        write!(f, "/{}", self.config.get_dbname().unwrap_or(user))
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    }
}

/// What the driver's own parser does not know.
struct Extra {
    ssl_mode: Option<String>,
    root_certificate: Option<PathBuf>,
    prepare: Option<String>,
}

impl Extra {
    fn preparing(&self) -> Result<Preparing, OpenError> {
        match self.prepare.as_deref() {
            None => Ok(Preparing::IfAlone),
            Some("true") => Ok(Preparing::Always),
            Some("false") => Ok(Preparing::Never),
            Some(_) => Err(OpenError::Url(
                "the value of prepare is not known; use true or false".to_string(),
            )),
        }
    }
}

/// Whether a URL has another @ than the one that ends user and password.
fn has_stray_at(url: &str) -> bool {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (head, query) = url.split_once('?').unwrap_or((url, ""));
    is_url && (head.matches('@').count() > 1 || query.contains('@'))
}

fn split(url: &str) -> (String, Extra) {
    let mut extra = Extra {
        ssl_mode: None,
        root_certificate: None,
        prepare: None,
    };
    let Some((head, query)) = url.split_once('?') else {
        return (url.to_string(), extra);
    };
    let mut kept = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", mode)) => extra.ssl_mode = Some(mode.to_string()),
            Some(("sslrootcert", "system")) => {}
            Some(("sslrootcert", path)) => extra.root_certificate = Some(PathBuf::from(decoded(path))),
            Some(("prepare", value)) => extra.prepare = Some(value.to_string()),
            _ => kept.push(pair),
        }
    }
    let query = kept.join("&");
    let url = if query.is_empty() {
        head.to_string()
    } else {
        format!("{head}?{query}")
    };
    (url, extra)
}

/// `%2F` is `/` in a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digits: &[u8]| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
        match (first, tail.get(..2).and_then(hex)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_without_its_password() {
        let place = Place::parse("postgres://ann:s3cret@db.example:6432/books?connect_timeout=3").unwrap();
        assert_eq!(place.to_string(), "postgres db.example:6432/books");
        assert_eq!(format!("{place:?}"), "postgres db.example:6432/books");
    }

    #[test]
    fn who_is_not_here_must_prove_who_he_is_unless_it_is_waived_by_name() {
        let proof = |url| Place::parse(url).map(|place| place.proof).unwrap();
        assert_eq!(proof("postgres://a@127.0.0.1/b"), Proof::None);
        assert_eq!(proof("postgres://a@db.example/b"), Proof::Certificate(None));
        assert_eq!(
            proof("postgres://a@db.example/b?sslrootcert=%2Fetc%2Fca.pem"),
            Proof::Certificate(Some("/etc/ca.pem".into()))
        );
        assert_eq!(proof("postgres://a@db.example/b?sslmode=require"), Proof::None);
        assert!(Place::parse("postgres://a@db.example/b?sslmode=maybe").is_err());
    }

    #[test]
    fn who_says_nothing_prepares_where_the_connection_is_his_own() {
        let preparing = |url| Place::parse(url).map(|place| place.preparing).unwrap();
        assert_eq!(preparing("postgres://a@db.example/b"), Preparing::IfAlone);
        assert_eq!(preparing("postgres://a@db.example/b?prepare=true"), Preparing::Always);
        assert_eq!(preparing("postgres://a@db.example/b?prepare=false"), Preparing::Never);
        assert!(Place::parse("postgres://a@db.example/b?prepare=no").is_err());
    }

    #[test]
    fn a_url_that_cannot_be_read_is_not_repeated() {
        for url in [
            "postgres://ann:s3cret@db:port/b",
            "postgres://ann:s3cret@db/b?frob=1",
            "postgres://ann:pw@s3cret@db/b",
            "postgres://ann:pw@s3cret/@db/b",
            "postgres://ann:1?s3cret@db/b",
            "postgres://ann:pw@db/b?sslmode=s3cret",
            "postgres://ann:pw@db/b?prepare=s3cret",
            "postgres:",
        ] {
            let error = Place::parse(url).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
