"""The manifest of an addon or app: what it is called, what it needs, what its api is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType

import attrs

from .interface import API_KEYS, ApiReader, Document, read_json_file
from .lookup import Api, ApiSchemas
from .reading import DocumentError, Reader

PACKAGE_TYPES = ("app", "extension", "system", "protocol", "addon_loader")

# Only a protocol has these.
_PROTOCOL_KEYS = ("protocol", "transport_type")
_DETAILS = ("description", "display_name", "readme", "supports", "package", "scripts")
_COMMON_KEYS = ("type", "name", "version", "tags", "dependencies", "dev_dependencies", "api")
MANIFEST_KEYS = frozenset({*_COMMON_KEYS, *_DETAILS, *_PROTOCOL_KEYS})

_DEPENDENCY_KEYS = frozenset({"type", "name", "version", "path"})

_NUMBER = r"(?:0|[1-9][0-9]*)"
_PRE_PART = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(?:-{_PRE_PART}(?:\.{_PRE_PART})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)


class ManifestError(DocumentError):
    """A manifest, or an interface file that it imports, is wrong. `problems` lists everything."""


@attrs.frozen
class Dependency:
    """A package that another one needs: a type, name and version range, or a local folder."""

    type: str = ""
    name: str = ""
    version: str = ""
    path: str = ""


def _read_only(details: Mapping[str, object]) -> Mapping[str, object]:
    return MappingProxyType(dict(details))


@attrs.frozen
class Manifest:
    """A checked manifest.

    `details` holds what the runtime itself has no use for, as it was written: description,
    display_name, readme, supports, package, scripts. `file` is None if it was not read from one.
    `protocol` and `transport_type` are those of a protocol: the URI schemes that it is for, and what
    carries it.
    """

    type: str
    name: str
    version: str
    api: Api = attrs.field(factory=Api)
    tags: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    dev_dependencies: tuple[Dependency, ...] = ()
    details: Mapping[str, object] = attrs.field(factory=dict, converter=_read_only)
    file: Path | None = None
    protocol: tuple[str, ...] = ()
    transport_type: str = "tcp"

    @cached_property
    def schemas(self) -> ApiSchemas:
        """The schemas of the api, arranged for lookup; always the same object."""
        return ApiSchemas.of(self.api)


def load_manifest(
    path: str | PathLike[str], *, app_base_dir: str | PathLike[str] | None = None
) -> Manifest:
    """Read and check a `manifest.json` and everything that it imports.

    `app_base_dir` is what `${app_base_dir}` in an import stands for.

    Raises:
        ManifestError: a file is missing or wrong; all problems at once, with JSON paths.
    """
    file = Path(path).resolve()
    problems = Reader(None, "", [])
    content = read_json_file(file, problems)
    if content is None:
        raise ManifestError(problems.problems, file=str(path))
    document = Document(file.parent, (file,))
    return _parse(content, str(path), document, _optional_path(app_base_dir), file)


def parse_manifest(
    obj: object,
    where: str = "",
    *,
    base_dir: str | PathLike[str] | None = None,
    app_base_dir: str | PathLike[str] | None = None,
) -> Manifest:
    """Check a manifest that has been decoded from JSON already.

    `where` names it in error messages. Relative imports start at `base_dir`.

    Raises:
        ManifestError: it is wrong; all problems at once, with JSON paths.
    """
    document = Document(_optional_path(base_dir))
    return _parse(obj, where, document, _optional_path(app_base_dir), None)


def _optional_path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _parse(
    obj: object, where: str, document: Document, app_base_dir: Path | None, file: Path | None
) -> Manifest:
    root = Reader(obj, "", [])
    manifest: Manifest | None = None
    if root.is_object(MANIFEST_KEYS):
        kind = _text(root, "type", lambda reader: reader.choice(PACKAGE_TYPES))
        api = root.get("api")
        if kind != "protocol":
            for key in _PROTOCOL_KEYS:
                if found := root.get(key):
                    found.problem(f'a package of type "{kind}" can\'t have this')
        schemes, carrier = root.get("protocol"), root.get("transport_type")
        manifest = Manifest(
            type=kind,
            name=_text(root, "name", Reader.identifier),
            version=_text(root, "version", _read_version),
            api=_read_api(api, kind, document, app_base_dir) if api else Api(),
            tags=tags.strings() if (tags := root.get("tags")) else (),
            dependencies=_read_dependencies(root.get("dependencies")),
            dev_dependencies=_read_dependencies(root.get("dev_dependencies")),
            details={each.path: each.value for key in _DETAILS if (each := root.get(key))},
            file=file,
            protocol=schemes.strings() if schemes else (),
            transport_type=(carrier.text() if carrier else None) or "tcp",
        )
    if manifest is None or root.problems:
        raise ManifestError(root.problems, file=where)
    return manifest


def _text(root: Reader, key: str, read: Callable[[Reader], str | None]) -> str:
    """Read a required text; "" stands for one with a problem, which is noted."""
    reader = root.require(key)
    return (read(reader) if reader else None) or ""


def _read_version(reader: Reader) -> str | None:
    version = reader.expect(str)
    if version is not None and not _SEMVER.fullmatch(version):
        reader.problem(f'"{version}" is no semantic version', "for example 1.2.3 or 1.2.3-rc.1")
        return None
    return version


def _read_api(
    reader: Reader, package_type: str, document: Document, app_base_dir: Path | None
) -> Api:
    if isinstance(reader.value, Mapping) and package_type not in ("extension", ""):
        allowed = {"property"} if package_type == "app" else set()
        # An unknown key is reported by the reading below.
        for key in API_KEYS & reader.value.keys() - allowed:
            reader.at(key, None).problem(f'a package of type "{package_type}" can\'t have this')
    api_reader = ApiReader(app_base_dir)
    api_reader.read(reader, document)
    return api_reader.result()


def _read_dependencies(reader: Reader | None) -> tuple[Dependency, ...]:
    if reader is None:
        return ()
    dependencies = []
    for entry in reader.items():
        if not entry.is_object(_DEPENDENCY_KEYS):
            continue
        if path := entry.get("path"):
            dependencies.append(Dependency(path=path.text() or ""))
            continue
        dependencies.append(
            Dependency(
                type=_text(entry, "type", lambda each: each.choice(PACKAGE_TYPES)),
                name=_text(entry, "name", Reader.identifier),
                version=_text(entry, "version", Reader.text),
            )
        )
    return tuple(dependencies)
