"""``hwkm completion``: print the completion script of a shell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]


class Shell(StrEnum):
    """Shells that are known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Which shell.")]) -> None:
    """Print a shell's completion script.

    Example: `hwkm completion bash > ~/.local/share/bash-completion/completions/hwkm`
    """
    print(get_completion_script(prog_name="hwkm", complete_var="_HWKM_COMPLETE", shell=shell.value))
