"""Settings that all tests share: how many examples Hypothesis tries.

`dev` (50) is the default, `ci` (200) applies where the environment variable CI is set, and
HYPOTHESIS_PROFILE names one explicitly: .ci/full takes `full` (2,000), and `quick` (10) is for a
first look at something slow. Every option is spelled out, because what Hypothesis itself takes as
default depends on CI as well.
"""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

pytest_plugins = ["ten_trio.testing.conformance.plugin"]  # --target

for _profile, _max_examples in {"quick": 10, "dev": 50, "ci": 200, "full": 2000}.items():
    settings.register_profile(
        _profile,
        max_examples=_max_examples,
        deadline=None,  # a slow machine isn't a failure
        derandomize=False,  # look somewhere new every time; a failure prints how to get it back
        print_blob=True,
        database=DirectoryBasedExampleDatabase(
            Path(__file__).with_name(".hypothesis") / "examples"
        ),
        suppress_health_check=[HealthCheck.too_slow],
    )

settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
)
