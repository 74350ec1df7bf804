"""Graphs from the cells of a notebook, without `await`: they live in a thread between the cells.

`ten_trio` imports nothing of this; what it shows in a notebook is loaded when it is shown.
"""

from __future__ import annotations

from .conversation import Conversation as Conversation
from .counters import Counters as Counters
from .graph import NotebookGraph as NotebookGraph
from .latencies import Latencies as Latencies
from .media import Sound as Sound, to_png as to_png
from .recording import Event as Event, Recording as Recording
from .session import NotebookApp as NotebookApp, open_app as open_app
from .steps import Step as Step
from .streams import NotebookCall as NotebookCall, NotebookMessages as NotebookMessages
from .thread import fail_after as fail_after
