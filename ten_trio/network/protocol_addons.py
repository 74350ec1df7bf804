"""Protocols of others: a codec in one file, found by its decorator, in an app's folder or installed.

In an app's folder they lie where the original keeps them, `ten_packages/protocol/NAME/`: a
manifest.json that says for which URI schemes it is and which transport carries it, and a module with
the codec. A folder without one of ours, with a library for the original for instance, is passed over.
"""

from __future__ import annotations

import itertools
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Final, TypeVar

from ..errors import ConfigError
from ..runtime.addons import load_module
from ..schemas import Manifest, load_manifest
from .codec import Codec, CodecLimits
from .protocols import REGISTERED, WireProtocol
from .transport import Transport

logger = logging.getLogger("ten_trio.network")

MakeCodec = Callable[[CodecLimits], Codec]
MakeCodecT = TypeVar("MakeCodecT", bound=MakeCodec)

_FOLDER: Final = "ten_packages/protocol"
_MODULES: Final = ("__init__.py", "protocol.py", "addon.py")
_numbers = itertools.count(1)


class _Loading:
    """The module of a folder that is being imported, and what its decorator says."""

    def __init__(self, manifest: Manifest) -> None:
        self.schemes = dict.fromkeys(manifest.protocol, manifest.transport_type)
        self.found: list[WireProtocol] = []


_loading: ContextVar[_Loading | None] = ContextVar("ten_trio_loading_protocol", default=None)


def protocol(
    name: str, schemes: Mapping[str, str | Transport] | None = None
) -> Callable[[MakeCodecT], MakeCodecT]:
    """Decorator: make a codec, or a function that makes codecs, known as the protocol `name`.

    What is decorated is called with `CodecLimits`, once for each connection.  `schemes` are those of
    `WireProtocol`: which URI schemes it is for, and the transport for each.  Without them, the
    manifest says in an app's folder; elsewhere the scheme is called as the protocol, and it is
    carried by TCP.

    In an app's folder it is known to that app, else to the whole process, from then on.
    """

    def register(make: MakeCodecT) -> MakeCodecT:
        loading = _loading.get()
        if loading is not None:
            loading.found.append(WireProtocol(name, schemes or loading.schemes, make))
            return make
        made = WireProtocol(name, schemes or {name: "tcp"}, make)
        for scheme in made.schemes:
            if scheme in REGISTERED:
                logger.warning("protocol %r: %s:// is registered already", name, scheme)
            else:
                REGISTERED[scheme] = made
        return make

    return register


class FolderProtocols:
    """The protocols in the folder of one app. A module is imported when its scheme is asked for."""

    def __init__(self, base_dir: Path | None) -> None:
        self._base_dir = base_dir
        self._prefix = f"ten_trio_protocols_{next(_numbers)}"
        self._packages: dict[str, tuple[Manifest, Path]] | None = None

    @property
    def schemes(self) -> list[str]:
        """Those that the manifests name. Raises `ManifestError`."""
        return sorted(self._known())

    def find(self, scheme: str) -> WireProtocol | None:
        """The protocol for a scheme, if one is here.

        Raises `ManifestError`, `ConfigError` if its module has none, and what importing it raises.
        """
        found = self._known().get(scheme)
        if found is None:
            return None
        manifest, file = found
        for made in self._load(manifest, file):
            if scheme in made.schemes:
                return made
        raise ConfigError(
            f"{file} has no codec for {scheme}://: decorate it with @protocol({manifest.name!r})",
            file=str(file),
        )

    def close(self) -> None:
        """Forget the modules that were imported."""
        for name in [name for name in sys.modules if name.startswith(f"{self._prefix}_")]:
            del sys.modules[name]

    def _known(self) -> dict[str, tuple[Manifest, Path]]:
        if self._packages is None:
            self._packages = {}
            for manifest, file in self._read():
                for scheme in manifest.protocol:
                    self._packages.setdefault(scheme, (manifest, file))
        return self._packages

    def _read(self) -> Iterator[tuple[Manifest, Path]]:
        folder = None if self._base_dir is None else self._base_dir / _FOLDER
        for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
            modules = [path / name for name in _MODULES if (path / name).is_file()]
            if modules and (path / "manifest.json").is_file():
                manifest = load_manifest(path / "manifest.json", app_base_dir=self._base_dir)
                yield manifest, modules[0]

    def _load(self, manifest: Manifest, file: Path) -> list[WireProtocol]:
        loading = _Loading(manifest)
        token = _loading.set(loading)
        try:
            load_module(f"{self._prefix}_{manifest.name}", file, is_package=True)
        finally:
            _loading.reset(token)
        return loading.found


__all__ = ["FolderProtocols", "protocol"]
