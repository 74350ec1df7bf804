"""How the seven scripts are run: ours, and with `--peer` the same in pipecat, if that is installed."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import trio

PATIENCE = 5.0  # s; who hasn't ended by then is said not to end


def tell(ours: Callable[[], Awaitable[None]], theirs: Callable[[Any], Awaitable[None]]) -> None:
    """`theirs` is given the class `pipecat_session.Session`."""
    if "--peer" not in sys.argv[1:]:
        logging.getLogger("ten_trio").setLevel(logging.CRITICAL)  # it is told here instead
        trio.run(ours)
        return
    if importlib.util.find_spec("pipecat") is None:
        sys.exit("pipecat isn't installed: pip install pipecat-ai==1.14.0")
    os.environ["LOGURU_LEVEL"] = "CRITICAL"
    from .pipecat_session import Session  # noqa: PLC0415 - not everybody has it

    asyncio.new_event_loop().run_until_complete(theirs(Session))
    sys.stdout.flush()
    os._exit(0)  # what hasn't ended would keep the interpreter from ending, too
