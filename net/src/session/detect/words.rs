//! First words by which protocols are told apart.

/// Names of all commands of Redis and Valkey, in order. Those that are not served are answered in the words of RESP, too.
const REDIS: &str = "\
    acl append asking auth bgrewriteaof bgsave bitcount bitfield bitfield_ro bitop bitpos blmove blmpop \
    blpop brpop brpoplpush bzmpop bzpopmax bzpopmin client cluster command commandlog config copy dbsize \
    debug decr decrby del delex delifeq digest discard dump echo eval eval_ro evalsha evalsha_ro exec \
    exists expire expireat expiretime failover fcall fcall_ro flushall flushdb function geoadd geodist \
    geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch \
    geosearchstore get getbit getdel getex getrange getset hdel hello hexists hexpire hexpireat \
    hexpiretime hget hgetall hgetdel hgetex hincrby hincrbyfloat hkeys hlen hmget hmset hotkeys hpersist \
    hpexpire hpexpireat hpexpiretime hpttl hrandfield hscan hset hsetex hsetnx hstrlen httl hvals incr \
    incrby incrbyfloat info keys lastsave latency lcs lindex linsert llen lmove lmpop lolwut lpop lpos \
    lpush lpushx lrange lrem lset ltrim memory mget migrate module monitor move mset msetex msetnx multi \
    object persist pexpire pexpireat pexpiretime pfadd pfcount pfdebug pfmerge pfselftest ping psetex \
    psubscribe psync pttl publish pubsub punsubscribe quit randomkey readonly readwrite rename renamenx \
    replconf replicaof reset restore restore-asking role rpop rpoplpush rpush rpushx sadd save scan \
    scard script sdiff sdiffstore select set setbit setex setnx setrange shutdown sinter sintercard \
    sinterstore sismember slaveof slowlog smembers smismember smove sort sort_ro spop spublish \
    srandmember srem sscan ssubscribe strlen subscribe substr sunion sunionstore sunsubscribe swapdb \
    sync time touch ttl type unlink unsubscribe unwatch wait waitaof watch xack xackdel xadd xautoclaim \
    xclaim xdel xdelex xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xsetid xtrim zadd \
    zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax \
    zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex \
    zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore \
    zunion zunionstore";

/// Words that both have. In small letters they are memcached's, whose words never have others.
const BOTH: [&[u8]; 9] =
    [b"append", b"decr", b"get", b"incr", b"quit", b"set", b"shutdown", b"touch", b"watch"];

/// The longest word, bytes.
pub(super) const REDIS_BYTES_MAX: usize = 20;

/// Whether a first word is one of Redis' alone.
pub(super) fn is_of_redis(word: &[u8]) -> bool {
    !BOTH.contains(&word)
        && word.len() <= REDIS_BYTES_MAX
        && REDIS.split(' ').any(|name| name.as_bytes().eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_in_order_and_the_longest_is_known() {
        let names: Vec<&str> = REDIS.split(' ').collect();
        assert!(names.is_sorted() && names.iter().all(|name| !name.is_empty()));
        assert_eq!(names.iter().map(|name| name.len()).max(), Some(REDIS_BYTES_MAX));
        assert!(BOTH.iter().all(|word| names.iter().any(|name| name.as_bytes() == *word)));
    }

    #[test]
    fn a_word_of_both_is_redis_in_capitals_only() {
        for word in BOTH {
            assert!(!is_of_redis(word) && is_of_redis(&word.to_ascii_uppercase()));
        }
        assert!(is_of_redis(b"config") && is_of_redis(b"Hset") && !is_of_redis(b"") && !is_of_redis(b"gets"));
    }
}
