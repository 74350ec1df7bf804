from __future__ import annotations
from typing import Any
class HttpFront:
    def __init__(self, app: Any, admission: Any) -> None: ...
