/**
 * The codecs: `node --test clients/js/test_*.mjs`. With `--convert` it is a tool of tests/clients: for each line of
 * standard input, the hex of a message in msgpack or the text of one in JSON, it prints one line with
 * what it read (`typed`: so that nothing is lost) written in both forms.
 */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";

import { CodecError, decodeJson, decodeMsgpack, encodeJson, encodeMsgpack, typed } from "./ten_trio.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (digits) => new Uint8Array(Buffer.from(digits, "hex"));
const once = (msg, options) => decodeMsgpack(encodeMsgpack(msg), options).messages[0];

if (process.argv.includes("--convert")) {
  for (const line of readFileSync(0, "utf-8").split("\n").filter(Boolean)) {
    const msg = line.startsWith("{")
      ? decodeJson(line)
      : decodeMsgpack(bytes(line), { keepTypes: true }).messages[0];
    let json = null;
    try {
      json = encodeJson(msg);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
    }
    console.log(JSON.stringify({ msgpack: hex(encodeMsgpack(msg)), json }));
  }
} else {
  const path = new URL("../../tests/network/vectors.json", import.meta.url);
  for (const { name, type, expected, bytes: written } of JSON.parse(readFileSync(path, "utf-8"))) {
    test(`vector ${name}`, () => {
      const { messages: [msg], rest } = decodeMsgpack(bytes(written), { keepTypes: true });
      assert.equal(rest, 0);
      assert.deepEqual([msg.type, msg.name], [type, expected.name]);
      assert.deepEqual([msg.src, msg.dest], [expected.src, expected.dest]);
      if (expected.buf) assert.equal(hex(msg.buf), expected.buf.hex);
      assert.equal(msg.seqId, expected.seq_id);
      assert.equal(hex(encodeMsgpack(msg)), written);
      const plain = decodeMsgpack(bytes(written)).messages[0].properties;
      if (type !== "cmd") assert.deepEqual(plain, expected.properties);
      for (let at = 0; at < written.length / 2; at++) {
        assert.deepEqual(decodeMsgpack(bytes(written).subarray(0, at)), { messages: [], rest: at });
      }
    });
  }

  test("several messages, and the beginning of another", () => {
    const one = encodeMsgpack({ type: "data", name: "one" });
    const three = new Uint8Array([...one, ...one, ...one.subarray(0, 5)]);
    const { messages, rest } = decodeMsgpack(three);
    assert.deepEqual([messages.length, rest], [2, 5]);
  });

  test("whole numbers beyond what is exact are BigInts", () => {
    const big = 2n ** 60n;
    const properties = { a: big, b: -big, c: 2n ** 64n - 1n, d: 5n, e: 2 ** 53 - 1, f: 2 ** 60, g: -0 };
    const back = once({ type: "cmd", name: "x", properties }).properties;
    assert.deepEqual(back, { ...properties, d: 5 });
    const source = '{"ten":{},"a":1152921504606846976,"b":1.0e20,"c":"1152921504606846976"}';
    const read = decodeJson(source).properties;
    // Engines that can't tell what was written give the nearest number.
    assert.ok(read.a === big || read.a === Number(big));
    assert.deepEqual([read.b, read.c], [1e20, "1152921504606846976"]);
  });

  test("every width of numbers, size of text, and nesting", () => {
    for (const power of [0, 5, 6, 7, 8, 15, 16, 31, 32, 47, 52]) {
      for (const number of [2 ** power - 1, 2 ** power, -(2 ** power), -(2 ** power) - 1]) {
        assert.equal(once({ type: "data", name: "x", properties: { number } }).properties.number, number);
      }
    }
    for (const size of [0, 31, 32, 255, 256, 65535, 65536, 200000]) {
      const properties = { text: "é".repeat(size), list: [[{ a: [null, true, 0.5] }], new Uint8Array(size)] };
      const back = once({ type: "data", name: "x".repeat(size), properties, buf: new Uint8Array(size) });
      assert.deepEqual(back.properties, properties);
      assert.deepEqual([back.name.length, back.buf.length], [size, size]);
    }
  });

  test("definite types", () => {
    const properties = { a: typed("int8", -3), b: typed("float64", 3), c: typed("float32", 0.5), d: [typed("uint64", 1)] };
    assert.deepEqual(once({ type: "cmd", name: "x", properties }, { keepTypes: true }).properties, properties);
    assert.deepEqual(once({ type: "cmd", name: "x", properties }).properties, { a: -3, b: 3, c: 0.5, d: [1] });
  });

  test("keys that mean something to JavaScript", () => {
    const properties = JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}');
    const back = once({ type: "cmd", name: "x", properties }).properties;
    assert.deepEqual(Object.entries(back), Object.entries(properties));
    assert.equal(back.a, undefined);
    assert.throws(() => encodeMsgpack({ type: "constructor", name: "" }), CodecError);
  });

  test("is_eof and channel_layout", () => {
    const frame = { type: "audio_frame", name: "a", isEof: true, channelLayout: 3, buf: new Uint8Array(2) };
    for (const back of [once(frame), decodeJson(encodeJson(frame))]) {
      assert.deepEqual([back.isEof, back.channelLayout, back.properties], [true, 3, {}]);
    }
  });

  test("what is wrong is a CodecError", () => {
    const good = encodeMsgpack({ type: "data", name: "hi", properties: { n: [1, "x", {}] }, buf: new Uint8Array(3) });
    const random = (limit) => Math.floor(Math.random() * limit);
    for (let round = 0; round < 20000; round++) {
      const bad = good.slice();
      for (let change = random(3); change >= 0; change--) bad[random(bad.length)] = random(256);
      try {
        decodeMsgpack(bad);
      } catch (error) {
        assert.ok(error instanceof CodecError, `${error.stack} for ${hex(bad)}`);
      }
    }
    for (const source of ["", "5", "null", "[]", "{}", '{"ten":5}', '{"ten":{"type":"toString"}}']) {
      assert.throws(() => decodeJson(source), CodecError, source);
    }
    const deep = Array.from({ length: 70 }).reduce((inner) => [inner], 1);
    assert.throws(() => encodeMsgpack({ type: "data", name: "x", properties: { deep } }), CodecError);
    assert.throws(() => encodeJson({ type: "data", name: "x", properties: { ten: 1 } }), CodecError);
    assert.throws(() => encodeJson({ type: "data", name: "x", properties: { a: new Uint8Array(1) } }), CodecError);
  });
}
