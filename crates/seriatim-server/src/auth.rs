//! Who asks: API keys, and the owner of the store on this machine.
//!
//! A key is `srt_<id>_<secret>`, or `srt_test_<id>_<secret>` for one that reaches test series only. Only the SHA-256
//! of the secret is known here, and nothing in this module may print a secret.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use rand::TryRng as _;
use seriatim::{Access, Actor, ApiKey, Command, Hash, Reads, Request, StoreError, Timestamp};
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::problem::Problem;

/// On a request whose caller is the owner of the store: everything is allowed, in this actor's name.
///
/// Put on every request that comes over the socket in the data directory, or from this very process.
#[derive(Debug, Clone)]
pub struct Local(pub Actor);

/// An API key as a caller sends it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token<'a> {
    /// The public part.
    pub id: &'a str,
    /// The secret part.
    pub secret: &'a str,
    /// Whether it says that it reaches test series only.
    pub test: bool,
}

impl<'a> Token<'a> {
    /// Reads `srt_<id>_<secret>` or `srt_test_<id>_<secret>`; nothing if it is neither.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let rest = text.strip_prefix("srt_")?;
        let (test, rest) = match rest.strip_prefix("test_") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let (id, secret) = rest.split_once('_')?;
        let id_fits = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let secret_fits = (1..=128).contains(&secret.len())
            && secret
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (id_fits && secret_fits).then_some(Self { id, secret, test })
    }

    /// What a store keeps of this key.
    #[must_use]
    pub fn api_key(&self, label: &str, access: Access, now: Timestamp) -> ApiKey {
        ApiKey {
            id: self.id.to_string(),
            label: label.to_string(),
            secret_sha256: Hash::of(self.secret.as_bytes()),
            access: Access {
                test_only: self.test,
                ..access
            },
            created_at: now,
            revoked_at: None,
        }
    }
}

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Draws a new key; its text is shown once and kept nowhere.
///
/// # Errors
/// The machine gives no randomness.
pub fn draw_key(test: bool) -> anyhow::Result<String> {
    let mut random = [0u8; 12 + 40];
    rand::rngs::SysRng.try_fill_bytes(&mut random)?;
    let text: String = random
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
        .collect();
    let (id, secret) = text.split_at(12);
    let prefix = if test { "srt_test" } else { "srt" };
    Ok(format!("{prefix}_{id}_{secret}"))
}

/// The API keys, read from the store now and then so that hardly a request waits for it.
#[derive(Default)]
pub(crate) struct Keys {
    known: RwLock<Option<Known>>,
    /// One reads at a time: an older answer must not overwrite a newer one.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Known {
    by_id: Arc<HashMap<String, KnownKey>>,
    /// When the read set out that told them, or when the store could not tell them last.
    asked_at: Instant,
}

#[derive(Clone)]
struct KnownKey {
    actor: Actor,
    access: Access,
    secret_sha256: Hash,
}

/// From this age on the known keys are read again, while others go on with them.
const FRESH: Duration = Duration::from_secs(1);
/// From this age on nobody goes on with them: after a quiet time a key may have been revoked long ago on another node.
const STALE: Duration = Duration::from_secs(2);
/// An id that is not among them may have been made on another node just now: so old they may be where it is looked for.
const NEW: Duration = Duration::from_millis(100);
/// How long a request waits for the store to tell the keys.
const READ_WITHIN: Duration = Duration::from_secs(1);

impl Keys {
    /// Reads the keys again, after one was made or revoked.
    pub(crate) async fn refresh(&self, reads: &dyn Reads) -> Result<(), StoreError> {
        let reading = async {
            let _alone = self.reading.lock().await;
            self.read(reads).await
        };
        timeout(READ_WITHIN, reading).await.map_err(|_| late())?.map(drop)
    }

    fn known(&self) -> Option<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only for who holds `reading`.
    async fn read(&self, reads: &dyn Reads) -> Result<Known, StoreError> {
        // Before it sets out: what is revoked while it is under way it may not see.
        let asked_at = Instant::now();
        let keys = reads.api_keys().await?;
        let by_id = Arc::new(keys.into_iter().filter_map(known_key).collect());
        Ok(self.keep(Known { by_id, asked_at }))
    }

