"""The property.json of an app: its settings under `ten`, and the user's own properties."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ten_trio.errors import GraphError, Problem
from ten_trio.graphs.checks import app_problem, check_predefined, null_problems
from ten_trio.graphs.definition import PredefinedGraph
from ten_trio.graphs.loading import STRICT, located, read_text
from ten_trio.graphs.placeholders import resolve
from ten_trio.graphs.reading import (
    PYTHON_ONLY,
    REST,
    JsonObject,
    below,
    parse_json,
    read,
    without_consequences,
    wrong_type,
)

FILE_NAME = "property.json"
TEN = "ten"
LEGACY_TEN = "_ten"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.")


@attrs.define
class AddonSettings:
    """`preload_all`: load every addon with the app, not when a graph first needs it."""

    preload_all: bool = False
    other: JsonObject = attrs.field(factory=dict, metadata={REST: True})


@attrs.frozen
class PathTimeout:
    """How long a command waits for its result, in microseconds; None is the default."""

    in_path: int | None = None
    out_path: int | None = None


@attrs.define
class AppProperty:
    """What an app is configured with. Times are in microseconds, as in the file.

    `log`, `deprecated_log`, `services` and `network` are kept as they are written, `listen` (where
    it listens, besides its `uri`) and `network` for `ten_trio.network`; `other` has the keys of the
    `ten` section that mean nothing here; `property` the user's own properties. Python only:
    `legacy_key` (the section is called `_ten`), `file` and `base_dir` (where it was loaded from).
    """

    uri: str | None = None
    one_event_loop_per_engine: bool = False
    long_running_mode: bool = False
    predefined_graphs: list[PredefinedGraph] = attrs.field(factory=list)
    log: JsonObject | None = None
    deprecated_log: JsonObject | None = None
    services: JsonObject | None = None
    addon: AddonSettings = attrs.field(factory=AddonSettings)
    path_timeout: PathTimeout | None = None
    path_check_interval: int | None = None
    log_level: int | None = None
    log_file: str | None = None
    listen: list[str] = attrs.field(factory=list)
    network: JsonObject | None = None
    other: JsonObject = attrs.field(factory=dict, metadata={REST: True})
    property: JsonObject = attrs.field(factory=dict, metadata={PYTHON_ONLY: True}, kw_only=True)
    legacy_key: bool = attrs.field(default=False, metadata={PYTHON_ONLY: True}, kw_only=True)
    file: Path | None = attrs.field(
        default=None, eq=False, metadata={PYTHON_ONLY: True}, kw_only=True
    )
    base_dir: Path | None = attrs.field(
        default=None, eq=False, metadata={PYTHON_ONLY: True}, kw_only=True
    )

    @classmethod
    def from_json(
        cls,
        source: str | bytes | Mapping[str, Any],
        where: str = "",
        *,
        environ: Mapping[str, str] | None = None,
        base_dir: Path | None = None,
        file: Path | None = None,
    ) -> AppProperty:
        """Read an app's properties from JSON text, or from the objects it was parsed into.

        Args:
            source: The content of a property.json.
            where: Its name, put before the paths in messages.
            environ: Replace placeholders from these variables, except in graphs (their nodes do
                that when they start); None leaves them.
            base_dir: The app's folder, where imported graphs are looked for.
            file: Noted on the result.

        Raises:
            InvalidJson: The text is not JSON.
            MissingVariable: A placeholder can't be replaced.
            GraphError: `problems` lists everything that is wrong, in the graphs too.
        """
        data = parse_json(source, where) if isinstance(source, str | bytes) else source
        if not isinstance(data, Mapping):
            raise GraphError(located(wrong_type(data, "an object").problems, where))
        if environ is not None:
            data = _resolved(data, environ, where)
        key = LEGACY_TEN if LEGACY_TEN in data and TEN not in data else TEN
        settings, problems = read(STRICT, data.get(key, {}), cls)
        problems = below(key, problems)
        if TEN in data and LEGACY_TEN in data:
            problems.append(Problem(LEGACY_TEN, f'excludes "{TEN}", its newer name'))
        user = {k: value for k, value in data.items() if k not in (TEN, LEGACY_TEN)}
        for name, value in user.items():
            problems += null_problems(value, name)
        if settings is not None:
            problems += without_consequences(below(key, settings.problems()), problems)
        if problems or settings is None:
            raise GraphError(located(problems, where))
        settings.property = user
        settings.legacy_key = key == LEGACY_TEN
        settings.file, settings.base_dir = file, base_dir
        for predefined in settings.predefined_graphs:
            predefined.graph.file, predefined.graph.base_dir = file, base_dir
        return settings

    def graph(self, name: str) -> PredefinedGraph | None:
        """Return the predefined graph called `name`, if there is one."""
        return next((g for g in self.predefined_graphs if g.name == name), None)

    def problems(self) -> Iterator[Problem]:
        """Yield everything that is wrong, with paths that start at the `ten` section."""
        if self.uri is not None and (problem := _uri_problem(self.uri)):
            yield problem
        for index, uri in enumerate(self.listen):
            if problem := _no_uri(f"listen[{index}]", uri):
                yield problem
        timeout = self.path_timeout or PathTimeout()
        times = {
            "path_timeout.in_path": timeout.in_path,
            "path_timeout.out_path": timeout.out_path,
            "path_check_interval": self.path_check_interval,
        }
        for path, value in times.items():
            if value is not None and value <= 0:
                yield Problem(path, f"must be positive (microseconds), not {value}")
        kept = {
            "log": self.log,
            "deprecated_log": self.deprecated_log,
            "services": self.services,
            "network": self.network,
        }
        for path, section in (kept | self.other).items():
            if section is not None or path in self.other:
                yield from null_problems(section, path)
        first: dict[str, int] = {}
        for index, predefined in enumerate(self.predefined_graphs):
            path = f"predefined_graphs[{index}]"
            yield from check_predefined(predefined, where=path)
            if not predefined.name:
                yield Problem(f"{path}.name", "is empty")
            elif (earlier := first.setdefault(predefined.name, index)) != index:
                message = f'duplicate graph "{predefined.name}": predefined_graphs[{earlier}]'
                yield Problem(f"{path}.name", f"{message} has this name")

    def to_dict(self) -> JsonObject:
        """Return the content of the property.json. Raises `GraphError` as `Graph.to_dict` does."""
        for index, predefined in enumerate(self.predefined_graphs):
            try:
                predefined.graph.to_dict()
            except GraphError as error:
                path = f"{TEN}.predefined_graphs[{index}].graph"
                raise GraphError(below(path, error.problems)) from None
        section = STRICT.unstructure(self)
        key = LEGACY_TEN if self.legacy_key else TEN
        return ({key: section} if section else {}) | self.property

    def to_json(self, indent: int | None = 2) -> str:
        """Return the text of the property.json."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)


