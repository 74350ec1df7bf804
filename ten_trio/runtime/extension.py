"""The base class of user code: an extension's lifecycle callbacks, message handlers and settings."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..messages import Timeout

if TYPE_CHECKING:
    from ..messages import AudioFrame, Cmd, Data, VideoFrame
    from .env import TenEnv
    from .turns import Turn

OnError = Literal["stop_graph", "isolate", "restart"]

_CALLBACKS = {
    "on_configure": "self, env",
    "on_init": "self, env",
    "on_start": "self, env",
    "on_stop": "self, env",
    "on_deinit": "self, env",
    "on_turn_cancelled": "self, env, turn",
    "on_turn_budget": "self, env, turn",
    "on_cmd": "self, env, cmd",
    "on_data": "self, env, data",
    "on_audio_frame": "self, env, frame",
    "on_video_frame": "self, env, frame",
}


class Extension:
    """A unit of user code in a graph. Subclass it and override what you need.

    The lifecycle callbacks run one after another in a task of their own; the return of each is its
    acknowledgement.  Messages arrive from the return of `on_init` on (so `on_cmd` may run before
    `on_start` does) until `on_deinit` begins.

    The class attributes below are settings; a node of a graph may override each of them.
    """

    name: str = ""
    """The node's name; set before `on_configure`."""

    inline: ClassVar[bool] = True
    """Start handlers on the task that drains the queue; a handler that waits gets a task then.
    False: every handler is started in a task."""
    cmd_handlers: ClassVar[Literal["concurrent", "serial"]] = "concurrent"
    """Whether a waiting `on_cmd` holds up the next command."""
    data_handlers: ClassVar[Literal["serial", "concurrent"]] = "serial"
    """Whether a waiting data or frame handler holds up the next data or frame."""
    on_error: ClassVar[OnError] = "stop_graph"
    """What an exception in this extension means for its graph."""
    cancel_abandoned: ClassVar[bool] = False
    """Cancel a waiting `on_cmd` when its caller is gone."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in _CALLBACKS:
            callback = cls.__dict__.get(name)
            if callback is not None and not inspect.iscoroutinefunction(callback):
                raise TypeError(f"{cls.__qualname__}.{name} must be an `async def`")
            if callback is not None:
                _check_arguments(callback, f"{cls.__qualname__}.{name}", _CALLBACKS[name])
        for name, method in cls.__dict__.items():
            if name.startswith("on_") and inspect.iscoroutinefunction(method):
                _check_name(name, cls.__qualname__)

    async def on_configure(self, env: TenEnv) -> None:
        """Before the properties are loaded: the place for `env.init_property_from_json`."""

    async def on_init(self, env: TenEnv) -> None:
        """The properties are there. Messages wait until this returns; results don't."""

    @asynccontextmanager
    async def lifespan(self, env: TenEnv) -> AsyncGenerator[None, None]:
        """Held open by the lifecycle task from after `on_init` until after `on_stop`.

        The place for a nursery, a client or a connection that the handlers use.
        """
        yield

    async def on_start(self, env: TenEnv) -> None:
        """The extension begins to work."""

    async def on_stop(self, env: TenEnv) -> None:
        """The graph is closing. Messages still flow both ways."""

    async def on_deinit(self, env: TenEnv) -> None:
        """The last callback: it may send, but receives nothing except results."""

    async def on_turn_cancelled(self, env: TenEnv, turn: Turn) -> object:
        """A turn was cancelled: clear what is kept of it here, such as a buffer that is being played.

        Nothing more of the turn will come.  What it returns, such as how far it had played, is told to
        whoever has cancelled the turn; after `Limits.turn_grace` seconds nobody waits for that.
        """
        return None

    async def on_turn_budget(self, env: TenEnv, turn: Turn) -> None:
        """A turn has spent its budget, and goes on: the place to send something else instead, or to
        cancel it.

        What is sent here belongs to the turn.  Without an extension that has this, the turn is
        cancelled.  After `Limits.turn_grace` seconds this is cancelled.
        """

    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        """Handle a command; answer it with `env.return_result`. The default answers ERROR."""
        if not isinstance(cmd, Timeout):
            await env.return_result(
                cmd.error(f"not handled: {type(self).__name__} has no on_cmd for {cmd.name!r}")
            )

    async def on_data(self, env: TenEnv, data: Data) -> None:
        """Handle a data message. The default ignores it."""

    async def on_audio_frame(self, env: TenEnv, frame: AudioFrame) -> None:
        """Handle an audio frame. The default ignores it."""

    async def on_video_frame(self, env: TenEnv, frame: VideoFrame) -> None:
        """Handle a video frame. The default ignores it."""


def _check_name(name: str, where: str) -> None:
    """Refuse what is hardly meant: nobody would ever call it. Other names with on_ are the user's."""
    if name not in _CALLBACKS:
        for meant in get_close_matches(name, _CALLBACKS, n=1, cutoff=0.9):
            raise TypeError(f"{where}.{name} is called by nobody; did you mean {meant}?")


def _check_arguments(callback: Callable[..., Any], name: str, wanted: str) -> None:
    signature = inspect.signature(callback)
    try:
        signature.bind(*wanted.split())
    except TypeError:
        raise TypeError(f"{name} must take ({wanted}), not {signature}") from None


Lifespan = Callable[["TenEnv"], AbstractAsyncContextManager[object]]


def lifespan_of(extension: Extension) -> Lifespan | None:
    """The `lifespan` of `extension` if it defines one."""
    return None if type(extension).lifespan is Extension.lifespan else extension.lifespan


__all__ = ["Extension", "OnError", "lifespan_of"]
