"""Manifests: what is accepted, and that everything wrong is reported with its place."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ten_trio.errors import ConfigError
from ten_trio.messages.values import ValueType
from ten_trio.schemas import (
    Dependency,
    DocumentError,
    Manifest,
    ManifestError,
    ObjectSchema,
    Scalar,
    compile_type,
    load_manifest,
    parse_manifest,
)

INT8 = {"type": "int8"}
BASE = {"type": "extension", "name": "greeter", "version": "1.2.3"}


def manifest(**more: Any) -> dict[str, Any]:
    return {**BASE, **more}


def problems_of(obj: object, **options: Any) -> dict[str, str]:
    """Return the problems of a manifest, path to message and hint."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(obj, **options)
    return {each.path: f"{each.message}; {each.hint}" for each in caught.value.problems}


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_smallest_manifest() -> None:
    parsed = parse_manifest(BASE)
    assert parsed == Manifest("extension", "greeter", "1.2.3")
    assert parsed.schemas.property is None
    assert parsed.schemas.message("in", "cmd", "hello") is None


def test_everything_a_manifest_may_say() -> None:
    parsed = parse_manifest(
        manifest(
            description={"locales": {"en-US": {"content": "hi"}}},
            display_name={},
            readme={},
            tags=["demo", "python"],
            dependencies=[
                {"type": "system", "name": "ten_runtime", "version": "0.8"},
                {"path": "../other"},
            ],
            dev_dependencies=[{"type": "extension", "name": "x", "version": "^1.0"}],
            supports=[{"os": "linux", "arch": "x64"}],
            package={"include": ["**"]},
            scripts={"start": "python main.py"},
            api={},
        )
    )
    assert parsed.tags == ("demo", "python")
    assert parsed.dependencies == (
        Dependency("system", "ten_runtime", "0.8"),
        Dependency(path="../other"),
    )
    assert [each.name for each in parsed.dev_dependencies] == ["x"]
    assert parsed.details["scripts"] == {"start": "python main.py"}
    assert set(parsed.details) == {
        "description",
        "display_name",
        "readme",
        "supports",
        "package",
        "scripts",
    }


def test_lookup_by_direction_kind_and_name() -> None:
    def properties(kind: str) -> dict[str, Any]:
        return {"properties": {"x": {"type": kind}}}

    parsed = parse_manifest(
        manifest(
            api={
                "property": properties("bool"),
                "cmd_in": [
                    {
                        "name": "hello",
                        "property": {**properties("int8"), "required": ["x"]},
                        "result": {"property": properties("string")},
                    },
                    {"name": "bare"},
                    {"name": "empty", "property": {"properties": {}}},
                ],
                "cmd_out": [{"name": "hello", "result": {"property": properties("buf")}}],
                "data_in": [{"name": "text", "property": properties("int16")}],
                "data_out": [{"name": "text", "property": properties("int32")}],
                "audio_frame_in": [{"name": "pcm", "property": properties("uint8")}],
                "audio_frame_out": [{"name": "pcm", "property": properties("uint16")}],
                "video_frame_in": [{"name": "img", "property": properties("uint32")}],
                "video_frame_out": [{"name": "img", "property": properties("uint64")}],
            }
        )
    )
    schemas = parsed.schemas

    def kind_of(found: ObjectSchema | None) -> ValueType:
        assert found is not None
        return found.properties["x"].type

    assert kind_of(schemas.property) is ValueType.BOOL
    hello = schemas.message("in", "cmd", "hello")
    assert hello == ObjectSchema({"x": Scalar(ValueType.INT8)}, ["x"])
    assert kind_of(schemas.result("in", "hello")) is ValueType.STRING
    assert kind_of(schemas.result("out", "hello")) is ValueType.BUF
    assert kind_of(schemas.message("in", "data", "text")) is ValueType.INT16
    assert kind_of(schemas.message("out", "data", "text")) is ValueType.INT32
    assert kind_of(schemas.message("in", "audio_frame", "pcm")) is ValueType.UINT8
    assert kind_of(schemas.message("out", "audio_frame", "pcm")) is ValueType.UINT16
    assert kind_of(schemas.message("in", "video_frame", "img")) is ValueType.UINT32
    assert kind_of(schemas.message("out", "video_frame", "img")) is ValueType.UINT64
    # No declaration, or one that allows everything, means no check.
    assert schemas.message("out", "cmd", "hello") is None
    assert schemas.message("in", "cmd", "bare") is None
    assert schemas.message("in", "cmd", "empty") is None
    assert schemas.message("in", "data", "pcm") is None
    assert schemas.result("in", "bare") is None
    assert parsed.schemas is schemas


