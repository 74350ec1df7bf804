"""The codecs, one per module: what the original speaks, and one for people and browsers."""

from __future__ import annotations
