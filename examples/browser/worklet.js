/**
 * What runs at the pace of the sound card: the microphone as frames of 16 kHz, and the speaker with its
 * jitter buffer. Both change between 16 kHz and whatever the sound card has by themselves, since
 * browsers differ in what they do when it isn't the same.
 */

const RATE = 16_000;
const FRAME = 512; // 32 ms: what the agent's voice activity detection takes at a time
const JITTER = 0.12; // seconds that are collected before an answer begins
const QUANTUM = 128; // samples that `process` is called for
const REPORT = QUANTUM * Math.round((0.05 * sampleRate) / QUANTUM); // samples between two reports

/** From one sample rate to another, piece by piece: a sinc of 16 zero crossings, with a Hann window. */
class Resampler {
  constructor(from, to) {
    this.step = from / to;
    this.half = Math.ceil(16 * Math.max(1, this.step));
    this.fine = 256;
    // One side of the kernel, `fine` points for each sample; the highest frequency that both can have.
    const scale = Math.min(1, to / from);
    this.kernel = Float32Array.from({ length: (this.half + 1) * this.fine + 1 }, (_, index) => {
      const x = index / this.fine;
      if (x >= this.half) return 0;
      const wave = x === 0 ? 1 : Math.sin(Math.PI * x * scale) / (Math.PI * x * scale);
      return scale * wave * (0.5 + 0.5 * Math.cos((Math.PI * x) / this.half));
    });
    this.reset();
  }

  reset() {
    this.kept = new Float32Array(this.half);
    this.at = this.half;
  }

  push(samples) {
    if (this.step === 1) return samples;
    const { half, fine, kernel } = this;
    const all = new Float32Array(this.kept.length + samples.length);
    all.set(this.kept);
    all.set(samples, this.kept.length);
    const count = Math.max(0, Math.ceil((all.length - half - this.at) / this.step));
    const out = new Float32Array(count);
    for (let index = 0; index < count; index++, this.at += this.step) {
      const last = Math.floor(this.at + half);
      let sum = 0;
      for (let from = Math.ceil(this.at - half); from <= last; from++) {
        sum += (all[from] ?? 0) * kernel[Math.round(Math.abs(from - this.at) * fine)];
      }
      out[index] = sum;
    }
    const begin = Math.max(0, Math.floor(this.at) - half);
    this.kept = all.slice(begin);
    this.at -= begin;
    return out;
  }
}

/** Posts Int16Arrays of 512 samples at 16 kHz. */
class Microphone extends AudioWorkletProcessor {
  resampler = new Resampler(sampleRate, RATE);
  frame = new Int16Array(FRAME);
  filled = 0;

  process([[mono]]) {
    for (const sample of mono ? this.resampler.push(mono) : []) {
      this.frame[this.filled++] = Math.max(-1, Math.min(1, sample)) * 0x7fff;
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame, [this.frame.buffer]);
        this.frame = new Int16Array(FRAME);
        this.filled = 0;
      }
    }
    return true;
  }
}

/**
 * Plays what it is sent: `{samples}` at 16 kHz, and `{mark, starts}`, which come back as `{mark}` when
 * everything before them has been heard. `{flush: true}` forgets what waits. `{record: true}`: the reports
 * of how loud it is, `{level, waiting, late}`, have the `samples` as well.
 */
class Speaker extends AudioWorkletProcessor {
  resampler = new Resampler(RATE, sampleRate);
  queue = [];
  waiting = 0; // samples in the queue
  offset = 0; // how much of the first of them has been played
  playing = false;
  late = 0; // how often there was nothing to play in the middle of an answer
  midway = false;
  recorded = new Float32Array(REPORT);
  reported = 0;
  record = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  receive({ samples, mark, starts, flush, record }) {
    if (samples) {
      const heard = this.resampler.push(Float32Array.from(samples, (sample) => sample / 0x8000));
      this.queue.push({ samples: heard });
      this.waiting += heard.length;
    } else if (mark) {
      this.queue.push({ mark });
      this.playing ||= starts; // what is there is all that will come
    } else if (flush) {
      this.queue = [];
      this.waiting = this.offset = 0;
      this.playing = this.midway = false;
      this.resampler.reset();
    } else if (record) {
      this.record = true;
    }
    this.playing ||= this.waiting >= JITTER * sampleRate;
  }

  process(inputs, [[output]]) {
    let filled = 0;
    while (this.playing && filled < output.length) {
      const [first] = this.queue;
      if (!first) {
        this.late += this.midway;
        this.playing = this.midway = false;
      } else if (first.mark) {
        this.queue.shift();
        this.midway = !first.mark.last;
        this.port.postMessage({ mark: first.mark });
      } else {
        const piece = first.samples.subarray(this.offset, this.offset + output.length - filled);
        output.set(piece, filled);
        filled += piece.length;
        this.offset += piece.length;
        this.waiting -= piece.length;
        if (this.offset === first.samples.length) {
          this.queue.shift();
          this.offset = 0;
        }
      }
    }
    this.report(output);
    return true;
  }

  report(output) {
    const room = this.recorded.subarray(this.reported, this.reported + output.length);
    room.set(output.subarray(0, room.length));
    this.reported += room.length;
    if (this.reported < this.recorded.length) return;
    const level = Math.sqrt(this.recorded.reduce((sum, sample) => sum + sample * sample, 0) / this.reported);
    const samples = this.record ? this.recorded.slice() : undefined;
    this.port.postMessage({ level, samples, waiting: this.waiting / sampleRate, late: this.late });
    this.reported = 0;
  }
}

registerProcessor("microphone", Microphone);
registerProcessor("speaker", Speaker);
