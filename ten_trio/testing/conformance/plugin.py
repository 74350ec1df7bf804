"""For pytest: `--target` and `--patience`, and every broken rule once more at the end, in plain words.

Loading it costs nothing that pytest hasn't loaded: the suite comes with the first test that uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .target import Target

_BROKEN = pytest.StashKey[dict[str, str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("ten_trio", "conformance of a TEN runtime")
    group.addoption(
        "--target", default="", metavar="URI_OR_FACTORY",
        help="What property_tests/conformance tests: msgpack://HOST:PORT, ws://HOST:PORT, or"
        " package.module:factory; by default this installation, in this process.",
    )  # fmt: skip
    group.addoption(
        "--patience", type=float, default=None, metavar="SECONDS",
        help="After how long a silence nothing more is to come from the target.",
    )  # fmt: skip


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what is broken."""
    config.stash[_BROKEN] = {}


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """What `--target` names."""
    from .target import load_target  # noqa: PLC0415 - see above

    return load_target(request.config.getoption("--target"), request.config.getoption("--patience"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Remember the counter-example that Hypothesis has shrunk."""
    if call.excinfo is not None:
        from .talk import Violation  # noqa: PLC0415

        # In a group, if Hypothesis has found several, or one that doesn't come every time.
        found: list[BaseException] = [call.excinfo.value]
        for error in found:
            if isinstance(error, BaseExceptionGroup):
                found.extend(error.exceptions)
            elif isinstance(error, Violation):
                item.config.stash[_BROKEN].setdefault(error.rule.name, str(error))
    return (yield)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print what is broken."""
    broken = config.stash[_BROKEN]
    if broken:
        terminalreporter.section("broken rules, each by the shortest example found")
        for text in broken.values():
            terminalreporter.write_line(f"\n{text}")
