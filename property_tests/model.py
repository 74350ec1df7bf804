"""What an app does, as one sees it from outside, in the fewest words: no tasks, no queues, no bytes.

`test_app_machine` does the same to this and to a real app, and compares. Times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

PATH_TIMEOUT = 10.0
LATER = 2.0
"""How long the executor of `later` takes."""


@dataclass
class Graph:
    """A running graph. It has one extension, which takes `slow` seconds to stop."""

    owner: str  # the client that has started it; empty: the app's own
    isolates: bool
    slow: float
    ends: float | None = None  # when it is closed, once it has begun to close
    closed: bool = False
    heard: list[int] = field(default_factory=list)  # the data that it has handled

    @property
    def is_open(self) -> bool:
        return self.ends is None


@dataclass
class Call:
    """A command in flight, or how it has ended: with OK, or not."""

    graph: int
    client: str  # who asks; empty: the host
    due: float
    ok_then: bool
    outcome: bool | None = None


@dataclass
class Model:
    """The app: its graphs, the clients at them, and the commands."""

    now: float = 0.0
    graphs: dict[int, Graph] = field(default_factory=dict)
    clients: dict[str, int] = field(default_factory=dict)  # who is connected, and to which graph
    calls: dict[int, Call] = field(default_factory=dict)

    # What is done to it -----------------------------------------------------------------------

    def start(self, graph: int, owner: str, isolates: bool, slow: float) -> None:
        """A graph begins to run. A client that starts one is at it."""
        self.graphs[graph] = Graph(owner, isolates, slow)
        if owner:
            self.clients[owner] = graph

    def join(self, client: str, graph: int) -> None:
        """A client connects to a graph that somebody else has started."""
        self.clients[client] = graph

    def stop(self, graph: int) -> None:
        """It begins to close: nobody outside gets in any more, what was begun may still end."""
        if self.graphs[graph].is_open:
            self.graphs[graph].ends = self.now + self.graphs[graph].slow
        self._settle()

    def cut(self, client: str) -> None:
        """A connection is lost: the commands that went over it, and the graph that it has started."""
        graph = self.clients.pop(client)
        self._fail(lambda call: call.client == client)
        if self.graphs[graph].owner == client:
            self.stop(graph)

    def call(self, number: int, name: str, graph: int, client: str) -> None:
        """A command: `echo` is answered at once, `later` later, `hold` never, `fail` raises."""
        due, ok = {
            "echo": (self.now, True),
            "later": (self.now + LATER, True),
            "hold": (self.now + PATH_TIMEOUT, False),
            "fail": (self.now, False),
        }[name]
        self.calls[number] = Call(graph, client, due, ok)
        if not self.graphs[graph].is_open:
            self.calls[number].outcome = False
        elif name == "fail" and not self.graphs[graph].isolates:
            self.stop(graph)
        self._settle()

    def say(self, number: int, graph: int) -> bool:
        """Data: whether it is handled."""
        if self.graphs[graph].is_open:
            self.graphs[graph].heard.append(number)
        return self.graphs[graph].is_open

    def advance(self, seconds: float) -> None:
        """Time goes on; what is due in the meantime happens in its order."""
        until = self.now + seconds
        while (moment := self._next()) is not None and moment <= until:
            self.now = max(self.now, moment)
            self._settle()
        self.now = until

    # What follows from it ---------------------------------------------------------------------

    def _next(self) -> float | None:
        open_calls = [call.due for call in self.calls.values() if call.outcome is None]
        closing = [g.ends for g in self.graphs.values() if g.ends is not None and not g.closed]
        return min([*open_calls, *closing], default=None)

    def _settle(self) -> None:
        """All that is due now."""
        for call in self.calls.values():
            if call.outcome is None and call.due <= self.now:
                call.outcome = call.ok_then
        for number, graph in self.graphs.items():
            if graph.ends is not None and graph.ends <= self.now and not graph.closed:
                graph.closed = True
                self._fail(lambda call, number=number: call.graph == number)
                for client in [c for c, at in self.clients.items() if at == number]:
                    del self.clients[client]

    def _fail(self, which: Callable[[Call], bool]) -> None:
        """The commands that are still open, of a kind, end with ERROR."""
        for call in self.calls.values():
            if call.outcome is None and which(call):
                call.outcome = False
