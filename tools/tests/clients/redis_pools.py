"""How redis-py is set up: by URL with a password, pools, checks of connections, decoding, retries."""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry


def with_password(url, password):
    try:
        redis.from_url(url).ping()
        raise AssertionError("served without the password")
    except redis.AuthenticationError:
        pass
    scheme, address = url.split("://")
    for user in (f":{password}", f"default:{password}"):
        for protocol in (2, 3):
            with redis.from_url(f"{scheme}://{user}@{address}/1?protocol={protocol}") as r:
                assert r.set("secret", "kept") and r.get("secret") == b"kept"
                assert r.client_info()["db"] == 1
    for user in (":wrong", f"nobody:{password}"):
        try:
            redis.from_url(f"{scheme}://{user}@{address}").ping()
            raise AssertionError("served with a wrong password")
        except redis.AuthenticationError:
            pass
    return f"{scheme}://:{password}@{address}"


def decoded(url):
    with redis.from_url(url, decode_responses=True) as r:
        assert r.set("näme", "wört") and r.get("näme") == "wört"
        assert r.mget("näme", "none") == ["wört", None]
        assert list(r.scan_iter("nä*")) == ["näme"]
        assert r.config_get("maxmemory").keys() == {"maxmemory"}
        assert r.eval("return {KEYS[1], ARGV[1]}", 1, "näme", "x") == ["näme", "x"]
        with r.pipeline() as pipe:
            assert pipe.set("a", "1").get("a").execute() == [True, "1"]


def checked(url):
    """A pool looks whether a connection is still there before it lends it."""
    pool = redis.ConnectionPool.from_url(url, health_check_interval=1, client_name="checked")
    with redis.Redis(connection_pool=pool) as r, redis.from_url(url) as admin:
        r.set("a", "1")
        time.sleep(1.1)
        assert r.get("a") == b"1"
        pubsub = r.pubsub()
        pubsub.subscribe("quiet")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            message = pubsub.get_message(timeout=0.1)
            assert message is None or message["type"] == "subscribe", message
        assert admin.publish("quiet", "heard") == 1
        end, message = time.monotonic() + 10, None
        while message is None or message["type"] != "message":
            assert time.monotonic() < end
            message = pubsub.get_message(timeout=0.1)
        pubsub.close()
        # All connections end: the next request makes a new one.
        for client in admin.client_list():
            if client["name"] == "checked":
                admin.client_kill_filter(_id=client["id"])
        assert r.get("a") == b"1"


def bounded(url):
    """More threads than connections: they wait for each other."""
    pool = redis.BlockingConnectionPool.from_url(url, max_connections=3, timeout=30)
    failures = []

    def work(number):
        try:
            r = redis.Redis(connection_pool=pool)
            for turn in range(50):
                assert r.set(f"b{number}", turn) and int(r.get(f"b{number}")) == turn
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    pool.disconnect()


def told(url):
    """What a client says of itself when it connects."""
    with redis.from_url(url, client_name="named", lib_name="mine", lib_version="9") as r:
        info = r.client_info()
        assert (info["name"], info["lib-ver"]) == ("named", "9"), info
        assert "mine" in info["lib-name"], info
    retry = Retry(NoBackoff(), 3)
    with redis.from_url(url, retry=retry, socket_keepalive=True, socket_timeout=20, single_connection_client=True) as r:
        assert r.ping() and r.set("a", "1")
        r.select(2)
        assert r.get("a") is None


async def asynchronous(url, protocol):
    async with redis.asyncio.from_url(url, protocol=protocol, decode_responses=True, health_check_interval=1) as r:
        values = {f"async{number}": str(number) for number in range(300)}
        assert await r.mset(values)
        assert await r.mget(list(values)) == list(values.values())
        answers = await asyncio.gather(*(r.incr("counted") for _ in range(100)))
        assert sorted(answers) == list(range(1, 101))
        async with r.pipeline() as pipe:
            for key in values:
                pipe.get(key)
            assert await pipe.execute() == list(values.values())
        async with r.pipeline() as pipe:
            await pipe.watch("counted")
            await r.incr("counted")
            pipe.multi()
            pipe.get("counted")
            try:
                await pipe.execute()
                raise AssertionError("a watched key has changed")
            except redis.WatchError:
                pass
        script = r.register_script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
        assert await script(keys=["counted"], args=[9]) == 110
        assert {key async for key in r.scan_iter("async*")} == set(values)
        try:
            await asyncio.wait_for(r.get("async0"), 0.000001)
        except asyncio.TimeoutError:
            pass
        # Whoever gave up has not left an answer for the next one.
        assert await r.get("async1") == "1"
        await r.flushdb()


def main(url, password):
    url = with_password(url, password)
    for scenario in (decoded, checked, bounded, told):
        scenario(url)
    for protocol in (2, 3):
        asyncio.run(asynchronous(url, protocol))


main(*sys.argv[1:])
