"""redis-py's messages: both versions of RESP, threads, asyncio, sharded channels, and changes of keys."""

import asyncio
import sys
import time

import redis
import redis.asyncio


def take(pubsub, count):
    """So many messages, in order; those that only tell of subscriptions are left out."""
    messages, end = [], time.time() + 10
    while len(messages) < count:
        assert time.time() < end, f"{count} messages were expected: {messages}"
        message = pubsub.get_message(ignore_subscribe_messages=True, timeout=0.1)
        if message:
            messages.append((message["type"], message["channel"], message["data"]))
    return messages


def plain(r):
    pubsub = r.pubsub()
    pubsub.subscribe("news", "sport")
    pubsub.psubscribe("n*")
    told = [pubsub.get_message(timeout=5) for _ in range(3)]
    assert [(t["type"], t["data"]) for t in told] == [("subscribe", 1), ("subscribe", 2), ("psubscribe", 3)], told
    assert r.publish("news", "one") == 2
    assert r.publish("sport", "two") == 1
    assert r.publish("other", "three") == 0
    messages = take(pubsub, 3)
    assert sorted(messages[:2]) == [("message", b"news", b"one"), ("pmessage", b"news", b"one")], messages
    assert messages[2] == ("message", b"sport", b"two"), messages
    assert sorted(r.pubsub_channels()) == [b"news", b"sport"]
    assert r.pubsub_numsub("news", "none") == [(b"news", 1), (b"none", 0)]
    assert r.pubsub_numpat() == 1
    pubsub.ping()
    pubsub.unsubscribe("news")
    pubsub.punsubscribe()
    end = time.time() + 10
    while r.publish("news", "gone") != 0:
        assert time.time() < end
    pubsub.close()


def in_a_transaction(r):
    pubsub = r.pubsub()
    pubsub.subscribe("together")
    assert pubsub.get_message(timeout=5)["type"] == "subscribe"
    with r.pipeline(transaction=True) as pipeline:
        pipeline.set("k1", "v").publish("together", "1").set("k2", "v").publish("together", "2").get("k1")
        assert pipeline.execute() == [True, 1, True, 1, b"v"]
    assert [data for _, _, data in take(pubsub, 2)] == [b"1", b"2"]
    pubsub.close()


def sharded(r):
    pubsub = r.pubsub()
    pubsub.ssubscribe("shard")
    assert pubsub.get_message(timeout=5)["type"] == "ssubscribe"
    assert r.spublish("shard", "m") == 1
    end = time.time() + 10
    message = None
    while message is None:
        assert time.time() < end
        message = pubsub.get_message(timeout=0.1)
    assert (message["type"], message["data"]) == ("smessage", b"m"), message
    assert r.pubsub_shardchannels() == [b"shard"]
    pubsub.close()


def by_thread(r):
    heard = []
    pubsub = r.pubsub()
    pubsub.subscribe(**{"threaded": lambda message: heard.append(message["data"])})
    thread = pubsub.run_in_thread(sleep_time=0.01)
    end = time.time() + 10
    while r.publish("threaded", "m") == 0 or not heard:
        assert time.time() < end
        time.sleep(0.01)
    thread.stop()
    thread.join()


def changes(r):
    pubsub = r.pubsub()
    pubsub.psubscribe("__key*__:*")
    assert pubsub.get_message(timeout=5)["type"] == "psubscribe"
    r.set("watched", "1")
    r.expire("watched", 100)
    r.delete("watched")
    expected = [
        (b"__keyspace@0__:watched", b"set"),
        (b"__keyevent@0__:set", b"watched"),
        (b"__keyspace@0__:watched", b"expire"),
        (b"__keyevent@0__:expire", b"watched"),
        (b"__keyspace@0__:watched", b"del"),
        (b"__keyevent@0__:del", b"watched"),
    ]
    got = [(channel, data) for _, channel, data in take(pubsub, 6)]
    assert got == expected, got
    pubsub.close()


async def asynchronous(url, protocol):
    async with redis.asyncio.from_url(url, protocol=protocol) as r:
        async with r.pubsub() as pubsub:
            await pubsub.subscribe("async")
            heard = []

            async def listen():
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        heard.append(message["data"])
                        if len(heard) == 500:
                            return

            listener = asyncio.ensure_future(listen())
            while not await r.pubsub_channels("async"):
                await asyncio.sleep(0.01)
            pipeline = r.pipeline(transaction=False)
            for number in range(500):
                pipeline.publish("async", str(number))
            assert await pipeline.execute() == [1] * 500
            await asyncio.wait_for(listener, 20)
            assert heard == [str(number).encode() for number in range(500)], heard[:10]
            await pubsub.unsubscribe("async")


def of_cluster(port):
    cluster = redis.RedisCluster(host="127.0.0.1", port=port)
    pubsub = cluster.pubsub()
    pubsub.ssubscribe("a", "b", "c")
    for channel in ("a", "b", "c"):
        end, message = time.time() + 10, None
        cluster.spublish(channel, channel)
        while message is None:
            assert time.time() < end, channel
            message = pubsub.get_sharded_message(timeout=0.1, ignore_subscribe_messages=True)
        assert message["data"] == channel.encode(), message
    pubsub.close()


def main(url, cluster_port):
    for protocol in (2, 3):
        with redis.from_url(url, protocol=protocol) as r:
            for scenario in (plain, in_a_transaction, sharded, by_thread, changes):
                scenario(r)
        asyncio.run(asynchronous(url, protocol))
    of_cluster(int(cluster_port))


main(*sys.argv[1:])
