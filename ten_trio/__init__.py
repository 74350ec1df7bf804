"""ten_trio: real-time conversational-agent graphs, as the TEN framework describes them, on Trio."""

from __future__ import annotations

from .errors import *  # noqa: F403 - the whole family; errors.__all__ says what that is
from .graphs import FlowPolicy as FlowPolicy, Graph as Graph
from .messages import *  # noqa: F403 - likewise
from .network import (
    Client as Client,
    NetworkSettings as NetworkSettings,
    connect as connect,
    open_app as open_app,
)
from .runtime import (
    Addon as Addon,
    App as App,
    Block as Block,
    Call as Call,
    EdgeStats as EdgeStats,
    Engine as Engine,
    Explanation as Explanation,
    Extension as Extension,
    ExtensionNursery as ExtensionNursery,
    ExtensionReport as ExtensionReport,
    ExtensionStats as ExtensionStats,
    FlowReport as FlowReport,
    Limits as Limits,
    LogLevel as LogLevel,
    PlaceStats as PlaceStats,
    QueueStats as QueueStats,
    ResultReturnPolicy as ResultReturnPolicy,
    Seen as Seen,
    ShutdownReport as ShutdownReport,
    Stats as Stats,
    Subscription as Subscription,
    Tap as Tap,
    TenEnv as TenEnv,
    TenEnvProxy as TenEnvProxy,
    Turn as Turn,
    TurnReport as TurnReport,
    Wait as Wait,
    addon as addon,
    addons as addons,
)

__version__ = "0.1.0"
