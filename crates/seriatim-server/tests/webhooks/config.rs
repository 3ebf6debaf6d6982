//! `[sources.NAME]`: what is taken, and a refusal with its place for everything else.

use expect_test::{Expect, expect};
use seriatim_server::webhooks::{Meaning, Scheme};

use crate::cli_support::Desk;
use crate::support::config;

const GOOD: &str = "[sources.shop]\nscheme = \"razorpay\"\nseries = \"receipt\"\nsecrets = [\"new\", \"old\"]\n";

fn refused(more: &str) -> String {
    config(&format!("{GOOD}{more}"), &[]).unwrap_err().0
}

fn check(file: &str, expected: Expect) {
    expected.assert_eq(&config(file, &[]).unwrap_err().0);
}

#[test]
fn a_source_is_read_with_its_defaults() {
    let source = config(GOOD, &[]).unwrap().remove(0);
    assert_eq!((source.name.as_str(), source.scheme), ("shop", Scheme::Razorpay));
    assert_eq!((source.tenant.as_str(), source.series.as_str()), ("default", "receipt"));
    assert_eq!(source.effects, ["receipt"]);
    assert_eq!(source.paid, [Meaning::Paid]);
    assert!(!source.test && source.status.is_none());
}

#[test]
fn every_key_of_a_source_is_read() {
    let file = format!(
        "{GOOD}tenant = \"acme\"\neffects = []\npaid = [\"paid\", \"authorized\"]\ntest = true\n\
         status = \"razorpay\"\nstatus_url = \"http://127.0.0.1:9\"\nstatus_id = \"rzp_1\"\nstatus_secret = \"s\"\n"
    );
    let source = config(&file, &[]).unwrap().remove(0);
    assert_eq!(source.tenant.as_str(), "acme");
    assert!(source.test && source.effects.is_empty());
    assert_eq!(source.paid, [Meaning::Paid, Meaning::Authorized]);
    let status = source.status.unwrap();
    assert_eq!(
        (status.url.as_str(), status.id.as_str()),
        ("http://127.0.0.1:9/", "rzp_1")
    );
    assert_eq!(format!("{status:?}"), "StatusSettings(razorpay at http://127.0.0.1:9/)");
}

#[test]
fn secrets_come_from_files_and_variables_which_stand_above_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets");
    std::fs::write(&path, "new\nold\n\n").unwrap();
    let path = path.display().to_string();
    let bare = "[sources.my-shop]\nscheme = \"stripe\"\nseries = \"receipt\"\n";
    assert!(config(bare, &[("SERIATIM_SOURCE_MY_SHOP_SECRETS", "whsec_a\nwhsec_b")]).is_ok());
    let by_file = format!(
        "{}secrets_file = \"{path}\"\n",
        GOOD.replace("secrets = [\"new\", \"old\"]\n", "")
    );
    assert!(config(&by_file, &[]).is_ok());
    assert!(config(&by_file, &[("SERIATIM_SOURCE_SHOP_SECRETS_FILE", &path)]).is_ok());
    let both = [
        ("SERIATIM_SOURCE_SHOP_SECRETS_FILE", path.as_str()),
        ("SERIATIM_SOURCE_SHOP_SECRETS", "x"),
    ];
    assert!(config(GOOD, &both).unwrap_err().0.contains("both set"));
    // What is wrong in a variable is said of the variable.
    let bad = config(bare, &[("SERIATIM_SOURCE_MY_SHOP_SECRETS", "sk_live_1")])
        .unwrap_err()
        .0;
    expect!["SERIATIM_SOURCE_MY_SHOP_SECRETS: sources.my-shop: secrets number 1: a secret of a Stripe endpoint begins with whsec_"].assert_eq(&bad);
    let twice = format!("{GOOD}secrets_file = \"{path}\"\n");
    assert!(
        config(&twice, &[])
            .unwrap_err()
            .0
            .contains("secrets and secrets_file are both set")
    );
}

