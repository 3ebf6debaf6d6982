//! What a line asks for, in the words of the line: nothing is checked yet, so that a boundary can send bad values on.

use std::collections::BTreeMap;

use seriatim_core::{
    Access, Adopt, ApiKey, ApiScope, Claim, Command, Document, Effect, EntryId, GateId, GatePolicy, Hash, Holder, Key,
    Reason, Reference, Refusal, Series, SeriesName, SeriesSpec, Subject, Take, Tenant, Timestamp, Ttl, Void,
    VoidReason, Zones,
};

/// One command or look, with who asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// The API key that asks, by the name it was made with; the owner of the store if none.
    pub caller: Option<String>,
    /// What he asks for.
    pub order: Order,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Order {
    /// Define a series or change it.
    Series {
        /// Its name.
        name: String,
        /// Its settings.
        spec: Box<SeriesSpec>,
        /// The version that the caller saw.
        if_version: Option<u64>,
    },
    /// Take a number.
    Issue {
        /// The series.
        series: String,
        /// The number.
        take: TakeWords,
    },
    /// Take keyed numbers, all or none.
    Batch {
        /// The series.
        series: String,
        /// Each of them.
        items: Vec<TakeWords>,
    },
    /// Take several numbers with one key.
    Count {
        /// The series.
        series: String,
        /// What they have in common.
        take: TakeWords,
        /// How many.
        count: u32,
    },
    /// Show the next numbers.
    Preview {
        /// The series.
        series: String,
        /// What they have in common.
        take: TakeWords,
        /// How many.
        count: u32,
    },
    /// Take a number that is confirmed or released later.
    Reserve {
        /// The series.
        series: String,
        /// The number.
        take: TakeWords,
        /// How long it is held, like `15m`.
        ttl: String,
    },
    /// A reserved number is on a document now.
    Confirm {
        /// Which.
        which: Which,
        /// The document.
        document: Option<String>,
    },
    /// A reserved number was never used.
    Release {
        /// Which.
        which: Which,
        /// Why.
        reason: String,
    },
    /// A number is spent.
    Void {
        /// Which.
        which: Which,
        /// Why, as a code.
        code: String,
        /// Why, in words.
        reason: String,
        /// Whether its replacement is issued in the same commit.
        reissue: bool,
    },
    /// Empty a document.
    Redact {
        /// Which.
        which: Which,
        /// Why.
        reason: String,
    },
    /// Record a number that was issued elsewhere.
    Adopt {
        /// The series.
        series: String,
        /// The text on the document.
        number: String,
        /// The rest; its date is required.
        take: TakeWords,
    },
    /// Close a period.
    Close {
        /// The series.
        series: String,
        /// Whose.
        tenant: Option<String>,
        /// Which.
        period: String,
        /// Why.
        reason: String,
    },
    /// Open a period again.
    Reopen {
        /// The series.
        series: String,
        /// Whose.
        tenant: Option<String>,
        /// Which.
        period: String,
        /// Why.
        reason: String,
    },
    /// Pass over seqs.
    Advance {
        /// The series.
        series: String,
        /// Whose.
        tenant: Option<String>,
        /// The params that split the count.
        params: BTreeMap<String, String>,
        /// The period; the present one if not said.
        period: Option<String>,
        /// The last seq that counts as taken.
        to: u64,
        /// Why.
        reason: String,
    },
    /// Empty a test series.
    Wipe {
        /// The series.
        series: String,
    },
    /// Make an API key.
    Key(NewKey),
    /// Revoke an API key.
    Revoke {
        /// Its name.
        name: String,
    },
    /// Void overdue reservations of series that say so.
    Sweep,
    /// Open a gate.
    Open {
        /// Which.
        gate: GateWords,
        /// How often it may be tried.
        policy: PolicyWords,
    },
    /// Claim a gate.
    Claim {
        /// Which.
        gate: GateWords,
        /// How long the lease is, like `1m`.
        ttl: String,
        /// Who claims.
        holder: String,
        /// The key of the claim.
        key: Option<String>,
        /// How often it may be tried.
        policy: PolicyWords,
    },
    /// Hold a claim for longer.
    Renew {
        /// Which.
        gate: GateWords,
        /// The token.
        token: u64,
        /// How long.
        ttl: String,
    },
    /// Record a result.
    Complete {
        /// Which.
        gate: GateWords,
        /// The token.
        token: u64,
        /// The result, as JSON.
        result: String,
    },
    /// A holder failed.
    Fail {
        /// Which.
        gate: GateWords,
        /// The token.
        token: u64,
        /// Why.
        error: String,
        /// When it may be tried again.
        retry_in: Option<String>,
        /// Whether nobody shall.
        give_up: bool,
    },
    /// Open a dead gate again.
    Retry {
        /// Which.
        gate: GateWords,
        /// Why.
        reason: String,
    },
    /// Look at one gate.
    Gate(GateWords),
    /// Look at one counter.
    Counter {
        /// The series.
        series: String,
        /// Whose; any if not said.
        tenant: Option<String>,
        /// Which period; any if not said.
        period: Option<String>,
        /// Params that split the count; any if not said.
        params: BTreeMap<String, String>,
    },
    /// Look at one entry.
    Entry(Which),
    /// Look at the missing seqs of a series.
    Gaps {
        /// The series.
        series: String,
    },
    /// Verify everything.
    Verify,
}

