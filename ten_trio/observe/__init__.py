"""Watching a runtime from outside and inside."""

from __future__ import annotations

from .logs import (
    LogConfigError as LogConfigError,
    LogLevel as LogLevel,
    LogSession as LogSession,
    TenLogger as TenLogger,
    configure_logs as configure_logs,
)
