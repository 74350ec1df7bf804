"""Flow policies: what the gate of an edge costs on the way, when there is room."""

from __future__ import annotations

from functools import partial

import ten_trio as ten

from .harness import Case
from .hop import ring

POLICIES = {
    "wait": ten.FlowPolicy(capacity=256),
    "drop": ten.FlowPolicy(capacity=256, on_full="drop_oldest", max_age_ms=60_000),
}

CASES = [
    Case(
        f"flow/{name}",
        f"data hop through a gate ({policy}), 64 in flight",
        partial(ring, in_flight=64, flow=policy),
        unit="hop/64",
        base=partial(ring, in_flight=64),
    )
    for name, policy in POLICIES.items()
]
