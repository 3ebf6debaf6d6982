//! One count: series x scope x period.

use alloc::sync::Arc;
use core::fmt;

use crate::journal::{Chain, ChainHead, Hash};
use crate::name::{Reason, SeriesName, Tenant};
use crate::period::Period;
use crate::refusal::{Code, Refusal};
use crate::scope::Params;
use crate::time::Date;

/// Which count: series, tenant, the params that split it, and the period.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterKey {
    /// The series.
    pub series: SeriesName,
    /// Whose numbers.
    pub tenant: Tenant,
    /// The params that split the count besides the tenant.
    pub partition: Params,
    /// The stretch after which the count restarts.
    pub period: Period,
}

impl CounterKey {
    /// The id of this counter: the first 80 bits of the hash that its chain stands on.
    #[must_use]
    pub fn id(&self) -> CounterId {
        CounterId::of(&Chain::counter_genesis(self))
    }
}

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.series, self.tenant, self.period)?;
        if !self.partition.is_empty() {
            write!(f, " {}", self.partition)?;
        }
        Ok(())
    }
}

/// The id of a counter, the same on every store: 80 bits, printed as 16 letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CounterId([u8; 10]);

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl CounterId {
    fn of(genesis: &Hash) -> Self {
        let mut id = [0; 10];
        id.copy_from_slice(&genesis.as_bytes()[..10]);
        Self(id)
    }

    /// An id as it was stored.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        Self(bytes)
    }

    /// The 10 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 10] {
        &self.0
    }
}

impl fmt::Display for CounterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(&self.0, f)
    }
}

impl fmt::Debug for CounterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::str::FromStr for CounterId {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let id = read_id(text).ok_or_else(|| Refusal::new(Code::InvalidId, "a counter id is 16 letters and digits"))?;
        Ok(Self(id))
    }
}

/// Spells 80 bits as 16 letters and digits.
pub(crate) fn write_id(id: &[u8; 10], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bits = id.iter().fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    (0..16).rev().try_for_each(|i| {
        let index = usize::try_from(bits >> (5 * i) & 31).unwrap_or(0);
        fmt::Write::write_char(f, char::from(ALPHABET[index]))
    })
}

/// Reads [`write_id`] back.
pub(crate) fn read_id(text: &str) -> Option<[u8; 10]> {
    if text.len() != 16 {
        return None;
    }
    let mut bits = 0u128;
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == byte)?;
        bits = bits << 5 | digit as u128;
    }
    let mut id = [0; 10];
    id.copy_from_slice(&bits.to_be_bytes()[6..]);
    Some(id)
}

/// How many seqs of a counter are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Issued.
    pub issued: u64,
    /// Reserved, not yet confirmed or released.
    pub reserved: u64,
    /// Voided, with a reason.
    pub voided: u64,
    /// Passed over, with a reason.
    pub missing: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.issued + self.reserved + self.voided + self.missing
    }
}

/// A count with all that must be known to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Counter {
    /// Which count.
    pub key: Arc<CounterKey>,
    /// Its id.
    pub id: CounterId,
    /// The seq it began with.
    pub first_seq: u64,
    /// The seq taken last; one less than `first_seq` before the first.
    pub last_seq: u64,
    /// The latest date of its numbers.
    pub last_date: Option<Date>,
    /// How many seqs are in which state.
    pub counts: Counts,
    /// Where its chain ends.
    pub chain: ChainHead,
}

impl Counter {
    /// A counter that has issued nothing yet.
    #[must_use]
    pub fn open(key: Arc<CounterKey>, start: u64) -> Self {
        let genesis = Chain::counter_genesis(&key);
        Self {
            id: CounterId::of(&genesis),
            key,
            first_seq: start,
            last_seq: start.saturating_sub(1),
            last_date: None,
            counts: Counts::default(),
            chain: ChainHead {
                length: 0,
                head: genesis,
            },
        }
    }

    /// Promise P2: every seq from the first to the last is in exactly one state.
    #[must_use]
    pub fn is_accounted(&self) -> bool {
        Some(self.counts.total()) == (self.last_seq + 1).checked_sub(self.first_seq)
    }
}

/// A run of seqs that were passed over, with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The first of the run.
    pub first: u64,
    /// The last of the run.
    pub last: u64,
    /// Why.
    pub reason: Reason,
}

impl Missing {
    /// How many seqs.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.last - self.first + 1
    }
}
