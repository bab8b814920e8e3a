"""Loaded keys against a model: bounded, the oldest goes, found only by all of their reference."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.core.loaded_keys import LoadedKeys
from hwkm.errors import TokenFull, WrappedKeyRefused
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.tokens.memory_domain import InsecureDomain
from hwkm.wire.key_messages import KeyRef
from tests.key_world import Cmk, memory_domain


class Watched:
    """A domain that holds ``loaded_max`` keys and sees to it that no more are loaded at once."""

    def __init__(self, domain: InsecureDomain, loaded_max: int) -> None:
        self.domain, self.loaded_max = domain, loaded_max
        self.loaded: list[KeyName] = []

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> WatchedKey:
        key = WatchedKey(self, name, self.domain.load(name, kind, wrapped).hmac([b"who"])[0])
        self.loaded.append(name)
        assert len(self.loaded) <= self.loaded_max
        return key


class WatchedKey:
    def __init__(self, domain: Watched, name: KeyName, answer: bytes) -> None:
        self._domain, self._name, self._answer = domain, name, answer

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        assert self._name in self._domain.loaded
        return [self._answer for _ in messages]

    def unload(self) -> None:
        self._domain.loaded.remove(self._name)


DOMAIN = memory_domain()
CMKS = [Cmk(DOMAIN) for _ in range(6)]
REFS = [KeyRef(cmk.key_id, 1, cmk.kind, cmk.versions[1]) for cmk in CMKS]
ANSWERS = [cmk.hmac(1, b"who") for cmk in CMKS]


@given(st.integers(2, 5), st.lists(st.integers(0, 5), max_size=40))
def test_every_key_answers_for_itself_and_the_newest_stay(loaded_max: int, uses: list[int]) -> None:
    watched = Watched(DOMAIN, loaded_max)
    keys = LoadedKeys(watched)  # type: ignore[arg-type]
    recent: list[int] = []
    for use in uses:
        hits = keys.hits
        assert keys.get(REFS[use]).hmac([b"m"]) == [ANSWERS[use]]
        assert (keys.hits > hits) == (use in recent)
        recent = [*(one for one in recent if one != use), use][-loaded_max:]
        assert sorted(n.key_id for n in watched.loaded) == sorted(CMKS[one].key_id for one in recent)
    assert keys.hits + keys.loads == len(uses)


def test_a_loaded_key_does_not_answer_for_another_reference() -> None:
    keys = LoadedKeys(DOMAIN)
    keys.get(REFS[0])
    for wrong in (
        KeyRef(REFS[0].key_id, 2, REFS[0].kind, REFS[0].wrapped),
        KeyRef(REFS[1].key_id, 1, REFS[0].kind, REFS[0].wrapped),
        KeyRef(REFS[0].key_id, 1, KeyKind.HMAC_256, REFS[0].wrapped),
        KeyRef(REFS[0].key_id, 1, REFS[0].kind, REFS[0].wrapped[:-1] + b"\0"),
    ):
        with pytest.raises(WrappedKeyRefused):
            keys.get(wrong)
    assert len(keys) == 1


class Small(Watched):
    """A token that says nothing of how few keys it holds."""

    def __init__(self, domain: InsecureDomain, room: int) -> None:
        super().__init__(domain, 1000)
        self.room = room

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> WatchedKey:
        if len(self.loaded) >= self.room:
            raise TokenFull("no room")
        return super().load(name, kind, wrapped)


@given(st.integers(1, 5), st.lists(st.integers(0, 5), max_size=40))
def test_a_token_without_room_for_one_more_is_served_all_the_same(room: int, uses: list[int]) -> None:
    watched = Small(DOMAIN, room)
    keys = LoadedKeys(watched)  # type: ignore[arg-type]
    for use in uses:
        assert keys.get(REFS[use]).hmac([b"m"]) == [ANSWERS[use]]
        assert 1 <= len(keys) == len(watched.loaded) <= room


def test_a_token_without_room_for_any_says_so() -> None:
    with pytest.raises(TokenFull):
        LoadedKeys(Small(DOMAIN, 0)).get(REFS[0])  # type: ignore[arg-type]


def test_forgetting() -> None:
    watched = Watched(DOMAIN, 5)
    keys = LoadedKeys(watched)  # type: ignore[arg-type]
    for ref in REFS[:3]:
        keys.get(ref)
    keys.forget(REFS[1].key_id)
    assert watched.loaded == [CMKS[0].name(1), CMKS[2].name(1)]
    keys.forget_all()
    assert watched.loaded == []
