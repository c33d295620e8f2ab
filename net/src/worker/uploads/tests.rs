use crate::session::Protocol;
use crate::transport::Pieces;
use crate::worker::mail::{Address, Ask, AskBytes, What};
use crate::worker::testing::{CONN, exchange, execute, key_of, pair, resp};
use torc_engine::shard::Tells;

/// Answers are read before requests, so what goes home with them may overtake a request that was sent earlier.
#[test]
fn the_news_that_a_client_is_gone_does_not_overtake_the_value_that_it_began() {
    let (mut asker, mut owner) = pair(Protocol::Resp);
    let set = resp(&["SET", &key_of(&asker, 1), &"v".repeat(50_000)]);
    execute(&mut asker, &set[..1000], 2);
    assert!(asker.connections.find(CONN).unwrap().upload.is_some());
    asker.publish_mail();
    let ask = Ask::plain(
        Address { conn: CONN, sequence: 0 },
        What::Scan { cursor: 0, count: 1, tells: Tells::Keys },
    );
    assert!(owner.mail.lane(0).unwrap().ask(&ask, AskBytes::default()));
    owner.publish_mail();
    asker.closed(CONN, Pieces::default());
    exchange(&mut asker, &mut owner);
    assert_eq!((owner.foreign_uploads.len(), owner.shard.held()), (0, (0, 0)));
}
