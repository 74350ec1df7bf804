"""What every extension and every graph has to stand, as checks that their authors run.

Like `check_protocol` they are coroutines, which raise an `AssertionError` that names the rule. What they
try is tried in a thread, where each trial has a Trio run and virtual time of its own; Hypothesis
chooses the trials, and shrinks what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from math import inf
from typing import Any, Final

import trio

from ..graphs import Graph
from ..messages import Msg
from ..runtime.addons import AppAddons
from ..runtime.app import settings_of
from ..schemas import load_manifest
from .others import Others
from .rules import check_rule
from .subjects import Phrase, Source, Subject, subject_of
from .tester import TESTER, _name_of
from .trials import Say, Trial
from .trying import Bounds, Check, RuleBroken, run_trial

_PATIENCE: Final = 600.0  # seconds, real ones; only a hang gets there
_STEPS: Final = 10_000


async def check_extension(
    make: str | Callable[..., Any],
    *,
    messages: Iterable[Msg] = (),
    property: Mapping[str, Any] | None = None,
    mocks: Mapping[str, Any] | None = None,
    app: Any = None,
    check: Check | None = None,
    bounds: Bounds | None = None,
    examples: int | None = None,
    patience: float = _PATIENCE,
    **settings: Any,
) -> None:
    """Check that an extension stands any legal traffic, in any order, and being cancelled at any moment.

    It answers every command or says why not, raises nothing, closes within the grace, leaves no
    task and no thread behind, and doesn't hold up the loop.

    Args:
        make: An `Extension` class or factory, or the name of an addon.
        messages: Examples of what it is sent: those, any number of them, in any order.  By default
            what the manifest next to its class declares; without one, messages of unknown names.
        property: The properties of its node.
        mocks: What its own commands are answered, see `ExtensionTester.mock_cmd`; else, in turn, with
            OK, ERROR, and OK after a while.
        app: See `open_tester`.
        check: Called with the `Transcript` of every trial.
        bounds: What is allowed.
        examples: How many trials; None: as many as the Hypothesis profile says.
        patience: Seconds, of real time, for all of it.
        settings: Of the node.

    Real time passes, so it has to run under Trio's usual clock. Raises `AssertionError`, which says which
    rule is broken and by which `Trial`, `RuntimeError` under a clock of virtual time, `MissingExtra`.
    """
    name = _name_of(make)

    def graph() -> Graph:
        made = Graph()
        made.node(TESTER, lambda: Others(name, mocks or {}), group="test_extension_group_1")
        made.node(
            name, make, group="test_extension_group_2", property=dict(property or {}), **settings
        )
        return made

    base = settings_of(app)
    redirects = {TESTER: name, name: TESTER}
    subject = Subject(graph(), base, redirects)
    phrases = [Phrase.of(msg, to=name) for msg in messages] or _declared(make, base, name)
    search = partial(_search, subject, phrases, check, bounds, examples, crashes=False, clients=0)
    await _in_thread(f"extension {name}", search, patience)


async def check_graph_closes(
    graph: Source,
    *,
    messages: Iterable[Msg] = (),
    check: Check | None = None,
    bounds: Bounds | None = None,
    examples: int | None = None,
    patience: float = _PATIENCE,
) -> None:
    """Check that a graph closes within the grace and answers every command, whatever comes.

    First nothing is said to it, and it is cancelled before every single step that any of its tasks
    takes; then it gets random messages, in random order, by the host and by clients whose connections
    fail, while extensions are slow or crash, and it is cancelled somewhere.

    `graph`: a `Graph`, a function that makes one, or the file of a graph or an app.  `messages`:
    examples of what is sent to it, besides what it exposes and what goes along its edges.  The rest is as
    in `check_extension`.
    """
    subject = subject_of(graph)
    given = [Phrase.of(msg) for msg in messages]

    def search() -> None:
        first = [Say(each.kind, each.name, each.to, each.properties or {}) for each in given]
        _everywhere(subject, tuple(first), bounds)
        _search(subject, given, check, bounds, examples)

    await _in_thread("graph", search, patience)


def _everywhere(subject: Subject, says: tuple[Say, ...], bounds: Bounds | None) -> None:
    """Cancel it before each step, until it ends before that."""
    for step in range(_STEPS):
        trial = Trial(says=says, cancel_at=step)
        try:
            transcript = run_trial(subject, trial, bounds=bounds)
        except RuleBroken as error:
            raise AssertionError(f"{error}\nin {trial}") from error
        if not transcript.was_cancelled:
            return


def _search(
    subject: Subject,
    phrases: list[Phrase],
    check: Check | None,
    bounds: Bounds | None,
    examples: int | None,
    **only: Any,
) -> None:
    from .fuzzing import fuzz  # noqa: PLC0415 - it needs Hypothesis

    found = fuzz(subject, seeds=examples, messages=phrases, check=check, bounds=bounds, **only)
    if found is not None:
        again = "" if found.repeats else "\n(it doesn't go the same way every time)"
        raise AssertionError(f"{found.problem}\nin {found.trial}{again}") from found.problem


async def _in_thread(what: str, search: Callable[[], object], patience: float) -> None:
    clock = trio.lowlevel.current_clock()
    if getattr(clock, "autojump_threshold", inf) != inf:
        raise RuntimeError(
            "this check takes real time, each of its trials has virtual time of its own: run it under"
            " Trio's usual clock, without autojump_clock"
        )
    in_thread = partial(trio.to_thread.run_sync, search, abandon_on_cancel=True)
    await check_rule(what, in_thread, patience)


def _declared(make: str | Callable[..., Any], app: Any, name: str) -> list[Phrase]:
    """What the manifest of the addon says that it takes; else what nobody has declared."""
    addons = AppAddons()
    try:
        base_dir = addons.find(make, app.base_dir).base_dir
    finally:
        addons.close()
    file = None if base_dir is None else base_dir / "manifest.json"
    found = []
    if file is not None and file.is_file():
        for key, by_name in load_manifest(file, app_base_dir=app.base_dir).api.messages.items():
            kind, _, direction = key.rpartition("_")
            declared: Any = kind
            if direction == "in":
                found += [
                    Phrase(declared, each, name, schema=message.property)
                    for each, message in by_name.items()
                ]
    if found:
        return found
    kinds: Any = ("cmd", "data", "audio_frame", "video_frame")
    return [Phrase(kind, "something", name) for kind in kinds]


__all__ = ["check_extension", "check_graph_closes"]
