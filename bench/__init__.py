"""The benchmark: ``make bench``, or ``python -m bench --help``.

Every rate is a ratio to the raw rate of the same hardware operations, taken in the same run on the
same device by :mod:`bench.raw`, so that figures of different machines can be compared. What the
figures mean and what they were is in ``docs/performance.md``.
"""
