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
    expect![""].assert_eq(&lines.concat());
}

#[test]
fn a_source_that_lacks_something_is_refused() {
    check("sources = 1", expect![""]);
    check("[sources]\nshop = 1", expect![""]);
    check("[sources.Shop]\n", expect![""]);
    check("[sources.shop]\nseries = \"a\"", expect![""]);
    check("[sources.shop]\nscheme = \"paypal\"\nseries = \"a\"", expect![""]);
    check("[sources.shop]\nscheme = \"razorpay\"\nsecrets = [\"a\"]", expect![""]);
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"A\"\nsecrets = [\"a\"]",
        expect![""],
    );
    check("[sources.shop]\nscheme = \"razorpay\"\nseries = \"a\"", expect![""]);
    check(
        "[sources.shop]\nscheme = \"razorpay\"\nseries = \"a\"\nsecrets = [\" a\"]",
        expect![""],
    );
    check(
        "[sources.shop]\nscheme = \"phonepe-x-verify\"\nseries = \"a\"\nsecrets = [\"salt\"]",
        expect![""],
    );
    check(
        "[sources.shop]\nscheme = \"phonepe-authorization\"\nseries = \"a\"\nsecrets = [\"u:p\"]",
        expect![""],
    );
    check(
        "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_AAAA\"]",
        expect![""],
    );
    check(
        "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_*\"]",
        expect![""],
    );
    let standard = "[sources.shop]\nscheme = \"standard\"\nseries = \"a\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";
    check(&format!("{standard}pointer_time = \"time\""), expect![""]);
    check(&format!("{standard}failed_events = [\"payment.paid\"]"), expect![""]);
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
