"""What stretching the knowledge factor costs the client; apart, since it is slow on purpose."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from bench.figure import Figure
from hwkm.crypto.knowledge_factor import (
    argon2id_params,
    encode_credential,
    hash_credential,
    scrypt_params,
    sha256_params,
)

_ROUNDS = 5


def stretching() -> Iterator[Figure]:
    """Milliseconds of one hash at the parameters that new vaults get."""
    for params in (argon2id_params(bytes(16)), scrypt_params(bytes(16)), sha256_params(bytes(16))):
        times = []
        for _ in range(_ROUNDS):
            with encode_credential("0417") as credential:
                started = time.perf_counter()
                hash_credential(credential, params)
                times.append(time.perf_counter() - started)
        yield Figure(f"stretching, {params.algorithm}", "client", statistics.median(times) * 1e3, "ms")
