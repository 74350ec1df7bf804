/**
 * The page: it starts the graph "browser" of the voice agent, sends it the microphone, and is its
 * loudspeaker. Which is why it tells the agent when an answer has been heard (`playback_end`), and falls
 * silent on its command `flush`.
 */

import { connect, samplesOf } from "./ten_trio.js";

const RATE = 16_000;
const KEPT_LINES = 200;
const options = new URLSearchParams(location.search);
const element = (id) => document.getElementById(id);

const STATES = {
  idle: "Not connected",
  connecting: "Connecting …",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking …",
  speaking: "Speaking",
};

/** One conversation, from "Start talking" to "Stop". */
class Conversation {
  #client;
  #audio;
  #speaker;
  #microphone; // null: there is none
  #flushed = 0; // the answers up to this number aren't to be heard any more
  #playing = 0; // the number of the answer that is being heard, or 0
  #asked = 0; // when the question ended
  #figures = { sent: 0, dropped: 0, waiting: 0, late: 0, delay: null };
  muted = false;
  /** With ?record: what was played, at `sampleRate`. */
  recording = [];

  constructor(client, audio, microphone) {
    this.#client = client;
    this.#audio = audio;
    this.#microphone = microphone;
    this.sampleRate = audio.sampleRate;
    this.#speaker = new AudioWorkletNode(audio, "speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#speaker.port.onmessage = ({ data }) => this.#heard(data);
    this.#speaker.port.postMessage({ record: options.has("record") });
    this.#speaker.connect(audio.destination);
    client.onData = (data) => this.#data(data);
    client.onCmd = (cmd) => this.#cmd(cmd);
    client.onAudioFrame = (frame) => this.#sound(frame);
    client.onError = (error) => problem(error.message);
    client.closed.then((end) => this.#ended(end));
  }

  static async open() {
    // Made at once, while the press of the button still counts: else it would be silent.
    const audio = new AudioContext({ latencyHint: "interactive" });
    const microphone = await openMicrophone();
    let client = null;
    try {
      await audio.audioWorklet.addModule("worklet.js");
      const settings = await (await fetch("settings.json")).json();
      client = await connect(settings.uri, { token: settings.token });
      const conversation = new Conversation(client, audio, microphone);
      await client.startGraph(settings.graph);
      show("listening");
      conversation.#listen();
      return conversation;
    } catch (error) {
      if (client) await client.close(); // which lets go of the others
      else release(audio, microphone);
      throw error;
    }
  }

  /** The end, in order: the agent says that the graph has stopped, then the connection closes. */
  async close() {
    this.#silence();
    await this.#client.stopGraph({ timeout: 5000 }).catch(() => {});
    await this.#client.close();
  }

  /** Ask by the press of a button. */
  ask(text) {
    line("you", "You", text);
    this.#asked = performance.now();
    show("thinking");
    this.#client.sendData("text", { text });
  }

  #listen() {
    if (!this.#microphone) return;
    const node = new AudioWorkletNode(this.#audio, "microphone", { numberOfOutputs: 0 });
    this.#audio.createMediaStreamSource(this.#microphone).connect(node);
    node.port.onmessage = ({ data }) => this.#spoken(data);
  }

  /** A frame of the microphone. */
  #spoken(samples) {
    if (this.muted) samples.fill(0); // silence, so that the agent knows where speech ends
    const timestamp = Math.round((this.#figures.sent * samples.length * 1000) / RATE); // ms
    this.#client.sendAudioFrame("pcm_frame", { samples, sampleRate: RATE, timestamp });
    this.#figures.sent++;
    this.#figures.dropped = this.#client.dropped.audio_frame;
    level("you", Math.sqrt(samples.reduce((sum, sample) => sum + (sample / 0x8000) ** 2, 0) / samples.length));
  }

  /** A frame of an answer. */
  #sound(frame) {
    if (frame.properties.answer > this.#flushed) {
      this.#speaker.port.postMessage({ samples: samplesOf(frame) });
    }
  }

  #data({ name, properties }) {
    if (name === "speech_start") show("hearing");
    else if (name === "speech_end") {
      this.#asked = performance.now();
      show("thinking");
    } else if (name === "text") {
      line("you", "You", properties.text || "(nothing that could be understood)");
    } else if (name === "tool_call") {
      line("tool", "Tool call: ", properties.text);
    } else if (properties.answer > this.#flushed) {
      // `sentence` and `answer_end` wait their turn behind the sound.
      const last = name === "answer_end";
      this.#speaker.port.postMessage({ mark: { ...properties, last }, starts: last });
    }
  }

  /** `flush`: the answer is interrupted. */
  #cmd(cmd) {
    if (cmd.name !== "flush") throw new Error(`unknown command ${cmd.name}`);
    this.#flushed = cmd.properties.answer;
    this.#silence();
    return {};
  }

