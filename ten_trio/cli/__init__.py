"""The command line: `ten-trio run`, `call`, `stop`, `why`, `top`, `tap`, `check`, `fuzz`, `draw` and `version`.

Also as `python -m ten_trio`.
"""

from __future__ import annotations

import json
import platform
from importlib.metadata import version as version_of

import click

from .. import __version__
from .files import check, draw
from .fuzzing import fuzz
from .here import conformance_app, run
from .there import call, stop, tap, top, why

EXIT_CODES = """\b
Exit codes of `run`:
  0      every graph ended in order, also when a signal asked for it
  1      a graph failed or could not be started, the app can't listen,
         or the file has problems
  2      wrong usage, or a file that can't be read
  3      closed, but something had to be cancelled when the grace ran out
  128+N  cancelled by a second signal N: 130 for SIGINT, 143 for SIGTERM
\b
Exit codes of `call`, `stop`, `why`, `top` and `tap`:
  0      the answer is OK
  1      the answer is ERROR
  2      wrong usage, or nobody can be reached there
  130    ended by SIGINT: the command is abandoned
\b
Exit codes of the other commands:
  0      all right
  1      the file has problems; fuzz: something was found
  2      wrong usage, or a file that can't be read or written
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run, call, check and draw graphs of the TEN framework."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    trio, python = version_of("trio"), platform.python_version()
    if as_json:
        click.echo(json.dumps({"ten_trio": __version__, "trio": trio, "python": python}))
    else:
        click.echo(f"ten-trio {__version__} (trio {trio}, Python {python})")


for command in (run, call, stop, why, top, tap, conformance_app, check, fuzz, draw):
    main.add_command(command)

__all__ = ["main"]
