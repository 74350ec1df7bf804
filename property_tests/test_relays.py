"""Commands that are sent on, against a model: which results reach whom, what they say they answer, and
who hears that nobody waits any more.

A tree of extensions: each either answers by itself, in steps that are told apart by virtual time, or
sends the command on to some others and passes their results back, by itself or in a result handler.
"""

from __future__ import annotations

from math import inf

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from ten_trio.testing import trio_given

EACH = ten.ResultReturnPolicy.EACH_OK_AND_ERROR
HOST = -1
SLOT = 0.1


@attrs.frozen
class Node:
    """`answer`s, or sends on: as a `relay`, with a handler for `each` result, or called `once`; or once
    with the `last` of each destination's results."""

    kind: str
    children: tuple[int, ...]


@attrs.frozen
class Plan:
    """The tree; in which order who gives a result that is OK or not; and what the host does."""

    nodes: tuple[Node, ...]
    steps: tuple[tuple[int, bool], ...]
    host: str
    patience: float
    inline: bool

    @property
    def leaves(self) -> list[int]:
        return [index for index, node in enumerate(self.nodes) if node.kind == "answer"]

    def said(self) -> list[tuple[int, bool, bool]]:
        """Who says what: the node, whether it is OK, whether that is its last word."""
        leaves = self.leaves
        order = [(leaves[which % len(leaves)], ok) for which, ok in self.steps]
        order += [(leaf, True) for leaf in leaves if leaf not in dict(order)]
        lasts = {leaf: at for at, (leaf, _) in enumerate(order)}
        return [(leaf, ok, lasts[leaf] == at) for at, (leaf, ok) in enumerate(order)]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to eight nodes; each is sent on to by an earlier one, the first by the host."""
    parents = [HOST] + [draw(st.integers(0, at)) for at in range(draw(st.integers(0, 7)))]
    kinds = st.sampled_from(["relay", "relay", "each", "once", "last"])
    nodes = []
    for index in range(len(parents)):
        children = tuple(at for at, parent in enumerate(parents) if parent == index)
        nodes.append(Node(draw(kinds) if children else "answer", children))
    return Plan(
        tuple(nodes),
        tuple(draw(st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=12))),
        draw(st.sampled_from(["first", "each", "promise", "leave"])),
        draw(st.sampled_from([inf, inf, 0.5, 2.5])),
        draw(st.booleans()),
    )


class Model:
    """What has to come of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.parent = {child: at for at, node in enumerate(plan.nodes) for child in node.children}
        self.parent[0] = HOST
        self.left = {at: len(node.children) for at, node in enumerate(plan.nodes)} | {HOST: 1}
        self.kept: dict[int, int] = {}
        self.closed: set[int] = set()
        self.done: set[int] = set()
        self.seen: list[tuple[int, bool]] = []
        self.given: list[tuple[int, bool]] = []
        for number, (leaf, ok, final) in enumerate(plan.said()):
            if number + 1 > plan.patience:
                self._abandon(0)
                self.done.add(HOST)
            self.given.append((number, self._give(leaf, number, ok, final)))

    def _children(self, node: int) -> tuple[int, ...]:
        return (0,) if node == HOST else self.plan.nodes[node].children

    def _is_each(self, node: int) -> bool:
        if node == HOST:
            return self.plan.host != "first"
        found = self.plan.nodes[node]
        return found.kind in ("each", "last") or (
            found.kind == "relay" and len(found.children) == 1
        )

    def _give(self, node: int, number: int, ok: bool, final: bool) -> bool:
        if node in self.closed:
            return False
        if final:
            self.closed.add(node)
        self._arrive(self.parent[node], node, number, ok, final)
        return True

    def _arrive(self, node: int, child: int, number: int, ok: bool, final: bool) -> None:
        if node in self.done:
            return
        self.left[node] -= final
        if self._is_each(node):
            is_last = node != HOST and self.plan.nodes[node].kind == "last"
            if not is_last or not self.left[node]:
                self._pass(node, number, ok, not self.left[node])
        elif not ok:
            self._pass(node, number, ok, True)
        else:
            if child == self._children(node)[-1]:
                self.kept[node] = number
            if not self.left[node]:
                self._pass(node, self.kept[node], True, True)

    def _pass(self, node: int, number: int, ok: bool, completed: bool) -> None:
        if completed:
            self.done.add(node)
            for child in self._children(node):
                self._abandon(child)
        if node != HOST:
            self._give(node, number, ok, completed)
            return
        self.seen.append((number, completed))
        if self.plan.host == "leave" and not completed:
            self.done.add(HOST)
            self._abandon(0)

    def _abandon(self, node: int) -> None:
        if node not in self.closed:
            self.closed.add(node)
            self.done.add(node)
            for child in self._children(node):
                self._abandon(child)