@pytest.mark.parametrize(
    "version", ["0.0.0", "1.2.3", "1.2.3-rc.1", "1.0.0-0a.b-c+build.007", "10.20.30+x"]
)
def test_versions_accepted(version: str) -> None:
    assert parse_manifest(manifest(version=version)).version == version


@pytest.mark.parametrize(
    "version", ["1", "1.2", "01.2.3", "1.2.3-", "1.2.3-01", "v1.2.3", "1.2.3 ", "1.2.3\n", ""]
)
def test_versions_refused(version: str) -> None:
    assert "semantic version" in problems_of(manifest(version=version))["version"]


@pytest.mark.parametrize("name", ["", "1x", "a-b", "a.b", "ä", "a\n", " a"])
def test_names_must_be_identifiers(name: str) -> None:
    assert "no identifier" in problems_of(manifest(name=name))["name"]
    api = {"data_in": [{"name": name}]}
    assert "no identifier" in problems_of(manifest(api=api))["api.data_in[0].name"]


def test_all_problems_are_reported_at_once_with_their_paths() -> None:
    found = problems_of(
        {
            "type": "extensoin",
            "version": 3,
            "nmae": "greeter",
            "tags": ["ok", 1],
            "dependencies": [{"type": "system"}, {"name": 1, "vresion": "1"}],
            "api": {
                "property": {"properties": {"a": {"type": "int33"}}, "required": ["a"]},
                "cmd_in": [
                    {"property": {"properties": {"l": {"type": "array"}}}},
                    {"name": "x", "result": {"properties": {}}},
                ],
                "data_in": [{"name": "d", "result": {}}, {"name": "e", "property": {"x": INT8}}],
                "audio_frame_in": {},
                "cmd_inn": [],
            },
        }
    )
    assert 'did you mean "extension"' in found["type"]
    assert 'did you mean "name"' in found["nmae"]
    assert 'did you mean "int32"' in found["api.property.properties.a.type"] or (
        'did you mean "int' in found["api.property.properties.a.type"]
    )
    assert 'did you mean "cmd_in"' in found["api.cmd_inn"]
    assert 'write {"properties"' in found["api.data_in[1].property"]
    assert set(found) == {
        "type",
        "version",
        "nmae",
        "",
        "tags[1]",
        "dependencies[0]",
        "dependencies[1]",
        "dependencies[1].name",
        "dependencies[1].vresion",
        "api.property.properties.a.type",
        "api.property.required",
        "api.cmd_in[0]",
        "api.cmd_in[0].property.properties.l",
        "api.cmd_in[1].result",
        "api.cmd_in[1].result.properties",
        "api.data_in[0].result",
        "api.data_in[1].property",
        "api.audio_frame_in",
        "api.cmd_inn",
    }


@pytest.mark.parametrize(
    ("description", "path", "message"),
    [
        ({}, "t", '"type" is required'),
        ({"type": "null"}, "t.type", 'unknown type "null"'),
        ({"type": 1}, "t.type", "expected a string, found an integer"),
        ({"type": ["int8"]}, "t.type", "expected a string, found an array"),
        ("int8", "t", "expected an object, found a string"),
        ({"type": "object"}, "t", '"properties" is required'),
        ({"type": "object", "properties": []}, "t.properties", "expected an object"),
        ({"type": "int8", "items": INT8}, "t.items", 'for type "array" only'),
        ({"type": "int8", "properties": {}}, "t.properties", 'for type "object" only'),
        ({"type": "array", "items": INT8, "required": []}, "t.required", '"object" only'),
        ({"type": "int8", "enum": [1]}, "t.enum", 'unknown key "enum"'),
        ({"type": "int8", "description": 1}, "t.description", "expected a string"),
        ({"type": "object", "properties": {}, "required": "a"}, "t.required", "expected an array"),
        (
            {"type": "object", "properties": {}, "required": [True]},
            "t.required[0]",
            "expected a string, found a boolean",
        ),
        (
            {"type": "object", "properties": {"odd key": {"type": "x"}}},
            't.properties["odd key"].type',
            'unknown type "x"',
        ),
    ],
)
def test_wrong_types(description: object, path: str, message: str) -> None:
    with pytest.raises(DocumentError) as caught:
        compile_type(description, "t")
    (problem,) = caught.value.problems
    assert problem.path == path
    assert message in problem.message


