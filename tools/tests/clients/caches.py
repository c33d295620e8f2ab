"""The caches of web frameworks: Django's own for Redis and memcached, django-redis, and limits, which counts requests."""

import asyncio
import sys
import threading
import time

import django
from django.conf import settings


def configure(address):
    url = f"redis://{address}"
    settings.configure(
        CACHES={
            "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{url}/1"},
            "memcached": {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache", "LOCATION": address},
            "django-redis": {
                "BACKEND": "django_redis.cache.RedisCache",
                "LOCATION": f"{url}/2",
                "OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
            },
        },
        SESSION_ENGINE="django.contrib.sessions.backends.cache",
        INSTALLED_APPS=["django.contrib.sessions"],
    )
    django.setup()


def common(cache):
    """What every backend of Django promises."""
    cache.clear()
    assert cache.get("a") is None and cache.get("a", "else") == "else"
    assert cache.add("a", {"of": ["all", 1, None]}) and not cache.add("a", 2)
    assert cache.get("a") == {"of": ["all", 1, None]}
    cache.set("none", None)
    assert cache.get("none", "else") is None and "none" in cache and cache.has_key("a")
    values = {f"many{number}": number for number in range(200)}
    assert not cache.set_many(values, 100)
    assert cache.get_many([*values, "missing"]) == values
    cache.delete_many(list(values)[:100])
    assert len(cache.get_many(values)) == 100
    cache.set("count", 1)
    assert (cache.incr("count"), cache.incr("count", 10), cache.decr("count", 2)) == (2, 12, 10)
    assert cache.get("count") == 10
    try:
        cache.incr("missing")
        raise AssertionError("counted what is not there")
    except ValueError:
        pass
    assert cache.get_or_set("made", lambda: "once", 100) == "once" and cache.get("made") == "once"
    cache.set("versioned", "two", version=2)
    assert cache.get("versioned") is None and cache.get("versioned", version=2) == "two"
    assert cache.incr_version("versioned", version=2) == 3 and cache.get("versioned", version=3) == "two"
    cache.set("gone", 1, timeout=0)
    cache.set("short", 1, timeout=1)
    cache.set("kept", 1, timeout=1)
    assert cache.get("gone") is None and cache.touch("kept", 100) and not cache.touch("missing")
    time.sleep(1.2)
    assert cache.get("short") is None and cache.get("kept") == 1
    large = "x" * 900_000
    cache.set("large", large)
    assert cache.get("large") == large
    assert cache.delete("a") and not cache.delete("a")

    async def asynchronous():
        await cache.aset("async", 1)
        assert await cache.aincr("async") == 2 and await cache.aget("async") == 2

    asyncio.run(asynchronous())
    cache.clear()
    assert cache.get("kept") is None


def sessions():
    from django.contrib.sessions.backends.cache import SessionStore

    store = SessionStore()
    store["user"] = 7
    store.save()
    other = SessionStore(session_key=store.session_key)
    assert other["user"] == 7
    other.cycle_key()
    assert not SessionStore().exists(store.session_key) and SessionStore(session_key=other.session_key)["user"] == 7
    other.flush()


def of_django_redis(cache):
    cache.set("n", 1, timeout=100)
    assert 98 <= cache.ttl("n") <= 100 and cache.persist("n") and cache.ttl("n") is None
    assert cache.expire("n", 50) and cache.pttl("n") > 48_000
    assert cache.set("n", 2, nx=True) is False and cache.get("n") == 1
    cache.set_many({f"p:{number}": number for number in range(50)})
    assert sorted(cache.keys("p:*")) == sorted(f"p:{number}" for number in range(50))
    assert len(list(cache.iter_keys("p:*"))) == 50
    assert cache.delete_pattern("p:*") == 50
    with cache.lock("lock", timeout=5):
        assert not cache.lock("lock").acquire(blocking=False)
    cache.clear()


def limited(url):
    from limits import parse
    from limits.storage import storage_from_string
    from limits.strategies import FixedWindowRateLimiter, SlidingWindowCounterRateLimiter

    storage = storage_from_string(url)
    assert storage.check()
    for strategy in (FixedWindowRateLimiter, SlidingWindowCounterRateLimiter):
        # The first second of a fixed window may be the last one, so the window is a day.
        limiter, item = strategy(storage), parse("30/day")
        name, allowed = strategy.__name__, []
        threads = [
            threading.Thread(target=lambda: allowed.extend(limiter.hit(item, name) for _ in range(10)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(allowed), sum(allowed)) == (80, 30), (url, name, sum(allowed))
        assert not limiter.test(item, name) and limiter.get_window_stats(item, name).remaining == 0
        limiter.clear(item, name)
        assert limiter.hit(item, name)
    if url.startswith("redis"):
        # Its script asks for all keys that begin so.
        assert storage.reset() == 2
        assert limiter.get_window_stats(item, name).remaining == 30


def main(address):
    configure(address)
    from django.core.cache import caches

    for name in ("default", "memcached", "django-redis"):
        common(caches[name])
        print("ok", name)
    sessions()
    of_django_redis(caches["django-redis"])
    limited(f"redis://{address}/3")
    limited(f"memcached://{address}")


main(*sys.argv[1:])
