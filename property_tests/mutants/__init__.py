"""The suite, tested: small faults of ten_trio, put in one at a time, each of which a property must notice.

`python -m property_tests.mutants` tries them all and prints what has caught each. `fault` says what a
fault is and puts it in, the modules below `faults` list them by what they break, `trial` tries one in a
process of its own, `page` keeps the table on docs/conformance.md.
"""

from __future__ import annotations
