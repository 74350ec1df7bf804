"""One example: clients that talk to a runtime, what they have done in plain words, and what is wrong.

Everything that comes is looked at, whether it was asked for or not: a result that nobody waits for is
a fault like one that doesn't come.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import attrs
import trio

from ...messages import Cmd, CmdResult, Loc, Msg, StopGraph
from ..virtual_time import run_in_virtual_time
from .answers import Answer, Expected, ended, exactly, shown
from .graphs import PROBE, Blueprint
from .rules import RULES, Rule
from .target import Client, Runtime, Target

BOUND: Final = 30.0
"""Real seconds within which an example has to be over, beyond the target's patience."""
VIRTUAL_BOUND: Final = 100_000.0

_BROKEN = (trio.ClosedResourceError, trio.BrokenResourceError)


class Violation(AssertionError):
    """A rule is broken: which one, by what steps, and what was wrong at the end."""

    def __init__(self, rule: Rule, steps: list[str], wrong: str) -> None:
        self.rule = rule
        self.steps = steps
        self.wrong = wrong
        lines = [f"{number:3}. {step}" for number, step in enumerate(steps, 1)]
        lines = [f"{rule.name} is broken: {rule.text}", f"(docs/{rule.reference})", *lines]
        super().__init__("\n".join([*lines, f"  => {wrong}"]))


@attrs.define
class Asked:
    """A command, and what has come for it."""

    text: str
    expected: Expected
    answers: list[Answer] = attrs.field(factory=list)
    done: bool = False


