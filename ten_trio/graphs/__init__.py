"""Graphs: what they are made of, read, checked, flattened, routed by, and drawn."""

from __future__ import annotations

from ten_trio.graphs.app_property import (
    AddonSettings as AddonSettings,
    AppProperty as AppProperty,
    PathTimeout as PathTimeout,
    load_app_property as load_app_property,
)
from ten_trio.graphs.check_connections import delay_warnings as delay_warnings
from ten_trio.graphs.checks import check as check, check_predefined as check_predefined
from ten_trio.graphs.conversion import Conversion as Conversion, Rule as Rule
from ten_trio.graphs.definition import (
    GRAPH_PROXY as GRAPH_PROXY,
    KINDS as KINDS,
    Connection as Connection,
    Dest as Dest,
    ExposedMessage as ExposedMessage,
    ExposedProperty as ExposedProperty,
    ExtensionNode as ExtensionNode,
    Flow as Flow,
    Graph as Graph,
    Kind as Kind,
    Node as Node,
    Place as Place,
    PredefinedGraph as PredefinedGraph,
    SelectorNode as SelectorNode,
    SubgraphNode as SubgraphNode,
)
from ten_trio.graphs.drawing import (
    to_mermaid as to_mermaid,
    to_png as to_png,
    to_svg as to_svg,
)
from ten_trio.graphs.flatten import (
    UNSPECIFIED_GROUP as UNSPECIFIED_GROUP,
    Edge as Edge,
    Exposure as Exposure,
    FlatGraph as FlatGraph,
    FlatNode as FlatNode,
    flatten as flatten,
)
from ten_trio.graphs.flow import FlowPolicy as FlowPolicy
from ten_trio.graphs.linking import link as link
from ten_trio.graphs.loading import load_graph_file as load_graph_file
from ten_trio.graphs.placeholders import resolve as resolve
from ten_trio.graphs.routes import RouteChange as RouteChange, RouteManager as RouteManager
from ten_trio.graphs.selectors import Filter as Filter
