"""redis-py's locks, which are scripts: taken, waited for, made longer, lost, and wanted by many at once."""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.exceptions import LockError, LockNotOwnedError

CONTENDERS, ROUNDS = 6, 15


def refuses(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError(f"no {error.__name__}")


def alone(r):
    # Of many names, so that locks lie on all shards.
    for number in range(20):
        lock = r.lock(f"lock{number}", timeout=10)
        assert lock.acquire(blocking=False) and lock.locked() and lock.owned()
        other = r.lock(f"lock{number}", timeout=10)
        assert not other.acquire(blocking=False) and not other.owned()
        refuses(LockError, other.release)
        assert 8000 < r.pttl(lock.name) <= 10_000
        assert lock.extend(10) and 18_000 < r.pttl(lock.name) <= 20_000
        assert lock.extend(5, replace_ttl=True) and 4000 < r.pttl(lock.name) <= 5000
        assert lock.reacquire() and 8000 < r.pttl(lock.name) <= 10_000
        lock.release()
        assert not lock.locked() and r.get(lock.name) is None
    with r.lock("lock0", blocking_timeout=1):
        assert r.pttl("lock0") == -1
        started = time.monotonic()
        assert not r.lock("lock0").acquire(blocking_timeout=0.3)
        assert 0.2 < time.monotonic() - started < 5


def lost(r):
    lock = r.lock("lost", timeout=0.1)
    assert lock.acquire()
    # Who waits gets it when its time is over.
    other = r.lock("lost", timeout=10, sleep=0.02)
    assert other.acquire(blocking_timeout=10)
    refuses(LockNotOwnedError, lock.release)
    assert other.owned()
    r.set("lost", "somebody else's")
    refuses(LockNotOwnedError, lambda: other.extend(1))
    refuses(LockNotOwnedError, other.reacquire)
    refuses(LockNotOwnedError, other.release)
    r.delete("lost")


def crowd(url, protocol):
    """Each adds to a number that it reads and writes: without the lock some additions would be lost."""
    r, failures = redis.from_url(url, protocol=protocol), []
    r.set("guarded", 0)

    def add():
        try:
            with redis.from_url(url, protocol=protocol) as own:
                for _ in range(ROUNDS):
                    with own.lock("crowd", timeout=30, sleep=0.001, blocking_timeout=60):
                        own.set("guarded", int(own.get("guarded")) + 1)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=add) for _ in range(CONTENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures
    assert int(r.get("guarded")) == CONTENDERS * ROUNDS
    assert r.get("crowd") is None


async def asynchronous(url, protocol):
    async with redis.asyncio.from_url(url, protocol=protocol) as r:
        await r.set("guarded", 0)

        async def add():
            for _ in range(ROUNDS):
                async with r.lock("crowd", timeout=30, sleep=0.001, blocking_timeout=60):
                    await r.set("guarded", int(await r.get("guarded")) + 1)

        await asyncio.gather(*(add() for _ in range(CONTENDERS)))
        assert int(await r.get("guarded")) == CONTENDERS * ROUNDS
        lock = r.lock("alone", timeout=10)
        assert await lock.acquire(blocking=False) and await lock.owned()
        assert await lock.extend(10) and await r.pttl("alone") > 18_000
        assert await lock.reacquire() and await r.pttl("alone") <= 10_000
        assert not await r.lock("alone").acquire(blocking_timeout=0.1)
        await lock.release()


def main(url):
    for protocol in (2, 3):
        with redis.from_url(url, protocol=protocol) as r:
            alone(r)
            lost(r)
        crowd(url, protocol)
        asyncio.run(asynchronous(url, protocol))


main(*sys.argv[1:])
