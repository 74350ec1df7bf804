"""`python -m benchmarks`: assert the guarantees, measure the cases, print the tables."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import trio
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import ten_trio as ten

from . import (
    churn,
    codec,
    commands,
    comparing,
    crossing,
    floor,
    flow,
    graphs,
    guarantees,
    harness,
    hop,
    messages,
    network,
    picture,
    scale,
    sessions,
    startup,
    turns,
)

CASES = [*floor.CASES, *hop.CASES, *commands.CASES, *crossing.CASES, *scale.CASES, *graphs.CASES]
CASES += [*startup.CASES, *churn.CASES, *sessions.CASES, *messages.CASES, *codec.CASES]
CASES += [*turns.CASES, *flow.CASES, *network.CASES]
GUARANTEES = "guarantees"


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 if a guarantee doesn't hold or a checked budget is exceeded."""
    parser = _parser()
    args = parser.parse_args(argv)
    wanted = [case for case in CASES if _wanted(case.name, args.cases)]
    # What takes minutes is asked for by its whole name, or by --long.
    cases = [
        c
        for c in wanted
        if not c.is_long
        or args.long
        or args.list
        or {c.name, c.name.partition("/")[0]} & {*args.cases}
    ]
    with_guarantees = _wanted(GUARANTEES, args.cases)
    old: comparing.Figures = {}
    if args.compare is not None:
        try:
            old = comparing.read(args.compare)
        except (OSError, ValueError) as error:
            parser.error(f"--compare {args.compare}: {error}")
    if not cases and not with_guarantees:
        print(f"no case is called like {args.cases}; see --list", file=sys.stderr)
        return 2
    if args.list:
        for case in cases:
            print(f"{case.name:16} {case.title}{' (only by its name)' if case.is_long else ''}")
        if with_guarantees:
            print(f"{GUARANTEES:16} assert the guarantees, and measure what each costs")
        return 0
    return trio.run(_run, args, cases, with_guarantees, old)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "cases",
        nargs="*",
        help="only the cases whose name is one of these, or else contains it; default: all",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument(
        "--quick", action="store_true", help="few rounds of few repetitions: does it all work?"
    )
    parser.add_argument("--long", action="store_true", help="also the cases that take minutes")
    parser.add_argument("--rounds", type=int, help="default: 3, with --quick 2")
    parser.add_argument(
        "--cpu", action="store_true", help="count CPU time of the thread: for a busy machine"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all that was measured")
    parser.add_argument("--svg", type=Path, metavar="PATH", help="draw what was measured")
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="PATH",
        help="what --json has written before: exit with 1 if a median has grown by more than --margin",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=2.0,
        help="with --compare: how many times the old median is still accepted (default: 2)",
    )
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 if a median exceeds its budget"
    )
    parser.add_argument(
        "--factor",
        type=float,
        default=2.0,
        help="with --check: how many times the budget is still accepted (default: 2)",
    )
    return parser


def _wanted(name: str, filters: Sequence[str]) -> bool:
    if not filters or name in filters:
        return True
    names = {GUARANTEES, *(case.name for case in CASES)}
    return any(text in name for text in filters if text not in names)


