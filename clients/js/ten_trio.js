/**
 * A client of ten_trio apps, for browsers and for Node 20 or newer: one module without dependencies.
 *
 *   const client = await connect("ws://127.0.0.1:8001", { token });
 *   client.onData = (data) => console.log(data.name, data.properties);
 *   await client.startGraph("assistant");
 *   const answer = await client.sendCmd("ask", { text: "hello" });
 *   await client.stopGraph();
 *
 * Messages are plain objects: `type`, `name`, `src`, `dest`, `properties`, and the further fields of
 * their type, as in docs/protocol.md but in camel case (`sampleRate`, `isFinal`); `number_of_channel`
 * is `channels`, `status_code` is `status`, and a buffer is always `buf`, a Uint8Array.
 */

// What goes wrong -----------------------------------------------------------------------------------

export class TenError extends Error {
  get name() {
    return this.constructor.name;
  }
}

/** Bytes or text that aren't a message, or a message that can't be written. */
export class CodecError extends TenError {}

/** A command was answered with ERROR: `message` is its detail, `result` the whole answer. */
export class CmdError extends TenError {
  constructor(result) {
    const detail = result.properties.detail;
    super(detail ? String(detail) : `${result.originalCmdName || "the command"} failed`);
    this.result = result;
  }
}

/** The connection is closed, or never opened: `code` and `reason` are those of the WebSocket. */
export class ConnectionClosed extends TenError {
  constructor({ code = 1006, reason = "" }, what = "the connection is closed") {
    super(`${what} (${code}${reason && `, ${reason}`})`);
    Object.assign(this, { code, reason });
  }
}

/** No result in the time that was given. */
export class TimeoutError extends TenError {}

/** More is waiting to be sent than `maxBuffered` bytes. */
export class BufferFull extends TenError {}

// Values ----------------------------------------------------------------------------------------------

const TAGS = [
  ...["invalid", "null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"],
  ...["uint64", "float32", "float64", "string", "buf", "array", "object"],
];
const TAG = Object.fromEntries(TAGS.map((name, number) => [name, number]));
const MAX_DEPTH = 64;
const MAX_INT64 = 2n ** 63n - 1n;

/**
 * A value with a definite type. Others get theirs from JavaScript: whole numbers are int64, other
 * numbers float64, a BigInt int64 or uint64, a Uint8Array buf.
 */
export class Typed {
  constructor(type, value) {
    if (!(type in TAG)) throw new CodecError(`there is no type ${type}`);
    this.type = type;
    this.value = value;
  }
}
export const typed = (type, value) => new Typed(type, value);

function typeOf(value) {
  const js = typeof value;
  if (js === "number") {
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? "int64" : "float64";
  }
  if (js === "string") return "string";
  if (js === "boolean") return "bool";
  if (js === "bigint") return value > MAX_INT64 ? "uint64" : "int64";
  if (value === undefined) return "invalid";
  if (value === null) return "null";
  if (value instanceof Typed) return value.type;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return "buf";
  if (Array.isArray(value)) return "array";
  return js === "object" ? "object" : bad("a property", `a ${js}`);
}

function bytesOf(buffer) {
  if (buffer instanceof Uint8Array) return buffer;
  if (ArrayBuffer.isView(buffer)) {
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  }
  return new Uint8Array(buffer ?? 0);
}

// Messages: number on the wire, and [name in JavaScript, name in JSON, type, words of its numbers] ----

const KINDS = [
  ...["invalid", "cmd", "result", "close_app", "start_graph", "stop_graph", "trigger_life_cycle"],
  ...["timer", "timeout", "data", "video_frame", "audio_frame"],
];
const NAMED = { number_of_channel: "channels", status_code: "status", data: "buf" };
const WORDS = {
  original_cmd_type: Object.fromEntries(KINDS.map((word, number) => [word, number])),
  status_code: { ok: 0, error: 1, invalid: -1 },
  data_fmt: { invalid: 0, interleave: 1, non_interleave: 2 },
  pixel_fmt: Object.fromEntries(
    ["invalid", "rgb24", "rgba", "bgr24", "bgra", "i422", "i420", "nv21", "nv12"].map((w, n) => [w, n]),
  ),
};
const ZERO = { bool: false, string: "", array: [], buf: new Uint8Array() };
const camel = (name) => NAMED[name] ?? name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());

