"""The properties of an extension: what its files and its node say, typed, checked, changeable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InvalidArgument, SchemaError, SendRefused, WrongTiming
from ..messages import Properties
from ..messages.paths import MISSING
from ..messages.properties import property_dict
from ..messages.values import from_json

if TYPE_CHECKING:
    from ..schemas import ObjectSchema
    from .instance import Instance

_APP = "app:"
STAGES = ("start", "stop")
_NOTHING: Mapping[str, Any] = {}


class PropertyStore(Properties):
    """`get_property…` and `set_property…` by path, as on messages, and `[]`.

    Loaded after `on_configure`.  What is set later is checked against the manifest's schema at once.
    A path that begins with `app:` reads the app's own properties.
    """

    __slots__ = ("_given_property", "_instance", "_schema", "_ten")

    def __init__(self, instance: Instance) -> None:
        super().__init__()
        self._instance = instance
        self._given_property: Any = None
        self._schema: ObjectSchema | None = None
        self._ten: Mapping[str, Any] = _NOTHING

    def _owner(self) -> str:
        return f"extension {self._instance.name!r}"

    def init_property_from_json(self, text: str) -> None:
        """Use this in place of the addon's property.json. Only in `on_configure`.

        Raises `WrongTiming`, `InvalidJson`, `InvalidArgument`.
        """
        self._check_thread()
        if self._instance.life.stage != "on_configure":
            raise WrongTiming(f"{self._owner()}: Invalid timing to init property.")
        tree = from_json(text)
        if not isinstance(tree, Mapping):
            raise InvalidArgument(f"{self._owner()}: the properties must be a JSON object")
        self._given_property = tree

    def get_property(self, path: str = "", default: Any = MISSING) -> Any:
        """The value at `path`. Raises `PropertyNotFound` and, for garbage, `InvalidPath`."""
        self._check_thread()
        return super().get_property(path, default)

    def set_property(self, path: str, value: Any) -> None:
        """Set what is at `path`. Raises `SchemaError` and changes nothing if it doesn't fit."""
        self._check_thread()
        if path.startswith(_APP):
            raise SendRefused(
                f"{self._owner()}: the app's property {path!r} can't be set from here"
            )
        before = self._props, self._shared
        self._props, self._shared = dict(self._props), False
        try:
            super().set_property(path, value)
            if self._schema is not None:
                self._props = dict(self._schema.check(self._props))
        except BaseException as error:
            self._props, self._shared = before
            if isinstance(error, SchemaError):
                raise SchemaError(f"{self._owner()}: {error}", path=error.path) from error
            raise

    def del_property(self, path: str) -> None:
        """Remove what is at `path`. Raises `PropertyNotFound`."""
        self._check_thread()
        super().del_property(path)

    def _find(self, path: str) -> Any:
        self._check_thread()
        if path.startswith(_APP):
            return self._instance.engine.app.properties._find(path[len(_APP) :])
        return super()._find(path)

    def _check_thread(self) -> None:
        raise NotImplementedError

    # Loading ----------------------------------------------------------------------------------

    def _load(self, tree: Mapping[str, Any], schema: ObjectSchema | None) -> None:
        tree = dict(tree)
        section = tree.pop("ten", None) or tree.pop("_ten", None) or {}
        if not isinstance(section, Mapping):
            raise ConfigError(f"{self._owner()}: property ten: must be an object", path="ten")
        self._ten = section
        self._manual_stages()
        self._props = property_dict(tree)
        self._shared = False
        self._schema = schema

    def _manual_stages(self) -> tuple[str, ...]:
        """The stages that wait for a trigger. Raises `ConfigError`."""
        entries = self._ten.get("manual_trigger_life_cycle") or ()
        stages = []
        for index, entry in enumerate(entries):
            stage = entry.get("stage") if isinstance(entry, Mapping) else None
            if stage not in STAGES:
                where = f"ten.manual_trigger_life_cycle[{index}].stage"
                raise ConfigError(
                    f"{self._owner()}: property {where}: must be one of {STAGES}, not {stage!r}",
                    path=where,
                )
            stages.append(stage)
        return tuple(stages)

    def _path_timeout(self, default: float) -> float:
        """Seconds, from `ten.path_timeout` in microseconds if there is a positive one."""
        setting: Any = self._ten.get("path_timeout")
        if isinstance(setting, Mapping):
            setting = setting.get("out_path")
        if isinstance(setting, int) and not isinstance(setting, bool) and setting > 0:
            return setting / 1_000_000
        return default