/// A gate, in words.
#[derive(Debug, Clone, PartialEq)]
pub struct GateWords {
    /// What is to happen once.
    pub effect: String,
    /// For what.
    pub subject: String,
    /// Whose.
    pub tenant: Option<String>,
}

/// How often a gate may be tried, in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicyWords {
    /// How many attempts.
    pub attempts: Option<u32>,
    /// The first pause.
    pub pause: Option<String>,
    /// The longest pause.
    pub pause_max: Option<String>,
}

impl GateWords {
    /// The id of the gate.
    ///
    /// # Errors
    /// The refusal of a word that is not what it should be.
    pub fn id(&self) -> Result<GateId, Refusal> {
        let (tenant, effect, subject) = self.parse()?;
        Ok(GateId::of(&tenant, &effect, &subject))
    }

    fn parse(&self) -> Result<(Tenant, Effect, Subject), Refusal> {
        Ok((
            parse_tenant(self.tenant.as_deref())?,
            Effect::parse(&self.effect)?,
            Subject::parse(&self.subject)?,
        ))
    }
}

impl PolicyWords {
    fn parse(&self) -> Result<GatePolicy, Refusal> {
        let pause = |text: &Option<String>| text.as_deref().map(Ttl::parse).transpose();
        GatePolicy::new(self.attempts, pause(&self.pause)?, pause(&self.pause_max)?)
    }
}

/// One number to take, in words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TakeWords {
    /// The key.
    pub key: Option<String>,
    /// Whose number.
    pub tenant: Option<String>,
    /// The document date.
    pub date: Option<String>,
    /// The document, as JSON.
    pub document: Option<String>,
    /// A free reference.
    pub reference: Option<String>,
    /// Values for the format.
    pub params: BTreeMap<String, String>,
}

/// A number that was taken before.
#[derive(Debug, Clone, PartialEq)]
pub struct Which {
    /// The series.
    pub series: String,
    /// The number, or an id (`ent_…`).
    pub number: String,
    /// Whose, if several tenants have this number.
    pub tenant: Option<String>,
}

/// An API key to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct NewKey {
    /// How the script calls it.
    pub name: String,
    /// Its rights.
    pub scopes: Vec<String>,
    /// The only tenants it may see.
    pub tenants: Vec<String>,
    /// The only series it may see.
    pub series: Vec<String>,
    /// Whether it reaches test series only.
    pub test: bool,
}

impl Order {
    /// The number taken before that the order is about.
    #[must_use]
    pub fn which(&self) -> Option<&Which> {
        match self {
            Self::Confirm { which, .. }
            | Self::Release { which, .. }
            | Self::Void { which, .. }
            | Self::Redact { which, .. }
            | Self::Entry(which) => Some(which),
            _ => None,
        }
    }

