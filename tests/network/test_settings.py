"""What bounds the network, and how a property.json says it."""

from __future__ import annotations

import json
import re
import ssl
from math import inf, nan
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization

import ten_trio as ten
from ten_trio.cli import main
from ten_trio.errors import MissingVariable
from ten_trio.graphs import AppProperty
from ten_trio.network import CodecLimits, NetworkSettings
from ten_trio.network.settings_file import (
    KEYS,
    NetworkConfigError,
    network_problems,
    network_settings,
)

TLS_KEYS = "ca, certificate, client_ca, client_certificate, client_key, client_required, key"
DOCS = Path(__file__).parents[2] / "docs"


def read(network: Any, base_dir: Path | None = None, **ten_section: Any) -> NetworkSettings:
    section = {"ten": {**ten_section, "network": network}}
    return network_settings(AppProperty.from_json(section, base_dir=base_dir))


def problems(network: Any, base_dir: Path | None = None, **ten_section: Any) -> list[str]:
    with pytest.raises(NetworkConfigError) as caught:
        read(network, base_dir, **ten_section)
    return [str(problem) for problem in caught.value.problems]


# The settings by themselves ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("connections", 0),
        ("connections", -1),
        ("connections", 2.5),
        ("connections", True),
        ("pending_cmds", "many"),
        ("handshake_timeout", 0),
        ("idle_timeout", nan),
        ("connect_retries", -1),
        ("connect_retries", 1.5),
        ("token", "smörgås"),
        ("token", "two\nlines"),
        ("token", " blank first"),
        ("start_graphs", "all"),
    ],
)
def test_what_can_not_be(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        NetworkSettings(**{name: value})


def test_what_can_be() -> None:
    made = NetworkSettings(connections=inf, idle_timeout=inf, connect_retries=0)  # type: ignore[arg-type]
    assert made.connections == inf


def test_a_token_is_in_no_text() -> None:
    assert "s3cret" not in repr(NetworkSettings(token="s3cret"))


# In a property.json -----------------------------------------------------------------------------


def test_nothing_said_is_the_default() -> None:
    assert network_settings(AppProperty()) == NetworkSettings()
    assert read({}) == NetworkSettings()


def test_everything_said() -> None:
    said = {
        "connections": 7,
        "handshake_timeout": 1,
        "first_message_timeout": 2.5,
        "idle_timeout": 60,
        "send_timeout": 3,
        "close_timeout": 0.5,
        "out_queue": 8,
        "out_bytes": 9,
        "pending_cmds": 10,
        "graphs": 11,
        "connect_timeout": 12,
        "connect_retries": 0,
        "retry_delay": 13,
        "reconnect_delay": 14,
        "reconnect_delay_max": 15,
        "patience": 0.1,
        "token": "let me in",
        "start_graphs": "none",
        "outside_addons": ["echo"],
        "close_app": False,
        "websocket_driver": "websockets",
    }
    codec = {"max_message": 1_000, "max_depth": 3, "max_properties": 4, "max_string": 5}
    expected = NetworkSettings(
        codec=CodecLimits(**codec),
        **{**said, "outside_addons": ("echo",)},  # type: ignore[arg-type]
    )
    assert read({**said, **codec}) == expected


def test_every_setting_can_be_said() -> None:
    made = {"codec", "server_ssl", "client_ssl"}
    fields = {field.name for field in attrs.fields(NetworkSettings)} - made
    fields |= {field.name for field in attrs.fields(CodecLimits)}
    assert fields | {"tls"} == set(KEYS)
    assert len(KEYS) == len(set(KEYS))


def test_all_problems_at_once() -> None:
    wrong = {
        "conections": 1,
        "handshake_timeout": "soon",
        "out_queue": 2.5,
        "graphs": 0,
        "idle_timeout": True,
        "max_depth": -1,
        "start_graphs": "predifined",
        "outside_addons": ["a", 1],
        "token": 5,
        "close_app": "yes",
        "websocket_driver": "other",
        "tls": {"cert": "x.pem"},
    }
    found = problems(wrong, listen=["mgspack://127.0.0.1:1"])
    assert found == [
        'ten.listen[0]: unknown scheme "mgspack"; did you mean "msgpack"?',
        'ten.network.conections: unknown key "conections"; did you mean "connections"?',
        "ten.network.max_depth: is a positive integer, not -1",
        "ten.network.handshake_timeout: expected a number, found a string",
        "ten.network.idle_timeout: expected a number, found a boolean",
        "ten.network.out_queue: expected an integer, found a number",
        "ten.network.graphs: must be positive, not 0",
        "ten.network.token: expected a string, found an integer",
        'ten.network.start_graphs: unknown value "predifined"; did you mean "predefined"?',
        "ten.network.outside_addons[1]: expected a string, found an integer",
        "ten.network.close_app: expected a boolean, found a string",
        'ten.network.websocket_driver: unknown value "other"; known: trio-websocket, websockets',
        f'ten.network.tls.cert: unknown key "cert"; known: {TLS_KEYS}',
    ]


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"listen": "ws://127.0.0.1:1"}, "ten.listen: must be an array, not a string"),
        ({"listen": [1]}, "ten.listen[0]: must be a string, not an integer"),
        (
            {"listen": ["here"]},
            'ten.listen[0]: "here" is not a URI; for example msgpack://127.0.0.1:8001/',
        ),
        ({"network": []}, "ten.network: must be an object, not an array"),
        ({"network": {"token": None}}, "ten.network.token: null is not allowed; leave the key out"),
    ],
)
def test_what_no_property_json_has(section: dict[str, Any], problem: str) -> None:
    with pytest.raises(ten.GraphError) as caught:
        AppProperty.from_json({"ten": section})
    assert [str(each) for each in caught.value.problems] == [problem]


