"""What an extension is configured with: manifest, property files, the node's property, variables."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InvalidJson, SchemaError
from ..graphs.placeholders import resolve as resolve_placeholders
from ..messages.values import freeze, merge
from ..schemas import ApiSchemas, load_manifest

if TYPE_CHECKING:
    from ..graphs import FlatNode
    from .instance import Instance


class Metadata:
    """Loads what belongs to the extensions of one addon in one app."""

    def __init__(self, base_dir: Path | None, app_base_dir: Path | None) -> None:
        self._base_dir = base_dir
        self._app_base_dir = app_base_dir

    @cached_property
    def schemas(self) -> ApiSchemas | None:
        """The addon's declared api, compiled; None without a manifest."""
        if self._base_dir is None:
            return None
        file = self._base_dir / "manifest.json"
        if not file.is_file():
            return None
        return load_manifest(file, app_base_dir=self._app_base_dir).schemas

    def load_into(self, instance: Instance, node: FlatNode) -> None:
        """Give `instance` its properties and schemas, after `on_configure`.

        The addon's property.json, or what `init_property_from_json` was given instead; the node's
        property merged over it; variables resolved; adjusted and validated.  Raises `ConfigError`,
        `MissingVariable`, `SchemaError`.
        """
        env = instance.env
        given = env._given_property
        tree = self._from_file() if given is None else given
        schemas = self.schemas
        if not tree and not node.property and schemas is None:
            return
        tree = merge(freeze(tree), freeze(node.property))
        where = f"property of {instance.name!r}"
        tree = resolve_placeholders(tree, os.environ, where)
        if schemas is not None and schemas.property is not None:
            try:
                tree = schemas.property.check(tree)
            except SchemaError as error:
                raise SchemaError(f"{where}: {error}", path=error.path) from error
        env._load(tree, None if schemas is None else schemas.property)
        instance.timeout = env._path_timeout(instance.engine.limits.path_timeout)
        instance.use_schemas(schemas)

    def _from_file(self) -> Any:
        if self._base_dir is None:
            return {}
        file = self._base_dir / "property.json"
        if not file.is_file():
            return {}
        try:
            tree = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidJson(f"{file}: {error}") from error
        if not isinstance(tree, dict):
            raise ConfigError(f"{file}: must be a JSON object", file=str(file))
        return tree


class MetadataStore:
    """The metadata of one app's addons: each manifest is read once."""

    def __init__(self, app_base_dir: Path | None) -> None:
        self._app_base_dir = app_base_dir
        self._known: dict[Path | None, Metadata] = {}

    def of(self, base_dir: Path | None) -> Metadata:
        """What belongs to the addon in this folder."""
        found = self._known.get(base_dir)
        if found is None:
            found = self._known[base_dir] = Metadata(base_dir, self._app_base_dir)
        return found
