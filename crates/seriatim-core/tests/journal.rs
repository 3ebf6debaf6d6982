//! The bytes that are hashed, and what is noticed when somebody changes what was written.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::ledger::Ledger;
use common::{at, date};
use expect_test::expect;
use seriatim_core::{
    Actor, Chain, ChainCheck, ChainHead, CounterKey, Document, Entry, EntryId, Event, EventKind, Hash, Key, Origin,
    Params, Period, Reason, Reference, SeriesName, State, Tenant, compare_entry,
};
use sha2::{Digest, Sha256};

fn sha256(bytes: &[u8]) -> Hash {
    Hash::from_bytes(Sha256::digest(bytes).into())
}

fn counter_key(partition: &str) -> CounterKey {
    CounterKey {
        series: SeriesName::parse("invoice").expect("a name"),
        tenant: Tenant::parse("acme").expect("a tenant"),
        partition: Params::stored(partition),
        period: Period::stored("2025-26"),
    }
}

/// An event with every field set.
fn full_event() -> Event {
    Event {
        seq: Some(7),
        seq_last: Some(9),
        number: Some(Arc::from("INV-№-7")),
        date: Some(date("2025-11-20")),
        key: Some(Key::parse("pay_1").expect("a key")),
        params: Params::stored("branch=07,desk=A"),
        reference: Some(Reference::parse("order 42").expect("a reference")),
        expires_at: Some(at("2025-11-20T12:08:14.123456Z")),
        link: Some("ent_0123456789abcdef_42".parse().expect("an id")),
        reason_code: Some(Arc::from("spoiled")),
        reason: Some(Reason::parse("the printer: ate it").expect("a reason")),
        document: Some(Hash::of(b"{}")),
        on_behalf_of: Some(Actor::parse("user:bob").expect("an actor")),
        detail: Some(Arc::from("name=invoice\nversion=1")),
        ..Event::new(
            EventKind::Issued,
            Actor::parse("key:k1").expect("an actor"),
            at("2025-11-20T11:08:14.123456Z"),
        )
    }
}

// The bytes. PL/pgSQL is written against these tests; what they pin can never change again.

#[test]
fn a_counter_stands_on_the_hash_of_its_identity() {
    let bytes = b"18:seriatim counter 17:invoice4:acme16:branch=07,desk=A7:2025-26";
    let genesis = Chain::counter_genesis(&counter_key("branch=07,desk=A"));
    assert_eq!(genesis, sha256(bytes));
    expect!["2a34c9c7"].assert_eq(&genesis.to_string()[..8]);
    // A count that is not split has an empty text there, not null.
    let bytes = b"18:seriatim counter 17:invoice4:acme0:7:2025-26";
    assert_eq!(Chain::counter_genesis(&counter_key("")), sha256(bytes));
}

#[test]
fn the_id_of_a_counter_is_the_first_80_bits_of_its_genesis_in_base_32() {
    let genesis = Chain::counter_genesis(&counter_key(""));
    let id = counter_key("").id();
    assert_eq!(id.as_bytes()[..], genesis.as_bytes()[..10]);
    let bits: String = id.as_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
    let letters = bits.as_bytes().chunks(5).map(|five| {
        let five = std::str::from_utf8(five).expect("digits");
        let index = usize::from_str_radix(five, 2).expect("five bits");
        char::from(b"0123456789abcdefghjkmnpqrstvwxyz"[index])
    });
    assert_eq!(id.to_string(), letters.collect::<String>());
    assert_eq!(id.to_string().parse(), Ok(id));
}

#[test]
fn the_definitions_stand_on_the_hash_of_their_name() {
    let genesis = Chain::definitions_genesis();
    assert_eq!(genesis, sha256(b"22:seriatim definitions 1"));
    expect!["35e8f381"].assert_eq(&genesis.to_string()[..8]);
}

