//! The words that callers choose and the texts that stores keep: what is taken, and that it reads back.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::at;
use common::ledger::Ledger;
use seriatim_core::{
    Access, Actor, ApiKey, ApiScope, Closure, Code, CounterId, EntryId, Hash, Key, ParamKind, Params, Reason,
    Reference, SeriesName, Tenant, Ttl,
};

#[test]
fn a_series_is_named_in_lower_case() {
    for good in ["a", "invoice", "a-b_2", &"a".repeat(63)] {
        assert_eq!(SeriesName::parse(good).as_deref(), Ok(good));
    }
    for bad in ["", "Invoice", "1st", "-a", "a b", "a.b", "ä", "a\n", &"a".repeat(64)] {
        let refusal = SeriesName::parse(bad).expect_err(bad);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidSeries, Some("/series"))
        );
    }
}

#[test]
fn a_tenant_begins_with_a_letter_or_a_digit() {
    for good in ["default", "1", "A.b_c-9", &"a".repeat(64)] {
        assert_eq!(Tenant::parse(good).as_deref(), Ok(good));
    }
    for bad in ["", ".a", "-a", "_a", "a/b", "a b", "ä", "a\0", &"a".repeat(65)] {
        let refusal = Tenant::parse(bad).expect_err(bad);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidTenant, Some("/tenant"))
        );
    }
}

#[test]
fn a_key_is_printable_ascii() {
    for good in ["a", "pay_1", "order 42", "~!\"{}", &"k".repeat(255)] {
        assert_eq!(Key::parse(good).as_deref(), Ok(good));
    }
    for bad in ["", " a", "a ", "ä", "a\tb", "a\u{7f}", &"k".repeat(256)] {
        let refusal = Key::parse(bad).expect_err(bad);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidKey, Some("/key"))
        );
    }
}

#[test]
fn free_text_is_what_a_person_can_read() {
    let longest = "é".repeat(255);
    for good in ["x", "order № 42", "a  b", &longest] {
        assert!(
            Reference::parse(good).is_ok() && Actor::parse(good).is_ok() && Reason::parse(good).is_ok(),
            "{good}"
        );
    }
    assert!(Reason::parse(&"é".repeat(1_000)).is_ok());
    for bad in ["", "  ", "a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{feff}", "a\0"] {
        assert_eq!(
            Reference::parse(bad).map_err(|refusal| refusal.field),
            Err(Some("/reference".into())),
            "{bad:?}"
        );
        assert_eq!(
            Reason::parse(bad).map_err(|refusal| refusal.field),
            Err(Some("/reason".into())),
            "{bad:?}"
        );
        assert_eq!(
            Actor::parse(bad).map_err(|refusal| refusal.code),
            Err(Code::InvalidText),
            "{bad:?}"
        );
    }
    assert!(Reference::parse(&"é".repeat(256)).is_err());
    assert!(Reason::parse(&"é".repeat(1_001)).is_err());
}

#[test]
fn a_reservation_lasts_one_second_to_366_days() {
    for (text, seconds) in [
        ("1s", 1),
        ("90s", 90),
        ("15m", 900),
        ("24h", 86_400),
        ("366d", 31_622_400),
    ] {
        assert_eq!(Ttl::parse(text).map(Ttl::as_seconds), Ok(seconds));
    }
    for bad in [
        "",
        "0s",
        "s",
        "90",
        "1w",
        "-1s",
        "+1s",
        "1.5h",
        " 1s",
        "367d",
        "99999999999999999999d",
        "1ß",
    ] {
        let refusal = Ttl::parse(bad).expect_err(bad);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidTtl, Some("/ttl"))
        );
    }
    assert_eq!(Ttl::from_seconds(31_622_400).map(Ttl::as_seconds), Ok(31_622_400));
    for bad in [0, 31_622_401, 1 << 40] {
        assert!(Ttl::from_seconds(bad).is_err(), "{bad}");
    }
}

#[test]
fn an_id_has_one_spelling() {
    let id: EntryId = "ent_0123456789abcdef_42".parse().expect("an id");
    assert_eq!(id.to_string(), "ent_0123456789abcdef_42");
    assert_eq!(CounterId::from_bytes(*id.counter.as_bytes()), id.counter);
    let largest = "ent_zzzzzzzzzzzzzzzz_9223372036854775807";
    assert_eq!(
        largest.parse::<EntryId>().map(|id| id.to_string()),
        Ok(largest.to_string())
    );
    let bad = [
        "",
        "ent_",
        "0123456789abcdef_42",
        "ent_0123456789abcdef",
        "ent_0123456789abcdef_",
        "ent_0123456789abcdef_0",
        "ent_0123456789abcdef_042",
        "ent_0123456789abcdef_+42",
        "ent_0123456789abcdef_-42",
        "ent_0123456789abcdef_9223372036854775808",
        "ent_0123456789ABCDEF_42",
        "ent_0123456789abcdei_42",
        "ent_0123456789abcde_42",
        "ent_0123456789abcdeff_42",
        "ent_0123456789abcdef_42_1",
    ];
    for bad in bad {
        let refusal = bad.parse::<EntryId>().expect_err(bad);
        assert_eq!(
            (refusal.code, refusal.field.as_deref()),
            (Code::InvalidId, Some("/id")),
            "{bad}"
        );
    }
    let hash = Hash::of(b"a");
    assert_eq!(hash.to_string().parse(), Ok(hash));
    for bad in [
        "",
        &hash.to_string()[1..],
        &format!("{hash}0"),
        &hash.to_string().replace('c', "g"),
        &"é".repeat(32),
    ] {
        assert!(bad.parse::<Hash>().is_err(), "{bad}");
    }
}

