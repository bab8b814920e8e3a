"""A page of documentation as a program: its code blocks, and a run of its shell commands. Needs no pytest.

```` ```sh ```` blocks are run in order, by one bash in one directory. A block with ``title=NAME`` is written to
that file first. A ```` ```text ```` block after a command is what it has to print; ``…`` in it stands for
any characters of one line.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FENCE: Final = re.compile(r"^```(\w+)(?: title=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PRELUDE: Final = "set -euo pipefail\nshopt -s expand_aliases\n"
DEADLINE_S: Final = 560.0


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, the file that it is, and its text."""

    language: str
    title: str
    text: str


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    return [Block(language, title, text) for language, title, text in _FENCE.findall(page)]


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, what it has to print, and what it printed."""

    command: str
    expected: str
    printed: str

    @property
    def is_as_stated(self) -> bool:
        """Whether it printed what the page says."""
        pattern = "[^\n]*".join(map(re.escape, self.expected.split("…")))
        return re.fullmatch(pattern, self.printed) is not None


class PageFailed(Exception):
    """The commands of the page ended with an error; the message is what they wrote to standard error."""


def run_page(page: str, directory: Path, environment: Mapping[str, str]) -> list[Step]:
    """Run the commands of a page in a directory.

    Raises:
        PageFailed: bash ended with an error.
    """
    commands = list(_commands(page))
    for block in blocks_of(page):
        if block.title:
            (directory / block.title).write_text(block.text)
    # Each block's output goes to a file of its own. Not in a subshell: variables and aliases stay.
    script = [_PRELUDE]
    for number, (command, _) in enumerate(commands):
        script.append(f"exec >{directory}/printed-{number}\n{command}")
    (directory / "page.sh").write_text("".join(script))
    done = subprocess.run(
        ["bash", "page.sh"],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=DEADLINE_S,
    )
    if done.returncode != 0:
        raise PageFailed(done.stderr.decode())
    return [
        Step(command, expected, (directory / f"printed-{number}").read_text())
        for number, (command, expected) in enumerate(commands)
    ]


def _commands(page: str) -> Iterator[tuple[str, str]]:
    """Each shell block with the text block after it, if that follows at once."""
    blocks = blocks_of(page)
    for block, following in zip(blocks, [*blocks[1:], Block("", "", "")], strict=True):
        if block.language == "sh":
            yield block.text, following.text if following.language == "text" else ""
