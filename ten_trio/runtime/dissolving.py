"""A closed graph that nobody looks at any more is taken apart, so that it is freed at once.

Its parts refer to each other, and so would stay until the garbage collector finds them: with many
graphs that come and go, that is most of what it has to do, and everything stands still meanwhile.
What a user may still hold of the graph (an env, a message, a subscription) goes on saying that it is
closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .boundary import NoNetwork
from .endpoint import NO_FLOW, Endpoint
from .lines import Diverted

if TYPE_CHECKING:
    from .engine import EngineCore
    from .instance import Instance
    from .lines import Line


class Held:
    """What is to be taken apart when it is over and nobody holds it any more."""

    def __init__(self) -> None:
        # By id, not by reference; and a set, because they may be of several threads.
        self._holders: set[int] = set()
        self._is_over = False
        self._whole = [True]

    def hold(self, holder: object) -> None:
        """As long as `holder` is there, what this consists of stays, also once it is closed."""
        self._holders.add(id(holder))

    def let_go(self, holder: object) -> None:
        """`holder` doesn't need it any more."""
        self._holders.discard(id(holder))
        self._end_unheld()

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self._is_over

    @property
    def is_whole(self) -> bool:
        """Whether it hasn't been taken apart."""
        return bool(self._whole)

    def over(self) -> None:
        """Nothing of it runs any more."""
        self._is_over = True
        self._end_unheld()

    def _end_unheld(self) -> None:
        if self._is_over and not self._holders:
            # It may be let go in any thread: only the first that comes here takes it apart.
            try:
                self._whole.pop()
            except IndexError:
                return
            self._take_apart()

    def _take_apart(self) -> None:
        raise NotImplementedError


def dissolve(core: EngineCore) -> None:
    """Cut what goes round in circles among the parts of a closed engine."""
    core.keep_report()  # it is made of what is taken apart here
    for instance in core.instances.values():
        _free(instance)
    for outside in core.outsides:
        _disconnect(outside)
        outside.data_line.end()
        outside.subscriptions.clear()
    core.instances, core.lives, core.groups, core.inward = {}, {}, {}, {}
    core.outsides = []
    core.looks = None
    core.forget_all()
    core.boundary = NoNetwork(None)


def _free(instance: Instance) -> None:
    _disconnect(instance)
    for line in (instance.data_line, instance.cmd_line, instance.result_line):
        _cut(line)
    life: Any = instance.life
    del life.instance, instance.env


def _disconnect(endpoint: Endpoint) -> None:
    endpoint.cmd_routes, endpoint.flow_routes, endpoint.redirect = {}, NO_FLOW, ()


def _cut(line: Line) -> None:
    if line.passage is not None:
        for each in (line.passage.dead, *line.passage.gates):
            _cut(each)
        line.passage.gates.clear()
    parts: Any = line
    parts.owner = parts.env = parts.target = parts.passage = None
    line.entry = _NOBODY
    line.companions, line.table = (), {}


def _nowhere(msg: object) -> None:
    """Nobody sends to a line of a closed graph."""


_NOBODY = Diverted(_nowhere)


__all__ = ["Held", "dissolve"]
