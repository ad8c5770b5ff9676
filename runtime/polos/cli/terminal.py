"""Text that came from outside, on a terminal: nothing in it is a command to the terminal.

Keys, errors and results hold what users, callers and events sent. An escape sequence among it could move the cursor,
rewrite what is above, set the window's title or the clipboard; so each control character is shown as its picture
(U+2400 and following), and one that turns the direction of writing as a replacement character. Line ends and tabs stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_COMMANDS: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_PICTURES: Final = {**{code: chr(0x2400 + code) for code in range(0x20)}, 0x7F: "\u2421"}


def printable(text: str) -> str:
    """The text with nothing in it that a terminal obeys."""
    return _COMMANDS.sub(lambda found: _PICTURES.get(ord(found[0]), "\ufffd"), text)


def printable_json(text: str) -> str:
    """JSON that means the same and holds nothing that a terminal obeys."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Terminal(Console):
    """A console that prints no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and _COMMANDS.search(segment.text):
                yield Segment(printable(segment.text), segment.style)
            else:
                yield segment

    def on_broken_pipe(self) -> None:
        """Whoever read the output has closed it. Rich would exit with a code of its own."""
        raise BrokenPipeError
