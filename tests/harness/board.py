"""The test's side of the board (``native/board.h``): write a plan, read the trace."""

from __future__ import annotations

import mmap
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.harness.plan import FOR_EVER, Act, Plan, Rule, Trace

_MAGIC: Final = b"hwkmbrd1"
_MODULE_BYTES: Final = 512
_KINDS_MAX: Final = 128
_RULES_MAX: Final = 32
_EVENTS_MAX: Final = 1 << 20

_HEAD: Final = struct.Struct("<8sIIQQ")
_KIND: Final = struct.Struct("<32sQ")
_RULE: Final = struct.Struct("<32sIIIIQQQ")
_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")

_KIND_COUNT_AT: Final = 8
_RULE_COUNT_AT: Final = 12
_EVENT_COUNT_AT: Final = 16
_STRUCK_AT: Final = 24
_MODULE_AT: Final = _HEAD.size
_KINDS_AT: Final = _MODULE_AT + _MODULE_BYTES
_RULES_AT: Final = _KINDS_AT + _KIND.size * _KINDS_MAX
_EVENTS_AT: Final = _RULES_AT + _RULE.size * _RULES_MAX
_BYTES: Final = _EVENTS_AT + _EVENTS_MAX
_SEEN_AT: Final = _RULE.size - _U64.size


@dataclass(frozen=True, slots=True)
class Order:
    """What an instrument has to do with one event."""

    act: Act = Act.PASS
    code: int = 0
    delay_s: float = 0.0


PASSED: Final = Order()


class Board:
    """Shared memory in a file. Instruments written in Python use :meth:`enter`, the others C."""

    def __init__(self, path: Path) -> None:
        """Take up the board at ``path``."""
        self.path = path
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _BYTES)
        self._indices: dict[str, int] = {}
        self._rules: list[Rule] = []

    @classmethod
    def create(cls, path: Path, *, module: str = "") -> Self:
        """Make a board without a plan; ``module`` is the real library for a PKCS#11 shim."""
        with path.open("xb") as file:
            file.truncate(_BYTES)
            file.write(_HEAD.pack(_MAGIC, 0, 0, 0, 0) + module.encode())
        return cls(path)

    # --- the test's ----------------------------------------------------------------------------

    def arm(self, plan: Plan | None = None) -> None:
        """Begin a new trace under a plan, or under none. No event may be under way."""
        rules = plan.rules if plan else ()
        assert len(rules) <= _RULES_MAX
        self._put(_U32, _RULE_COUNT_AT, 0)
        self._put(_U32, _KIND_COUNT_AT, 0)
        self._put(_U64, _EVENT_COUNT_AT, 0)
        self._put(_U64, _STRUCK_AT, 0)
        self._memory[_KINDS_AT:_RULES_AT] = bytes(_RULES_AT - _KINDS_AT)
        for number, rule in enumerate(rules):
            _RULE.pack_into(self._memory, _RULES_AT + number * _RULE.size, *_packed(rule))
        self._put(_U32, _RULE_COUNT_AT, len(rules))

    @property
    def struck(self) -> int:
        """How often a rule of the plan struck."""
        return self._get(_U64, _STRUCK_AT)

    def trace(self) -> Trace:
        """The events since :meth:`arm`, in order; the first million of them."""
        count = min(self._get(_U64, _EVENT_COUNT_AT), _EVENTS_MAX)
        names = [name for name, _ in self._kinds()]
        return Trace(tuple(names[index] for index in self._memory[_EVENTS_AT : _EVENTS_AT + count]))

    def counts(self) -> Counter[str]:
        """How many events of each kind since :meth:`arm`; without an upper limit, and quick."""
        return Counter(dict(self._kinds()))

    def close(self) -> None:
        """Unmap it."""
        self._memory.close()

    # --- an instrument's -----------------------------------------------------------------------

    def enter(self, kind: str) -> Order:
        """Write an event down and return what to do with it."""
        self._count(kind)
        rule_count = self._get(_U32, _RULE_COUNT_AT)
        return self._order(kind, rule_count) if rule_count else PASSED

    def _order(self, kind: str, rule_count: int) -> Order:
        order = PASSED
        for number in range(rule_count):
            at = _RULES_AT + number * _RULE.size
            pattern, act, code, delay_us, _, first, last, seen = _RULE.unpack_from(self._memory, at)
            if not _matches(pattern.rstrip(b"\0").decode(), kind):
                continue
            self._put(_U64, at + _SEEN_AT, seen + 1)
            if not first <= seen + 1 <= last:
                continue
            self._put(_U64, _STRUCK_AT, self.struck + 1)
            decided = order.act is not Act.PASS or act == Act.DELAY
            delay_s = order.delay_s + delay_us / 1e6
            order = Order(order.act, order.code, delay_s) if decided else Order(Act(act), code, delay_s)
        return order

    def _count(self, kind: str) -> None:
        index = self._indices.get(kind, _KINDS_MAX)
        kind_count = self._get(_U32, _KIND_COUNT_AT)
        if index >= kind_count or self._name(index) != kind:
            index = self._index_of(kind, kind_count)
        at = _KINDS_AT + index * _KIND.size + 32
        self._put(_U64, at, self._get(_U64, at) + 1)
        number = self._get(_U64, _EVENT_COUNT_AT)
        if number < _EVENTS_MAX:
            self._memory[_EVENTS_AT + number] = index
        self._put(_U64, _EVENT_COUNT_AT, number + 1)

    def _index_of(self, kind: str, kind_count: int) -> int:
        names = [name for name, _ in self._kinds()]
        if kind not in names:
            _KIND.pack_into(self._memory, _KINDS_AT + kind_count * _KIND.size, kind.encode(), 0)
            self._put(_U32, _KIND_COUNT_AT, kind_count + 1)
            names.append(kind)
        self._indices[kind] = names.index(kind)
        return self._indices[kind]

    # --- memory --------------------------------------------------------------------------------

    def _kinds(self) -> list[tuple[str, int]]:
        found = []
        for index in range(self._get(_U32, _KIND_COUNT_AT)):
            _, count = _KIND.unpack_from(self._memory, _KINDS_AT + index * _KIND.size)
            found.append((self._name(index), count))
        return found

    def _name(self, index: int) -> str:
        at = _KINDS_AT + index * _KIND.size
        return self._memory[at : at + 32].rstrip(b"\0").decode()

    def _get(self, form: struct.Struct, at: int) -> int:
        value: int = form.unpack_from(self._memory, at)[0]
        return value

    def _put(self, form: struct.Struct, at: int, value: int) -> None:
        form.pack_into(self._memory, at, value)


def _packed(rule: Rule) -> tuple[bytes, int, int, int, int, int, int, int]:
    kind = rule.kind.encode()
    assert len(kind) < 32, rule.kind
    delay_us = round(rule.delay_ms * 1000)
    return (kind, int(rule.act), rule.code, delay_us, 0, rule.first, min(rule.last, FOR_EVER), 0)


def _matches(pattern: str, kind: str) -> bool:
    return kind.startswith(pattern[:-1]) if pattern.endswith("*") else kind == pattern
