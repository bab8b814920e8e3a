"""Any history of keys: what was ever encrypted decrypts, with its context in whatever order, and with no other.

The histories run against a real core and a real database; the model is a list of what was encrypted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwkm.errors import CiphertextInvalid, DomainRotating, KeyDisabled
from hwkm.wire import key_api as api
from tests.key_rig import KeyWorld, Rig, call

Step = tuple[Any, ...]
contexts = st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6)
plaintexts = st.binary(min_size=1, max_size=64)
indices = st.integers(0, 2**16)
steps = st.one_of(
    st.tuples(st.just("encrypt"), indices, contexts, plaintexts),
    st.tuples(st.just("re-encrypt"), indices, indices, contexts),
    st.tuples(st.just("rotate"), indices),
    st.tuples(st.just("toggle"), indices),
    st.tuples(st.just("create")),
    st.tuples(st.just("domain")),
    st.tuples(st.just("forget")),
)


class Made(NamedTuple):
    """Something that was encrypted."""

    key: str
    ciphertext: bytes
    context: dict[str, str]
    plaintext: bytes


@dataclass
class Model:
    """What there has to be."""

    keys: list[str]
    disabled: set[str] = field(default_factory=set)
    made: list[Made] = field(default_factory=list)

    def key(self, index: int) -> str:
        """Any of the keys."""
        return self.keys[index % len(self.keys)]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[asyncio.Runner, Rig]]:
    directory: Path = tmp_path_factory.mktemp("keys")
    world = KeyWorld(directory)
    with asyncio.Runner() as runner:
        life = world.daemon(keys=1_000_000, cached_max=3)
        yield runner, runner.run(life.__aenter__())
        runner.run(life.__aexit__(None, None, None))


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(history=st.lists(steps, min_size=3, max_size=25), order=st.randoms(use_true_random=False))
def test_what_was_ever_encrypted_decrypts(
    rig: tuple[asyncio.Runner, Rig], history: list[Step], order: random.Random
) -> None:
    runner, keys = rig
    runner.run(_run(keys, history, order))


async def _run(rig: Rig, history: list[Step], order: random.Random) -> None:
    model = Model([await rig.create()])
    for step in history:
        await _step(rig, model, step)
    for key in model.disabled:
        await rig.keys.enable(call(), key)
    for key, ciphertext, context, plaintext in model.made:
        pairs = list(context.items())
        order.shuffle(pairs)
        assert await _decrypt(rig, ciphertext, dict(pairs), key) == plaintext
        with pytest.raises(CiphertextInvalid):
            await _decrypt(rig, ciphertext, {**context, "one": "more"}, key)
        if context:
            with pytest.raises(CiphertextInvalid):
                await _decrypt(rig, ciphertext, dict(pairs[1:]), key)


async def _step(rig: Rig, model: Model, step: Step) -> None:
    match step:
        case ("encrypt", index, context, plaintext):
            await _encrypt(rig, model, model.key(index), context, plaintext)
        case ("re-encrypt", which, index, context) if model.made:
            await _re_encrypt(rig, model, model.made[which % len(model.made)], model.key(index), context)
        case ("rotate", index) if model.key(index) not in model.disabled:
            await rig.keys.rotate(call(), model.key(index))
        case ("toggle", index):
            key = model.key(index)
            await (rig.keys.enable if key in model.disabled else rig.keys.disable)(call(), key)
            model.disabled ^= {key}
        case ("create",):
            model.keys.append(await rig.create())
        case ("domain",):
            with suppress(DomainRotating):
                await rig.domain.rotate()
        case ("forget",):
            rig.desk.book.forget_wrapped()
        case _:
            pass  # to rotate what is disabled, or to re-encrypt nothing


async def _encrypt(rig: Rig, model: Model, key: str, context: dict[str, str], plaintext: bytes) -> None:
    item = api.PlaintextItem(plaintext=plaintext, context=context)
    if key in model.disabled:
        with pytest.raises(KeyDisabled):
            await rig.keys.encrypt(call(), key, [item])
    else:
        made = await rig.keys.encrypt(call(), key, [item])
        model.made.append(Made(key, made.items[0], context, plaintext))


async def _re_encrypt(rig: Rig, model: Model, old: Made, key: str, context: dict[str, str]) -> None:
    if {old.key, key} & model.disabled:
        return
    item = api.ReEncryptItem(ciphertext=old.ciphertext, context=old.context, new_context=context)
    made = (await rig.keys.re_encrypt(call(), old.key, key, [item])).items[0]
    assert made.ciphertext is not None
    model.made.append(Made(key, made.ciphertext, context, old.plaintext))


async def _decrypt(rig: Rig, ciphertext: bytes, context: dict[str, str], key: str) -> bytes:
    item = api.CiphertextItem(ciphertext=ciphertext, context=context)
    (opened,) = (await rig.keys.decrypt(call(), key, [item])).items
    assert opened.plaintext is not None
    return opened.plaintext
