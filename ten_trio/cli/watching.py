"""`ten-trio top` and `ten-trio tap`: what goes on in an app that runs somewhere, while it does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs
import trio
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from ..messages import Cmd, Loc
from ..network import Client
from ..network.watching import STATS, TAP
from ..runtime import Stats
from .screens import console
from .tables import tables_of
from .talking import ERROR, OK, ask, is_ok, talk_to

_AHEAD: Final = 64
"""Batches of messages that are kept here for whoever reads slowly."""
_WIDEST: Final = 160
"""Characters of a message's properties, as text."""


# top ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Watch:
    """What to look at, how often, and how to tell it."""

    uri: str
    graph: str = ""
    interval: float = 1.0
    once: bool = False
    as_json: bool = False
    token: str = attrs.field(default="", repr=False)


def top(watch: Watch) -> int:
    """Look again and again, and show it; returns the exit code."""

    async def talk(client: Client) -> int:
        out = console(stderr=False)
        before: dict[str, Stats] = {}
        if watch.once:
            before = {each.graph_id: each for each in await _look(client, watch)}
            await trio.sleep(watch.interval)
            _print(out, watch, _rated(await _look(client, watch), before))
            return OK
        with _Screen(out, watch) as show:
            while True:
                found = await _look(client, watch)
                show(_rated(found, before))
                before = {each.graph_id: each for each in found}
                await trio.sleep(watch.interval)

    return _talk(talk, watch)


async def _look(client: Client, watch: Watch) -> list[Stats]:
    uri, graph, as_json = watch.uri, watch.graph, watch.as_json
    return await ask(client, STATS, "stats", Stats.from_dict, uri=uri, graph=graph, as_json=as_json)


def _rated(found: Sequence[Stats], before: Mapping[str, Stats]) -> list[Stats]:
    return [each.since(before.get(each.graph_id, each)) for each in found]


def _print(out: Console, watch: Watch, found: Sequence[Stats]) -> None:
    if watch.as_json:
        for each in found:
            print(json.dumps(each.to_dict(), ensure_ascii=False), flush=True)
    else:
        out.print(_shown(watch, found))


def _shown(watch: Watch, found: Sequence[Stats]) -> RenderableType:
    if not found:
        return Text(f"no graph runs at {watch.uri}")
    return Group(*(part for each in found for part in tables_of(each)))


class _Screen:
    """Where the looks are shown: one after the other, or each in place of the one before it."""

    def __init__(self, out: Console, watch: Watch) -> None:
        self._out = out
        self._watch = watch
        in_place = out.is_terminal and not watch.as_json
        self._live = Live(console=out, screen=True, auto_refresh=False) if in_place else None

    def __enter__(self) -> Callable[[Sequence[Stats]], None]:
        if self._live is not None:
            self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, found: Sequence[Stats]) -> None:
        if self._live is None:
            _print(self._out, self._watch, found)
        else:
            self._live.update(_shown(self._watch, found), refresh=True)


# tap ------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Filter:
    """Which messages to show, how many of them, and how."""

    uri: str
    graph: str = ""
    kinds: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    count: int | None = None
    as_json: bool = False
    token: str = attrs.field(default="", repr=False)

    def cmd(self) -> Cmd:
        """The command that asks for them."""
        given = {"kind": self.kinds, "name": self.names, "extension": self.extensions}
        wanted: dict[str, Any] = {key: list(value) for key, value in given.items() if value}
        if self.graph:
            wanted["graph_id"] = self.graph
        return Cmd(TAP, wanted, dest=Loc(""))


def tap(wanted: Filter) -> int:
    """Print what passes until the graphs are closed, or there is enough; returns the exit code."""

    async def talk(client: Client) -> int:
        send, receive = trio.open_memory_channel[tuple[list[str], int]](_AHEAD)
        writer = _Writer(wanted)
        code = OK
        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer.run, receive, nursery.cancel_scope)
            with send:
                code = await _receive(client, wanted, send, writer)
        return code

    return _talk(talk, wanted)


async def _receive(
    client: Client,
    wanted: Filter,
    send: trio.MemorySendChannel[tuple[list[str], int]],
    writer: _Writer,
) -> int:
    """Take what comes at once, whoever reads it how slowly: the app cuts off who doesn't."""
    async with client.send_cmd_ex(wanted.cmd(), timeout=float("inf")) as results:
        async for result in results:
            if not is_ok(result, wanted.as_json):
                return ERROR
            if result.is_completed:
                break
            seen, dropped = result.get("seen", []), result.get("dropped", 0)
            try:
                send.send_nowait((list(seen), dropped))
            except trio.WouldBlock:
                writer.unread += len(seen)
    return OK


class _Writer:
    """Prints messages, in a thread: a pipe that nobody reads from must not stop the reading here."""

    def __init__(self, wanted: Filter) -> None:
        self._wanted = wanted
        self._left = wanted.count
        self._dropped = 0
        self.unread = 0
        """Messages that were dropped here."""

    async def run(
        self,
        receive: trio.MemoryReceiveChannel[tuple[list[str], int]],
        all_of_it: trio.CancelScope,
    ) -> None:
        """Print what comes, until nothing more does or it is enough."""
        async for seen, dropped in receive:
            missed = dropped + self.unread - self._dropped
            self._dropped += missed
            lines = [self._line(text) for text in seen[: self._left]]
            if missed:
                lines.append(self._gap(missed))
            if lines:
                text = "".join(f"{line}\n" for line in lines)
                await trio.to_thread.run_sync(_write, text, abandon_on_cancel=True)
            if self._left is not None:
                self._left -= len(seen)
                if self._left <= 0:
                    all_of_it.cancel("that is enough")
                    return

    def _line(self, text: str) -> str:
        return text if self._wanted.as_json else line_of(json.loads(text))

    def _gap(self, missed: int) -> str:
        if self._wanted.as_json:
            return json.dumps({"missed": missed})
        return f"... {missed} more passed than could be shown"


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def line_of(seen: Mapping[str, Any]) -> str:
    """One message as text: when, from where to where, what, and what is in it."""
    when = datetime.fromtimestamp(seen["time"]).strftime("%H:%M:%S.%f")[:-3]
    what = f"{seen['kind']} {seen['name']}"
    if "cmd_id" in seen:
        what += f" #{seen['cmd_id']}"
    if seen["kind"] == "result":
        what += f" {seen['status'].upper()}" + ("" if seen["is_final"] else ", more to come")
    parts = [when, f"{_end(seen['source'])} → {_end(seen['dest'])}", what]
    if seen.get("size"):
        parts.append(f"{seen['size']} bytes")
    if "left_out" in seen:
        parts.append(f"({seen['left_out']} characters of properties)")
    elif seen["properties"]:
        text = json.dumps(seen["properties"], ensure_ascii=False)
        parts.append(text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}...")
    if seen["turn"]:
        parts.append(f"turn {seen['turn'][-6:]}")
    return "  ".join(parts)


def _end(loc: Mapping[str, str]) -> str:
    name = loc.get("extension") or loc.get("app") or "?"
    return "the host" if name == "ten:graph_proxy" else name


# Both -----------------------------------------------------------------------------------------------


def _talk(talk: Callable[[Client], Awaitable[int]], what: Watch | Filter) -> int:
    """Talk with the app; no fuss if whoever reads the output has gone."""
    try:
        return talk_to(talk, what.uri, "", what.token, what.as_json)
    except* BrokenPipeError:
        # Python would say so once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


__all__ = ["Filter", "Watch", "line_of", "tap", "top"]
