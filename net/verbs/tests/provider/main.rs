//! One list of tests for all providers of verbs: the simulated one, under many seeds, and a real pair of devices, which
//! `TORC_TEST_RDMA` names (`rxe_a,rxe_b`); without it those tests say that they are skipped. A guest with such a pair is booted by
//! `bash tools/guest/run.sh`.

mod cases;
mod ends;
mod real;
mod simulated;
mod unkind;
mod world;

macro_rules! list {
    ($($module:ident { $($case:ident),* $(,)? })*) => {
        mod over_simulated_devices {
            $($(
                #[test]
                fn $case() {
                    crate::simulated::under_seeds(crate::cases::$module::$case);
                }
            )*)*
        }
        mod over_real_devices {
            $($(
                #[test]
                fn $case() {
                    crate::real::where_there_are_any(stringify!($case), crate::cases::$module::$case);
                }
            )*)*
        }
    };
}

list! {
    messages {
        messages_of_every_length_come_as_they_were,
        a_message_is_gathered_and_scattered,
        messages_come_in_their_order_over_doorbells,
        pairs_share_their_receives,
        a_message_waits_for_a_receive,
        a_queue_that_is_full_says_so_and_has_room_again,
    }
    memory {
        a_write_changes_what_it_names_and_tells,
        reads_of_one_pair_are_done_in_their_order,
        what_is_not_granted_is_refused,
        a_key_ends_with_its_region,
        a_piece_outside_of_its_region_is_refused,
    }
    failures {
        a_wrong_key_fails_both_ends_and_flushes_the_rest,
        a_message_that_is_too_long_fails_both_ends,
        nobody_receives_and_the_sender_gives_up,
        a_pair_that_is_given_up_is_flushed_and_answers_no_more,
        steps_out_of_order_are_refused,
        a_peer_that_is_not_there_does_not_answer,
    }
    notices {
        a_queue_that_is_armed_gives_notice_once,
        only_what_is_solicited_wakes_who_asked_for_that,
    }
    devices {
        values_can_be_dropped_in_any_order,
        a_link_that_comes_back_loses_nothing,
        a_link_that_stays_down_fails_what_is_sent,
        a_device_whose_link_is_down_can_be_removed_when_it_is_closed,
    }
}
