"""Strict JSON in and out through cattrs, collecting every problem instead of the first.

The attrs classes of this package mirror their JSON objects field by field, so that one generic hook
reads them all. Nothing is coerced: `"3"` is no integer and `1` no boolean. A hook that meets
something wrong raises `Unreadable`, which carries the problems *and* what could be read; the hooks
above it go on with that, so that a wrong node doesn't hide a wrong connection.

Field metadata: `JSON_NAME` (the key, where it differs from the attribute), `REQUIRED` (the key must
be there although Python has a default), `PYTHON_ONLY` (never in JSON), `REST` (takes unknown keys).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from threading import local
from typing import Any, Final, NoReturn, TypeAlias, TypeVar, get_args, get_origin

import attrs
import cattrs
from cattrs.gen import make_dict_unstructure_fn, override

from ten_trio.errors import InvalidJson, Problem

T = TypeVar("T")

JSON_NAME = "json_name"
REQUIRED = "required"
PYTHON_ONLY = "python_only"
REST = "rest"

JsonObject = dict[str, Any]

_PLAIN_KEY = re.compile(r"[^.\[\]\"\s]+")
_BLANKS: Mapping[Any, Callable[[], Any]] = {str: str, int: int, bool: bool, float: float}
_JSON_NAMES: Mapping[type, str] = {
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "an array",
    tuple: "an array",
    dict: "an object",
    type(None): "null",
}
# So near a known key is a slip of the pen, also where unknown keys are tolerated.
_SLIP = 0.8


class Unreadable(Exception):
    """Some JSON doesn't fit. `partial` is what could be read, or `attrs.NOTHING`."""

    def __init__(self, problems: Iterable[Problem], partial: Any = attrs.NOTHING) -> None:
        super().__init__()
        self.problems = tuple(problems)
        self.partial = partial


def without_consequences(found: Iterable[Problem], causes: Iterable[Problem]) -> list[Problem]:
    """Return what was `found` wrong elsewhere than where `causes` say that something is."""
    # Of an item whose type isn't known, nothing else can be told.
    roots = [re.sub(r"(?<=\])\.type$", "", cause.path) for cause in causes]
    return [p for p in found if not any(_lies_in(p.path, root) for root in roots)]


def _lies_in(path: str, root: str) -> bool:
    return path.startswith(root) and (not root or path[len(root) : len(root) + 1] in ("", ".", "["))


def join_path(path: str, key: str | int) -> str:
    """Return the JSON path of `key` below `path`: `a.b`, `a[0]`, `a["odd key"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return f"{path}.{key}" if path else key


def below(path: str, problems: Iterable[Problem]) -> list[Problem]:
    """Return `problems`, which were found inside `path`, with their whole paths."""
    return [attrs.evolve(problem, path=_concat(path, problem.path)) for problem in problems]


def _concat(path: str, rest: str) -> str:
    return f"{path}{rest}" if not path or not rest or rest[0] == "[" else f"{path}.{rest}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return a hint that names the closest of `known`, or the few there are, or nothing."""
    if close := difflib.get_close_matches(word, known, n=1):
        return f'did you mean "{close[0]}"?'
    if 0 < len(known) <= 8:
        return "known: " + ", ".join(f'"{name}"' for name in sorted(known))
    return ""


def json_name(value: object) -> str:
    """Return what a message calls the JSON type of `value`, with its article."""
    return next(
        (name for kind, name in _JSON_NAMES.items() if isinstance(value, kind)),
        type(value).__name__,
    )


