"""What an extension logs: `env.log_info` and its siblings, and the logger behind them.

Where it goes is `ten_trio.observe.configure_logs`' business, or that of the host application.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import IntEnum

FRAMEWORK_LOGGER = "ten_trio"
"""Name of the logger above all others here."""

EXTENSION_LOGGER = f"{FRAMEWORK_LOGGER}.extension"
"""Name of the logger that all instances share; the instance is named in the message."""


class LogLevel(IntEnum):
    """The levels of TEN. Wherever a level is expected, one of `logging` (10, 20 …) will do too."""

    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4


_LOGGING_LEVELS: Mapping[int, int] = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARN: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}


class TenLogger:
    """Logs for one instance (of an extension, an app …): `[name] message`, category and fields.

    A line is written before the call returns; writing to a slow file or terminal takes its time
    from the Trio loop.
    """

    __slots__ = ("_logger", "_prefix")

    def __init__(self, instance_name: str, logger: str = EXTENSION_LOGGER) -> None:
        self._prefix = f"[{instance_name}] "
        self._logger = logging.getLogger(logger)

    def is_enabled(self, level: int) -> bool:
        """Say whether a message of this level would be looked at by anybody."""
        return self._logger.isEnabledFor(_LOGGING_LEVELS.get(level, level))

    def log(
        self,
        level: int,
        msg: str,
        category: str | None = None,
        fields: Mapping[str, object] | None = None,
        *,
        stacklevel: int = 1,
    ) -> None:
        """Log a message as it stands: `%` and braces in it have no meaning.

        A wrapper adds 1 to `stacklevel` so that the line names the wrapper's caller.
        """
        number = _LOGGING_LEVELS.get(level, level)
        if not self._logger.isEnabledFor(number):
            return
        extra = {"category": category or "", "fields": fields or {}}
        self._logger.log(number, self._prefix + msg, extra=extra, stacklevel=stacklevel + 1)


class Logging:
    """The logging half of `TenEnv`. Unlike the rest of it, it may be used from any thread.

    The lines name the extension and the place of the call. `category` is what the matchers of
    `ten.log` go by; `fields` are written after the message, or as JSON next to it.
    """

    __slots__ = ()

    _logger: TenLogger | None

    @property
    def name(self) -> str:
        """Who logs."""
        raise NotImplementedError

    def log(
        self,
        level: int,
        msg: str,
        category: str | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> None:
        """Log a message as it stands at a `LogLevel`, or at a level of `logging`."""
        self._log(level, msg, category, fields)

    def log_debug(
        self, msg: str, category: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        """Log what only somebody who looks for a mistake wants to read."""
        self._log(LogLevel.DEBUG, msg, category, fields)

    def log_info(
        self, msg: str, category: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        """Log what happens in the ordinary course of things."""
        self._log(LogLevel.INFO, msg, category, fields)

    def log_warn(
        self, msg: str, category: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        """Log what may be a mistake."""
        self._log(LogLevel.WARN, msg, category, fields)

    def log_error(
        self, msg: str, category: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        """Log what went wrong."""
        self._log(LogLevel.ERROR, msg, category, fields)

    def _log(
        self, level: int, msg: str, category: str | None, fields: Mapping[str, object] | None
    ) -> None:
        logger = self._logger
        if logger is None:
            # Only made when something is logged: idle extensions are many.  (The slot is the heir's.)
            logger = self._logger = TenLogger(self.name)  # type: ignore[misc]
        logger.log(level, msg, category, fields, stacklevel=3)


__all__ = ["EXTENSION_LOGGER", "FRAMEWORK_LOGGER", "LogLevel", "Logging", "TenLogger"]
