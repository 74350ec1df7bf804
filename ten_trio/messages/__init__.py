"""What travels: messages, the values they carry, and the places they come from and go to."""

from __future__ import annotations

from .base import Msg, MsgType
from .command import Cmd, CmdResult, StatusCode
from .control import (
    CloseApp,
    StartGraph,
    StopGraph,
    Timeout,
    Timer,
    TriggerLifeCycle,
)
from .location import EMPTY_LOC, Dest, Loc
from .media import (
    AudioFrame,
    AudioFrameDataFmt,
    Data,
    PixelFmt,
    VideoFrame,
)
from .properties import Properties
from .values import (
    INVALID,
    Array,
    Float32,
    Int8,
    Int16,
    Int32,
    Object,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Value,
    ValueType,
)

__all__ = [
    "Msg",
    "MsgType",
    "Cmd",
    "CmdResult",
    "StatusCode",
    "CloseApp",
    "StartGraph",
    "StopGraph",
    "Timeout",
    "Timer",
    "TriggerLifeCycle",
    "EMPTY_LOC",
    "Dest",
    "Loc",
    "AudioFrame",
    "AudioFrameDataFmt",
    "Data",
    "PixelFmt",
    "VideoFrame",
    "Properties",
    "INVALID",
    "Array",
    "Float32",
    "Int8",
    "Int16",
    "Int32",
    "Object",
    "UInt8",
    "UInt16",
    "UInt32",
    "UInt64",
    "Value",
    "ValueType",
]
