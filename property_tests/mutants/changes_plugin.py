"""For pytest, with `-p property_tests.mutants.changes_plugin`: makes one random change, see `mechanical`."""

from __future__ import annotations

import os

import pytest

from .mechanical import Change
from .plugin_name import CHANGE
from .profile import use_profile

Change.of(os.environ[CHANGE]).make()


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Fewer examples: there are many changes."""
    use_profile("dev")
