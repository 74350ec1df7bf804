"""Faults of codecs, connections and migration."""

from __future__ import annotations

from .fault import Fault

FAULTS = (
    Fault(
        "a codec is off by one where the header grows",
        "network.codecs.packing:Packing._packed",
        "1 if count < 16 else",
        "1 if count <= 16 else",
        "codecs contents",
    ),
    Fault(
        "a message is written with the destination of the one before",
        "network.codecs.packing:Packing._head",
        "if known is not None and known[0] == places:",
        "if known is not None:",
        "codecs contents",
    ),
    Fault(
        "the end of a frame gets lost on the wire",
        "network.codecs.packing:_more",
        "if msg.is_eof:",
        "if False:",
        "codecs contents",
    ),
    Fault(
        "what is too big for a signed integer is written as one",
        "network.codecs.packing:Packing._items",
        "_INT64 if value <= INT64_MAX else _UINT64",
        "_INT64",
        "codecs contents",
    ),
    Fault(
        "a buffer of some size is cut a byte too far",
        "network.codecs.unpacking:Unpacking._view",
        "begin = start + 1 + 2**head",
        "begin = start + 2 + head",
        "codecs contents",
    ),
    Fault(
        "bytes that span chunks are put together in the wrong order",
        "network.codecs.received:Received._flush",
        "chunks.append(bytes(tail))",
        "chunks.appendleft(bytes(tail))",
        "codecs contents",
    ),
    Fault(
        "of several chunks, one is forgotten",
        "network.codecs.received:Received._front",
        "for chunk in islice(chunks, 1, None):",
        "for chunk in islice(chunks, 2, None):",
        "codecs contents",
    ),
    Fault(
        "nesting is one deeper than the limit",
        "network.codecs.unpacking:Unpacking._below",
        "if not left:",
        "if left < 0:",
        "codecs contents",
    ),
    Fault(
        "what is queued is sent from the wrong end",
        "network.connection:Connection._gather",
        "outbox.popleft()",
        "outbox.pop()",
        "apps migration",
    ),
    Fault(
        "what has been read is lost when reading stops",
        "network.connection:Connection._read",
        "if receive(wire):\n",
        "if receive(wire) and [self.dialect.next_message()]:\n",
        "migration",
    ),
    Fault(
        "the last result for a client isn't final",
        "network.peer:Back.deliver",
        "    result.is_final = completed\n",
        "    result.is_final = False\n",
        "apps migration",
    ),
    Fault(
        "a message from another app doesn't say which extension it is from",
        "network.peer:Peer.source",
        "src.graph_id or self.engine.graph_id, src.extension_name)",
        "src.graph_id or self.engine.graph_id, None)",
        "apps",
    ),
    Fault(
        "commands to an app that is gone are never answered",
        "network.peer:Peer.lose",
        "        self.answer_all(self.lost_detail())\n",
        "",
        "links",
    ),
    Fault(
        "an executor isn't told that the connection of its caller is gone",
        "network.peer:Peer.lose",
        "            path.abandon()\n",
        "            pass\n",
        "links",
    ),
    Fault(
        "answers of another app stay open",
        "network.peer:Peer._take_answer",
        "        path.close(_ANSWERED)\n",
        "        pass\n",
        "links apps",
    ),
    Fault(
        "a result is taken for one of another command",
        "network.peer:Peer._take_answer",
        "self.in_paths.get(number)",
        "next(iter(self.in_paths.values()), None)",
        "links apps",
    ),
    Fault(
        "of several destinations on the wire only the first is served",
        "network.peer:Peer.receive",
        "for dest in dests:",
        "for dest in dests[:1]:",
        "links apps",
    ),
)
