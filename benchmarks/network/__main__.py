"""The other process of the cases: see `far.py`."""

from __future__ import annotations

import sys

from .far import main

main(sys.argv[1:])
