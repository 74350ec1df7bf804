"""Addons: the names that a graph's nodes give, and how each makes an extension."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import itertools
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ..errors import AddonNotFound
from .extension import Extension

logger = logging.getLogger("ten_trio.runtime")

FactoryT = TypeVar("FactoryT", bound=Callable[..., Any])

ENTRY_POINT_GROUP = "ten_trio.addons"
_FOLDERS = ("ten_packages/extension", "extensions")
_MODULES = ("__init__.py", "extension.py", "addon.py")
_app_numbers = itertools.count(1)


@attrs.frozen
class Addon:
    """What a node's addon name stands for."""

    name: str
    factory: Callable[..., Any]
    """An `Extension` subclass, or a function, plain or async, that makes an extension; called with
    the node's name if it takes an argument."""
    base_dir: Path | None = None
    """Where its manifest.json and property.json are, if it has any."""

    async def create(self, name: str) -> Extension:
        """A new extension for the node `name`. Raises what the factory raises, and `TypeError`."""
        extension = self.factory(name) if _takes_name(self.factory) else self.factory()
        if inspect.isawaitable(extension):
            extension = await extension
        if not isinstance(extension, Extension):
            raise TypeError(
                f"addon {self.name!r} made {type(extension).__name__}, not a ten_trio.Extension"
            )
        return extension


@lru_cache(maxsize=1_024)
def _takes_name(factory: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:
        return False
    return any(
        p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        for p in parameters
    )


class AddonStore:
    """Addons by name. The first registration of a name counts."""

    def __init__(self) -> None:
        self._addons: dict[str, Addon] = {}

    def register(
        self, name: str, factory: Callable[..., Any], base_dir: Path | str | None = None
    ) -> None:
        """Make `factory` known as `name`. A second registration is ignored, with a warning."""
        if name in self._addons:
            if self._addons[name].factory is not factory:
                logger.warning("addon %r is registered already: the first one counts", name)
            return
        self._addons[name] = Addon(name, factory, None if base_dir is None else Path(base_dir))

    def unregister(self, name: str) -> None:
        """Forget `name`. Raises `AddonNotFound`."""
        if self._addons.pop(name, None) is None:
            raise AddonNotFound(f"no addon {name!r} is registered")

    def get(self, name: str) -> Addon | None:
        """The addon of that name, or None."""
        return self._addons.get(name)

    def names(self) -> set[str]:
        """Every name that is registered here."""
        return set(self._addons)


addons = AddonStore()
"""The addons of this process, whichever app uses them."""

_registering: ContextVar[tuple[AddonStore, Path | None]] = ContextVar(
    "ten_trio_registering", default=(addons, None)
)


def addon(name: str, *, base_dir: Path | str | None = None) -> Callable[[FactoryT], FactoryT]:
    """Decorator: make an `Extension` class, or a function that makes extensions, known as `name`.

    In a module of an app's folder it registers with that app, and `base_dir` is the module's folder.
    """

    def register(factory: FactoryT) -> FactoryT:
        store, folder = _registering.get()
        store.register(name, factory, base_dir or folder)
        return factory

    return register


class AppAddons(AddonStore):
    """The addons that one app can use: its own, the process's, its folder's, then entry points."""

    def __init__(self) -> None:
        super().__init__()
        self._prefix = f"ten_trio_app_{next(_app_numbers)}"

    def find(self, name: str | Callable[..., Any], base_dir: Path | None) -> Addon:
        """The addon of a node. Raises `AddonNotFound`, or what importing its module raises."""
        if not isinstance(name, str):
            if not callable(name):
                raise TypeError(
                    f"a node's addon is a name, an extension class or a factory, "
                    f"not an object of class {type(name).__qualname__}"
                )
            return Addon(getattr(name, "__qualname__", repr(name)), name, _class_dir(name))
        found = self.get(name) or addons.get(name)
        if found is None and base_dir is not None:
            found = self._from_folder(name, base_dir)
        if found is None:
            found = self._from_entry_point(name)
        if found is None:
            known = self.known(base_dir)
            close = difflib.get_close_matches(name, known, 1)
            if close:
                hint = f'; did you mean "{close[0]}"?'
            else:
                hint = f"; known: {sorted(known)}" if known else "; there are no addons here"
            raise AddonNotFound(f'unknown addon "{name}"{hint}')
        return found

    def known(self, base_dir: Path | None) -> set[str]:
        """Every name that `find` would find."""
        names = self.names() | addons.names()
        names |= {point.name for point in entry_points(group=ENTRY_POINT_GROUP)}
        return names | {name for name, _ in _modules(base_dir)}

    def load_all(self, base_dir: Path | None) -> None:
        """Import every addon of the app's folder (`ten.addon.preload_all`)."""
        for name, file in _modules(base_dir):
            self._import(name, file)

    def close(self) -> None:
        """Forget the modules that were imported from the app's folder."""
        for name in [name for name in sys.modules if name.startswith(f"{self._prefix}_")]:
            del sys.modules[name]

    def _from_folder(self, name: str, base_dir: Path) -> Addon | None:
        file = next((file for known, file in _modules(base_dir) if known == name), None)
        if file is None:
            return None
        self._import(name, file)
        found = self.get(name)
        if found is None:
            raise AddonNotFound(f'{file} registers no addon "{name}"')
        return found

    def _import(self, name: str, file: Path) -> None:
        module_name = f"{self._prefix}_{name}"
        if module_name in sys.modules:
            return
        folder = file.parent
        token = _registering.set((self, folder))
        try:
            load_module(module_name, file, is_package=folder.name == name)
        finally:
            _registering.reset(token)

    def _from_entry_point(self, name: str) -> Addon | None:
        for point in entry_points(group=ENTRY_POINT_GROUP, name=name):
            self.register(name, point.load())
        return self.get(name)


def load_module(name: str, file: Path, *, is_package: bool) -> None:
    """Import `file` as the module `name`; a package finds others next to it. Raises what that raises."""
    spec = importlib.util.spec_from_file_location(
        name, file, submodule_search_locations=[str(file.parent)] if is_package else None
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def _modules(base_dir: Path | None) -> Iterator[tuple[str, Path]]:
    """The addons' modules in an app's folder, by the name that each ought to register."""
    for folder in () if base_dir is None else [base_dir / name for name in _FOLDERS]:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir():
                files = [path / module for module in _MODULES if (path / module).is_file()]
                yield from [(path.name, file) for file in files[:1]]
            elif path.suffix == ".py" and not path.name.startswith("_"):
                yield path.stem, path


def _class_dir(factory: Callable[..., Any]) -> Path | None:
    folder = getattr(factory, "base_dir", None)
    return Path(folder) if folder is not None else None
