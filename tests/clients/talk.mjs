/** Talks to the app of test_javascript.py: node talk.mjs URL TOKEN json|mixed. Prints what it found as JSON. */

import { CmdError, connect, samplesOf, typed } from "../../clients/js/ten_trio.js";

const [url, token, form] = process.argv.slice(2);
const json = form === "json";
const found = {};

/** The next message of each kind, in their order. */
function inbox(client, handler) {
  const queue = [];
  const waiting = [];
  client[handler] = (msg) => (waiting.length ? waiting.shift()(msg) : queue.push(msg));
  return () => queue.shift() ?? new Promise((resolve) => waiting.push(resolve));
}

try {
  await (await connect(url, { token: "wrong", json })).startGraph("everything");
} catch (error) {
  found.wrongToken = error.message;
}

const client = await connect(url, { token, json });
client.onCmd = (cmd) => {
  if (cmd.properties.question === "fail?") throw new Error("I don't know");
  return { answer: `${cmd.properties.question} yes` };
};
client.onError = () => {};
const nextData = inbox(client, "onData");
const nextAudio = inbox(client, "onAudioFrame");
const nextVideo = inbox(client, "onVideoFrame");

try {
  await client.startGraph("no such graph");
} catch (error) {
  found.noGraph = [error instanceof CmdError, error.message];
}
const { graphId } = await client.startGraph("everything");
found.graphId = graphId !== "" && graphId === client.graphId;

found.upper = (await client.sendCmd("upper", { text: "hello" })).properties.text;
found.addressed = (await client.sendCmd("upper", { text: "x" }, { dest: "it" })).properties.text;
found.failed = await client.sendCmd("fail").catch((error) => [error.name, error.message]);
found.nowhere = await client.sendCmd("upper", {}, { dest: "nobody" }).catch((error) => error.message);

found.counted = [];
for await (const result of client.stream("count", { to: 3 })) {
  found.counted.push([result.properties.n, result.isFinal]);
}
found.last = (await client.sendCmd("count", { to: 3 })).properties.n;

found.confirmed = (await client.sendCmd("confirm", { question: "sure?" })).properties.answer;
found.refused = await client.sendCmd("confirm", { question: "fail?" }).catch((error) => error.message);

const many = Array.from({ length: 100 }, (_, n) => client.sendCmd("upper", { text: `n${n}` }));
found.many = (await Promise.all(many)).every(({ properties }, n) => properties.text === `N${n}`);

client.sendData("echo", { a: [1, { b: true }], half: 0.5 }, new Uint8Array([0, 1, 255]));
const data = await nextData();
found.data = [data.properties, [...data.buf]];
if (!json) {
  client.sendData("echo", { big: 2n ** 62n, sized: typed("int8", 5) }, new Uint8Array(1));
  found.big = String((await nextData()).properties.big);
}
const samples = Int16Array.from({ length: 160 }, (_, n) => n * 100 - 8000);
client.sendAudioFrame("pcm", { samples, sampleRate: 16000, timestamp: 20, isEof: true });
const audio = await nextAudio();
found.audio = [audio.sampleRate, audio.samplesPerChannel, audio.timestamp, String(samplesOf(audio)) === String(samples)];
// Base64 counts as text, of which there may be a MiB.
const picture = new Uint8Array((json ? 0.5 : 3) * 2 ** 20).fill(7);
client.sendVideoFrame("picture", { data: picture, width: 1024, height: 768 });
const video = await nextVideo();
found.video = [video.width, video.height, video.pixelFmt, video.buf.length, video.buf.at(-1)];

const never = client.sendCmd("never").catch((error) => error.message);
found.stopped = (await client.stopGraph()).status;
found.never = await never;
found.closed = (await client.closed).code;
found.after = await client.sendCmd("upper").catch((error) => error.name);
console.log(JSON.stringify(found));
