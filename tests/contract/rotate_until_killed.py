"""A process that rotates the domain of a token for ever, taking one key along, and prints each generation.

python -m tests.contract.rotate_until_killed URI PIN_FILE KEY_FILE

KEY_FILE holds the wrapped key and is replaced before an old generation is retired.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hwkm.formats.wrapped_key import WrappedKey
from hwkm.secret import Pin
from hwkm.tokens import registry


def main(uri: str, pin_file: str, key_file: str) -> None:
    with Pin(Path(pin_file).read_bytes()) as pin:
        domain = registry.open_token(uri, pin).domain
    assert domain is not None
    path = Path(key_file)
    wrapped = path.read_bytes()
    parsed = WrappedKey.parse(wrapped)
    while True:
        domain.rotate()
        wrapped = domain.rewrap(parsed.name, parsed.kind, wrapped)
        draft = path.with_suffix(".new")
        draft.write_bytes(wrapped)
        draft.replace(path)
        for generation in domain.generations()[:-1]:
            domain.retire(generation)
        print(domain.generation, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
