"""Running an example, or another Python command, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(*command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `python -W error COMMAND` in the project's folder to its end, which has to be a good one."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done
