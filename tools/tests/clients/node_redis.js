// node-redis: both versions of RESP, pipelines, transactions, scripts, messages, its own cache, a pool, and its cluster client.

const assert = require("node:assert/strict");
const { createClient, createClientPool, createCluster, defineScript, WatchError } = require("redis");

const range = (count) => [...Array(count).keys()];
const addTo = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "return redis.call('INCRBY', KEYS[1], ARGV[1])",
  parseCommand: (parser, key, amount) => { parser.pushKey(key); parser.push(String(amount)); },
  transformReply: (answer) => answer,
});

async function plain(client) {
  assert.equal(await client.set("a", "1", { expiration: { type: "EX", value: 100 }, condition: "NX" }), "OK");
  assert.equal(await client.get("a"), "1");
  assert.equal(await client.incrBy("a", 4), 5);
  assert.ok([99, 100].includes(await client.ttl("a")));
  // What is asked for at once goes as one pipeline.
  await Promise.all(range(500).map((number) => client.set(`k${number}`, number)));
  assert.deepEqual(await client.mGet(range(500).map((number) => `k${number}`)), range(500).map(String));
  const keys = [];
  for await (const part of client.scanIterator({ MATCH: "k*", COUNT: 50 })) keys.push(...part);
  assert.equal(new Set(keys).size, 500);
  assert.deepEqual(await client.multi().set("t", "1").incr("t").get("t").exec(), ["OK", 2, "2"]);
  await client.watch("t");
  await client.set("t", "changed");
  await assert.rejects(client.multi().set("t", "lost").exec(), WatchError);
  assert.equal(await client.addTo("t2", 7), 7);
  assert.equal(await client.eval("return {KEYS[1], ARGV[1]}", { keys: ["k"], arguments: ["v"] }).then(String), "k,v");
  assert.match(await client.info("server"), /redis_version/);
}

async function messages(client) {
  const subscriber = await client.duplicate().connect();
  const heard = [];
  await subscriber.subscribe("news", (message) => heard.push(message));
  await subscriber.pSubscribe("n*", (message, channel) => heard.push(`${channel}: ${message}`));
  await subscriber.sSubscribe("sharded", (message) => heard.push(message));
  assert.equal(await client.publish("news", "one"), 2);
  assert.equal(await client.sPublish("sharded", "two"), 1);
  while (heard.length < 3) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(heard.sort(), ["news: one", "one", "two"]);
  subscriber.destroy();
}

async function copies(url) {
  const client = await createClient({ url, RESP: 3, clientSideCache: { ttl: 0, maxEntries: 100 } }).connect();
  const writer = await createClient({ url }).connect();
  await writer.set("copied", "one");
  for (const _ of range(3)) assert.equal(await client.get("copied"), "one");
  await writer.set("copied", "two");
  while ((await client.get("copied")) !== "two") await new Promise((resolve) => setTimeout(resolve, 5));
  client.destroy();
  writer.destroy();
}

async function pool(url) {
  const clients = await createClientPool({ url }, { minimum: 2, maximum: 4 }).connect();
  await Promise.all(range(200).map(() => clients.incr("pooled")));
  assert.equal(await clients.get("pooled"), "200");
  clients.destroy();
}

async function cluster(port) {
  const client = await createCluster({ rootNodes: [{ url: `redis://127.0.0.1:${port}` }], scripts: { addTo } }).connect();
  assert.equal(client.masters.length, 2);
  await Promise.all(range(300).map((number) => client.set(`c${number}`, number)));
  assert.deepEqual(await Promise.all(range(300).map((number) => client.get(`c${number}`))), range(300).map(String));
  assert.deepEqual(await client.multi().set("{x}a", "1").incr("{x}a").exec(), ["OK", 2]);
  assert.equal(await client.addTo("{x}a", 5), 7);
  client.destroy();
}

async function main(url, port) {
  for (const RESP of [2, 3]) {
    const client = await createClient({ url, RESP, scripts: { addTo }, name: "tester" }).connect();
    await client.flushAll();
    await plain(client);
    await messages(client);
    await client.close();
  }
  await copies(url);
  await pool(url);
  await cluster(Number(port));
}

main(...process.argv.slice(2)).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
