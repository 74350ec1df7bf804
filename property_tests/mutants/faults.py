"""All the faults, by area."""

from __future__ import annotations

from . import commands, contents, lives, ordering, turning, wires
from .fault import Fault

AREAS: dict[str, tuple[Fault, ...]] = {
    "Order and room": ordering.FAULTS,
    "Commands": commands.FAULTS,
    "Lifecycle and close": lives.FAULTS,
    "Turns": turning.FAULTS,
    "Messages, conversions and counts": contents.FAULTS,
    "Codecs and connections": wires.FAULTS,
}
FAULTS: dict[str, Fault] = {fault.name: fault for area in AREAS.values() for fault in area}
assert len(FAULTS) == sum(map(len, AREAS.values())), "two faults have the same name"
