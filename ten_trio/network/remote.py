"""One remote: an app or a client that takes part in one graph, as an endpoint of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Cmd, Loc, Msg, StartGraph, StatusCode
from ..runtime.paths import OutPath
from .codec import WireMsg
from .peer import Link, Peer

if TYPE_CHECKING:
    from ..runtime.lines import Line
    from .remotes import Remotes


class Remote(Peer):
    """An app or a client that takes part in one graph."""

    __slots__ = ("_remotes", "is_app", "is_weak")

    def __init__(
        self, remotes: Remotes, uri: str, link: Link, *, is_app: bool, is_weak: bool = False
    ) -> None:
        super().__init__(remotes.core, uri, link, remotes.settings)
        self._remotes = remotes
        self.is_app = is_app
        self.is_weak = is_weak

    def is_busy(self) -> bool:
        """Whether a command is in flight, in whichever direction."""
        return bool(self.in_paths or self.out_paths)

    def written(self, batch: list[WireMsg]) -> None:
        """These have been handed to the system, and there is room again: unless another connection
        has taken the place of this one, whose lines have been emptied then."""
        if self._remotes.is_current(self):
            super().written(batch)

    def route_cmd(self, cmd: Cmd, dest: Loc, path: OutPath) -> None:
        """To an extension, along the exposed messages, to another graph, or to the app."""
        engine = self.engine
        if not cmd.is_plain and isinstance(cmd, StartGraph):
            self._remotes.start_graph(self, cmd, path)
        elif not cmd.is_plain and not dest.extension_name:
            self._remotes.control(self, cmd, path)
        elif dest.app_uri and not engine.app.is_here(dest.app_uri):
            detail = f"Could not find suitable remote based on uri: {dest.app_uri}"
            path.answer(StatusCode.ERROR, detail)
        elif (graph_id := self._graph_id(dest)) == engine.graph_id:
            if engine.takes_now:
                engine.admit_cmd(dest.extension_name, cmd, path)
            else:
                engine.when_created(lambda: engine.admit_cmd(dest.extension_name, cmd, path))
        else:
            there = Loc(engine.app.uri, graph_id, dest.extension_name)
            engine.app.forward_cmd(there, cmd, path, engine)

    def route_data(self, msg: Msg, dest: Loc) -> None:
        """Likewise."""
        engine = self.engine
        if dest.app_uri and not engine.app.is_here(dest.app_uri):
            return
        graph_id = self._graph_id(dest)
        if graph_id == engine.graph_id:
            if engine.takes_now:
                self._admit(msg, dest)
            else:
                engine.when_created(lambda: self._admit(msg, dest))
        else:
            there = Loc(engine.app.uri, graph_id, dest.extension_name)
            engine.app.forward_data(there, msg, engine)

    def _admit(self, msg: Msg, dest: Loc) -> None:
        full: Line | None = self.engine.admit_data(dest.extension_name, msg)
        if full is not None:
            self.fullest = full

    def _graph_id(self, dest: Loc) -> str:
        own = self.engine.graph_id
        if not dest.graph_id or dest.graph_id == own:
            return own
        return self.engine.app.graph_id_of(dest.graph_id)
