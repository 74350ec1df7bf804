"""One fault on trial, in processes of its own: does the smoke run go well, and which property fails?"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from time import monotonic

import attrs

from .fault import Fault
from .plugin_name import PLUGIN, VARIABLE

ROOT = Path(__file__).parents[2]
AT_A_TIME = 2
HUNG = 100
"""Seconds after which a single test counts as hanging, which is a way to notice a fault."""
LONGEST = 1_800
_TEST = re.compile(r"^(\S+::\w+(?:::\w+)?)(?:\[.*?\])? ?(.*)$", re.MULTILINE)


@attrs.frozen
class Verdict:
    """How a trial went. `caught_by`: the test that has failed, "" if none has."""

    fault: Fault
    caught_by: str
    seconds: float
    problem: str = ""
    """Why it was no fair trial, such as that the smoke run fails already."""

    @property
    def is_caught(self) -> bool:
        """Whether a property has noticed the fault."""
        return bool(self.caught_by) and not self.problem


def try_out(fault: Fault, *, everything: bool = True) -> Verdict:
    """Put `fault` on trial: first the tests that are likely to notice it, then, if `everything`, all."""
    began = monotonic()

    def verdict(caught_by: str = "", problem: str = "") -> Verdict:
        return Verdict(fault, caught_by, monotonic() - began, problem)

    smoke = _run("-m", "property_tests.mutants.smoke", fault.name, longest=60)
    if smoke.returncode:
        return verdict(problem=f"fails its smoke run: {smoke.stdout.strip()[-400:]}")
    for files in [list(fault.files), *([["property_tests"]] if everything else [])]:
        # What makes a test hang mustn't take the run along: that is a finding, not an accident.
        tried = _run(
            *("-m", "pytest", "-x", "-v", "-p", "no:cacheprovider", "-p", PLUGIN, "-rN"),
            # A graph that can't close any more couldn't be ended by an exception either.
            *("--no-header", "--tb=no", f"--timeout={HUNG}", "--timeout-method=thread"),
            *files,
            fault=fault.name,
            longest=LONGEST,
        )
        if not tried.returncode:
            continue
        ran = _TEST.findall(tried.stdout)
        if not ran or tried.returncode != 1:
            return verdict(problem=f"pytest itself fails: {tried.stdout.strip()[-400:]}")
        name, how = ran[-1]
        return verdict(name if "FAILED" in how or "ERROR" in how else f"{name} (hangs)")
    return verdict()


def try_all(faults: Iterable[Fault], *, everything: bool = True) -> Iterator[Verdict]:
    """Try some faults, a few at a time; the verdicts as they come."""
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        trials = [pool.submit(try_out, fault, everything=everything) for fault in faults]
        try:
            for trial in as_completed(trials):
                yield trial.result()
        finally:
            for trial in trials:
                trial.cancel()


def _run(*arguments: str, longest: float, fault: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, VARIABLE: fault, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=longest,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(arguments, 2, f"Timeout after {longest:g} s")