function layout(text) {
  return text.split(" ").filter(Boolean).map((part) => {
    const [json, type] = part.split(":");
    const words = WORDS[json];
    const usual = words ? { data_fmt: "interleave", pixel_fmt: "rgba" }[json] ?? "ok" : ZERO[type] ?? 0;
    return { json, type, words, js: camel(json), usual };
  });
}

const LAYOUTS = {
  cmd: layout("cmd_id:string seq_id:string"),
  data: layout("buf:buf"),
  video_frame: layout("pixel_fmt:int32 timestamp:int64 width:int32 height:int32 data:buf"),
  audio_frame: layout(
    "timestamp:int64 sample_rate:int32 bytes_per_sample:int32 samples_per_channel:int32 " +
      "number_of_channel:int32 data_fmt:int32 buf:buf line_size:int32",
  ),
};
for (const [type, fields] of Object.entries({
  result: "original_cmd_type:int32 status_code:int32 is_final:bool",
  close_app: "",
  start_graph:
    "long_running_mode:bool sync_stop_before_deinit:bool nodes:array connections:array " +
    "predefined_graph_name:string graph_json:string",
  stop_graph: "graph_id:string",
  trigger_life_cycle: "stage:string",
  timer: "timer_id:uint32 timeout_us:uint64 times:int32",
  timeout: "timer_id:uint32",
})) {
  LAYOUTS[type] = [...LAYOUTS.cmd, ...layout(fields)];
}
/** What the flat form has no fields for: frames have it in a property `ten`, JSON as fields. */
const MORE = {
  result: layout("original_cmd_name:string is_completed:bool"),
  video_frame: layout("is_eof:bool"),
  audio_frame: layout("is_eof:bool channel_layout:uint64"),
};

const worded = (words, value) => Object.keys(words).find((word) => words[word] === value) ?? value;

function fieldsOf(type) {
  if (!Object.hasOwn(LAYOUTS, type)) throw new CodecError(`there is no type of message ${type}`);
  return LAYOUTS[type];
}

// msgpack ---------------------------------------------------------------------------------------------

const HEADER = 6;
/** By the first byte, of numbers and of lengths: how many bytes follow, and what DataView calls them. */
const NUMBERS = {
  ...{ 0xc4: [1, "Uint8"], 0xc5: [2, "Uint16"], 0xc6: [4, "Uint32"] },
  ...{ 0xca: [4, "Float32"], 0xcb: [8, "Float64"] },
  ...{ 0xcc: [1, "Uint8"], 0xcd: [2, "Uint16"], 0xce: [4, "Uint32"], 0xcf: [8, "BigUint64"] },
  ...{ 0xd0: [1, "Int8"], 0xd1: [2, "Int16"], 0xd2: [4, "Int32"], 0xd3: [8, "BigInt64"] },
  ...{ 0xd9: [1, "Uint8"], 0xda: [2, "Uint16"], 0xdb: [4, "Uint32"] },
};
/** A BigInt as a number where that is exact. */
const small = (big) => (Number.isSafeInteger(Number(big)) ? Number(big) : big);
const utf8 = new TextEncoder();
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

class Writer {
  constructor(room) {
    this.bytes = new Uint8Array(room);
    this.view = new DataView(this.bytes.buffer);
    this.at = HEADER;
  }

  need(count) {
    const wanted = this.at + count;
    if (wanted > this.bytes.length) {
      const grown = new Uint8Array(Math.max(wanted, 2 * this.bytes.length));
      grown.set(this.bytes.subarray(0, this.at));
      this.bytes = grown;
      this.view = new DataView(grown.buffer);
    }
    const at = this.at;
    this.at = wanted;
    return at;
  }

