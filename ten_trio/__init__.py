"""ten_trio: real-time conversational-agent graphs, as the TEN framework describes them, on Trio."""

from __future__ import annotations

from .errors import *  # noqa: F403
from .graphs import Graph as Graph
from .messages import *  # noqa: F403
from .runtime import *  # noqa: F403

__version__ = "0.1.0"
