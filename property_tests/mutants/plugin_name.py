"""How a process is told which fault to make; apart from the plugin, which makes it when it is imported."""

from __future__ import annotations

PLUGIN = "property_tests.mutants.plugin"
VARIABLE = "TEN_TRIO_FAULT"
PLUGIN_OF_CHANGES = "property_tests.mutants.changes_plugin"
CHANGE = "TEN_TRIO_CHANGE"
