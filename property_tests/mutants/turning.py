"""Faults of turns."""

from __future__ import annotations

from .fault import Fault

FAULTS = (
    Fault(
        "the answer that ends a command wakes the handler that is to be cancelled",
        "runtime.instance:Instance.take_result",
        "and result._src is not EMPTY_LOC\n",
        "and True\n",
        "turns turn_blocks lifecycle",
    ),
    Fault(
        "data doesn't inherit its turn",
        "runtime.endpoint:Endpoint.post",
        "        turn = now._turn\n",
        "        pass\n",
        "turns turn_blocks",
    ),
    Fault(
        "a command doesn't inherit its turn",
        "runtime.endpoint:Endpoint._dispatch",
        "        shell._turn = turn = now._turn\n",
        "        pass\n",
        "turns turn_blocks",
    ),
    Fault(
        "what waits in a lane of its own isn't cancelled with its turn",
        "runtime.turns:_Cancelling._purge",
        "for lane in (group.shared, *group.own.values()):",
        "for lane in (group.shared,):",
        "turns turn_blocks",
    ),
    Fault(
        "what waits in a shared lane isn't cancelled with its turn",
        "runtime.turns:_Cancelling._purge",
        "for lane in (group.shared, *group.own.values()):",
        "for lane in group.own.values():",
        "turns turn_blocks",
    ),
    Fault(
        "a worker is gone with the handler that was cancelled",
        "runtime.lanes:Worker.run",
        "            if group.cancelled:\n                return\n",
        "            return\n",
        "turns turn_blocks",
    ),
    Fault(
        "the next handler is cancelled as well",
        "runtime.lanes:Worker._finish",
        "        await trio.lowlevel.checkpoint_if_cancelled()\n",
        "        pass\n",
        "turns turn_blocks",
    ),
    Fault(
        "those who wait for room aren't told what a cancelled turn has left",
        "runtime.turns:_drop",
        "            line.release()\n",
        "            pass\n",
        "turn_blocks turns conservation",
    ),
    Fault(
        "what a cancelled turn has dropped isn't counted",
        "runtime.turns:_drop",
        "            line.drop(CANCELLED, number)\n",
        "            pass\n",
        "conservation",
    ),
    Fault(
        "what a cancelled turn has dropped still takes up room",
        "runtime.turns:_drop",
        "        line.count -= number\n",
        "",
        "conservation turn_blocks",
    ),
    Fault(
        "a shield is no shield",
        "runtime.turns:Turns.scope",
        "with trio.CancelScope(shield=True) as scope:",
        "with trio.CancelScope() as scope:",
        "turn_blocks turns",
    ),
    Fault(
        "whoever cancels a turn doesn't wait until it has ended",
        "runtime.turns:Turns.cancel",
        "await self._settled(here)\n",
        "pass\n",
        "turns turn_blocks",
    ),
    Fault(
        "cancelling one turn ends the commands of all",
        "runtime.turns:_Cancelling._end_commands",
        "if path.turn is self.turn]",
        "if path.turn]",
        "turns turn_blocks",
    ),
    Fault(
        "cancelling one turn cancels the handlers of all",
        "runtime.turns:_Cancelling._cancel_handlers",
        "if msg._turn is turn:",
        "if msg._turn:",
        "turns turn_blocks",
    ),
    Fault(
        "what a turn block starts belongs to no turn",
        "runtime.turns:Turns.scope",
        "token = current.set(Within(now, NO_TURN if belongs is None else belongs))",
        "token = current.set(Within(now, NO_TURN))",
        "turn_blocks turns",
    ),
)
