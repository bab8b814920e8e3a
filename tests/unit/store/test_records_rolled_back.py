"""The record database is put back to an earlier day; the attempt counters are elsewhere and stay."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from pathlib import Path

from hwkm.formats.vault_params import VaultParams
from hwkm.store.records import Records
from hwkm.store.vault_record import VaultState
from hwkm.thm.outcome import Locked, Wrong
from tests.unit.store.examples import sqlite_url, vault
from tests.vault_clients import SealedVault
from tests.vault_world import World


def stored(directory: Path, handle: bytes, secret: SealedVault) -> SealedVault:
    """What a client would be given now for this vault, with what its owner knows."""
    with Records.open(sqlite_url(directory)) as records:
        record = records.get(handle)
    return replace(secret, params=record.params, blob=record.vault)


def test_records_of_an_earlier_day_bring_no_attempt_back(tmp_path: Path) -> None:
    world = World()
    sealed = world.seal()
    handle = VaultParams.parse(sealed.params).handle
    with Records.open(sqlite_url(tmp_path)) as records:
        records.create(replace(vault(1), handle=handle, params=sealed.params, vault=sealed.blob))
    shutil.copytree(tmp_path, tmp_path / "earlier day")

    guesses = [world.guess(stored(tmp_path, handle, sealed), secrets.token_bytes(32)) for _ in range(9)]
    assert all(isinstance(guess, Wrong) for guess in guesses)
    shutil.copy(tmp_path / "earlier day" / "records.db", tmp_path / "records.db")
    assert world.guess_wrong(stored(tmp_path, handle, sealed)) == Wrong(0, 0)

    with Records.open(sqlite_url(tmp_path)) as records:
        records.destroy_locked(handle, now_ms=1)
        assert records.get(handle).state is VaultState.LOCKED
    shutil.copy(tmp_path / "earlier day" / "records.db", tmp_path / "records.db")
    assert world.guess_right(stored(tmp_path, handle, sealed)) == Locked()
