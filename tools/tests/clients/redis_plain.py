"""redis-py, one connection pool, both versions of RESP: the commands as applications use them."""

import sys
import time

import redis


def strings(r):
    assert r.ping() is True
    assert r.echo("hello") == b"hello"
    assert r.set("a", "1") is True
    assert r.get("a") == b"1"
    assert r.get("nothing") is None
    assert r.set("a", "2", nx=True) is None
    assert r.set("a", "2", xx=True) is True
    assert r.set("a", "3", get=True) == b"2"
    assert r.getset("a", "4") == b"3"
    assert r.setnx("a", "5") is False
    assert r.append("a", "xyz") == 4
    assert r.strlen("a") == 4
    assert r.getrange("a", 1, 2) == b"xy"
    assert r.setrange("a", 2, "__") == 4
    assert r.get("a") == b"4x__"
    assert r.getdel("a") == b"4x__"
    assert r.exists("a") == 0


def counters(r):
    assert r.incr("n") == 1
    assert r.incrby("n", 41) == 42
    assert r.decr("n") == 41
    assert r.decrby("n", 40) == 1
    assert abs(r.incrbyfloat("f", 1.5) - 1.5) < 1e-9
    r.set("word", "x")
    try:
        r.incr("word")
        raise AssertionError("a word was counted")
    except redis.ResponseError as error:
        assert "not an integer" in str(error)


def many(r):
    r.mset({f"m{i}": f"v{i}" for i in range(100)})
    assert r.mget([f"m{i}" for i in range(100)] + ["none"]) == [f"v{i}".encode() for i in range(100)] + [None]
    assert r.exists("m0", "m1", "none") == 2
    assert r.touch("m0", "none") == 1
    assert sorted(r.scan_iter(match="m1*", count=10)) == sorted(
        [b"m1"] + [f"m1{i}".encode() for i in range(10)]
    )
    assert r.delete("m0", "m1", "none") == 2
    assert r.unlink("m2", "m3") == 2
    assert r.type("m4") == b"string"
    assert r.type("none") == b"none"


def expiry(r):
    assert r.set("e", "1", px=60) is True
    assert 0 < r.pttl("e") <= 60
    time.sleep(0.08)
    assert r.get("e") is None
    assert r.ttl("e") == -2
    r.set("e", "1")
    assert r.ttl("e") == -1
    assert r.expire("e", 100) is True
    assert 99 <= r.ttl("e") <= 100
    assert r.expire("e", 50, gt=True) is False
    assert r.persist("e") is True
    assert r.ttl("e") == -1
    assert r.getex("e", ex=100) == b"1"
    assert r.expiretime("e") > time.time() + 90
    assert r.execute_command("SETEX", "e2", 100, "x") in (True, b"OK")
    assert r.execute_command("PSETEX", "e3", 100000, "x") in (True, b"OK")


def large_and_binary(r):
    value = bytes(range(256)) * 4096 * 4
    assert r.set(b"bin\r\n\x00key", value) is True
    assert r.get(b"bin\r\n\x00key") == value
    assert r.set("empty", "") is True
    assert r.get("empty") == b""


def pipeline(r):
    p = r.pipeline(transaction=False)
    for i in range(1000):
        p.set(f"p{i}", i)
        p.get(f"p{i}")
    answers = p.execute()
    assert answers[1::2] == [str(i).encode() for i in range(1000)]


def transactions(r):
    p = r.pipeline()
    for i in range(100):
        p.set(f"t{i}", i)
        p.incr(f"t{i}")
    assert p.execute()[1::2] == [i + 1 for i in range(100)]
    p.set("t0", "word")
    p.incr("t0")
    p.get("t0")
    answers = p.execute(raise_on_error=False)
    assert isinstance(answers[1], redis.ResponseError) and answers[2] == b"word"

    def double(p):
        number = int(p.get("t1"))
        p.multi()
        p.set("t1", 2 * number)

    assert r.transaction(double, "t1") == [True]
    with r.pipeline() as p:
        p.watch("t1")
        r.set("t1", "changed")
        p.multi()
        p.set("t1", "lost")
        try:
            p.execute()
            raise AssertionError("a watched key has changed")
        except redis.WatchError:
            pass
    assert r.rename("t1", "renamed") and r.get("renamed") == b"changed"
    assert r.msetnx({"n1": 1, "n2": 2}) and not r.msetnx({"n2": 3, "n3": 4})
    assert r.copy("n1", "n3") and not r.renamenx("n1", "n2")


def databases(r):
    pool, own = r.connection_pool, r.get_connection_kwargs()
    kind = pool.connection_class
    pools = (redis.ConnectionPool(connection_class=kind, **{**own, "db": number}) for number in (1, 2))
    one, two = (redis.Redis(connection_pool=pool) for pool in pools)
    r.set("same", "zero")
    one.set("same", "one", ex=100)
    assert two.get("same") is None
    assert (r.get("same"), one.get("same")) == (b"zero", b"one")
    assert one.dbsize() == 1 and list(one.scan_iter()) == [b"same"]
    assert one.info("keyspace")["db1"]["expires"] == 1
    assert "db2" not in one.info("keyspace")
    assert one.client_info()["db"] == 1
    # A pool's connections are all of its database, also those that are made anew.
    one.connection_pool.disconnect()
    assert one.get("same") == b"one"
    assert r.swapdb(1, 2) is True
    assert (one.get("same"), two.get("same")) == (None, b"one")
    assert two.flushdb() is True
    assert (two.dbsize(), r.get("same")) == (0, b"zero")
    one.close()
    two.close()


def server(r):
    assert r.client_setname("tester") is True
    assert r.client_getname() in (b"tester", "tester")
    assert isinstance(r.client_id(), int)
    info = r.info()
    assert "redis_version" in info, sorted(info)
    assert r.dbsize() > 0
    try:
        r.execute_command("NOSUCH", "a")
        raise AssertionError("an unknown command was taken")
    except redis.ResponseError as error:
        assert "unknown command" in str(error)
    assert r.flushall() is True
    assert r.dbsize() == 0


def main(url):
    for protocol in (2, 3):
        r = redis.Redis.from_url(url, protocol=protocol)
        for scenario in (strings, counters, many, expiry, large_and_binary, pipeline, transactions, databases, server):
            scenario(r)
            print("ok", protocol, scenario.__name__)
        r.close()


main(sys.argv[1])