    fn keep(&self, known: Known) -> Known {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known.clone());
        known
    }

    /// The keys, younger than two seconds unless the store cannot be read; from the age `fresh` on they are read again.
    async fn current(&self, reads: &dyn Reads, fresh: Duration) -> Result<Known, StoreError> {
        let age = |known: &Known| known.asked_at.elapsed();
        let known = self.known();
        let alone = match &known {
            Some(known) if age(known) < fresh => return Ok(known.clone()),
            Some(known) if age(known) < STALE => self.reading.try_lock().ok(),
            Some(_) | None => timeout(READ_WITHIN, self.reading.lock()).await.ok(),
        };
        let Some(_alone) = alone else {
            // Somebody is reading them.
            return known.ok_or_else(late);
        };
        match self.known().filter(|known| age(known) < fresh) {
            // Who waited does not read once more what was read meanwhile.
            Some(known) => Ok(known),
            None => self.read_or_go_on(reads).await,
        }
    }

    /// Only for who holds `reading`.
    async fn read_or_go_on(&self, reads: &dyn Reads) -> Result<Known, StoreError> {
        let read = timeout(READ_WITHIN, self.read(reads)).await;
        let error = match read.map_err(|_| late()) {
            Ok(Ok(known)) => return Ok(known),
            Ok(Err(error)) | Err(error) => error,
        };
        let Some(known) = self.known() else {
            return Err(error);
        };
        tracing::warn!(%error, "cannot read the API keys; going on with those known");
        // As if they were read now: while the store cannot be read, not every request should wait for it.
        Ok(self.keep(Known {
            asked_at: Instant::now(),
            ..known
        }))
    }

    async fn open(&self, reads: &dyn Reads, token: &Token<'_>) -> Result<Option<(Actor, Access)>, StoreError> {
        let mut known = self.current(reads, FRESH).await?;
        if !known.by_id.contains_key(token.id) {
            known = self.current(reads, NEW).await?;
        }
        let key = known.by_id.get(token.id);
        let given = Hash::of(token.secret.as_bytes());
        // An unknown id takes as long as a wrong secret, but for the one that looks for it.
        let expected = key.map_or(&[0; 32], |key| key.secret_sha256.as_bytes());
        let fits: bool = given.as_bytes()[..].ct_eq(&expected[..]).into();
        let key = key.filter(|key| fits && key.access.test_only == token.test);
        Ok(key.map(|key| (key.actor.clone(), key.access.clone())))
    }
}

fn late() -> StoreError {
    StoreError::Unavailable(format!("the API keys could not be read within {READ_WITHIN:?}"))
}

fn known_key(key: ApiKey) -> Option<(String, KnownKey)> {
    if key.revoked_at.is_some() {
        return None;
    }
    let known = KnownKey {
        actor: Actor::parse(&format!("key:{}", key.id)).ok()?,
        access: key.access,
        secret_sha256: key.secret_sha256,
    };
    Some((key.id, known))
}

/// Who asks, on whose behalf, and what he may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) on_behalf_of: Option<Actor>,
    pub(crate) access: Access,
}

impl Caller {
    /// A command of this caller.
    pub(crate) fn asks(self, command: Command) -> Request {
        Request {
            actor: self.actor,
            on_behalf_of: self.on_behalf_of,
            access: self.access,
            rehearsal: false,
            command,
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let (actor, access) = match parts.extensions.get::<Local>() {
            Some(Local(actor)) => (actor.clone(), Access::full()),
            None => open(parts, app).await?,
        };
        let on_behalf_of = parts.headers.get("seriatim-actor").map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).unwrap_or("\u{0}");
            Actor::parse(text).map_err(|refusal| Problem::from(refusal.at("/headers/Seriatim-Actor")))
        });
        Ok(Self {
            actor,
            on_behalf_of: on_behalf_of.transpose()?,
            access,
        })
    }
}

/// How long a request has waited for the API keys; that is part of its deadline.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waited(pub(crate) Duration);

async fn open(parts: &mut Parts, app: &App) -> Result<(Actor, Access), Problem> {
    let arrived = Instant::now();
    let Some(header) = parts.headers.get(AUTHORIZATION) else {
        let detail = "this needs an API key; send it as `Authorization: Bearer srt_…`";
        return Err(Problem::unauthorized("api_key_required", detail));
    };
    let token = header.to_str().ok().and_then(bearer).and_then(Token::parse);
    let opened = match token {
        Some(token) => app.keys().open(app.issuer().reads(), &token).await?,
        None => None,
    };
    parts.extensions.insert(Waited(arrived.elapsed()));
    opened.ok_or_else(|| {
        let detail = "the API key is not valid: it is unknown, mistyped or revoked";
        Problem::unauthorized("invalid_api_key", detail)
    })
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_key_reads_back() {
        for test in [false, true] {
            let text = draw_key(test).unwrap();
            let token = Token::parse(&text).unwrap();
            assert_eq!((token.test, token.id.len(), token.secret.len()), (test, 12, 40));
        }
    }

    #[test]
    fn what_is_no_key_is_not_read() {
        for text in [
            "",
            "srt_",
            "srt_a",
            "srt_A_b",
            "srt__b",
            "srt_a_",
            "srt_a_b c",
            "sk_a_b",
            "srt_test_b",
        ] {
            assert!(Token::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn the_scheme_is_read_in_any_case() {
        assert_eq!(bearer("bearer x"), Some("x"));
        assert_eq!(bearer("Basic x"), None);
    }
}
