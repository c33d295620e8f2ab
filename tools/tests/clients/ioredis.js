// ioredis: pipelines, transactions, scripts, messages, walks, prefixes, pipelines that it makes by itself, and its cluster client.

const assert = require("node:assert/strict");
const { once } = require("node:events");
const Redis = require("ioredis");

const range = (count) => [...Array(count).keys()];

async function strings(redis) {
  assert.equal(await redis.set("a", "1", "EX", 100, "NX"), "OK");
  assert.equal(await redis.set("a", "2", "NX"), null);
  assert.equal(await redis.get("a"), "1");
  assert.equal(await redis.incrby("a", 41), 42);
  assert.equal(await redis.incrbyfloat("a", 0.5), "42.5");
  assert.ok([99, 100].includes(await redis.ttl("a")));
  const bytes = Buffer.from(range(256));
  await redis.set(bytes, bytes);
  assert.deepEqual(await redis.getBuffer(bytes), bytes);
  await redis.mset(new Map(range(100).map((number) => [`m${number}`, number])));
  assert.deepEqual(await redis.mget(range(100).map((number) => `m${number}`)), range(100).map(String));
  await assert.rejects(redis.call("NOSUCH"), /unknown command/);
  await redis.set("word", "x");
  await assert.rejects(redis.incr("word"), /not an integer/);
}

async function pipelines(redis) {
  const pipeline = redis.pipeline();
  for (const number of range(500)) pipeline.set(`p${number}`, number).incr(`p${number}`);
  const answers = await pipeline.exec();
  assert.deepEqual(answers, range(500).flatMap((number) => [[null, "OK"], [null, number + 1]]));
  const transaction = redis.multi();
  for (const number of range(50)) transaction.incr(`p${number}`);
  assert.deepEqual(await transaction.exec(), range(50).map((number) => [null, number + 2]));
  await redis.multi({ pipeline: false });
  assert.equal(await redis.set("t", "1"), "QUEUED");
  assert.deepEqual(await redis.exec(), [[null, "OK"]]);
  const other = redis.duplicate();
  await other.watch("t");
  await redis.set("t", "2");
  assert.equal(await other.multi().set("t", "3").exec(), null);
  other.disconnect();
  await assert.rejects(redis.multi().set("t").exec(), /EXECABORT/);
}

async function scripts(redis) {
  redis.defineCommand("addTo", { numberOfKeys: 2, lua: "return {redis.call('INCRBY', KEYS[1], ARGV[1]), redis.call('INCRBY', KEYS[2], ARGV[1])}" });
  assert.deepEqual(await redis.addTo("{s}1", "{s}2", 5), [5, 5]);
  assert.deepEqual(await redis.pipeline().addTo("{s}1", "{s}2", 1).get("{s}1").exec(), [[null, [6, 6]], [null, "6"]]);
}

async function messages(redis) {
  const subscriber = redis.duplicate();
  assert.equal(await subscriber.subscribe("news", "sport"), 2);
  assert.equal(await subscriber.psubscribe("n*"), 3);
  const heard = Promise.all([once(subscriber, "message"), once(subscriber, "pmessage")]);
  assert.equal(await redis.publish("news", "one"), 2);
  assert.deepEqual(await heard, [["news", "one"], ["n*", "news", "one"]]);
  assert.deepEqual(await subscriber.ping(), ["pong", ""]);
  await subscriber.unsubscribe("news", "sport");
  await subscriber.punsubscribe("n*");
  // Out of the state in which it may only subscribe.
  assert.equal(await subscriber.set("free", "1"), "OK");
  subscriber.disconnect();
}

async function walks(redis) {
  await redis.mset(Object.fromEntries(range(300).map((number) => [`walk:${number}`, number])));
  const keys = new Set();
  for await (const part of redis.scanStream({ match: "walk:*", count: 20, type: "string" })) part.forEach((key) => keys.add(key));
  assert.equal(keys.size, 300);
}

async function ownPipelines(url) {
  const redis = new Redis(url, { enableAutoPipelining: true, keyPrefix: "app:" });
  await Promise.all(range(300).map((number) => redis.set(`auto${number}`, number)));
  assert.deepEqual(await Promise.all(range(300).map((number) => redis.get(`auto${number}`))), range(300).map(String));
  assert.equal(await redis.exists("auto0", "auto1", "none"), 2);
  redis.disconnect();
  const plain = new Redis(url);
  assert.equal(await plain.get("app:auto7"), "7");
  plain.disconnect();
}

async function again(redis) {
  // A connection that is ended is made again, and what was not answered is sent again.
  const victim = redis.duplicate();
  const id = await victim.client("ID");
  const ready = once(victim, "ready");
  await redis.client("KILL", "ID", id);
  await ready;
  assert.equal(await victim.get("none"), null);
  victim.disconnect();
}

async function cluster(port) {
  const cluster = new Redis.Cluster([{ host: "127.0.0.1", port }], { enableAutoPipelining: true });
  await once(cluster, "ready");
  assert.equal(cluster.nodes("master").length, 2);
  await Promise.all(range(300).map((number) => cluster.set(`c${number}`, number)));
  assert.deepEqual(await Promise.all(range(300).map((number) => cluster.get(`c${number}`))), range(300).map(String));
  assert.deepEqual(await cluster.pipeline().set("{one}a", 1).incr("{one}a").exec(), [[null, "OK"], [null, 2]]);
  assert.deepEqual(await cluster.multi().incr("{one}a").get("{one}a").exec(), [[null, 3], [null, "3"]]);
  await scripts(cluster);
  await cluster.subscribe("news");
  const heard = once(cluster, "message");
  await cluster.publish("news", "of the cluster");
  assert.deepEqual(await heard, ["news", "of the cluster"]);
  cluster.disconnect();
}

async function main(url, port) {
  const redis = new Redis(url);
  for (const scenario of [strings, pipelines, scripts, messages, walks, again]) {
    await redis.flushall();
    await scenario(redis);
  }
  await ownPipelines(url);
  await redis.flushall();
  await cluster(Number(port));
  await redis.quit();
}

main(...process.argv.slice(2)).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
