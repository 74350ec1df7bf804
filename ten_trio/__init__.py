"""ten_trio: real-time conversational-agent graphs, as the TEN framework describes them, on Trio.

Messages and errors are there at once; what runs graphs is loaded when it is first asked for, so that a
program that only looks at messages, or checks a graph, doesn't wait for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors, messages
from .errors import *  # noqa: F403 - the whole family; errors.__all__ says what that is
from .messages import *  # noqa: F403 - likewise

if TYPE_CHECKING:
    from .graphs import FlowPolicy as FlowPolicy, Graph as Graph
    from .network import (
        Client as Client,
        NetworkSettings as NetworkSettings,
        connect as connect,
        open_app as open_app,
    )
    from .runtime import (
        Addon as Addon,
        App as App,
        Block as Block,
        Call as Call,
        EdgeStats as EdgeStats,
        Engine as Engine,
        Explanation as Explanation,
        Extension as Extension,
        ExtensionNursery as ExtensionNursery,
        ExtensionReport as ExtensionReport,
        ExtensionStats as ExtensionStats,
        FlowReport as FlowReport,
        Limits as Limits,
        LogLevel as LogLevel,
        PlaceStats as PlaceStats,
        QueueStats as QueueStats,
        ResultReturnPolicy as ResultReturnPolicy,
        Seen as Seen,
        ShutdownReport as ShutdownReport,
        Stats as Stats,
        Subscription as Subscription,
        Tap as Tap,
        TenEnv as TenEnv,
        TenEnvProxy as TenEnvProxy,
        Turn as Turn,
        TurnReport as TurnReport,
        Wait as Wait,
        addon as addon,
        addons as addons,
    )

__version__ = "0.1.0"

# The same names once more (a test compares): where each is found.
_LATER: dict[str, tuple[str, ...]] = {
    "schemas": (),
    "graphs": ("FlowPolicy", "Graph"),
    "network": ("Client", "NetworkSettings", "connect", "open_app"),
    "runtime": (
        *("Addon", "App", "Block", "Call", "EdgeStats", "Engine", "Explanation", "Extension"),
        *("ExtensionNursery", "ExtensionReport", "ExtensionStats", "FlowReport", "Limits"),
        *("LogLevel", "PlaceStats", "QueueStats", "ResultReturnPolicy", "Seen", "ShutdownReport"),
        *("Stats", "Subscription", "Tap", "TenEnv", "TenEnvProxy", "Turn", "TurnReport", "Wait"),
        *("addon", "addons"),
    ),
}
_WHERE = {name: package for package, names in _LATER.items() for name in names}


if not TYPE_CHECKING:
    __all__ = [*errors.__all__, *messages.__all__, *_WHERE]

    def __getattr__(name: str) -> Any:
        if name in _LATER:
            return import_module(f".{name}", __name__)
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_WHERE})
