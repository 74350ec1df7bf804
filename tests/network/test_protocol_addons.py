"""Protocols of others: in an app's folder, registered by a program, or installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.errors import ConfigError
from ten_trio.graphs import AppProperty
from ten_trio.network import JsonCodec, Protocols, WireProtocol, protocol
from ten_trio.network.protocol_addons import FolderProtocols
from ten_trio.network.protocols import REGISTERED
from ten_trio.network.settings_file import network_problems
from ten_trio.schemas import ManifestError, parse_manifest

MODULE = """
from ten_trio.network import JsonCodec, protocol
from . import helper

@protocol("lines")
def lines(limits):
    return JsonCodec(limits)
"""

ECHO = """
import ten_trio as ten

@ten.addon("echo")
class Echo(ten.Extension):
    async def on_cmd(self, env, cmd):
        await env.return_result(cmd.ok(cmd.properties))
"""


def package(folder: Path, module: str = MODULE, **manifest: Any) -> Path:
    """An app folder with a protocol `lines` for lines:// and other://."""
    place = folder / "ten_packages" / "protocol" / "lines"
    place.mkdir(parents=True)
    content = {"type": "protocol", "name": "lines", "version": "0.1.0", **manifest}
    content.setdefault("protocol", ["lines", "other"])
    (place / "manifest.json").write_text(json.dumps(content))
    (place / "helper.py").write_text("")
    (place / "protocol.py").write_text(module)
    return folder


async def test_an_app_listens_by_a_protocol_of_its_folder(tmp_path: Path) -> None:
    package(tmp_path, transport_type="ws")
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "echo.py").write_text(ECHO)
    node = {"type": "extension", "name": "e", "addon": "echo"}
    exposed = [{"type": "cmd_in", "name": "hello", "extension": "e"}]
    graph = {"nodes": [node], "exposed_messages": exposed}
    graphs = [{"name": "g", "singleton": True, "graph": graph}]
    (tmp_path / "property.json").write_text(json.dumps({"ten": {"predefined_graphs": graphs}}))
    with trio.fail_after(10):
        async with ten.open_app(tmp_path, uri="lines://127.0.0.1:0") as app:
            mine = WireProtocol("lines", {"lines": "ws"}, JsonCodec)
            async with ten.connect(app.uri, graph="g", protocols=[mine]) as client:
                result = await client.send_cmd(ten.Cmd("hello", {"n": 1}))
            assert result["n"] == 1
    assert not any(name.startswith("ten_trio_protocols") for name in sys.modules)


def test_a_folders_schemes_are_no_slips(tmp_path: Path) -> None:
    package(tmp_path, protocol=["jsonl"])
    uris = ["jsonl://127.0.0.1:1", "jsonx://127.0.0.1:1"]
    app = AppProperty.from_json({"ten": {"listen": uris}}, base_dir=tmp_path)
    (problem,) = network_problems(app)
    assert problem.path == "ten.listen[1]"
    manifest = tmp_path / "ten_packages" / "protocol" / "lines" / "manifest.json"
    manifest.write_text("{}")
    (problem,) = network_problems(app)
    assert "manifest.json" in problem.message


def test_a_folder_is_looked_at_when_it_is_needed(tmp_path: Path) -> None:
    package(tmp_path, "raise ValueError('imported')")
    protocols = Protocols(FolderProtocols(tmp_path).find)
    protocols.find("msgpack://127.0.0.1:1")
    with pytest.raises(ConfigError, match="no protocol for third"):
        protocols.find("third://127.0.0.1:1")
    with pytest.raises(ValueError, match="imported"):
        protocols.find("other://127.0.0.1:1")


def test_every_scheme_of_a_manifest(tmp_path: Path) -> None:
    protocols = Protocols(FolderProtocols(package(tmp_path)).find)
    for scheme in ("lines", "other"):
        found, _ = protocols.find(f"{scheme}://127.0.0.1:1")
        assert (found.name, found.schemes) == ("lines", {"lines": "tcp", "other": "tcp"})
    assert "lines" not in REGISTERED


def test_a_module_without_a_codec(tmp_path: Path) -> None:
    protocols = Protocols(FolderProtocols(package(tmp_path, "")).find)
    with pytest.raises(ConfigError, match=r"protocol\.py has no codec for lines://"):
        protocols.find("lines://127.0.0.1:1")


def test_a_package_of_the_original_is_passed_over(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "ten_packages" / "protocol" / "lines" / "protocol.py").unlink()
    with pytest.raises(ConfigError, match="no protocol for lines"):
        Protocols(FolderProtocols(tmp_path).find).find("lines://127.0.0.1:1")


def test_a_wrong_manifest(tmp_path: Path) -> None:
    package(tmp_path, protocol="lines")
    with pytest.raises(ManifestError, match="protocol: expected an array"):
        Protocols(FolderProtocols(tmp_path).find).find("lines://127.0.0.1:1")
    content = {"type": "extension", "name": "x", "version": "1.0.0", "protocol": ["x"]}
    with pytest.raises(ManifestError, match='of type "extension" can\'t have this'):
        parse_manifest(content)


def test_a_program_registers_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ten_trio.network.protocol_addons.REGISTERED", REGISTERED)
    monkeypatch.setitem(REGISTERED, "mine", WireProtocol("mine", {"mine": "tcp"}, JsonCodec))
    monkeypatch.delitem(REGISTERED, "mine")
    protocol("mine")(JsonCodec)
    found, _ = Protocols().find("mine://127.0.0.1:1")
    assert found.codec is JsonCodec
    protocol("mine")(lambda limits: JsonCodec(limits))
    assert "mine:// is registered already" in caplog.text
    assert Protocols().find("mine://127.0.0.1:1")[0] is found


class Point:
    """An entry point."""

    def __init__(self, loaded: object) -> None:
        self.name = "point"
        self._loaded = loaded

    def load(self) -> object:
        return self._loaded


def test_installed_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    made = WireProtocol("apart", {"apart": "tcp"}, JsonCodec)
    points = [Point(made)]
    monkeypatch.setattr("ten_trio.network.protocols.entry_points", lambda group: points)
    assert Protocols().find("apart://127.0.0.1:1")[0] is made
    points.append(Point("nothing"))
    with pytest.raises(ConfigError, match="'point' is no WireProtocol"):
        Protocols().find("unknown://127.0.0.1:1")

    def decorated(limits: Any) -> JsonCodec:
        return JsonCodec(limits)

    monkeypatch.setitem(REGISTERED, "ours", WireProtocol("ours", {"ours": "tcp"}, decorated))
    points[1:] = [Point(decorated)]
    assert Protocols().find("ours://127.0.0.1:1")[0].codec is decorated
    with pytest.raises(ConfigError, match=r"known schemes are .*ours"):
        Protocols().find("unknown://127.0.0.1:1")
