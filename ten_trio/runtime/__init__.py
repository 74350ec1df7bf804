"""What runs: the app, its engines, their extensions, and how messages get from one to another."""

from __future__ import annotations

from .addons import Addon as Addon, AddonStore as AddonStore, addon as addon, addons as addons
from .app import App as App, open_app as open_app
from .calls import Call as Call
from .env import TenEnv as TenEnv
from .explanation import Block as Block, Explanation as Explanation, Wait as Wait
from .extension import Extension as Extension
from .flow import FlowReport as FlowReport
from .handle import Engine as Engine
from .host import Subscription as Subscription
from .limits import Limits as Limits
from .log import LogLevel as LogLevel
from .nursery import ExtensionNursery as ExtensionNursery
from .policies import ResultReturnPolicy as ResultReturnPolicy
from .proxy import TenEnvProxy as TenEnvProxy
from .report import ExtensionReport as ExtensionReport, ShutdownReport as ShutdownReport
from .stats import (
    EdgeStats as EdgeStats,
    ExtensionStats as ExtensionStats,
    PlaceStats as PlaceStats,
    QueueStats as QueueStats,
    Stats as Stats,
)
from .tap import Seen as Seen, Tap as Tap
from .turns import Turn as Turn, TurnReport as TurnReport
