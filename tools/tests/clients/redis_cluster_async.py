"""redis-py's asynchronous cluster client, and pipelines, transactions, locks and scripts of both cluster clients."""

import asyncio
import sys

import redis
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.cluster import RedisCluster


def synchronous(port):
    with RedisCluster(host="127.0.0.1", port=port) as r:
        keys = [f"key{number}" for number in range(100)]
        assert r.flushall()
        with r.pipeline() as pipe:
            for key in keys:
                pipe.set(key, key).incr(f"count {key}").expire(key, 100)
            assert pipe.execute() == [answer for _ in keys for answer in (True, 1, True)]
        with r.pipeline() as pipe:
            pipe.set("word", "x").incr("word").get("word")
            answers = pipe.execute(raise_on_error=False)
            assert isinstance(answers[1], redis.ResponseError) and answers[2] == b"x"
        # A transaction of one slot.
        with r.pipeline(transaction=True) as pipe:
            pipe.set("{t}a", 1).incr("{t}a").get("{t}a")
            assert pipe.execute() == [b"OK", 2, b"2"]
        with r.pipeline(transaction=True) as pipe:
            pipe.watch("{t}a")
            r.set("{t}a", 5)
            pipe.multi()
            pipe.set("{t}a", 6)
            try:
                pipe.execute()
                raise AssertionError("a watched key has changed")
            except redis.WatchError:
                pass
        assert r.mget_nonatomic(keys) == [key.encode() for key in keys]
        assert r.mset_nonatomic({key: "new" for key in keys})
        assert r.exists(*keys) == len(keys)
        assert sorted(r.scan_iter("key*")) == sorted(key.encode() for key in keys)
        assert r.eval("return redis.call('GET', KEYS[1])", 1, "key7") == b"new"
        script = r.register_script("return redis.call('APPEND', KEYS[1], ARGV[1])")
        for key in keys[:10]:
            assert script(keys=[key], args=["er"]) == 5
        with r.lock("lock", timeout=10) as lock:
            assert lock.owned() and lock.extend(10)
        assert r.delete(*keys) == len(keys)
        assert r.flushall() and r.dbsize() == 0


async def asynchronous(port):
    async with AsyncCluster(host="127.0.0.1", port=port, decode_responses=True) as r:
        keys = [f"key{number}" for number in range(100)]
        await asyncio.gather(*(r.set(key, key) for key in keys))
        assert await asyncio.gather(*(r.get(key) for key in keys)) == keys
        pipe = r.pipeline()
        for key in keys:
            pipe.append(key, "+").strlen(key)
        answers = await pipe.execute()
        assert answers == [length for key in keys for length in (len(key) + 1,) * 2]
        assert await r.mset_nonatomic({key: "new" for key in keys})
        assert await r.mget_nonatomic(keys) == ["new"] * len(keys)
        script = r.register_script("return redis.call('GET', KEYS[1])")
        assert await script(keys=["key3"]) == "new"
        async with r.lock("lock", timeout=10) as lock:
            assert await lock.owned()
        assert await r.delete(*keys) == len(keys)
        assert await r.dbsize() == 0


def main(*ports):
    for port in map(int, ports):
        synchronous(port)
        asyncio.run(asynchronous(port))


main(*sys.argv[1:])
