//! A server over RDMA, and clients at the other end of the wire: two real devices, which `TORC_TEST_RDMA` names (`rxe_a,rxe_b`:
//! the server's, the client's); without it these tests say that they are skipped. A guest with such a pair is booted by
//! `bash tools/guest/run.sh`.

mod values;
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
    }
}