  /** A first byte, and the number that it announces. */
  put(first, value) {
    const [size, kind] = NUMBERS[first] ?? [0];
    const at = this.need(1 + size);
    this.view.setUint8(at, first);
    if (size) this.view[`set${kind}`](at + 1, size === 8 && kind !== "Float64" ? BigInt(value) : value);
  }

  int(value) {
    if (typeof value === "bigint") value = small(value);
    else if (!Number.isSafeInteger(value)) throw new CodecError(`${value} is no whole number`);
    if (value >= -32 && value < 0x80) return this.put(Number(value) & 0xff);
    // The narrowest of 8, 16, 32 and 64 bits.
    const fits = (bits) => (value >= 0 ? value < 2 ** bits : value >= -(2 ** (bits - 1)));
    const width = [8, 16, 32].findIndex(fits);
    this.put((value >= 0 ? 0xcc : 0xd0) + (width < 0 ? 3 : width), value);
  }

  /** Bytes after their length; `first` begins the shortest form of that. */
  sized(bytes, first) {
    const size = bytes.length;
    this.put(first + (size < 0x100 ? 0 : size < 0x10000 ? 1 : 2), size);
    const at = this.need(size); // may make another `this.bytes`
    this.bytes.set(bytes, at);
  }

  str(value) {
    const bytes = utf8.encode(value);
    if (bytes.length >= 32) return this.sized(bytes, 0xd9);
    this.put(0xa0 | bytes.length);
    const at = this.need(bytes.length);
    this.bytes.set(bytes, at);
  }

  value(value, type = typeOf(value), depth = MAX_DEPTH) {
    if (depth < 0) throw new CodecError(`containers are nested more than ${MAX_DEPTH} deep`);
    if (value instanceof Typed) value = value.value;
    this.int(TAG[type]);
    if (type === "invalid" || type === "null") this.put(0xc0);
    else if (type === "bool") this.int(value ? 1 : 0);
    else if (type === "float32") this.put(0xca, value);
    else if (type === "float64") this.put(0xcb, value);
    else if (type === "string") this.str(value);
    else if (type === "buf") this.sized(bytesOf(value), 0xc4);
    else if (type === "array") {
      this.int(value.length);
      for (const item of value) this.value(item, typeOf(item), depth - 1);
    } else if (type === "object") {
      const entries = Object.entries(value).filter(([, item]) => item !== undefined);
      this.int(entries.length);
      for (const [key, item] of entries) {
        this.str(key);
        this.value(item, typeOf(item), depth - 1);
      }
    } else this.int(value);
  }

  /** The bytes, with the header of an ext object before them. */
  finish() {
    const size = this.at - HEADER;
    const fixed = { 1: 0xd4, 2: 0xd5, 4: 0xd6, 8: 0xd7, 16: 0xd8 }[size];
    const header = fixed ? [fixed]
      : size < 0x100 ? [0xc7, size]
      : size < 0x10000 ? [0xc8, size >> 8, size & 0xff]
      : [0xc9, size >>> 24, (size >> 16) & 0xff, (size >> 8) & 0xff, size & 0xff];
    header.push(1);
    this.bytes.set(header, HEADER - header.length);
    return this.bytes.subarray(HEADER - header.length, this.at);
  }
}

/** One message in the msgpack form. Raises CodecError. */
export function encodeMsgpack(msg) {
  const fields = fieldsOf(msg.type);
  const out = new Writer(1024 + (msg.buf?.byteLength ?? 0));
  out.int(KINDS.indexOf(msg.type));
  out.value(msg.type);
  out.value(msg.name ?? "");
  out.value(msg.src ?? {});
  out.value(msg.dest ?? []);
  const extra = {};
  for (const { js, json, type } of msg.type === "result" ? [] : MORE[msg.type] ?? []) {
    if (msg[js]) extra[json] = typed(type, msg[js]);
  }
  const properties = checked(msg.properties ?? {});
  out.value(Object.keys(extra).length ? { ...properties, ten: extra } : properties);
  for (const { js, type, words, usual } of fields) {
    const value = msg[js] ?? usual;
    out.value(words && typeof value === "string" ? words[value] ?? bad(js, value) : value, type);
  }
  return out.finish();
}

