"""Speech recognition: the words of each stretch of speech."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import ten_trio as ten

try:
    from pocketsphinx import Decoder
except ImportError as problem:
    raise ten.MissingExtra("needs pocketsphinx: pip install 'ten-trio[voice]'") from problem

GRAMMAR = Path(__file__).with_name("questions.jsgf")


@ten.addon("asr")
class Asr(ten.Extension):
    """Collects the frames between `speech_start` and `speech_end`; sends the data `text`.

    While a thread recognises one question, the frames of the next wait in this extension's queue.
    """

    async def on_init(self, env: ten.TenEnv) -> None:
        self._recogniser = await env.to_thread(Recogniser)
        self._speech = bytearray()

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self._speech += frame.buf

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "end_of_input":
            await env.send_data(data)
        elif data.name == "speech_start":
            self._speech.clear()
        else:
            text = await env.to_thread(self._recogniser.recognise, bytes(self._speech))
            await env.send_data(ten.Data("text", {"text": text, "is_final": True}))


class Recogniser:
    """pocketsphinx with the grammar of the questions."""

    def __init__(self) -> None:
        self._decoder = Decoder(jsgf=str(GRAMMAR), wip=0.1, loglevel="FATAL")
        self._grammar = self._decoder.get_fsg("_default")

    def recognise(self, samples: bytes) -> str:
        """The words in 16 kHz mono `samples`; "" if there are none. Blocks for a fifth as long.

        The best path may end in the middle of a sentence: the best whole one is taken.
        """
        self._decoder.start_utt()
        self._decoder.process_raw(samples, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        if best is None:
            return ""
        if self._grammar.accept(best.hypstr):
            return str(best.hypstr)
        for other in islice(self._decoder.nbest(), 50):
            if other is not None and self._grammar.accept(other.hypstr):
                return str(other.hypstr)
        return str(best.hypstr)
