"""Configure where the logs of ten_trio go.

Underneath is the standard `logging` module; all loggers here are called `ten_trio` or
`ten_trio.<something>`. As a library ten_trio configures nothing: its records go wherever the host
application's logging sends them. An app with a `ten.log` section enters `configure_logs(section)`;
while that session is open, its handlers replace those of the logger `ten_trio`, and nothing reaches
the root logger. The root logger itself is never touched.

Records are written synchronously, by the thread that logs: when a log call returns, the line has
been handed to the operating system. Failing to write (a full disk) is reported on stderr by
`logging` and never raised in the code that logs.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, TextIO

import attrs

from ten_trio.errors import Problem
from ten_trio.runtime.log import FRAMEWORK_LOGGER, LogLevel as LogLevel, TenLogger as TenLogger

from .log_config import (
    OFF,
    HandlerConfig,
    LogConfigError as LogConfigError,
    StreamName,
    read_log_config,
)
from .log_lines import JsonFormatter, PlainFormatter, category_of

_LOGGER = logging.getLogger(FRAMEWORK_LOGGER)
# Without it `logging` would print warnings of an unconfigured library to stderr.
_LOGGER.addHandler(logging.NullHandler())


class ConsoleHandler(logging.Handler):
    """Writes to what `sys.stdout` or `sys.stderr` is by then (tests and notebooks swap it)."""

    def __init__(self, stream: StreamName) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line and flush."""
        try:
            stream: TextIO | None = getattr(sys, self._stream)
            if stream is None:  # a windowed process has no console
                return
            line = self.format(record) + "\n"
            try:
                stream.write(line)
            except UnicodeEncodeError as error:
                encoding = error.encoding
                stream.write(line.encode(encoding, "backslashreplace").decode(encoding))
            stream.flush()
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - whatever it is, logging must not break the caller
            self.handleError(record)


class RotatableFileHandler(logging.FileHandler):
    """Appends to a file, whose folders it makes; `reopen` it when it has been moved away."""

    def __init__(self, path: str) -> None:
        super().__init__(path, mode="a", encoding="utf-8", errors="backslashreplace")

        self._is_done = False

    def reopen(self) -> None:
        """Let go of the file; the next line opens (and if need be makes) it again."""
        self.acquire()
        try:
            if self.stream is not None:
                self.stream.close()
                self.stream = None
        finally:
            self.release()

    def close(self) -> None:
        """Close the file for good."""
        self._is_done = True
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; open the file first if it isn't."""
        # The base class would open the file again after `close`, for a thread that logs meanwhile,
        # and would let an error from opening it out into the code that logs.
        if self._is_done:
            return
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(parents=True, exist_ok=True)
        return super()._open()


@attrs.define(eq=False)
class _HostState:
    """How the host application had set up the logger `ten_trio`."""

    handlers: list[logging.Handler]
    level: int
    propagate: bool

    @classmethod
    def save(cls) -> _HostState:
        return cls(list(_LOGGER.handlers), _LOGGER.level, _LOGGER.propagate)

    def restore(self) -> None:
        _LOGGER.handlers = self.handlers
        _LOGGER.setLevel(self.level)
        _LOGGER.propagate = self.propagate


class LogSession:
    """A log configuration while it is in force: a context manager, good for one use.

    Sessions may overlap (several apps in one process): the newest open one counts, and when it
    closes, the one before it, in whatever order they close. With the last one the logger is as it
    was before the first.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _open_sessions: ClassVar[list[LogSession]] = []
    _host: ClassVar[_HostState | None] = None

    def __init__(self, handlers: list[logging.Handler], level: int) -> None:
        self._handlers = handlers
        self._level = level
        self._is_used = False

    def reopen(self) -> None:
        """Reopen all log files, after log rotation; from any thread, or on SIGHUP."""
        for handler in self._handlers:
            if isinstance(handler, RotatableFileHandler):
                handler.reopen()

    def close(self) -> None:
        """Put the previous state back and close the files; harmless if done already."""
        with LogSession._lock:
            self._is_used = True
            if self in LogSession._open_sessions:
                LogSession._open_sessions.remove(self)
                LogSession._apply()
        for handler in self._handlers:
            handler.close()

    def __enter__(self) -> Self:
        with LogSession._lock:
            if self._is_used:
                raise RuntimeError("a log session can be entered once; call configure_logs again")
            self._is_used = True
            if LogSession._host is None:
                LogSession._host = _HostState.save()
            LogSession._open_sessions.append(self)
            LogSession._apply()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def _apply(cls) -> None:
        """Put the newest open session in force, or else the state of the host."""
        if cls._open_sessions:
            newest = cls._open_sessions[-1]
            _LOGGER.handlers = list(newest._handlers)
            _LOGGER.setLevel(newest._level)
            _LOGGER.propagate = False
        elif cls._host is not None:
            cls._host.restore()
            cls._host = None


def configure_logs(config: Mapping[str, object] | None, *, where: str = "ten.log") -> LogSession:
    """Make the session for a `ten.log` section; it is in force inside its `with` block.

    None stands for an app without such a section: everything from DEBUG up goes to stderr, plain
    and in colour (not if NO_COLOR is set); the environment variable TEN_LOG_FORMATTER may say
    `json` instead. Relative file paths start at the working directory. Files are opened here.
    `where` is the JSON path of the section, for error messages. `colored` has no effect on `json`.

    Raises:
        LogConfigError: a ConfigError that lists all problems, each with its JSON path; also for
            files that can't be opened, and for encryption and `otlp`, which are not supported.
    """
    configs = read_log_config(config, where)
    handlers: list[logging.Handler] = []
    problems: list[Problem] = []
    for each in configs:
        try:
            handlers.append(_make_handler(each))
        except (OSError, ValueError) as error:
            path = f"{each.where}.emitter.config.path"
            problems.append(Problem(path, f"can't open {each.path}: {error}"))
    if problems:
        for handler in handlers:
            handler.close()
        raise LogConfigError(problems)
    return LogSession(handlers, min((each.lowest_level for each in configs), default=OFF))


def _make_handler(config: HandlerConfig) -> logging.Handler:
    handler: logging.Handler
    if config.path is None:
        handler = ConsoleHandler(config.stream)
    else:
        handler = RotatableFileHandler(config.path)
    if config.format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(PlainFormatter(colored=config.colored))
    handler.addFilter(lambda record: record.levelno >= config.threshold(category_of(record)))
    return handler
