"""`python -m examples.browser`: the voice agent for a browser, and the page that talks to it.

The app is the one in examples/voice_agent, listening; its graph `browser` has the page in place of the
microphone and the loudspeaker. Both listen to this machine only, and the app wants a token that is
made up anew each time, so that no other page can talk to it.
"""

from __future__ import annotations

import json
import secrets
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import trio

import ten_trio as ten
from examples.voice_agent.ten_packages.extension.tts.speech import find_synthesiser

from .serving import serve

HERE = Path(__file__).parent
APP_FOLDER = HERE.parent / "voice_agent"
CLIENT = HERE.parents[1] / "clients" / "js" / "ten_trio.js"
GRAPH = "browser"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@click.command()
@click.option("--port", default=8000, show_default=True, help="Of the page; 0: any free one.")
@click.option("--app-port", default=8001, show_default=True, help="Of the app; 0: any free one.")
def main(port: int, app_port: int) -> None:
    """Serve a page with which a browser on this machine talks to the voice agent, until Ctrl-C."""
    try:
        find_synthesiser()
        trio.run(run, port, app_port)
    except* (OSError, ten.MissingExtra) as problems:
        raise click.ClickException("; ".join(map(str, leaves(problems)))) from None


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


async def run(port: int, app_port: int) -> None:
    """Serve until SIGINT or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with open_page(port=port, app_port=app_port) as url:
            click.echo(f"{url}  (Ctrl-C ends it)")
            await anext(signals)


@asynccontextmanager
async def open_page(*, port: int = 0, app_port: int = 0) -> AsyncGenerator[str, None]:
    """Run the app and serve the page for the length of a block, which gets the page's URL."""
    token = secrets.token_urlsafe()
    async with ten.open_app(
        APP_FOLDER,
        uri=f"ws://127.0.0.1:{app_port}",
        auto_start=False,
        network=ten.NetworkSettings(token=token, start_graphs="predefined"),
    ) as app:
        settings = json.dumps({"uri": app.uri, "token": token, "graph": GRAPH}).encode()
        files = {"/settings.json": ("application/json", settings)}
        for path in (*HERE.glob("*.*"), CLIENT):
            if path.suffix in KINDS:
                files[f"/{path.name}"] = (f"{KINDS[path.suffix]}; charset=utf-8", path.read_bytes())
        files["/"] = files.pop("/index.html")
        async with serve(files, port=port) as url:
            yield url


if __name__ == "__main__":
    main()
