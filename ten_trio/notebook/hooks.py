"""What has to happen around cells: a crash shows itself, and the end of the kernel closes apps."""

from __future__ import annotations

import atexit
import logging
import sys
from importlib import import_module
from typing import Any, Protocol

from . import html

logger = logging.getLogger("ten_trio.notebook")


class Closable(Protocol):
    """An app that lives between cells."""

    def close_quickly(self) -> bool:
        """Close it; whether that was done in time."""

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """What has failed in it and wasn't shown."""


_apps: list[Closable] = []
_shells: list[Any] = []


def remember(app: Closable) -> None:
    """`app` is open."""
    if not _apps:
        atexit.unregister(close_all)
        atexit.register(close_all)
    _apps.append(app)
    shell = current_shell()
    if shell is not None and not any(known is shell for known in _shells):
        _shells.append(shell)
        shell.events.register("pre_run_cell", show_failures)
        shell.events.register("post_run_cell", show_failures)
        # A kernel hears of its end here first, while new threads may still be started.
        if shell.has_trait("exit_now"):
            shell.observe(_exits, names="exit_now")


def _exits(change: Any) -> None:
    if change["new"]:
        close_all()


def forget(app: Closable) -> None:
    """`app` is being closed by itself."""
    if any(known is app for known in _apps):
        show_failures()
        _apps[:] = [known for known in _apps if known is not app]


def close_all() -> None:
    """The interpreter ends."""
    for app in reversed(_apps.copy()):
        if not app.close_quickly():
            logger.error("%r could not be closed in time", app)


def show_failures(*_: object) -> None:
    """Show what has crashed since the last cell. What uses it raises that as well."""
    for app in _apps:
        for what, failure in app.take_failures():
            if current_shell() is not None:
                publish(html.crash(what, failure))
            else:
                logger.error("%s has failed", what, exc_info=failure)


def current_shell() -> Any:
    """IPython's, if this runs in it; else None. Doesn't import it."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def publish(bundle: dict[str, Any], display_id: str | None = None, *, update: bool = False) -> None:
    """Show something in the cell that runs, in the place of an earlier one with `update`."""
    display: Any = import_module("IPython.display").display
    if display_id is None:
        display(bundle, raw=True)
    else:
        display(bundle, raw=True, display_id=display_id, update=update)
