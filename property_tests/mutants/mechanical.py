"""Faults that nobody has thought of: operators, constants and branches changed at random, by a seed.

`python -m property_tests.mutants.mechanical [--number N] [--seed S] [--only TEXT]` changes one function of
runtime/ or network/ at a time and runs the tests of that module and the properties of that area; it prints
each change that nothing notices, and how many of all were noticed.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import random
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module
from types import FunctionType, ModuleType

import attrs

from .fault import Outdated, _function, compiled
from .plugin_name import CHANGE, PLUGIN_OF_CHANGES
from .trial import AT_A_TIME, HUNG, ROOT

PACKAGES = ("runtime", "network")
LONGEST = 1_800
WANTED = 0.9
"""The part of the changes that has to be noticed."""

_SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
_PROPERTIES = {
    "runtime": "order overtaking commands_end relays policies close lifecycle turns turn_blocks "
    "timeouts conservation conversions flow",
    "network": "links apps codecs migration",
}


@attrs.frozen
class Change:
    """The `index`th place of a function where something can be changed."""

    module: str
    function: str
    index: int

    @property
    def text(self) -> str:
        """As it is given to another process."""
        return f"{self.module}:{self.function}:{self.index}"

    @classmethod
    def of(cls, text: str) -> Change:
        """What `text` says."""
        module, function, index = text.split(":")
        return cls(module, function, int(index))

    def make(self) -> str:
        """Change the function, in this process; what was changed, for people."""
        function = dict(_functions(import_module(self.module)))[self.function]
        tree, begin = _tree(function)
        place = list(_places(tree))[self.index]
        before = ast.unparse(place)
        _alter(place)
        after = ast.unparse(place)
        ast.fix_missing_locations(tree)
        function.__code__ = compiled(function, tree, self.text)
        line = getattr(place, "lineno", begin)  # of the file, now that it is compiled
        return f"{self.module}:{line} {self.function}: {before}  ->  {after}"


def _functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    for name, found in vars(module).items():
        if getattr(found, "__module__", "") != module.__name__:
            continue
        members = vars(found).items() if inspect.isclass(found) else [("", found)]
        for inner, member in members:
            try:
                function = _function(member)
            except Exception:  # noqa: BLE001 - no function: nothing to change
                continue
            # Not what attrs has made.
            is_ours = function.__code__.co_filename == module.__file__
            if is_ours and function.__name__ != "<lambda>":
                yield f"{name}.{inner}" if inner else name, function


def _tree(function: FunctionType) -> tuple[ast.Module, int]:
    lines, begin = inspect.getsourcelines(function)
    return ast.parse(textwrap.dedent("".join(lines))), begin


def _places(tree: ast.Module) -> Iterator[ast.AST]:
    (definition,) = tree.body
    if not isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for statement in definition.body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            continue  # the docstring
        for node in ast.walk(statement):
            if _is_told(node):
                continue
            if (
                (isinstance(node, ast.Compare) and type(node.ops[0]) in _SWAPS)
                or (isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in _SWAPS)
                or (isinstance(node, ast.Constant) and type(node.value) in (bool, int))
                or isinstance(node, ast.If | ast.While | ast.IfExp)
                or (isinstance(node, ast.AugAssign) and type(node.op) in _SWAPS)
            ):
                yield node


def _is_told(node: ast.AST) -> bool:
    """Whether it only makes a text for people: what nobody tests, and needn't."""
    return isinstance(node, ast.JoinedStr | ast.FormattedValue)


def _alter(node: ast.AST) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = _SWAPS[type(node.ops[0])]()  # type: ignore[call-overload]
    elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign):
        node.op = _SWAPS[type(node.op)]()  # type: ignore[assignment]
    elif isinstance(node, ast.Constant):
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)


def all_changes() -> list[Change]:
    """Every place in the two packages."""
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / "ten_trio" / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for function, value in _functions(import_module(name)):
                tree, _ = _tree(value)
                if not _fits(value):
                    continue
                number = len(list(_places(tree)))
                found += [Change(name, function, index) for index in range(number)]
    return found


def _fits(function: FunctionType) -> bool:
    """Whether its source is what runs: some functions are made of others while ten_trio is loaded."""
    try:
        compiled(function, _tree(function)[0], function.__name__)
    except Outdated:
        return False
    return True


def tests_of(module: str) -> list[str]:
    """The tests of a module's folder, its own first, and the properties of its area."""
    _, package, *rest = module.split(".")
    folder = ROOT / "tests" / package
    own = folder / f"test_{rest[-1]}.py" if rest else folder
    others = [path for path in sorted(folder.glob("test_*.py")) if path != own]
    properties = [f"property_tests/test_{name}.py" for name in _PROPERTIES[package].split()]
    paths = [*([own] if own.is_file() else []), *others]
    return [*(str(path.relative_to(ROOT)) for path in paths), *properties]


def is_noticed(change: Change) -> bool:
    """Whether any test fails with it. That they take all too long doesn't count."""
    command = [
        *(sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-rN"),
        *("-p", PLUGIN_OF_CHANGES, "--tb=no", "--no-header"),
        *(f"--timeout={HUNG}", "--timeout-method=thread"),
    ]
    environment = {**os.environ, CHANGE: change.text, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["HYPOTHESIS_PROFILE"] = "dev"
    try:
        tried = subprocess.run(
            [*command, *tests_of(change.module)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False  # a single test that hangs has failed long before
    return tried.returncode != 0


def main() -> None:
    """Try, print what nothing has noticed, and the figures; status 1 below nine in ten."""
    parser = argparse.ArgumentParser(prog="python -m property_tests.mutants.mechanical")
    parser.add_argument("--number", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a module's name")
    options = parser.parse_args()
    places = [change for change in all_changes() if options.only in change.module]
    chooser = random.Random(options.seed)
    changes = chooser.sample(places, min(options.number, len(places)))
    noticed: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        trials = {pool.submit(is_noticed, change): change for change in changes}
        for trial in as_completed(trials):
            change = trials[trial]
            package = change.module.split(".")[1]
            tried[package] += 1
            if not tried.total() % 10:
                print(f"{noticed.total()} of the first {tried.total() - 1} noticed", flush=True)
            noticed[package] += trial.result()
            if not trial.result():
                print(f"survives: {_described(change)}", flush=True)
    for package, number in tried.items():
        print(f"{package}: {noticed[package]} of {number} noticed")
    if noticed.total() < WANTED * tried.total():
        raise SystemExit(f"only {noticed.total()} of {tried.total()} are noticed")


def _described(change: Change) -> str:
    """In a process of its own, since telling it means making it."""
    code = f"from {__package__}.mechanical import Change; print(Change.of({change.text!r}).make())"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or change.text


if __name__ == "__main__":
    main()
