"""The black-box half of the conformance suite: what a runtime must do, told from outside alone.

The properties themselves are in property_tests/conformance; here is what they are made of, and what
an adapter for another runtime implements (`Target`, `Runtime`, `Client`). See docs/conformance.md.
"""

from __future__ import annotations

from .addons import ADDONS
from .answers import (
    Answer,
    Expected,
    each_of,
    ended,
    exactly,
    first_error_or_last_ok,
    ignored,
    refused,
    typed,
)
from .graphs import PROBE, Blueprint, Edge, Node
from .rules import RULES, Rule
from .talk import Person, Talk, Violation, check
from .target import BadBytes, Client, Runtime, Target, load_target

__all__ = [
    "Client",
    "Runtime",
    "Target",
    "BadBytes",
    "load_target",
    "ADDONS",
    "RULES",
    "Rule",
    "Violation",
    "check",
    "Talk",
    "Person",
    "Blueprint",
    "Node",
    "Edge",
    "PROBE",
    "Answer",
    "Expected",
    "exactly",
    "each_of",
    "first_error_or_last_ok",
    "refused",
    "ended",
    "ignored",
    "typed",
]
