"""The logger behind `env.log_info` and its siblings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from enum import IntEnum

from .log_lines import FRAMEWORK_LOGGER

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
