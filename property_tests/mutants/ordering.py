"""Faults of lines and lanes: order, room, and who waits for whom."""

from __future__ import annotations

from .fault import Fault

FAULTS = (
    Fault(
        "what is queued is turned around when a line gets a lane of its own",
        "runtime.lanes:Group.promote",
        "for msg in lane.take(*along):",
        "for msg in reversed(lane.take(*along)):",
        "order overtaking",
    ),
    Fault(
        "commands and results wait behind data that is held up",
        "runtime.lanes:Worker._finish",
        "self.group.scatter(line)\n",
        "pass\n",
        "deadlock overtaking",
    ),
    Fault(
        "commands and results lose their order when data begins to be held up",
        "runtime.lanes:Group.scatter",
        "for msg in own.take(*(each for each in line.companions if each is not line)):\n",
        "for msg in [m for c in line.companions if c is not line for m in own.take(c)]:\n",
        "overtaking order",
    ),
    Fault(
        "data that has come meanwhile goes before commands that waited longer",
        "runtime.lanes:Group._gather_queued",
        "(*waiting, *own.take_all())",
        "(*own.take_all(), *waiting)",
        "overtaking order",
    ),
    Fault(
        "the lines of a receiver stay apart once a handler has waited",
        "runtime.lanes:Worker._finish",
        "self.group.gather(line) if line.serial else _NONE",
        "_NONE",
        "overtaking order",
    ),
    Fault(
        "what is on its way may be overtaken once a handler was cancelled",
        "runtime.lanes:Worker._finish",
        "if underway:\n",
        "if underway and not self.is_cancelled:\n",
        "overtaking order runtime/order",
    ),
    Fault(
        "what is on its way to a worker may be overtaken",
        "runtime.lanes:Worker._finish",
        "if underway:\n",
        "if False:\n",
        "overtaking order",
    ),
    Fault(
        "a lane that is given up takes only one line back",
        "runtime.lanes:Group.demote",
        "        if each.lane is own:\n",
        "        if each is line:\n",
        "order overtaking",
    ),
    Fault(
        "a handler that waits holds up its whole group",
        "runtime.lanes:Worker._drain",
        "if own is not line or self.group.own.get(line) is not lane:\n",
        "if False:\n",
        "deadlock order",
    ),
    Fault(
        "all handlers of an extension share one context",
        "runtime.lanes:Worker._drain",
        "context = line.context.copy()",
        "context = line.context",
        "turns relays",
    ),
    Fault(
        "a wait for room may close a circle",
        "runtime.lines:Line.wait_for_room",
        "(sender is not None and line.held_up_by(sender))",
        "False",
        "deadlock",
    ),
    Fault(
        "a sender waits for room at one who waits for a result",
        "runtime.lines:Line.wait_for_room",
        "if line.result_waits or (",
        "if (",
        "conservation deadlock",
    ),
    Fault(
        "those who wait for room aren't let go when their receiver asks something",
        "runtime.lines:Line.begin_result_wait",
        "        self.release()\n",
        "",
        "conservation deadlock",
    ),
    Fault(
        "nobody is told that there is room again",
        "runtime.lanes:Worker._drain",
        "line.release()\n",
        "pass\n",
        "deadlock conservation",
    ),
    Fault(
        "a queue without a bound",
        "runtime.endpoint:Endpoint.post",
        "if count > line.cap:",
        "if False:",
        "conservation",
    ),
    Fault(
        "a sender that has to wait for room doesn't",
        "runtime.endpoint:Endpoint.post",
        "                full = line\n",
        "                pass\n",
        "conservation",
    ),
    Fault(
        "cancelled while it waits for room, a sender is still let go",
        "runtime.lines:Line.wait_for_room",
        "            self.waiters.pop(task, None)\n",
        "            pass\n",
        "close conservation",
    ),
    Fault(
        "a sender's message goes to the same receiver for all of its destinations",
        "runtime.endpoint:Endpoint.post",
        "shell._line = line = hop.line",
        "shell._line = line = hops[0].line",
        "order",
    ),
)
