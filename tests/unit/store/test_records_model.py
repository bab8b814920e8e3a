"""Any sequence of operations leaves the record database as it leaves a dictionary."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hwkm.errors import SnapshotConflict, VaultExists, VaultLocked, VaultNotFound
from hwkm.store.migration import upgrade
from hwkm.store.records import Records
from hwkm.store.vault_record import ApplicationKeyRecord, VaultRecord, VaultState
from tests.unit.store.examples import PIN_FACTOR, blob, handle, sqlite_url, vault

numbers = st.integers(1, 4)
owners = st.sampled_from([0, 1000])
names = st.sampled_from(["phone", "tablet", "été"])
aliases = st.sampled_from(["a", "b", "c"])
contents = st.binary(min_size=1, max_size=20)
keys = st.builds(ApplicationKeyRecord, aliases, contents, st.none() | contents)
key_lists = st.lists(keys, max_size=3, unique_by=lambda key: key.alias)
steps_off = st.sampled_from([0, 0, 0, -1, 1])

_empty_database: list[bytes] = []


def empty_database() -> bytes:
    """A migrated database file, made once."""
    if not _empty_database:
        with tempfile.TemporaryDirectory() as directory:
            upgrade(sqlite_url(Path(directory)))
            _empty_database.append((Path(directory) / "records.db").read_bytes())
    return _empty_database[0]


class RecordsMachine(RuleBasedStateMachine):
    """The model: handle to record, and handle to alias to key."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        (self.directory / "records.db").write_bytes(empty_database())
        self.records = Records.open(sqlite_url(self.directory))
        self.vaults: dict[bytes, VaultRecord] = {}
        self.keys: dict[bytes, dict[str, ApplicationKeyRecord]] = {}
        self.now_ms = 1

    def teardown(self) -> None:
        self.records.close()
        shutil.rmtree(self.directory)

    def name_taken(self, owner: int, name: str, but: bytes) -> bool:
        return any(
            (other.owner_uid, other.name) == (owner, name)
            for other in self.vaults.values()
            if other.handle != but
        )

    def refusal(self, number: int, expected: int) -> type[Exception] | None:
        """Why a new snapshot would be refused."""
        record = self.vaults.get(handle(number))
        if record is None:
            return VaultNotFound
        if record.state is VaultState.LOCKED:
            return VaultLocked
        return SnapshotConflict if record.snapshot_version != expected else None

    def version(self, number: int) -> int:
        record = self.vaults.get(handle(number))
        return record.snapshot_version if record else 1

    def touch(self, number: int, **changes: object) -> None:
        changed = replace(self.vaults[handle(number)], updated_at_ms=self.now_ms, **changes)  # type: ignore[arg-type]
        self.vaults[handle(number)] = changed

    @rule(number=numbers, owner=owners, name=names, key_list=key_lists)
    def create(self, number: int, owner: int, name: str, key_list: list[ApplicationKeyRecord]) -> None:
        record = vault(number, owner=owner, name=name)
        if handle(number) in self.vaults or self.name_taken(owner, name, b""):
            with pytest.raises(VaultExists):
                self.records.create(record, key_list)
            return
        self.records.create(record, key_list)
        self.vaults[record.handle] = record
        self.keys[record.handle] = {key.alias: key for key in key_list}

    @rule(number=numbers, off=steps_off, content=st.text(max_size=5), key_list=key_lists)
    def replace(self, number: int, off: int, content: str, key_list: list[ApplicationKeyRecord]) -> None:
        expected = self.version(number) + off
        sealed = {"params": b"\x04" + bytes(76) + handle(number), "vault": blob(content)}
        refusal = self.refusal(number, expected)
        self.now_ms += 1
        if refusal:
            with pytest.raises(refusal):
                self.records.replace(
                    handle(number), expected, knowledge_factor=PIN_FACTOR, keys=key_list, now_ms=1, **sealed
                )
            return
        self.records.replace(
            handle(number), expected, knowledge_factor=PIN_FACTOR, keys=key_list, now_ms=self.now_ms, **sealed
        )
        self.touch(number, **sealed, snapshot_version=expected + 1, knowledge_factor=PIN_FACTOR)
        self.keys[handle(number)] = {key.alias: key for key in key_list}

    @rule(number=numbers, off=steps_off, key=keys)
    def put_key(self, number: int, off: int, key: ApplicationKeyRecord) -> None:
        expected = self.version(number) + off
        refusal = self.refusal(number, expected)
        self.now_ms += 1
        if refusal:
            with pytest.raises(refusal):
                self.records.put_application_key(handle(number), expected, key, now_ms=1)
            return
        self.records.put_application_key(handle(number), expected, key, now_ms=self.now_ms)
        self.touch(number)
        self.keys[handle(number)][key.alias] = key

    @rule(number=numbers, alias=aliases)
    def delete_key(self, number: int, alias: str) -> None:
        self.now_ms += 1
        if handle(number) not in self.vaults:
            with pytest.raises(VaultNotFound):
                self.records.delete_application_key(handle(number), alias, now_ms=1)
            return
        removed = self.records.delete_application_key(handle(number), alias, now_ms=self.now_ms)
        assert removed == (self.keys[handle(number)].pop(alias, None) is not None)
        self.touch(number)

    @precondition(lambda self: self.vaults)
    @rule(data=st.data(), name=names)
    def rename(self, data: st.DataObject, name: str) -> None:
        record = self.vaults[data.draw(st.sampled_from(sorted(self.vaults)))]
        self.now_ms += 1
        if self.name_taken(record.owner_uid, name, record.handle):
            with pytest.raises(VaultExists):
                self.records.rename(record.handle, name, now_ms=1)
            return
        self.records.rename(record.handle, name, now_ms=self.now_ms)
        self.vaults[record.handle] = replace(record, name=name, updated_at_ms=self.now_ms)

    @precondition(lambda self: self.vaults)
    @rule(data=st.data())
    def destroy(self, data: st.DataObject) -> None:
        record = self.vaults[data.draw(st.sampled_from(sorted(self.vaults)))]
        self.now_ms += 1
        self.records.destroy_locked(record.handle, now_ms=self.now_ms)
        self.vaults[record.handle] = replace(
            record, vault=b"", knowledge_factor=None, state=VaultState.LOCKED, updated_at_ms=self.now_ms
        )
        self.keys[record.handle] = {}

    @rule(number=numbers)
    def delete(self, number: int) -> None:
        if handle(number) not in self.vaults:
            with pytest.raises(VaultNotFound):
                self.records.delete(handle(number))
            return
        self.records.delete(handle(number))
        del self.vaults[handle(number)], self.keys[handle(number)]

    @rule()
    def reopen(self) -> None:
        self.records.close()
        self.records = Records.open(sqlite_url(self.directory))

    @invariant()
    def the_vaults_agree(self) -> None:
        assert self.records.list() == [self.vaults[key] for key in sorted(self.vaults)]
        for record in self.vaults.values():
            assert self.records.get(record.handle) == record

    @invariant()
    def the_keys_agree(self) -> None:
        for number in range(1, 5):
            expected = self.keys.get(handle(number), {})
            assert list(self.records.application_keys(handle(number))) == [
                expected[alias] for alias in sorted(expected)
            ]

    @invariant()
    def the_counts_agree(self) -> None:
        for owner in (0, 1000):
            owned = [record for record in self.vaults.values() if record.owner_uid == owner]
            assert self.records.count(owner) == len(owned)


TestRecordsAgainstADictionary = RecordsMachine.TestCase
TestRecordsAgainstADictionary.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
