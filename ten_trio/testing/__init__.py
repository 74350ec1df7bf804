"""What a user needs to test an extension, a protocol or a whole runtime.

Importing this package imports neither pytest nor Hypothesis: what needs them is loaded when it is
first asked for, and says so if the extra that brings them is missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from .inbox import NotExpected, NotReceived
from .tester import TESTER, ExtensionTester, open_tester, run_extension_test

if TYPE_CHECKING:
    from .checks import check_extension, check_graph_closes
    from .fuzzing import Finding, fuzz
    from .given import trio_given
    from .graph_tester import open_graph_tester
    from .memory import MemoryLink, MemoryNetwork
    from .protocols import MakeProtocol, check_protocol
    from .transports import MakeTransport, check_transport
    from .trials import Crash, Delay, Link, Say, Trial
    from .trying import Bounds, RuleBroken, Transcript, run_trial

_LAZY = {
    "trio_given": "ten_trio.testing.given",
    # Not everybody who tests an extension needs the network.
    "check_transport": "ten_trio.testing.transports",
    "MakeTransport": "ten_trio.testing.transports",
    "check_protocol": "ten_trio.testing.protocols",
    "MakeProtocol": "ten_trio.testing.protocols",
    "check_extension": "ten_trio.testing.checks",
    "check_graph_closes": "ten_trio.testing.checks",
    "open_graph_tester": "ten_trio.testing.graph_tester",
    "MemoryNetwork": "ten_trio.testing.memory",
    "MemoryLink": "ten_trio.testing.memory",
    "fuzz": "ten_trio.testing.fuzzing",
    "Finding": "ten_trio.testing.fuzzing",
    **dict.fromkeys(("Trial", "Say", "Delay", "Crash", "Link"), "ten_trio.testing.trials"),
    **dict.fromkeys(("run_trial", "Transcript", "Bounds", "RuleBroken"), "ten_trio.testing.trying"),
}

__all__ = [
    "open_tester",
    "open_graph_tester",
    "run_extension_test",
    "ExtensionTester",
    "NotReceived",
    "NotExpected",
    "TESTER",
    "trio_given",
    "check_transport",
    "MakeTransport",
    "check_protocol",
    "MakeProtocol",
    "check_extension",
    "check_graph_closes",
    "run_trial",
    "Trial",
    "Say",
    "Delay",
    "Crash",
    "Link",
    "Transcript",
    "Bounds",
    "RuleBroken",
    "fuzz",
    "Finding",
    "MemoryNetwork",
    "MemoryLink",
]


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
