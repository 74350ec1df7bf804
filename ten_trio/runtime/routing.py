"""From the edges of a graph to the tables by which its endpoints send."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Loc
from .endpoint import NO_FLOW, Endpoint, Hop

if TYPE_CHECKING:
    from ..graphs import Edge
    from .engine import EngineCore

_Tables = dict[str, dict[str, list[Hop]]]


def compile_routes(engine: EngineCore) -> None:
    """Bring every sender's tables up to date with the graph's edges and exposed messages."""
    engine.directory.forget()
    tables: dict[str, _Tables] = {}
    converting: set[str] = set()
    engine.inward = inward = {}
    engine.flows.begin()

    def add(source: str, kind: str, name: str, hop: Hop) -> None:
        tables.setdefault(source, {}).setdefault(kind, {}).setdefault(name, []).append(hop)

    for edge in engine.edges:
        if not edge.source_app or engine.app.is_here(edge.source_app):
            add(edge.source, edge.kind, edge.name, _hop(engine, edge))
            if edge.conversion is not None or edge.flow is not None:
                converting.add(edge.source)
        elif edge.conversion is not None or edge.flow is not None:
            # A conversion is made where the message arrives, and that is where it waits.
            key = (edge.source_app, edge.source, edge.kind, edge.name, edge.dest)
            inward[key] = _hop(engine, edge)
    for exposure in engine.graph.exposed:
        kind, _, direction = exposure.type.rpartition("_")
        here = not exposure.app or engine.app.is_here(exposure.app)
        if direction == "out":
            if here:
                add(exposure.extension, kind, exposure.name, Hop(engine.host))
        elif here:
            add("", kind, exposure.name, Hop(engine.directory.extension(exposure.extension)))
        else:
            there = Loc(exposure.app, engine.graph_id, exposure.extension)
            add("", kind, exposure.name, Hop(engine.boundary.receiver(there)))
    engine.flows.settle()
    for name, endpoint in (*engine.instances.items(), ("", engine.host)):
        endpoint.converts = name in converting
        _install(endpoint, tables.get(name, {}))
    for name, dest in engine.redirects.items():
        if name in engine.instances:
            engine.instances[name].redirect = (Hop(engine.directory.extension(dest)),)


def _install(endpoint: Endpoint, tables: _Tables) -> None:
    routes = {
        kind: {name: tuple(hops) for name, hops in table.items()} for kind, table in tables.items()
    }
    endpoint.cmd_routes = routes.pop("cmd", NO_FLOW["data"])
    endpoint.flow_routes = {**NO_FLOW, **routes} if routes else NO_FLOW


def _hop(engine: EngineCore, edge: Edge) -> Hop:
    if edge.dest_app and not engine.app.is_here(edge.dest_app):
        return Hop(engine.boundary.receiver(Loc(edge.dest_app, engine.graph_id, edge.dest)))
    receiver = engine.directory.extension(edge.dest)
    return Hop(receiver, edge.conversion, engine.flows.line_for(edge, receiver))
