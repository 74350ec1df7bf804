"""A fault: one piece of one function's source, replaced by another.

The function keeps its identity and gets new code, so that whoever already holds it (a dispatch table, a
bound method, an import by name) runs the fault as well.  A piece that isn't there any more, or is there
twice, is an error: a fault that can't be put in would otherwise count as one that was.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import textwrap
from functools import cached_property
from importlib import import_module
from types import CodeType, FunctionType
from typing import Any

import attrs


class Outdated(Exception):
    """The source isn't what the fault was written for."""


@attrs.frozen(slots=False)
class Fault:
    """One small fault. `place` is `module:function` below ten_trio, methods as `Class.method`."""

    name: str
    place: str
    before: str
    after: str
    tests: str
    """The property tests that are likely to notice it, which are tried first: file names without
    `test_` and `.py`, separated by blanks. With a folder: those of single cases, in tests/."""

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Those tests, as paths from the root of the project."""
        found = []
        for name in self.tests.split():
            folder, _, file = name.rpartition("/")
            found.append(f"{f'tests/{folder}' if folder else 'property_tests'}/test_{file}.py")
        return tuple(found)

    @property
    def function(self) -> FunctionType:
        """What is changed. Raises `Outdated` if there is no such function."""
        module, _, path = self.place.partition(":")
        found: Any = import_module(f"ten_trio.{module}")
        for part in path.split("."):
            try:
                found = inspect.getattr_static(found, part)
            except AttributeError:
                raise Outdated(f"{self.name}: there is no {self.place}") from None
        return _function(found)

    def changed(self) -> CodeType:
        """The code with the fault. Raises `Outdated`."""
        function = self.function
        source = textwrap.dedent(inspect.getsource(function))
        number = source.count(self.before)
        if number != 1:
            raise Outdated(
                f"{self.name}: {self.place} has {number} times {self.before!r}, not once"
            )
        return recompiled(function, source.replace(self.before, self.after), self.name)

    def put_in(self) -> None:
        """Make the fault, for the rest of this process. Raises `Outdated`."""
        self.function.__code__ = self.changed()


def _function(found: Any) -> FunctionType:
    while not isinstance(found, FunctionType):
        for attribute in ("fget", "__func__", "__wrapped__"):
            inner = getattr(found, attribute, None)
            if inner is not None:
                found = inner
                break
        else:
            raise Outdated(f"{found!r} has no source of its own")
    return inspect.unwrap(found)  # type: ignore[return-value]


def recompiled(function: FunctionType, source: str, name: str) -> CodeType:
    """The code of `function` as `source` has it instead. Raises `Outdated` if it doesn't fit in."""
    tree = ast.parse(source)
    return compiled(function, tree, name)


def compiled(function: FunctionType, tree: ast.Module, name: str) -> CodeType:
    """Likewise, of a tree whose only statement is the function."""
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    definition.decorator_list = []
    code = function.__code__
    ast.increment_lineno(tree, code.co_firstlineno - 1)
    if code.co_freevars:
        # So that it closes over the same names: that is how `super()` finds its class.
        outer = ast.parse(f"def outer({', '.join(code.co_freevars)}):\n    pass")
        outer.body[0].body = [definition]  # type: ignore[attr-defined]
        tree = outer
    flags = __future__.annotations.compiler_flag
    made = compile(tree, code.co_filename, "exec", flags=flags, dont_inherit=True)
    found = _inner(made, function.__name__)
    if found is None or found.co_freevars != code.co_freevars:
        raise Outdated(f"{name}: the changed {function.__qualname__} doesn't fit in its place")
    # Python 3.11 keeps the qualified name here as well.
    return found.replace(co_qualname=code.co_qualname)


def _inner(code: CodeType, name: str) -> CodeType | None:
    for const in code.co_consts:
        if isinstance(const, CodeType):
            if const.co_name == name:
                return const
            if (found := _inner(const, name)) is not None:
                return found
    return None
