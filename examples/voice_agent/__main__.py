"""`python -m examples.voice_agent`: runs the app of this folder, with the wishes of the command line.

Without any, `ten-trio run examples/voice_agent` does the same.
"""

from __future__ import annotations

import logging
import tempfile
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import trio

import ten_trio as ten
from ten_trio.graphs import ExtensionNode

from .ten_packages.extension.asr.grammar import Grammar
from .ten_packages.extension.dialogue.intents import normalise
from .ten_packages.extension.tts.speech import RATE, find_synthesiser, synthesise

APP_FOLDER = Path(__file__).parent
FAST = 20.0
VOICE, WORDS_PER_MINUTE = "en-us+f5", 150
"""Whose questions are recognised best."""

Properties = Mapping[str, dict[str, Any]]


@click.command()
@click.option(
    "--ask",
    metavar="TEXT",
    help="Ask this, and only this; examples/voice_agent/README.md has the vocabulary.",
)
@click.option("--microphone", is_flag=True, help="Listen to the microphone until Ctrl-C.")
@click.option("--fast", is_flag=True, help=f"Hear and speak {FAST:.0f} times as fast as real time.")
@click.option("--interrupt/--no-interrupt", default=True, help="Interrupt the first answer or not.")
@click.option("--by-flush", is_flag=True, help="Interrupt by a command `flush`, not by the turn.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/voice_agent"),
    show_default=True,
    help="Where answer.wav and transcript.txt go.",
)
def main(
    ask: str | None, microphone: bool, fast: bool, interrupt: bool, by_flush: bool, out: Path
) -> None:
    """A voice agent that hears questions and answers them with speech, offline.

    By default it hears two that are in WAV files here, and the second interrupts the first answer.
    """
    if ask is not None and microphone:
        raise click.UsageError("--ask and --microphone exclude each other")
    if fast and microphone:
        raise click.UsageError("--fast and --microphone exclude each other")
    pace = FAST if fast else 1.0
    properties: Properties = {
        "source": {"pace": pace, "interrupt": interrupt, "microphone": microphone},
        "sink": {"pace": pace, "wav": str(out / "answer.wav")},
        "transcript": {"file": str(out / "transcript.txt")},
    }
    logging.getLogger("ten_trio").setLevel(logging.CRITICAL)  # what fails comes out of `run`
    try:
        find_synthesiser()
        if ask is None:
            trio.run(run, properties, "voice_agent_by_flush" if by_flush else "voice_agent")
        else:
            answer(ask, properties)
    except* (ten.MissingExtra, FileNotFoundError) as problems:
        raise click.ClickException("; ".join(messages(problems))) from None


def answer(text: str, properties: Properties) -> None:
    """Run with `text`, spoken, as the only question."""
    question = normalise(text)
    try:
        Grammar().check(question)
    except ValueError as problem:
        raise click.BadParameter(str(problem), param_hint="--ask") from None
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "question.wav")
        trio.run(record, question, wav)
        properties["source"]["questions"] = [str(wav)]
        trio.run(run, properties)


def messages(error: BaseException) -> list[str]:
    """What `error` says, or those in it if it is a group."""
    if isinstance(error, BaseExceptionGroup):
        return [message for each in error.exceptions for message in messages(each)]
    return [str(error)]


async def run(properties: Properties, name: str = "voice_agent") -> None:
    """Run a graph of the app until it ends, with these properties of its nodes changed."""
    async with ten.open_app(APP_FOLDER, auto_start=False) as app:
        graph = app.predefined(name).graph
        for node in graph.nodes:
            assert isinstance(node, ExtensionNode)
            node.property.update(properties.get(node.name, {}))
        async with app.open_graph(graph) as engine:
            await engine.wait_closed()


async def record(text: str, path: Path) -> None:
    """Write `text`, spoken, as a question that the source can send."""
    samples = await synthesise(text, VOICE, WORDS_PER_MINUTE)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples)


if __name__ == "__main__":
    main()
