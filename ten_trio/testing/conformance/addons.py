"""The addons that the suite's graphs are made of, by the contracts of docs/conformance.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import trio

from ...errors import TenError
from ...messages import AudioFrame, Cmd, Data, Loc, Msg, VideoFrame
from ...runtime import Extension, ResultReturnPolicy, TenEnv

PREFIX: Final = "conformance_"


class Echo(Extension):
    """Gives everything back: a command's properties as its result, data and frames to their source."""

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        await env.return_result(cmd.ok(cmd.properties))

    async def on_data(self, env: TenEnv, data: Data) -> None:
        await self._back(env, data)

    async def on_audio_frame(self, env: TenEnv, audio_frame: AudioFrame) -> None:
        await self._back(env, audio_frame)

    async def on_video_frame(self, env: TenEnv, video_frame: VideoFrame) -> None:
        await self._back(env, video_frame)

    async def _back(self, env: TenEnv, msg: Any) -> None:
        source: Loc = msg.get_source()
        msg.set_dest(source)
        await env.send_data(msg)


class Relay(Extension):
    """Signs what it gets, in place, and sends it on as the graph says; results go back as they come."""

    policy: ResultReturnPolicy = ResultReturnPolicy.EACH_OK_AND_ERROR

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        _sign(cmd, env.name)
        cmd.set_dests(())
        try:
            env.post_cmd(cmd, policy=self.policy)
        except TenError as error:
            await env.return_result(cmd.error(str(error)))

    async def on_data(self, env: TenEnv, data: Data) -> None:
        await self._on(env, data)

    async def on_audio_frame(self, env: TenEnv, audio_frame: AudioFrame) -> None:
        await self._on(env, audio_frame)

    async def on_video_frame(self, env: TenEnv, video_frame: VideoFrame) -> None:
        await self._on(env, video_frame)

    async def _on(self, env: TenEnv, msg: Any) -> None:
        _sign(msg, env.name)
        msg.set_dests(())
        await env.send_data(msg)


class FanOut(Relay):
    """A relay whose node says by which policy results of several destinations become its own."""

    async def on_init(self, env: TenEnv) -> None:
        self.policy = ResultReturnPolicy(env.get_property_string("policy"))


class _Told(Extension):
    """Does what the command says, or if that says nothing what the node's properties say."""

    def told(self, env: TenEnv, cmd: Cmd, name: str, default: Any) -> Any:
        return cmd.get(name, env.get_property(name, default))


class Streamer(_Told):
    """Answers with `count` results: all but the last not final, and the last an ERROR if it `fail`s."""

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        count = self.told(env, cmd, "count", 1)
        for n in range(1, count):
            await env.return_result(cmd.partial({"n": n, "from": env.name}))
        last = {"n": count, "from": env.name}
        if self.told(env, cmd, "fail", False):
            await env.return_result(cmd.error("failed", **last))
        else:
            await env.return_result(cmd.ok(last))


class Failer(_Told):
    """Answers with an ERROR."""

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        detail = self.told(env, cmd, "detail", "failed")
        await env.return_result(cmd.error(detail, **{"from": env.name}))


class Sleeper(_Told):
    """Answers OK after so many `seconds`; meanwhile it takes other commands."""

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        await trio.sleep(self.told(env, cmd, "seconds", 0.0))
        await env.return_result(cmd.ok({"from": env.name}))


class Recorder(Extension):
    """Remembers what comes, in order; the command `report` says what it was, once it is enough."""

    def __init__(self) -> None:
        self._seen: list[dict[str, Any]] = []
        self._more = trio.Event()

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        if cmd.name != "report":
            self._record("cmd", cmd)
            await env.return_result(cmd.ok({"place": len(self._seen)}))
            return
        while len(self._seen) < cmd["count"]:
            await self._more.wait()
        await env.return_result(cmd.ok({"seen": self._seen}))

    async def on_data(self, env: TenEnv, data: Data) -> None:
        self._record("data", data, bytes(data.get_buf()))

    async def on_audio_frame(self, env: TenEnv, audio_frame: AudioFrame) -> None:
        self._record("audio_frame", audio_frame, bytes(audio_frame.get_buf()))

    async def on_video_frame(self, env: TenEnv, video_frame: VideoFrame) -> None:
        self._record("video_frame", video_frame, bytes(video_frame.get_buf()))

    def _record(self, kind: str, msg: Msg, buf: bytes = b"") -> None:
        entry = {"kind": kind, "name": msg.name, "source": msg.get_source().extension_name or ""}
        self._seen.append({**entry, "properties": msg.properties, "buf": buf})
        self._more.set()
        self._more = trio.Event()


def _sign(msg: Msg, name: str) -> None:
    """Add the name to those that the message has come by, if it wants to know."""
    via = msg.get("trace.via", None)
    if via is not None:
        msg["trace.via"] = f"{via}{name}/"


ADDONS: Final[Mapping[str, Callable[..., Extension]]] = {
    f"{PREFIX}{name}": cls
    for name, cls in {
        "echo": Echo,
        "relay": Relay,
        "fan_out": FanOut,
        "streamer": Streamer,
        "failer": Failer,
        "sleeper": Sleeper,
        "recorder": Recorder,
    }.items()
}
"""By the names that they have in graphs."""

__all__ = ["ADDONS", "PREFIX"]
