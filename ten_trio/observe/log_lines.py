"""How a log record becomes a line: plain text for people, JSON for machines."""

from __future__ import annotations

import json
import logging
import math
import re
import threading
import time
from collections.abc import Mapping

from ten_trio.runtime.log import FRAMEWORK_LOGGER

FRAMEWORK_CATEGORY = "ten:runtime"

_MAX_DEPTH = 16

_RESET = "\x1b[0m"
_COLORS = {"D": "\x1b[36m", "I": "\x1b[32m", "W": "\x1b[33m", "E": "\x1b[31m"}

_BARE_VALUE = re.compile(r"[^\s\"'=\\\x00-\x1f\x7f]+")


def category_of(record: logging.LogRecord) -> str:
    """Return the category of a record: its own, else that of the runtime for the runtime's logs."""
    category = getattr(record, "category", None)
    if category is not None:
        return str(category)
    ours = record.name == FRAMEWORK_LOGGER or record.name.startswith(FRAMEWORK_LOGGER + ".")
    return FRAMEWORK_CATEGORY if ours else ""


def fields_of(record: logging.LogRecord) -> Mapping[str, object]:
    """Return the fields of a record, given as `extra={"fields": {...}}`."""
    fields = getattr(record, "fields", None)
    if not isinstance(fields, Mapping):
        return {}
    return {str(key): value for key, value in fields.items()}


def level_name(level: int) -> str:
    """Return DEBUG, INFO, WARN or ERROR, whichever a level of `logging` counts as."""
    if level >= logging.ERROR:
        return "ERROR"
    if level >= logging.WARNING:
        return "WARN"
    return "INFO" if level >= logging.INFO else "DEBUG"


def timestamp(record: logging.LogRecord) -> str:
    """Return when a record was made: RFC 3339, UTC, microseconds."""
    seconds = int(record.created)
    micros = int((record.created - seconds) * 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{micros:06d}Z"


def thread_id(record: logging.LogRecord) -> int:
    """Return the system's id of the thread that logged, as `top` or `gdb` show it."""
    if record.thread == threading.get_ident():
        return threading.get_native_id()
    return record.thread or 0


class LineFormatter(logging.Formatter):
    """What both formats share: the text of an exception or a stack, if the record has one."""

    def traceback_of(self, record: logging.LogRecord) -> str:
        """Return the traceback and the stack of a record, or an empty string."""
        parts = []
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            parts.append(record.exc_text)
        if record.stack_info:
            parts.append(self.formatStack(record.stack_info))
        return "\n".join(parts)


class PlainFormatter(LineFormatter):
    """`time pid(tid) LEVEL [category] function@file:line message k=v …`, tracebacks below."""

    def __init__(self, *, colored: bool = False) -> None:
        super().__init__()
        self._colored = colored

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without a newline at its end."""
        letter = level_name(record.levelno)[0]
        where = f"{record.funcName}@{record.filename}:{record.lineno}"
        if self._colored:
            letter = f"{_COLORS[letter]}{letter}{_RESET}"
        head = [timestamp(record), f"{record.process}({thread_id(record)})", letter]
        if category := category_of(record):
            head.append(category)
        fields = [
            f"{_field_text(key)}={_field_text(value)}" for key, value in fields_of(record).items()
        ]
        line = " ".join([*head, where, record.getMessage(), *fields])
        if traceback := self.traceback_of(record):
            line = f"{line}\n{traceback}"
        return line


class JsonFormatter(LineFormatter):
    """One JSON object per line, the fields at its top level.

    A field that is called like one of the standard keys appears as `fields.<key>`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the object as one line, without a newline at its end."""
        content: dict[str, object] = {
            "timestamp": timestamp(record),
            "level": level_name(record.levelno),
            "category": category_of(record),
            "pid": record.process,
            "tid": thread_id(record),
            "function": record.funcName,
            "file": record.filename,
            "line": record.lineno,
            "message": record.getMessage(),
        }
        if traceback := self.traceback_of(record):
            content["exception"] = traceback
        standard = set(content)
        for key, value in fields_of(record).items():
            content[f"fields.{key}" if key in standard else key] = _jsonable(value)
        return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _field_text(value: object) -> str:
    """Return the value of a field, quoted if it would not be clear where it ends."""
    if isinstance(value, str):
        return value if _BARE_VALUE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
    return json.dumps(_jsonable(value), ensure_ascii=False)


def _jsonable(value: object, depth: int = 0) -> object:
    """Return a copy that JSON can express; what it can't express appears as text."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if depth < _MAX_DEPTH:
        if isinstance(value, Mapping):
            return {str(key): _jsonable(each, depth + 1) for key, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [_jsonable(each, depth + 1) for each in value]
    return str(value)
