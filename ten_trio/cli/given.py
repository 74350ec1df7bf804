"""What commands are given, read or refused: files and URIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NoReturn

import click

from ..errors import ConfigError, InvalidArgument, InvalidJson, TenError
from ..network import Address
from .documents import Document, read_document
from .running import UNUSABLE
from .screens import lines_of, tell_error

SOURCE: Final = click.Path(exists=True, path_type=Path)


def checked_uri(_: click.Context, param: click.Parameter, given: Any) -> Any:
    """Refuse what is no URI."""
    for uri in given if isinstance(given, tuple) else (given,):
        try:
            Address.parse(uri)
        except InvalidArgument as error:
            raise click.BadParameter(str(error), param=param) from None
    return given


def document_of(source: Path, as_json: bool) -> Document:
    """Read the file or app folder; ends the program if it can't be."""
    try:
        return read_document(source)
    except (ConfigError, InvalidJson) as error:
        give_up(error, as_json, source)


def give_up(error: TenError, as_json: bool, source: Path, code: int = UNUSABLE) -> NoReturn:
    """Say what is wrong with the file, and end the program."""
    tell_error("; ".join(lines_of(error)), as_json=as_json, file=str(source))
    raise SystemExit(code)


__all__ = ["SOURCE", "checked_uri", "document_of", "give_up"]