#[test]
fn what_is_wrong_in_the_file_is_said_with_line_and_column() {
    let lines: Vec<String> = [
        "schema = \"x\"",
        "test = \"yes\"",
        "tenant = \"no tenant\"",
        "effects = [\"mail\"]",
        "effects = \"receipt\"",
        "effects = [1]",
        "paid = []",
        "paid = [\"failed\"]",
        "status = \"stripe\"",
        "status = \"paypal\"",
        "status_url = \"https://x\"",
        "status = \"razorpay\"",
        "status = \"razorpay\"\nstatus_id = \"i\"",
        "status = \"razorpay\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_version = 1",
        "status = \"razorpay\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_url = \"http://api.razorpay.com\"",
        "status = \"razorpay\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_url = \"razorpay\"",
        "status = \"razorpay\"\nstatus_id = \"i\"\nstatus_secret = \"s\"\nstatus_url = \"https://u:p@x\"",
        "pointer_time = \"/x\"",
        "paid_events = [\"x\"]",
        "secrets_file = \"missing\"",
    ]
    .iter()
    .map(|more| refused(more) + "\n")
    .collect();
    expect![[r#"
        seriatim.toml:5:1: sources.shop: unknown key `schema`; there are authorized_events, effects, failed_events, paid, paid_events, pointer_amount, pointer_currency, pointer_event, pointer_reference, pointer_time, refunded_events, scheme, secrets, secrets_file, series, status, status_id, status_secret, status_secret_file, status_token_url, status_url, status_version, tenant, test
        seriatim.toml:5:8: sources.shop.test: expected true or false, found a string
        seriatim.toml:5:1: sources.shop: tenant = `no tenant`: tenant: a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`
        seriatim.toml:5:1: sources.shop: effects has `mail`; the effects are: receipt
        seriatim.toml:5:11: sources.shop.effects: expected a list of texts, found a string
        seriatim.toml:5:11: sources.shop.effects: expected a list of texts, found a integer in it
        seriatim.toml:5:1: sources.shop: paid is empty; leave it out, or name paid, authorized
        seriatim.toml:5:1: sources.shop: paid has `failed`; what can count as paid is: paid, authorized
        seriatim.toml:5:1: sources.shop: status = `stripe` is another provider's than scheme razorpay
        seriatim.toml:5:1: sources.shop: status = `paypal`: use one of phonepe, phonepe-v2, razorpay, stripe
        seriatim.toml:5:1: sources.shop: status_url says nothing without status, the kind of API
        seriatim.toml:1:10: sources.shop: status_id is not set
        seriatim.toml:1:10: sources.shop: status_secret is not set
        seriatim.toml:8:1: sources.shop: status_version is not used by status = "razorpay"
        seriatim.toml:8:1: sources.shop: status_url = `http://api.razorpay.com`: use https
        seriatim.toml:8:1: sources.shop: status_url = `razorpay`: relative URL without a base
        seriatim.toml:8:1: sources.shop: status_url has a login in it; use status_id and status_secret
        seriatim.toml:5:1: sources.shop: pointer_time is for scheme = "standard" only; razorpay has its fields in known places
        seriatim.toml:5:1: sources.shop: paid_events is for scheme = "standard" only; razorpay has its fields in known places
        cannot read missing (seriatim.toml:5:1): No such file or directory (os error 2)
    "#]].assert_eq(&lines.concat());
}

#[test]
fn a_source_that_lacks_something_is_refused() {
    check(
        "sources = 1",
        expect!["seriatim.toml:1:11: sources: write each as a table, [sources.NAME]"],
    );
    check(
        "[sources]\nshop = 1",
        expect!["seriatim.toml:2:1: sources.shop: expected a table, found a integer"],
    );
    check(
        "[sources.Shop]\n",
        expect![
            "seriatim.toml:1:10: sources.Shop: a source's name is a lower-case letter, then up to 62 of a-z, 0-9 and `-`"
        ],
    );
    check(
        "[sources.shop]\nseries = \"a\"",
        expect!["seriatim.toml:1:10: sources.shop: scheme is not set"],
    );
    check(
        "[sources.shop]\nscheme = \"paypal\"\nseries = \"a\"",
        expect![
            "seriatim.toml:2:1: sources.shop: scheme = `paypal`: use one of phonepe-x-verify, phonepe-authorization, phonepe-hmac, razorpay, stripe, standard"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nsecrets = [\"a\"]",
        expect!["seriatim.toml:1:10: sources.shop: series is not set"],
    );
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"A\"\nsecrets = [\"a\"]",
        expect![
            "seriatim.toml:3:1: sources.shop: series = `A`: series: a series name is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"a\"",
        expect![
            "seriatim.toml:1:10: sources.shop: secrets is empty; give secrets, secrets_file (one a line) or SERIATIM_SOURCE_SHOP_SECRETS"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"a\"\nsecrets = [\" a\"]",
        expect![
            "seriatim.toml:4:1: sources.shop: secrets number 1: a secret must not be empty, nor begin or end with a space"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"phonepe-x-verify\"\nseries = \"a\"\nsecrets = [\"salt\"]",
        expect!["seriatim.toml:4:1: sources.shop: secrets number 1: write a salt as INDEX:SALT, e.g. 1:099eb0cd-…"],
    );
    check(
        "[sources.shop]\nscheme = \"phonepe-authorization\"\nseries = \"a\"\nsecrets = [\"u:p\"]",
        expect![
            "seriatim.toml:1:10: sources.shop: status is not set; phonepe-authorization does not protect the body, so every payment is confirmed there first"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_AAAA\"]",
        expect![
            "seriatim.toml:4:1: sources.shop: secrets number 1: a whsec_ secret has 24 to 64 bytes; this one has 3"
        ],
    );
    check(
        "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_*\"]",
        expect![
            "seriatim.toml:4:1: sources.shop: secrets number 1: what follows the prefix of the secret is no base64"
        ],
    );
    let standard = "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";
    check(
        &format!("{standard}pointer_time = \"time\""),
        expect!["seriatim.toml:5:1: sources.shop: pointer_time is no JSON pointer; write it like /data/payment_id"],
    );
    check(
        &format!("{standard}failed_events = [\"payment.paid\"]"),
        expect!["seriatim.toml:2:1: sources.shop: scheme standard: `payment.paid` is listed with two meanings"],
    );
}

#[test]
fn the_settings_are_shown_without_the_secrets() {
    let desk = Desk::new();
    desk.write("seriatim.toml", &GOOD.replace("new", "hush").replace("old", "whisper"));
    let shown = desk.ok(&["config", "show"]);
    assert!(
        shown.contains("sources.shop.scheme\trazorpay\tseriatim.toml:2:1"),
        "{shown}"
    );
    assert!(shown.contains("sources.shop.secrets\t(hidden)"), "{shown}");
    assert!(!shown.contains("hush") && !shown.contains("whisper"), "{shown}");
}
