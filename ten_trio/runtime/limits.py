"""Every bound of the runtime in one frozen object: sizes, counts and times."""

from __future__ import annotations

from typing import Any, Literal

import attrs

Overflow = Literal["drop_newest", "drop_oldest", "error"]


def _positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if not value > 0:
        raise ValueError(f"limits.{attribute.name} must be positive, not {value!r}")


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of one app and of every graph it runs. Times are in seconds.

    Raises `ValueError` for a bound that is not positive.
    """

    queue: int = attrs.field(default=256, validator=_positive)
    """Data and frames waiting at one receiver before its senders wait for room."""
    hard_queue: int = attrs.field(default=12_800, validator=_positive)
    """Where a sender that must not wait is refused too, and `overflow` applies."""
    overflow: Overflow = attrs.field(
        default="drop_newest",
        validator=attrs.validators.in_(("drop_newest", "drop_oldest", "error")),
    )
    """What happens to data beyond `hard_queue`."""
    pending_cmds: int = attrs.field(default=10_000, validator=_positive)
    """Unanswered commands at one receiver before the next is answered with ERROR `busy`."""
    host_queue: int = attrs.field(default=1_024, validator=_positive)
    """Messages kept for one subscription of the code that opened a graph."""
    slice: int = attrs.field(default=64, validator=_positive)
    """Messages that one drain handles before it lets other tasks run."""
    slice_seconds: float = attrs.field(default=0.0005, validator=_positive)
    """The same in time: whichever is reached first."""
    idle_workers: int = attrs.field(default=2, validator=_positive)
    """Drain tasks of one group kept for the next handler that waits."""
    demote_after: int = attrs.field(default=8, validator=_positive)
    """Handlers in a row that must not wait before an empty own lane is given up."""
    path_timeout: float = attrs.field(default=180.0, validator=_positive)
    """How long a command may stay unanswered; `inf` is allowed."""
    start_timeout: float = attrs.field(default=60.0, validator=_positive)
    """How long `open_graph` waits for every `on_start`."""
    grace: float = attrs.field(default=5.0, validator=_positive)
    """How long an orderly close may take in all."""
    turn_grace: float = attrs.field(default=1.0, validator=_positive)
    """How long the cancelling of a turn waits for an extension's `on_turn_cancelled`."""
    cleanup: float = attrs.field(default=1.0, validator=_positive)
    """What cancelled code gets on top of `grace` for its cleanup."""
    restarts: int = attrs.field(default=3, validator=_positive)
    """Restarts of one extension within `restart_window` before its graph stops."""
    restart_window: float = attrs.field(default=60.0, validator=_positive)
    loop_patience: float = attrs.field(default=0.5, validator=_positive)
    """How long `explain` waits for a graph with a loop of its own before it looks at its thread."""
    watchdog: float | None = attrs.field(
        default=None, validator=attrs.validators.optional(_positive)
    )
    """How long a loop may be kept from going on before that is logged, and by whom; None: for ever."""

    def __attrs_post_init__(self) -> None:
        if self.hard_queue < self.queue:
            raise ValueError(
                f"limits.hard_queue ({self.hard_queue}) is below limits.queue ({self.queue})"
            )