    /// Whether it only looks; the answer is found by reading.
    #[must_use]
    pub fn is_look(&self) -> bool {
        matches!(
            self,
            Self::Gate(_) | Self::Counter { .. } | Self::Entry(_) | Self::Gaps { .. } | Self::Verify
        )
    }

    /// The command of a boundary inside the process; none if the order looks or sweeps.
    ///
    /// `entry` is the id of [`Order::which`], if the boundary found one.
    ///
    /// # Errors
    /// The refusal of a word that is not what it should be.
    pub fn command(
        &self,
        entry: Option<EntryId>,
        now: Timestamp,
        zones: &dyn Zones,
    ) -> Result<Option<Command>, Refusal> {
        // An id that no counter has.
        let entry = || entry.map_or_else(|| "ent_0000000000000000_1".parse(), Ok);
        Ok(Some(match self {
            Self::Series { name, spec, if_version } => Command::Define {
                series: Box::new(Series::define(SeriesName::parse(name)?, spec, zones)?),
                if_version: *if_version,
            },
            Self::Issue { series, take } => Command::Issue {
                series: SeriesName::parse(series)?,
                take: take.parse()?,
            },
            Self::Batch { series, items } => Command::IssueItems {
                series: SeriesName::parse(series)?,
                items: parse_items(items)?,
            },
            Self::Count { series, take, count } => Command::IssueCount {
                series: SeriesName::parse(series)?,
                take: take.parse()?,
                count: *count,
            },
            Self::Preview { series, take, count } => Command::Preview {
                series: SeriesName::parse(series)?,
                take: take.parse()?,
                count: *count,
            },
            Self::Reserve { series, take, ttl } => Command::Reserve {
                series: SeriesName::parse(series)?,
                take: take.parse()?,
                ttl: Ttl::parse(ttl)?,
            },
            Self::Confirm { document, .. } => Command::Confirm {
                entry: entry()?,
                document: document.as_deref().map(Document::parse).transpose()?,
            },
            Self::Release { reason, .. } => Command::Release {
                entry: entry()?,
                reason: Reason::parse(reason)?,
            },
            Self::Void {
                code, reason, reissue, ..
            } => Command::Void(Void {
                entry: entry()?,
                reason_code: VoidReason::parse(code)?,
                reason: Reason::parse(reason)?,
                reissue: *reissue,
            }),
            Self::Redact { reason, .. } => Command::Redact {
                entry: entry()?,
                reason: Reason::parse(reason)?,
            },
            Self::Adopt { series, number, take } => Command::Adopt {
                series: SeriesName::parse(series)?,
                adopt: parse_adopt(number, take)?,
            },
            Self::Close {
                series,
                tenant,
                period,
                reason,
            } => Command::Close {
                series: SeriesName::parse(series)?,
                tenant: parse_tenant(tenant.as_deref())?,
                period: period.clone(),
                reason: Reason::parse(reason)?,
            },
            Self::Reopen {
                series,
                tenant,
                period,
                reason,
            } => Command::Reopen {
                series: SeriesName::parse(series)?,
                tenant: parse_tenant(tenant.as_deref())?,
                period: period.clone(),
                reason: Reason::parse(reason)?,
            },
            Self::Advance {
                series,
                tenant,
                params,
                period,
                to,
                reason,
            } => Command::Advance {
                series: SeriesName::parse(series)?,
                tenant: parse_tenant(tenant.as_deref())?,
                params: params.clone(),
                period: period.clone(),
                to: *to,
                reason: Reason::parse(reason)?,
            },
            Self::Wipe { series } => Command::Wipe {
                series: SeriesName::parse(series)?,
            },
            Self::Key(key) => Command::CreateApiKey(Box::new(key.parse(now)?)),
            Self::Revoke { name } => Command::RevokeApiKey { id: name.clone() },
            Self::Open { gate, policy } => {
                let (tenant, effect, subject) = gate.parse()?;
                let policy = policy.parse()?;
                Command::OpenGate {
                    tenant,
                    effect,
                    subject,
                    policy,
                    task: None,
                    change: None,
                }
            }
            Self::Claim {
                gate,
                ttl,
                holder,
                key,
                policy,
            } => {
                let (tenant, effect, subject) = gate.parse()?;
                Command::Claim(Box::new(Claim {
                    tenant,
                    effect,
                    subject,
                    ttl: Ttl::parse(ttl)?,
                    holder: Holder::parse(holder)?,
                    key: key.as_deref().map(Key::parse).transpose()?,
                    policy: policy.parse()?,
                }))
            }
            Self::Renew { gate, token, ttl } => Command::Renew {
                gate: gate.id()?,
                token: *token,
                ttl: Ttl::parse(ttl)?,
            },
            Self::Complete { gate, token, result } => Command::Complete {
                gate: gate.id()?,
                token: *token,
                result: Document::parse(result).map_err(|refusal| refusal.at("/result"))?,
            },
            Self::Fail {
                gate,
                token,
                error,
                retry_in,
                give_up,
            } => Command::Fail {
                gate: gate.id()?,
                token: *token,
                error: Reason::parse(error).map_err(|refusal| refusal.at("/error"))?,
                retry_in: retry_in.as_deref().map(Ttl::parse).transpose()?,
                give_up: *give_up,
            },
            Self::Retry { gate, reason } => Command::Retry {
                gate: gate.id()?,
                reason: Reason::parse(reason)?,
            },
            Self::Sweep | Self::Gate(_) | Self::Counter { .. } | Self::Entry(_) | Self::Gaps { .. } | Self::Verify => {
                return Ok(None);
            }
        }))
    }
}

