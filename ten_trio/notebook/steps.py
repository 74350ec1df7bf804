"""What has happened while virtual time passed."""

from __future__ import annotations

from typing import Any

import attrs

from . import html
from .recording import Event


@attrs.frozen(kw_only=True)
class Step:
    """The result of `NotebookApp.step`."""

    begin: float
    end: float
    """By the app's clock, in seconds."""
    events: tuple[Event, ...]
    """The messages that were sent in it; their times count from when their graph was opened."""

    def __str__(self) -> str:
        title = f"{self.begin:g} s to {self.end:g} s: {len(self.events)} messages"
        return "\n".join([title, *map(str, self.events)])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        number = f"{len(self.events)} message{'' if len(self.events) == 1 else 's'}"
        title = html.muted(f"{self.begin:g} s to {self.end:g} s: {number}")
        return {"text/plain": str(self), "text/html": html.box(title, event_table(self.events))}


def event_table(events: tuple[Event, ...]) -> str:
    """One row per message."""
    rows = [
        (
            html.muted(f"{event.at:.3f} s"),
            html.text(f"{event.source} → {event.dest}"),
            html.coloured(event.label, html.COLOURS[event.kind] if event.ok else html.BAD),
            html.text(event.detail),
        )
        for event in events
    ]
    return html.table((), rows, numbers=(0,)) if rows else ""