def load_app_property(path: str | Path, environ: Mapping[str, str] | None = None) -> AppProperty:
    """Read an app's property.json.

    Args:
        path: The file, or the app's folder (an app needs no property.json).
        environ: See `AppProperty.from_json`.

    Raises:
        ConfigError: The file, or the folder, can't be read.
        InvalidJson, MissingVariable, GraphError: See `AppProperty.from_json`.
    """
    given = Path(path)
    file = given / FILE_NAME if given.is_dir() else given
    if given.is_dir() and not file.exists():
        return AppProperty(base_dir=given.resolve())
    text = read_text(file)
    resolved = file.resolve()
    return AppProperty.from_json(
        text, str(file), environ=environ, base_dir=resolved.parent, file=resolved
    )


def _resolved(data: Mapping[str, Any], environ: Mapping[str, str], where: str) -> JsonObject:
    """Replace placeholders everywhere but in the graphs, which keep theirs until they start."""
    kept = {
        key: section["predefined_graphs"]
        for key in (TEN, LEGACY_TEN)
        if isinstance(section := data.get(key), Mapping) and "predefined_graphs" in section
    }
    without = {
        key: {k: v for k, v in value.items() if k != "predefined_graphs"} if key in kept else value
        for key, value in data.items()
    }
    resolved: JsonObject = resolve(without, environ, where)
    return resolved | {
        key: {**resolved[key], "predefined_graphs": graphs} for key, graphs in kept.items()
    }


def _uri_problem(uri: str) -> Problem | None:
    return app_problem("uri", uri) or _no_uri("uri", uri)


def _no_uri(path: str, uri: str) -> Problem | None:
    if not _SCHEME.match(uri):
        if uri.startswith("${env:"):
            return None  # what it stands for is checked when it is replaced
        return Problem(path, f'"{uri}" is not a URI', "for example msgpack://127.0.0.1:8001/")
    return None


def _structure_timeout(data: Any, cls: type[PathTimeout]) -> PathTimeout:
    if type(data) is int:
        return PathTimeout(data, data)
    if not isinstance(data, Mapping):
        raise wrong_type(data, "an integer or an object")
    return _generic_timeout(data, cls)


def _unstructure_timeout(timeout: PathTimeout) -> int | JsonObject:
    if timeout.in_path == timeout.out_path and timeout.in_path is not None:
        return timeout.in_path
    written: JsonObject = _plain_timeout(timeout)
    return written


_generic_timeout: Callable[[Any, Any], PathTimeout] = STRICT.get_structure_hook(PathTimeout)
_plain_timeout: Callable[[PathTimeout], JsonObject] = STRICT.get_unstructure_hook(PathTimeout)
STRICT.register_structure_hook(PathTimeout, _structure_timeout)
STRICT.register_unstructure_hook(PathTimeout, _unstructure_timeout)
