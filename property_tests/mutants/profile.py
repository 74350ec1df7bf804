"""The Hypothesis profile under which faults are looked for: it is enough to know that one is noticed."""

from __future__ import annotations

from hypothesis import Phase, settings


def use_profile(like: str) -> None:
    """Load one with as many examples as another has: always the same ones, and no smaller ones looked for.

    Called when conftest.py has chosen a profile.
    """
    settings.register_profile(
        "faults",
        settings.get_profile(like),
        phases=(Phase.explicit, Phase.generate),
        derandomize=True,
        database=None,
        print_blob=False,
    )
    settings.load_profile("faults")
