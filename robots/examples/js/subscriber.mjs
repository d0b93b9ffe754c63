// Hears Otter Edge and prints one JSON object per message: the envelope, the message as its "body".
//
//   npm ci
//   node subscriber.mjs ipc:///run/user/1000/otter-edge/stream answer health
//   node subscriber.mjs --vector FILE...               decodes envelopes from files instead
import { readFile } from "node:fs/promises";
import { decode } from "@msgpack/msgpack";
import { Subscriber } from "zeromq";

// JSON's numbers are doubles here; an integer beyond 2^53 is printed as text rather than rounded.
const exact = (_, value) =>
  typeof value !== "bigint" ? value : Number.isSafeInteger(Number(value)) ? Number(value) : String(value);

function print(bytes) {
  const envelope = decode(bytes, { useBigInt64: true });
  if (envelope.version !== 1) throw new Error("another major version");
  console.log(JSON.stringify(envelope, exact));
  return envelope;
}

const [where, ...rest] = process.argv.slice(2);
if (!rest.length) {
  console.error("usage: subscriber.mjs ENDPOINT TOPIC... | --vector FILE...");
  process.exit(2);
}
if (where === "--vector") {
  for (const file of rest) print(await readFile(file));
  process.exit(0);
}
const stream = new Subscriber({ maxMessageSize: 1 << 20, linger: 0 });
stream.connect(where);
// The closing slash matters: ZeroMQ subscriptions are prefixes.
for (const topic of rest) stream.subscribe(`${topic}/1/`);
const last = new Map(); // per topic: a hole in seq within an epoch is a loss
for await (const [, bytes] of stream) {
  try {
    const now = print(bytes);
    const before = last.get(now.topic);
    if (before?.epoch === now.epoch && BigInt(now.seq) !== BigInt(before.seq) + 1n)
      console.error(`missed some of ${now.topic} before ${now.seq}`);
    last.set(now.topic, now);
  } catch (error) {
    console.error(`no message of ours: ${error.message}`);
  }
}
