"""A private copy of the runtime's hot path with some statements left out, for one measurement.

An edit is written as Python: the statements to find in a function of the package, and those to put in
their place.  `...` as a whole block stands for any block, and in the new statements for the first that
was found so.  The changed source is compiled and swapped in, in this process only; an edit that doesn't
fit the source any more is an error.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, ModuleType
from typing import Any


@dataclass(frozen=True)
class Edit:
    """Statements of `function` and what takes their place."""

    function: Any
    old: str
    new: str = ""


@dataclass(frozen=True)
class StandIn:
    """Another object under a name that the package uses."""

    module: ModuleType
    name: str
    value: object


class DoesNotFit(Exception):
    """The package's source has changed, and the edit with it has to."""


def check_fit(changes: Sequence[Edit | StandIn]) -> None:
    """Raises `DoesNotFit`."""
    _compiled(tuple(change for change in changes if isinstance(change, Edit)))


@contextmanager
def changed(changes: Sequence[Edit | StandIn]) -> Iterator[None]:
    """Run the block with the changes; what starts in it keeps them."""
    edits = tuple(change for change in changes if isinstance(change, Edit))
    originals: list[tuple[Any, CodeType]] = []
    names: list[StandIn] = []
    try:
        for function, code in _compiled(edits):
            originals.append((function, function.__code__))
            function.__code__ = code
        for change in changes:
            if isinstance(change, StandIn):
                names.append(
                    StandIn(change.module, change.name, getattr(change.module, change.name))
                )
                setattr(change.module, change.name, change.value)
        yield
    finally:
        for name in names:
            setattr(name.module, name.name, name.value)
        for function, code in originals:
            function.__code__ = code


@cache
def _compiled(edits: tuple[Edit, ...]) -> list[tuple[Any, CodeType]]:
    # By name, not in a set: the order of the edits matters where one contains another.
    functions = dict.fromkeys(edit.function for edit in edits)
    return [
        (function, _compile(function, [edit for edit in edits if edit.function is function]))
        for function in functions
    ]


def _compile(function: Any, edits: Sequence[Edit]) -> CodeType:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for edit in edits:
        old, new = _statements(edit.old), _statements(edit.new)
        found = sum(_replace(node, old, new) for node in list(ast.walk(tree)))
        if found != 1:
            raise DoesNotFit(
                f"found {found} times in {function.__qualname__}, not once:\n"
                f"{textwrap.dedent(edit.old).strip()}"
            )
    ast.fix_missing_locations(tree)
    name = f"<private copy of {function.__qualname__}>"
    module = compile(tree, name, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    return next(const for const in module.co_consts if isinstance(const, CodeType))


def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(textwrap.dedent(source)).body


def _replace(node: ast.AST, old: list[ast.stmt], new: list[ast.stmt]) -> int:
    """Replace `old` in the blocks of `node`; how often it was there."""
    found = 0
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        for start in range(len(block) - len(old) + 1):
            blocks: list[list[ast.stmt]] = []
            if _is_like(old, block[start : start + len(old)], blocks):
                found += 1
                block[start : start + len(old)] = blocks[0] if _is_any_block(new) else new
                break
        if name == "body" and not block:
            block.append(ast.Pass())
    return found


def _is_like(pattern: Any, node: Any, blocks: list[list[ast.stmt]]) -> bool:
    """Whether `node` is what `pattern` says; adds to `blocks` what `...` stands for."""
    if isinstance(pattern, list):
        if _is_any_block(pattern) and node:
            blocks.append(node)
            return True
        return len(pattern) == len(node) and all(
            _is_like(each, other, blocks) for each, other in zip(pattern, node, strict=True)
        )
    if isinstance(pattern, ast.AST):
        return type(pattern) is type(node) and all(
            _is_like(getattr(pattern, name, None), getattr(node, name, None), blocks)
            for name in pattern._fields
        )
    return bool(pattern == node)


def _is_any_block(statements: list[Any]) -> bool:
    return (
        len(statements) == 1
        and isinstance(statements[0], ast.Expr)
        and isinstance(statements[0].value, ast.Constant)
        and statements[0].value.value is ...
    )
