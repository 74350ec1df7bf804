"""Commands that the runtime itself carries out, and what it sends because of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final, Self, final

from .base import NAME_FIELD, MsgType
from .command import CREATED, ID_FIELDS, Cmd
from .fields import Field, boolean, int32, string, uint32, uint64
from .location import Dest
from .values import from_json

Dests = Dest | Iterable[Dest] | None
Props = Mapping[str, Any] | None


class Control(Cmd):
    """The base of the commands to and from the runtime. Their names are fixed."""

    __slots__ = ()

    is_plain = False
    can_clone = False

    _own: ClassVar[tuple[str, ...]] = ()
    """The attributes that this type has besides those of all commands."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._own = tuple(vars(cls).get("__slots__", ()))
        if cls.type is not MsgType.TIMEOUT:
            CREATED.setdefault(f"ten:{cls.type.text}", cls)

    def __init__(
        self, properties: Props = None, /, *, dest: Dests = None, seq_id: str = ""
    ) -> None:
        super().__init__(f"ten:{self.type.text}", properties, dest=dest, seq_id=seq_id)

    def _shell(self) -> Self:
        shell = type(self).__new__(type(self))
        for slot in (*_COMMON, *self._own):
            setattr(shell, slot, getattr(self, slot))
        shell._left = None
        self._shared = shell._shared = True
        shell._dests = ()
        shell._line = None
        return shell


_COMMON: Final = ("_props", "name", "_src", "_turn", "_id", "_parent_id", "_path", "seq_id")


@final
class StartGraph(Control):
    """Starts a graph: one that is predefined in the app, or that of a definition.

    `graph` may hold a definition that has been built in Python, in place of `graph_json`.
    """

    __slots__ = (
        *("graph", "graph_json", "long_running_mode"),
        *("predefined_graph_name", "sync_stop_before_deinit"),
    )

    type = MsgType.START_GRAPH
    can_clone = True

    _fields: ClassVar[Mapping[str, Field]] = {
        **ID_FIELDS,
        "long_running_mode": Field("long_running_mode", boolean, has_path=False),
        "sync_stop_before_deinit": Field("sync_stop_before_deinit", boolean, has_path=False),
        "predefined_graph_name": Field("predefined_graph_name", string, has_path=False),
        "graph_json": Field("graph_json", string, has_path=False),
    }

    def __init__(
        self,
        properties: Props = None,
        /,
        *,
        predefined_graph_name: str = "",
        graph_json: str = "",
        graph: Any = None,
        long_running_mode: bool = False,
        sync_stop_before_deinit: bool = False,
        dest: Dests = None,
        seq_id: str = "",
    ) -> None:
        super().__init__(properties, dest=dest, seq_id=seq_id)
        self.graph = graph
        self.graph_json = ""
        if graph_json:
            self.set_graph_from_json(graph_json)
        self.set_predefined_graph_name(predefined_graph_name)
        self.set_long_running_mode(long_running_mode)
        self.set_sync_stop_before_deinit(sync_stop_before_deinit)

    def set_predefined_graph_name(self, name: str) -> None:
        """Start the graph that the app has predefined under this name."""
        self.predefined_graph_name = string(name)

    def set_graph_from_json(self, text: str) -> None:
        """Start the graph of this definition, which is checked only when the graph is started.

        Raises `InvalidJson` if it isn't JSON.
        """
        from_json(string(text))
        self.graph_json = text

    def set_long_running_mode(self, long_running_mode: bool) -> None:
        """Say whether the graph stays when its last connection has gone."""
        self.long_running_mode = boolean(long_running_mode)

    def set_sync_stop_before_deinit(self, sync_stop_before_deinit: bool) -> None:
        """Say whether every extension has to have stopped before the first is de-initialised."""
        self.sync_stop_before_deinit = boolean(sync_stop_before_deinit)