impl TakeWords {
    fn parse(&self) -> Result<Take, Refusal> {
        Ok(Take {
            key: self.key.as_deref().map(Key::parse).transpose()?,
            tenant: parse_tenant(self.tenant.as_deref())?,
            params: self.params.clone(),
            date: self.date.as_deref().map(str::parse).transpose()?,
            document: self.document.as_deref().map(Document::parse).transpose()?,
            reference: self.reference.as_deref().map(Reference::parse).transpose()?,
        })
    }
}

fn parse_items(items: &[TakeWords]) -> Result<Vec<Take>, Refusal> {
    let parse = |(i, item): (usize, &TakeWords)| item.parse().map_err(|refusal| refusal.inside(&format!("/items/{i}")));
    items.iter().enumerate().map(parse).collect()
}

fn parse_adopt(number: &str, take: &TakeWords) -> Result<Adopt, Refusal> {
    let Take {
        key,
        tenant,
        date,
        document,
        reference,
        ..
    } = take.parse()?;
    let date = date.map_or_else(|| "".parse(), Ok)?;
    let number = number.to_string();
    Ok(Adopt {
        number,
        date,
        tenant,
        key,
        document,
        reference,
    })
}

fn parse_tenant(text: Option<&str>) -> Result<Tenant, Refusal> {
    text.map_or_else(|| Ok(Tenant::default()), Tenant::parse)
}

impl NewKey {
    fn parse(&self, now: Timestamp) -> Result<ApiKey, Refusal> {
        Ok(ApiKey {
            id: self.name.clone(),
            label: self.name.clone(),
            secret_sha256: Hash::of(self.name.as_bytes()),
            access: Access {
                scopes: self
                    .scopes
                    .iter()
                    .map(|scope| ApiScope::parse(scope))
                    .collect::<Result<_, _>>()?,
                tenants: self
                    .tenants
                    .iter()
                    .map(|tenant| Tenant::parse(tenant))
                    .collect::<Result<_, _>>()?,
                series: self
                    .series
                    .iter()
                    .map(|series| SeriesName::parse(series))
                    .collect::<Result<_, _>>()?,
                test_only: self.test,
            },
            created_at: now,
            revoked_at: None,
        })
    }
}
