"""redis-py's transactions and scripts, with many clients at the same keys of all shards."""

import sys
import threading
import time

import redis

CLIENTS, ROUNDS = 6, 25
KEYS = [f"account{number}" for number in range(16)]

# What a rate limiter does: so many in a window, and how long to wait when there are no more.
LIMITER = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
if count <= tonumber(ARGV[1]) then return {1, tonumber(ARGV[1]) - count} end
return {0, redis.call('PTTL', KEYS[1])}
"""
# A bucket that fills again, in two keys of two shards.
BUCKET = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local tokens = tonumber(redis.call('GET', KEYS[1])) or burst
local last = tonumber(redis.call('GET', KEYS[2])) or now
tokens = math.min(burst, tokens + (now - last) * rate)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('SET', KEYS[1], tostring(tokens), 'PX', 60000)
redis.call('SET', KEYS[2], string.format('%.6f', now), 'PX', 60000)
return {allowed and 1 or 0, tostring(tokens)}
"""


def at_once(work):
    """Runs it in many threads; what one of them meets fails all."""
    failures = []

    def guarded(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def pipelines(r):
    """The default pipeline is a transaction; nobody sees a half of it."""
    r.mset(dict.fromkeys(KEYS, 0))

    def work(number):
        for _ in range(ROUNDS):
            with r.pipeline() as pipe:
                for key in KEYS:
                    pipe.incr(key)
                assert len(set(pipe.execute())) == 1
            with r.pipeline() as pipe:
                assert len(set(pipe.mget(KEYS).execute()[0])) == 1

    at_once(work)
    assert r.mget(KEYS) == [str(CLIENTS * ROUNDS).encode()] * len(KEYS)


def watched(r):
    """Moves between accounts, each begun anew until nobody has changed what it has read."""
    r.mset(dict.fromkeys(KEYS, 100))
    retries = []

    def work(number):
        for turn in range(ROUNDS):
            giver, taker = KEYS[(number + turn) % 16], KEYS[(number * 5 + turn * 3 + 1) % 16]
            if giver == taker:
                continue

            def move(pipe):
                retries.append(1)
                left, right = int(pipe.get(giver)), int(pipe.get(taker))
                pipe.multi()
                pipe.set(giver, left - 1).set(taker, right + 1)

            assert r.transaction(move, giver, taker) == [True, True]

    at_once(work)
    assert sum(int(value) for value in r.mget(KEYS)) == 1600

    def count(number):
        for _ in range(ROUNDS):
            with r.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch(KEYS[0], KEYS[1])
                        one, two = int(pipe.get(KEYS[0])), int(pipe.get(KEYS[1]))
                        pipe.multi()
                        pipe.set(KEYS[0], one + 1).set(KEYS[1], two + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        continue

    r.mset({KEYS[0]: 0, KEYS[1]: 0})
    at_once(count)
    assert r.mget(KEYS[:2]) == [str(CLIENTS * ROUNDS).encode()] * 2


def limiter(r):
    limit = r.register_script(LIMITER)
    allowed = []

    def work(number):
        for _ in range(ROUNDS):
            yes, rest = limit(keys=["limited"], args=[100, 60_000])
            allowed.append(yes)
            assert yes or 0 < rest <= 60_000, rest

    at_once(work)
    assert sum(allowed) == 100, sum(allowed)
    assert limit(keys=["short"], args=[1, 50]) == [1, 0]
    assert limit(keys=["short"], args=[1, 50])[0] == 0
    end = time.monotonic() + 10
    while limit(keys=["short"], args=[1, 50])[0] == 0:
        assert time.monotonic() < end
    bucket, taken = r.register_script(BUCKET), []

    def draw(number):
        for _ in range(ROUNDS):
            taken.append(bucket(keys=["tokens", "filled"], args=[0.001, 50])[0])

    at_once(draw)
    assert sum(taken) == 50, sum(taken)


def scripts(r):
    twice = r.register_script("return redis.call('SET', KEYS[1], ARGV[1] * 2)")
    # It is not there after a flush, and sent again.
    assert r.script_flush() and r.script_exists(twice.sha) == [False]
    assert twice(keys=["double"], args=[21]) == b"OK" and r.get("double") == b"42"
    assert r.script_exists(twice.sha) == [True]
    with r.pipeline() as pipe:
        twice(keys=["double"], args=[4], client=pipe)
        pipe.get("double")
        assert pipe.execute() == [b"OK", b"8"]
    sha = r.script_load("return {KEYS[1], ARGV[1], 7, false, {err = 'MINE of mine'}}")
    answer = r.evalsha(sha, 1, "k", "a")
    assert answer[:4] == [b"k", b"a", 7, None] and isinstance(answer[4], redis.ResponseError), answer
    try:
        r.evalsha("f" * 40, 0)
        raise AssertionError("a script that nobody has loaded was run")
    except redis.exceptions.NoScriptError:
        pass


def main(url):
    for protocol in (2, 3):
        with redis.from_url(url, protocol=protocol) as r:
            for scenario in (pipelines, watched, limiter, scripts):
                r.flushall()
                scenario(r)


main(*sys.argv[1:])
