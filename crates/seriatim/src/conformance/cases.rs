//! The one list of cases that every store must pass.

mod access;
mod commit;
mod concurrency;
mod contents;
mod gates;
mod periods;
mod reading;
mod stage;

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use crate::store::Store;

/// One case: a rule that a store must keep, and the play that shows whether it does.
pub struct Case {
    /// The rule.
    pub name: &'static str,
    play: Play,
}

type Play = fn(Arc<dyn Store>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

impl Case {
    /// Plays the case on an empty store.
    ///
    /// # Panics
    /// The store breaks the rule.
    pub async fn play(&self, store: Arc<dyn Store>) {
        (self.play)(store.clone()).await;
        stage::must_be_in_order(&*store).await;
    }
}

macro_rules! cases {
    ($($module:ident { $($case:ident)* })*) => {
        /// Every case, concurrency first. There is no way to leave one out.
        pub const CASES: &[Case] = &[$($(
            Case { name: stringify!($case), play: |store| Box::pin($module::$case(store)) },
        )*)*];
    };
}

cases! {
    concurrency {
        sixty_four_callers_of_one_counter_get_every_number_once
        one_key_sent_by_fifty_callers_at_once_is_one_number
        fifty_first_calls_open_one_counter
        many_tenants_count_each_for_itself
        batches_with_common_keys_are_all_or_none
        overlapping_decisions_never_interleave
        one_of_many_who_void_a_number_does
        a_reservation_is_confirmed_or_released_never_both
        one_of_many_who_adopt_a_number_does
        one_of_many_who_change_a_series_does
        nothing_is_issued_in_a_period_after_it_was_closed
        every_verb_at_once_leaves_the_books_in_order
        commands_go_on_when_their_callers_hang_up
    }
    gates {
        one_of_fifty_claimers_wins
        one_of_fifty_takes_over_when_a_lease_ran_out
        a_paused_winner_changes_nothing_once_it_was_replaced
        a_result_and_a_takeover_never_both_happen
        what_a_gate_holds_is_what_was_answered
        gates_that_are_due_come_oldest_first_and_by_effect
        a_task_changes_only_by_who_knows_of_every_claim
        who_waits_for_a_gate_hears_the_result_of_another_process
    }
    commit {
        an_empty_decision_writes_nothing
        a_refused_command_in_a_batch_does_not_hinder_the_others
        a_batch_with_a_bad_item_writes_nothing
        a_decision_that_asks_for_more_gets_it_with_all_before
        a_new_entry_that_exists_is_corrupt_and_nothing_is_written
        a_new_entry_twice_in_a_batch_is_corrupt_and_nothing_is_written
        a_new_key_that_exists_is_corrupt_and_nothing_is_written
        a_decision_that_never_has_enough_is_ended
        a_panic_in_a_decision_is_rolled_back_and_the_store_lives_on
        a_batch_is_told_from_the_one_before_and_the_one_after
        a_batch_of_a_thousand_is_one_commit
    }
    periods {
        a_command_that_waited_past_midnight_belongs_to_the_new_day
        a_clock_that_went_back_finds_its_old_period
        a_key_is_found_again_in_the_next_period_and_by_another_process
        a_restarted_process_goes_on_where_the_last_one_stopped
    }
    reading {
        readers_never_see_half_a_commit
        reads_do_not_wait_for_a_writer
        pages_of_entries_are_stable_under_inserts
        every_filter_of_entries_finds_what_it_should
        counters_come_in_order_and_by_pages
        events_entries_and_gaps_come_by_pages
        a_summary_counts_what_is_dated_within_its_range
    }
    contents {
        what_was_answered_is_what_is_stored
        keys_and_tenants_are_told_apart_to_the_letter
        numbers_are_compared_as_numbers
        the_last_seq_there_is_ends_a_counter
        a_reissue_moves_its_key
        a_redacted_document_is_gone_and_its_hash_is_not
        an_adopted_number_fills_a_missing_seq
        a_series_that_replaces_another_honours_its_keys
        a_wipe_empties_one_series_and_no_other
        a_wipe_and_an_issue_in_one_batch_begin_anew
    }
    access {
        an_api_key_is_stored_and_revoked
        another_tenants_entry_does_not_exist
    }
}

/// Plays every case, each on a store of its own.
///
/// # Panics
/// The store breaks a rule; the message names each, with what was found.
pub async fn run<F, Opening>(open: F)
where
    F: Fn() -> Opening,
    Opening: Future<Output = Arc<dyn Store>>,
{
    let mut broken = String::new();
    for case in CASES {
        let store = open().await;
        // In a task of its own, so that the other cases are played even if this one panics.
        if let Err(error) = tokio::spawn(case.play(store)).await {
            let panic = error.try_into_panic().ok();
            let what = panic.as_ref().and_then(|panic| {
                panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
            });
            // Writing to a String cannot fail.
            let _ = writeln!(broken, "{}: {}", case.name, what.unwrap_or("it ended"));
        }
    }
    assert!(broken.is_empty(), "the store breaks these rules:\n{broken}");
}
