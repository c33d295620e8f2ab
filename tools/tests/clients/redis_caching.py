"""redis-py's client-side cache, over all shards."""

import sys
import time

import redis
from redis.cache import CacheConfig
from redis.connection import CacheProxyConnection

# It takes Redis alone for a server that tells of changes, and from 7.4 on.
CacheProxyConnection.DEFAULT_SERVER_NAME = "torc"
CacheProxyConnection.MIN_ALLOWED_VERSION = "7.0.0"

KEYS = [f"cached{number}" for number in range(40)]


def until(read, wanted):
    end = time.time() + 10
    while read() != wanted:
        assert time.time() < end, f"{read()} is not {wanted}"
        time.sleep(0.01)


def main(url):
    writer = redis.from_url(url)
    with redis.from_url(url, protocol=3, cache_config=CacheConfig()) as reader:
        cache = reader.get_cache()
        writer.flushall()
        for key in KEYS:
            writer.set(key, "one")
            assert reader.get(key) == b"one"
        assert cache.size == len(KEYS), cache.size
        requests = writer.info("stats")["total_commands_processed"]
        for key in KEYS * 10:
            assert reader.get(key) == b"one"
        asked = writer.info("stats")["total_commands_processed"] - requests
        assert asked < len(KEYS), asked
        clients, stats = writer.info("clients"), writer.info("stats")
        assert (clients["tracking_clients"], stats["tracking_total_keys"]) == (1, len(KEYS)), (clients, stats)
        for key in KEYS:
            writer.set(key, "two")
            until(lambda: reader.get(key), b"two")
            reader.set(key, "three")
            assert reader.get(key) == b"three"
        writer.set(KEYS[0], "short", px=200)
        until(lambda: reader.get(KEYS[0]), b"short")
        until(lambda: reader.get(KEYS[0]), None)
        writer.flushall()
        for key in KEYS:
            until(lambda: reader.get(key), None)
    until(lambda: writer.info("clients")["tracking_clients"], 0)
    until(lambda: writer.info("stats")["tracking_total_keys"], 0)


main(*sys.argv[1:])