def test_what_is_wrong_with_an_address() -> None:
    assert problems({}, listen=["ws://127.0.0.1:99999", "ws://u:p@h"]) == [
        "ten.listen[0]: 'ws://127.0.0.1:99999' is no URI: Port out of range 0-65535",
        "ten.listen[1]: ws://…@h: a URI here holds no password",
    ]
    assert problems({}, uri="ws://127.0.0.1:1", listen=["ws://127.0.0.1:1"]) == [
        'ten.listen[0]: "ws://127.0.0.1:1" is there twice'
    ]
    # A program can bring schemes of its own.
    assert not network_problems(AppProperty(listen=["carrier-pigeon://loft", "client:desk"]))


def test_the_older_key_of_the_section() -> None:
    app = AppProperty.from_json({"_ten": {"network": {"graphs": 0}, "listen": []}})
    (problem,) = network_problems(app)
    assert problem.path == "_ten.network.graphs"


def test_the_token_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    said = {"ten": {"network": {"token": "${env:TEN_TEST_TOKEN}", "graphs": 3}}}
    monkeypatch.delenv("TEN_TEST_TOKEN", raising=False)
    assert not network_problems(AppProperty.from_json(said))  # it needn't be set to be checked
    with pytest.raises(MissingVariable, match=re.escape("ten.network.token")):
        AppProperty.from_json(said, environ={})
    app = AppProperty.from_json(said, environ={"TEN_TEST_TOKEN": "abc"})
    assert network_settings(app).token == "abc"


def test_it_is_written_as_it_was_read() -> None:
    text = {"ten": {"listen": ["ws://127.0.0.1:0"], "network": {"graphs": 3}}, "mine": 1}
    assert AppProperty.from_json(text).to_dict() == text


# TLS --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("certificates")
    ca = trustme.CA()
    ca.cert_pem.write_to_path(made / "ca.pem")
    server = ca.issue_cert("127.0.0.1")
    server.private_key_and_cert_chain_pem.write_to_path(made / "both.pem")
    server.private_key_pem.write_to_path(made / "key.pem")
    for number, blob in enumerate(server.cert_chain_pems):
        blob.write_to_path(made / "cert.pem", append=number > 0)
    ca.issue_cert("friend").private_key_and_cert_chain_pem.write_to_path(made / "friend.pem")
    (made / "nonsense.pem").write_text("nothing\n")
    return made


def test_certificates(folder: Path) -> None:
    made = read({"tls": {"certificate": "cert.pem", "key": "key.pem"}}, folder)
    assert made.server_ssl is not None
    assert made.server_ssl.verify_mode is ssl.CERT_NONE
    assert made.client_ssl is None
    made = read({"tls": {"certificate": "both.pem", "client_ca": "ca.pem"}}, folder)
    assert made.server_ssl is not None
    assert made.server_ssl.verify_mode is ssl.CERT_REQUIRED
    tls = {"certificate": "both.pem", "client_ca": "ca.pem", "client_required": False}
    made = read({"tls": tls}, folder)
    assert made.server_ssl is not None
    assert made.server_ssl.verify_mode is ssl.CERT_OPTIONAL
    made = read({"tls": {"ca": "ca.pem", "client_certificate": "friend.pem"}}, folder)
    assert made.client_ssl is not None
    assert made.client_ssl.verify_mode is ssl.CERT_REQUIRED
    assert made.client_ssl.check_hostname
    assert len(made.client_ssl.get_ca_certs()) == 1  # and nobody else's
    assert made.server_ssl is None
    made = read({"tls": {"client_certificate": "friend.pem"}}, folder)
    assert made.client_ssl is not None
    assert made.client_ssl.verify_mode is ssl.CERT_REQUIRED  # by what the machine trusts


