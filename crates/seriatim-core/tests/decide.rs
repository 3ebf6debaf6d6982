//! The rules, as ledgers: what is asked, when, and what is answered.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::ledger::{Ledger, ledger};
use expect_test::expect;
use seriatim_core::{Actor, Code, SeriesName};

// Numbers.

#[test]
fn numbers_come_one_after_another_from_the_start() {
    ledger(expect![[r#"
        define invoice format=INV-{seq:3} keys=optional            -> invoice version 1
        define order format={seq} start=1000                       -> order version 1
        issue invoice                                              -> INV-001
        issue invoice key=a                                        -> INV-002
        issue invoice                                              -> INV-003
        issue order key=a                                          -> 1000
        issue order key=b                                          -> 1001
        counters invoice                                           -> default all: 1..3 3 issued
        counters order                                             -> default all: 1000..1001 2 issued
    "#]]);
}

#[test]
fn the_day_of_the_document_decides_the_period() {
    ledger(expect![[r#"
        define invoice format=INV-{fy}-{seq:5} reset=fiscal-year:04-01 zone=Asia/Kolkata -> invoice version 1
        at 2026-03-31T23:59:59+05:30
        issue invoice key=a                                        -> INV-2526-00001
        at 2026-04-01T00:00:01+05:30
        issue invoice key=a                                        -> INV-2526-00001 replayed
        issue invoice key=b                                        -> INV-2627-00001
        # Written today, dated yesterday: it belongs to the year that is over.
        issue invoice key=c date=2026-03-31                        -> INV-2526-00002
        issue invoice key=d date=2026-04-02                        -> INV-2627-00002
        counters invoice                                           -> default 2025-26: 1..2 2 issued | default 2026-27: 1..2 2 issued
        show INV-2526-00002                                        -> issued 2026-03-31 2025-26 key=c
    "#]]);
}

#[test]
fn a_count_belongs_to_a_tenant_and_a_partition() {
    ledger(expect![[r#"
        define order format={branch}-{year}-{seq} reset=yearly params.branch=digits:2 partition_by=branch -> order version 1
        issue order key=a branch=1                                 -> 01-2026-1
        issue order key=b branch=01                                -> 01-2026-2
        issue order key=c branch=2                                 -> 02-2026-1
        issue order key=a branch=1 tenant=acme                     -> 01-2026-1
        issue order key=a branch=1 tenant=acme                     -> 01-2026-1 replayed
        issue order key=d branch=1 date=2025-12-31                 -> 01-2025-1
        counters order                                             -> acme 2026 branch=01: 1..1 1 issued | default 2025 branch=01: 1..1 1 issued | default 2026 branch=01: 1..2 2 issued | default 2026 branch=02: 1..1 1 issued
    "#]]);
}

#[test]
fn a_param_that_does_not_split_the_count_shares_it() {
    ledger(expect![[r#"
        define order format={desk}/{seq} params.desk=letters:1..4  -> order version 1
        issue order key=a desk=N                                   -> N/1
        issue order key=b desk=WEST                                -> WEST/2
        issue order key=c desk=N                                   -> N/3
        counters order                                             -> default all: 1..3 3 issued
    "#]]);
}

#[test]
fn several_numbers_for_one_key_are_one_run() {
    ledger(expect![[r#"
        define ticket format=T{seq:4}                              -> ticket version 1
        issue ticket key=a                                         -> T0001
        issue ticket key=b count=3                                 -> T0002, T0003, T0004
        issue ticket key=c                                         -> T0005
        issue ticket key=b count=3                                 -> T0002 replayed, T0003 replayed, T0004 replayed
        issue ticket key=b count=2                                 -> refused key_reused /key [T0002 issued]
        void T0003                                                 -> T0003 voided
        issue ticket key=b count=3                                 -> refused voided /key [T0003 voided]
        issue ticket key=b                                         -> refused key_reused /key [T0002 issued]
        issue ticket key=d count=1000                              -> T0006 … T1005 (1000)
        issue ticket key=e count=0                                 -> refused invalid_count /count
        issue ticket key=e count=1001                              -> refused invalid_count /count
        counters ticket                                            -> default all: 1..1005 1004 issued 1 voided
    "#]]);
}

// Retries.

#[test]
fn a_retry_returns_the_first_answer() {
    ledger(expect![[r#"
        define invoice format=INV-{year}-{seq:3} reset=yearly      -> invoice version 1
        issue invoice key=pay_1 doc={"total":100} ref='order 1'    -> INV-2026-001
        at 2026-12-31T23:59:00Z
        issue invoice key=pay_1 doc={"total":100}                  -> INV-2026-001 replayed
        # Years later, with the clock on another period.
        at 2031-05-05T05:05:05Z
        issue invoice key=pay_1 doc={"total":100}                  -> INV-2026-001 replayed
        issue invoice key=pay_2                                    -> INV-2031-001
        show INV-2026-001                                          -> issued 2026-03-02 2026 key=pay_1 ref=order 1 doc={"total":100}
        counters invoice                                           -> default 2026: 1..1 1 issued | default 2031: 1..1 1 issued
    "#]]);
}

#[test]
fn a_lenient_series_gives_the_number_and_says_what_differs() {
    ledger(expect![[r#"
        define invoice format=INV-{branch}{seq:3} params.branch=digits:1 -> invoice version 1
        issue invoice key=a branch=1 doc={"total":100}             -> INV-1001
        issue invoice key=a branch=1 doc={"total":100} date=2026-03-02 -> INV-1001 replayed
        issue invoice key=a branch=1 doc={"total":101}             -> INV-1001 replayed differs in document
        issue invoice key=a branch=1 doc={"total":101} date=2026-03-01 -> INV-1001 replayed differs in date, document
        issue invoice key=a branch=1                               -> INV-1001 replayed differs in document
        issue invoice key=a branch=1 doc={"total":100} ref=other   -> INV-1001 replayed
        issue invoice key=a branch=2 doc={"total":100}             -> refused key_reused /key [INV-1001 issued]
        reserve invoice key=a branch=1 doc={"total":100}           -> refused key_reused /key [INV-1001 issued]
        issue invoice key=a branch=1 count=2                       -> refused key_reused /key [INV-1001 issued]
        # Outside of the window, but it is a retry.
        issue invoice key=a branch=1 doc={"total":100} date=2006-03-02 -> INV-1001 replayed differs in date
        counters invoice                                           -> default all: 1..1 1 issued
    "#]]);
}

#[test]
fn a_strict_series_refuses_what_differs() {
    ledger(expect![[r#"
        define invoice format=INV-{seq:3} replay=strict            -> invoice version 1
        issue invoice key=a doc={"total":100}                      -> INV-001
        issue invoice key=a doc={"total":100}                      -> INV-001 replayed
        issue invoice key=a doc={"total":100} date=2026-03-02      -> INV-001 replayed
        # A date that is not given is whatever it was.
        at 2026-03-09T10:00:00Z
        issue invoice key=a doc={"total":100}                      -> INV-001 replayed
        issue invoice key=a doc={"total":101}                      -> refused key_reused /key [INV-001 issued]
        issue invoice key=a doc={"total":100} date=2026-03-09      -> refused key_reused /key [INV-001 issued]
        issue invoice key=a                                        -> refused key_reused /key [INV-001 issued]
        counters invoice                                           -> default all: 1..1 1 issued
    "#]]);
}

#[test]
fn a_retried_reservation_may_have_got_its_document_since() {
    ledger(expect![[r#"
        define invoice format=INV-{seq:3} replay=strict            -> invoice version 1
        reserve invoice key=a ttl=1h                               -> INV-001 reserved
        confirm INV-001 doc={"total":100}                          -> INV-001
        reserve invoice key=a ttl=1h                               -> INV-001 replayed
        reserve invoice key=a ttl=1h doc={"total":100}             -> INV-001 replayed
        reserve invoice key=a ttl=1h doc={"total":101}             -> refused key_reused /key [INV-001 issued]
        reserve invoice key=b doc={"total":1}                      -> INV-002 reserved
        reserve invoice key=b                                      -> refused key_reused /key [INV-002 reserved]
    "#]]);
}

#[test]
fn a_key_is_the_business_of_its_tenant_and_series() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        define receipt format=RCP-{seq}                            -> receipt version 1
        issue invoice key=pay_1                                    -> INV-1
        issue receipt key=pay_1                                    -> RCP-1
        issue invoice key=pay_1 tenant=acme                        -> INV-1
        issue invoice key=PAY_1                                    -> INV-2
        issue invoice key=pay_1                                    -> INV-1 replayed
        issue receipt key=pay_1                                    -> RCP-1 replayed
    "#]]);
}

#[test]
fn commands_that_wait_together_are_decided_one_upon_the_other() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        together issue invoice key=a | issue invoice key=b | issue invoice key=a | issue nothing key=c | issue invoice key=c -> INV-1 | INV-2 | INV-1 replayed | refused unknown_series /series | INV-3
        together issue invoice key=d | void INV-1 reissue | issue invoice key=a | issue invoice key=e -> INV-4 | INV-5 for INV-1 which is voided | refused voided /key [INV-1 voided] [INV-5 issued] | INV-6
        together define order format=O-{seq} | issue order key=a | define order format=P-{seq} if=1 | issue order key=b -> order version 1 | O-1 | refused series_fixed /format | O-2
        together reserve invoice key=f | close invoice all | issue invoice key=g -> INV-7 reserved | refused period_busy /period | INV-8
        counters invoice                                           -> default all: 1..8 6 issued 1 reserved 1 voided
        counters order                                             -> default all: 1..2 2 issued
    "#]]);
}

// Voids.

#[test]
fn a_voided_number_is_no_answer_to_a_retry() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        issue invoice key=a                                        -> INV-1
        void INV-1 code=spoiled reason='paper jam'                 -> INV-1 voided
        issue invoice key=a                                        -> refused voided /key [INV-1 voided]
        void INV-1                                                 -> refused already_voided /id [INV-1 voided]
        # With a replacement, the answer names both.
        issue invoice key=b                                        -> INV-2
        void INV-2 code=duplicate reason='typed twice' reissue     -> INV-3 for INV-2 which is voided
        issue invoice key=b                                        -> refused voided /key [INV-2 voided] [INV-3 issued]
        show INV-2                                                 -> voided 2026-03-02 all key=b reason_code=duplicate reason=typed twice replacement=3
        show INV-3                                                 -> issued 2026-03-02 all key=b replaces=2
        counters invoice                                           -> default all: 1..3 1 issued 2 voided
    "#]]);
}

#[test]
fn a_replacement_can_be_voided_and_replaced_again() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        issue invoice key=a doc={"n":1} ref='order 1'              -> INV-1
        void INV-1 reissue                                         -> INV-2 for INV-1 which is voided
        void INV-2 reissue                                         -> INV-3 for INV-2 which is voided
        issue invoice key=a                                        -> refused voided /key [INV-2 voided] [INV-3 issued]
        void INV-1 reissue                                         -> refused already_voided /id [INV-1 voided] [INV-2 voided]
        # The end of the chain is void and nothing replaces it.
        void INV-3 code=cancelled reason='no business'             -> INV-3 voided
        issue invoice key=a                                        -> refused voided /key [INV-3 voided]
        show INV-1                                                 -> voided 2026-03-02 all key=a ref=order 1 doc={"n":1} reason_code=other reason=because replacement=2
        show INV-2                                                 -> voided 2026-03-02 all key=a ref=order 1 doc={"n":1} reason_code=other reason=because replaces=1 replacement=3
        show INV-3                                                 -> voided 2026-03-02 all key=a ref=order 1 doc={"n":1} reason_code=cancelled reason=no business replaces=2
        counters invoice                                           -> default all: 1..3 3 voided
    "#]]);
}

#[test]
fn the_replacement_of_any_verb_is_found_by_a_retry_of_that_verb() {
    // Regression: a replacement is issued, and a retry of the reservation heard that the key was used for an issue.
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        reserve invoice key=a                                      -> INV-1 reserved
        void INV-1 reissue                                         -> INV-2 for INV-1 which is voided
        reserve invoice key=a                                      -> refused voided /key [INV-1 voided] [INV-2 issued]
        adopt invoice INV-5 key=b                                  -> INV-5
        void INV-5 reissue                                         -> INV-6 for INV-5 which is voided
        adopt invoice INV-5 key=b                                  -> refused voided /key [INV-5 voided] [INV-6 issued]
        issue invoice key=b                                        -> refused voided /key [INV-5 voided] [INV-6 issued]
    "#]]);
}

#[test]
fn a_replacement_is_dated_today_and_counts_there() {
    ledger(expect![[r#"
        define invoice format=INV-{year}-{seq} reset=yearly        -> invoice version 1
        issue invoice key=a                                        -> INV-2026-1
        at 2027-01-01T00:00:00Z
        issue invoice key=b                                        -> INV-2027-1
        void INV-2026-1 reissue                                    -> INV-2027-2 for INV-2026-1 which is voided
        show INV-2027-2                                            -> issued 2027-01-01 2027 key=a replaces=1
        counters invoice                                           -> default 2026: 1..1 1 voided | default 2027: 1..2 2 issued
    "#]]);
}

#[test]
fn a_key_that_others_share_does_not_move() {
    ledger(expect![[r#"
        define ticket format=T-{seq}                               -> ticket version 1
        issue ticket key=a count=3                                 -> T-1, T-2, T-3
        void T-2 reissue                                           -> refused key_shared /reissue
        void T-2                                                   -> T-2 voided
        issue ticket key=a count=3                                 -> refused voided /key [T-2 voided]
        counters ticket                                            -> default all: 1..3 2 issued 1 voided
    "#]]);
}

#[test]
fn a_number_without_a_key_can_be_replaced() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        issue invoice                                              -> INV-1
        void INV-1 reissue                                         -> INV-2 for INV-1 which is voided
        show INV-1                                                 -> voided 2026-03-02 all reason_code=other reason=because replacement=2
        show INV-2                                                 -> issued 2026-03-02 all replaces=1
    "#]]);
}

// Reservations.

#[test]
fn a_reservation_is_confirmed_or_released() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        reserve invoice key=a ttl=15m                              -> INV-1 reserved
        show INV-1                                                 -> reserved 2026-03-02 all key=a expires=2026-03-02T10:15:00.000000Z
        reserve invoice key=a ttl=7d                               -> INV-1 reserved replayed
        at 2026-03-02T10:10:00Z
        confirm INV-1 doc={"total":100}                            -> INV-1
        confirm INV-1 doc={"total":100}                            -> INV-1 replayed
        confirm INV-1                                              -> INV-1 replayed
        confirm INV-1 doc={"total":101}                            -> refused already_issued /document [INV-1 issued]
        release INV-1                                              -> refused not_reserved /id [INV-1 issued]
        show INV-1                                                 -> issued 2026-03-02 all key=a doc={"total":100} expires=2026-03-02T10:15:00.000000Z
        reserve invoice key=b                                      -> INV-2 reserved
        release INV-2 reason='cart abandoned'                      -> INV-2 voided
        release INV-2                                              -> refused already_voided /id [INV-2 voided]
        confirm INV-2                                              -> refused voided /id [INV-2 voided]
        reserve invoice key=b                                      -> refused voided /key [INV-2 voided]
        issue invoice key=c                                        -> INV-3
        confirm INV-3                                              -> refused not_reserved /id [INV-3 issued]
        release INV-3                                              -> refused not_reserved /id [INV-3 issued]
        expire INV-3                                               -> refused reservation_open /id [INV-3 issued]
        counters invoice                                           -> default all: 1..3 2 issued 1 voided
    "#]]);
}

#[test]
fn an_overdue_reservation_is_held_where_the_series_says_hold() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} on_expiry=hold             -> invoice version 1
        reserve invoice key=a ttl=1m                               -> INV-1 reserved
        at 2026-03-05T10:00:00Z
        expire INV-1                                               -> refused reservation_open /id [INV-1 reserved]
        reserve invoice key=a                                      -> INV-1 reserved replayed
        confirm INV-1                                              -> INV-1
        counters invoice                                           -> default all: 1..1 1 issued
    "#]]);
}

#[test]
fn an_overdue_reservation_is_void_where_the_series_says_void() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} on_expiry=void             -> invoice version 1
        reserve invoice key=a ttl=60s                              -> INV-1 reserved
        reserve invoice key=b ttl=60s                              -> INV-2 reserved
        # The last moment at which it still stands.
        at 2026-03-02T10:00:59.999999Z
        expire INV-1                                               -> refused reservation_open /id [INV-1 reserved]
        confirm INV-1                                              -> INV-1
        at 2026-03-02T10:01:00Z
        confirm INV-2                                              -> refused reservation_expired /id [INV-2 reserved]
        expire INV-2                                               -> INV-2 voided
        expire INV-2                                               -> refused reservation_open /id [INV-2 voided]
        reserve invoice key=b                                      -> refused voided /key [INV-2 voided]
        show INV-2                                                 -> voided 2026-03-02 all key=b expires=2026-03-02T10:01:00.000000Z reason_code=expired reason=the reservation ran out
        counters invoice                                           -> default all: 1..2 1 issued 1 voided
    "#]]);
}

// Batches.

#[test]
fn a_batch_is_taken_whole_or_not_at_all() {
    ledger(expect![[r#"
        define invoice format={branch}-{seq} params.branch=digits:1 partition_by=branch -> invoice version 1
        items invoice / key=a branch=1 / key=b branch=2 / key=c branch=1 -> 1-1, 2-1, 1-2
        items invoice / key=d branch=1 / key=e branch=1 / key=f branch=1 / key=g branch=x -> refused invalid_param /items/3/params/branch
        items invoice / key=d branch=1 / key=e branch=1 date=1990-01-01 -> refused date_outside_window /items/1/date
        items invoice / key=d branch=1 / branch=1                  -> refused key_required /items/1/key
        items invoice / key=d branch=1 / key=a branch=3            -> refused key_reused /items/1/key [1-1 issued]
        counters invoice                                           -> default all branch=1: 1..2 2 issued | default all branch=2: 1..1 1 issued
        # The same key twice is a retry within the batch; a key of an earlier batch is a retry too.
        items invoice / key=d branch=1 / key=a branch=1 / key=d branch=1 -> 1-3, 1-1 replayed, 1-3 replayed
        items invoice                                              -> refused invalid_count /items
        counters invoice                                           -> default all branch=1: 1..3 3 issued | default all branch=2: 1..1 1 issued
    "#]]);
}

#[test]
fn a_large_request_is_loaded_in_a_few_rounds() {
    // Regression: a batch asked for one item after the other, and a run in a series that replaces another for one
    // number after the other: a thousand round trips under locks. The world counts the rounds.
    let mut ledger = Ledger::default();
    ledger.ask("define old format={branch}-{seq} params.branch=digits:3 partition_by=branch");
    let items: String = (1..=300).map(|i| format!(" / key=k{i} branch={i}")).collect();
    let answer = ledger.ask(&format!("items old{items}"));
    assert_eq!(answer, "001-1 … 300-1 (300)");
    ledger.ask("define new format={branch}-{seq} params.branch=digits:3 partition_by=branch replaces=old");
    assert_eq!(
        ledger.ask("issue new key=a branch=999 count=1000"),
        "999-1 … 999-1000 (1000)"
    );
    assert_eq!(
        ledger.ask("issue new key=a branch=999 count=1000"),
        "999-1 replayed … 999-1000 replayed (1000)"
    );
    assert_eq!(
        ledger.ask(&format!("items new{items}")),
        "001-1 replayed … 300-1 replayed (300)"
    );
    assert_eq!(
        ledger.ask("issue new key=b branch=300 count=5"),
        "refused number_exists [300-1 issued]"
    );
    // Where a param does not split the count, only the old entries tell what was printed.
    ledger.ask("define first format={branch}+{seq:4} params.branch=digits:1");
    ledger.ask("issue first key=a branch=1 count=1000");
    ledger.ask("define second format={branch}+{seq:4} max_length=20 params.branch=digits:1 replaces=first");
    assert_eq!(
        ledger.ask("issue second key=b branch=2 count=1000"),
        "2+0001 … 2+1000 (1000)"
    );
    // The first bad item is named, though the ones before it had to be loaded first.
    let bad: String = (1..=50)
        .map(|i| format!(" / key=n{i} branch={}", if i > 40 { "x" } else { "900" }))
        .collect();
    assert_eq!(
        ledger.ask(&format!("items new{bad}")),
        "refused invalid_param /items/40/params/branch"
    );
    ledger.world.verify();
}

// Dates.

#[test]
fn a_date_lies_within_the_window() {
    ledger(expect![[r#"
        define invoice format=INV-{year}-{seq} reset=yearly date_window=-2d..+1d zone=Asia/Kolkata -> invoice version 1
        at 2026-03-01T23:30:00Z
        # It is the second of March there already.
        issue invoice key=a date=2026-02-28                        -> INV-2026-1
        issue invoice key=b date=2026-03-03                        -> INV-2026-2
        issue invoice key=c date=2026-02-27                        -> refused date_outside_window /date
        issue invoice key=c date=2026-03-04                        -> refused date_outside_window /date
        issue invoice key=c date=2062-03-02                        -> refused date_outside_window /date
        issue invoice key=c date=0001-01-01                        -> refused date_outside_window /date
        issue invoice key=c date=9999-12-31                        -> refused date_outside_window /date
        counters invoice                                           -> default 2026: 1..2 2 issued
        # What was issued elsewhere was issued when it was.
        adopt invoice INV-1999-7 date=1999-12-31                   -> INV-1999-7
    "#]]);
}

#[test]
fn dates_keep_their_order_where_it_is_required() {
    ledger(expect![[r#"
        define invoice format=INV-{year}-{seq} reset=yearly date_order=required -> invoice version 1
        issue invoice key=a date=2026-03-01                        -> INV-2026-1
        issue invoice key=b date=2026-03-03                        -> INV-2026-2
        issue invoice key=c date=2026-03-02                        -> refused date_order /date
        # Today is the second, but the last number has the third.
        issue invoice key=c                                        -> INV-2026-3
        show INV-2026-3                                            -> issued 2026-03-03 2026 key=c
        # The clock steps back a week; dates do not.
        at 2026-02-23T10:00:00Z
        issue invoice key=d                                        -> INV-2026-4
        show INV-2026-4                                            -> issued 2026-03-03 2026 key=d
        reserve invoice key=e                                      -> INV-2026-5 reserved
        void INV-2026-1 reissue                                    -> INV-2026-6 for INV-2026-1 which is voided
        show INV-2026-6                                            -> issued 2026-03-03 2026 key=a replaces=1
        # Over the end of the year the other counter goes on.
        at 2025-12-31T10:00:00Z
        issue invoice key=f                                        -> INV-2025-1
        issue invoice key=g date=2025-12-30                        -> refused date_order /date
        issue invoice key=h tenant=acme date=2025-12-30            -> INV-2025-1
        counters invoice                                           -> acme 2025: 1..1 1 issued | default 2025: 1..1 1 issued | default 2026: 1..6 4 issued 1 reserved 1 voided
    "#]]);
}

#[test]
fn dates_run_freely_where_they_may() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        issue invoice key=a date=2026-03-03                        -> INV-1
        issue invoice key=b date=2026-03-01                        -> INV-2
        issue invoice key=c                                        -> INV-3
        show INV-3                                                 -> issued 2026-03-02 all key=c
        # From now on it matters, and it counts from the latest.
        define invoice format=INV-{seq} date_order=required if=1   -> invoice version 2
        issue invoice key=d                                        -> INV-4
        show INV-4                                                 -> issued 2026-03-03 all key=d
        issue invoice key=e date=2026-03-02                        -> refused date_order /date
        # Regression: a missing seq that was filled left no date behind.
        define receipt format=R-{seq} keys=optional                -> receipt version 1
        advance receipt to=4                                       -> all at 4, 1..4 missing
        adopt receipt R-4 date=2026-03-28                          -> R-4
        define receipt format=R-{seq} keys=optional date_order=required if=1 -> receipt version 2
        issue receipt date=2026-03-02                              -> refused date_order /date
        issue receipt date=2026-03-28                              -> R-5
    "#]]);
}

#[test]
fn two_digit_years_belong_to_one_century() {
    ledger(expect![[r#"
        define invoice format=INV-{fy}-{seq} reset=fiscal-year:04-01 date_window=-36600d..+36600d -> invoice version 1
        issue invoice key=a date=2000-03-31                        -> refused date_out_of_range /date
        issue invoice key=a date=2000-04-01                        -> INV-0001-1
        issue invoice key=b date=2099-12-31                        -> INV-9900-1
        issue invoice key=c date=2100-01-01                        -> refused date_out_of_range /date
        adopt invoice INV-9900-1 date=1999-04-01                   -> refused date_out_of_range /date
        # A clock in another century is refused as well.
        at 2126-03-02T10:00:00Z
        issue invoice key=d                                        -> refused date_out_of_range /date
        counters invoice                                           -> default 2000-01: 1..1 1 issued | default 2099-00: 1..1 1 issued
    "#]]);
}

// Ends.

#[test]
fn a_number_that_outgrows_its_width_is_widened_with_a_warning() {
    ledger(expect![[r#"
        define invoice format=INV-{seq:5} keys=optional            -> invoice version 1
        advance invoice to=89998                                   -> all at 89998, 1..89998 missing
        issue invoice                                              -> INV-89999
        issue invoice                                              -> INV-90000
        advance invoice to=99998                                   -> all at 99998, 90001..99998 missing
        issue invoice                                              -> INV-99999 (near_limit: 0 numbers are left before the limit or the width of the format)
        issue invoice                                              -> INV-100000 (widened: INV-100000 has more than the 5 digits of its format)
        issue invoice                                              -> INV-100001 (widened: INV-100001 has more than the 5 digits of its format)
        preview invoice                                            -> would be INV-100002 (widened: INV-100002 has more than the 5 digits of its format)
        counters invoice                                           -> default all: 1..100001 5 issued 99996 missing [1..89998 because] [90001..99998 because]
    "#]]);
}

#[test]
fn the_last_tenth_of_a_counter_is_announced() {
    ledger(expect![[r#"
        define invoice format=INV-{seq:2} keys=optional overflow=refuse -> invoice version 1
        issue invoice count=90                                     -> INV-01 … INV-90 (90)
        issue invoice                                              -> INV-91 (near_limit: 8 numbers are left before the limit or the width of the format)
        issue invoice count=7                                      -> INV-92 … INV-98 (7) (near_limit: 1 numbers are left before the limit or the width of the format)
        void INV-01 reissue                                        -> INV-99 for INV-01 which is voided (near_limit: 0 numbers are left before the limit or the width of the format)
        define order format=O-{seq} keys=optional limit=200        -> order version 1
        issue order count=180                                      -> O-1 … O-180 (180)
        issue order                                                -> O-181 (near_limit: 19 numbers are left before the limit or the width of the format)
        # A number that was given before announces nothing.
        define receipt format=R-{seq:1}                            -> receipt version 1
        issue receipt key=a count=9                                -> R-1 … R-9 (9) (near_limit: 0 numbers are left before the limit or the width of the format)
        issue receipt key=a count=9                                -> R-1 replayed … R-9 replayed (9)
        issue receipt key=b                                        -> R-10 (widened: R-10 has more than the 1 digits of its format)
        items receipt / key=b / key=c                              -> R-10 replayed, R-11 (widened: R-11 has more than the 1 digits of its format)
        items receipt / key=b / key=c                              -> R-10 replayed, R-11 replayed
        void R-10 reissue                                          -> R-12 for R-10 which is voided (widened: R-12 has more than the 1 digits of its format)
        # Behind the width there may be a hard end.
        define slip format=S-{seq:1} keys=optional limit=20        -> slip version 1
        issue slip count=9                                         -> S-1 … S-9 (9) (near_limit: 0 numbers are left before the limit or the width of the format)
        issue slip count=9                                         -> S-10 … S-18 (9) (widened: S-18 has more than the 1 digits of its format)
        issue slip                                                 -> S-19 (widened: S-19 has more than the 1 digits of its format) (near_limit: 1 numbers are left before the limit or the width of the format)
        void S-1 reissue                                           -> S-20 for S-1 which is voided (widened: S-20 has more than the 1 digits of its format) (near_limit: 0 numbers are left before the limit or the width of the format)
        void S-2 reissue                                           -> refused counter_exhausted /reissue
        void S-2                                                   -> S-2 voided
    "#]]);
}

#[test]
fn a_counter_may_end_with_its_width() {
    ledger(expect![[r#"
        define invoice format={year}-{seq:1} reset=yearly overflow=refuse -> invoice version 1
        issue invoice key=a count=8                                -> 2026-1 … 2026-8 (8)
        issue invoice key=b count=2                                -> refused counter_exhausted
        issue invoice key=b                                        -> 2026-9 (near_limit: 0 numbers are left before the limit or the width of the format)
        issue invoice key=c                                        -> refused counter_exhausted
        issue invoice key=a count=8                                -> 2026-1 replayed … 2026-8 replayed (8)
        # Next year there is room again.
        issue invoice key=c date=2025-12-31                        -> 2025-1
        define invoice format={year}-{seq:1} reset=yearly overflow=widen if=1 -> invoice version 2
        issue invoice key=d                                        -> 2026-10 (widened: 2026-10 has more than the 1 digits of its format)
        counters invoice                                           -> default 2025: 1..1 1 issued | default 2026: 1..10 10 issued
    "#]]);
}

#[test]
fn a_counter_may_end_at_its_limit() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} limit=20 start=10          -> invoice version 1
        issue invoice key=a count=8                                -> INV-10 … INV-17 (8)
        issue invoice key=b                                        -> INV-18
        issue invoice key=c count=3                                -> refused counter_exhausted
        issue invoice key=c count=2                                -> INV-19, INV-20 (near_limit: 0 numbers are left before the limit or the width of the format)
        issue invoice key=d                                        -> refused counter_exhausted
        reserve invoice key=d                                      -> refused counter_exhausted
        void INV-10 reissue                                        -> refused key_shared /reissue
        void INV-10                                                -> INV-10 voided
        define invoice format=INV-{seq} limit=19 start=10 if=1     -> refused limit_too_low /limit
        define invoice format=INV-{seq} limit=21 start=10 if=1     -> invoice version 2
        issue invoice key=d                                        -> INV-21 (near_limit: 0 numbers are left before the limit or the width of the format)
        counters invoice                                           -> default all: 10..21 11 issued 1 voided
    "#]]);
}

#[test]
fn a_number_has_at_most_max_length_characters() {
    ledger(expect![[r#"
        define invoice format=№{seq} max_length=2 keys=optional    -> invoice version 1
        issue invoice count=8                                      -> №1 … №8 (8)
        issue invoice                                              -> №9
        issue invoice                                              -> refused counter_exhausted
        adopt invoice №10                                          -> refused number_does_not_fit /number
        counters invoice                                           -> default all: 1..9 9 issued
    "#]]);
}

#[test]
fn a_counter_ends_where_64_bits_end() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        # A slip of a digit would end the counter for ever.
        advance invoice to=9223372036854775807                     -> refused counter_exhausted /to
        define short format=M-{seq:2} keys=optional max_length=5   -> short version 1
        advance short to=999                                       -> refused counter_exhausted /to
        advance short to=99999                                     -> refused counter_exhausted /to
        advance short to=998                                       -> all at 998, 1..998 missing
        issue short                                                -> M-999 (widened: M-999 has more than the 2 digits of its format)
        issue short                                                -> refused counter_exhausted
        advance invoice to=9223372036854775806                     -> all at 9223372036854775806, 1..9223372036854775806 missing
        issue invoice                                              -> INV-9223372036854775807
        issue invoice                                              -> refused counter_exhausted
        advance invoice to=9223372036854775808                     -> refused counter_exhausted /to
        adopt invoice INV-9223372036854775808                      -> refused number_does_not_fit /number
        counters invoice                                           -> default all: 1..9223372036854775807 1 issued 9223372036854775806 missing [1..9223372036854775806 because]
        # Nor does a number from elsewhere end it, alone or among others.
        define other format=O-{seq} keys=optional                  -> other version 1
        adopt other O-9223372036854775807                          -> refused counter_exhausted /number
        adopts other / O-1 / O-9223372036854775807                 -> refused counter_exhausted /items/1/number
        define mini format=N-{seq:2} keys=optional max_length=5    -> mini version 1
        adopts mini / N-01 / N-999                                 -> refused counter_exhausted /items/1/number
        adopt mini N-998                                           -> N-998
    "#]]);
}

// Adopt and advance.

#[test]
fn adopting_raises_the_counter_and_leaves_the_rest_missing() {
    ledger(expect![[r#"
        define invoice format=INV-{year}-{seq:3} reset=yearly      -> invoice version 1
        adopt invoice INV-2026-007 key=old_7 date=2026-01-15 doc={"n":7} -> INV-2026-007
        adopt invoice INV-2026-007 key=old_7 date=2026-01-15 doc={"n":7} -> INV-2026-007 replayed
        issue invoice key=a                                        -> INV-2026-008
        adopt invoice INV-2026-009 date=2026-02-01                 -> INV-2026-009
        adopt invoice INV-2026-012 date=2026-02-01                 -> INV-2026-012
        issue invoice key=b                                        -> INV-2026-013
        show INV-2026-007                                          -> issued 2026-01-15 2026 key=old_7 doc={"n":7}
        counters invoice                                           -> default 2026: 1..13 5 issued 8 missing [1..6 not issued before INV-2026-007 was adopted] [10..11 not issued before INV-2026-012 was adopted]
    "#]]);
}

#[test]
fn adopting_fills_and_splits_runs_of_missing_seqs() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        adopt invoice INV-10                                       -> INV-10
        adopt invoice INV-5                                        -> INV-5
        counters invoice                                           -> default all: 1..10 2 issued 8 missing [1..4 not issued before INV-10 was adopted] [6..9 not issued before INV-10 was adopted]
        # The first and the last of a run, and one that is alone.
        adopt invoice INV-1                                        -> INV-1
        adopt invoice INV-9                                        -> INV-9
        adopt invoice INV-3                                        -> INV-3
        counters invoice                                           -> default all: 1..10 5 issued 5 missing [2..2 not issued before INV-10 was adopted] [4..4 not issued before INV-10 was adopted] [6..8 not issued before INV-10 was adopted]
        adopt invoice INV-2                                        -> INV-2
        adopt invoice INV-4                                        -> INV-4
        together adopt invoice INV-7 | adopt invoice INV-6 | adopt invoice INV-8 | adopt invoice INV-8 | adopt invoice INV-15 | adopt invoice INV-12 -> INV-7 | INV-6 | INV-8 | refused number_exists /number [INV-8 issued] | INV-15 | INV-12
        counters invoice                                           -> default all: 1..15 12 issued 3 missing [11..11 not issued before INV-15 was adopted] [13..14 not issued before INV-15 was adopted]
        issue invoice key=a                                        -> INV-16
    "#]]);
}

#[test]
fn adopting_in_bulk_is_all_or_none_and_can_be_repeated() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        adopts invoice reason='no row in the old table' / INV-3 key=a / INV-4 / INV-8 key=c -> INV-3, INV-4, INV-8
        counters invoice                                           -> default all: 1..8 3 issued 5 missing [1..2 no row in the old table] [5..7 no row in the old table]
        adopts invoice / INV-3 key=a / INV-4 / INV-8               -> INV-3 replayed, INV-4 replayed, INV-8 replayed
        adopts invoice / INV-9 / INV-3 key=z                       -> refused number_exists /items/1/number [INV-3 issued]
        adopts invoice / INV-9 / INV-4 key=z                       -> refused number_exists /items/1/number [INV-4 issued]
        adopts invoice / INV-9 / INV-10 key=a                      -> refused key_reused /items/1/key [INV-3 issued]
        adopts invoice / INV-9 / INV-010                           -> refused number_does_not_fit /items/1/number
        adopts invoice / INV-9 key=d / INV-10 key=d                -> refused key_reused /items/1/key [INV-9 issued]
        adopts invoice                                             -> refused invalid_count /items
        rehearse adopts invoice / INV-12                           -> INV-12
        counters invoice                                           -> default all: 1..8 3 issued 5 missing [1..2 no row in the old table] [5..7 no row in the old table]
    "#]]);
}

#[test]
fn adopting_in_bulk_fills_runs_that_it_made_itself() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        adopt invoice INV-20                                       -> INV-20
        adopts invoice / INV-7 / INV-9 / INV-30 / INV-8 / INV-25 / INV-19 / INV-1 -> INV-7 … INV-1 (7)
        counters invoice                                           -> default all: 1..30 8 issued 22 missing [2..6 not issued before INV-20 was adopted] [10..18 not issued before INV-20 was adopted] [21..24 not issued before INV-30 was adopted] [26..29 not issued before INV-30 was adopted]
        adopts invoice / INV-9 key=k                               -> refused number_exists /items/0/number [INV-9 issued]
    "#]]);
}

#[test]
fn a_number_that_was_moved_in_may_have_changed_since() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        define strict format=S-{seq} keys=optional replay=strict   -> strict version 1
        adopts invoice / INV-1 key=a / INV-2 key=b                 -> INV-1, INV-2
        void INV-1 reason='charged twice' reissue                  -> INV-3 for INV-1 which is voided
        issue invoice key=new date=2026-03-02                      -> INV-4
        adopts invoice / INV-1 key=a / INV-2 key=b / INV-4 key=new -> INV-1 voided replayed, INV-2 replayed, INV-4 replayed
        adopts invoice / INV-2 key=b date=2026-03-01               -> INV-2 replayed differs in date
        issue invoice key=b                                        -> INV-2 replayed
        reserve invoice key=b                                      -> INV-2 replayed
        issue invoice key=a                                        -> refused voided /key [INV-1 voided] [INV-3 issued]
        adopt invoice INV-4 key=new                                -> refused key_reused /key [INV-4 issued]
        adopts strict / S-1 date=2026-03-02                        -> S-1
        adopts strict / S-1 date=2026-03-02                        -> S-1 replayed
        adopts strict / S-1 date=2026-03-01                        -> refused number_exists /items/0/number [S-1 issued]
    "#]]);
}

#[test]
fn adopting_takes_only_what_the_series_would_print() {
    ledger(expect![[r#"
        define invoice format={branch}/{year}-{seq:3} reset=yearly params.branch=digits:2 partition_by=branch start=5 limit=900 -> invoice version 1
        adopt invoice 07/2026-006                                  -> 07/2026-006
        adopt invoice 7/2026-007                                   -> refused number_does_not_fit /number
        adopt invoice 07/2025-007                                  -> refused number_does_not_fit /number
        adopt invoice 07/2026-07                                   -> refused number_does_not_fit /number
        adopt invoice 07/2026-0007                                 -> refused number_does_not_fit /number
        adopt invoice 07/2026-004                                  -> refused number_does_not_fit /number
        adopt invoice 07/2026-901                                  -> refused number_does_not_fit /number
        adopt invoice 'nonsense'                                   -> refused number_does_not_fit /number
        adopt invoice 07/2026-006                                  -> refused number_exists /number [07/2026-006 issued]
        # The key of one number cannot stand for another.
        adopt invoice 07/2026-008 key=a                            -> 07/2026-008
        adopt invoice 07/2026-009 key=a                            -> refused key_reused /key [07/2026-008 issued]
        issue invoice key=b branch=7                               -> 07/2026-009
        adopt invoice 07/2026-009 key=c                            -> refused number_exists /number [07/2026-009 issued]
        adopt invoice 07/2026-010 key=b                            -> refused key_reused /key [07/2026-009 issued]
        issue invoice key=a branch=7                               -> 07/2026-008 replayed
        counters invoice                                           -> default 2026 branch=07: 5..9 3 issued 2 missing [5..5 not issued before 07/2026-006 was adopted] [7..7 not issued before 07/2026-008 was adopted]
    "#]]);
}

#[test]
fn where_dates_are_in_order_numbers_are_adopted_in_order() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} date_order=required        -> invoice version 1
        adopt invoice INV-3 date=2026-02-01                        -> INV-3
        adopt invoice INV-5 date=2026-01-31                        -> refused date_order /date
        adopt invoice INV-5 date=2026-02-01                        -> INV-5
        adopt invoice INV-4 date=2026-02-01                        -> refused date_order /number
        issue invoice key=a date=2026-01-31                        -> refused date_order /date
        counters invoice                                           -> default all: 1..5 2 issued 3 missing [1..2 not issued before INV-3 was adopted] [4..4 not issued before INV-5 was adopted]
    "#]]);
}

#[test]
fn advancing_passes_over_seqs_with_a_reason() {
    ledger(expect![[r#"
        define invoice format={branch}-{desk}-{year}-{seq} reset=yearly params.branch=digits:2 params.desk=letters:1 partition_by=branch -> invoice version 1
        advance invoice branch=7 to=3 reason='old system'          -> 2026 at 3, 1..3 missing
        issue invoice key=a branch=7 desk=A                        -> 07-A-2026-4
        advance invoice branch=7 to=4                              -> refused advance_too_low /to
        advance invoice branch=7 to=5 reason='torn page'           -> 2026 at 5, 5..5 missing
        advance invoice branch=7 to=9 reason='spare'               -> 2026 at 9, 6..9 missing
        advance invoice branch=8 period=2025 to=2                  -> 2025 at 2, 1..2 missing
        advance invoice branch=8 period=2025-26 to=2               -> refused invalid_period /period
        advance invoice to=2                                       -> refused missing_param /params/branch
        # What does not split the count may be said, and must fit.
        advance invoice branch=7 desk=A to=20                      -> 2026 at 20, 10..20 missing
        advance invoice branch=7 desk=12 to=21                     -> refused invalid_param /params/desk
        advance invoice branch=7 shop=A to=21                      -> refused unknown_param /params/shop
        counters invoice                                           -> default 2026 branch=07: 1..20 1 issued 19 missing [1..3 old system] [5..5 torn page] [6..9 spare] [10..20 because] | default 2025 branch=08: 1..2 2 missing [1..2 because]
    "#]]);
}

// Periods.

#[test]
fn a_closed_period_takes_nothing_until_it_is_opened_again() {
    ledger(expect![[r#"
        define invoice format={branch}-{year}-{seq} reset=yearly params.branch=letters:1 partition_by=branch keys=optional -> invoice version 1
        issue invoice branch=N date=2025-12-31 key=a doc={"n":1}   -> N-2025-1
        issue invoice branch=S date=2025-12-31                     -> S-2025-1
        void S-2025-1                                              -> S-2025-1 voided
        close invoice 2025 reason='tax return'                     -> 2025 closed [branch=N 1..1 issued 1 voided 0 missing 0] [branch=S 1..1 issued 0 voided 1 missing 0]
        close invoice 2025                                         -> refused period_closed /period
        issue invoice branch=N date=2025-12-31                     -> refused period_closed /date
        reserve invoice branch=N date=2025-12-31                   -> refused period_closed /date
        preview invoice branch=N date=2025-12-31                   -> refused period_closed /date
        adopt invoice N-2025-2 date=2025-12-31                     -> refused period_closed /date
        advance invoice branch=N period=2025 to=9                  -> refused period_closed /period
        void N-2025-1                                              -> refused period_closed /id
        # A retry is answered, another tenant and this year go on, and a document can be emptied.
        issue invoice branch=N key=a doc={"n":1}                   -> N-2025-1 replayed
        issue invoice branch=N date=2025-12-31 tenant=acme         -> N-2025-1
        issue invoice branch=N                                     -> N-2026-1
        redact N-2025-1 tenant=default                             -> N-2025-1
        reopen invoice 2025 reason='correction'                    -> 2025 open
        reopen invoice 2025                                        -> refused period_not_closed /period
        issue invoice branch=N date=2025-12-31                     -> N-2025-2
        close invoice 2025 reason='tax return again'               -> 2025 closed [branch=N 1..2 issued 2 voided 0 missing 0] [branch=S 1..1 issued 0 voided 1 missing 0]
        counters invoice                                           -> acme 2025 branch=N: 1..1 1 issued | default 2025 branch=N: 1..2 2 issued | default 2026 branch=N: 1..1 1 issued | default 2025 branch=S: 1..1 1 voided
    "#]]);
}

#[test]
fn a_period_with_reserved_numbers_cannot_be_closed() {
    ledger(expect![[r#"
        define invoice format={branch}-{month}.{year}-{seq} reset=monthly params.branch=letters:1 partition_by=branch -> invoice version 1
        issue invoice branch=N key=a                               -> N-03.2026-1
        reserve invoice branch=S key=b                             -> S-03.2026-1 reserved
        reserve invoice branch=T key=c                             -> T-03.2026-1 reserved
        close invoice 2026-03                                      -> refused period_busy /period
        confirm S-03.2026-1                                        -> S-03.2026-1
        close invoice 2026-03                                      -> refused period_busy /period
        release T-03.2026-1                                        -> T-03.2026-1 voided
        close invoice 2026-03                                      -> 2026-03 closed [branch=N 1..1 issued 1 voided 0 missing 0] [branch=S 1..1 issued 1 voided 0 missing 0] [branch=T 1..1 issued 0 voided 1 missing 0]
        close invoice 2026-04                                      -> 2026-04 closed
        close invoice 2026-13                                      -> refused invalid_period /period
        close invoice 2026                                         -> refused invalid_period /period
        reopen invoice 2026-05                                     -> refused period_not_closed /period
    "#]]);
}

// Series.

#[test]
fn defining_a_series_again_changes_nothing() {
    let world = ledger(expect![[r#"
        define invoice format=INV-{seq} limit=10                   -> invoice version 1
        define invoice format=INV-{seq} limit=10                   -> invoice version 1 unchanged
        define invoice format=INV-{seq} limit=10 if=7              -> invoice version 1 unchanged
        issue invoice key=a                                        -> INV-1
        define invoice format=INV-{seq} limit=10                   -> invoice version 1 unchanged
        define invoice format=INV-{seq} limit=10 date_order=free keys=required zone=UTC -> invoice version 1 unchanged
    "#]]);
    assert_eq!(world.events[&seriatim_core::Chain::Definitions].len(), 1);
}

#[test]
fn a_change_needs_the_version_that_the_caller_saw() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} if=1                       -> refused version_mismatch
        define invoice format=INV-{seq}                            -> invoice version 1
        define invoice format=INV-{seq:3}                          -> refused version_required
        define invoice format=INV-{seq:3} if=2                     -> refused version_mismatch
        define invoice format=INV-{seq:3} if=1                     -> invoice version 2
        define invoice format=INV-{seq:4} if=1                     -> refused version_mismatch
        define invoice format=INV-{seq:4} if=2                     -> invoice version 3
        issue invoice key=a                                        -> INV-0001
    "#]]);
}

#[test]
fn what_numbers_stand_on_cannot_change_once_there_are_some() {
    ledger(expect![[r#"
        define invoice format=INV-{seq}                            -> invoice version 1
        # Nothing is issued yet: everything may change but whom it replaces.
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional if=1 -> invoice version 2
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional replaces=old if=2 -> refused series_fixed /replaces
        issue invoice b=7                                          -> A-07-005
        define invoice format=B-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional if=2 -> refused series_fixed /format
        define invoice format=A-{b}-{seq:3} params.b=digits:1..2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional if=2 -> refused series_fixed /format
        define invoice format=A-{b}-{seq:3} params.b=letters:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional if=2 -> refused series_fixed /format
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=6 zone=Asia/Kolkata test=true max_length=20 keys=optional if=2 -> refused series_fixed /start
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 test=true max_length=20 keys=optional if=2 -> refused series_fixed /time_zone
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata max_length=20 keys=optional if=2 -> refused series_fixed /test
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=21 keys=optional if=2 -> refused series_fixed /max_length
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional partition_by=b if=2 -> refused series_fixed /partition_by
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=20 keys=optional replaces=old if=2 -> refused series_fixed /replaces
        # What is stricter may come, and does not go again.
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=15 keys=required replay=strict if=2 -> invoice version 3
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=15 keys=optional replay=strict if=3 -> refused series_fixed /keys
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=15 keys=required if=3 -> refused series_fixed /replay
        # These may come and go.
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=15 keys=required replay=strict overflow=refuse limit=9 date_order=required date_window=-1d..+1d on_expiry=void if=3 -> invoice version 4
        define invoice format=A-{b}-{seq:3} params.b=digits:2 start=5 zone=Asia/Kolkata test=true max_length=15 keys=required replay=strict if=4 -> invoice version 5
    "#]]);
}

#[test]
fn the_reset_cannot_change_once_there_are_numbers() {
    ledger(expect![[r#"
        define invoice format={date}-{seq} reset=daily             -> invoice version 1
        issue invoice key=a                                        -> 20260302-1
        define invoice format={date}-{seq} reset=monthly if=1      -> refused series_fixed /reset
        define invoice format={date}-{seq} reset=never if=1        -> refused series_fixed /reset
    "#]]);
}

#[test]
fn a_limit_is_not_below_a_number_of_any_counter() {
    ledger(expect![[r#"
        define invoice format={year}-{seq} reset=yearly            -> invoice version 1
        issue invoice key=a count=5 date=2025-12-31                -> 2025-1 … 2025-5 (5)
        issue invoice key=b                                        -> 2026-1
        define invoice format={year}-{seq} reset=yearly limit=4 if=1 -> refused limit_too_low /limit
        define invoice format={year}-{seq} reset=yearly limit=5 if=1 -> invoice version 2
        issue invoice key=c date=2025-12-31                        -> refused counter_exhausted
        issue invoice key=c                                        -> 2026-2
        define invoice format={year}-{seq} reset=yearly if=2       -> invoice version 3
        issue invoice key=d date=2025-12-31                        -> 2025-6
    "#]]);
}

#[test]
fn a_series_that_replaces_another_shares_its_numbers() {
    ledger(expect![[r#"
        define old format=INV-{seq:3} keys=optional                -> old version 1
        issue old key=a count=2                                    -> INV-001, INV-002
        issue old key=b                                            -> INV-003
        define new format=INV-{seq:4} replaces=nothing             -> refused invalid_definition /replaces
        define new format=INV-{seq:3} replaces=old keys=optional   -> new version 1
        define other format=X-{seq} replaces=old                   -> refused invalid_definition /replaces
        # The old one takes no more, and still answers.
        issue old key=c                                            -> refused series_replaced /series
        reserve old key=c                                          -> refused series_replaced /series
        issue old key=b                                            -> INV-003 replayed
        adopt old INV-004                                          -> refused series_replaced /series
        advance old to=9                                           -> refused series_replaced /series
        # The number is taken in the old one; the new one starts after it.
        issue new key=c                                            -> refused number_exists [INV-001 issued]
        preview new                                                -> refused number_exists [INV-001 issued]
        advance new to=3                                           -> all at 3, 1..3 missing
        issue new key=c                                            -> INV-004
        # A key that the old one knows is a retry.
        issue new key=b                                            -> INV-003 replayed
        issue new key=a count=2                                    -> INV-001 replayed, INV-002 replayed
        issue new key=a                                            -> refused key_reused /key [INV-001 issued]
        adopt new INV-002                                          -> refused number_exists /number [INV-002 issued]
        void INV-003                                               -> INV-003 voided
        issue new key=b                                            -> refused voided /key [INV-003 voided]
        void INV-002 reissue                                       -> refused key_shared /reissue
        counters old                                               -> default all: 1..3 2 issued 1 voided
        counters new                                               -> default all: 1..4 1 issued 3 missing [1..3 because]
    "#]]);
}

#[test]
fn what_an_old_series_passed_over_stays_with_it() {
    ledger(expect![[r#"
        define old format={desk}/{seq} params.desk=letters:1 keys=optional -> old version 1
        issue old desk=A                                           -> A/1
        adopt old A/4                                              -> A/4
        define new format={desk}/{seq} params.desk=letters:1 replaces=old keys=optional -> new version 1
        issue new desk=A                                           -> refused number_exists [A/1 issued]
        # The first number of the old one had another desk.
        issue new desk=B                                           -> B/1
        # Passed over, and perhaps on a paper somewhere: the old one may still adopt it, the new one never prints it.
        issue new desk=A                                           -> refused number_exists
        issue new desk=B                                           -> refused number_exists
        adopt new A/3                                              -> refused number_exists /number
        adopt old A/3                                              -> A/3
        adopt old A/5                                              -> refused series_replaced /series
        advance new to=4                                           -> all at 4, 2..4 missing
        issue new desk=A                                           -> A/5
        counters old                                               -> default all: 1..4 3 issued 1 missing [2..2 not issued before A/4 was adopted]
        counters new                                               -> default all: 1..5 2 issued 3 missing [2..4 because]
    "#]]);
}

// `replaces` could be changed as long as another setting changed with it: two series could then replace each other, and
// the walk along their line never ended.
#[test]
fn who_replaces_whom_never_changes() {
    let mut ledger = Ledger::default();
    ledger.run(expect![[r#"
        define a format=A-{seq:3}                                  -> a version 1
        define b format=A-{seq:4} replaces=a                       -> b version 1
        define b format=A-{seq:5} if=1                             -> refused series_fixed /replaces
        define b format=A-{seq:5} test=true replaces=a if=1        -> refused series_fixed /test
        define a format=A-{seq:5} test=true if=2                   -> refused series_fixed /test
        define a format=C-{seq:5} replaces=b if=2                  -> refused series_fixed /replaces
        define b format=A-{seq:5} replaces=a if=1                  -> b version 2
    "#]]);
    let [a, b] = ["a", "b"].map(|name| SeriesName::parse(name).unwrap());
    let first = ledger.world.series.get_mut(&a).unwrap();
    Arc::make_mut(first).replaces = Some(b);
    assert_eq!(ledger.ask("issue b key=k"), "refused invalid_definition /series");
    assert_eq!(ledger.ask("adopt b A-00001"), "refused invalid_definition /number");
}

#[test]
fn a_line_of_series_goes_back_to_the_first() {
    ledger(expect![[r#"
        define first format=A{seq} keys=optional                   -> first version 1
        issue first key=a                                          -> A1
        define second format=B{seq} replaces=first                 -> second version 1
        issue second key=b                                         -> B1
        define third format=A{seq} replaces=second                 -> third version 1
        issue third key=c                                          -> refused number_exists [A1 issued]
        issue third key=a                                          -> A1 replayed
        issue third key=b                                          -> B1 replayed
        advance third to=1                                         -> all at 1, 1..1 missing
        issue third key=c                                          -> A2
        issue second key=a                                         -> A1 replayed
        issue second key=c                                         -> refused series_replaced /series
    "#]]);
}

#[test]
fn a_number_that_an_old_series_could_have_printed_but_did_not_is_free() {
    // Regression: the text after a seq of fixed width begins with a digit, and the old number was not read back, so
    // that the new series printed it a second time.
    ledger(expect![[r#"
        define old format=A{seq:2}0 overflow=refuse                -> old version 1
        issue old key=a                                            -> A010
        define new format=A0{seq:2} replaces=old                   -> new version 1
        # A010 is the first of the old and the tenth of the new one.
        issue new key=b count=9                                    -> A001 … A009 (9)
        issue new key=c                                            -> refused number_exists [A010 issued]
        advance new to=10                                          -> all at 10, 10..10 missing
        # A020 would have been the second of the old one.
        issue new key=c count=10                                   -> A011 … A020 (10)
        counters new                                               -> default all: 1..20 19 issued 1 missing [10..10 because]
    "#]]);
}

#[test]
fn a_test_series_can_be_emptied() {
    let world = ledger(expect![[r#"
        define trial format=T-{seq} test=true                      -> trial version 1
        define invoice format=INV-{seq}                            -> invoice version 1
        issue trial key=a count=3                                  -> T-1, T-2, T-3
        adopt trial T-9                                            -> T-9
        close trial all tenant=acme                                -> all closed
        issue trial key=b tenant=acme                              -> refused period_closed /date
        wipe trial                                                 -> trial is empty
        counters trial                                             -> none
        issue trial key=a                                          -> T-1
        issue trial key=b tenant=acme                              -> T-1
        # In one batch, what came before is gone and what comes after begins anew.
        together issue trial key=c | wipe trial | issue trial key=c | adopt trial T-3 -> T-2 | trial is empty | T-1 | T-3
        counters trial                                             -> default all: 1..3 2 issued 1 missing [2..2 not issued before T-3 was adopted]
        wipe invoice                                               -> refused not_a_test_series /series
        wipe nothing                                               -> refused unknown_series /series
        # Where there is no number any more, everything may change again.
        together define trial format=U-{seq} test=true if=1 | wipe trial | define trial format=U-{seq} test=true if=1 | define trial format=T-{seq} test=true if=2 -> refused series_fixed /format | trial is empty | trial version 2 | trial version 3
        # What was missing before is not missing after.
        adopt trial T-9                                            -> T-9
        together wipe trial | issue trial key=a count=4 | adopt trial T-5 | adopt trial T-4 | adopt trial T-9 -> trial is empty | T-1, T-2, T-3, T-4 | T-5 | refused number_exists /number [T-4 issued] | T-9
        counters trial                                             -> default all: 1..9 6 issued 3 missing [6..8 not issued before T-9 was adopted]
    "#]]);
    assert_eq!(world.entries.len(), 6);
}

// Those who may not.

#[test]
fn a_caller_does_what_the_scopes_allow() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        issue invoice doc={}                                       -> INV-1
        reserve invoice                                            -> INV-2 reserved
        as clerk scopes=issue
        issue invoice                                              -> INV-3
        reserve invoice                                            -> INV-4 reserved
        confirm INV-2                                              -> INV-2
        release INV-4                                              -> INV-4 voided
        preview invoice                                            -> refused forbidden
        void INV-1                                                 -> refused forbidden
        redact INV-1                                               -> refused forbidden
        close invoice all                                          -> refused forbidden
        reopen invoice all                                         -> refused forbidden
        advance invoice to=9                                       -> refused forbidden
        wipe invoice                                               -> refused forbidden
        define invoice format=INV-{seq} limit=9 if=1               -> refused forbidden
        define other format=X-{seq}                                -> refused forbidden
        key k1                                                     -> refused forbidden
        revoke k1                                                  -> refused forbidden
        as auditor scopes=read,audit
        preview invoice                                            -> would be INV-5
        issue invoice                                              -> refused forbidden
        reserve invoice                                            -> refused forbidden
        adopt invoice INV-9                                        -> refused forbidden
        confirm INV-2                                              -> refused forbidden
        release INV-2                                              -> refused forbidden
        expire INV-2                                               -> refused forbidden
        as chief scopes=void
        void INV-1                                                 -> INV-1 voided
        redact INV-1                                               -> INV-1 voided
        issue invoice                                              -> refused forbidden
        as nobody scopes=
        issue invoice                                              -> refused forbidden
        preview invoice                                            -> refused forbidden
    "#]]);
}

#[test]
fn a_key_that_is_bound_to_tenants_and_series_reaches_no_others() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        define receipt format=RCP-{seq} keys=optional              -> receipt version 1
        issue invoice tenant=acme                                  -> INV-1
        issue invoice tenant=bolt                                  -> INV-1
        issue receipt tenant=acme                                  -> RCP-1
        as shop scopes=issue,void,read tenants=acme series=invoice
        issue invoice tenant=acme                                  -> INV-2
        issue invoice tenant=bolt                                  -> refused forbidden
        issue invoice                                              -> refused forbidden
        issue receipt tenant=acme                                  -> refused unknown_series /series
        preview invoice tenant=bolt                                -> refused forbidden
        adopt invoice INV-9 tenant=bolt                            -> refused forbidden
        void INV-1 tenant=acme                                     -> INV-1 voided
        # What belongs to others does not exist.
        void INV-1 tenant=bolt                                     -> refused unknown_entry /id
        redact INV-1 tenant=bolt                                   -> refused unknown_entry /id
        confirm INV-1 tenant=bolt                                  -> refused unknown_entry /id
        release INV-1 tenant=bolt                                  -> refused unknown_entry /id
        expire INV-1 tenant=bolt                                   -> refused unknown_entry /id
        void RCP-1                                                 -> refused unknown_entry /id
        void ent_0123456789abcdef_42                               -> refused unknown_entry /id
    "#]]);
}

#[test]
fn an_administrator_of_some_tenants_or_series_reaches_no_others() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        define trial format=T-{seq} test=true keys=optional        -> trial version 1
        issue trial tenant=bolt                                    -> T-1
        as shop scopes=admin tenants=acme
        issue invoice tenant=acme                                  -> INV-1
        close invoice all tenant=acme                              -> all closed [1..1 issued 1 voided 0 missing 0]
        reopen invoice all tenant=acme                             -> all open
        advance invoice to=9 tenant=bolt                           -> refused forbidden
        close invoice all tenant=bolt                              -> refused forbidden
        wipe trial                                                 -> refused forbidden
        key k1                                                     -> refused forbidden
        as keeper scopes=admin series=trial
        define trial format=T-{seq} test=true keys=optional limit=9 if=1 -> trial version 2
        wipe trial                                                 -> trial is empty
        define invoice format=INV-{seq} keys=optional limit=9 if=1 -> refused forbidden
        define other format=X-{seq}                                -> refused forbidden
        advance invoice to=9                                       -> refused unknown_series /series
        key k1                                                     -> refused forbidden
        as keeper scopes=admin series=invoice
        wipe trial                                                 -> refused unknown_series /series
        # Regression: what replaces a series ends it, so it must be one of the caller's own.
        as thief scopes=admin series=new
        define new format=N-{seq} replaces=invoice                 -> refused invalid_definition /replaces
        as owner
        issue invoice                                              -> INV-1
    "#]]);
}

#[test]
fn a_test_key_reaches_test_series_only() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} keys=optional              -> invoice version 1
        define trial format=T-{seq} test=true keys=optional        -> trial version 1
        issue invoice                                              -> INV-1
        as tester scopes=admin test
        issue trial                                                -> T-1
        issue invoice                                              -> refused unknown_series /series
        preview invoice                                            -> refused unknown_series /series
        void INV-1                                                 -> refused unknown_entry /id
        define other format=X-{seq}                                -> refused forbidden
        define other format=X-{seq} test=true                      -> other version 1
        # Regression: a series does not become a test series because a test key says so.
        as owner
        define fresh format=F-{seq}                                -> fresh version 1
        as tester scopes=admin test
        define fresh format=F-{seq} test=true if=1                 -> refused forbidden
        define new format=N-{seq} test=true replaces=invoice       -> refused invalid_definition /replaces
        wipe invoice                                               -> refused unknown_series /series
        wipe trial                                                 -> trial is empty
        key k1                                                     -> refused forbidden
    "#]]);
}

#[test]
fn api_keys_are_made_once_and_revoked_for_good() {
    let world = ledger(expect![[r#"
        key k1                                                     -> key k1
        key k1                                                     -> refused api_key_exists /id
        revoke k1                                                  -> key k1 revoked
        revoke k1                                                  -> key k1 revoked
        revoke k2                                                  -> refused unknown_api_key /id
        key k3 label='a\nscopes=admin'                             -> refused invalid_text /label
    "#]]);
    assert_eq!(world.events[&seriatim_core::Chain::Definitions].len(), 2);
    for key in world.api_keys.values() {
        assert_eq!(
            seriatim_core::ApiKey::from_text(&key.to_text(), key.revoked_at).as_ref(),
            Ok(key)
        );
    }
}

#[test]
fn every_event_says_who_did_it_and_on_whose_behalf() {
    let mut ledger = Ledger::default();
    let lines = [
        "define invoice format=INV-{seq}",
        "reserve invoice key=a doc={}",
        "confirm INV-1",
        "redact INV-1",
        "void INV-1 reissue",
        "adopt invoice INV-5",
        "close invoice all",
        "reopen invoice all",
        "key k1",
        "revoke k1",
    ];
    for line in lines {
        let mut request = ledger.request(line).expect("a request");
        request.actor = Actor::parse("key:shop").expect("an actor");
        request.on_behalf_of = Some(Actor::parse("user:bob").expect("an actor"));
        let answers = ledger.world.decide(&[request]);
        assert!(answers[0].is_ok(), "{line}: {answers:?}");
    }
    let events: Vec<_> = ledger.world.events.values().flatten().collect();
    assert_eq!(events.len(), 12);
    for event in events {
        let who = (event.actor.as_str(), event.on_behalf_of.as_deref());
        assert_eq!(who, ("key:shop", Some("user:bob")), "{event:?}");
        assert_eq!(event.at, ledger.world.now);
    }
}

// As if.

#[test]
fn a_preview_and_a_rehearsal_write_nothing() {
    let mut ledger = Ledger::default();
    ledger.run(expect![[r#"
        define invoice format=INV-{year}-{seq} reset=yearly        -> invoice version 1
        define trial format=T-{seq} test=true                      -> trial version 1
        issue invoice key=a doc={}                                 -> INV-2026-1
        reserve invoice key=b                                      -> INV-2026-2 reserved
        issue trial key=a                                          -> T-1
        key k1                                                     -> key k1
    "#]]);
    let before = (
        ledger.world.events.clone(),
        ledger.world.entries.clone(),
        ledger.world.counters.clone(),
    );
    ledger.run(expect![[r#"
        preview invoice                                            -> would be INV-2026-3
        preview invoice count=3                                    -> would be INV-2026-3, INV-2026-4, INV-2026-5
        preview invoice key=a                                      -> would be INV-2026-3
        preview invoice date=2025-12-31                            -> would be INV-2025-1
        preview invoice tenant=acme count=2                        -> would be INV-2026-1, INV-2026-2
        preview invoice date=1999-01-01                            -> refused date_outside_window /date
        preview invoice count=0                                    -> refused invalid_count /count
        rehearse issue invoice key=c                               -> INV-2026-3
        rehearse issue invoice key=a                               -> INV-2026-1 replayed differs in document
        rehearse issue invoice key=c count=2                       -> INV-2026-3, INV-2026-4
        rehearse items invoice / key=c / key=d                     -> INV-2026-3, INV-2026-4
        rehearse reserve invoice key=c                             -> INV-2026-3 reserved
        rehearse adopt invoice INV-2026-9                          -> INV-2026-9
        rehearse confirm INV-2026-2                                -> INV-2026-2
        rehearse release INV-2026-2                                -> INV-2026-2 voided
        rehearse void INV-2026-1 reissue                           -> INV-2026-3 for INV-2026-1 which is voided
        rehearse redact INV-2026-1                                 -> INV-2026-1
        rehearse close invoice 2025                                -> 2025 closed
        rehearse advance invoice to=9                              -> 2026 at 9, 3..9 missing
        rehearse define invoice format=INV-{year}-{seq} reset=yearly limit=9 if=1 -> invoice version 2
        rehearse define other format=X-{seq}                       -> other version 1
        rehearse wipe trial                                        -> trial is empty
        rehearse key k2                                            -> key k2
        rehearse revoke k1                                         -> key k1 revoked
        together rehearse issue invoice key=c | rehearse issue invoice key=d -> INV-2026-3 | INV-2026-3
    "#]]);
    let after = (
        ledger.world.events.clone(),
        ledger.world.entries.clone(),
        ledger.world.counters.clone(),
    );
    assert_eq!(after, before);
    assert_eq!(
        (
            ledger.world.series.len(),
            ledger.world.closures.len(),
            ledger.world.api_keys.len()
        ),
        (2, 0, 1)
    );
    ledger.run(expect![[r#"
        issue invoice key=c                                        -> INV-2026-3
    "#]]);
}

#[test]
fn a_redacted_document_is_gone_and_its_hash_stays() {
    ledger(expect![[r#"
        define invoice format=INV-{seq} replay=strict              -> invoice version 1
        issue invoice key=a doc={"payer":"Ann"}                    -> INV-1
        redact INV-1                                               -> INV-1
        redact INV-1                                               -> refused nothing_to_redact /id [INV-1 issued]
        show INV-1                                                 -> issued 2026-03-02 all key=a redacted=yes
        # The hash tells that it is the same request.
        issue invoice key=a doc={"payer":"Ann"}                    -> INV-1 replayed
        issue invoice key=a doc={"payer":"Bob"}                    -> refused key_reused /key [INV-1 issued]
        issue invoice key=b                                        -> INV-2
        redact INV-2                                               -> refused nothing_to_redact /id [INV-2 issued]
        reserve invoice key=c doc={}                               -> INV-3 reserved
        redact INV-3                                               -> refused reservation_open /id [INV-3 reserved]
        # The replacement of a redacted number has no document: there is none to put on it.
        void INV-1 reissue                                         -> INV-4 for INV-1 which is voided
        show INV-4                                                 -> issued 2026-03-02 all key=a replaces=1
        redact INV-1                                               -> refused nothing_to_redact /id [INV-1 voided]
        issue invoice key=d doc={"payer":"Cy"}                     -> INV-5
        void INV-5                                                 -> INV-5 voided
        redact INV-5                                               -> INV-5 voided
        show INV-5                                                 -> voided 2026-03-02 all key=d redacted=yes reason_code=other reason=because
    "#]]);
}

// Every no.

/// Codes that are decided before a command is one, when its words are read, and one that is for later.
const NOT_DECIDED: [Code; 15] = [
    // Of tasks: the conformance cases of gates have it.
    Code::GateFixed,
    // Of gates: crates/seriatim/scenarios/gates.txt has each of them.
    Code::InvalidEffect,
    Code::InvalidSubject,
    Code::UnknownGate,
    Code::StaleToken,
    Code::GateNotDead,
    Code::InvalidSeries,
    Code::InvalidTenant,
    Code::InvalidKey,
    Code::InvalidDate,
    Code::InvalidTime,
    Code::InvalidDocument,
    Code::DocumentTooLarge,
    Code::InvalidTtl,
    Code::InvalidId,
];

#[test]
fn every_refusal_names_its_field_and_the_way_out() {
    let mut ledger = Ledger::with_words();
    ledger.run(expect![[r#"
        define invoice format=INV-{branch}-{year}-{seq:2} reset=yearly params.branch=digits:2 overflow=refuse replay=strict on_expiry=void -> invoice version 1
        define ordered format={seq} date_order=required keys=optional -> ordered version 1
        define short format={yy}-{seq} date_window=-36600d..+36600d keys=optional -> short version 1
        define fiscal format={fy}-{seq} reset=fiscal-year:04-01 date_window=-36600d..+36600d keys=optional -> fiscal version 1
        define invoice format=INV-{seq} replaces=nothing           -> refused version_required: series invoice exists; to change it, send If-Match: "1" so that nobody's change is lost
        define new format=N-{seq} replaces=nothing                 -> refused invalid_definition /replaces: there is no series nothing to replace
        define invoice format=INV-{seq}                            -> refused version_required: series invoice exists; to change it, send If-Match: "1" so that nobody's change is lost
        define invoice format=INV-{seq} if=9                       -> refused version_mismatch: series invoice is at version 1, not 9; read it again and decide anew
        # What is asked for.
        issue nothing key=a                                        -> refused unknown_series /series: there is no series nothing; define it first (`seriatim series create nothing …`)
        issue invoice key=a branch=7 desk=1                        -> refused unknown_param /params/desk: unknown param `desk`; this series declares branch
        issue invoice key=a                                        -> refused missing_param /params/branch: param `branch` is missing; it is digits:2
        issue invoice key=a branch=x                               -> refused invalid_param /params/branch: param `branch` must be 2 digits
        issue invoice key=a branch=123                             -> refused invalid_param /params/branch: param `branch` has 3 digits; it is declared with 2
        issue invoice branch=7                                     -> refused key_required /key: series invoice requires a key, so that a retry gets the same number; send the business reference, e.g. the payment id
        issue invoice key=a branch=7 count=0                       -> refused invalid_count /count: count is 0; one commit takes 1 to 1000 numbers
        items invoice                                              -> refused invalid_count /items: items is 0; one commit takes 1 to 1000 numbers
        # When.
        issue invoice key=a branch=7 date=2062-03-02               -> refused date_outside_window /date: 2062-03-02 is outside 2025-01-26 to 2026-04-03, the dates that series invoice accepts on 2026-03-02; correct the date or change date_window
        issue short date=2100-01-01                                -> refused date_out_of_range /date: series short takes dates from 2000-01-01 to 2099-12-31, because its two-digit years repeat after a century; 2100-01-01 is not one
        issue fiscal date=2000-03-31                               -> refused date_out_of_range /date: series fiscal takes dates from 2000-04-01 to 2099-12-31, because its two-digit years repeat after a century; 2000-03-31 is not one
        issue ordered                                              -> 1
        issue ordered date=2026-03-01                              -> refused date_order /date: 2026-03-01 is before 2026-03-02, the date of the number before it; series ordered keeps dates in order
        adopt ordered 5                                            -> 5
        adopt ordered 3                                            -> refused date_order /number: series ordered keeps dates in order, so numbers are adopted in the order of their seq; 3 comes after 5
        # Again.
        issue invoice key=a branch=7 doc={}                        -> INV-07-2026-01
        issue invoice key=a branch=8 doc={}                        -> refused key_reused /key [INV-07-2026-01 issued]: this key was used before with params branch=07, not branch=08, and got INV-07-2026-01; use a key of its own for each document
        issue invoice key=a branch=7                               -> refused key_reused /key [INV-07-2026-01 issued]: this key was used before with another document, and got INV-07-2026-01; use a key of its own for each document
        reserve invoice key=a branch=7                             -> refused key_reused /key [INV-07-2026-01 issued]: this key was used before to issue, not to reserve, and got INV-07-2026-01; use a key of its own for each document
        issue invoice key=a branch=7 count=2                       -> refused key_reused /key [INV-07-2026-01 issued]: this key was used before for 1 numbers, not 2, and got INV-07-2026-01; use a key of its own for each document
        issue invoice key=b branch=7 count=2                       -> INV-07-2026-02, INV-07-2026-03
        void INV-07-2026-02 reissue                                -> refused key_shared /reissue: INV-07-2026-02 shares its key with other numbers, so the key cannot move; void it without reissue and issue a new number with a key of its own
        # What became of it.
        void INV-07-2026-01 reason='paper jam'                     -> INV-07-2026-01 voided
        issue invoice key=a branch=7 doc={}                        -> refused voided /key [INV-07-2026-01 voided]: the key's number INV-07-2026-01 is void (paper jam); use another key for a new document
        void INV-07-2026-01                                        -> refused already_voided /id [INV-07-2026-01 voided]: INV-07-2026-01 is void already (paper jam)
        release INV-07-2026-01                                     -> refused already_voided /id [INV-07-2026-01 voided]: INV-07-2026-01 is void already (paper jam)
        confirm INV-07-2026-01                                     -> refused voided /id [INV-07-2026-01 voided]: INV-07-2026-01 is void already (paper jam)
        confirm INV-07-2026-02                                     -> refused not_reserved /id [INV-07-2026-02 issued]: INV-07-2026-02 was issued at once and never reserved; nothing to confirm
        release INV-07-2026-02                                     -> refused not_reserved /id [INV-07-2026-02 issued]: INV-07-2026-02 is issued, so it cannot be released; void it with a reason
        redact INV-07-2026-02                                      -> refused nothing_to_redact /id [INV-07-2026-02 issued]: INV-07-2026-02 has no document
        redact INV-07-2026-01                                      -> INV-07-2026-01 voided
        redact INV-07-2026-01                                      -> refused nothing_to_redact /id [INV-07-2026-01 voided]: INV-07-2026-01 is redacted already
        void ent_0123456789abcdef_42                               -> refused unknown_entry /id: there is no entry ent_0123456789abcdef_42
        # Reservations.
        reserve invoice key=c branch=7 ttl=1h                      -> INV-07-2026-04 reserved
        expire INV-07-2026-04                                      -> refused reservation_open /id [INV-07-2026-04 reserved]: the reservation of INV-07-2026-04 still stands
        redact INV-07-2026-04                                      -> refused reservation_open /id [INV-07-2026-04 reserved]: INV-07-2026-04 is only reserved; confirm or release it first
        close invoice 2026                                         -> refused period_busy /period: period 2026 of series invoice has 1 reserved numbers; confirm or release them first (`seriatim list invoice --tenant default --period 2026 --state reserved` shows them)
        at 2026-03-02T11:00:00Z
        confirm INV-07-2026-04                                     -> refused reservation_expired /id [INV-07-2026-04 reserved]: the reservation of INV-07-2026-04 is over and its number will be void; issue a new one
        expire INV-07-2026-04                                      -> INV-07-2026-04 voided
        reserve invoice key=d branch=7                             -> INV-07-2026-05 reserved
        confirm INV-07-2026-05 doc={"n":1}                         -> INV-07-2026-05
        confirm INV-07-2026-05 doc={"n":2}                         -> refused already_issued /document [INV-07-2026-05 issued]: INV-07-2026-05 is confirmed already, with another document; void it and issue anew
        # Elsewhere.
        adopt invoice INV-07-2026-02                               -> refused number_exists /number [INV-07-2026-02 issued]: INV-07-2026-02 exists already in series invoice
        adopt invoice INV-07-2026-02 key=other                     -> refused number_exists /number [INV-07-2026-02 issued]: INV-07-2026-02 exists already in series invoice, for key b and not for other; the document of other needs a number of its own
        adopt invoice INV-07-2025-02                               -> refused number_does_not_fit /number: on 2026-03-02 the format INV-{branch}-{year}-{seq:2} prints INV-07-2026-02, not `INV-07-2025-02`
        adopt invoice INV-7                                        -> refused number_does_not_fit /number: the format INV-{branch}-{year}-{seq:2} cannot print `INV-7`; it prints numbers like INV-11-2026-01
        adopt invoice INV-07-2026-09 key=a                         -> refused key_reused /key [INV-07-2026-01 voided]: this key was used before to issue, not to adopt, and got INV-07-2026-01; use a key of its own for each document
        # The end.
        advance invoice to=5                                       -> refused advance_too_low /to: the counter of invoice default 2026 stands at 5 already
        advance invoice to=100                                     -> refused counter_exhausted /to: 100 is above 99, the last seq of series invoice
        advance invoice to=99                                      -> 2026 at 99, 6..99 missing
        issue invoice key=z branch=7                               -> refused counter_exhausted: the counter of invoice default 2026 has no seq after 99; raise the limit, set overflow = "widen" or define a series that replaces it
        define ends format=E-{seq} max_length=21 keys=optional     -> ends version 1
        adopt ends E-9223372036854775807                           -> refused counter_exhausted /number: after 9223372036854775807 series ends could print no number: 9223372036854775807 is the last seq of all
        advance ends to=9223372036854775806                        -> all at 9223372036854775806, 1..9223372036854775806 missing
        issue ends                                                 -> E-9223372036854775807
        issue ends                                                 -> refused counter_exhausted: the counter of ends default all has no seq after 9223372036854775807; define a series that replaces it
        define slip format=E-{seq} max_length=4 keys=optional      -> slip version 1
        adopt slip E-99                                            -> refused counter_exhausted /number: after 99 series slip could print no number: the next one has 5 characters at least, more than max_length = 4; if its numbers are to end there, set limit = 99 first
        issue slip                                                 -> E-1
        define slip format=E-{seq} max_length=2 keys=optional if=1 -> refused invalid_definition /format: even the shortest number has 3 characters, more than max_length = 2
        advance slip to=9                                          -> all at 9, 2..9 missing
        define slip format=E-{seq} max_length=3 keys=optional if=1 -> refused limit_too_low /max_length: a counter of series slip stands at 9 already, and its next number has 4 characters at least, more than max_length = 3; set it to 4 or more
        # Periods.
        close invoice 2026-27                                      -> refused invalid_period /period: `2026-27` is not a period of this series; write it like `2026`
        close invoice 2026                                         -> 2026 closed [1..99 issued 3 voided 2 missing 94]
        close invoice 2026                                         -> refused period_closed /period: period 2026 of series invoice is closed already (because)
        void INV-07-2026-02                                        -> refused period_closed /id: period 2026 of series invoice is closed (because); reopen it first
        issue invoice key=z branch=7                               -> refused period_closed /date: period 2026 of series invoice is closed (because); reopen it or give a date in an open period
        advance invoice to=99                                      -> refused period_closed /period: period 2026 of series invoice is closed (because); reopen it first
        reopen invoice 2025                                        -> refused period_not_closed /period: period 2025 of series invoice is not closed
        # Changes.
        define invoice format=INV-{branch}-{year}-{seq:3} reset=yearly params.branch=digits:2 overflow=refuse replay=strict on_expiry=void if=1 -> refused series_fixed /format: format of series invoice cannot change any more; define a new series with replaces = "invoice"
        define invoice format=INV-{branch}-{year}-{seq:2} reset=yearly params.branch=digits:2 overflow=refuse replay=strict on_expiry=void limit=98 if=1 -> refused limit_too_low /limit: a counter of series invoice stands at 99 already, above 98
        define newer format=N-{seq} replaces=ordered keys=optional -> newer version 1
        issue ordered                                              -> refused series_replaced /series: series ordered was replaced by newer; use that one
        define newest format={seq} replaces=newer keys=optional    -> newest version 1
        issue newest                                               -> refused number_exists [1 issued]: 1 was already issued in series ordered, which this one replaces; advance the counter past it
        adopt newest 5                                             -> refused number_exists /number [5 issued]: 5 was already issued in series ordered, which this one replaces; advance the counter past it
        wipe invoice                                               -> refused not_a_test_series /series: series invoice is not a test series; its numbers are kept for ever
        # Keys.
        key k1                                                     -> key k1
        key k1                                                     -> refused api_key_exists /id: there is an API key k1 already; make another id
        revoke k2                                                  -> refused unknown_api_key /id: there is no API key k2
        key k2 label='a\nscopes=admin'                             -> refused invalid_text /label: label: must not contain control characters, line breaks or direction marks
        as shop scopes=issue tenants=acme
        void INV-07-2026-02                                        -> refused forbidden: this needs an API key with the scope `void`
        issue invoice key=z branch=7                               -> refused forbidden: this API key is not allowed on tenant default
        confirm INV-07-2026-02                                     -> refused unknown_entry /id: there is no entry ent_wzccjzsqarw7wjdn_2
        # What is no request.
        issue Invoice key=a                                        -> refused invalid_series /series: series: a series name is a lower-case letter, then up to 62 of a-z, 0-9, `_` and `-`
        issue invoice key=a branch=7 tenant=/                      -> refused invalid_tenant /tenant: tenant: a tenant is a letter or digit, then up to 63 of A-Z, a-z, 0-9, `.`, `_` and `-`
        issue invoice key=ä branch=7                               -> refused invalid_key /key: key: a key is printable ASCII; hash or encode a reference that has other characters
        issue invoice key=a branch=7 date=2026-02-29               -> refused invalid_date /date: `2026-02-29` is not a day of the calendar; write a date like 2026-03-31
        issue invoice key=a branch=7 doc={                         -> refused invalid_document /document: the document is not valid: EOF while parsing an object at line 1 column 1
        reserve invoice key=a branch=7 ttl=1y                      -> refused invalid_ttl /ttl: `1y` is not a duration from 1s to 366d; write it like 90s, 15m, 24h or 7d
        void ent_1                                                 -> refused invalid_id /id: `ent_1` is not an entry id; it looks like ent_0123456789abcdef_42
        void INV-07-2026-02 code=bored                             -> refused invalid_text /reason_code: unknown reason code `bored`; use one of spoiled, duplicate, rejected, cancelled, other
        issue invoice key=a ref=                                   -> refused invalid_text /reference: reference: must not be empty
        define broken format={year}                                -> refused invalid_definition /format: the format needs {seq} or {seq:N}, exactly once
    "#]]);
    let all: BTreeSet<Code> = Code::ALL.iter().copied().collect();
    let decided: BTreeSet<Code> = all.difference(&NOT_DECIDED.into()).copied().collect();
    assert_eq!(ledger.world.refused, decided);
}
