"""Data, audio frames and video frames: messages that aren't answered and may carry a buffer.

The runtime attaches no meaning to what their fields say: timestamps are in whatever unit the
extensions agree on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import partial
from typing import Any, ClassVar, Final, Self, final

from .base import NAME_FIELD, MsgType
from .buffers import BUF_FIELD, Buffer, Buffered
from .fields import Field, boolean, int32, int64, lower_name, member_of, uint64
from .location import Dest


class AudioFrameDataFmt(IntEnum):
    """How the samples of several channels follow each other."""

    INVALID = 0
    INTERLEAVE = 1
    NON_INTERLEAVE = 2


class PixelFmt(IntEnum):
    """How a picture is laid out in memory."""

    INVALID = 0
    RGB24 = 1
    RGBA = 2
    BGR24 = 3
    BGRA = 4
    I422 = 5
    I420 = 6
    NV21 = 7
    NV12 = 8


_data_fmt = member_of(AudioFrameDataFmt)
_pixel_fmt = member_of(PixelFmt)


@final
class Data(Buffered):
    """Anything: properties, a buffer of any content, or both."""

    __slots__ = ()

    type = MsgType.DATA
    kind = "data"
    _fields: ClassVar[Mapping[str, Field]] = {"name": NAME_FIELD, "buf": BUF_FIELD}

    def _shell(self) -> Self:
        shell = _blank_data()
        self._shared = shell._shared = True
        self._locks = shell._locks = None
        shell._props = self._props
        shell._buf = self._buf
        shell._dests = ()
        shell.name = self.name
        shell._src = self._src
        shell._turn = self._turn
        shell._line = None
        return shell


_blank_data: Final[Callable[[], Data]] = partial(object.__new__, Data)


@final
class AudioFrame(Buffered):
    """A piece of sound."""

    __slots__ = (
        *("bytes_per_sample", "channel_layout", "data_fmt", "is_eof", "line_size"),
        *("number_of_channels", "sample_rate", "samples_per_channel", "timestamp"),
    )

    type = MsgType.AUDIO_FRAME
    kind = "audio_frame"
    _fields: ClassVar[Mapping[str, Field]] = {
        "name": NAME_FIELD,
        "timestamp": Field("timestamp", int64),
        "sample_rate": Field("sample_rate", int32),
        "bytes_per_sample": Field("bytes_per_sample", int32),
        "samples_per_channel": Field("samples_per_channel", int32),
        "number_of_channel": Field("number_of_channels", int32),
        "channel_layout": Field("channel_layout", uint64),
        "data_fmt": Field("data_fmt", _data_fmt, lower_name),
        "line_size": Field("line_size", int32),
        "is_eof": Field("is_eof", boolean),
        "buf": BUF_FIELD,
    }

    timestamp: int
    sample_rate: int
    bytes_per_sample: int
    samples_per_channel: int
    number_of_channels: int
    channel_layout: int
    data_fmt: AudioFrameDataFmt
    line_size: int
    is_eof: bool

    def __init__(
        self,
        name: str = "",
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        timestamp: int = 0,
        sample_rate: int = 0,
        bytes_per_sample: int = 0,
        samples_per_channel: int = 0,
        number_of_channels: int = 0,
        channel_layout: int = 0,
        data_fmt: AudioFrameDataFmt = AudioFrameDataFmt.INTERLEAVE,
        line_size: int = 0,
        is_eof: bool = False,
        buf: Buffer = b"",
        dest: Dest | Iterable[Dest] | None = None,
    ) -> None:
        super().__init__(name, properties, buf=buf, dest=dest)
        self.set_timestamp(timestamp)
        self.set_sample_rate(sample_rate)
        self.set_bytes_per_sample(bytes_per_sample)
        self.set_samples_per_channel(samples_per_channel)
        self.set_number_of_channels(number_of_channels)
        self.set_channel_layout(channel_layout)
        self.set_data_fmt(data_fmt)
        self.set_line_size(line_size)
        self.set_eof(is_eof)

    def _shell(self) -> Self:
        shell = _blank_audio_frame()
        self._shared = shell._shared = True
        self._locks = shell._locks = None
        shell._props = self._props
        shell._buf = self._buf
        shell._dests = ()
        shell.name = self.name
        shell._src = self._src
        shell._turn = self._turn
        shell._line = None
        shell.timestamp = self.timestamp
        shell.sample_rate = self.sample_rate
        shell.bytes_per_sample = self.bytes_per_sample
        shell.samples_per_channel = self.samples_per_channel
        shell.number_of_channels = self.number_of_channels
        shell.channel_layout = self.channel_layout
        shell.data_fmt = self.data_fmt
        shell.line_size = self.line_size
        shell.is_eof = self.is_eof
        return shell

    def alloc_buf(self, size: int) -> None:
        """Make a buffer of `size` zero bytes, in place of the one there may be."""
        self._alloc(size)

    def get_timestamp(self) -> int:
        """Return the timestamp."""
        return self.timestamp

    def set_timestamp(self, timestamp: int) -> None:
        """Set the timestamp, an int64."""
        self.timestamp = int64(timestamp)

    def get_sample_rate(self) -> int:
        """Return the samples per second."""
        return self.sample_rate

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the samples per second, an int32."""
        self.sample_rate = int32(sample_rate)

    def get_bytes_per_sample(self) -> int:
        """Return the size of a sample of one channel."""
        return self.bytes_per_sample

    def set_bytes_per_sample(self, bytes_per_sample: int) -> None:
        """Set the size of a sample of one channel, an int32."""
        self.bytes_per_sample = int32(bytes_per_sample)

    def get_samples_per_channel(self) -> int:
        """Return how many samples of each channel there are."""
        return self.samples_per_channel

    def set_samples_per_channel(self, samples_per_channel: int) -> None:
        """Set how many samples of each channel there are, an int32."""
        self.samples_per_channel = int32(samples_per_channel)

    def get_number_of_channels(self) -> int:
        """Return how many channels there are."""
        return self.number_of_channels

    def set_number_of_channels(self, number_of_channels: int) -> None:
        """Set how many channels there are, an int32."""
        self.number_of_channels = int32(number_of_channels)

    def get_channel_layout(self) -> int:
        """Return which channels there are, as bits."""
        return self.channel_layout

    def set_channel_layout(self, channel_layout: int) -> None:
        """Set which channels there are, as bits: a uint64."""
        self.channel_layout = uint64(channel_layout)

    def get_data_fmt(self) -> AudioFrameDataFmt:
        """Return how the samples are ordered."""
        return self.data_fmt

    def set_data_fmt(self, data_fmt: AudioFrameDataFmt) -> None:
        """Set how the samples are ordered."""
        self.data_fmt = _data_fmt(data_fmt)

    def get_line_size(self) -> int:
        """Return the line size."""
        return self.line_size

    def set_line_size(self, line_size: int) -> None:
        """Set the line size, an int32."""
        self.line_size = int32(line_size)

    def set_eof(self, is_eof: bool) -> None:
        """Say whether this is the last frame."""
        self.is_eof = boolean(is_eof)


