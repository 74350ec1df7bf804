"""The network's part of a property.json: `ten.listen` and `ten.network`.

`network` has the fields of `NetworkSettings` and of `CodecLimits` side by side, under the same names, and
`tls`, from which the TLS contexts are made.
"""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args, get_origin, get_type_hints

import attrs

from ..errors import ConfigError, InvalidArgument, Problem
from ..graphs import AppProperty
from ..graphs.app_property import LEGACY_TEN, TEN
from ..graphs.placeholders import parse as placeholder
from ..schemas.reading import DocumentError, Reader
from .codec import CodecLimits
from .protocol_addons import FolderProtocols
from .protocols import Protocols
from .settings import NetworkSettings

_MADE: Final = ("codec", "server_ssl", "client_ssl")
"""Fields that aren't in the file by themselves."""
_TLS: Final = {
    "certificate": "shown to those who connect (PEM, with its chain)",
    "key": "of `certificate`, if it isn't in the same file",
    "ca": "whose certificates are believed when connecting; without it, the system's",
    "client_certificate": "shown when connecting",
    "client_key": "of `client_certificate`, if it isn't in the same file",
    "client_ca": "whose certificates are believed of those who connect; without it none is asked for",
    "client_required": "whether those without such a certificate are refused (true)",
}

Fields = Mapping[str, Any]


class NetworkConfigError(DocumentError):
    """`ten.listen` or `ten.network` is wrong. `problems` lists everything, with JSON paths."""


def _fields(cls: Any) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in attrs.fields(cls)}


CODEC_FIELDS: Final[Fields] = _fields(CodecLimits)
FIELDS: Final[Fields] = {
    name: kind for name, kind in _fields(NetworkSettings).items() if name not in _MADE
}
KEYS: Final = (*FIELDS, *CODEC_FIELDS, "tls")
"""Everything that `ten.network` may have."""


def network_settings(app: AppProperty) -> NetworkSettings:
    """Return what a property.json says about its network; what it doesn't mention has its default.

    Raises `NetworkConfigError`, also for a certificate that can't be loaded.
    """
    settings, problems = _read(app)
    if problems:
        raise NetworkConfigError(problems, str(app.file or ""))
    return settings


def network_problems(app: AppProperty) -> list[Problem]:
    """Return everything that is wrong there, files of certificates that can't be loaded included."""
    return _read(app)[1]


def _read(app: AppProperty) -> tuple[NetworkSettings, list[Problem]]:
    problems: list[Problem] = []
    section = LEGACY_TEN if app.legacy_key else TEN
    _check_uris(app, Reader(app, section, problems))
    if app.network is None:
        return NetworkSettings(), problems
    reader = Reader(app.network, f"{section}.network", problems)
    reader.is_object(KEYS)
    codec: Any = _values(reader, CODEC_FIELDS, CodecLimits)
    values: Any = _values(reader, FIELDS, NetworkSettings)
    if (tls := reader.get("tls")) is not None and tls.is_object(_TLS):
        values |= _contexts(tls, app.base_dir or Path())
    return NetworkSettings(codec=CodecLimits(**codec), **values), problems


def _check_uris(app: AppProperty, reader: Reader) -> None:
    given: list[tuple[Reader, str]] = []
    if app.uri:
        given.append((reader.at("uri", app.uri), app.uri))
    listen = reader.at("listen", app.listen)
    given += [(listen.at(index, uri), uri) for index, uri in enumerate(app.listen)]
    seen: set[str] = set()
    try:
        own = FolderProtocols(app.base_dir).schemes
    except ConfigError as error:
        reader.at("listen", None).problem(str(error))
        return
    for place, uri in given:
        if placeholder(uri) is not None or uri.startswith("client:"):
            continue
        if uri in seen and not uri.endswith(":0"):
            place.problem(f'"{uri}" is there twice')
        seen.add(uri)
        if uri.partition(":")[0].lower() in own:
            continue
        known = Protocols()
        try:
            known.find(uri)
        except InvalidArgument as error:
            if not place.path.endswith("uri"):  # that one is looked at with the rest of the file
                place.problem(str(error))
        except ConfigError:
            # A program may bring protocols of its own: only what looks like a slip is one.
            scheme = uri.partition(":")[0]
            near = difflib.get_close_matches(scheme, known.schemes, n=1, cutoff=0.75)
            if near:
                place.problem(f'unknown scheme "{scheme}"', f'did you mean "{near[0]}"?')


