"""For mkdocs: the pages link files of the repository, which aren't in docs/; these become pages of the site.

A Markdown file is shown as it is, other text as a block of code, a folder as a list, a picture as a picture.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?P<before>\]\()(?P<target>[^)#\s]+)(?P<anchor>#[^)\s]*)?(?=\))")
FENCED = re.compile(r"^(?P<fence>[ \t]*`{3,}).*?^(?P=fence)[ \t]*$", re.DOTALL | re.MULTILINE)
LANGUAGES = {".py": "python", ".js": "javascript", ".json": "json", ".toml": "toml", ".sh": "bash"}
PICTURES = {".svg", ".png"}

# The path in the repository of each page of the site that has one: its links are relative to that.
origins: dict[str, str] = {}


def shown_as(path: str) -> str:
    """Where in the site something of the repository is."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if (ROOT / path).is_dir():
        return f"source/{path}/index.md"
    if Path(path).suffix in {".md", *PICTURES}:
        return f"source/{path}"
    return f"source/{path}.md"


def with_links(text: str, origin: str, change: Callable[[str], str]) -> str:
    """`text` with the target of each link to something of the repository replaced by what `change` makes of it."""

    def replaced(link: re.Match[str]) -> str:
        target = link["target"]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
        if ":" in target or path.startswith("..") or not (ROOT / path).exists():
            return link[0]
        return f"{link['before']}{change(path)}{link['anchor'] or ''}"

    done, parts = 0, []
    for fenced in FENCED.finditer(text):
        parts += [LINK.sub(replaced, text[done : fenced.start()]), fenced[0]]
        done = fenced.end()
    return "".join([*parts, LINK.sub(replaced, text[done:])])


def linked(text: str, origin: str) -> list[str]:
    found: list[str] = []

    def note(path: str) -> str:
        found.append(path)
        return path

    with_links(text, origin, note)
    return found


def content(path: str) -> str:
    """What a page shows of something that isn't Markdown."""
    if (ROOT / path).is_dir():
        names = sorted(each.name for each in (ROOT / path).iterdir() if each.name != "__pycache__")
        return f"# {path}\n\n" + "".join(f"* {name}\n" for name in names)
    text = (ROOT / path).read_text(encoding="utf-8")
    return f"# {path}\n\n`````{LANGUAGES.get(Path(path).suffix, 'text')}\n{text}\n`````\n"


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    origins.clear()
    waiting: list[str] = []
    for file in files.documentation_pages():
        origins[file.src_uri] = f"docs/{file.src_uri}"
        waiting += linked(file.content_string, f"docs/{file.src_uri}")
    known = set()
    while waiting:
        path = waiting.pop()
        if path in known or path.startswith("docs/"):
            continue
        known.add(path)
        where = shown_as(path)
        if Path(path).suffix in PICTURES:
            files.append(File.generated(config, where, content=(ROOT / path).read_bytes()))
        elif path.endswith(".md"):
            text = (ROOT / path).read_text(encoding="utf-8")
            origins[where] = path
            waiting += linked(text, path)
            files.append(File.generated(config, where, content=text))
        else:
            files.append(File.generated(config, where, content=content(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    here = page.file.src_uri
    if here not in origins:
        return markdown
    folder = posixpath.dirname(here) or "."
    return with_links(
        markdown, origins[here], lambda path: posixpath.relpath(shown_as(path), folder)
    )
