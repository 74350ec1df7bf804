"""The rules that can be told from outside, each with the page that says so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs


@attrs.frozen
class Rule:
    """One thing that a runtime has to do."""

    name: str
    text: str
    reference: str
    """Where in docs/ it is laid down."""


_ALL = (
    Rule(
        "every-command-ends-once",
        "every command is answered by exactly one final result, and by nothing after it",
        "protocol.md, Two kinds of peers",
    ),
    Rule(
        "results-in-order",
        "all results of a command come, in the order in which its executor has given them, the final one last",
        "protocol.md, Ids of commands",
    ),
    Rule(
        "relayed-results",
        "a command that an extension sends on is answered by the results of whoever executes it",
        "concepts.md, Commands",
    ),
    Rule(
        "first-error-or-last-ok",
        "of a command to several destinations that policy lets one result through: an ERROR if there is one,"
        " else the OK of the last destination",
        "concepts.md, Commands",
    ),
    Rule(
        "each-ok-and-error",
        "of a command to several destinations that policy lets every result through; the last one is final",
        "concepts.md, Commands",
    ),
    Rule(
        "commands-side-by-side",
        "a command that takes its time holds up no other one, not even at the same extension",
        "concepts.md, Order and concurrency, 3",
    ),
    Rule(
        "order-along-a-chain",
        "what is sent first arrives first: commands among themselves, data and frames among themselves",
        "concepts.md, Order and concurrency, 2",
    ),
    Rule(
        "order-over-branches",
        "each destination of a fan-out gets all of it, once and in order",
        "concepts.md, Order and concurrency, 2",
    ),
    Rule(
        "copies-are-independent",
        "each destination gets a message of its own: what one does to it no other one sees",
        "concepts.md, Order and concurrency, 5",
    ),
    Rule(
        "commands-keep-values",
        "properties of every type come back from an extension as they were sent, with their types",
        "protocol.md, Values",
    ),
    Rule(
        "data-keeps-values",
        "data and frames come back as they were sent: name, properties, fields and buffer",
        "protocol.md, Messages",
    ),
    Rule(
        "unknown-destination",
        "a command to an extension or a graph that isn't there is answered with ERROR, and all else goes on",
        "protocol.md, Which graph",
    ),
    Rule(
        "faulty-graph-refused",
        "a graph that can't be is answered with ERROR, and the next one may be right",
        "protocol.md, Which graph",
    ),
    Rule(
        "one-graph-per-connection",
        "a second start_graph on a connection is answered with ERROR, and the first graph goes on",
        "protocol.md, Which graph",
    ),
    Rule(
        "results-to-who-asked",
        "results go to the client that has sent the command, whatever seq_id others have chosen",
        "protocol.md, Two kinds of peers",
    ),
    Rule(
        "clients-dont-disturb",
        "what one client does wrong no other one notices",
        "protocol.md, Closing, and what is cut off",
    ),
    Rule(
        "stop-graph-answers-all",
        "when a graph is stopped, stop_graph and every command in flight are answered",
        "protocol.md, start_graph, stop_graph, close_app",
    ),
    Rule(
        "stop-graph-ends-it",
        "a stopped graph is gone: its connections are closed, and nobody finds it any more",
        "protocol.md, start_graph, stop_graph, close_app",
    ),
    Rule(
        "time-passes",
        "an extension that waits goes on when its time has come, not before, and not much later",
        "conformance.md, conformance_sleeper",
    ),
)

RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in _ALL}

__all__ = ["RULES", "Rule"]
