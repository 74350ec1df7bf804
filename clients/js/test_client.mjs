/** The client on a WebSocket that isn't one: `node --test clients/js/test_*.mjs`. */

import assert from "node:assert/strict";
import test from "node:test";

import {
  BufferFull,
  CmdError,
  ConnectionClosed,
  TimeoutError,
  connect,
  decodeMsgpack,
  encodeMsgpack,
  samplesOf,
} from "./ten_trio.js";

/** Keeps what is sent; `app` plays the other side. */
class FakeSocket extends EventTarget {
  bufferedAmount = 0;
  sent = [];

  constructor(url, [protocol]) {
    super();
    Object.assign(this, { url, protocol });
    FakeSocket.last = this;
    queueMicrotask(() => this.dispatchEvent(new Event("open")));
  }

  send(piece) {
    this.sent.push(typeof piece === "string" ? JSON.parse(piece) : decodeMsgpack(piece).messages[0]);
    this.binary = typeof piece !== "string";
  }

  close(code, reason) {
    queueMicrotask(() => this.end(code, reason));
  }

  end(code, reason = "") {
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason, wasClean: true }));
  }

  say(message) {
    const data = message instanceof Uint8Array ? message.slice().buffer : JSON.stringify(message);
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }

  result(properties, { seq_id = this.sent.at(-1).ten.seq_id, ...fields } = {}) {
    const ten = { type: "result", name: "ten:result", seq_id, status_code: "ok", is_final: true, ...fields };
    this.say({ ten, ...properties });
  }
}

async function open(options = {}) {
  const client = await connect("ws://app:1/", { WebSocket: FakeSocket, ...options });
  return { client, socket: FakeSocket.last };
}

test("token, subprotocol and starting a graph", async () => {
  const { client, socket } = await open({ token: "a b&c" });
  assert.deepEqual([socket.url, socket.protocol], ["ws://app:1/?token=a+b%26c", "ten-trio.mixed.v1"]);
  const started = client.startGraph("voice");
  const ten = { type: "start_graph", name: "ten:start_graph", dest: [{ app: "" }] };
  assert.deepEqual(socket.sent[0], { ten: { ...ten, seq_id: "1", predefined_graph_name: "voice" } });
  socket.result({ graph_id: "g1" });
  assert.deepEqual(await started, { graphId: "g1" });
  client.startGraph({ nodes: [1], connections: [2] });
  assert.deepEqual(socket.sent[1].ten.nodes, [1]);
});