@final
class StopGraph(Control):
    """Stops a graph: the one with this id, or without one the graph it is sent in."""

    __slots__ = ("graph_id",)

    type = MsgType.STOP_GRAPH
    _fields: ClassVar[Mapping[str, Field]] = {
        **ID_FIELDS,
        "graph_id": Field("graph_id", string, has_path=False),
    }

    def __init__(
        self,
        properties: Props = None,
        /,
        *,
        graph_id: str = "",
        dest: Dests = None,
        seq_id: str = "",
    ) -> None:
        super().__init__(properties, dest=dest, seq_id=seq_id)
        self.set_graph_id(graph_id)

    def get_graph_id(self) -> str:
        """Return the id of the graph to stop; empty means one's own."""
        return self.graph_id

    def set_graph_id(self, graph_id: str) -> None:
        """Set the id of the graph to stop; empty means one's own."""
        self.graph_id = string(graph_id)


@final
class CloseApp(Control):
    """Closes the app."""

    __slots__ = ()

    type = MsgType.CLOSE_APP
    _fields: ClassVar[Mapping[str, Field]] = {**ID_FIELDS}


@final
class Timer(Control):
    """Starts or cancels a timer; when it runs out, its sender receives a `Timeout`.

    `timeout_us` is in microseconds, `times` says how often (`FOREVER`: until cancelled).
    """

    __slots__ = ("timeout_us", "timer_id", "times")

    type = MsgType.TIMER

    FOREVER: ClassVar[int] = 0
    CANCEL: ClassVar[int] = -1

    _fields: ClassVar[Mapping[str, Field]] = {
        "name": NAME_FIELD,
        **ID_FIELDS,
        "timer_id": Field("timer_id", uint32),
        "timeout_us": Field("timeout_us", uint64),
        "times": Field("times", int32),
    }

    def __init__(
        self,
        properties: Props = None,
        /,
        *,
        timer_id: int = 0,
        timeout_us: int = 0,
        times: int = FOREVER,
        dest: Dests = None,
        seq_id: str = "",
    ) -> None:
        super().__init__(properties, dest=dest, seq_id=seq_id)
        self.set_timer_id(timer_id)
        self.set_timeout_us(timeout_us)
        self.set_times(times)

    def set_timer_id(self, timer_id: int) -> None:
        """Set the number of the timer, unique for its sender."""
        self.timer_id = uint32(timer_id)

    def set_timeout_us(self, timeout_us: int) -> None:
        """Set the time between timeouts, in microseconds."""
        self.timeout_us = uint64(timeout_us)

    def set_times(self, times: int) -> None:
        """Set how often it runs out; 0 is for ever, -1 cancels the timer."""
        self.times = int32(times)


@final
class Timeout(Control):
    """Says that a timer has run out. Only the runtime makes it; nobody answers it."""

    __slots__ = ("timer_id",)

    type = MsgType.TIMEOUT
    _fields: ClassVar[Mapping[str, Field]] = {
        **ID_FIELDS,
        "timer_id": Field("timer_id", uint32, has_path=False),
    }

    def __init__(
        self,
        properties: Props = None,
        /,
        *,
        timer_id: int = 0,
        dest: Dests = None,
        seq_id: str = "",
    ) -> None:
        super().__init__(properties, dest=dest, seq_id=seq_id)
        self.timer_id = uint32(timer_id)

    def get_timer_id(self) -> int:
        """Return the number of the timer."""
        return self.timer_id


@final
class TriggerLifeCycle(Control):
    """Starts or stops an extension that waits for it: `stage` is `start` or `stop`."""

    __slots__ = ("stage",)

    type = MsgType.TRIGGER_LIFE_CYCLE
    _fields: ClassVar[Mapping[str, Field]] = {
        **ID_FIELDS,
        "stage": Field("stage", string, has_path=False),
    }

    def __init__(
        self,
        properties: Props = None,
        /,
        *,
        stage: str = "",
        dest: Dests = None,
        seq_id: str = "",
    ) -> None:
        super().__init__(properties, dest=dest, seq_id=seq_id)
        self.set_stage(stage)

    def get_stage(self) -> str:
        """Return the stage."""
        return self.stage

    def set_stage(self, stage: str) -> None:
        """Set the stage."""
        self.stage = string(stage)