# Values -------------------------------------------------------------------------------------------


def _values(reader: Reader, fields: Fields, cls: Callable[..., object]) -> dict[str, Any]:
    """Those of `fields` that are there and make sense to `cls`."""
    values: dict[str, Any] = {}
    for name, kind in fields.items():
        found = reader.get(name)
        if found is None:
            continue
        value = _value(found, kind)
        if value is None:
            continue
        try:
            cls(**{name: value})
        except ValueError as error:
            found.problem(str(error).removeprefix("network.").removeprefix(f"{name} "))
        else:
            values[name] = value
    return values


def _value(reader: Reader, kind: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    if get_origin(kind) is not Literal and len(options) == 1:
        kind = options[0]  # None is what an absent key means
    if isinstance(reader.value, str) and placeholder(reader.value) is not None:
        # It stands for something that isn't known yet: only `check` gets to see it.
        return reader.value if kind is str else None
    if get_origin(kind) is Literal:
        return reader.choice(get_args(kind))
    if get_origin(kind) is tuple:
        count = len(reader.problems)
        names = reader.strings()
        return names if len(reader.problems) == count else None
    if kind is float and type(reader.value) is int:
        return reader.value
    return reader.expect(kind)


# TLS ----------------------------------------------------------------------------------------------


def _contexts(tls: Reader, base_dir: Path) -> dict[str, ssl.SSLContext]:
    files: dict[str, Path] = {}
    wrong, unknown = len(tls.problems), False
    for name in _TLS:
        found = tls.get(name)
        if found is None:
            continue
        if name == "client_required":
            found.expect(bool)
            continue
        text = found.text()
        if text is None:
            continue
        files[name] = base_dir / text
        if placeholder(text) is not None:
            unknown = True
        elif not files[name].is_file():
            found.problem(f"no such file: {files[name]}")
    for key, certificate in (("key", "certificate"), ("client_key", "client_certificate")):
        if key in files and certificate not in files:
            tls.at(key, None).problem(f'needs "{certificate}"')
    if "certificate" not in files:
        for name in ("client_ca", "client_required"):
            if tls.has(name):
                tls.at(name, None).problem(
                    'needs "certificate"', "it is for those who connect here"
                )
    elif tls.has("client_required") and not tls.has("client_ca"):
        tls.at("client_required", None).problem('needs "client_ca"')
    made: dict[str, ssl.SSLContext] = {}
    if unknown or len(tls.problems) > wrong:
        return made
    if "certificate" in files:
        server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _load(tls, server, files, "certificate", "key")
        if "client_ca" in files:
            _trust(tls, server, files, "client_ca")
            needed = cast("Mapping[str, object]", tls.value).get("client_required", True)
            server.verify_mode = ssl.CERT_REQUIRED if needed else ssl.CERT_OPTIONAL
        made["server_ssl"] = server
    if "ca" in files or "client_certificate" in files:
        client = ssl.create_default_context()
        if "ca" in files:
            # Nobody else's: otherwise any public authority could vouch for our own machines.
            client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            _trust(tls, client, files, "ca")
        if "client_certificate" in files:
            _load(tls, client, files, "client_certificate", "client_key")
        made["client_ssl"] = client
    return made


def _load(
    tls: Reader, context: ssl.SSLContext, files: Mapping[str, Path], certificate: str, key: str
) -> None:
    try:
        # A password would be asked for at the terminal, for ever.
        context.load_cert_chain(files[certificate], files.get(key), password=_no_password)
    except (OSError, ValueError) as error:
        hint = "" if key in files else f'its key has to be in there too, or in "{key}"'
        tls.at(certificate, None).problem(f"can't be loaded: {_reason(error)}", hint)


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _trust(tls: Reader, context: ssl.SSLContext, files: Mapping[str, Path], name: str) -> None:
    try:
        context.load_verify_locations(files[name])
    except (OSError, ValueError) as error:
        tls.at(name, None).problem(f"can't be loaded: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


__all__ = ["NetworkConfigError", "network_problems", "network_settings"]