const bad = (what, value) => {
  throw new CodecError(`${what} can't be ${value}`);
};

function checked(properties) {
  if (Object.hasOwn(properties, "ten")) throw new CodecError('no property can be called "ten"');
  return properties;
}

class Reader {
  constructor(bytes, keepTypes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.at = 0;
    this.keepTypes = keepTypes;
  }

  take(count) {
    const at = this.at;
    if (at + count > this.bytes.length) throw new CodecError("a message that ends too early");
    this.at += count;
    return at;
  }

  /** One object of msgpack: a number, a BigInt, a string, a Uint8Array or null. */
  any() {
    const first = this.view.getUint8(this.take(1));
    if (first < 0x80) return first;
    if (first >= 0xe0) return first - 0x100;
    if (first >= 0xa0 && first < 0xc0) return this.string(first - 0xa0);
    if (first === 0xc0) return null;
    if (first >= 0xc4 && first <= 0xc6) return this.bin(this.number(first));
    if (first >= 0xd9 && first <= 0xdb) return this.string(this.number(first));
    return this.number(first);
  }

  number(first) {
    const [size, kind] = NUMBERS[first] ?? bad("what begins an object", `0x${first.toString(16)}`);
    return small(this.view[`get${kind}`](this.take(size)));
  }

  bin(size) {
    const at = this.take(size);
    return this.bytes.subarray(at, at + size);
  }

  string(size) {
    try {
      return text.decode(this.bin(size));
    } catch (error) {
      throw error instanceof CodecError ? error : new CodecError("a string that isn't UTF-8");
    }
  }

  count() {
    const count = this.any();
    // Each element takes two bytes at least: more than that is a lie.
    if (!(count >= 0) || count > this.bytes.length) throw new CodecError(`${count} elements`);
    return count;
  }

  value(expected = "", depth = MAX_DEPTH) {
    const type = TAGS[this.any()];
    if (!type || (expected && type !== expected)) {
      throw new CodecError(`${type ?? "something unknown"}${expected && ` instead of ${expected}`}`);
    }
    if (depth < 0) throw new CodecError(`containers are nested more than ${MAX_DEPTH} deep`);
    let value;
    if (type === "array") {
      value = [];
      for (let left = this.count(); left > 0; left--) value.push(this.value("", depth - 1));
    } else if (type === "object") {
      const entries = [];
      for (let left = this.count(); left > 0; left--) {
        const key = this.any();
        if (typeof key !== "string") bad("a key", key);
        entries.push([key, this.value("", depth - 1)]);
      }
      value = Object.fromEntries(entries); // "__proto__" becomes a key like any other
    } else {
      value = this.any();
      const is = value === null ? "null" : value instanceof Uint8Array ? "buf" : typeof value;
      const should = { string: "string", buf: "buf", null: "null", invalid: "null" }[type];
      if (should ? is !== should : is !== "number" && is !== "bigint") {
        throw new CodecError(`${is} instead of ${type}`);
      }
      if (type === "bool") value = value !== 0;
    }
    const usual = !this.keepTypes || expected || type === typeOf(value);
    return usual ? value : typed(type, value);
  }
}

/**
 * All messages in `bytes`, and how many bytes at the end are the beginning of another. With
 * `keepTypes`, numbers that JavaScript would write with another type come as `Typed`. Raises CodecError.
 */
