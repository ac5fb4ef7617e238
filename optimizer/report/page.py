"""Pages of text: the few shapes that the summaries are made of, and how they become plain text."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Page = list[RenderableType]
SHORT = 12
"""A column of names no longer than this is never broken."""


def heading(text: str) -> RenderableType:
    return Text(f"\n{text}", style="bold")


def line(text: str, style: str = "") -> RenderableType:
    return Text(text, style=style)


def unbroken(text: str) -> RenderableType:
    """A line that is never wrapped: a path that somebody will copy."""
    return Text(text, no_wrap=True)


def facts(rows: Iterable[tuple[str, str, str]]) -> RenderableType:
    """name, number, remark."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(justify="right", no_wrap=True)
    grid.add_column()
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    return Padding(grid, (0, 0, 0, 2))


def bullets(sentences: Iterable[str], style: str = "") -> RenderableType:
    """One mark per sentence; further lines of a sentence are indented."""
    marked = Table.grid(padding=(0, 1))
    for sentence in sentences:
        marked.add_row(Text("-", style=style), Text(sentence, style=style))
    return Padding(marked, (0, 0, 0, 2))


def grid(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1, total: Sequence[str] | None = None) -> RenderableType:
    """A table whose first `words` columns are names (left, broken where too long), the others numbers (right, never broken)."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    rows = [list(row) for row in rows]
    for index, name in enumerate(columns):
        short = all(len(row[index]) <= SHORT for row in rows)
        table.add_column(name, justify="left" if index < words else "right", no_wrap=short or index >= words, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    if total is not None:
        table.add_section()
        table.add_row(*(Text(cell, style="bold") for cell in total))
    return Padding(table, (0, 0, 0, 2))


def text_of(page: Page, width: int, encoding: str = "utf-8") -> str:
    """The page without colours; frames are drawn in ASCII where the encoding has no more."""
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n")
    show(page, Console(file=out, width=width, no_color=True, highlight=False, emoji=False, markup=False, force_terminal=False))
    return "".join(f"{written.rstrip()}\n" for written in _content(out).splitlines())


def show(page: Page, console: Console) -> None:
    for part in page:
        whole = isinstance(part, Text) and bool(part.no_wrap)
        console.print(part, soft_wrap=whole)


def print_page(page: Page, stream: TextIO) -> None:
    """To a terminal in its width and colours (NO_COLOR is heeded); elsewhere as plain text, 100 columns wide unless COLUMNS is set."""
    if stream.isatty():
        show(page, Console(file=stream, highlight=False, emoji=False, markup=False))
    else:
        columns = os.environ.get("COLUMNS", "")
        stream.write(text_of(page, max(40, int(columns)) if columns.isdigit() else 100, stream.encoding or "utf-8"))


def _content(out: io.TextIOWrapper) -> str:
    out.seek(0)
    return out.read()
