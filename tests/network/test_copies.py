"""A big buffer is copied at most once on its way from a socket to a handler, and not at all back to one.

Told by identity: what a socket gives is what the codec keeps, what the codec puts together is what the
handler has, and what the handler sends is what the socket gets.  (As long as nobody asks a frame for its
content as `bytes`: `buf` of one that was received is a copy, `view_buf` isn't.)
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.network.codecs.received import BIG, Received
from ten_trio.network.transport import RECEIVE_SIZE
from ten_trio.network.transports.sockets import SocketPipe

pytestmark = pytest.mark.slow

PICTURE = 1920 * 1080 * 3 // 2


class Watched:
    """What went through sockets and codecs of this process."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        """From sockets."""
        self.kept: list[object] = []
        """Given to codecs."""
        self.taken: list[object] = []
        """What big buffers that codecs have given out are views of."""
        self.copies = 0
        """How many of these were put together from several chunks."""
        self.went: list[object] = []
        """What big buffers that were given to sockets are views of."""


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    seen = Watched()
    receive, send, put, take = (
        SocketPipe.receive_some,
        SocketPipe.send_pieces,
        Received.put,
        Received.take,
    )

    async def receiving(self: SocketPipe, max_bytes: int | None = None) -> bytes:
        data = await receive(self, max_bytes)
        seen.came.append(data)
        return data

    async def sending(self: SocketPipe, pieces: Sequence[Any]) -> None:
        for piece in pieces:
            if len(piece) >= BIG:
                seen.went.append(piece.obj if isinstance(piece, memoryview) else piece)
        await send(self, pieces)

    def putting(self: Received, data: Any) -> None:
        seen.kept.append(data)
        put(self, data)

    def taking(self: Received, count: int) -> Any:
        chunks = list(self._chunks)
        taken = take(self, count)
        if count >= BIG:
            assert isinstance(taken, memoryview)
            seen.taken.append(taken.obj)
            seen.copies += all(taken.obj is not chunk for chunk in chunks)
        return taken

    monkeypatch.setattr(SocketPipe, "receive_some", receiving)
    monkeypatch.setattr(SocketPipe, "send_pieces", sending)
    monkeypatch.setattr(Received, "put", putting)
    monkeypatch.setattr(Received, "take", taking)
    return seen


class Back(ten.Extension):
    """Sends back what it gets, and keeps it."""

    def __init__(self) -> None:
        self.got: list[Any] = []

    async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
        self.got.append(frame.view_buf().obj)
        await env.send_video_frame(frame)


@asynccontextmanager
async def talking(back: Back) -> AsyncGenerator[ten.Client, None]:
    graph = ten.Graph()
    graph.node("back", "sends_back")
    graph.expose("video_frame_in", "picture", "back")
    graph.expose("video_frame_out", "picture", "back")
    with trio.fail_after(20):
        async with ten.open_app(uri="msgpack://127.0.0.1:0") as app:
            app.addons.register("sends_back", lambda name: back)
            async with ten.connect(app.uri) as client:
                await client.start_graph(graph)
                yield client


async def there_and_back(size: int, watched: Watched) -> None:
    back = Back()
    payload = bytes(range(256)) * (size // 256)
    async with talking(back) as client, client.messages("picture") as pictures:
        await client.send_video_frame(ten.VideoFrame("picture", width=16, height=16, buf=payload))
        returned = await pictures.receive()
        assert isinstance(returned, ten.VideoFrame)
        received = returned.view_buf()
        assert received == payload
    (got,) = back.got
    # From socket to codec: the same objects.
    came = {id(data) for data in watched.came}
    assert all(id(data) in came for data in watched.kept if len(data) >= BIG)  # type: ignore[arg-type]
    # Out of the codec into the handler, and out of the other one to the client.
    assert [id(each) for each in watched.taken] == [id(got), id(received.obj)]
    # The client's own, and then the handler's.
    assert [id(each) for each in watched.went] == [id(payload), id(got)]


async def test_a_picture_is_put_together_once_each_way(watched: Watched) -> None:
    assert PICTURE > 3 * RECEIVE_SIZE
    await there_and_back(PICTURE, watched)
    assert watched.copies == 2


async def test_what_comes_in_one_piece_is_not_copied(watched: Watched) -> None:
    await there_and_back(2 * BIG, watched)
    assert watched.copies <= 2  # the system may cut it


async def test_a_copy_would_be_noticed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    original = ten.TenEnv.send_video_frame

    async def copying(self: Any, frame: Any, **options: Any) -> bool:
        again = ten.VideoFrame("picture", width=16, height=16, buf=bytes(frame.buf))
        return await original(self, again, **options)

    monkeypatch.setattr(ten.TenEnv, "send_video_frame", copying)
    with pytest.raises(AssertionError):
        await there_and_back(PICTURE, watched)
    assert len(watched.went) == 2  # so that is where it stopped
