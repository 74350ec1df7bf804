"""Looking for a trial that a graph doesn't stand, and for the shortest such.

Hypothesis draws the trials and shrinks what is found; Trio's order of ready tasks is a part of each, so
a race shrinks and comes again like everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from ..errors import MissingExtra
from ..messages import Msg
from .subjects import Phrase, Source, Subject, subject_of
from .trials import Trial, source_of
from .trying import Bounds, Check, RuleBroken, run_trial

try:
    from hypothesis import HealthCheck, Phase, Verbosity, given, seed as seeded, settings
    from hypothesis.errors import Flaky
except ModuleNotFoundError as problem:  # pragma: no cover
    raise MissingExtra("fuzzing needs Hypothesis: pip install 'ten-trio[test]'") from problem

from . import strategies

_TEST: Final = '''"""Found by `ten-trio fuzz`: {what}"""

from __future__ import annotations
{imported}
from ten_trio.testing import {names}


def test_{name}() -> None:
    run_trial(
        {source!r},
        {trial},{rest}
    )
'''


@attrs.frozen
class Finding:
    """A trial in which a rule is broken, shrunk, and how."""

    trial: Trial
    problem: RuleBroken
    repeats: bool = True
    """Whether the same trial finds the same again; else something in the graph depends on chance."""

    def as_test(
        self,
        source: str | Path,
        graph: str | None = None,
        bounds: Bounds | None = None,
        check: str | None = None,
    ) -> str:
        """A pytest case that fails as long as the graph in that file breaks the rule.

        `check`: "module:function", where the check is to be had that was given to `fuzz`.
        """
        trial = source_of(self.trial, 8)
        names = {"run_trial"} | {
            each for each in ("Crash", "Delay", "Link", "Say", "Trial") if f"{each}(" in trial
        }
        rest = f"\n        graph={graph!r}," if graph else ""
        if bounds is not None and bounds != Bounds():
            names.add("Bounds")
            rest += f"\n        bounds={source_of(bounds, 8)},"
        imported = ""
        if check is not None:
            module, _, function = check.partition(":")
            imported = f"\nfrom {module} import {function}"
            rest += f"\n        check={function},"
        what = " ".join(str(self.problem).split("\n")[0].split())
        what = what.replace("\\", "").replace('"', "'")
        name = "".join(c if c.isalnum() else "_" for c in (graph or Path(source).stem).lower())
        return _TEST.format(
            imported=imported,
            what=what if len(what) < 400 else f"{what[:400]}…",
            names=", ".join(sorted(names, key=lambda each: (each.islower(), each))),
            name=name,
            source=str(source),
            trial=trial,
            rest=rest,
        )


def fuzz(
    source: Source | Subject,
    *,
    graph: str | None = None,
    seeds: int | None = None,
    seed: int | None = None,
    messages: Iterable[Phrase | Msg] = (),
    check: Check | None = None,
    bounds: Bounds | None = None,
    on_trial: Callable[[], object] | None = None,
    **only: Any,
) -> Finding | None:
    """Try a graph with `seeds` trials; returns the shortest that it doesn't stand, None if there is none.

    Args:
        source: See `run_trial`, and `graph`, `check` and `bounds` too.
        seeds: How many; None: as many as the Hypothesis profile says.
        seed: Where to begin, to get the same trials again; None: anywhere.
        messages: Examples of what to say, besides what the graph exposes and what goes along its edges.
        on_trial: Called before each.
        only: See `strategies.trials`.

    Raises what opening the graph raises, and `GraphError` for a graph of several apps.
    """
    subject = subject_of(source, graph)
    phrases = [each if isinstance(each, Phrase) else Phrase.of(each) for each in messages]
    last: list[tuple[Trial, RuleBroken]] = []

    def attempt(trial: Trial) -> None:
        if on_trial is not None:
            on_trial()
        try:
            # Made anew each time if it is a function that makes it.
            run_trial(source if callable(source) else subject, trial, check=check, bounds=bounds)
        except RuleBroken as error:
            last.append((trial, error))
            raise

    search = given(strategies.trials(subject, phrases, **only))(attempt)
    chosen: dict[str, Any] = {} if seeds is None else {"max_examples": seeds}
    search = settings(
        deadline=None,
        database=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        **chosen,
    )(search)
    if seed is not None:
        search = seeded(seed)(search)
    try:
        search()
    except Flaky:
        return Finding(*last[-1], repeats=False)
    except RuleBroken:
        return Finding(*last[-1])
    return None


__all__ = ["Finding", "fuzz"]