def parse_json(text: str | bytes, where: str = "") -> Any:
    """Parse JSON text. Raises `InvalidJson`, which names `where`, the line and the column."""
    prefix = f"{where}: " if where else ""

    def refuse(constant: str) -> NoReturn:
        raise InvalidJson(f"{prefix}{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise InvalidJson(
            f"{prefix}line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except (RecursionError, UnicodeDecodeError) as error:
        raise InvalidJson(f"{prefix}{error}") from error


class _Mode(local):
    """Of the thread that reads."""

    is_hasty = False
    """Whether to give up at the first thing that isn't as it has to be, as nearly everything is.

    Hooks that went on themselves would read what is inside of each other once more on every level.
    """


_MODE: Final = _Mode()


def make_converter(*, strict_keys: bool) -> cattrs.Converter:
    """Return a converter for attrs classes that mirror JSON objects.

    `strict_keys`: whether an unknown key is a problem. If not, only one that looks like a slip is.
    """
    # detailed_validation off: the hooks below keep the path themselves.
    converter = cattrs.Converter(detailed_validation=False)
    for kind in (str, bool, int, float):
        converter.register_structure_hook(kind, _strict(kind))
    converter.register_structure_hook_func(lambda kind: kind is Any, lambda value, _: value)
    converter.register_structure_hook_func(
        lambda kind: dict in (kind, _origin(kind)), _structure_object
    )
    converter.register_structure_hook_factory(
        lambda kind: _origin(kind) in (list, tuple), lambda kind: _array_hook(kind, converter)
    )
    converter.register_structure_hook_factory(
        attrs.has, lambda cls: _class_hook(cls, converter, strict_keys)
    )
    converter.register_unstructure_hook_factory(
        attrs.has, lambda cls: _unstructure_hook(cls, converter)
    )
    return converter


def read(converter: cattrs.Converter, data: object, cls: type[T]) -> tuple[T | None, list[Problem]]:
    """Structure `data`; return what could be read (None: nothing) and every problem."""
    _MODE.is_hasty = True
    try:
        return converter.structure(data, cls), []
    except Unreadable:
        pass  # once more from the beginning, to say all that is wrong
    finally:
        _MODE.is_hasty = False
    try:
        return converter.structure(data, cls), []
    except Unreadable as error:
        partial = None if error.partial is attrs.NOTHING else error.partial
        return partial, list(error.problems)


def wrong_type(value: object, expected: str) -> Unreadable:
    """Return the error for a value of another JSON type than `expected` ("a string")."""
    return Unreadable([Problem("", f"must be {expected}, not {json_name(value)}")])


def _origin(kind: Any) -> Any:
    """`get_origin` for types that mypy can't know."""
    return get_origin(kind)


def _strict(kind: type) -> Callable[[Any, Any], Any]:
    def structure(value: Any, _: Any) -> Any:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
        raise wrong_type(value, _JSON_NAMES[kind])

    return structure


def _structure_object(value: Any, _: Any) -> JsonObject:
    if not isinstance(value, Mapping):
        raise wrong_type(value, "an object")
    return dict(value)


def _array_hook(kind: Any, converter: cattrs.Converter) -> Callable[[Any, Any], Any]:
    """A hook for `list[X]` and `tuple[X, ...]`. An unreadable item is kept as a blank X, so that
    the items after it keep their indexes."""
    item_type = get_args(kind)[0]
    make = _origin(kind)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise wrong_type(value, "an array")
        if _MODE.is_hasty:
            hook = converter.get_structure_hook(item_type)
            read = [hook(item, item_type) for item in value]
            return read if make is list else make(read)
        items, problems = [], []
        for index, item in enumerate(value):
            try:
                items.append(converter.structure(item, item_type))
            except Unreadable as error:
                problems += below(f"[{index}]", error.problems)
                items.append(blank(item_type) if error.partial is attrs.NOTHING else error.partial)
        if problems:
            raise Unreadable(problems, make(items))
        return make(items)

    return structure


def blank(kind: Any) -> Any:
    """Return an empty value of `kind`, standing in for one that can't be read."""
    if attrs.has(kind):
        fields = _json_fields(kind).values()
        return kind(**{_argument(f): blank(f.type) for f in fields if f.default is attrs.NOTHING})
    if options := get_args(kind):
        origin = _origin(kind)
        if origin in (list, tuple, dict):
            return origin()
        return None if type(None) in options else blank(options[0])
    return _BLANKS.get(kind, dict)()


def _argument(field: attrs.Attribute[Any]) -> str:
    return field.alias or field.name


def _json_fields(cls: Any) -> dict[str, attrs.Attribute[Any]]:
    fields = attrs.fields(attrs.resolve_types(cls))
    return {
        field.metadata.get(JSON_NAME, field.name): field
        for field in fields
        if not field.metadata.get(PYTHON_ONLY) and not field.metadata.get(REST)
    }


def _rest_field(cls: Any) -> attrs.Attribute[Any] | None:
    return next((field for field in attrs.fields(cls) if field.metadata.get(REST)), None)


def _class_hook(
    cls: Any, converter: cattrs.Converter, strict_keys: bool
) -> Callable[[Any, Any], Any]:
    fields = _json_fields(cls)
    types: Mapping[str, Any] = {key: field.type for key, field in fields.items()}
    rest = _rest_field(cls)
    ignored: Collection[str] = getattr(cls, "json_tags", ())
    needed = [
        key
        for key, field in fields.items()
        if field.default is attrs.NOTHING or field.metadata.get(REQUIRED)
    ]
    steps: dict[str, _Step | None] = {}

    def structure(data: Any, _: Any) -> Any:
        if not _MODE.is_hasty:
            return examine(data)
        if not steps:
            # Not earlier: a class may be part of itself.
            steps.update(dict.fromkeys(ignored))
            for key, field in fields.items():
                steps[key] = _step(_argument(field), types[key], converter)
        values = {}
        try:
            for key, item in data.items():
                step = steps[key]
                if step is not None:
                    argument, plain, hook, kind = step
                    values[argument] = item if item.__class__ is plain else hook(item, kind)
        except (KeyError, AttributeError, TypeError):
            raise Unreadable(()) from None
        for key in needed:
            if key not in data:
                raise Unreadable(())
        return cls(**values)

    def examine(data: Any) -> Any:
        """Read what can be read, and say all that is wrong with the rest."""
        if not isinstance(data, Mapping):
            raise wrong_type(data, "an object")
        problems: list[Problem] = []
        values: JsonObject = {}
        for key, field in fields.items():
            must = field.default is attrs.NOTHING
            if key not in data:
                if key in needed:
                    problems.append(Problem(key, "is missing"))
                if must:
                    values[_argument(field)] = blank(field.type)
                continue
            try:
                values[_argument(field)] = converter.structure(data[key], types[key])
            except Unreadable as error:
                problems += below(key, error.problems)
                if error.partial is not attrs.NOTHING:
                    values[_argument(field)] = error.partial
                elif must:
                    values[_argument(field)] = blank(field.type)
        unknown = [key for key in data if key not in fields and key not in ignored]
        if rest is not None:
            values[_argument(rest)] = {key: data[key] for key in unknown}
        else:
            problems += _unknown_keys(unknown, fields, strict_keys)
        result = cls(**values)
        if problems:
            raise Unreadable(problems, result)
        return result

    return structure


_Step: TypeAlias = tuple[str, type | None, Callable[[Any, Any], Any], Any]
"""How one key is read: the argument; the type of values that are taken as they are; what reads
others, and the type that it makes of them."""


def _step(argument: str, kind: Any, converter: cattrs.Converter) -> _Step:
    options = get_args(kind)
    if len(options) == 2 and options[1] is type(None):
        _, plain, hook, inner = _step(argument, options[0], converter)
        return argument, plain, lambda value, _: None if value is None else hook(value, inner), kind
    return argument, kind if kind in _BLANKS else None, converter.get_structure_hook(kind), kind


def _unknown_keys(
    unknown: Iterable[str], known: Collection[str], strict: bool
) -> Iterable[Problem]:
    for key in unknown:
        if strict or difflib.get_close_matches(key, known, n=1, cutoff=_SLIP):
            yield Problem(join_path("", key), "unknown key", did_you_mean(key, known))


def _unstructure_hook(cls: Any, converter: cattrs.Converter) -> Callable[[Any], JsonObject]:
    fields = _json_fields(cls)
    overrides: dict[str, Any] = {
        field.name: override(
            rename=key,
            omit_if_default=not field.metadata.get(REQUIRED),
        )
        for key, field in fields.items()
    }
    kept = {field.name for field in fields.values()}
    overrides |= {
        field.name: override(omit=True) for field in attrs.fields(cls) if field.name not in kept
    }
    plain = make_dict_unstructure_fn(cls, converter, **overrides)
    rest = _rest_field(cls)
    if rest is None:
        return plain

    def with_rest(value: Any) -> JsonObject:
        written: JsonObject = plain(value)
        unknown: JsonObject = getattr(value, rest.name)
        return written | unknown

    return with_rest
