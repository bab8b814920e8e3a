"""A process that does one step of a cohort, to be killed in the middle of it.

python -m tests.fault.tokens.cohort_step URI PIN_FILE STEP [FILE DIGEST]

FILE is what the step reads: a request (with its fingerprint) or an invitation (with its sender).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from hwkm.secret import Pin
from hwkm.tokens import registry

STEPS: dict[str, Callable[..., object]] = {
    "create": lambda uri, pin: registry.create_cohort(uri, pin, 2),
    "request": registry.request_membership,
    "invite": lambda uri, pin, data, digest: registry.invite(uri, pin, data, digest, 1),
    "join": registry.join,
    "seal": registry.seal,
}


def main(uri: str, pin_file: str, step: str, *carried: str) -> None:
    with Pin(Path(pin_file).read_bytes()) as pin:
        if carried:
            STEPS[step](uri, pin, Path(carried[0]).read_bytes(), bytes.fromhex(carried[1]))
        else:
            STEPS[step](uri, pin)


if __name__ == "__main__":
    main(*sys.argv[1:])
