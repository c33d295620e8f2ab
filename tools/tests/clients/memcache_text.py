"""pymemcache: memcached's text protocol as applications use it."""

import sys
import time

from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError


def storage(c):
    assert c.set("a", b"1", noreply=False) is True
    assert c.get("a") == b"1"
    assert c.get("none") is None
    assert c.add("a", b"2", noreply=False) is False
    assert c.add("b", b"2", noreply=False) is True
    assert c.replace("a", b"3", noreply=False) is True
    assert c.replace("none", b"3", noreply=False) is False
    assert c.append("a", b"+", noreply=False) is True
    assert c.prepend("a", b"-", noreply=False) is True
    assert c.get("a") == b"-3+"
    assert c.delete("a", noreply=False) is True
    assert c.delete("a", noreply=False) is False
    assert c.set("f", b"x", flags=77, noreply=False) is True


def many(c):
    values = {f"m{i}": f"v{i}".encode() for i in range(200)}
    assert c.set_many(values, noreply=False) == []
    assert c.get_many(list(values) + ["none"]) == values
    for i in range(200):
        c.set(f"q{i}", str(i).encode(), noreply=True)
    assert c.get("q199") == b"199"
    assert c.delete_many(list(values), noreply=False) is True


def compare(c):
    c.set("cas", b"1", noreply=False)
    value, token = c.gets("cas")
    assert value == b"1"
    assert c.cas("cas", b"2", token, noreply=False) is True
    assert c.cas("cas", b"3", token, noreply=False) is False
    assert c.cas("none", b"3", token, noreply=False) is None


def counters(c):
    c.set("n", b"10", noreply=False)
    assert c.incr("n", 5) == 15
    assert c.decr("n", 20) == 0
    assert c.incr("none", 1) is None
    c.set("w", b"x", noreply=False)
    try:
        c.incr("w", 1)
        raise AssertionError("a word was counted")
    except MemcacheClientError:
        pass


def expiry(c):
    c.set("e", b"1", expire=1, noreply=False)
    assert c.touch("e", 100, noreply=False) is True
    c.set("e2", b"1", expire=1, noreply=False)
    assert c.raw_command("gat 100 e", "END\r\n").startswith(b"VALUE e 0 1\r\n1\r\n")
    time.sleep(1.2)
    assert c.get("e") == b"1"
    assert c.get("e2") is None


def large(c):
    value = bytes(range(256)) * 4096 * 4
    assert c.set("big", value, noreply=False) is True
    assert c.get("big") == value
    try:
        c.set("too big", b"x", noreply=False)
        raise AssertionError("a key with a blank was taken")
    except MemcacheClientError:
        pass


def server(c):
    assert c.version()
    stats = c.stats()
    assert stats[b"curr_items"] > 0, stats
    assert c.flush_all(noreply=False) is True
    assert c.get("big") is None


def main(where):
    address = where[len("unix:"):] if where.startswith("unix:") else tuple(where.rsplit(":", 1))
    if isinstance(address, tuple):
        address = (address[0], int(address[1]))
    c = Client(address, connect_timeout=5, timeout=10)
    for scenario in (storage, many, compare, counters, expiry, large, server):
        scenario(c)
        print("ok", scenario.__name__)
    c.quit()


main(sys.argv[1])