@pytest.mark.parametrize(
    ("tls", "problem"),
    [
        ({"certificate": "gone.pem"}, "certificate: no such file: {folder}/gone.pem"),
        ({"certificate": ""}, "certificate: must not be empty"),
        ({"key": "key.pem"}, 'key: needs "certificate"'),
        ({"client_key": "key.pem"}, 'client_key: needs "client_certificate"'),
        (
            {"client_ca": "ca.pem"},
            'client_ca: needs "certificate"; it is for those who connect here',
        ),
        ({"certificate": "both.pem", "client_required": 1}, None),
        (
            {"certificate": "both.pem", "client_required": True},
            'client_required: needs "client_ca"',
        ),
        (
            {"certificate": "cert.pem"},
            'certificate: can\'t be loaded: …; its key has to be in there too, or in "key"',
        ),
        ({"ca": "nonsense.pem"}, "ca: can't be loaded: no certificate or crl found"),
    ],
)
def test_certificates_that_can_not_be(
    folder: Path, tls: dict[str, Any], problem: str | None
) -> None:
    found = problems({"tls": tls}, folder)
    if problem is not None:
        begins, _, ends = problem.replace("{folder}", str(folder)).partition("…")
        (text,) = found
        assert text.startswith(f"ten.network.tls.{begins}")
        assert text.endswith(ends)


def test_an_encrypted_key_asks_nobody(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    secret = serialization.BestAvailableEncryption(b"secret")
    encrypted = key.private_bytes(serialization.Encoding.PEM, form, secret)
    (folder / "locked.pem").write_bytes(encrypted)
    (found,) = problems({"tls": {"certificate": "cert.pem", "key": "locked.pem"}}, folder)
    assert "the key is encrypted" in found


def test_a_file_named_by_the_environment_is_not_looked_for() -> None:
    said = {"ten": {"network": {"tls": {"certificate": "${env:CERT}", "key": "/none/such"}}}}
    (found,) = network_problems(AppProperty.from_json(said))
    assert "/none/such" in str(found)


# Where it counts --------------------------------------------------------------------------------


async def test_an_app_listens_where_it_says(tmp_path: Path) -> None:
    said = {"ten": {"listen": ["json://127.0.0.1:0"], "network": {"graphs": 3}}}
    (tmp_path / "property.json").write_text(json.dumps(said))
    with trio.fail_after(10):
        async with ten.open_app(tmp_path) as app:
            assert app.uri.startswith("json://127.0.0.1:")
            assert network_of(app).graphs == 3
        # What is said in the program wins.
        own = NetworkSettings(graphs=4)
        async with ten.open_app(tmp_path, listen=["ws://127.0.0.1:0"], network=own) as app:
            assert app.uri.startswith("ws://127.0.0.1:")
            assert network_of(app).graphs == 4


def network_of(app: ten.App) -> NetworkSettings:
    network: Any = app.network
    settings: NetworkSettings = network.settings
    return settings


async def test_an_app_with_wrong_settings_does_not_begin(tmp_path: Path) -> None:
    (tmp_path / "property.json").write_text('{"ten": {"network": {"graps": 3}}}')
    with pytest.raises(NetworkConfigError) as caught:
        async with ten.open_app(tmp_path):
            pass
    assert str(caught.value).startswith(f"{tmp_path / 'property.json'}: ten.network.graps: unknown")
    assert caught.value.path == "ten.network.graps"


def test_check_reports_them(tmp_path: Path) -> None:
    said = {"ten": {"listen": ["wz://x"], "network": {"graps": 3, "max_depth": 0}}}
    (tmp_path / "property.json").write_text(json.dumps(said))
    done = CliRunner().invoke(main, ["check", "--json", str(tmp_path)])
    found = {(each["path"], each["message"]) for each in json.loads(done.stdout)["problems"]}
    assert done.exit_code == 1
    assert ("ten.network.graps", 'unknown key "graps"') in found
    assert ("ten.network.max_depth", "is a positive integer, not 0") in found
    assert not any(path.startswith("ten.listen") for path, _ in found)


# The page ---------------------------------------------------------------------------------------


def written(name: str, value: object) -> str:
    if value is None or value == ():
        return "\N{EN DASH}"
    if value == inf:
        return "never"
    if value == "":
        return "empty"
    if name in ("max_message", "out_bytes"):
        return f"{int(str(value)) / 2**20:g} MiB"
    return f"{value:,}" if isinstance(value, int) else str(value).removesuffix(".0")


def test_the_page_has_every_setting_with_its_default() -> None:
    text = (DOCS / "network.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", text, re.MULTILINE))
    fields = {**attrs.fields_dict(NetworkSettings), **attrs.fields_dict(CodecLimits)}
    expected = {name: written(name, fields[name].default) for name in fields if name in KEYS}
    assert {name: rows.get(name) for name in expected} == expected