#[test]
fn an_event_hashes_the_hash_before_it_and_every_field_in_order() {
    let previous = Hash::of(b"before");
    let mut bytes = Vec::from(*previous.as_bytes());
    bytes.extend_from_slice(b"1:1");
    bytes.extend_from_slice(b"6:issued");
    bytes.extend_from_slice(b"1:7");
    bytes.extend_from_slice(b"1:9");
    // Lengths count bytes: the sign № has three.
    bytes.extend_from_slice("9:INV-№-7".as_bytes());
    bytes.extend_from_slice(b"10:2025-11-20");
    bytes.extend_from_slice(b"5:pay_1");
    bytes.extend_from_slice(b"16:branch=07,desk=A");
    bytes.extend_from_slice(b"8:order 42");
    bytes.extend_from_slice(b"16:1763640494123456");
    bytes.extend_from_slice(b"23:ent_0123456789abcdef_42");
    bytes.extend_from_slice(b"7:spoiled");
    bytes.extend_from_slice(b"19:the printer: ate it");
    bytes.extend_from_slice(b"64:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    bytes.extend_from_slice(b"6:key:k1");
    bytes.extend_from_slice(b"8:user:bob");
    bytes.extend_from_slice(b"16:1763636894123456");
    bytes.extend_from_slice(b"22:name=invoice\nversion=1");
    let hash = full_event().hash_after(&previous);
    assert_eq!(hash, sha256(&bytes));
    expect!["0464c96f"].assert_eq(&hash.to_string()[..8]);
}

#[test]
fn an_absent_field_is_a_dash() {
    let previous = Chain::definitions_genesis();
    let event = Event::new(
        EventKind::Wiped,
        Actor::parse("os:ann").expect("an actor"),
        at("1969-12-31T23:59:59.5Z"),
    );
    let mut bytes = Vec::from(*previous.as_bytes());
    bytes.extend_from_slice(b"1:15:wiped------------6:os:ann-7:-500000-");
    assert_eq!(event.hash_after(&previous), sha256(&bytes));
}

#[test]
fn the_first_event_of_a_counter_stands_on_its_genesis() {
    let mut ledger = Ledger::default();
    ledger.run(expect![[r#"
        define invoice format=INV-{fy}-{seq:5} reset=fiscal-year:04-01 zone=Asia/Kolkata -> invoice version 1
        at 2026-03-31T23:59:59+05:30
        issue invoice key=pay_1 doc={} ref='order 42'              -> INV-2526-00001
    "#]]);
    let entry = ledger.world.entries.values().next().expect("an entry").clone();
    let [event] = ledger.world.events_of(&entry).try_into().expect("one event");
    let genesis = sha256(b"18:seriatim counter 17:invoice7:default0:7:2025-26");
    let mut bytes = Vec::from(*genesis.as_bytes());
    bytes.extend_from_slice(b"1:16:issued1:1-14:INV-2526-0000110:2026-03-315:pay_1-8:order 42----");
    bytes.extend_from_slice(b"64:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    bytes.extend_from_slice(b"6:os:ann-16:1774981799000000-");
    assert_eq!(event.hash, sha256(&bytes));
    assert_eq!((event.position, entry.position, entry.hash), (1, 1, event.hash));
}

/// Each way to change one field of an event, by its name.
fn event_flips(event: &Event) -> Vec<(&'static str, Event)> {
    // A new field does not compile here until somebody decides how it is changed.
    let Event {
        position,
        kind: _,
        seq: _,
        seq_last: _,
        number: _,
        date: _,
        key: _,
        params: _,
        reference: _,
        expires_at: _,
        link: _,
        reason_code: _,
        reason: _,
        document: _,
        actor: _,
        on_behalf_of: _,
        at: _,
        detail: _,
        hash: _,
    } = event.clone();
    let mut flips: Vec<(&'static str, Event)> = Vec::new();
    let mut flip = |name, change: &dyn Fn(&mut Event)| {
        let mut flipped = event.clone();
        change(&mut flipped);
        assert_ne!(flipped, *event, "{name} is not changed");
        flips.push((name, flipped));
    };
    flip("position", &|event| event.position = position + 1);
    flip("kind", &|event| event.kind = EventKind::Adopted);
    flip("seq", &|event| {
        event.seq = event.seq.map_or(Some(1), |seq| Some(seq + 1))
    });
    flip("seq to or from null", &|event| event.seq = event.seq.xor(Some(1)));
    flip("seq_last", &|event| {
        event.seq_last = event.seq_last.map_or(Some(1), |seq| Some(seq + 1))
    });
    flip("number", &|event| event.number = other_text(event.number.as_deref()));
    flip("date", &|event| {
        event.date = event
            .date
            .map_or(Some(date("2026-01-01")), |date| Some(date.plus_days(1)))
    });
    flip("key", &|event| event.key = other_key(event.key.as_ref()));
    flip("params", &|event| {
        event.params = Params::stored(&format!("{},z=9", event.params))
    });
    flip("reference", &|event| {
        event.reference = other_reference(event.reference.as_ref())
    });
    flip("expires_at", &|event| {
        event.expires_at = Some(event.expires_at.unwrap_or(event.at).plus_seconds(1))
    });
    flip("link", &|event| event.link = other_id(event.link));
    flip("reason_code", &|event| {
        event.reason_code = other_text(event.reason_code.as_deref())
    });
    flip("reason", &|event| event.reason = other_reason(event.reason.as_ref()));
    flip("document", &|event| event.document = Some(Hash::of(b"another")));
    flip("actor", &|event| {
        event.actor = Actor::parse("os:eve").expect("an actor")
    });
    flip("on_behalf_of", &|event| {
        event.on_behalf_of = Some(Actor::parse("os:eve").expect("an actor"))
    });
    flip("at", &|event| event.at = event.at.plus_seconds(1));
    flip("detail", &|event| event.detail = other_text(event.detail.as_deref()));
    flip("hash", &|event| event.hash = Hash::of(b"another"));
    flips
}

fn other_text(text: Option<&str>) -> Option<Arc<str>> {
    Some(Arc::from(format!("{}x", text.unwrap_or_default())))
}

fn other_key(key: Option<&Key>) -> Option<Key> {
    Some(Key::parse(&format!("{}x", key.map_or("", Key::as_str))).expect("a key"))
}

fn other_reference(reference: Option<&Reference>) -> Option<Reference> {
    Some(Reference::parse(&format!("{}x", reference.map_or("", Reference::as_str))).expect("a reference"))
}

fn other_reason(reason: Option<&Reason>) -> Option<Reason> {
    Some(Reason::parse(&format!("{}x", reason.map_or("", Reason::as_str))).expect("a reason"))
}

fn other_id(id: Option<EntryId>) -> Option<EntryId> {
    let other = EntryId {
        counter: counter_key("z=9").id(),
        seq: 77,
    };
    Some(id.map_or(other, |id| EntryId { seq: id.seq + 1, ..id }))
}

#[test]
fn the_hash_covers_every_field() {
    let previous = Hash::of(b"before");
    for event in [
        full_event(),
        Event::new(EventKind::Voided, full_event().actor, full_event().at),
    ] {
        let hash = event.hash_after(&previous);
        let uncovered: Vec<&str> = event_flips(&event)
            .into_iter()
            .filter(|(_, flipped)| flipped.hash_after(&previous) == hash)
            .map(|(name, _)| name)
            .collect();
        // The position is told by the chain, and the hash is the result.
        assert_eq!(uncovered, ["position", "hash"]);
        assert_ne!(event.hash_after(&Hash::of(b"another")), hash);
    }
}

#[test]
fn no_two_events_have_the_same_bytes() {
    // What moves from one field to the next changes the lengths.
    let event = |number: &str, key: &str| Event {
        number: Some(Arc::from(number)),
        key: Some(Key::parse(key).expect("a key")),
        date: None,
        ..full_event()
    };
    let previous = Hash::of(b"before");
    assert_ne!(
        event("A-1-", "k").hash_after(&previous),
        event("A-1", "-k").hash_after(&previous)
    );
    assert_ne!(
        event("A", "1:k").hash_after(&previous),
        event("A1:", "k").hash_after(&previous)
    );
}

#[test]
fn the_kinds_of_events_read_back() {
    let kinds = [
        EventKind::Issued,
        EventKind::Reserved,
        EventKind::Adopted,
        EventKind::Confirmed,
        EventKind::Released,
        EventKind::Expired,
        EventKind::Voided,
        EventKind::Redacted,
        EventKind::Missing,
        EventKind::Defined,
        EventKind::Changed,
        EventKind::Closed,
        EventKind::Reopened,
        EventKind::Wiped,
        EventKind::KeyCreated,
        EventKind::KeyRevoked,
        EventKind::Opened,
        EventKind::Claimed,
        EventKind::Completed,
        EventKind::Failed,
        EventKind::Died,
        EventKind::Retried,
    ];
    for kind in kinds {
        assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
    }
    let names: BTreeSet<&str> = kinds.map(EventKind::as_str).into();
    assert_eq!(names.len(), kinds.len());
    assert_eq!(EventKind::parse("Issued"), None);
}

// The chain.

struct Walk {
    chain: Chain,
    genesis: Hash,
    events: Vec<Event>,
    end: ChainHead,
}

/// Five events of one counter.
fn five_events() -> Walk {
    let mut ledger = Ledger::default();
    let lines = [
        "define invoice format=INV-{seq}",
        "issue invoice key=a",
        "reserve invoice key=b",
        "confirm INV-2",
        "issue invoice key=c",
        "void INV-1",
    ];
    for line in lines {
        ledger.ask(line);
    }
    let counter = ledger.world.counters.values().next().expect("a counter");
    let chain = Chain::Counter(counter.id);
    let events: Vec<Event> = ledger.world.events[&chain]
        .iter()
        .map(|event| (**event).clone())
        .collect();
    assert_eq!(events.len(), 5);
    Walk {
        chain,
        genesis: Chain::counter_genesis(&counter.key),
        events,
        end: counter.chain,
    }
}

/// The findings of a walk over these events, as `code place`.
fn findings(walk: &Walk, events: &[Event]) -> Vec<String> {
    let mut check = ChainCheck::begin(walk.chain, walk.genesis);
    let mut findings: Vec<_> = events.iter().filter_map(|event| check.step(event)).collect();
    findings.extend(check.finish(walk.end));
    let place = |place: &str| {
        place
            .split_once('#')
            .map_or("end".to_string(), |(_, position)| position.to_string())
    };
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.code, place(&finding.place)))
        .collect()
}

#[test]
fn an_untouched_chain_has_no_findings() {
    let walk = five_events();
    assert_eq!(findings(&walk, &walk.events), [""; 0]);
    // Also when it is walked in two parts.
    let mut first = ChainCheck::begin(walk.chain, walk.genesis);
    for event in &walk.events[..3] {
        assert_eq!(first.step(event), None);
    }
    let mut second = ChainCheck::resume(walk.chain, first.reached());
    for event in &walk.events[3..] {
        assert_eq!(second.step(event), None);
    }
    assert_eq!(second.finish(walk.end), None);
}

#[test]
fn a_removed_event_is_found() {
    let walk = five_events();
    for i in 0..5 {
        let mut events = walk.events.clone();
        events.remove(i);
        let expected = if i == 4 {
            "chain_end end".to_string()
        } else {
            format!("event_missing {}", i + 2)
        };
        assert_eq!(findings(&walk, &events), [expected]);
        // The others are counted anew, so that no place is empty.
        for (event, position) in events.iter_mut().zip(1..) {
            event.position = position;
        }
        let found = findings(&walk, &events);
        let changed = (i < 4).then(|| format!("event_changed {}", i + 1));
        assert_eq!(
            found,
            changed
                .into_iter()
                .chain(["chain_end end".to_string()])
                .collect::<Vec<_>>()
        );
    }
    assert_eq!(findings(&walk, &[]), ["chain_end end"]);
}

#[test]
fn a_changed_event_is_found_whatever_was_changed() {
    let walk = five_events();
    for i in 0..5 {
        for (field, flipped) in event_flips(&walk.events[i]) {
            let mut events = walk.events.clone();
            events[i] = flipped;
            assert!(!findings(&walk, &events).is_empty(), "{field} of event {}", i + 1);
        }
    }
}

#[test]
fn a_changed_event_with_its_hash_made_anew_is_found_at_the_next() {
    let walk = five_events();
    for i in 0..5 {
        let before = if i == 0 { walk.genesis } else { walk.events[i - 1].hash };
        let mut events = walk.events.clone();
        events[i].actor = Actor::parse("os:eve").expect("an actor");
        events[i].hash = events[i].hash_after(&before);
        let expected = if i == 4 {
            "chain_end end".to_string()
        } else {
            format!("event_changed {}", i + 2)
        };
        assert_eq!(findings(&walk, &events), [expected]);
    }
}

#[test]
fn an_inserted_event_is_found() {
    let walk = five_events();
    for i in 0..=5 {
        let mut events = walk.events.clone();
        let mut inserted = full_event();
        inserted.position = i as u64 + 1;
        let before = if i == 0 { walk.genesis } else { walk.events[i - 1].hash };
        inserted.hash = inserted.hash_after(&before);
        events.insert(i, inserted);
        // It fits where it stands; the next one does not fit after it.
        let expected = if i == 5 {
            "chain_end end".to_string()
        } else {
            format!("event_missing {}", i + 1)
        };
        assert_eq!(findings(&walk, &events)[0], expected);
    }
}

#[test]
fn swapped_events_are_found() {
    let walk = five_events();
    for i in 0..5 {
        for j in i + 1..5 {
            let mut events = walk.events.clone();
            events.swap(i, j);
            assert!(!findings(&walk, &events).is_empty(), "{i} and {j}");
            for (event, position) in events.iter_mut().zip(1..) {
                event.position = position;
            }
            assert!(!findings(&walk, &events).is_empty(), "{i} and {j}, counted anew");
        }
    }
}

#[test]
fn a_chain_of_another_counter_is_found() {
    let walk = five_events();
    let other = Walk {
        genesis: Chain::counter_genesis(&counter_key("")),
        ..walk
    };
    assert_eq!(findings(&other, &other.events), ["event_changed 1"]);
}

// The entries.

/// Each way to change one field of an entry, by its name.
fn entry_flips(entry: &Entry) -> Vec<(&'static str, Entry)> {
    // A new field does not compile here until somebody decides how it is changed.
    let Entry {
        id: _,
        counter: _,
        number: _,
        state: _,
        origin: _,
        date: _,
        key: _,
        params: _,
        reference: _,
        document: _,
        document_sha256: _,
        taken_at: _,
        issued_at: _,
        expires_at: _,
        voided_at: _,
        reason_code: _,
        reason: _,
        replaces: _,
        replacement: _,
        position: _,
        hash: _,
    } = entry;
    let mut flips: Vec<(&'static str, Entry)> = Vec::new();
    let mut flip = |name, change: &dyn Fn(&mut Entry)| {
        let mut flipped = entry.clone();
        change(&mut flipped);
        // What is null already cannot be made null.
        if flipped != *entry {
            flips.push((name, flipped));
        }
    };
    flip("id.seq", &|entry| entry.id.seq += 1);
    flip("id.counter", &|entry| entry.id.counter = counter_key("z=9").id());
    flip("counter.tenant", &|entry| {
        Arc::make_mut(&mut entry.counter).tenant = Tenant::parse("eve").expect("a tenant")
    });
    flip("counter.period", &|entry| {
        Arc::make_mut(&mut entry.counter).period = Period::stored("2099")
    });
    flip("counter.series", &|entry| {
        Arc::make_mut(&mut entry.counter).series = SeriesName::parse("another").expect("a name");
    });
    flip("counter.partition", &|entry| {
        Arc::make_mut(&mut entry.counter).partition = Params::stored("z=9")
    });
    flip("number", &|entry| entry.number = Arc::from("INV-999"));
    for state in [State::Reserved, State::Issued, State::Voided] {
        flip("state", &|entry| entry.state = state);
    }
    for origin in [Origin::Issue, Origin::Reserve, Origin::Adopt] {
        flip("origin", &|entry| entry.origin = origin);
    }
    flip("date", &|entry| entry.date = entry.date.plus_days(1));
    flip("key", &|entry| entry.key = other_key(entry.key.as_ref()));
    flip("key to null", &|entry| entry.key = None);
    flip("params", &|entry| {
        entry.params = Params::stored(&format!("{},z=9", entry.params))
    });
    flip("reference", &|entry| {
        entry.reference = other_reference(entry.reference.as_ref())
    });
    flip("reference to null", &|entry| entry.reference = None);
    flip("document", &|entry| {
        entry.document = Some(Document::stored("{\"eve\":1}"))
    });
    flip("document restored", &|entry| {
        entry.document = Some(Document::stored("{\"a\":1}"))
    });
    flip("document to null", &|entry| entry.document = None);
    flip("document_sha256", &|entry| {
        entry.document_sha256 = Some(Hash::of(b"another"))
    });
    flip("document_sha256 to null", &|entry| entry.document_sha256 = None);
    flip("taken_at", &|entry| entry.taken_at = entry.taken_at.plus_seconds(-1));
    flip("issued_at", &|entry| {
        entry.issued_at = Some(entry.issued_at.unwrap_or(entry.taken_at).plus_seconds(1));
    });
    flip("issued_at to null", &|entry| entry.issued_at = None);
    flip("expires_at", &|entry| {
        entry.expires_at = Some(entry.expires_at.unwrap_or(entry.taken_at).plus_seconds(1));
    });
    flip("expires_at to null", &|entry| entry.expires_at = None);
    flip("voided_at", &|entry| {
        entry.voided_at = Some(entry.voided_at.unwrap_or(entry.taken_at).plus_seconds(1));
    });
    flip("voided_at to null", &|entry| entry.voided_at = None);
    flip("reason_code", &|entry| {
        entry.reason_code = other_text(entry.reason_code.as_deref())
    });
    flip("reason_code to null", &|entry| entry.reason_code = None);
    flip("reason", &|entry| entry.reason = other_reason(entry.reason.as_ref()));
    flip("reason to null", &|entry| entry.reason = None);
    flip("replaces", &|entry| entry.replaces = other_id(entry.replaces));
    flip("replaces to null", &|entry| entry.replaces = None);
    flip("replacement", &|entry| entry.replacement = other_id(entry.replacement));
    flip("replacement to null", &|entry| entry.replacement = None);
    flip("position forward", &|entry| entry.position += 100);
    flip("position back", &|entry| entry.position -= 1);
    flip("hash", &|entry| entry.hash = Hash::of(b"another"));
    flips
}

/// The flips that no single event tells: they are found by counting events, or by seeing that none was the latest.
fn unnoticed(ledger: &Ledger, number: &str) -> String {
    let mut entries = ledger.world.entries.values();
    let entry = entries
        .find(|entry| *entry.number == *number)
        .unwrap_or_else(|| panic!("no {number}"));
    let events = ledger.world.events_of(entry);
    let differs = |entry: &Entry| events.iter().any(|event| compare_entry(entry, event).is_some());
    assert!(!differs(entry), "{number} as it is");
    let flips = entry_flips(entry);
    assert!(flips.len() >= 30, "{number}");
    let left: Vec<&str> = flips
        .iter()
        .filter(|(_, flipped)| !differs(flipped))
        .map(|(name, _)| *name)
        .collect();
    left.join(", ")
}

#[test]
fn a_changed_entry_is_found_by_its_events_whatever_was_changed() {
    let mut ledger = Ledger::default();
    ledger.run(expect![[r#"
        define invoice format=INV-{branch}-{seq} params.branch=digits:2 keys=optional -> invoice version 1
        # 1: issued
        issue invoice key=a branch=7 doc={"a":1} ref=order         -> INV-07-1
        # 2: reserved
        reserve invoice key=b branch=7 doc={"a":1}                 -> INV-07-2 reserved
        # 3: confirmed, with a document then
        reserve invoice key=c branch=7                             -> INV-07-3 reserved
        at 2026-03-02T10:05:00Z
        confirm INV-07-3 doc={"c":1}                               -> INV-07-3
        # 4: released
        reserve invoice key=d branch=7 doc={"a":1}                 -> INV-07-4 reserved
        release INV-07-4                                           -> INV-07-4 voided
        # 5: voided
        issue invoice key=e branch=7 doc={"a":1}                   -> INV-07-5
        at 2026-03-02T10:10:00Z
        void INV-07-5 code=spoiled reason='paper jam'              -> INV-07-5 voided
        # 6: voided and replaced by 7
        issue invoice key=f branch=7 doc={"a":1}                   -> INV-07-6
        void INV-07-6 reissue                                      -> INV-07-7 for INV-07-6 which is voided
        # 8: redacted
        issue invoice key=g branch=7 doc={"a":1}                   -> INV-07-8
        redact INV-07-8                                            -> INV-07-8
        # 9: voided, then redacted
        issue invoice key=h branch=7 doc={"a":1}                   -> INV-07-9
        void INV-07-9                                              -> INV-07-9 voided
        redact INV-07-9                                            -> INV-07-9 voided
        # 10: redacted, then voided
        issue invoice key=i branch=7 doc={"a":1}                   -> INV-07-10
        redact INV-07-10                                           -> INV-07-10
        void INV-07-10                                             -> INV-07-10 voided
        # 12: adopted
        adopt invoice INV-07-12 key=j date=2026-02-01 doc={"a":1}  -> INV-07-12
        # 13: adopted, then voided
        adopt invoice INV-07-13 date=2026-02-01                    -> INV-07-13
        void INV-07-13                                             -> INV-07-13 voided
        # 14: reserved, then voided
        reserve invoice key=k branch=7 doc={"a":1}                 -> INV-07-14 reserved
        void INV-07-14                                             -> INV-07-14 voided
        # 15: confirmed, then voided
        reserve invoice key=l branch=7 doc={"a":1}                 -> INV-07-15 reserved
        confirm INV-07-15                                          -> INV-07-15
        void INV-07-15                                             -> INV-07-15 voided
        # A test series whose reservations run out.
        define trial format=T-{seq} on_expiry=void                 -> trial version 1
        reserve trial key=a ttl=1s doc={"a":1}                     -> T-1 reserved
        at 2026-03-02T11:00:00Z
        expire T-1                                                 -> T-1 voided
    "#]]);
    let numbers = [
        "INV-07-1",
        "INV-07-2",
        "INV-07-3",
        "INV-07-4",
        "INV-07-5",
        "INV-07-6",
        "INV-07-7",
        "INV-07-8",
        "INV-07-9",
        "INV-07-10",
        "INV-07-12",
        "INV-07-13",
        "INV-07-14",
        "INV-07-15",
        "T-1",
    ];
    let lines = numbers.map(|number| {
        let entry = ledger
            .world
            .entries
            .values()
            .find(|entry| *entry.number == *number)
            .expect(number);
        let life: Vec<&str> = ledger
            .world
            .events_of(entry)
            .iter()
            .map(|event| event.kind.as_str())
            .collect();
        format!("{number} {}: {}\n", life.join(" "), unnoticed(&ledger, number))
    });
    // `document to null` looks like a redaction: count the redacted events. `issued_at` of a number that was reserved
    // and voided: count the confirmed ones. `position forward` names an event that is not there.
    expect![[r#"
        INV-07-1 issued: document to null, position forward
        INV-07-2 reserved: document to null, position forward
        INV-07-3 reserved confirmed: document to null, position forward
        INV-07-4 reserved released: document to null, position forward
        INV-07-5 issued voided: document to null, position forward
        INV-07-6 issued voided: document to null, position forward
        INV-07-7 issued: document to null, position forward
        INV-07-8 issued redacted: position forward
        INV-07-9 issued voided redacted: position forward
        INV-07-10 issued redacted voided: position forward
        INV-07-12 adopted: document to null, position forward
        INV-07-13 adopted voided: position forward
        INV-07-14 reserved voided: document to null, issued_at, position forward
        INV-07-15 reserved confirmed voided: document to null, position forward
        T-1 reserved expired: document to null, position forward
    "#]]
    .assert_eq(&lines.concat());
}
