"""`python -m benchmarks.peers`: measure here, measure or remember there, print both."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any

import trio
from rich.console import Console
from rich.table import Table

import ten_trio as ten

from .. import floor, turns
from ..harness import Run
from ..hop import ring
from ..sessions import _sessions

HERE = Path(__file__).parent
STORED = HERE / "stored.json"
COUNTS = (10, 25, 50, 100)

Figures = dict[str, Any]


async def _measure(quick: bool) -> Figures:
    """The same figures as the scripts beside this one print, of ten_trio."""
    async with ten.open_app() as app:
        run = Run(app, quick)
        counts = COUNTS[:1] if quick else COUNTS
        return {
            "name": "ten_trio",
            "h": await floor.channel_hop(run) * 1e6,
            "hop": await ring(run, in_flight=1, size=5) * 1e6,
            "interruption": await turns.cancel(run) * 1e6,
            "sessions": [
                {"sessions": n, "frames": 1.0} | await _sessions(run, count=n, seconds=2.0)
                for n in counts
            ],
        }


def _middle(before: Figures, after: Figures) -> Figures:
    """Of what was measured before and after the other: the machine has its moods."""
    both = {key: mean((before[key], after[key])) for key in ("h", "hop", "interruption")}
    sessions = []
    for one, other in zip(before["sessions"], after["sessions"], strict=True):
        # `cpu` is of one session here, and of all there.
        figures = {key: mean((one[key], other[key])) for key in ("frames", "p50", "p99")}
        cpu = mean((one["cpu"], other["cpu"])) * one["sessions"]
        sessions.append({"sessions": one["sessions"], **figures, "cpu": cpu})
    return {"name": "ten_trio", **both, "sessions": sessions}


def _ask(python: str, quick: bool) -> Figures | None:
    """What pipecat takes there; None if it isn't there."""
    there = subprocess.run([python, "-c", "import pipecat"], capture_output=True, check=False)
    if there.returncode:
        return None
    done = subprocess.run(
        [python, str(HERE / "with_pipecat.py"), "quick" if quick else "full"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=300,
    )
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(python: str, quick: bool) -> Figures:
    """Both if pipecat is there; else ours, with what was stored of the others."""
    before = trio.run(_measure, quick)
    pipecat = _ask(python, quick)
    ours = _middle(before, trio.run(_measure, quick))
    stored: Figures = json.loads(STORED.read_text(encoding="utf-8"))
    now = {
        "date": datetime.now(UTC).date().isoformat(),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": sys.version.split()[0],
        "ten_trio": ours,
    }
    if pipecat is None:
        return {"now": now, "then": stored}
    return {"now": {**now, "pipecat": pipecat}, "then": stored}


def _rows(figures: Figures) -> list[tuple[str, str]]:
    rows = [
        ("data hop, 1 in flight", f"{figures['hop']:.2f} us"),
        ("interruption, 5 stages, 1,000 queued", f"{figures['interruption']:.0f} us"),
    ]
    for each in figures["sessions"]:
        text = f"{each['p50']:.2f} / {each['p99']:.2f} ms, {each['cpu']:.0f} %"
        rows.append((f"{each['sessions']} sessions: p50 / p99, of a core", text))
    return rows


def table(measured: Figures) -> Table:
    """Ours beside pipecat's, of the same run if there is one."""
    now, then = measured["now"], measured["then"]
    pipecat, when = now.get("pipecat"), now["date"]
    if pipecat is None:
        pipecat, when = then["pipecat"], f"stored {then['date']}"
    made = Table(box=None, pad_edge=False)
    made.add_column("")
    made.add_column(f"ten_trio ({now['date']})", justify="right")
    made.add_column(f"pipecat {pipecat['version']} ({when})", justify="right")
    theirs = dict(_rows(pipecat))
    for name, text in _rows(now["ten_trio"]):
        made.add_row(name, text, theirs.get(name, ""))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="an interpreter that has pipecat")
    parser.add_argument(
        "--quick", action="store_true", help="does it work? The figures mean little"
    )
    parser.add_argument("--write", action="store_true", help="store the figures of this run")
    args = parser.parse_args(argv)
    measured = measure(args.python, args.quick)
    console = Console(highlight=False)
    console.width = max(console.width, 140)
    console.print(table(measured))
    console.print(f"load average: {measured['now']['load']}")
    for other in measured["then"]["others"]:
        console.print(f"{other['what']}: {other['figure']} ({other['source']})")
    if args.write:
        if "pipecat" not in measured["now"]:
            print(f"nothing to store: {args.python} has no pipecat", file=sys.stderr)
            return 1
        stored = {**measured["now"], "others": measured["then"]["others"]}
        STORED.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
