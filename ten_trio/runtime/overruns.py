"""A deadline has passed: the log says why, though not for each of a thousand."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

from ..graphs import GRAPH_PROXY
from .explain import explain

if TYPE_CHECKING:
    from ..messages import Loc
    from .engine import EngineCore
    from .paths import OutPath

logger = logging.getLogger("ten_trio.runtime")

_PAUSE: Final = 10.0
"""Seconds in which one explanation is enough: what comes after it is often its consequence."""


class Overruns:
    """What the paths of one graph tell whose deadline has passed."""

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self._told = -inf
        self._untold = 0

    def tell(self, path: OutPath) -> None:
        """Look at once, while the path is there; it is in the log a moment later. Never raises.

        Trio calls this while it cancels whoever waits: no place for what logging may do.
        """
        engine = self._engine
        now = engine.expiry.now()
        if now < self._told + _PAUSE:
            self._untold += 1
            return
        self._told = now
        missed, self._untold = self._untold, 0
        since = f" ({missed} others since the last time)" if missed else ""
        who = _who(path.owner.loc)
        what = f"the deadline of command {path.cmd_name!r} from {who} has passed{since}"
        try:
            engine.start_soon(_log, f"{what}: {explain(engine)}")
        except Exception:
            logger.exception("graph %s can't be explained", engine.title)


def _who(loc: Loc) -> str:
    name = loc.extension_name or loc.app_uri or "outside"
    return "the host" if name == GRAPH_PROXY else name


async def _log(text: str) -> None:
    logger.warning("%s", text)


__all__ = ["Overruns"]
