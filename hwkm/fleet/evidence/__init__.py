"""Checking evidence: what of it hardware proves, by which chain of keys, and what is only somebody's word.

No hardware is needed. Begin with :mod:`hwkm.fleet.evidence.cohort`; ``docs/spec/evidence.md`` has the rules.
"""
