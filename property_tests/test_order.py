"""Handlers start in sending order, per sender, receiver and line, whatever they wait for."""

from __future__ import annotations

from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import Node, Traffic, limits, plans
from ten_trio.testing import trio_given


@trio_given(plans(), limits)
async def test_each_line_keeps_the_order_of_each_sender(
    plan: tuple[Node, ...], limits: ten.Limits
) -> None:
    traffic = Traffic(plan)
    await traffic.run(limits)
    assert traffic.started == traffic.sent


@trio_given(plans(waits=st.just(0)), limits)
async def test_without_waits_everything_starts_in_the_one_order(
    plan: tuple[Node, ...], limits: ten.Limits
) -> None:
    # Room enough that no sender has to wait either.
    traffic = Traffic(plan)
    await traffic.run(ten.Limits(slice=limits.slice, demote_after=limits.demote_after))
    assert traffic.received == traffic.expected
