"""Placeholders in properties."""

from __future__ import annotations

import pytest

from ten_trio.errors import ConfigError, MissingVariable
from ten_trio.graphs import resolve

ENVIRON = {"KEY": "secret", "EMPTY": "", "a|b": "pipe"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:KEY}", "secret"),
        ("${env:KEY|default}", "secret"),
        ("${env:EMPTY|default}", ""),
        ("${env:NO|default}", "default"),
        ("${env:NO|}", ""),
        ("${env:NO|a, b and c}", "a, b and c"),
        ("${env:NO|x|y}", "x|y"),
        ("${env:NO|{}}", "{}"),
        (r"${env:a\|b}", "pipe"),
        (r"${env:NO|a\}b\\}", "a}b\\"),
        ("${env:NO|42}", "42"),
        ("${prologue}", "${prologue}"),
        ("${sys:KEY}", "${sys:KEY}"),
        ("${env:}", "${env:}"),
        ("x ${env:KEY}", "x ${env:KEY}"),
        ("${env:KEY} x", "${env:KEY} x"),
        ("", ""),
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert resolve(text, ENVIRON) == expected


def test_anywhere_in_a_tree() -> None:
    kept = {"x": [1, None, True]}
    tree = {"a": ["${env:KEY}", {"b": "${env:NO|n}"}], "kept": kept, "n": 1.5}
    resolved = resolve(tree, ENVIRON)
    assert resolved == {"a": ["secret", {"b": "n"}], "kept": kept, "n": 1.5}
    assert resolved["kept"] is kept
    assert tree["a"] == ["${env:KEY}", {"b": "${env:NO|n}"}]
    assert resolve(kept, ENVIRON) is kept


def test_all_that_is_missing() -> None:
    with pytest.raises(MissingVariable) as caught:
        resolve({"a": {"b": ["${env:X}"]}, "c": "${env:Y}"}, ENVIRON, "node asr")
    assert str(caught.value) == (
        "node asr: a.b[0]: environment variable X is not set; "
        "c: environment variable Y is not set "
        "(set it, or write a default: ${env:NAME|default})"
    )
    assert isinstance(caught.value, ConfigError)
    assert (caught.value.file, caught.value.path) == ("node asr", "a.b[0]")
    with pytest.raises(MissingVariable, match=r"^value: environment"):
        resolve("${env:X}", {})