_blank_audio_frame: Final[Callable[[], AudioFrame]] = partial(object.__new__, AudioFrame)


@final
class VideoFrame(Buffered):
    """A picture."""

    __slots__ = ("height", "is_eof", "pixel_fmt", "timestamp", "width")

    type = MsgType.VIDEO_FRAME
    kind = "video_frame"
    _fields: ClassVar[Mapping[str, Field]] = {
        "name": NAME_FIELD,
        "pixel_fmt": Field("pixel_fmt", _pixel_fmt, lower_name),
        "timestamp": Field("timestamp", int64),
        "width": Field("width", int32),
        "height": Field("height", int32),
        "is_eof": Field("is_eof", boolean),
        "data": Field("buf", BUF_FIELD.check, is_buffer=True),
    }

    pixel_fmt: PixelFmt
    timestamp: int
    width: int
    height: int
    is_eof: bool

    def __init__(
        self,
        name: str = "",
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        pixel_fmt: PixelFmt = PixelFmt.RGBA,
        timestamp: int = 0,
        width: int = 0,
        height: int = 0,
        is_eof: bool = False,
        buf: Buffer = b"",
        dest: Dest | Iterable[Dest] | None = None,
    ) -> None:
        super().__init__(name, properties, buf=buf, dest=dest)
        self.set_pixel_fmt(pixel_fmt)
        self.set_timestamp(timestamp)
        self.set_width(width)
        self.set_height(height)
        self.set_eof(is_eof)

    def _shell(self) -> Self:
        shell = _blank_video_frame()
        self._shared = shell._shared = True
        self._locks = shell._locks = None
        shell._props = self._props
        shell._buf = self._buf
        shell._dests = ()
        shell.name = self.name
        shell._src = self._src
        shell._turn = self._turn
        shell._line = None
        shell.pixel_fmt = self.pixel_fmt
        shell.timestamp = self.timestamp
        shell.width = self.width
        shell.height = self.height
        shell.is_eof = self.is_eof
        return shell

    def get_pixel_fmt(self) -> PixelFmt:
        """Return how the picture is laid out."""
        return self.pixel_fmt

    def set_pixel_fmt(self, pixel_fmt: PixelFmt) -> None:
        """Set how the picture is laid out."""
        self.pixel_fmt = _pixel_fmt(pixel_fmt)

    def get_timestamp(self) -> int:
        """Return the timestamp."""
        return self.timestamp

    def set_timestamp(self, timestamp: int) -> None:
        """Set the timestamp, an int64."""
        self.timestamp = int64(timestamp)

    def get_width(self) -> int:
        """Return the width in pixels."""
        return self.width

    def set_width(self, width: int) -> None:
        """Set the width in pixels, an int32."""
        self.width = int32(width)

    def get_height(self) -> int:
        """Return the height in pixels."""
        return self.height

    def set_height(self, height: int) -> None:
        """Set the height in pixels, an int32."""
        self.height = int32(height)

    def set_eof(self, is_eof: bool) -> None:
        """Say whether this is the last frame."""
        self.is_eof = boolean(is_eof)


_blank_video_frame: Final[Callable[[], VideoFrame]] = partial(object.__new__, VideoFrame)
