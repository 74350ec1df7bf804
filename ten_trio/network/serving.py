"""`open_app` for everybody: an app with its network."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from ..graphs import AppProperty
from ..runtime.app import App, open_app as open_runtime, settings_of
from ..runtime.limits import Limits
from .app_network import AppNetwork
from .protocol_addons import FolderProtocols
from .protocols import Protocols, WireProtocol
from .settings import NetworkSettings
from .settings_file import network_settings


@asynccontextmanager
async def open_app(
    source: str | Path | Mapping[str, Any] | AppProperty | None = None,
    *,
    uri: str | None = None,
    listen: Iterable[str] = (),
    auto_start: bool = True,
    limits: Limits | None = None,
    grace: float | None = None,
    network: NetworkSettings | None = None,
    protocols: Iterable[WireProtocol] = (),
) -> AsyncGenerator[App, None]:
    """Run an app for the length of a block; leaving the block closes every graph in order.

    `source`: an app folder, a property.json, its parsed content or what was made of that; None for an
    app without properties.  Its `${env:...}` are replaced.  Graphs with `auto_start` are running when
    the block is entered (`auto_start=False` leaves that to `App.start_predefined`).  All graphs have
    `grace` seconds together to close; a sole exception of the block's own body comes out as it is.

    The app listens at its `uri`, which is also the name by which other apps know it, and at every URI
    of `listen`: `msgpack://HOST:PORT`, `ws://HOST:PORT`, `unix:///PATH` and so on; with port 0 at one
    that the system chooses (`App.uri` says which).  `network` bounds what comes in, and says who may
    do what; `protocols` are further ones, besides those that come with ten_trio, those in the app's
    folder (`ten_packages/protocol/`) and those installed.
    `uri`, `listen` and `network` are each taken from the property.json if they aren't given here.

    Raises `GraphError`, `ConfigError`, `OSError` if it can't listen, what starting the graphs raises, and
    `RuntimeError` outside of a Trio run.
    """
    if not trio.lowlevel.in_trio_run():
        raise RuntimeError("ten_trio.open_app needs Trio: trio.run(main), not asyncio.run(main())")
    settings = settings_of(source)
    bounds = network_settings(settings) if network is None else network
    folder = FolderProtocols(settings.base_dir)
    known = Protocols(folder.find)
    for protocol in protocols:
        known.register(protocol)
    own = settings.uri if uri is None else uri
    more = tuple(listen) or settings.listen
    uris = list(dict.fromkeys(each for each in (own, *more) if each))

    def boundary(app: App, nursery: trio.Nursery) -> AppNetwork:
        return AppNetwork(app, nursery, bounds, known, uris)

    with closing(folder):
        async with open_runtime(
            settings, uri=uri, auto_start=auto_start, limits=limits, grace=grace, network=boundary
        ) as app:
            yield app
