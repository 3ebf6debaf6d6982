//! A checkpoint: where every chain ends at one moment, signed, to be kept where the store is not.
//!
//! What it says of a chain can later be compared with the chain: a cut tail or a removed counter shows. The signature
//! says whose checkpoint it is; it is Ed25519 over the lines of [`Checkpoint::signed_text`].

use std::fmt::Write as _;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};
use seriatim_core::{ChainHead, CounterId, Hash, Timestamp};

use crate::store::{GateHead, Reads, StoreError};

/// Where every chain ended at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The moment.
    pub at: Timestamp,
    /// The definitions chain.
    pub definitions: ChainHead,
    /// Every counter.
    pub counters: Vec<CheckpointCounter>,
    /// Every gate.
    pub gates: Vec<GateHead>,
    /// Who signed it.
    pub public_key: [u8; 32],
    signature: [u8; 64],
}

/// Where one counter stood.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckpointCounter {
    /// Its id.
    pub id: CounterId,
    /// Series, tenant, period and partition, for a person.
    pub label: String,
    /// The seq taken last.
    pub last_seq: u64,
    /// Where its chain ended.
    pub chain: ChainHead,
}

/// Why a file is not a checkpoint that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It does not read.
    #[error("not a checkpoint: {0}")]
    Malformed(String),
    /// It reads, but somebody changed it, or the signature is of another.
    #[error("the checkpoint does not match its signature: it was changed after it was signed")]
    BadSignature,
}

/// Takes a checkpoint of a store and signs it.
///
/// # Errors
/// The store cannot be read.
pub async fn take(reads: &dyn Reads, signing_key: &[u8; 32], now: Timestamp) -> Result<Checkpoint, StoreError> {
    let heads = reads.heads().await?;
    let counters = heads.counters.into_iter().map(|counter| CheckpointCounter {
        id: counter.id,
        label: counter.key.to_string(),
        last_seq: counter.last_seq,
        chain: counter.chain,
    });
    let mut counters: Vec<CheckpointCounter> = counters.collect();
    counters.sort_by_key(|counter| counter.id);
    let mut gates = heads.gates;
    gates.sort_by_key(|gate| gate.id);
    let key = SigningKey::from_bytes(signing_key);
    let mut checkpoint = Checkpoint {
        at: now,
        definitions: heads.definitions,
        counters,
        gates,
        public_key: key.verifying_key().to_bytes(),
        signature: [0; 64],
    };
    checkpoint.signature = key.sign(checkpoint.signed_text().as_bytes()).to_bytes();
    Ok(checkpoint)
}

/// By what a checkpoint of this key can be told: its [`Checkpoint::public_key`].
#[must_use]
pub fn public_key(signing_key: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(signing_key).verifying_key().to_bytes()
}

impl Checkpoint {
    /// What is signed: one line for the moment, one for each chain.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let mut text = String::from("seriatim checkpoint 1\n");
        let ChainHead { length, head } = self.definitions;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "at={}\ndefinitions={length};{head}", self.at.as_micros());
        for CheckpointCounter {
            id,
            label,
            last_seq,
            chain,
        } in &self.counters
        {
            let _ = writeln!(text, "{id};{label};{last_seq};{};{}", chain.length, chain.head);
        }
        for GateHead { id, label, chain } in &self.gates {
            let _ = writeln!(text, "{id};{label};{};{}", chain.length, chain.head);
        }
        text
    }

    /// The checkpoint as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        let wire = Wire {
            version: 1,
            at: self.at.to_string(),
            definitions: WireHead::of(self.definitions),
            counters: self
                .counters
                .iter()
                .map(|counter| WireCounter {
                    id: counter.id.to_string(),
                    counter: counter.label.clone(),
                    last_seq: counter.last_seq,
                    length: counter.chain.length,
                    head: counter.chain.head.to_string(),
                })
                .collect(),
            gates: self
                .gates
                .iter()
                .map(|gate| WireGate {
                    id: gate.id.to_string(),
                    gate: gate.label.clone(),
                    length: gate.chain.length,
                    head: gate.chain.head.to_string(),
                })
                .collect(),
            public_key: to_hex(&self.public_key),
            signature: to_hex(&self.signature),
        };
        // Strings and numbers only: this cannot fail.
        serde_json::to_string_pretty(&wire).unwrap_or_default()
    }

    /// Reads a checkpoint and checks its signature against the key that it names.
    ///
    /// # Errors
    /// See [`CheckpointError`]. Whether the key is the right one is the caller's to ask.
    pub fn parse(json: &str) -> Result<Self, CheckpointError> {
        let wire: Wire = serde_json::from_str(json).map_err(|error| CheckpointError::Malformed(error.to_string()))?;
        let checkpoint = wire
            .read()
            .ok_or_else(|| CheckpointError::Malformed("a hash, id or time is wrong".into()))?;
        let key = VerifyingKey::from_bytes(&checkpoint.public_key).map_err(|_| CheckpointError::BadSignature)?;
        let signature = Signature::from_bytes(&checkpoint.signature);
        key.verify_strict(checkpoint.signed_text().as_bytes(), &signature)
            .map_err(|_| CheckpointError::BadSignature)?;
        Ok(checkpoint)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    at: String,
    definitions: WireHead,
    counters: Vec<WireCounter>,
    /// A checkpoint from before there were gates knows of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gates: Vec<WireGate>,
    public_key: String,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireHead {
    length: u64,
    head: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireCounter {
    id: String,
    counter: String,
    last_seq: u64,
    length: u64,
    head: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireGate {
    id: String,
    gate: String,
    length: u64,
    head: String,
}

impl WireHead {
    fn of(chain: ChainHead) -> Self {
        Self {
            length: chain.length,
            head: chain.head.to_string(),
        }
    }
}

impl Wire {
    fn read(self) -> Option<Checkpoint> {
        let chain = |length, head: &str| {
            Some(ChainHead {
                length,
                head: head.parse::<Hash>().ok()?,
            })
        };
        let counter = |wire: WireCounter| {
            Some(CheckpointCounter {
                id: wire.id.parse().ok()?,
                label: wire.counter,
                last_seq: wire.last_seq,
                chain: chain(wire.length, &wire.head)?,
            })
        };
        let gate = |wire: WireGate| {
            Some(GateHead {
                id: wire.id.parse().ok()?,
                label: wire.gate,
                chain: chain(wire.length, &wire.head)?,
            })
        };
        (self.version == 1).then_some(())?;
        Some(Checkpoint {
            at: self.at.parse().ok()?,
            definitions: chain(self.definitions.length, &self.definitions.head)?,
            counters: self.counters.into_iter().map(counter).collect::<Option<_>>()?,
            gates: self.gates.into_iter().map(gate).collect::<Option<_>>()?,
            public_key: from_hex(&self.public_key)?,
            signature: from_hex(&self.signature)?,
        })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (text.len() == 2 * N && text.is_ascii()).then_some(())?;
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}
