"""Back-pressure in circles: nobody waits for ever, and nothing is lost."""

from __future__ import annotations

from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import Node, Traffic, limits, plans
from ten_trio.testing import trio_given


@trio_given(plans(ask=st.booleans(), hops=4), limits)
async def test_circles_never_deadlock_and_lose_nothing(
    plan: tuple[Node, ...], limits: ten.Limits
) -> None:
    traffic = Traffic(plan)
    engine = await traffic.run(limits)
    assert engine.report is not None
    assert engine.report.dropped == 0
    assert engine.report.answered_with_error == 0
    assert not traffic.answers[False]
    assert {key: sorted(numbers) for key, numbers in traffic.started.items()} == traffic.sent