export function decodeMsgpack(bytes, { keepTypes = false } = {}) {
  bytes = bytesOf(bytes);
  const messages = [];
  let at = 0;
  while (at < bytes.length) {
    const first = bytes[at];
    const width = { 0xc7: 1, 0xc8: 2, 0xc9: 4 }[first] ?? 0;
    let size = { 0xd4: 1, 0xd5: 2, 0xd6: 4, 0xd7: 8, 0xd8: 16 }[first] ?? 0;
    if (!width && !size) throw new CodecError(`0x${first.toString(16)} doesn't begin a message`);
    const begin = at + width + 2;
    if (begin > bytes.length) break;
    for (let index = 1; index <= width; index++) size = size * 256 + bytes[at + index];
    if (bytes[begin - 1] !== 1) throw new CodecError(`there is no ext type ${bytes[begin - 1]}`);
    if (begin + size > bytes.length) break;
    messages.push(readBody(bytes.subarray(begin, begin + size), keepTypes));
    at = begin + size;
  }
  return { messages, rest: bytes.length - at };
}

function readBody(body, keepTypes) {
  const input = new Reader(body, keepTypes);
  const type = KINDS[input.any()];
  const fields = fieldsOf(type);
  const msg = { type: input.value("string") && type, name: input.value("string") };
  msg.src = input.value("object");
  msg.dest = input.value("array");
  const { ten, ...properties } = input.value("object");
  msg.properties = properties;
  for (const { js, type: kind, words } of fields) {
    const value = input.value(kind);
    if (kind === "array" && !value.length) continue; // the graph is told in another way
    msg[js] = words ? worded(words, value) : value;
  }
  if (ten && type !== "result") {
    for (const { js, json } of MORE[type] ?? []) {
      if (json in ten) msg[js] = ten[json] instanceof Typed ? ten[json].value : ten[json];
    }
  }
  if (input.at !== body.length) throw new CodecError("a message that goes on after its end");
  return msg;
}

// JSON ------------------------------------------------------------------------------------------------

/** Whether JSON can say it all: no bytes, no definite types, no numbers beyond what is exact. */
function fitsJson(value) {
  if (typeof value === "number") return Number.isFinite(value);
  if (typeof value !== "object" || value === null) return typeof value !== "bigint";
  if (value instanceof Typed || typeOf(value) === "buf") return false;
  return Object.values(value).every(fitsJson);
}

/** One message in the JSON form. Raises CodecError. */
export function encodeJson(msg) {
  const ten = { type: msg.type, name: msg.name, src: msg.src, dest: msg.dest };
  for (const { js, json, type } of [...fieldsOf(msg.type), ...(MORE[msg.type] ?? [])]) {
    if (msg[js] !== undefined) ten[json] = type === "buf" ? toBase64(bytesOf(msg[js])) : msg[js];
  }
  Object.assign(ten, msg.graph);
  return JSON.stringify({ ten, ...checked(msg.properties ?? {}) }, (key, value) => {
    if (value instanceof Typed) value = value.value;
    if (typeof value === "bigint") {
      const number = small(value);
      return typeof number === "number" ? number
        : JSON.rawJSON?.(String(value)) ?? bad(key, `${value} (not exact in JSON)`);
    }
    return key !== "" && typeOf(value) === "buf" ? bad(key, "bytes (in JSON)") : value;
  });
}

/** The message in one piece of JSON. Raises CodecError. */
export function decodeJson(source) {
  let read;
  try {
    // Where the engine can tell what was written, numbers beyond what is exact become BigInts.
    read = JSON.parse(source, /\d{16}/.test(source) ? exact : undefined);
  } catch (error) {
    throw new CodecError(`not JSON: ${error.message}`);
  }
  const { ten, ...properties } = read ?? {};
  if (!ten || typeof ten !== "object") throw new CodecError("a message has an object `ten`");
  const type = ten.type ?? "cmd";
  const msg = { type, name: ten.name ?? "", src: ten.src ?? {}, dest: ten.dest ?? [], properties };
  for (const { js, json, type: kind, words, usual } of [...fieldsOf(type), ...(MORE[type] ?? [])]) {
    const value = ten[json] ?? usual;
    if (kind === "buf") msg[js] = typeof value === "string" ? fromBase64(value) : value;
    else if (kind === "array" && !ten[json]) continue; // a graph is told in another way
    else msg[js] = words ? worded(words, value) : value;
  }
  return msg;
}

