"""The steps of the tutorial run, and print what its pages show; so do the tests that its last step writes."""

from __future__ import annotations

import re

import pytest

from tests.examples.running import ROOT, run

STEPS = sorted(path.stem for path in (ROOT / "examples" / "tutorial").glob("step_*.py"))

PRINTED = re.compile(
    r"```console\n\$ python -m examples\.tutorial\.(?P<step>\w+)\n(?P<output>.*?)```", re.DOTALL
)


def shown() -> dict[str, str]:
    """What the pages say that each step prints."""
    pages = (ROOT / "docs" / "tutorial").glob("*.md")
    texts = [page.read_text(encoding="utf-8") for page in pages]
    return {found["step"]: found["output"] for text in texts for found in PRINTED.finditer(text)}


def test_every_step_has_its_page() -> None:
    assert len(STEPS) == 6
    assert sorted(shown()) == STEPS


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_step(step: str) -> None:
    printed = run("-m", f"examples.tutorial.{step}").stdout
    assert printed.startswith(shown()[step].removesuffix("...\n"))


@pytest.mark.slow
def test_the_tests_of_the_tutorial() -> None:
    arguments = ["-q", "-p", "no:cacheprovider", "examples/tutorial/test_agent.py"]
    assert "5 passed" in run("-m", "pytest", *arguments).stdout
