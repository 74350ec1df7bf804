"""The `ten.log` section of a property file, read and checked.

{"handlers": [{"matchers": [{"level": "info", "category": "ten:"}],
               "formatter": {"type": "plain", "colored": true},
               "emitter": {"type": "file", "config": {"path": "logs/app.log"}}}]}
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from ten_trio.schemas.reading import DocumentError, Reader

MAX_HANDLERS = 5
FORMATTER_VARIABLE = "TEN_LOG_FORMATTER"
"""Names the environment variable with the format used where nothing is configured."""

OFF = logging.CRITICAL + 1000
"""A level above all others."""

LEVELS: Mapping[str, int] = {
    "off": OFF,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}

# Verbose, debug, info, warn, error, fatal.
_OLDER_LEVELS: Mapping[int, int] = {
    1: logging.DEBUG,
    2: logging.DEBUG,
    3: logging.INFO,
    4: logging.WARNING,
    5: logging.ERROR,
    6: logging.CRITICAL,
}

LineFormat: TypeAlias = Literal["plain", "json"]
StreamName: TypeAlias = Literal["stdout", "stderr"]

_FORMATS: Mapping[str, LineFormat] = {"plain": "plain", "json": "json"}
_STREAMS: Mapping[str, StreamName] = {"stdout": "stdout", "stderr": "stderr"}

_EMITTERS = ("console", "file", "otlp")


class LogConfigError(DocumentError):
    """The log configuration is wrong. `problems` lists everything, with JSON paths."""


@attrs.frozen
class Matcher:
    """The lowest level that passes, for categories that begin with `category` (None: the rest)."""

    level: int
    category: str | None = None


@attrs.frozen
class HandlerConfig:
    """One handler: what passes, how it is written, and where to.

    `path` is the file, or None for the console, then `stream` counts. `where` is the JSON path.
    """

    matchers: tuple[Matcher, ...]
    format: LineFormat = "plain"
    colored: bool = False
    stream: StreamName = "stderr"
    path: str | None = None
    where: str = ""

    def threshold(self, category: str) -> int:
        """Return the lowest level at which a record of this category passes.

        Of the matchers whose category is a prefix the last one decides; if there is none, the last
        matcher without a category; if there is none either, nothing passes.
        """
        level = OFF
        matched = False
        for matcher in self.matchers:
            if matcher.category is None:
                if not matched:
                    level = matcher.level
            elif category.startswith(matcher.category):
                level = matcher.level
                matched = True
        return level

    @property
    def lowest_level(self) -> int:
        """The level below which nothing passes, whatever its category."""
        return min((matcher.level for matcher in self.matchers), default=OFF)


def read_log_config(
    config: Mapping[str, object] | None, where: str = "ten.log"
) -> tuple[HandlerConfig, ...]:
    """Check a `ten.log` section; None stands for the default: everything to stderr, in colour.

    Raises:
        LogConfigError: the section, or TEN_LOG_FORMATTER, is wrong; all problems at once.
    """
    problems = Reader(config, where, [])
    if config is None:
        handlers: tuple[HandlerConfig, ...] = (_default(problems),)
    elif "level" in config and "handlers" not in config:
        handlers = (_read_older(problems),)
    else:
        handlers = _read_handlers(problems)
    if problems.problems:
        raise LogConfigError(problems.problems)
    return handlers


def _default(root: Reader) -> HandlerConfig:
    wanted = os.environ.get(FORMATTER_VARIABLE) or "plain"
    variable = attrs.evolve(root, value=wanted.lower(), path=FORMATTER_VARIABLE)
    line_format = _FORMATS.get(variable.choice(_FORMATS.keys()) or "", "plain")
    # See https://no-color.org
    colored = not os.environ.get("NO_COLOR")
    return HandlerConfig((Matcher(logging.DEBUG),), line_format, colored)


def _read_older(root: Reader) -> HandlerConfig:
    """`{"level": 3}`, perhaps with a `file`: the section as it was before there were handlers."""
    default = _default(root)
    if not root.is_object({"level", "file", "encryption"}):
        return default
    _refuse_encryption(root)
    level, file = root.get("level"), root.get("file")
    number = level.expect(int) if level else None
    if level and number is not None and number not in _OLDER_LEVELS:
        level.problem(f"no such level: {number}", "2 is debug, 3 info, 4 warn, 5 error")
    return attrs.evolve(
        default,
        matchers=(Matcher(_OLDER_LEVELS.get(number or 0, logging.DEBUG)),),
        path=file.text() if file else None,
        colored=default.colored and file is None,
    )


def _read_handlers(root: Reader) -> tuple[HandlerConfig, ...]:
    handlers = root.require("handlers") if root.is_object({"handlers"}) else None
    if handlers is None:
        return ()
    readers = list(handlers.items())
    if len(readers) > MAX_HANDLERS:
        handlers.problem(f"at most {MAX_HANDLERS} handlers, found {len(readers)}")
    return tuple(_read_handler(reader) for reader in readers)


def _read_handler(reader: Reader) -> HandlerConfig:
    config = HandlerConfig((), where=reader.path)
    if not reader.is_object({"matchers", "formatter", "emitter"}):
        return config
    if matchers := reader.require("matchers"):
        config = attrs.evolve(config, matchers=tuple(map(_read_matcher, matchers.items())))
    if formatter := reader.require("formatter"):
        config = _read_formatter(formatter, config)
    if emitter := reader.require("emitter"):
        config = _read_emitter(emitter, config)
    return config


def _read_matcher(reader: Reader) -> Matcher:
    if not reader.is_object({"level", "category"}):
        return Matcher(OFF)
    level = reader.require("level")
    name = level.choice(LEVELS.keys()) if level else None
    category = reader.get("category")
    return Matcher(LEVELS.get(name or "", OFF), category.expect(str) if category else None)


def _read_formatter(reader: Reader, config: HandlerConfig) -> HandlerConfig:
    if not reader.is_object({"type", "colored"}):
        return config
    kind = reader.require("type")
    name = kind.choice(_FORMATS.keys()) if kind else None
    colored = reader.get("colored")
    return attrs.evolve(
        config,
        format=_FORMATS.get(name or "", "plain"),
        colored=bool(colored.expect(bool)) if colored else False,
    )


def _read_emitter(reader: Reader, config: HandlerConfig) -> HandlerConfig:
    if not reader.is_object({"type", "config"}):
        return config
    kind = reader.require("type")
    name = kind.choice(_EMITTERS) if kind else None
    if kind and name == "otlp":
        kind.problem('emitter "otlp" is not supported yet', 'use "console" or "file"')
    details = reader.require("config")
    if not details:
        return config
    if name == "console" and details.is_object({"stream", "encryption"}):
        _refuse_encryption(details)
        stream = details.require("stream")
        choice = stream.choice(_STREAMS.keys()) if stream else None
        return attrs.evolve(config, stream=_STREAMS.get(choice or "", "stderr"))
    if name == "file" and details.is_object({"path", "encryption"}):
        _refuse_encryption(details)
        path = details.require("path")
        return attrs.evolve(config, path=path.text() if path else None)
    return config


def _refuse_encryption(details: Reader) -> None:
    """Encrypted logs are not supported; saying `"enabled": false` is fine."""
    encryption = details.get("encryption")
    if encryption is None or not encryption.is_object():
        return
    enabled = encryption.get("enabled")
    if enabled is None or enabled.value is not False:
        encryption.problem("encrypted logs are not supported", 'remove it or set "enabled": false')
