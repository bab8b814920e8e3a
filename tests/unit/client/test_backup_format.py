"""Head and payload of a backup, byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.client.backup.errors import BackupDamaged, NotABackup
from hwkm.client.backup.header import BackupHeader
from hwkm.client.backup.stream import CHUNK_BYTES, SEALED_CHUNK_BYTES, OpeningReader, SealingWriter
from hwkm.errors import FormatError
from hwkm.secret import SecretBytes
from tests.unit.client.backup_reference import VECTORS, document, payload_of

KEY = SecretBytes(bytes(range(32)))
DOCUMENT: dict[str, Any] = json.loads(VECTORS.read_text())


def sealed(payload: bytes, *, step: int = 100_000) -> bytes:
    sink = io.BytesIO()
    writer = SealingWriter(sink, KEY)
    for at in range(0, len(payload), step):
        writer.write(payload[at : at + step])
    writer.finish()
    return sink.getvalue()


def opened(data: bytes, *, step: int = 100_000) -> bytes:
    reader = OpeningReader(io.BytesIO(data), KEY)
    parts = []
    while part := reader.read(step):
        parts.append(part)
    return b"".join(parts)


class TestVectors:
    def test_they_are_what_the_reference_makes(self) -> None:
        assert document() == DOCUMENT

    @pytest.mark.parametrize("vector", DOCUMENT["vectors"], ids=lambda v: f"{v['payload_bytes']} bytes")
    def test_the_file_is_that_of_the_reference(self, vector: dict[str, Any]) -> None:
        header = BackupHeader(bytes.fromhex(vector["handle"]), vector["alias"], bytes.fromhex(vector["salt"]))
        key, commitment = header.derive(SecretBytes(bytes.fromhex(vector["application_key"])))
        sink = io.BytesIO()
        sink.write(header.encode() + commitment)
        writer = SealingWriter(sink, key)
        writer.write(payload_of(vector["payload_bytes"]))
        writer.finish()
        assert header.encode().hex() == vector["intermediates"]["head"]
        assert key.expose().hex() == vector["intermediates"]["payload_key"]
        assert commitment.hex() == vector["intermediates"]["commitment"]
        assert len(sink.getvalue()) == vector["file_bytes"]
        assert hashlib.sha256(sink.getvalue()).hexdigest() == vector["file_sha256"]

    def test_the_file_of_the_reference_is_read(self) -> None:
        for vector in DOCUMENT["vectors"]:
            if "file" not in vector:
                continue
            source = io.BytesIO(bytes.fromhex(vector["file"]))
            header, commitment = BackupHeader.parse(source)
            key = header.verified_key(SecretBytes(bytes.fromhex(vector["application_key"])), commitment)
            assert OpeningReader(source, key).read(1000) == bytes.fromhex(vector["payload"])


class TestHead:
    HEADER = BackupHeader(bytes(range(17)), "backup.1", bytes(range(32)))

    def file(self) -> bytes:
        return self.HEADER.encode() + self.HEADER.derive(KEY)[1]

    @staticmethod
    def verify(data: bytes | bytearray) -> BackupHeader:
        header, commitment = BackupHeader.parse(io.BytesIO(data))
        header.verified_key(KEY, commitment)
        return header

    def test_it_comes_back(self) -> None:
        assert self.verify(self.file()) == self.HEADER

    def test_no_changed_bit_passes(self) -> None:
        for bit in range(8 * len(self.file())):
            data = bytearray(self.file())
            data[bit // 8] ^= 1 << bit % 8
            with pytest.raises((BackupDamaged, NotABackup)):
                self.verify(data)

    def test_no_cut_passes(self) -> None:
        for size in range(len(self.file())):
            with pytest.raises(NotABackup):
                BackupHeader.parse(io.BytesIO(self.file()[:size]))

    def test_another_key_is_refused(self) -> None:
        header, commitment = BackupHeader.parse(io.BytesIO(self.file()))
        with pytest.raises(BackupDamaged):
            header.verified_key(SecretBytes(bytes(32)), commitment)

    @pytest.mark.parametrize("alias", ["", "x" * 65, "a/b", "ä", "a\n"])
    def test_an_alias_is_of_few_letters(self, alias: str) -> None:
        with pytest.raises(FormatError):
            BackupHeader(bytes(17), alias, bytes(32))

    def test_every_file_has_its_own_salt(self) -> None:
        assert BackupHeader.fresh(bytes(17), "a").salt != BackupHeader.fresh(bytes(17), "a").salt

    @given(st.binary(max_size=300))
    def test_any_bytes_are_a_head_or_refused(self, data: bytes) -> None:
        for candidate in (data, self.HEADER.encode()[:12] + data):
            try:
                header, _ = BackupHeader.parse(io.BytesIO(candidate))
            except NotABackup:
                continue
            assert candidate.startswith(header.encode())


class TestPayload:
    SIZES = (0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 5)

    @pytest.mark.parametrize("size", SIZES)
    def test_it_comes_back_however_it_is_cut_up(self, size: int) -> None:
        payload = payload_of(size)
        assert sealed(payload) == sealed(payload, step=CHUNK_BYTES) == sealed(payload, step=max(1, size))
        for step in (1000, CHUNK_BYTES, 10 * CHUNK_BYTES):
            assert opened(sealed(payload), step=step) == payload

    @pytest.mark.parametrize("size", SIZES)
    def test_its_overhead_is_a_tag_a_chunk(self, size: int) -> None:
        chunks = max(1, -(-size // CHUNK_BYTES))
        assert len(sealed(payload_of(size))) == size + 16 * chunks

    def test_a_swap_is_found(self) -> None:
        data = sealed(payload_of(3 * CHUNK_BYTES))
        first, second, third = (data[i * SEALED_CHUNK_BYTES : (i + 1) * SEALED_CHUNK_BYTES] for i in range(3))
        for reordered in (second + first + third, first + third + second, first + first + second + third):
            with pytest.raises(BackupDamaged):
                opened(reordered)

    @pytest.mark.parametrize("chunks", [0, 1, 2])
    def test_a_cut_between_chunks_is_found_and_named(self, chunks: int) -> None:
        data = sealed(payload_of(3 * CHUNK_BYTES))[: chunks * SEALED_CHUNK_BYTES]
        with pytest.raises(BackupDamaged, match="cut short" if chunks else "damaged"):
            opened(data)

    def test_something_added_is_found_and_named(self) -> None:
        data = sealed(payload_of(CHUNK_BYTES))
        for added in (b"\0", data):
            with pytest.raises(BackupDamaged, match="added"):
                opened(data + added)

    def test_an_empty_last_chunk_is_refused(self) -> None:
        sink = io.BytesIO()
        writer = SealingWriter(sink, KEY)
        writer.write(payload_of(CHUNK_BYTES))
        writer._seal(bytes(writer._pending), is_last=False)
        writer._pending.clear()
        writer.finish()
        with pytest.raises(BackupDamaged, match="empty chunk"):
            opened(sink.getvalue())

    def test_nothing_of_a_damaged_chunk_is_returned(self) -> None:
        data = bytearray(sealed(payload_of(2 * CHUNK_BYTES)))
        data[SEALED_CHUNK_BYTES + 5] ^= 1
        reader = OpeningReader(io.BytesIO(data), KEY)
        assert reader.read(CHUNK_BYTES) == payload_of(CHUNK_BYTES)
        with pytest.raises(BackupDamaged, match="chunk 1"):
            reader.read(1)
