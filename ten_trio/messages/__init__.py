"""What travels: messages, the values they carry, and the places they come from and go to."""

from __future__ import annotations

from .base import Msg as Msg, MsgType as MsgType
from .command import Cmd as Cmd, CmdResult as CmdResult, StatusCode as StatusCode
from .control import (
    CloseApp as CloseApp,
    StartGraph as StartGraph,
    StopGraph as StopGraph,
    Timeout as Timeout,
    Timer as Timer,
    TriggerLifeCycle as TriggerLifeCycle,
)
from .location import EMPTY_LOC as EMPTY_LOC, Dest as Dest, Loc as Loc
from .media import (
    AudioFrame as AudioFrame,
    AudioFrameDataFmt as AudioFrameDataFmt,
    Data as Data,
    PixelFmt as PixelFmt,
    VideoFrame as VideoFrame,
)
from .properties import Properties as Properties
from .values import (
    INVALID as INVALID,
    Array as Array,
    Float32 as Float32,
    Int8 as Int8,
    Int16 as Int16,
    Int32 as Int32,
    Object as Object,
    UInt8 as UInt8,
    UInt16 as UInt16,
    UInt32 as UInt32,
    UInt64 as UInt64,
    Value as Value,
    ValueType as ValueType,
)
