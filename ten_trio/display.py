"""The door to rich displays: what a notebook asks a value for, made only when it asks."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Displayed:
    """A value that notebooks show as more than text. How is the business of `ten_trio.notebook`,
    which is loaded by the first that is shown."""

    __slots__ = ()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        bundle: dict[str, Any] = import_module("ten_trio.notebook.displays").bundle(self)
        return bundle


__all__ = ["Displayed"]