def test_types_nested_without_end_are_refused() -> None:
    description: dict[str, Any] = INT8
    for _ in range(500):
        description = {"type": "array", "items": description}
    with pytest.raises(DocumentError, match="deep at most"):
        compile_type(description)


@pytest.mark.parametrize("obj", [None, 1, "x", [], True])
def test_a_manifest_must_be_an_object(obj: object) -> None:
    assert "expected an object" in problems_of(obj)[""]


def test_null_is_not_the_same_as_absent() -> None:
    assert "found null" in problems_of(manifest(api=None))["api"]
    assert "found null" in problems_of(manifest(tags=None))["tags"]


def test_what_package_types_may_declare() -> None:
    own = {"property": {"properties": {"a": INT8}}}
    assert parse_manifest(manifest(type="app", api=own)).schemas.property is not None
    found = problems_of(manifest(type="app", api={**own, "cmd_in": [], "interface": []}))
    assert set(found) == {"api.cmd_in", "api.interface"}
    for kind in ("system", "protocol", "addon_loader"):
        assert parse_manifest(manifest(type=kind, api={})).type == kind
        assert "api.property" in problems_of(manifest(type=kind, api=own))


def test_equal_duplicates_merge_and_different_ones_are_refused() -> None:
    def data(kind: str) -> dict[str, Any]:
        return {"name": "text", "property": {"properties": {"x": {"type": kind}}}}

    merged = parse_manifest(manifest(api={"data_in": [data("int8"), data("int8")]}))
    assert list(merged.api.messages["data_in"]) == ["text"]
    found = problems_of(manifest(api={"data_in": [data("int8"), data("int16")]}))
    assert "declared differently at api.data_in[0]" in found["api.data_in[1]"]
    # The same name in another list is another message.
    parse_manifest(manifest(api={"data_in": [data("int8")], "data_out": [data("int16")]}))


def test_error_is_a_config_error_that_names_the_file_and_pickles(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", {**BASE, "type": "x", "name": "?"})
    with pytest.raises(ConfigError) as caught:
        load_manifest(file)
    error = caught.value
    assert isinstance(error, ManifestError)
    assert str(error).startswith(f"{file}: 2 problems\n")
    assert error.file == str(file)
    assert error.path == "type"
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is ManifestError
    assert (str(copy), copy.problems) == (str(error), error.problems)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON: .* line 1 column"),
        (b"", "is not JSON"),
        (b"[]", "must contain a JSON object"),
        (b"\xff\xfe", "is not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_unreadable_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "manifest.json"
    file.write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        load_manifest(file)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"can't read .*nowhere.json: No such file"):
        load_manifest(tmp_path / "nowhere.json")
    with pytest.raises(ManifestError, match="can't read"):
        load_manifest(tmp_path)


def test_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(BASE), encoding="utf-8-sig")
    assert load_manifest(file).file == file


KEYS = ("type", "name", "version", "api", "property", "properties", "items", "required", "result")
MORE_KEYS = ("cmd_in", "data_out", "interface", "import_uri", "dependencies", "tags", "path")
TEXTS = ("array", "object", "int8", "extension", "1.0.0", "x", "http://x", "x:y", "a.json")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS + MORE_KEYS) | st.text(max_size=3),
            inner | st.sampled_from(TEXTS),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_garbage_is_a_manifest_or_a_manifest_error(obj: object) -> None:
    try:
        parse_manifest(obj)
    except ManifestError as error:
        assert error.problems


@given(JSON)
def test_garbage_api_is_a_manifest_or_a_manifest_error(obj: object) -> None:
    try:
        parse_manifest(manifest(api=obj))
    except ManifestError as error:
        assert all(problem.path.startswith("api") for problem in error.problems)
