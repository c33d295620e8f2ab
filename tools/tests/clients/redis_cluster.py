"""redis-py's cluster client: it learns the slot map and goes straight to the shards' own ports."""

import sys

import redis
from redis.cluster import ClusterNode, RedisCluster


def main(host, port, shards):
    cluster = RedisCluster(startup_nodes=[ClusterNode(host, int(port))])
    primaries = cluster.get_primaries()
    assert len(primaries) == int(shards), primaries
    assert len({node.port for node in primaries}) == int(shards), primaries

    for i in range(500):
        assert cluster.set(f"key{i}", f"value{i}") is True
    for i in range(500):
        assert cluster.get(f"key{i}") == f"value{i}".encode()
    used = {cluster.get_node_from_key(f"key{i}").port for i in range(500)}
    assert len(used) == int(shards), "keys lie on every shard"

    assert cluster.mset({"{tag}a": 1, "{tag}b": 2}) is True
    assert cluster.mget("{tag}a", "{tag}b") == [b"1", b"2"]
    assert cluster.delete("{tag}a", "{tag}b") == 2

    pipe = cluster.pipeline()
    for i in range(200):
        pipe.get(f"key{i}")
    assert pipe.execute() == [f"value{i}".encode() for i in range(200)]

    # A foreign key on a shard's own port is sent on, by name.
    owner = cluster.get_node_from_key("key0")
    others = [node for node in primaries if node.port != owner.port]
    for other in others[:1]:
        plain = redis.Redis(host=other.host, port=other.port)
        try:
            plain.get("key0")
            raise AssertionError("a foreign key was served")
        except redis.exceptions.MovedError as moved:
            assert moved.port == owner.port, (moved, owner)
        except redis.ResponseError as error:
            assert str(owner.port) in str(error), error

    slot = cluster.keyslot("key0")
    assert cluster.cluster_keyslot("key0") == slot
    assert sum(node["slots"] != [] for node in cluster.cluster_nodes().values()) == int(shards)
    assert cluster.cluster_info()["cluster_state"] == "ok"
    assert len(cluster.cluster_shards()) == int(shards)
    print("ok")


main(*sys.argv[1:])