async def _run(
    args: argparse.Namespace,
    cases: Sequence[harness.Case],
    with_guarantees: bool,
    old: comparing.Figures,
) -> int:
    console = Console(highlight=False)
    console.width = max(
        console.width, 170
    )  # a line that the terminal breaks is better than a cut one
    rounds = args.rounds or (2 if args.quick else 3)
    began = perf_counter()
    load_before = os.getloadavg()
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "trio": version("trio"),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "clock": "cpu" if args.cpu else "wall",
        "rounds": rounds,
    }
    console.print(", ".join(f"{key} {value}" for key, value in document.items()))
    status = 0
    held: dict[str, str] = {}
    if with_guarantees:
        held = await guarantees.check_all()
        for name, wrong in held.items():
            line = f"  [red]NOT HELD[/red]  {name}: {escape(wrong)}" if wrong else f"  held  {name}"
            console.print(line, soft_wrap=True)
            status |= bool(wrong)
    async with trio.open_nursery() as nursery, ten.open_app() as app:
        clock = thread_time if args.cpu else perf_counter
        run = harness.Run(app, args.quick, clock, nursery)
        with _progress() as progress:
            step = partial(progress.advance, progress.add_task("cases", total=rounds * len(cases)))
            rows = await harness.measure(cases, run, rounds, floor.channel_hop, step)
        h = [await floor.channel_hop(run) for _ in range(5)]
        if rows:
            console.print(_table(rows), _legend(h), sep="\n")
        whole: guarantees.Cost | None = None
        costs: list[guarantees.Cost] = []
        if with_guarantees:
            with _progress() as progress:
                count = sum(bool(g.changes) for g in guarantees.GUARANTEES) + 1
                step = partial(
                    progress.advance, progress.add_task("guarantees", total=rounds * count)
                )
                whole, costs = await guarantees.measure_costs(run, rounds, step)
            console.print(_cost_table(whole, costs))
            console.print("in CPU time of the thread; give or take half the interquartile range")
        nursery.cancel_scope.cancel("everything is measured")
    load = f"{load_before[0]:.1f} before, {os.getloadavg()[0]:.1f} after"
    minutes, seconds = divmod(round(perf_counter() - began), 60)
    console.print(f"load average: {load}; all this took {minutes} min {seconds} s")
    if args.check:
        for row in rows:
            if row.is_over(args.factor):
                console.print(f"[red]{row.case.name} is beyond {args.factor:g} x its budget[/red]")
                status = 1
    document |= {
        "load": load,
        "h_seconds": statistics.median(h),
        "cases": [_as_json(row) for row in rows],
        "held": {name: not wrong for name, wrong in held.items()},
        "costs": [
            {"name": c.name, "unfit": c.unfit, "shares": c.shares, "seconds": c.seconds}
            for c in ([] if whole is None else [whole, *costs])
        ],
    }
    if args.compare is not None:
        compared = comparing.compare(rows, old, args.margin)
        console.print(comparing.table(compared, args.compare.name, args.margin))
        status |= any(each.is_worse for each in compared)
    if args.svg is not None:
        args.svg.write_text(picture.draw(document), encoding="utf-8")
    if args.json is not None:
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return status


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def _table(rows: Sequence[harness.Row]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title, justify in [
        ("case", "left"),
        ("what", "left"),
        ("median", "right"),
        ("(min-max)", "left"),
        ("of", "left"),
        ("time", "right"),
        ("budget", "right"),
        ("", "left"),
        ("target", "right"),
        ("", "left"),
    ]:
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for row in rows:
        case, budget = row.case, row.case.budget
        verdict = "" if budget is None else "[red]over[/red]" if row.is_over() else "ok"
        table.add_row(
            case.name,
            case.title,
            _figure(row.median),
            f"({_figure(min(row.ratios))}-{_figure(max(row.ratios))})",
            case.unit,
            _time(statistics.median(row.seconds)) if row.seconds else "",
            "" if budget is None else f"{budget:g}",
            verdict,
            "" if case.target is None else f"{case.target:g}",
            "" if row.is_met is None else "met" if row.is_met else "not yet",
        )
    return table


def _legend(h: Sequence[float]) -> str:
    return f"H, one raw hop through a Trio memory channel: {_time(statistics.median(h))}"


def _cost_table(whole: guarantees.Cost, costs: Sequence[guarantees.Cost]) -> Table:
    hop_seconds = statistics.median(whole.seconds)
    table = Table(box=None, pad_edge=False)
    table.add_column("what each guarantee costs", no_wrap=True)
    for title in ("per hop", "share", "give or take"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row(whole.name, _time(hop_seconds), "100 %", "")
    for cost in costs:
        if cost.unfit:
            table.add_row(cost.name, "not measured: the code to leave out has changed")
            continue
        table.add_row(
            cost.name,
            f"{cost.share * hop_seconds * 1e9:.0f} ns",
            f"{cost.share:.1%}".replace("%", " %"),
            f"{cost.spread:.1%}".replace("%", " %"),
        )
    return table


def _as_json(row: harness.Row) -> dict[str, Any]:
    case = row.case
    return {
        "name": case.name,
        "title": case.title,
        "unit": case.unit,
        "budget": case.budget,
        "target": case.target,
        "median": row.median,
        "min": min(row.ratios),
        "max": max(row.ratios),
        "ratios": row.ratios,
        "seconds": row.seconds,
    }


def _figure(ratio: float) -> str:
    return f"{ratio:.3f}" if ratio < 1 else f"{ratio:.2f}" if ratio < 100 else f"{ratio:.0f}"


def _time(seconds: float) -> str:
    for size, unit in (1e-3, "ms"), (1e-6, "us"):
        if seconds >= size:
            return f"{seconds / size:.2f} {unit}"
    return f"{seconds * 1e9:.0f} ns"


if __name__ == "__main__":
    sys.exit(main())
