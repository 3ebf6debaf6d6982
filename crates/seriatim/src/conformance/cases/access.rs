//! API keys are stored like everything else, and bind what a caller sees.

use std::collections::BTreeSet;
use std::sync::Arc;

use seriatim_core::{Access, Answer, ApiKey, ApiScope, Command, Hash, Request};

use super::stage::{Stage, at, issue, name, reason, refusal, request, tenant, void};
use crate::store::Store;

pub(super) async fn an_api_key_is_stored_and_revoked(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let key = ApiKey {
        id: "a1b2".to_string(),
        label: "till 7, O'Hara's — ü".to_string(),
        secret_sha256: Hash::of(b"secret"),
        access: Access {
            scopes: BTreeSet::from([ApiScope::Issue, ApiScope::Read]),
            tenants: BTreeSet::from([tenant("acme"), tenant("zenith")]),
            series: BTreeSet::from([name("invoice")]),
            test_only: true,
        },
        created_at: at("2026-03-31T06:00:00.123456Z"),
        revoked_at: None,
    };
    assert!(
        stage
            .execute(Command::CreateApiKey(Box::new(key.clone())))
            .await
            .is_ok()
    );
    assert_eq!(stage.store.api_keys().await, Ok(vec![key.clone()]));
    assert!(
        stage
            .execute(Command::CreateApiKey(Box::new(key.clone())))
            .await
            .is_err(),
        "an id is given once"
    );
    let revoke = Command::RevokeApiKey { id: key.id.clone() };
    assert!(matches!(stage.execute(revoke).await, Ok(Answer::ApiKey(_))));
    let revoked = ApiKey {
        revoked_at: Some(at("2026-03-31T06:00:00Z")),
        ..key
    };
    assert_eq!(stage.store.api_keys().await, Ok(vec![revoked]));
    assert_eq!(stage.store.heads().await.expect("readable").definitions.length, 3);
}

pub(super) async fn another_tenants_entry_does_not_exist(store: Arc<dyn Store>) {
    let stage = Stage::invoices(store).await;
    let entry = stage.entry(issue("invoice", "acme", "pay_1")).await;
    let access = Access {
        tenants: BTreeSet::from([tenant("zenith")]),
        ..Access::full()
    };
    let before = stage.store.heads().await;
    for command in [
        void(entry.id, true),
        Command::Release {
            entry: entry.id,
            reason: reason(),
        },
    ] {
        let asked = Request {
            access: access.clone(),
            ..request(command)
        };
        let code = refusal(&stage.process(1).execute(asked).await).map(|code| code.as_str());
        assert_eq!(code, Some("unknown_entry"));
    }
    assert_eq!(stage.store.heads().await, before);
}