test("a server that speaks something else", async () => {
  class Other extends FakeSocket {
    constructor(url) {
      super(url, [""]);
    }
  }
  await assert.rejects(connect("ws://app:1/", { WebSocket: Other }), /doesn't speak ten-trio.mixed.v1/);
  class Refused extends EventTarget {
    constructor() {
      super();
      const end = Object.assign(new Event("close"), { code: 1006, reason: "", wasClean: false });
      queueMicrotask(() => this.dispatchEvent(end));
    }
  }
  await assert.rejects(connect("ws://app:1/", { WebSocket: Refused }), ConnectionClosed);
});

test("commands: the last result, an error, several in flight", async () => {
  const { client, socket } = await open();
  const one = client.sendCmd("one", { n: 1 }, { dest: "bot" });
  const two = client.sendCmd("two");
  assert.deepEqual(socket.sent[0].ten.dest, [{ app: "", graph: "", extension: "bot" }]);
  assert.ok(!("dest" in socket.sent[1].ten));
  socket.result({ text: "b" }, { seq_id: "2" });
  socket.result({ text: "a" }, { seq_id: "1", is_final: false });
  socket.result({ text: "z" }, { seq_id: "1" });
  assert.deepEqual([(await one).properties.text, (await two).properties.text], ["z", "b"]);
  const failing = client.sendCmd("three");
  socket.result({ detail: "no such thing" }, { status_code: "error" });
  await assert.rejects(failing, (error) => error instanceof CmdError && error.message === "no such thing");
  socket.result({}, { seq_id: "99" });
  assert.equal(client.unhandled, 1);
});

test("a stream of results, and leaving it", async () => {
  const { client, socket } = await open();
  const results = client.stream("count");
  for (const n of [1, 2]) socket.result({ n }, { is_final: false });
  setTimeout(() => socket.result({ n: 3 }), 1);
  const seen = [];
  for await (const result of results) seen.push(result.properties.n);
  assert.deepEqual(seen, [1, 2, 3]);

  const other = client.stream("count");
  socket.result({ n: 1 }, { is_final: false });
  for await (const result of other) {
    assert.equal(result.properties.n, 1);
    break;
  }
  socket.result({ n: 2 });
  assert.equal(client.unhandled, 1);

  const failing = client.stream("count");
  socket.result({ n: 1 }, { is_final: false });
  socket.result({ detail: "enough" }, { status_code: "error" });
  const before = [];
  await assert.rejects(async () => {
    for await (const result of failing) before.push(result.properties.n);
  }, /enough/);
  assert.deepEqual(before, [1]);
});

test("a closed connection is an error for all that wait", async () => {
  const { client, socket } = await open();
  const cmd = client.sendCmd("slow");
  const stream = client.stream("slow");
  socket.end(1001, "the graph ended");
  await assert.rejects(cmd, (error) => error instanceof ConnectionClosed && error.code === 1001);
  await assert.rejects(stream.next(), /the graph ended/);
  assert.deepEqual(await client.closed, { code: 1001, reason: "the graph ended", wasClean: true });
  await assert.rejects(client.sendCmd("late"), ConnectionClosed);
  // What isn't answered anyway is only counted: a microphone may be a moment late.
  assert.equal(client.sendData("late"), false);
  assert.equal(client.dropped.data, 1);
  // Nobody waits for this one, which is no unhandled rejection.
  client.stream("late");
});

test("close tells those who wait at once", async () => {
  const { client } = await open();
  const cmd = client.sendCmd("slow");
  const closed = client.close();
  await assert.rejects(cmd, ConnectionClosed);
  await closed;
});

test("a timeout", async () => {
  const { client } = await open();
  await assert.rejects(client.sendCmd("slow", {}, { timeout: 1 }), TimeoutError);
});

test("what has bytes or definite types is sent as msgpack, unless all is JSON", async () => {
  const { client, socket } = await open();
  client.sendData("plain", { a: 1 });
  assert.equal(socket.binary, false);
  client.sendData("bytes", { a: 1 }, new Uint8Array([1, 2]));
  assert.deepEqual([socket.binary, [...socket.sent.at(-1).buf]], [true, [1, 2]]);
  client.sendData("big", { a: [{ b: 2n ** 60n }] });
  assert.deepEqual([socket.binary, socket.sent.at(-1).properties.a[0].b], [true, 2n ** 60n]);
  client.sendAudioFrame("pcm", { samples: new Int16Array([1, -2, 3, 4]), sampleRate: 8000, channels: 2, timestamp: 7 });
  const frame = socket.sent.at(-1);
  assert.deepEqual([frame.samplesPerChannel, frame.bytesPerSample, frame.channels, frame.timestamp], [2, 2, 2, 7]);
  assert.deepEqual([...samplesOf(frame)], [1, -2, 3, 4]);
  client.sendVideoFrame("cam", { data: new Uint8Array(16), width: 2, height: 2 });
  assert.deepEqual([socket.sent.at(-1).pixelFmt, socket.sent.at(-1).buf.length], ["rgba", 16]);

  const text = await open({ json: true });
  assert.equal(text.socket.protocol, "ten-trio.json.v1");
  text.client.sendData("bytes", {}, new Uint8Array([1, 2, 255]));
  assert.equal(text.socket.sent[0].ten.buf, "AQL/");
});

test("what is too far behind is dropped, or fails", async () => {
  const { client, socket } = await open({ maxAudioBuffered: 100, maxBuffered: 1000 });
  const audio = () => client.sendAudioFrame("pcm", { samples: new Int16Array(5), sampleRate: 16000 });
  socket.bufferedAmount = 100;
  assert.equal(audio(), true);
  socket.bufferedAmount = 101;
  assert.equal(audio(), false);
  assert.equal(client.sendData("x"), true);
  socket.bufferedAmount = 1001;
  assert.equal(client.sendData("x"), false);
  assert.deepEqual(client.dropped, { data: 1, audio_frame: 1, video_frame: 0 });
  await assert.rejects(client.sendCmd("x"), BufferFull);
});

test("commands of the graph are answered", async () => {
  const { client, socket } = await open();
  const cmd = (name, fields) => socket.say({ ten: { name, cmd_id: `id-${name}`, seq_id: "7", ...fields }, n: 2 });
  cmd("nobody");
  await null;
  const { ten, ...properties } = socket.sent.at(-1);
  assert.deepEqual([ten.type, ten.cmd_id, ten.seq_id, ten.original_cmd_name], ["result", "id-nobody", "7", "nobody"]);
  assert.deepEqual([ten.status_code, ten.is_final, properties.detail], ["error", true, "the client doesn't handle nobody"]);

  const failures = [];
  client.onError = (error) => failures.push(error.message);
  client.onCmd = async (received) => {
    if (received.name === "fails") throw new Error("no");
    if (received.name === "twice") return { n: 2 * received.properties.n };
    client.returnResult(received, { part: 1 }, { isFinal: false });
    client.returnResult(received, { part: 2 });
    return undefined;
  };
  for (const name of ["fails", "twice", "parts"]) cmd(name);
  await new Promise(setImmediate);
  const answers = socket.sent.slice(1).sort((a, b) => a.ten.cmd_id.localeCompare(b.ten.cmd_id));
  assert.deepEqual(answers.map(({ ten: { status_code, is_final }, ...rest }) => [status_code, is_final, rest]), [
    ["error", true, { detail: "no" }],
    ["ok", false, { part: 1 }],
    ["ok", true, { part: 2 }],
    ["ok", true, { n: 4 }],
  ]);
  assert.deepEqual(failures, ["no"]);

  let release;
  client.onCmd = () => new Promise((resolve) => (release = resolve));
  cmd("late");
  socket.bufferedAmount = 2 ** 30; // answers are sent all the same
  client.returnResult({ cmdId: "x", seqId: "", type: "cmd", name: "late" });
  assert.equal(socket.sent.at(-1).ten.cmd_id, "x");
  socket.end(1000);
  release({});
  await new Promise(setImmediate);
  assert.equal(socket.sent.at(-1).ten.cmd_id, "x");
  assert.deepEqual(failures, ["no"]);
});

test("data and frames arrive, in frames that are split anywhere", async () => {
  const { client, socket } = await open();
  const seen = [];
  client.onData = (data) => seen.push([data.name, data.properties, [...data.buf]]);
  client.onAudioFrame = (frame) => seen.push([frame.name, frame.sampleRate]);
  client.onVideoFrame = (frame) => seen.push([frame.name, frame.width]);
  client.onError = (error) => seen.push(error.message);
  socket.say({ ten: { type: "data", name: "a", buf: "AQI=" }, x: 1 });
  const frames = [
    encodeMsgpack({ type: "audio_frame", name: "b", sampleRate: 16000 }),
    encodeMsgpack({ type: "video_frame", name: "c", width: 3 }),
  ];
  const both = new Uint8Array([...frames[0], ...frames[1]]);
  socket.say(both.subarray(0, 20));
  socket.say(both.subarray(20));
  assert.deepEqual(seen, [["a", { x: 1 }, [1, 2]], ["b", 16000], ["c", 3]]);
  client.onData = () => {
    throw new Error("a handler's");
  };
  socket.say({ ten: { type: "data" } });
  client.onData = async () => {
    throw new Error("a promise's");
  };
  socket.say({ ten: { type: "data" } });
  await new Promise(setImmediate);
  assert.deepEqual(seen.slice(3), ["a handler's", "a promise's"]);
});

test("what isn't a message ends the connection", async () => {
  const { client, socket } = await open();
  let failed;
  client.onError = (error) => (failed = error);
  const waiting = client.sendCmd("x");
  socket.say("not an object");
  await assert.rejects(waiting, ConnectionClosed);
  assert.equal(failed.name, "CodecError");
  assert.equal((await client.closed).code, 4000);
});
