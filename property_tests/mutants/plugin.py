"""For pytest, with `-p property_tests.mutants.plugin`: makes one fault before anything is collected.

The environment variable says which. Hypothesis looks at as many examples as CI does, always the same ones,
and doesn't look for smaller ones: it is enough to know that the fault is noticed.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, settings

from .faults import FAULTS
from .plugin_name import VARIABLE

FAULTS[os.environ[VARIABLE]].put_in()


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """After conftest.py has chosen a profile."""
    settings.register_profile(
        "faults",
        settings.get_profile("ci"),
        phases=(Phase.explicit, Phase.generate),
        derandomize=True,
        database=None,
        print_blob=False,
    )
    settings.load_profile("faults")
