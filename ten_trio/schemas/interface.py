"""Read the api of an addon, and the interface files that it imports, into one `Api`.

The same property or message may be declared several times if all declarations are equal. Files
may import files; one that is met again on the way to itself is a circular import.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import attrs

from .declarations import read_property
from .lookup import MESSAGE_KEYS, Api, MessageApi
from .reading import Reader
from .schema import ObjectSchema, Schema

APP_BASE_DIR = "${app_base_dir}"
API_KEYS = frozenset({"property", "interface", *MESSAGE_KEYS})

_MESSAGE_KEYS = frozenset({"name", "property"})
_CMD_KEYS = _MESSAGE_KEYS | {"result"}
_RESULT_KEYS = frozenset({"property"})


def read_json_file(path: Path, reader: Reader) -> object:
    """Return what a JSON file contains; None if it can't be read, which is noted in `reader`."""
    try:
        content: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        reader.problem(f"can't read {path}: {error.strerror or error}")
    except UnicodeDecodeError as error:
        reader.problem(f"{path} is not UTF-8: {error.reason} at byte {error.start}")
    except json.JSONDecodeError as error:
        reader.problem(f"{path} is not JSON: {error.msg}, line {error.lineno} column {error.colno}")
    except RecursionError:
        reader.problem(f"{path} is nested too deeply")
    else:
        if not isinstance(content, Mapping):
            reader.problem(f"{path} must contain a JSON object")
            return None
        return content
    return None


@attrs.frozen
class Document:
    """The file that an api is read from: what its imports are relative to."""

    folder: Path | None
    chain: tuple[Path, ...] = ()
    imported: bool = False


@attrs.define
class ApiReader:
    """Collects the declarations of an api and of everything that it imports."""

    app_base_dir: Path | None
    _properties: dict[str, tuple[Schema, str]] = attrs.field(factory=dict, init=False)
    _messages: dict[str, dict[str, tuple[MessageApi, str]]] = attrs.field(factory=dict, init=False)

    def result(self) -> Api:
        """Return everything that has been read so far."""
        properties = {name: schema for name, (schema, _) in self._properties.items()}
        messages = {
            key: {name: message for name, (message, _) in by_name.items()}
            for key, by_name in self._messages.items()
        }
        return Api(ObjectSchema(properties) if properties else None, messages)

    def read(self, reader: Reader, document: Document) -> None:
        """Read one api object: the manifest's own, or that of an imported file."""
        if not reader.is_object(None if document.imported else API_KEYS):
            return
        if own := reader.get("property"):
            self._read_own_property(own, document)
        for key in MESSAGE_KEYS:
            if messages := reader.get(key):
                for message in messages.items():
                    self._read_message(key, message, document)
        if interface := reader.get("interface"):
            for entry in interface.items():
                self._read_import(entry, document)

    def _read_own_property(self, reader: Reader, document: Document) -> None:
        schema = read_property(reader)
        # In an imported file `required` has never had an effect; in a manifest it is a mistake.
        if not document.imported and (required := reader.get("required")):
            required.problem("an addon's own properties can't be required")
        if schema is None:
            return
        for name, each in schema.properties.items():
            path = f"{reader.path}.properties.{name}"
            known, origin = self._properties.setdefault(name, (each, path))
            if known != each:
                reader.problem(f'property "{name}" is declared differently at {origin}')

    def _read_message(self, key: str, reader: Reader, document: Document) -> None:
        allowed = _CMD_KEYS if key.startswith("cmd_") else _MESSAGE_KEYS
        # Published interface files carry stray keys, so in files of others they are let pass.
        if not reader.is_object(None if document.imported else allowed):
            return
        name_reader = reader.require("name")
        name = name_reader.identifier() if name_reader else None
        own = reader.get("property")
        result = reader.get("result") if "result" in allowed else None
        result_property = None
        if result and result.is_object(None if document.imported else _RESULT_KEYS):
            result_property = result.require("property")
        message = MessageApi(
            name or "",
            read_property(own) if own else None,
            read_property(result_property) if result_property else None,
        )
        if name is None:
            return
        by_name = self._messages.setdefault(key, {})
        known, origin = by_name.setdefault(name, (message, reader.path))
        if known != message:
            reader.problem(f'message "{name}" is declared differently at {origin}')

    def _read_import(self, entry: Reader, document: Document) -> None:
        if not entry.is_object({"import_uri"}):
            return
        reader = entry.require("import_uri")
        uri = reader.text() if reader else None
        if reader is None or uri is None:
            return
        try:
            path = self._locate(reader, uri, document)
        except (ValueError, RuntimeError, OSError) as error:  # a NUL byte, a loop of links …
            reader.problem(f"is no URI or path of a file: {error}")
            return
        if path is None:
            return
        if path in document.chain:
            steps = [*document.chain[document.chain.index(path) :], path]
            reader.problem("circular import: " + " -> ".join(each.name for each in steps))
            return
        content = read_json_file(path, reader)
        if content is not None:
            inner = Document(path.parent, (*document.chain, path), imported=True)
            self.read(Reader(content, f"{path}#", reader.problems), inner)

    def _locate(self, reader: Reader, uri: str, document: Document) -> Path | None:
        """Return the file that an import means, whether it exists or not; None is a problem noted."""
        if uri.startswith(APP_BASE_DIR):
            if self.app_base_dir is None:
                reader.problem(f"{APP_BASE_DIR} is not known here")
                return None
            return (self.app_base_dir / uri[len(APP_BASE_DIR) :].lstrip("/\\")).resolve()
        scheme = urlsplit(uri).scheme
        if scheme in ("http", "https"):
            reader.problem(
                f"{scheme} imports are not supported", "download the file and import that"
            )
            return None
        if scheme == "file":
            parts = urlsplit(uri)
            if parts.netloc not in ("", "localhost") or not parts.path:
                reader.problem("a file URI needs three slashes and an absolute path")
                return None
            return Path(url2pathname(parts.path)).resolve()
        # A single letter is a Windows drive.
        if len(scheme) > 1:
            reader.problem(f'unknown scheme "{scheme}"', "use a relative path or file://")
            return None
        if document.folder is None and not Path(uri).is_absolute():
            reader.problem("a relative import needs a manifest that is a file")
            return None
        return ((document.folder or Path()) / uri).resolve()
