"""For pytest, with `-p property_tests.mutants.changes_plugin`: makes one random change, see `mechanical`."""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings

from .mechanical import Change
from .plugin_name import CHANGE

Change.of(os.environ[CHANGE]).make()


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """After conftest.py has chosen a profile: no shrinking, always the same examples."""
    settings.register_profile(
        "changes",
        settings.get_profile("dev"),
        phases=(Phase.explicit, Phase.generate),
        derandomize=True,
        database=None,
        print_blob=False,
    )
    settings.load_profile("changes")
