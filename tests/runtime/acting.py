"""What the tests of this folder have in common: extensions made of functions, and graphs of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

import ten_trio as ten

Callback = Callable[..., Awaitable[object]]


def acting(**callbacks: Callback) -> type[ten.Extension]:
    """An extension with these callbacks, each `async (env, …)`."""
    return type("Acting", (ten.Extension,), {name: _method(f) for name, f in callbacks.items()})


def _method(callback: Callback) -> Callback:
    async def method(self: ten.Extension, *args: Any) -> None:
        await callback(*args)

    return method


@asynccontextmanager
async def opened(graph: ten.Graph, **limits: Any) -> AsyncGenerator[ten.Engine, None]:
    """The graph, running in an app of its own."""
    async with ten.open_app(limits=ten.Limits(**limits)) as app, app.open_graph(graph) as engine:
        yield engine


def graph_of(**extensions: Any) -> ten.Graph:
    """These extensions without any edges, each in a group of its own."""
    graph = ten.Graph()
    for name, extension in extensions.items():
        graph.node(name, extension, group=name)
    return graph


async def hang(*_: Any) -> None:
    """Never come back."""
    await trio.sleep_forever()


async def answer(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Answer OK, and say by whom."""
    await env.return_result(cmd.ok(by=env.name))


async def stream(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Answer `count` times (3 if the command doesn't say), the last time finally."""
    count = cmd.get("count", 3)
    for number in range(1, count):
        await env.return_result(cmd.partial(by=env.name, number=number))
    await env.return_result(cmd.ok(by=env.name, number=count))