class Person:
    """One client."""

    def __init__(self, talk: Talk, name: str, client: Client) -> None:
        self.name = name
        self.graph_id = ""
        self.heard: list[Msg] = []
        """Data and frames that have come."""
        self.closed = False
        self.client = client
        self._talk = talk
        self._asked: dict[str, Asked] = {}
        self._gone = False

    # Doing ------------------------------------------------------------------------------------

    async def start(self, graph: Blueprint) -> str:
        """Start a graph, which has to go well; returns its id."""
        result = await self.try_to_start(graph.to_json(), str(graph))
        graph_id = result.get("graph_id", "")
        if not result.ok or not isinstance(graph_id, str) or not graph_id:
            self._talk.fail(f"start_graph was answered by {Answer.of(result)}, without a graph_id")
        self.graph_id = graph_id
        return graph_id

    async def try_to_start(self, graph: str, words: str) -> CmdResult:
        """Ask for a graph; the answer may be what it will."""
        self._talk.step(f"{self.name} starts a graph: {words}")
        result: CmdResult | None = None
        with trio.move_on_after(self._talk.patience):
            try:
                result = await self.client.start_graph(graph)
            except (trio.EndOfChannel, *_BROKEN):
                self._talk.fail(f"{self.name} was cut off instead of an answer to start_graph")
        if result is None:
            self._talk.fail(f"no answer to start_graph within {self._talk.patience:g} s")
        if not result.is_final:
            self._talk.fail(f"start_graph was answered by {Answer.of(result)}")
        return result

    def join(self, graph_id: str) -> None:
        """Talk to that graph from now on."""
        self.graph_id = graph_id

    async def ask(
        self,
        node: str,
        expected: Expected,
        name: str = "m",
        properties: dict[str, Any] | None = None,
        *,
        graph_id: str | None = None,
    ) -> Asked:
        """Send a command, of which `expected` has to come; `settle` waits for that."""
        graph = self.graph_id if graph_id is None else graph_id
        cmd = Cmd(name, properties or {}, dest=Loc("", graph, node), seq_id=self._next_id())
        text = f"command {cmd.seq_id} {name!r} {shown(properties or {})} to {node}"
        if graph_id is not None:
            text += f" of the graph {graph_id!r}"
        return await self._ask(cmd, text, expected)

    async def ask_to_stop(self, graph_id: str, expected: Expected) -> Asked:
        """Send stop_graph."""
        cmd = StopGraph(graph_id=graph_id, dest=Loc(""), seq_id=self._next_id())
        which = "its graph" if graph_id in ("", self.graph_id) else f"the graph {graph_id!r}"
        return await self._ask(cmd, f"stop_graph {cmd.seq_id} for {which}", expected)

    async def _ask(self, cmd: Cmd, text: str, expected: Expected) -> Asked:
        self._talk.step(f"{self.name} sends {text}")
        asked = self._asked[cmd.seq_id] = Asked(text, expected, done=not expected.strict)
        await self._send(cmd)
        return asked

    async def tell(self, node: str, msg: Msg) -> None:
        """Send data or a frame."""
        self._talk.step(
            f"{self.name} sends {msg.kind} {msg.name!r} {shown(msg.properties)} to {node}"
        )
        msg.set_dest(Loc("", self.graph_id, node))
        await self._send(msg)

    def say(self, text: str) -> None:
        """Note a step that the test itself takes."""
        self._talk.step(f"{self.name} {text}")

    async def leave(self) -> None:
        """Go away in the middle of it; what was asked isn't expected any more."""
        if not self._gone:
            self._talk.step(f"{self.name} leaves without a word")
            await self.quit()

    async def quit(self) -> None:
        """The same, as no step of the example."""
        self._gone = True
        self._asked.clear()
        await self.client.stop()

    def forget(self) -> None:
        """Expect nothing of what was asked so far: this client has forfeited it."""
        self._gone = True
        self._asked.clear()

    # Waiting ----------------------------------------------------------------------------------

    async def answered(self) -> None:
        """Until every command has ended, as expected."""
        await self._until(lambda: all(each.done for each in self._asked.values()), self._unanswered)

    async def done(self, asked: Sequence[Asked]) -> None:
        """Until these have ended, as expected; others may wait."""
        await self._until(lambda: all(each.done for each in asked), self._unanswered)

    async def probed(self) -> None:
        """Until a round trip is over: all that was to come at once has come."""
        probe = await self.ask(PROBE, exactly(Answer({"probe": True})), properties={"probe": True})
        self._talk.steps.pop()  # it only shows if it is what fails
        probe.text = f"another command to {PROBE}"
        await self.done([probe])

    async def hear(self, count: int) -> None:
        """Until so many data and frames have come."""
        what = partial(self._silence, count)
        await self._until(lambda: len(self.heard) >= count, what)

    async def wait_closed(self) -> None:
        """Until the runtime has closed the connection."""
        await self._until(lambda: self.closed, lambda: f"{self.name} is still connected")
        # A runtime may close before or after it answers; what it hasn't answered by now, it never will.
        await self.answered()

    async def settle(self) -> None:
        """Until all is answered, and everything that was sent behind it has come too."""
        if self._gone:
            return
        await self.answered()
        if self.graph_id and not self.closed:
            await self.probed()

    async def report(self, node: str, count: int) -> list[dict[str, Any]]:
        """What the recorder at `node` has seen, once it is `count` messages."""
        asked = await self.ask(node, ended(), "report", {"count": count})
        await self.answered()
        seen = asked.answers[-1].properties.get("seen")
        if not isinstance(seen, list):
            self._talk.fail(f"{node} answered {asked.answers[-1]}, which has no array `seen`")
        return [dict(entry) for entry in seen]

    # Inside -----------------------------------------------------------------------------------

    def _next_id(self) -> str:
        return str(len(self._asked) + 1)

    async def _send(self, msg: Msg) -> None:
        try:
            with trio.move_on_after(self._talk.patience) as scope:
                await self.client.send(msg)
            if scope.cancelled_caught:
                self._talk.fail(f"the runtime doesn't read what {self.name} sends")
        except _BROKEN:
            self.closed = True

    async def _until(self, reached: Callable[[], bool], lacking: Callable[[], str]) -> None:
        talk = self._talk
        while not reached():
            if self.closed:
                talk.fail(f"{self.name} was cut off: {lacking()}")
            msg: Msg | None = None
            try:
                with trio.move_on_after(talk.patience) as scope:
                    msg = await self.client.receive()
            except (trio.EndOfChannel, *_BROKEN):
                self.closed = True
                continue
            if scope.cancelled_caught or msg is None:
                talk.fail(f"{lacking()} ({talk.patience:g} s of silence)")
            self._take(msg)

    def _take(self, msg: Msg) -> None:
        if not isinstance(msg, CmdResult):
            self.heard.append(msg)
            return
        answer = Answer.of(msg)
        asked = self._asked.get(msg.seq_id)
        if asked is None:
            self._talk.fail(
                f"{self.name} got a result for {msg.seq_id!r}, which it has never sent: {answer}"
            )
        if not asked.expected.strict:
            return
        if asked.done:
            self._talk.fail(
                f"{self.name} got another result after the final one of {asked.text}: {answer}"
            )
        asked.answers.append(answer)
        if not answer.final:
            return
        asked.done = True
        if not asked.expected.holds(asked.answers):
            got = "; ".join(map(str, asked.answers))
            self._talk.fail(
                f"{self.name} got for {asked.text}:\n       {got}\n     wanted: {asked.expected.words}"
            )

    def _unanswered(self) -> str:
        waiting = [each for each in self._asked.values() if not each.done]
        some = waiting[0]
        got = "; ".join(map(str, some.answers)) or "nothing"
        return f"{self.name} got {got} for {some.text}, and no final result"

    def _silence(self, count: int) -> str:
        return f"{self.name} heard {len(self.heard)} of {count} data and frames"


