"""The HTTP front door of an app: graphs, commands and data with nothing but curl; see docs/http.md."""

from __future__ import annotations