  #silence() {
    this.#speaker.port.postMessage({ flush: true });
    if (this.#playing) line("note", "", "interrupted");
    this.#playing = 0;
  }

  /** What the speaker reports: how loud it is, or that everything before a mark has been played. */
  #heard({ mark, level: loudness, samples, waiting, late }) {
    if (!mark) {
      level("agent", loudness);
      Object.assign(this.#figures, { waiting, late });
      if (samples) this.recording.push(samples);
      figures(this.#figures);
    } else if (mark.answer <= this.#flushed) {
      return; // it was on its way when the answer was interrupted
    } else if (mark.last) {
      this.#playing = 0;
      this.#client.sendData("playback_end", { answer: mark.answer });
      show("listening");
    } else {
      if (this.#playing !== mark.answer) this.#figures.delay = performance.now() - this.#asked;
      this.#playing = mark.answer;
      line("agent", "Agent", mark.text);
      show("speaking");
    }
  }

  #ended({ code, reason }) {
    release(this.#audio, this.#microphone);
    over(this, code === 1000 ? "" : `The connection was closed (${code}${reason && `: ${reason}`}).`);
  }
}

async function openMicrophone() {
  const audio = { channelCount: 1, echoCancellation: true, noiseSuppression: true };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    problem(`No microphone (${error.message}). The buttons below ask without one.`);
    return null;
  }
}

function release(audio, microphone) {
  for (const track of microphone?.getTracks() ?? []) track.stop();
  audio.close();
}

// What is seen ------------------------------------------------------------------------------------------

let current = null;
let busy = false; // on the way into or out of a conversation

function show(state) {
  element("state").textContent = STATES[state];
  element("state").dataset.state = state;
}

function problem(text) {
  element("problem").textContent = text;
  element("problem").hidden = !text;
}

function line(kind, who, text) {
  const log = element("transcript");
  const item = document.createElement("li");
  const label = document.createElement("span");
  item.className = kind;
  label.className = "who";
  label.textContent = who;
  item.append(label, text);
  log.append(item);
  while (log.children.length > KEPT_LINES) log.firstChild.remove();
  log.scrollTop = log.scrollHeight;
}

/** `loudness`: from 0 to 1; what is 50 dB quieter than the loudest isn't seen. */
function level(id, loudness) {
  const seen = Math.max(0, 1 + Math.log10(Math.max(loudness, 1e-6)) / 2.5);
  element(id).style.setProperty("--level", seen.toFixed(3));
}

function figures({ sent, dropped, waiting, late, delay }) {
  const parts = [`${sent} frames sent`, `${dropped} dropped`, `${waiting.toFixed(1)} s to be played`];
  if (late) parts.push(`${late} × late`);
  if (delay !== null) parts.push(`answered after ${Math.round(delay)} ms`);
  element("figures").textContent = parts.join(" · ");
}

function controls(connected) {
  element("talk").textContent = connected ? "Stop" : "Start talking";
  busy = false;
  element("mute").disabled = !connected;
  for (const button of element("examples").querySelectorAll("button")) button.disabled = !connected;
}

function over(conversation, text) {
  if (conversation !== current && current) return;
  current = null;
  show("idle");
  for (const id of ["you", "agent"]) level(id, 0);
  controls(false);
  if (text) problem(text);
}

element("talk").addEventListener("click", async () => {
  if (busy) return; // not `disabled`, which would take the focus away
  busy = true;
  if (current) return void current.close();
  problem("");
  show("connecting");
  try {
    window.conversation = current = await Conversation.open();
    setMuted(false);
    controls(true);
  } catch (error) {
    over(null, `That didn't work: ${error.message}`);
  }
});

function setMuted(muted) {
  current.muted = muted;
  element("mute").setAttribute("aria-pressed", String(muted));
  element("mute").textContent = muted ? "Unmute" : "Mute";
}

element("mute").addEventListener("click", () => setMuted(!current.muted));

element("examples").addEventListener("click", ({ target }) => {
  if (target.tagName === "BUTTON") current?.ask(target.textContent);
});
