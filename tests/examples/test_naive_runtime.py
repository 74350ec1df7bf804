"""The conformance suite tells a wrong runtime from a right one, and says in a few steps why.

In processes of their own: the suite is another pytest run, and the runtimes listen for it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ten_trio.testing.conformance import RULES
from tests.examples.running import ROOT, run

SUITE = "property_tests/conformance"
NAIVE = "examples.naive_runtime:Naive"

pytestmark = pytest.mark.slow


def suite(*arguments: str, profile: str = "dev") -> subprocess.CompletedProcess[str]:
    """The suite, as somebody runs it who has a runtime to test."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            SUITE,
            "-q",
            "-p",
            "no:cacheprovider",
            "--tb=no",
            "-rN",  # nothing follows the broken rules; where CI is set, pytest repeats them whole
            *arguments,
        ],
        cwd=ROOT,
        env={**os.environ, "HYPOTHESIS_PROFILE": profile},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def broken_rules(output: str) -> dict[str, list[str]]:
    """The rules that the report at the end names, each with the steps of its counter-example."""
    _, found, report = output.partition(" broken rules, ")
    assert found, output
    rules: dict[str, list[str]] = {}
    for paragraph in report.split("\n\n")[1:]:
        name, is_broken, _ = paragraph.partition(" is broken: ")
        assert is_broken, paragraph
        rules[name] = re.findall(r"^ +\d+\. (.+)$", paragraph, re.MULTILINE)
    return rules


@contextmanager
def listening(*command: str) -> Iterator[str]:
    """A runtime in a process of its own; the URI that it says it listens at."""
    program = [sys.executable, "-W", "error", "-m", *command]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"\w+://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found, "it doesn't listen"
            yield found[0]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def test_the_naive_runtime_is_told_apart() -> None:
    some = "unknown or chain or copies or each_ok or stop_graph_answers or in_order or values"
    done = suite("--target", NAIVE, "-k", some)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    rules = broken_rules(done.stdout)
    # What it says of itself, each by the shortest example that the suite has found.
    assert (
        {
            "unknown-destination",
            "order-along-a-chain",
            "copies-are-independent",
            "each-ok-and-error",
            "stop-graph-answers-all",
        }
        <= rules.keys()
        <= RULES.keys()
    )
    assert "results-in-order" not in rules  # where it is right, nothing is said
    assert "commands-keep-values" not in rules
    (step,) = rules["unknown-destination"]
    assert step.startswith("client 1 sends command 1 'm' {} to e0 of the graph ")
    assert len(rules["copies-are-independent"]) <= 5
    assert len(rules["each-ok-and-error"]) <= 3
    assert all(len(steps) <= 10 for steps in rules.values())


def test_the_naive_runtime_is_told_apart_by_the_wire() -> None:
    with listening("examples.naive_runtime", "--listen", "0") as target:
        some = "test_each_ok_and_error or test_commands_keep_values"
        done = suite("--target", target, "--patience", "0.5", "-k", some)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    rules = broken_rules(done.stdout)
    assert rules.keys() == {"each-ok-and-error"}
    assert len(rules["each-ok-and-error"]) <= 3


@pytest.mark.parametrize("scheme", ["ws", "msgpack"])
def test_ours_is_right_by_the_wire(scheme: str) -> None:
    app = ("ten_trio", "conformance-app", "--json", "--listen", f"{scheme}://127.0.0.1:0")
    with listening(*app) as target:
        done = suite("--target", target, "--patience", "5", profile="quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULES)} passed" in done.stdout


def test_the_example_shows_it() -> None:
    done = run("-m", "examples.naive_runtime", timeout=100)
    assert "copies-are-independent is broken" in done.stdout
