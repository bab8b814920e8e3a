"""A process that advances the anchor of a token for ever and prints each epoch once it is durable.

python -m tests.contract.advance_until_killed URI PIN_FILE
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from hwkm.secret import Pin
from hwkm.tokens import registry


def main(uri: str, pin_file: str) -> None:
    with Pin(Path(pin_file).read_bytes()) as pin:
        token = registry.open_token(uri, pin)
    state = token.anchor.read()
    while True:
        state = dataclasses.replace(state, epoch=state.epoch + 1)
        token.anchor.advance(state)
        print(state.epoch, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
