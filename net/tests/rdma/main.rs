//! A server over RDMA, and clients at the other end of the wire: two real devices, which `TORC_TEST_RDMA` names (`rxe_a,rxe_b`:
//! the server's, the client's), on a wire that a script sets up and down (`TORC_TEST_RDMA_WIRE`); without them these tests say that
//! they are skipped. A guest with such a pair is booted by `bash tools/guest/run.sh`.
//!
//! One test at a time, and few queue pairs in each: SoftRoCE loses completions when many run at once.

#[path = "../support/native.rs"]
mod native;

mod changes;
mod deaths;
mod ends;
mod history;
mod hostile;
mod link;
mod load;
mod once;
mod raw;
mod reads;
mod times;
mod values;
mod vectors;
mod wire;

mod over_real_devices {
    macro_rules! list {
        ($($module:ident { $($case:ident),* $(,)? })*) => { $($(
            #[test]
            fn $case() {
                match crate::wire::devices() {
                    Some(devices) => crate::$module::$case(&devices),
                    None => println!("skipped: TORC_TEST_RDMA names no devices"),
                }
            }
        )*)* };
    }

    list! {
        values {
            values_of_every_length_come_back,
            requests_are_pipelined,
            many_clients_at_once,
        }
        reads {
            what_is_written_is_read_without_asking,
            a_read_costs_the_shard_no_turn,
            keys_are_replaced_while_clients_read,
            the_library_reads_while_others_write,
            a_server_that_lets_nobody_read_is_asked,
        }
        changes {
            what_was_flushed_is_not_read,
            databases_that_are_swapped_are_read_as_clients_see_them,
            an_index_that_grows_is_read_meanwhile,
            readers_under_pressure_ask_and_read_on,
            what_is_on_a_tier_is_asked_for,
            a_device_that_goes_ends_reads_and_comes_back,
        }
        times {
            nothing_is_read_after_its_time,
            a_delayed_flush_comes_in_its_time,
        }
        vectors {
            every_request_is_answered_as_over_tcp,
        }
        load {
            every_value_is_right_under_load,
            every_value_is_right_when_packets_are_lost,
        }
        ends {
            answers_that_are_due_come_before_a_drain_ends_the_connection,
            a_shard_with_idle_connections_sleeps,
            memory_comes_back_however_connections_end,
        }
        deaths {
            a_client_that_is_killed_leaves_nothing,
            clients_learn_soon_that_the_server_is_gone,
        }
        hostile {
            a_client_that_never_reads_is_ended_and_its_neighbour_is_served,
            a_client_that_leaves_half_way_through_a_value_gives_its_room_back,
            garbage_ends_its_connection_alone,
            keys_that_are_wrong_end_their_connection_alone,
            pairings_beyond_the_limit_are_refused_and_cost_nothing,
            queue_pairs_in_a_loop_are_refused,
        }
        link {
            a_link_that_goes_down_for_a_moment_hangs_nobody,
            a_device_whose_link_stays_down_is_given_up_and_used_again,
            a_removed_device_is_let_go_and_used_again,
        }
        once {
            changes_are_done_once_whatever_becomes_of_their_queue_pair,
            the_library_falls_back_and_returns_under_load,
        }
    }
}

/// What the tests on real devices run once more as other processes.
#[test]
fn child() {
    if let Some(what) = std::env::var_os(deaths::CHILD) {
        deaths::child(&what.to_string_lossy());
    }
}
