"""Addons: by decorator, by class, by factory, by entry point, and from the app's folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import ten_trio as ten


class Named(ten.Extension):
    kind = "named"

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(kind=self.kind))


@pytest.fixture(autouse=True)
def clean_store() -> Iterator[None]:
    before = ten.addons.names()
    yield
    for name in ten.addons.names() - before:
        ten.addons.unregister(name)


async def kind_of(addon: Any, app: ten.App) -> str:
    graph = ten.Graph()
    graph.node("node", addon)
    async with app.open_graph(graph) as engine:
        result = await engine.send_cmd(ten.Cmd("kind", dest="node"))
        return result.unwrap().get_property_string("kind")


def write(app: Path, name: str, code: str) -> None:
    file = app / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"import ten_trio as ten\n\n{code}")


def class_code(kind: str, addon: str = "mine") -> str:
    return f'''
@ten.addon("{addon}")
class Mine(ten.Extension):
    async def on_cmd(self, env, cmd):
        await env.return_result(cmd.ok(kind="{kind}"))
'''


# In Python -----------------------------------------------------------------------------------------


async def test_a_class_is_its_own_addon() -> None:
    async with ten.open_app() as app:
        assert await kind_of(Named, app) == "named"


async def test_factories() -> None:
    def plain() -> ten.Extension:
        return Named()

    def with_name(name: str) -> ten.Extension:
        assert name == "node"
        return Named()

    async def waiting(name: str) -> ten.Extension:
        await trio.lowlevel.checkpoint()
        return with_name(name)

    def with_default(kind: str = "default") -> ten.Extension:
        extension = Named()
        extension.kind = kind
        return extension

    class TakesName(Named):
        def __init__(self, name: str) -> None:
            self.kind = f"made for {name}"

    async with ten.open_app() as app:
        assert await kind_of(plain, app) == "named"
        assert await kind_of(with_name, app) == "named"
        assert await kind_of(waiting, app) == "named"
        assert await kind_of(with_default, app) == "default"
        assert await kind_of(TakesName, app) == "made for node"


async def test_each_node_has_an_extension_of_its_own() -> None:
    made = []

    def make() -> ten.Extension:
        made.append(Named())
        return made[-1]

    graph = ten.Graph()
    graph.node("one", make)
    graph.node("two", make)
    async with ten.open_app() as app, app.open_graph(graph):
        assert [extension.name for extension in made] == ["one", "two"]


async def test_what_makes_no_extension_is_named() -> None:
    graph = ten.Graph()
    graph.node("node", lambda: "no extension")
    with pytest.RaisesGroup(
        pytest.RaisesExc(TypeError, match=r"made str, not a ten_trio\.Extension")
    ):
        async with ten.open_app() as app, app.open_graph(graph):
            pass


async def test_the_decorator_registers_for_the_whole_process() -> None:
    @ten.addon("decorated")
    class Decorated(Named):
        kind = "decorated"

    for _ in range(2):
        async with ten.open_app() as app:
            assert await kind_of("decorated", app) == "decorated"
    assert Decorated.kind == "decorated", "the class itself comes back"


async def test_the_first_registration_counts(caplog: pytest.LogCaptureFixture) -> None:
    class Second(Named):
        kind = "second"

    ten.addons.register("twice", Named)
    ten.addons.register("twice", Named)
    assert not caplog.records, "the same again is fine"
    ten.addons.register("twice", Second)
    assert "'twice' is registered already" in caplog.text
    async with ten.open_app() as app:
        assert await kind_of("twice", app) == "named"


async def test_an_apps_own_addons_come_first() -> None:
    class Own(Named):
        kind = "own"

    ten.addons.register("shadowed", Named)
    async with ten.open_app() as app, ten.open_app() as other:
        app.addons.register("shadowed", Own)
        assert await kind_of("shadowed", app) == "own"
        assert await kind_of("shadowed", other) == "named"


def test_unregister() -> None:
    ten.addons.register("brief", Named)
    ten.addons.unregister("brief")
    assert ten.addons.get("brief") is None
    with pytest.raises(ten.AddonNotFound, match="'brief'"):
        ten.addons.unregister("brief")


async def test_did_you_mean() -> None:
    ten.addons.register("deepgram_asr", Named)
    async with ten.open_app() as app:
        with pytest.RaisesGroup(
            pytest.RaisesExc(
                ten.AddonNotFound,
                match='unknown addon "depgram_asr"; did you mean "deepgram_asr"?',
            )
        ):
            await kind_of("depgram_asr", app)
        with pytest.RaisesGroup(
            pytest.RaisesExc(ten.AddonNotFound, match=r'unknown addon "zzz"; known: .*deepgram_asr')
        ):
            await kind_of("zzz", app)


async def test_an_instance_is_no_addon() -> None:
    async with ten.open_app() as app:
        graph = ten.Graph()
        graph.node("a", Named())  # type: ignore[arg-type]
        with pytest.RaisesGroup(
            pytest.RaisesExc(TypeError, match="an extension class .* not an object of class Named")
        ):
            async with app.open_graph(graph):
                pass


# Entry points --------------------------------------------------------------------------------------


async def test_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    module = SimpleNamespace(Installed=type("Installed", (Named,), {"kind": "installed"}))
    monkeypatch.setitem(sys.modules, "ten_trio_test_installed", module)
    point = EntryPoint("installed", "ten_trio_test_installed:Installed", "ten_trio.addons")

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        assert group == "ten_trio.addons"
        return [point] if name in (None, "installed") else []

    module_of_addons = import_module("ten_trio.runtime.addons")
    monkeypatch.setattr(module_of_addons, "entry_points", entry_points)
    async with ten.open_app() as app:
        assert await kind_of("installed", app) == "installed"
        with pytest.RaisesGroup(
            pytest.RaisesExc(ten.AddonNotFound, match='did you mean "installed"')
        ):
            await kind_of("instaled", app)


# The app's folder ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "file",
    [
        "ten_packages/extension/mine/__init__.py",
        "ten_packages/extension/mine/extension.py",
        "ten_packages/extension/mine/addon.py",
        "extensions/mine/__init__.py",
        "extensions/mine.py",
    ],
)
async def test_from_the_folder(tmp_path: Path, file: str) -> None:
    write(tmp_path, file, class_code("folder"))
    before = set(sys.modules)
    async with ten.open_app(tmp_path) as app:
        assert await kind_of("mine", app) == "folder"
    assert ten.addons.get("mine") is None, "it belongs to that app alone"
    assert set(sys.modules) <= before


async def test_a_package_may_import_its_own_modules(tmp_path: Path) -> None:
    folder = "ten_packages/extension/mine"
    write(tmp_path, f"{folder}/__init__.py", "from . import parts\n")
    write(tmp_path, f"{folder}/parts.py", class_code("parts"))
    before = set(sys.modules)
    async with ten.open_app(tmp_path) as app:
        assert await kind_of("mine", app) == "parts"
    assert set(sys.modules) <= before


async def test_two_apps_with_an_addon_of_the_same_name(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, "extensions/mine.py", class_code(name))
    async with ten.open_app(tmp_path / "one") as one, ten.open_app(tmp_path / "two") as two:
        assert await kind_of("mine", one) == "one"
        assert await kind_of("mine", two) == "two"


async def test_the_first_folder_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "ten_packages/extension/mine/__init__.py", class_code("first"))
    write(tmp_path, "extensions/mine.py", class_code("second"))
    async with ten.open_app(tmp_path) as app:
        assert await kind_of("mine", app) == "first"
    assert not caplog.records


async def test_what_no_graph_uses_is_not_imported(tmp_path: Path) -> None:
    write(tmp_path, "extensions/mine.py", class_code("used"))
    write(tmp_path, "extensions/other.py", "raise AssertionError")
    async with ten.open_app(tmp_path) as app:
        assert await kind_of("mine", app) == "used"


async def test_preload_all(tmp_path: Path) -> None:
    (tmp_path / "property.json").write_text('{"ten": {"addon": {"preload_all": true}}}')
    write(tmp_path, "extensions/mine.py", class_code("single", "single"))
    write(tmp_path, "ten_packages/extension/big/__init__.py", class_code("package", "package"))
    async with ten.open_app(tmp_path) as app:
        assert app.addons.names() == {"single", "package"}


async def test_a_module_that_cannot_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "extensions/mine.py", "import no_such_module_at_all\n")
    before = set(sys.modules)
    async with ten.open_app(tmp_path) as app:
        with pytest.RaisesGroup(
            pytest.RaisesExc(ModuleNotFoundError, match="no_such_module_at_all")
        ) as caught:
            await kind_of("mine", app)
        assert "while 'node' was created" in caught.value.exceptions[0].__notes__[0]
    assert set(sys.modules) <= before


async def test_a_module_that_registers_another_name(tmp_path: Path) -> None:
    write(tmp_path, "extensions/mine.py", class_code("mine", "yours"))
    async with ten.open_app(tmp_path) as app:
        with pytest.RaisesGroup(
            pytest.RaisesExc(ten.AddonNotFound, match=r'mine\.py registers no addon "mine"')
        ):
            await kind_of("mine", app)


async def test_the_folders_names_are_suggested(tmp_path: Path) -> None:
    write(tmp_path, "extensions/mine.py", class_code("mine"))
    async with ten.open_app(tmp_path) as app:
        with pytest.RaisesGroup(pytest.RaisesExc(ten.AddonNotFound, match='did you mean "mine"')):
            await kind_of("mime", app)


async def test_a_name_that_is_no_file_name(tmp_path: Path) -> None:
    write(tmp_path, "secret.py", class_code("secret", "../secret"))
    (tmp_path / "extensions").mkdir()
    async with ten.open_app(tmp_path) as app:
        with pytest.RaisesGroup(ten.AddonNotFound):
            await kind_of("../secret", app)
