"""The same work by others, side by side: `python -m benchmarks.peers`.

`with_pipecat.py` runs in whatever interpreter has pipecat: this one (`pip install ten-trio[peers]`), or the
one that `--python` names.  Where there is none, `stored.json` has what was measured once, and says when.
"""

from __future__ import annotations
