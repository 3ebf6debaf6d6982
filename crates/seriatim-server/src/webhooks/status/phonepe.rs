//! PhonePe's two status APIs: the older signs each request with the salt, v2 wants a token that lasts for a while.

use serde::Deserialize;
use tokio::sync::Mutex;

use super::super::PaymentReference;
use super::super::scheme::x_verify;
use super::StatusApi;
use super::client::{Asked, join};

/// A token is not used in its last minute: the request may arrive after its end.
const TOKEN_MARGIN_SECONDS: i64 = 60;

/// The token that is in use, if there is one.
#[derive(Default)]
pub(super) struct Token(Mutex<Option<Granted>>);

#[derive(Clone, Deserialize)]
struct Granted {
    access_token: String,
    expires_at: i64,
}

impl StatusApi {
    pub(super) async fn ask_phonepe(&self, reference: &PaymentReference) -> Result<Vec<u8>, Asked> {
        let segments = ["pg", "v1", "status", &self.settings.id, reference.as_str()];
        let url = join(&self.settings.url, &segments)?;
        // What is signed is the path of the API as it is sent, without the base.
        let base = self.settings.url.path().trim_end_matches('/');
        let path = url.path().strip_prefix(base).unwrap_or(url.path()).to_string();
        let signature = x_verify("", &path, &self.settings.secret, self.settings.version);
        let request = self.client.get(url).header("X-VERIFY", signature);
        self.client
            .ask(request.header("X-MERCHANT-ID", &self.settings.id))
            .await
    }

    pub(super) async fn ask_phonepe_v2(&self, reference: &PaymentReference) -> Result<Vec<u8>, Asked> {
        let segments = ["checkout", "v2", "order", reference.as_str(), "status"];
        let url = join(&self.settings.url, &segments)?;
        let token = self.phonepe_token(None).await?;
        match self.ask_order(url.clone(), &token).await {
            // A token can end before its time; once more with a new one, and no more.
            Err(asked) if asked.unauthorized => {
                let token = self.phonepe_token(Some(&token)).await?;
                self.ask_order(url, &token).await
            }
            answered => answered,
        }
    }

    async fn ask_order(&self, url: reqwest::Url, token: &str) -> Result<Vec<u8>, Asked> {
        let request = self
            .client
            .get(url)
            .header("Authorization", format!("O-Bearer {token}"));
        self.client.ask(request).await
    }

    /// The token in use, or a new one: it is none, at its end, or the one that was refused. Callers wait for one another,
    /// so that many of them ask for one token.
    async fn phonepe_token(&self, refused: Option<&str>) -> Result<String, Asked> {
        let mut kept = self.token.0.lock().await;
        let now = self.clock.now().as_micros() / 1_000_000;
        let is_good = |granted: &&Granted| {
            granted.expires_at > now.saturating_add(TOKEN_MARGIN_SECONDS)
                && refused != Some(granted.access_token.as_str())
        };
        if let Some(granted) = kept.as_ref().filter(is_good) {
            return Ok(granted.access_token.clone());
        }
        let version = self.settings.version.to_string();
        let form = [
            ("client_id", self.settings.id.as_str()),
            ("client_version", &version),
            ("client_secret", &self.settings.secret),
            ("grant_type", "client_credentials"),
        ];
        let request = self.client.post(self.settings.token_url.clone()).form(&form);
        let answer = self.client.ask(request).await.map_err(|asked| Asked {
            what: format!("no token: {}", asked.what),
            not_found: false,
            ..asked
        })?;
        let granted: Granted = serde_json::from_slice(&answer)
            .map_err(|_| Asked::never("no token: the answer is none with access_token and expires_at".to_string()))?;
        *kept = Some(granted.clone());
        Ok(granted.access_token)
    }
}
