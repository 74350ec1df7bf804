"""Where an extension's configuration comes from: files, node, variables, and the manifest's say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten

MANIFEST = {"type": "extension", "name": "mine", "version": "1.0.0"}


def api(**sections: Any) -> dict[str, Any]:
    return {**MANIFEST, "api": sections}


def properties(**types: str) -> dict[str, Any]:
    return {"property": {"properties": {name: {"type": kind} for name, kind in types.items()}}}


def graph_of(
    folder: Path,
    *,
    manifest: Any = None,
    property_json: Any = None,
    base: type[ten.Extension] = ten.Extension,
    **node: Any,
) -> ten.Graph:
    for name, content in (("manifest.json", manifest), ("property.json", property_json)):
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / name).write_text(text)
    graph = ten.Graph()
    graph.node("it", type("It", (base,), {"base_dir": folder}), **node)
    return graph


async def loaded(graph: ten.Graph) -> dict[str, Any]:
    """The properties that the node `it` sees."""
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        return dict(engine._core.instances["it"].env.items())


async def test_without_files_the_node_says_it_all() -> None:
    graph = ten.Graph()
    graph.node("it", ten.Extension, property={"a": 1, "b": {"c": [1, 2]}})
    assert await loaded(graph) == {"a": 1, "b": {"c": [1, 2]}}


async def test_the_nodes_property_is_merged_over_the_file(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        property_json={"a": 1, "b": {"x": 1, "y": 2}, "list": [1, 2, 3]},
        property={"b": {"y": 3, "z": 4}, "list": [9], "d": 5},
    )
    assert await loaded(graph) == {
        "a": 1,
        "b": {"x": 1, "y": 3, "z": 4},
        "list": [9],
        "d": 5,
    }


async def test_the_ten_section_is_no_property(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, property_json={"ten": {"path_timeout": 5}, "a": 1})
    assert await loaded(graph) == {"a": 1}


async def test_placeholders_are_replaced_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEN_TRIO_TEST", "secret")
    monkeypatch.delenv("TEN_TRIO_NO_SUCH", raising=False)
    graph = graph_of(
        tmp_path,
        property_json={"key": "${env:TEN_TRIO_TEST}", "deep": [{"x": "${env:TEN_TRIO_NO_SUCH|d}"}]},
        property={"node": "${env:TEN_TRIO_TEST}"},
    )
    assert await loaded(graph) == {"key": "secret", "deep": [{"x": "d"}], "node": "secret"}


async def test_a_missing_variable_names_itself_its_node_and_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TEN_TRIO_NO_SUCH", raising=False)
    graph = ten.Graph()
    graph.node("it", ten.Extension, property={"a": [{"key": "${env:TEN_TRIO_NO_SUCH}"}]})
    with pytest.RaisesGroup(ten.MissingVariable) as caught:
        await loaded(graph)
    (error,) = caught.value.exceptions
    assert isinstance(error, ten.MissingVariable)
    assert error.path == "a[0].key"
    assert "TEN_TRIO_NO_SUCH" in str(error)
    assert "'it'" in str(error)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("{", ten.InvalidJson, r"property\.json"),
        ("[]", ten.ConfigError, r"property\.json: must be a JSON object"),
        ('{"ten": 5}', ten.ConfigError, "property ten: must be an object"),
    ],
)
async def test_a_wrong_property_json(
    tmp_path: Path, text: str, error: type[Exception], match: str
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(error, match=match)):
        await loaded(graph_of(tmp_path, property_json=text))


async def test_a_wrong_manifest(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, manifest={**MANIFEST, "version": "one"})
    with pytest.RaisesGroup(pytest.RaisesExc(ten.ConfigError, match=r"manifest\.json")):
        await loaded(graph)


# The manifest's schemas ----------------------------------------------------------------------------


async def test_properties_are_adjusted_to_the_manifest(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path,
        manifest=api(**properties(rate="float64", small="int8")),
        property_json={"rate": 1, "free": "text"},
        property={"small": 5},
    )
    found = await loaded(graph)
    assert found == {"rate": 1.0, "small": 5, "free": "text"}
    assert type(found["rate"]) is float


async def test_properties_that_do_not_fit_the_manifest(tmp_path: Path) -> None:
    graph = graph_of(tmp_path, manifest=api(**properties(small="int8")), property={"small": 1_000})
    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.SchemaError, match=r"property of 'it': .*small")
    ) as caught:
        await loaded(graph)
    (error,) = caught.value.exceptions
    assert isinstance(error, ten.SchemaError)
    assert error.path == ".small"


async def test_what_is_set_later_is_checked_at_once(tmp_path: Path) -> None:
    graph = graph_of(
        tmp_path, manifest=api(**properties(small="int8", rate="float64")), property={"small": 5}
    )
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        env = engine._core.instances["it"].env
        with pytest.raises(ten.SchemaError, match=r"extension 'it'.*small"):
            env["small"] = 1_000
        assert env["small"] == 5, "nothing has changed"
        env["rate"] = 2
        assert type(env["rate"]) is float
        env["free"] = {"a": [1]}
        assert env["free.a[0]"] == 1


IN = [{"name": "x", **properties(n="int8")}]


async def test_incoming_data_is_adjusted_or_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    got = []

    class Takes(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            got.append(dict(data.items()))

    graph = graph_of(tmp_path, manifest=api(data_in=IN), base=Takes)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for n in (5, 1_000, 6):
            await engine.send_data(ten.Data("x", {"n": n}, dest="it"))
        await engine.send_data(ten.Data("free", {"n": 1_000}, dest="it"))
        await trio.testing.wait_all_tasks_blocked()
    assert got == [{"n": 5}, {"n": 6}, {"n": 1_000}]
    assert engine.report is not None
    assert engine.report.extensions["it"].dropped == {"schema": 1}
    assert "dropped: data 'x': " in caplog.text


async def test_incoming_commands_that_do_not_fit_are_answered(tmp_path: Path) -> None:
    class Takes(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok(n=cmd["n"]))

    graph = graph_of(tmp_path, manifest=api(cmd_in=IN), base=Takes)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert (await engine.send_cmd(ten.Cmd("x", {"n": 5}, dest="it")))["n"] == 5
        result = await engine.send_cmd(ten.Cmd("x", {"n": 1_000}, dest="it"))
        assert not result.ok
        assert "n" in result.detail


async def test_outgoing_messages_that_do_not_fit_raise(tmp_path: Path) -> None:
    class Sends(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            with pytest.raises(ten.SchemaError, match=r"data 'x'.*n"):
                await env.send_data(ten.Data("x", {"n": 1_000}, dest="other"))
            with pytest.raises(ten.SchemaError, match=r"cmd 'x'.*n"):
                await env.send_cmd(ten.Cmd("x", {"n": 1_000}, dest="other"))
            assert await env.send_data(ten.Data("x", {"n": 1}, dest="other"))
            await env.return_result(cmd.ok())

    graph = graph_of(tmp_path, manifest=api(data_out=IN, cmd_out=IN), base=Sends)
    graph.node("other", ten.Extension)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert (await engine.send_cmd(ten.Cmd("go", dest="it"))).ok


async def test_a_result_that_does_not_fit_leaves_the_command_open(tmp_path: Path) -> None:
    class Answers(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            with pytest.raises(ten.SchemaError):
                await env.return_result(cmd.ok(n=1_000))
            await env.return_result(cmd.ok(n=1))

    cmd_in = [{"name": "x", "result": properties(n="int8")}]
    graph = graph_of(tmp_path, manifest=api(cmd_in=cmd_in), base=Answers)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert (await engine.send_cmd(ten.Cmd("x", dest="it")))["n"] == 1


async def test_a_manifest_imports_from_the_apps_folder(tmp_path: Path) -> None:
    addon = tmp_path / "addon"
    addon.mkdir()
    (tmp_path / "shared.json").write_text(json.dumps({"data_in": IN}))
    imports = {"interface": [{"import_uri": "${app_base_dir}/shared.json"}]}
    graph = graph_of(addon, manifest=api(**imports))
    async with ten.open_app(tmp_path) as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", {"n": 1_000}, dest="it"))
        await trio.testing.wait_all_tasks_blocked()
    assert engine.report is not None
    assert engine.report.extensions["it"].dropped == {"schema": 1}


async def test_files_of_an_addon_in_the_apps_folder(tmp_path: Path) -> None:
    folder = tmp_path / "ten_packages/extension/mine"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(
        "import ten_trio as ten\n@ten.addon('mine')\nclass Mine(ten.Extension): pass\n"
    )
    (folder / "property.json").write_text('{"rate": 1}')
    (folder / "manifest.json").write_text(json.dumps(api(**properties(rate="float32"))))
    graph = ten.Graph()
    graph.node("it", "mine")
    async with ten.open_app(tmp_path) as app, app.open_graph(graph) as engine:
        rate = engine._core.instances["it"].env["rate"]
        assert rate == 1.0
        assert isinstance(rate, float)
