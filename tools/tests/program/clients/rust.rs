//! The crate `redis`, of which this program is the client.

use super::{TRANSPORTS, server};
use crate::harness::{PATIENCE, Server};
use redis::cluster::ClusterClient;
use redis::{AsyncCommands, Client, Commands, Connection, ErrorKind, RedisResult, ServerErrorKind};
use tokio::task::JoinSet;

/// What is asked for in one way by all.
const COUNT: u32 = 200;

fn client(server: &Server) -> Client {
    Client::open(format!("redis://{}", server.address())).expect("a URL")
}

fn connection(server: &Server) -> Connection {
    let connection = client(server).get_connection().expect("the server accepts");
    connection.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    connection
}

#[test]
fn the_crate_redis_asks_one_at_a_time_and_in_pipelines() -> RedisResult<()> {
    for transport in TRANSPORTS {
        let server = server(transport);
        let mut redis = connection(&server);
        assert!(redis.set_nx::<_, _, bool>("a", 41)?);
        assert_eq!(redis.incr::<_, _, i64>("a", 1)?, 42);
        assert_eq!(redis.get::<_, Option<String>>("none")?, None);
        let bytes: Vec<u8> = (0..=255).collect();
        let () = redis.set_ex(&bytes, &bytes, 100)?;
        assert_eq!(redis.get::<_, Vec<u8>>(&bytes)?, bytes);
        assert!((90..=100).contains(&redis.ttl::<_, i64>(&bytes)?));
        let () = redis.set("a", "word")?;
        let failed = redis.incr::<_, _, i64>("a", 1);
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
        let mut pipe = redis::pipe();
        for number in 0..COUNT {
            pipe.set(format!("p{number}"), number).ignore();
        }
        for number in 0..COUNT {
            pipe.get(format!("p{number}"));
        }
        assert_eq!(pipe.query::<Vec<u32>>(&mut redis)?, Vec::from_iter(0..COUNT));
        let walked = redis.scan_match::<_, String>("p*")?.collect::<RedisResult<Vec<_>>>()?;
        assert_eq!(walked.len(), COUNT as usize);
    }
    Ok(())
}

#[test]
fn the_crate_redis_runs_transactions_and_scripts() -> RedisResult<()> {
    for transport in TRANSPORTS {
        let server = server(transport);
        let adders: Vec<_> = (0..4)
            .map(|_| {
                let mut redis = connection(&server);
                std::thread::spawn(move || -> RedisResult<()> {
                    for _ in 0..COUNT / 4 {
                        redis::transaction(&mut redis, &["one", "two"], |redis, pipe| {
                            let (one, two): (Option<u32>, Option<u32>) = redis.mget(&["one", "two"])?;
                            pipe.set("one", one.unwrap_or(0) + 1).set("two", two.unwrap_or(0) + 1);
                            pipe.query::<Option<()>>(redis)
                        })?;
                    }
                    Ok(())
                })
            })
            .collect();
        for adder in adders {
            adder.join().expect("it ends")?;
        }
        let mut redis = connection(&server);
        assert_eq!(redis.mget::<_, Vec<u32>>(&["one", "two"])?, [COUNT, COUNT]);
        let script = redis::Script::new("return {redis.call('INCRBY', KEYS[1], ARGV[1]), KEYS[2]}");
        for round in 1..3 {
            let answer: (u32, String) = script.key("one").key("two").arg(5).invoke(&mut redis)?;
            assert_eq!(answer, (COUNT + 5 * round, "two".to_owned()));
        }
    }
    Ok(())
}

#[test]
fn the_crate_redis_hears_messages() -> RedisResult<()> {
    for transport in TRANSPORTS {
        let server = server(transport);
        let (mut publisher, mut subscriber) = (connection(&server), connection(&server));
        let mut heard = subscriber.as_pubsub();
        // One by one: of several it waits for the first answer alone.
        heard.subscribe("news")?;
        heard.subscribe("sport")?;
        heard.psubscribe("n*")?;
        assert_eq!(publisher.publish::<_, _, u32>("news", "one")?, 2);
        let messages = [heard.get_message()?, heard.get_message()?];
        assert!(messages.iter().all(|message| message.get_channel_name() == "news"), "{messages:?}");
        assert_eq!(messages.iter().filter(|message| message.from_pattern()).count(), 1);
        // Which ends its subscriptions.
        drop(heard);
        assert_eq!(redis::cmd("PING").query::<String>(&mut subscriber)?, "PONG");
    }
    Ok(())
}

#[test]
fn the_crate_redis_goes_straight_to_the_shards() -> RedisResult<()> {
    for transport in TRANSPORTS {
        let server = server(transport);
        let mut cluster = ClusterClient::new([format!("redis://{}", server.address())])?.get_connection()?;
        for number in 0..COUNT {
            let () = cluster.set(format!("c{number}"), number)?;
        }
        let mut pipe = redis::cluster::cluster_pipe();
        for number in 0..COUNT {
            pipe.get(format!("c{number}"));
        }
        assert_eq!(pipe.query::<Vec<u32>>(&mut cluster)?, Vec::from_iter(0..COUNT));
        let keys: Vec<_> = (0..COUNT).map(|number| format!("c{number}")).collect();
        assert_eq!(cluster.del::<_, u32>(&keys)?, COUNT);
        let script = redis::Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        assert_eq!(script.key("counted").arg(7).invoke::<u32>(&mut cluster)?, 7);
    }
    Ok(())
}

#[test]
fn the_crate_redis_asks_asynchronously() -> RedisResult<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for transport in TRANSPORTS {
        let server = server(transport);
        let work = async { tokio::time::timeout(PATIENCE, asynchronous(&server)).await };
        runtime.block_on(work).expect("it ends in time")?;
    }
    Ok(())
}

async fn asynchronous(server: &Server) -> RedisResult<()> {
    let mut redis = client(server).get_multiplexed_async_connection().await?;
    // All by one connection, with many requests under way.
    let mut tasks = JoinSet::new();
    for _ in 0..COUNT {
        let mut redis = redis.clone();
        tasks.spawn(async move { redis.incr::<_, _, u32>("counted", 1).await });
    }
    let mut counted = tasks.join_all().await.into_iter().collect::<RedisResult<Vec<_>>>()?;
    counted.sort_unstable();
    assert_eq!(counted, Vec::from_iter(1..=COUNT));
    let pipe =
        redis::pipe().atomic().set("a", 1).ignore().incr("a", 1).query_async::<(u32,)>(&mut redis).await?;
    assert_eq!(pipe, (2,));
    let script = redis::Script::new("return redis.call('GET', KEYS[1])");
    assert_eq!(script.key("a").invoke_async::<u32>(&mut redis).await?, 2);

    let mut cluster =
        ClusterClient::new([format!("redis://{}", server.address())])?.get_async_connection().await?;
    let mut tasks = JoinSet::new();
    for number in 0..COUNT {
        let mut cluster = cluster.clone();
        tasks.spawn(async move { cluster.set::<_, _, ()>(format!("c{number}"), number).await });
    }
    tasks.join_all().await.into_iter().collect::<RedisResult<()>>()?;
    let keys: Vec<_> = (0..COUNT).map(|number| format!("c{number}")).collect();
    assert_eq!(cluster.mget::<_, Vec<u32>>(&keys).await?, Vec::from_iter(0..COUNT));
    Ok(())
}
