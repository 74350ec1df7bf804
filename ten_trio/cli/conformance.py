"""`ten-trio conformance-app`: an app with the conformance suite's addons, for the suite to talk to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graphs import AppProperty
from ..runtime.addons import addons
from .running import FAILED, OK, Plan, run
from .screens import JsonScreen, PersonScreen

_SILENT: dict[str, Any] = {
    "handlers": [
        {
            "matchers": [{"level": "off"}],
            "formatter": {"type": "plain"},
            "emitter": {"type": "console", "config": {"stream": "stderr"}},
        }
    ]
}
"""The suite's graphs fail on purpose, by the hundred."""


class _Quiet:
    """Says where the app listens and that it has ended, nothing about its thousands of graphs."""

    def __init__(self, screen: JsonScreen | PersonScreen) -> None:
        self._screen = screen

    def listening(self, uris: Sequence[str]) -> None:
        """See `Screen`."""
        self._screen.listening(uris)

    def signalled(self, signal: str, meaning: str) -> None:
        """See `Screen`."""
        self._screen.signalled(signal, meaning)

    def starting(self, *_: Any) -> None:
        """See `Screen`."""

    started = failed = closed = ended = starting


def serve(listen: tuple[str, ...], screen: JsonScreen | PersonScreen) -> int:
    """Listen until a signal or close_app comes; returns the exit code. Raises what `open_app` raises."""
    # Here, since nobody else wants extensions that fail and sleep among their addons.
    from ..testing.conformance.addons import ADDONS  # noqa: PLC0415

    for name, factory in ADDONS.items():
        addons.register(name, factory)
    app = AppProperty(long_running_mode=True, log=_SILENT)
    code = run(Plan(app, listen=listen), _Quiet(screen))
    return OK if code == FAILED else code  # what clients start wrongly isn't the app's failure


__all__ = ["serve"]
