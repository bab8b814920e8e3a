"""What instruments are told to do, and what they saw. One form for all of them.

An *event* is a command to the hardware, a change of storage, or a reply of the core. Its *kind* is
a name with the instrument's prefix:

==========================  ==================================================================
``tpm.NV_Write``            a TPM command, by its name in TPM 2.0 part 3 without ``TPM2_``
``pkcs11.C_CreateObject``   a PKCS#11 function
``storage.write``           write, create, truncate, sync, rename, unlink below the watched directory
``channel.reply``           bytes that leave the core on its channel
==========================  ==================================================================
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

FOR_EVER: Final = 2**63


class Act(enum.IntEnum):
    """What happens to an event. The numbers are those of ``native/board.h``."""

    PASS = 0
    KILL_BEFORE = 1
    """SIGKILL for the core; the event never happens."""
    KILL_EXECUTED = 2
    """It happens, then SIGKILL before the core hears of it."""
    KILL_ANSWERED = 3
    """It happens, the core hears of it, then SIGKILL; at the latest when its next event begins."""
    DELAY = 4
    """It happens, and the answer comes later."""
    DROP = 5
    """It never happens and is never answered: the core waits for ever."""
    DROP_ANSWER = 6
    """It happens, and is never answered."""
    REFUSE = 7
    """It does not happen; the answer is ``code``: TPM_RC, CKR or errno."""
    LIE = 8
    """It happens, but the answer is ``code``, as if something between core and hardware were hostile."""


KILLS: Final = (Act.KILL_BEFORE, Act.KILL_EXECUTED, Act.KILL_ANSWERED)


@dataclass(frozen=True, slots=True)
class Rule:
    """One act on some events.

    ``kind`` is a kind, or the beginning of kinds and ``*``. Events of that kind are counted from 1
    when the plan is made known; the rule strikes those from ``first`` to ``last``.
    """

    act: Act
    kind: str = "*"
    first: int = 1
    last: int = FOR_EVER
    code: int = 0
    delay_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Rules, all of which count; of those that strike one event the first decides, delays add up."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def nth(cls, number: int, act: Act, kind: str = "*", *, code: int = 0) -> Self:
        """Do it to event ``number`` of a kind, from 1, once."""
        return cls((Rule(act, kind, number, number, code),))

    @classmethod
    def always(cls, act: Act, kind: str, *, code: int = 0, after: int = 0) -> Self:
        """Do it to every event of a kind but the first ``after``."""
        return cls((Rule(act, kind, after + 1, code=code),))

    @classmethod
    def slow(cls, delays_ms: Mapping[str, float]) -> Self:
        """Answer later, for every kind named."""
        return cls(tuple(Rule(Act.DELAY, kind, delay_ms=delay) for kind, delay in delays_ms.items()))


@dataclass(frozen=True, slots=True)
class Trace:
    """The kinds of the events that passed since the plan was made known, in order."""

    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    def of(self, prefix: str) -> Trace:
        """Only the events whose kind begins so."""
        return Trace(tuple(kind for kind in self.kinds if kind.startswith(prefix)))

    def counts(self) -> Counter[str]:
        """How many of each kind."""
        return Counter(self.kinds)