class Talk:
    """All clients of one example."""

    def __init__(self, rule: Rule, runtime: Runtime, target: Target) -> None:
        self.steps: list[str] = []
        self.patience = target.patience
        self.runtime = runtime
        self._rule = rule
        self._people: list[Person] = []

    def step(self, text: str) -> None:
        """Note what is done."""
        self.steps.append(text)

    def fail(self, wrong: str) -> NoReturn:
        """The rule is broken."""
        raise Violation(self._rule, list(self.steps), wrong)

    async def client(self) -> Person:
        """One more client."""
        name = f"client {len(self._people) + 1}"
        try:
            person = Person(self, name, await self.runtime.connect())
        except OSError as error:
            self.fail(f"{name} isn't let in: {error}")
        self._people.append(person)
        return person

    async def advance(self, seconds: float) -> None:
        """Let time go on."""
        self.step(f"{seconds:g} s go by")
        await self.runtime.advance(seconds)

    async def settle(self) -> None:
        """Everybody has got what was to come, and nothing else."""
        for person in self._people:
            await person.settle()

    async def end(self) -> None:
        """Everybody goes."""
        for person in self._people:
            await person.quit()


Example = Callable[[Talk], Awaitable[object]]


def check(target: Target, rule: str, example: Example) -> None:
    """Run one example against the target. Raises `Violation`.

    What the target itself raises into its block is part of it, or if no rule is broken comes out as it is.
    """
    broken: Violation | None = None

    async def run() -> None:
        nonlocal broken
        async with target.open() as runtime:
            talk = Talk(RULES[rule], runtime, target)
            bound = VIRTUAL_BOUND if target.virtual_time else BOUND + target.patience
            try:
                with trio.move_on_after(bound) as scope:
                    await example(talk)
                    await talk.settle()
                if scope.cancelled_caught:
                    talk.fail(f"it isn't over after {bound:g} s")
            except Violation as violation:
                broken = violation  # raised outside, where it isn't part of a group
            finally:
                with trio.move_on_after(target.patience, shield=True):
                    await talk.end()

    try:
        if target.virtual_time:
            run_in_virtual_time(run)
        else:
            trio.run(run)
    except Exception as error:
        if broken is None:
            raise
        broken.add_note(f"and the target raised {error!r}")
    if broken is not None:
        raise broken


__all__ = ["Asked", "Person", "Talk", "Violation", "check"]