class Run:
    """What comes of a plan indeed."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = trio.current_time()
        self.given: list[tuple[int, bool]] = []
        self.seen: list[tuple[int, bool]] = []
        self.ids: dict[int, str] = {}
        self.parents: dict[int, str] = {}
        self.calls: dict[int, int] = {}
        self.wrong: list[str] = []

    def check(self, result: ten.CmdResult, cmd_id: str, at: int) -> None:
        """Whether a result says rightly what it answers."""
        if (result.original_cmd_name, result.seq_id) != ("go", "from the host"):
            self.wrong.append(f"at {at} {result!r} answers {result.original_cmd_name!r}")
        if cmd_id and result.cmd_id != cmd_id:
            self.wrong.append(f"at {at} {result!r} has the id of another command")

    async def host(self, engine: ten.Engine) -> None:
        """Give the command, and look at what comes back."""
        cmd = ten.Cmd("go", dest="n0", seq_id="from the host")
        with trio.move_on_after(self.plan.patience * SLOT + SLOT / 2):
            if self.plan.host in ("first", "promise"):
                policy = EACH if self.plan.host == "promise" else None
                self.note(await engine.start_cmd(cmd, policy=policy).result())
                return
            async with engine.send_cmd_ex(cmd) as results:
                async for result in results:
                    self.note(result)
                    if self.plan.host == "leave":
                        break

    def note(self, result: ten.CmdResult) -> None:
        self.check(result, "", HOST)
        self.seen.append((result["number"], result.is_completed))


class Actor(ten.Extension):
    """One of the nodes."""

    def __init__(self, index: int, run: Run) -> None:
        self.index = index
        self.test = run
        self.node = run.plan.nodes[index]

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        test, index = self.test, self.index
        test.ids[index] = cmd.cmd_id
        test.parents[index] = cmd.parent_cmd_id
        if self.node.kind == "answer":
            await self.answer(env, cmd)
            return

        async def on_result(env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
            if result.is_property_exist("number"):  # else the runtime says that nobody waits
                test.calls[index] = test.calls.get(index, 0) + 1
                test.check(result, cmd.cmd_id, index)
            result.set_final(result.is_completed)
            await env.return_result(result)

        cmd.set_dests([f"n{child}" for child in self.node.children])
        if self.node.kind == "relay":
            env.post_cmd(cmd)
        else:
            policy = EACH if self.node.kind == "last" else None
            env.post_cmd(cmd, on_result, self.node.kind == "each", policy=policy)

    async def answer(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for number, (leaf, ok, final) in enumerate(self.test.plan.said()):
            if leaf != self.index:
                continue
            await trio.sleep_until(self.test.began + (number + 1) * SLOT)
            result = cmd.ok(number=number) if ok else cmd.error("no", number=number)
            result.set_final(final)
            given = await env.return_result(result)
            self.test.given.append((number, given))
            if not given and not cmd.is_abandoned:
                self.test.wrong.append(f"{number} is refused, though somebody waits")
            if given and final:
                with pytest.raises(ten.TenError, match="has had its final result"):
                    await env.return_result(cmd.ok())


@trio_given(plans())
async def test_results_find_their_way_home_and_nobody_works_for_nothing(plan: Plan) -> None:
    run = Run(plan)
    graph = ten.Graph()
    for index in range(len(plan.nodes)):
        graph.node(
            f"n{index}",
            lambda index=index: Actor(index, run),
            group=f"g{index % 2}",
            inline=plan.inline,
        )
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await run.host(engine)
        await trio.sleep_until(run.began + (len(plan.steps) + len(plan.nodes) + 2) * SLOT)
        endpoints = [*engine._core.instances.values(), *engine._core.outsides]
        assert not any(endpoint.in_paths or endpoint.out_paths for endpoint in endpoints)
        assert engine._core.expiry.expired == 0
    model = Model(plan)
    assert not run.wrong
    seen = model.seen[-1:] if plan.host == "promise" and HOST in model.done else model.seen
    if plan.host == "promise" and not any(completed for _, completed in seen):
        seen = []
    assert run.seen == seen
    assert run.given == model.given
    # Every command has an id of its own, and those that were sent on name the one they come from.
    assert len(set(run.ids.values())) == len(plan.nodes)
    for child, parent in model.parent.items():
        assert run.parents[child] == ("" if parent == HOST else run.ids[parent])
    assert all(n == 1 for at, n in run.calls.items() if plan.nodes[at].kind in ("once", "last"))


@trio_given(
    st.lists(st.sampled_from(["there", "nobody", "removed", "elsewhere"]), min_size=1, max_size=4),
    st.booleans(),
)
async def test_whoever_is_not_there_answers_at_once(dests: list[str], by_host: bool) -> None:
    """Of several destinations, too: then it is their ERROR that counts."""
    envs: list[ten.TenEnv] = []

    class There(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            envs.append(env)

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("there", There)
    graph.node("removed", ten.Extension)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.remove_extension("removed")
        places = [
            ten.Loc("", "no graph", "x") if dest == "elsewhere" else ten.Loc("", "", dest)
            for dest in dests
        ]
        began = trio.current_time()
        sender = engine if by_host else envs[0]
        result = await sender.send_cmd(ten.Cmd("c", dest=places), timeout=inf)
        assert result.ok == (set(dests) == {"there"})
        assert trio.current_time() == began
        with trio.fail_after(5):
            while engine._core.host.out_paths:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.01)
