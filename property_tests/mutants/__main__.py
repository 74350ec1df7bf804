"""`python -m property_tests.mutants [NAME…] [--sample N] [--write]`: see `property_tests.mutants`."""

from __future__ import annotations

import argparse
import random
import sys

from .fault import Fault
from .faults import AREAS, FAULTS
from .page import table, write
from .trial import Verdict, try_all

HEAD = ("Fault", "Where", "Noticed by")
SEED = 20


def sample(number: int) -> list[Fault]:
    """So many faults: always the same, and some of each area."""
    chooser = random.Random(SEED)
    areas = [chooser.sample(faults, len(faults)) for faults in AREAS.values()]
    turns = [fault for each in zip(*areas, strict=False) for fault in each]
    return turns[:number] or turns


def chosen(names: list[str], number: int) -> list[Fault]:
    """The faults to try: those whose names or places contain one of these texts, or all."""
    if number:
        return sample(number)
    found = [
        fault
        for fault in FAULTS.values()
        if not names or any(part in fault.name or part in fault.place for part in names)
    ]
    if not found:
        raise SystemExit(f"no fault has {' or '.join(names)} in its name or place")
    return found


def rows_of(verdicts: dict[str, Verdict]) -> str:
    """The tables for the page, area by area."""
    text = ""
    for area, faults in AREAS.items():
        rows = [_row(verdicts[fault.name]) for fault in faults]
        text += f"\n**{area}**\n\n{table(HEAD, rows)}"
    return f"{text}\n"


def _row(verdict: Verdict) -> tuple[str, str, str]:
    fault = verdict.fault
    file, _, test = verdict.caught_by.partition("::")
    noticed = f"`{file.removeprefix('property_tests/')}` {test}".strip() if file else "**nothing**"
    place = fault.place.replace(":", " ")
    return fault.name, f"`{place}`", verdict.problem or noticed


def main() -> None:
    """Try, print, and with `--write` keep what was found. Status 1 if something went unnoticed."""
    parser = argparse.ArgumentParser(prog="python -m property_tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="part of a fault's name or place; else all")
    parser.add_argument("--sample", type=int, default=0, help="so many, some of each area")
    parser.add_argument("--write", action="store_true", help="into docs/conformance.md; of all")
    parser.add_argument(
        "--likely", action="store_true", help="only the tests that are likely to notice"
    )
    options = parser.parse_args()
    if options.write and (options.names or options.sample or options.likely):
        parser.error("--write is for the table of all faults, tried thoroughly")
    faults = chosen(options.names, options.sample)
    verdicts: dict[str, Verdict] = {}
    for verdict in try_all(faults, everything=not options.likely):
        verdicts[verdict.fault.name] = verdict
        said = verdict.problem or verdict.caught_by or "NOTHING"
        print(
            f"{verdict.fault.name}\n    {verdict.fault.place}\n    {said} ({verdict.seconds:.0f} s)",
            flush=True,
        )
    missed = [verdict.fault.name for verdict in verdicts.values() if not verdict.is_caught]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} faults are noticed")
    if options.write:
        write("mutants", rows_of(verdicts))
    if missed:
        sys.exit("not noticed, or no fair trial: " + "; ".join(missed))


if __name__ == "__main__":
    main()