function exact(key, value, context) {
  const isWhole = typeof value === "number" && /^-?\d+$/.test(context?.source ?? "");
  return isWhole && !Number.isSafeInteger(value) ? BigInt(context.source) : value;
}

function toBase64(bytes) {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  }
  return btoa(binary);
}

function fromBase64(source) {
  try {
    return Uint8Array.from(atob(source), (letter) => letter.charCodeAt(0));
  } catch {
    throw new CodecError("a buffer that is no base64");
  }
}

// The client ------------------------------------------------------------------------------------------

const MIXED = "ten-trio.mixed.v1"; // what has a buffer as msgpack, everything else as JSON
const JSON_ONLY = "ten-trio.json.v1";

/** The 16-bit samples of an audio frame. */
export function samplesOf(frame) {
  return new Int16Array(frame.buf.slice().buffer, 0, frame.buf.length >> 1);
}

/** The results of one command, as they come: an async iterator that ends with the final one. */
class Results {
  #queue = [];
  #waiting = [];
  #error = null;
  #ended = false;

  constructor(forget) {
    this.forget = forget;
  }

  /** Add a result; after an ERROR or the final one there are no more. */
  push(result) {
    if (result.status !== "ok") return this.end(new CmdError(result));
    if (this.#waiting.length) this.#waiting.shift().resolve({ value: result, done: false });
    else this.#queue.push(result);
    if (result.isFinal) this.end(null);
  }

  end(error) {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.forget();
    for (const { resolve, reject } of this.#waiting.splice(0)) {
      if (this.#error) reject(this.#error);
      else resolve({ value: undefined, done: true });
      this.#error = null;
    }
  }

  async next() {
    if (this.#queue.length) return { value: this.#queue.shift(), done: false };
    if (this.#error) {
      const error = this.#error;
      this.#error = null;
      throw error;
    }
    if (this.#ended) return { value: undefined, done: true };
    return new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
  }

  /** Leaving the loop: what still comes is nobody's. */
  async return() {
    this.end(null);
    this.#queue = [];
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}

/**
 * Open a connection. `token`: what the app asks for; `json`: nothing but text frames; `WebSocket`: a
 * class in place of the global one; `maxBuffered`: bytes that may wait to be sent before commands
 * fail and data is dropped; `maxAudioBuffered`: the same for audio, by default a second of 16 kHz mono.
 * Rejects with ConnectionClosed.
 */
export function connect(url, options = {}) {
  const { token, json = false, WebSocket = globalThis.WebSocket } = options;
  if (!WebSocket) throw new TenError("there is no global WebSocket here: pass a class as WebSocket");
  const target = new URL(url);
  if (token) target.searchParams.set("token", token);
  const protocol = json ? JSON_ONLY : MIXED;
  const socket = new WebSocket(target.href, [protocol]);
  socket.binaryType = "arraybuffer";
  return new Promise((resolve, reject) => {
    const client = new Client(socket, { ...options, json });
    client.closed.then((end) => reject(new ConnectionClosed(end, `can't connect to ${url}`)));
    socket.addEventListener("open", () => {
      if (socket.protocol === protocol) return resolve(client);
      reject(new TenError(`${url} doesn't speak ${protocol}`));
      client.close();
    });
  });
}

export class Client {
  /** Called with what the graph sends; `onCmd` also answers, see `returnResult`. */
  onCmd = null;
  onData = null;
  onAudioFrame = null;
  onVideoFrame = null;
  /** Called with what a handler has thrown, or with a CodecError that ends the connection. */
  onError = (error) => console.error(error);
  /** How many were not sent: too much was waiting, or the connection was closed. */
  dropped = { data: 0, audio_frame: 0, video_frame: 0 };
  /** How many were received that nobody handles. */
  unhandled = 0;
  /** The id of the graph that this connection belongs to, or "". */
  graphId = "";

  #socket;
  #json;
  #limits;
  #pending = new Map();
  #lastId = 0;
  #rest = new Uint8Array();
  #end = null;

  constructor(socket, { json, maxBuffered = 8 << 20, maxAudioBuffered = 32_000 }) {
    this.#socket = socket;
    this.#json = json;
    this.#limits = { audio_frame: maxAudioBuffered, default: maxBuffered };
    socket.addEventListener("message", ({ data }) => this.#receive(data));
    socket.addEventListener("error", () => {}); // a close event follows
    /** Resolves to {code, reason, wasClean} when the connection is closed, by whomever; never rejects. */
    this.closed = new Promise((resolve) => {
      socket.addEventListener("close", ({ code, reason, wasClean }) => {
        this.#fail({ code, reason });
        resolve({ code, reason, wasClean });
      });
    });
  }

  /**
   * Start a graph: the name of one that the app has, or an object with `nodes`, `connections` and so on.
   * From then on the connection belongs to it. `properties` are those of the start_graph command.
   */
  async startGraph(graph, { properties = {}, timeout } = {}) {
    const what = typeof graph === "string" ? { predefinedGraphName: graph } : { graph };
    const msg = { type: "start_graph", name: "ten:start_graph", properties, ...what };
    const result = await this.#request(msg, { dest: [{ app: "" }], timeout });
    this.graphId = String(result.properties.graph_id ?? "");
    return { graphId: this.graphId };
  }

  /** Stop the graph; the app then closes the connection, which `closed` tells. */
  async stopGraph({ timeout } = {}) {
    const msg = { type: "stop_graph", name: "ten:stop_graph", properties: {}, graphId: "" };
    return this.#request(msg, { dest: [{ app: "" }], timeout });
  }

  /**
   * Send a command, and return its final result. Without `dest` it goes where the graph's exposed
   * messages say; `dest` is the name of an extension, a location or a list of them. Rejects with
   * CmdError, TimeoutError after `timeout` ms, ConnectionClosed or BufferFull.
   */
  async sendCmd(name, properties = {}, options = {}) {
    return this.#request({ type: "cmd", name, properties }, options);
  }

  /** Send a command at once, and return an async iterator of all its results. */
  stream(name, properties = {}, options = {}) {
    return this.#open({ type: "cmd", name, properties }, options);
  }

  /** Send data. Returns false if it was dropped: see `dropped`. */
  sendData(name, properties = {}, buf = undefined, options = {}) {
    return this.#send(addressed({ type: "data", name, properties, buf: buf && bytesOf(buf) }, options));
  }

  /** Send a piece of sound: `samples` is an Int16Array, or bytes. Returns false if it was dropped. */
  sendAudioFrame(name, { samples, sampleRate, channels = 1, properties = {}, dest, ...fields }) {
    const buf = bytesOf(samples);
    const { bytesPerSample = samples.BYTES_PER_ELEMENT > 1 ? samples.BYTES_PER_ELEMENT : 2 } = fields;
    const samplesPerChannel = Math.floor(buf.length / bytesPerSample / channels);
    const shape = { sampleRate, channels, bytesPerSample, samplesPerChannel };
    const frame = { type: "audio_frame", name, properties, buf, timestamp: 0, ...shape, ...fields };
    return this.#send(addressed(frame, { dest }));
  }

  /** Send a picture: `data` in the format `pixelFmt`. Returns false if it was dropped. */
  sendVideoFrame(name, { data, width, height, pixelFmt = "rgba", properties = {}, dest, ...fields }) {
    const shape = { width, height, pixelFmt, timestamp: 0 };
    const frame = { type: "video_frame", name, properties, buf: bytesOf(data), ...shape, ...fields };
    return this.#send(addressed(frame, { dest }));
  }

  /**
   * Answer a command that `onCmd` was called with. A handler may also return (a promise of) the
   * properties of an OK result; throwing answers ERROR; returning undefined leaves it to this method.
   */
  returnResult(cmd, properties = {}, { status = "ok", isFinal = true } = {}) {
    const { cmdId, seqId, type, name } = cmd;
    const about = { cmdId, seqId, originalCmdType: type, originalCmdName: name, status, isFinal };
    this.#send({ type: "result", name: "ten:result", properties, ...about });
  }

  /** Close the connection. Whoever waits for a result is told at once. */
  close(code = 1000, reason = "") {
    this.#fail({ code, reason });
    this.#socket.close(code, reason);
    return this.closed;
  }

  // Sending -------------------------------------------------------------------------------------------

  async #request(msg, options) {
    let last;
    for await (const result of this.#open(msg, options)) last = result;
    return last;
  }

  #open(msg, options = {}) {
    const seqId = String(++this.#lastId);
    let timer;
    const results = new Results(() => {
      clearTimeout(timer);
      this.#pending.delete(seqId);
    });
    this.#pending.set(seqId, results);
    try {
      this.#send(addressed({ ...msg, seqId }, options));
      const late = () => results.end(new TimeoutError(`${msg.name}: no result in ${options.timeout} ms`));
      if (options.timeout !== undefined) timer = setTimeout(late, options.timeout);
    } catch (error) {
      results.end(error);
    }
    return results;
  }

  #send(msg) {
    const { [msg.type]: limit = this.#limits.default } = this.#limits;
    const full = this.#socket.bufferedAmount > limit && msg.type !== "result";
    if (this.#end || full) {
      if (msg.type in this.dropped) this.dropped[msg.type]++;
      else if (full) throw new BufferFull(`${msg.name}: more than ${limit} bytes wait to be sent`);
      else if (msg.type !== "result") throw new ConnectionClosed(this.#end);
      return false;
    }
    const asText = this.#json || (!msg.buf?.length && fitsJson(msg.properties));
    if (!asText && msg.graph) msg.graphJson = JSON.stringify(msg.graph);
    this.#socket.send(asText ? encodeJson(msg) : encodeMsgpack(msg));
    return true;
  }

  // Receiving -----------------------------------------------------------------------------------------

  #receive(piece) {
    try {
      for (const msg of typeof piece === "string" ? [decodeJson(piece)] : this.#binary(piece)) {
        this.#dispatch(msg);
      }
    } catch (error) {
      this.onError(error);
      this.close(4000, "not a message"); // after that nothing can be read any more
    }
  }

  #binary(piece) {
    let bytes = new Uint8Array(piece);
    if (this.#rest.length) bytes = new Uint8Array([...this.#rest, ...bytes]);
    const { messages, rest } = decodeMsgpack(bytes);
    this.#rest = bytes.slice(bytes.length - rest);
    return messages;
  }

  #dispatch(msg) {
    if (msg.type === "result") {
      const results = this.#pending.get(msg.seqId);
      if (results) results.push(msg);
      else this.unhandled++;
    } else if (msg.type === "data") this.#handle(this.onData, msg);
    else if (msg.type === "audio_frame") this.#handle(this.onAudioFrame, msg);
    else if (msg.type === "video_frame") this.#handle(this.onVideoFrame, msg);
    else this.#answer(msg);
  }

  #handle(handler, msg) {
    if (!handler) return void this.unhandled++;
    try {
      // An async handler's failure is told as well.
      Promise.resolve(handler(msg)).catch((error) => this.onError(error));
    } catch (error) {
      this.onError(error);
    }
  }

  async #answer(cmd) {
    const reply = (...answer) => this.#end ?? this.returnResult(cmd, ...answer);
    try {
      if (!this.onCmd) {
        this.unhandled++;
        return reply({ detail: `the client doesn't handle ${cmd.name}` }, { status: "error" });
      }
      const properties = await this.onCmd(cmd);
      if (properties !== undefined) reply(properties);
    } catch (error) {
      this.onError(error);
      reply({ detail: String(error?.message ?? error) }, { status: "error" });
    }
  }

  #fail(end) {
    this.#end ??= end;
    for (const results of [...this.#pending.values()]) results.end(new ConnectionClosed(end));
  }
}

function addressed(msg, { dest } = {}) {
  if (dest === undefined) return msg;
  const one = (place) => (typeof place === "string" ? { app: "", graph: "", extension: place } : place);
  return { ...msg, dest: (Array.isArray(dest) ? dest : [dest]).map(one) };
}
