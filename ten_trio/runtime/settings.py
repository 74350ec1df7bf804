"""How one extension is run: the settings of its class, with those of its node over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

from ..graphs.reading import did_you_mean

if TYPE_CHECKING:
    from .extension import Extension, OnError


def _one_of(*choices: object) -> Callable[[object, attrs.Attribute[Any], Any], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
        if value not in choices:
            known = ", ".join(map(repr, choices))
            raise ValueError(f"{attribute.name} must be one of {known}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Settings:
    """How one extension is run: its class's settings with the node's over them."""

    inline: bool = attrs.field(default=True, validator=_one_of(True, False))
    cmd_handlers: str = attrs.field(default="concurrent", validator=_one_of("concurrent", "serial"))
    data_handlers: str = attrs.field(default="serial", validator=_one_of("concurrent", "serial"))
    on_error: OnError = attrs.field(
        default="stop_graph", validator=_one_of("stop_graph", "isolate", "restart")
    )
    cancel_abandoned: bool = attrs.field(default=False, validator=_one_of(True, False))

    @classmethod
    def of(cls, extension: Extension, node: Mapping[str, Any]) -> Settings:
        """The settings of `extension` in a node. Raises `ValueError` or `TypeError`."""
        values = _of_class(extension)
        if node:
            for name in node:
                if name not in _NAMES:
                    hint = did_you_mean(name, _NAMES)
                    raise TypeError(f'unknown setting "{name}"; {hint}')
            values = tuple(map(node.get, _NAMES, values))
        return _settings(*values)


_NAMES = tuple(attrs.fields_dict(Settings))
_of_class = attrgetter(*_NAMES)


@lru_cache(maxsize=256)
def _settings(*values: Any) -> Settings:
    return Settings(**dict(zip(_NAMES, values, strict=True)))
