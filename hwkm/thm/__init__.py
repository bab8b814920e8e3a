"""The trusted rules of hwkm, without I/O, clock, randomness or logging.

Read in this order: :mod:`~hwkm.thm.ports` (what comes from outside), :mod:`~hwkm.thm.outcome`
(what can happen), :mod:`~hwkm.thm.tree` (the attempt tree), :mod:`~hwkm.thm.ledger` (its commit
protocol), :mod:`~hwkm.thm.challenges`, and :mod:`~hwkm.thm.opening`, where the one order that
matters is written once: **check, charge durably, open, answer.** These are the vault service.

The key service is :mod:`~hwkm.thm.data_keys` alone: **a kind does one job, a ciphertext opens only under
the key and the context it was made with, one refusal for everything else.**
"""
