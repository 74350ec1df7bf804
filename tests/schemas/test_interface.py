"""Interfaces: importing parts of an api from other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ten_trio.schemas import Manifest, ManifestError, load_manifest, parse_manifest


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def data(name: str, kind: str = "int8") -> dict[str, Any]:
    return {"name": name, "property": {"properties": {"x": {"type": kind}}}}


def imports(*uris: str) -> list[dict[str, str]]:
    return [{"import_uri": uri} for uri in uris]


def extension(**api: Any) -> dict[str, Any]:
    return {"type": "extension", "name": "x", "version": "1.0.0", "api": api}


def names(manifest: Manifest, key: str = "data_in") -> list[str]:
    return sorted(manifest.api.messages.get(key, {}))


def problems_of(file: Path, **options: Any) -> dict[str, str]:
    with pytest.raises(ManifestError) as caught:
        load_manifest(file, **options)
    return {each.path: f"{each.message}; {each.hint}" for each in caught.value.problems}


def test_imports_are_relative_to_the_importing_file(tmp_path: Path) -> None:
    file = write(
        tmp_path / "ext" / "manifest.json",
        extension(interface=imports("../base/api/one.json"), data_in=[data("own")]),
    )
    write(
        tmp_path / "base" / "api" / "one.json",
        {"interface": imports("two.json"), "data_in": [data("one")]},
    )
    write(
        tmp_path / "base" / "api" / "two.json",
        {
            "data_in": [data("two")],
            "property": {"properties": {"p": {"type": "bool"}}, "required": ["p"]},
        },
    )
    loaded = load_manifest(file)
    assert names(loaded) == ["one", "own", "two"]
    own = loaded.schemas.property
    assert own is not None
    assert set(own.properties) == {"p"}
    # An imported `required` has no effect.
    assert own.required == frozenset()


def test_file_uri_and_app_base_dir(tmp_path: Path) -> None:
    one = write(tmp_path / "some where" / "one.json", {"data_in": [data("one")]})
    write(tmp_path / "app" / "api" / "two.json", {"data_in": [data("two")]})
    file = write(
        tmp_path / "ext" / "manifest.json",
        extension(interface=imports(one.as_uri(), "${app_base_dir}/api/two.json")),
    )
    assert names(load_manifest(file, app_base_dir=tmp_path / "app")) == ["one", "two"]
    found = problems_of(file)
    assert "${app_base_dir} is not known" in found["api.interface[1].import_uri"]


def test_parsed_manifest_needs_a_base_for_relative_imports(tmp_path: Path) -> None:
    write(tmp_path / "one.json", {"data_in": [data("one")]})
    obj = extension(interface=imports("one.json"))
    assert names(parse_manifest(obj, base_dir=tmp_path)) == ["one"]
    with pytest.raises(ManifestError, match="relative import needs"):
        parse_manifest(obj)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("", "must not be empty"),
        ("http://example.com/a.json", "http imports are not supported; download"),
        ("https://example.com/a.json", "https imports are not supported; download"),
        ("ftp://example.com/a.json", 'unknown scheme "ftp"'),
        ("file://host/a.json", "three slashes"),
        ("file://", "three slashes"),
        ("nowhere.json", "can't read"),
        (".", "can't read"),
        ("bad\x00name.json", "is no URI or path"),
        ("http://[x", "is no URI or path"),
    ],
)
def test_imports_that_lead_nowhere(tmp_path: Path, uri: str, message: str) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports(uri)))
    assert message in problems_of(file)["api.interface[0].import_uri"]


def test_a_loop_of_links_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "loop.json").symlink_to("loop.json")
    file = write(tmp_path / "manifest.json", extension(interface=imports("loop.json")))
    assert set(problems_of(file)) == {"api.interface[0].import_uri"}


def test_import_entries_are_checked(tmp_path: Path) -> None:
    file = write(
        tmp_path / "manifest.json", extension(interface=[{}, {"import_uri": 1, "x": 1}, "a.json"])
    )
    assert set(problems_of(file)) == {
        "api.interface[0]",
        "api.interface[1].import_uri",
        "api.interface[1].x",
        "api.interface[2]",
    }


def test_circular_imports_are_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports("a.json")))
    write(tmp_path / "a.json", {"interface": imports("sub/../b.json")})
    write(tmp_path / "b.json", {"interface": imports("a.json")})
    (path, message), *rest = problems_of(file).items()
    assert not rest
    assert path == f"{tmp_path / 'b.json'}#interface[0].import_uri"
    assert "circular import: a.json -> b.json -> a.json" in message


def test_a_file_that_imports_itself(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports("manifest.json")))
    assert "circular" in problems_of(file)["api.interface[0].import_uri"]


def test_the_same_file_by_two_ways_is_not_circular(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports("a.json", "b.json")))
    write(tmp_path / "a.json", {"interface": imports("shared.json")})
    write(tmp_path / "b.json", {"interface": imports("shared.json")})
    write(tmp_path / "shared.json", {"data_in": [data("shared")]})
    assert names(load_manifest(file)) == ["shared"]


def test_different_declarations_name_both_places(tmp_path: Path) -> None:
    file = write(
        tmp_path / "manifest.json",
        extension(
            interface=imports("a.json"),
            data_in=[data("same"), data("other")],
            property={"properties": {"p": {"type": "int8"}, "q": {"type": "int8"}}},
        ),
    )
    write(
        tmp_path / "a.json",
        {
            "data_in": [data("same"), data("other", "int16")],
            "property": {"properties": {"p": {"type": "int16"}, "q": {"type": "int8"}}},
        },
    )
    found = problems_of(file)
    inner = f"{tmp_path / 'a.json'}#"
    assert set(found) == {f"{inner}data_in[1]", f"{inner}property"}
    assert "declared differently at api.data_in[1]" in found[f"{inner}data_in[1]"]
    assert (
        'property "p" is declared differently at api.property.properties.p'
        in (found[f"{inner}property"])
    )


def test_problems_in_an_imported_file_name_that_file(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports("a.json", "b.json")))
    write(tmp_path / "a.json", {"cmd_in": [data("x", "int7")]})
    (tmp_path / "b.json").write_text("nonsense", encoding="utf-8")
    found = problems_of(file)
    assert "unknown type" in found[f"{tmp_path / 'a.json'}#cmd_in[0].property.properties.x.type"]
    assert "is not JSON" in found["api.interface[1].import_uri"]


def test_stray_keys_in_files_of_others_are_let_pass(tmp_path: Path) -> None:
    file = write(tmp_path / "manifest.json", extension(interface=imports("a.json")))
    write(tmp_path / "a.json", {"note": 1, "data_in": [{**data("x"), "required": ["x"]}]})
    loaded = load_manifest(file)
    found = loaded.schemas.message("in", "data", "x")
    assert found is not None
    assert found.required == frozenset()