#[test]
fn a_param_has_one_spelling() {
    let digits = ParamKind::Digits { min: 2, max: 4 };
    for (given, canonical) in [
        ("1", "01"),
        ("01", "01"),
        ("0001", "01"),
        ("0", "00"),
        ("1234", "1234"),
        ("000123", "123"),
    ] {
        assert_eq!(digits.canonical(given).as_deref(), Ok(canonical), "{given}");
    }
    for bad in ["", "12345", "1a", "-1", "+1", " 1", "١", &"0".repeat(256)] {
        assert!(digits.canonical(bad).is_err(), "{bad}");
    }
    let letters = ParamKind::Letters { min: 2, max: 3 };
    for (given, fits) in [
        ("ab", true),
        ("AbC", true),
        ("a", false),
        ("abcd", false),
        ("a1", false),
        ("äb", false),
        ("", false),
    ] {
        assert_eq!(letters.canonical(given).is_ok(), fits, "{given}");
    }
    let one_of = ParamKind::OneOf(vec!["N".into(), "N-1".into()]);
    for (given, fits) in [("N", true), ("N-1", true), ("n", false), ("N-", false), ("", false)] {
        assert_eq!(one_of.canonical(given).is_ok(), fits, "{given}");
    }
}

#[test]
fn params_read_back_from_their_text() {
    let kinds = BTreeMap::from([
        ("a".to_string(), ParamKind::Digits { min: 2, max: 2 }),
        ("b".to_string(), ParamKind::OneOf(vec!["x/y-z_.9".into()])),
    ]);
    let given = BTreeMap::from([
        ("a".to_string(), "7".to_string()),
        ("b".to_string(), "x/y-z_.9".to_string()),
    ]);
    let params = Params::canonical(&kinds, &given).expect("fitting params");
    assert_eq!(params.to_string(), "a=07,b=x/y-z_.9");
    assert_eq!(Params::stored(&params.to_string()), params);
    assert_eq!(Params::stored(""), Params::default());
    // A name that is no name points at itself, with its slashes escaped.
    let refusal =
        Params::canonical(&kinds, &BTreeMap::from([("a/~".to_string(), String::new())])).expect_err("unknown");
    assert_eq!(
        (refusal.code, refusal.field.as_deref()),
        (Code::UnknownParam, Some("/params/a~1~0"))
    );
}

#[test]
fn an_api_key_reads_back_from_its_text() {
    let key = ApiKey {
        id: "k1".into(),
        label: "the shop = scopes=admin".into(),
        secret_sha256: Hash::of(b"secret"),
        access: Access {
            scopes: BTreeSet::from([ApiScope::Issue, ApiScope::Read]),
            tenants: BTreeSet::from([Tenant::default(), Tenant::parse("acme").expect("a tenant")]),
            series: BTreeSet::from([SeriesName::parse("invoice").expect("a name")]),
            test_only: true,
        },
        created_at: at("2026-03-02T10:00:00.123456Z"),
        revoked_at: Some(at("2026-03-03T10:00:00Z")),
    };
    let text = key.to_text();
    assert_eq!(ApiKey::from_text(&text, key.revoked_at).as_ref(), Ok(&key));
    assert_eq!(
        ApiScope::ALL.map(|scope| ApiScope::parse(scope.as_str())),
        ApiScope::ALL.map(Ok)
    );
    // What is damaged does not read as something else.
    for name in [
        "id",
        "label",
        "secret_sha256",
        "scopes",
        "tenants",
        "series",
        "test",
        "created_at",
    ] {
        let damaged = text.replace(&format!("{name}="), &format!("{name}:"));
        assert!(ApiKey::from_text(&damaged, None).is_err(), "{name} is lost");
    }
    for (whole, broken) in [
        ("scopes=issue", "scopes=ruler"),
        ("tenants=acme", "tenants=a/b"),
        ("series=invoice", "series=INVOICE"),
        ("created_at=1", "created_at=x"),
        ("test=true", "test=maybe"),
    ] {
        assert!(text.contains(whole), "{whole}");
        assert!(
            ApiKey::from_text(&text.replace(whole, broken), None).is_err(),
            "{broken}"
        );
    }
}

#[test]
fn what_was_closed_reads_back_from_its_text() {
    let mut ledger = Ledger::default();
    ledger
        .ask("define invoice format={a}/{b}/{seq} params.a=letters:1 params.b=digits:2 partition_by=a,b keys=optional");
    for line in [
        "issue invoice a=N b=1",
        "issue invoice a=S b=2 count=3",
        "advance invoice a=S b=2 to=9",
        "void S/02/2",
    ] {
        ledger.ask(line);
    }
    ledger.ask("close invoice all");
    let closure = ledger.world.closures.values().next().expect("a closure");
    assert_eq!(closure.counters.len(), 2);
    assert_eq!(
        Closure::counters_from_text(&closure.to_text()).as_ref(),
        Some(&closure.counters)
    );
    let damaged = closure.to_text().replace("counter=a=N", "counter=;a=N");
    assert_eq!(Closure::counters_from_text(&damaged), None);
}
