"""The network boundary: two apps on this machine, compared with Trio's streams and trio-websocket.

`bare.py` is what it is compared with, `far.py` the other end, `ends.py` brings the two together.
"""

from __future__ import annotations

from . import fairness, idle, talk

CASES = [*talk.CASES, *fairness.CASES, *idle.CASES]
