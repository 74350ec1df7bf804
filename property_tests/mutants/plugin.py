"""For pytest, with `-p property_tests.mutants.plugin`: makes one fault before anything is collected.

The environment variable says which.
"""

from __future__ import annotations

import os

import pytest

from .faults import FAULTS
from .plugin_name import VARIABLE
from .profile import use_profile

FAULTS[os.environ[VARIABLE]].put_in()


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """As many examples as CI looks at."""
    use_profile("ci")
