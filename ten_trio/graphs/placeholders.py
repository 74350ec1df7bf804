"""Placeholders: `${env:NAME}` and `${env:NAME|default}` as a whole string value.

A backslash takes the character after it literally, in the name and in the default. The result is
always text. A string of another form, or with another scope than `env`, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ten_trio.errors import MissingVariable
from ten_trio.graphs.reading import join_path


def resolve(tree: Any, environ: Mapping[str, str], where: str = "") -> Any:
    """Return `tree` (JSON values) with every placeholder in it replaced.

    Containers are copied only where something in them changes.

    Args:
        tree: Objects, arrays and scalars, as deep as you like.
        environ: Where the variables are; usually `os.environ`.
        where: What `tree` is, for messages: a file, or a node's name.

    Raises:
        MissingVariable: Variables are missing that have no default. The message names them all;
            `file` is `where`, `path` the JSON path of the first.
    """
    missing: list[tuple[str, str]] = []
    resolved = _resolve(tree, environ, "", missing)
    if missing:
        places = "; ".join(
            f"{path or 'value'}: environment variable {name} is not set" for path, name in missing
        )
        hint = "set it, or write a default: ${env:NAME|default}"
        text = f"{where}: {places} ({hint})" if where else f"{places} ({hint})"
        raise MissingVariable(text, file=where, path=missing[0][0])
    return resolved


def _resolve(
    value: Any, environ: Mapping[str, str], path: str, missing: list[tuple[str, str]]
) -> Any:
    if isinstance(value, str):
        found = parse(value)
        if found is None:
            return value
        name, default = found
        text = environ.get(name, default)
        if text is None:
            missing.append((path, name))
        return text
    if isinstance(value, Mapping):
        new = {k: _resolve(v, environ, join_path(path, k), missing) for k, v in value.items()}
        return new if any(new[key] is not value[key] for key in new) else value
    if isinstance(value, list):
        items = [_resolve(v, environ, f"{path}[{i}]", missing) for i, v in enumerate(value)]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    return value


def parse(text: str) -> tuple[str, str | None] | None:
    """Return (variable, default or None) if `text` is an `env` placeholder, else None."""
    if not (text.startswith("${env:") and text.endswith("}")):
        return None
    name: list[str] = []
    default: list[str] | None = None
    characters = iter(text[len("${env:") : -1])
    for character in characters:
        literal = character == "\\"
        if literal:
            character = next(characters, "\\")
        if character == "|" and not literal and default is None:
            default = []
        else:
            (name if default is None else default).append(character)
    if not name:
        return None
    return "".join(name), None if default is None else "".join(default)
