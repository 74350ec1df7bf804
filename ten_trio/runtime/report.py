"""What a close has to tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from ..display import Displayed
from .flow import FlowReport

if TYPE_CHECKING:
    from .engine import EngineCore


@attrs.frozen(kw_only=True)
class ExtensionReport:
    """How one extension ended. Times are in seconds; None for a callback that never began."""

    name: str
    on_stop: float | None = None
    on_deinit: float | None = None
    errors: int = 0
    """How often it has failed, also if its error policy kept that from ending the graph."""
    answered_with_error: int = 0
    """Commands that the runtime answered in the extension's place while it closed."""
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    """Data and frames that nobody saw, by cause: closing, overflow, schema, conversion, discarded,
    turn cancelled; and what edges with a flow policy have dropped, by what these say."""
    late_results: int = 0
    overshoots: int = 0
    """Data let in over the bound, because waiting for room would have closed a cycle."""
    slow: str = ""
    """Where it still was when the grace ran out; empty if it was in time."""


@attrs.frozen(kw_only=True)
class ShutdownReport(Displayed):
    """How one graph ended."""

    graph_id: str
    graph_name: str = ""
    """Of a predefined graph."""
    reason: str
    duration: float
    """Seconds from the request to close until everything was closed."""
    grace_exhausted: bool
    extensions: Mapping[str, ExtensionReport]
    undelivered: int = 0
    """Data and frames that named nobody, or the host, which didn't read them."""
    failures: tuple[BaseException, ...] = ()
    flows: Mapping[str, FlowReport] = attrs.field(factory=dict)
    """What every edge with a flow policy has come to: by "source → dest kind name"."""
    threads: tuple[str, ...] = ()
    """Threads of `env.to_thread` that were abandoned and still run: "extension: function"."""

    @property
    def slow(self) -> dict[str, str]:
        """The extensions that weren't in time, and where each still was."""
        return {name: report.slow for name, report in self.extensions.items() if report.slow}

    @property
    def dropped(self) -> int:
        """Data and frames that nobody saw, in all."""
        return sum(sum(report.dropped.values()) for report in self.extensions.values())

    @property
    def dropped_by_edge(self) -> dict[str, dict[str, int]]:
        """The edges with a flow policy that have dropped something: how much, by cause."""
        return {edge: dict(flow.dropped) for edge, flow in self.flows.items() if flow.dropped}

    @property
    def answered_with_error(self) -> int:
        """Commands answered by the runtime because the graph closed, in all."""
        return sum(report.answered_with_error for report in self.extensions.values())

    def __str__(self) -> str:
        state = "grace ran out" if self.grace_exhausted else "in order"
        text = (
            f"graph {self.graph_id} closed ({self.reason}) in {self.duration:.3f} s, {state}; "
            f"{self.answered_with_error} commands answered with ERROR, {self.dropped} messages dropped"
        )
        if self.undelivered:
            text += f", {self.undelivered} had nobody to go to"
        return "\n".join([text, *(f"  {name} was at {at}" for name, at in self.slow.items())])


def report_of(core: EngineCore) -> ShutdownReport:
    """The report of an engine that is closed."""
    extensions = {}
    for name, instance in core.instances.items():
        durations = core.lives[name].durations
        extensions[name] = ExtensionReport(
            name=name,
            on_stop=durations.get("on_stop"),
            on_deinit=durations.get("on_deinit"),
            errors=core.failed[name][0] if name in core.failed else 0,
            answered_with_error=instance.answered_with_error,
            dropped=dict(instance.data_line.dropped),
            late_results=instance.late_results,
            overshoots=instance.data_line.overshoots,
            slow=core.slow.get(name, ""),
        )
    return ShutdownReport(
        graph_id=core.graph_id,
        graph_name=core.graph_name,
        reason=core.close_reason,
        duration=core.close_duration or 0.0,
        grace_exhausted=core.exhausted,
        extensions=extensions,
        undelivered=core.directory.undelivered,
        failures=tuple(core.failures),
        flows=core.flows.reports(),
        threads=tuple(core.threads.values()),
    )
