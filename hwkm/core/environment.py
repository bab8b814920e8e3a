"""The environment that hwkmd starts the core with, so that freed memory keeps nothing.

A guess is in the core's memory for the time of one batch, as Python objects that nobody can wipe.
With these settings of the allocators whatever is freed is overwritten in that moment: Python
takes its memory from the C library, and the C library (glibc; others ignore it) fills what is given
back and keeps no chunk aside for reuse. Measured, a batch of claims costs the same, a single data key 70
microseconds of the core instead of 63. What is big is not taken from the allocator for each request (a
buffer of 256 KiB was 170 microseconds). ``tests/attack/test_secrets_memory.py`` and
``test_secrets_data_keys.py`` look for what is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FREED_MEMORY_OVERWRITTEN: Final[Mapping[str, str]] = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.perturb=165:glibc.malloc.tcache_count=0",
}

NO_BYTECODE_PREFIX: Final = "/dev/null"
"""Where a code-bound core looks for bytecode caches: nothing can lie below a file."""

NO_BYTECODE_OPTIONS: Final = ("-B", "-X", f"pycache_prefix={NO_BYTECODE_PREFIX}")
"""Options of Python for a code-bound core: it compiles every module that it runs from its source."""
