"""At which line of user code a task is, among all the frames of Trio's and of ours."""

from __future__ import annotations

import os.path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

_MACHINERY = tuple(
    os.path.dirname(file) + os.sep for file in (trio.__file__, os.path.dirname(__file__))
)
_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = ("site-packages" + os.sep, "dist-packages" + os.sep)


def slow_line(frames: Iterable[tuple[FrameType, int]], *, anywhere: bool = True) -> str:
    """The line of user code at which a suspended task is, `file:line in function`.

    If it has no such frame, that of the innermost, or (not `anywhere`) nothing.
    """
    at = last = ""
    for frame, line in frames:
        code = frame.f_code
        last = f"{code.co_filename}:{line} in {code.co_name}"
        if not is_machinery(frame):
            at = last
    return at or (last if anywhere else "")


def is_machinery(frame: FrameType) -> bool:
    """Whether a frame is Trio's, ours, or of Python's own library: not what somebody has to mend."""
    file = frame.f_code.co_filename
    if file.startswith(_MACHINERY):
        return True
    return file.startswith(_LIBRARY) and not file.removeprefix(_LIBRARY).startswith(_INSTALLED)
