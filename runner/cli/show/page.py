"""What a command shows: all at once, and in a pager where the screen is a terminal and the page is long."""

from __future__ import annotations

import os
import pydoc
import sys

from rich.console import Group, RenderableType

from runner.cli.screen import console

WIDTH = 100
"""Longer lines of text are hard to read."""


def show_page(parts: list[RenderableType]) -> None:
    """Print the parts of a page, broken into lines that fit the screen."""
    if not parts:
        return
    width = min(console.width, WIDTH)
    with console.capture() as captured:
        console.print(Group(*parts), width=width, soft_wrap=False)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
    is_long = text.count("\n") >= console.height
    if console.is_terminal and sys.stdin.isatty() and is_long and os.environ.get("TERM") != "dumb":
        os.environ.setdefault("LESS", "FRX")  # colours, and no pager for what fits after all
        pydoc.pager(text)
        return
    print(text, end="", file=console.file, flush=True)
