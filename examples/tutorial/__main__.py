"""All six steps, one after another: python -m examples.tutorial"""

from __future__ import annotations

import trio
import trio.testing

from . import step_1, step_2, step_3, step_4, step_5, step_6

if __name__ == "__main__":
    for step in (step_1, step_2, step_3, step_4, step_5, step_6):
        print((step.__doc__ or "").splitlines()[0])
        trio.run(step.main, clock=trio.testing.MockClock(autojump_threshold=0))
        print()
