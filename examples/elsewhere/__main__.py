"""All seven, one after another: python -m examples.elsewhere [--peer]"""

from __future__ import annotations

import subprocess
import sys

from . import (
    blocked_cancel,
    blocked_end,
    caller_cancelled,
    flood,
    raises,
    stray_task,
    swallowed,
)
from .telling import tell

SEVEN = (blocked_end, blocked_cancel, swallowed, raises, flood, stray_task, caller_cancelled)

if __name__ == "__main__":
    for script in SEVEN:
        print((script.__doc__ or "").splitlines()[0], flush=True)
        if "--peer" in sys.argv[1:]:
            subprocess.run([sys.executable, "-m", script.__name__, "--peer"], check=True)
        else:
            tell(script.ours, script.theirs)
        print()
