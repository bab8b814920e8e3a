"""Loaded customer master keys of a TPM (:class:`hwkm.thm.ports.LoadedKey`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import utils

from hwkm.formats.key_kind import KeyKind, KeyUsage, SigningAlgorithm
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.commands import execute_all
from hwkm.tokens.tpm.errors import TRY_AGAIN, CommandRefused, translated
from hwkm.tokens.tpm.hmac_session import DECRYPT, ENCRYPT, HmacSession, SplitTransport
from hwkm.tokens.tpm.key_commands import (
    HMAC,
    hmac_of_sequence,
    hmac_parameters,
    hmac_result,
    sign,
    signing_scheme,
    zgen,
)
from hwkm.tokens.tpm.key_templates import HASHES, rsa_bits
from hwkm.tokens.tpm.slots import LoadedObject, Slots
from hwkm.tokens.wrapping import (
    computes_no_hmac,
    does_not_agree,
    does_not_sign,
    verify_agrees,
    verify_signs,
)

_AUTHORISATION_BYTES: Final = 16


class Engine:
    """What all loaded keys of a TPM share: its sessions and its slots."""

    def __init__(
        self,
        transport: SplitTransport,
        sessions: tuple[HmacSession, HmacSession],
        slots: Slots,
        buffer_bytes: int,
    ) -> None:
        self.transport = transport
        self.sessions = sessions
        self.slots = slots
        self.buffer_bytes = buffer_bytes


class TpmSecretKey:
    """A loaded HMAC key."""

    def __init__(self, engine: Engine, kind: KeyKind, item: LoadedObject) -> None:
        self._engine = engine
        self._kind = kind
        self._item = item
        # What a one-message key is derived from is no secret; what a MAC is made of may be one.
        self._flags = ENCRYPT if kind.usage == KeyUsage.ENCRYPT_DECRYPT else ENCRYPT | DECRYPT

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        limit = self._engine.buffer_bytes
        with translated("computing HMACs with a customer master key"):
            short = iter(self._at_once([message for message in messages if len(message) <= limit]))
            return [
                next(short) if len(message) <= limit else self._in_pieces(message) for message in messages
            ]

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        raise does_not_sign(self._kind, algorithm)

    def agree(self, point: bytes) -> bytes:
        raise does_not_agree(self._kind)

    def unload(self) -> None:
        self._engine.slots.remove(self._item)

    def _at_once(self, messages: Sequence[bytes]) -> list[bytes]:
        try:
            return self._pipelined(messages)
        except CommandRefused as exc:
            if exc.code not in TRY_AGAIN:
                raise
        # The TPM wants to be asked again: one by one, with pauses.
        return [self._one(message) for message in messages]

    def _pipelined(self, messages: Sequence[bytes]) -> list[bytes]:
        engine = self._engine
        key = engine.slots.entity(self._item)
        parameters = [hmac_parameters(message) for message in messages]
        answers = execute_all(engine.transport, engine.sessions, HMAC, key, parameters, self._flags)
        return [hmac_result(answer, self._kind.mac_bytes) for answer in answers]

    def _one(self, message: bytes) -> bytes:
        engine = self._engine
        key = engine.slots.entity(self._item)
        answer = engine.sessions[0].execute(HMAC, (key,), *hmac_parameters(message), self._flags)
        return hmac_result(answer, self._kind.mac_bytes)

    def _in_pieces(self, message: bytes) -> bytes:
        engine = self._engine
        key = engine.slots.entity(self._item)
        authorisation = SecretBytes(os.urandom(_AUTHORISATION_BYTES - 1) + b"\x01")
        return hmac_of_sequence(engine.sessions[0], key, message, engine.buffer_bytes, authorisation)


class TpmPrivateKey:
    """A loaded private key."""

    def __init__(self, engine: Engine, kind: KeyKind, item: LoadedObject) -> None:
        self._engine = engine
        self._kind = kind
        self._item = item

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        raise computes_no_hmac(self._kind)

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        verify_signs(self._kind, algorithm)
        scheme = signing_scheme(algorithm, HASHES[algorithm.digest_bytes])
        with translated("signing with a customer master key"):
            key = self._engine.slots.entity(self._item)
            numbers = sign(self._engine.sessions[0], key, scheme, digest)
        if len(numbers) == 2:
            return utils.encode_dss_signature(*numbers)
        return numbers[0].to_bytes(rsa_bits(self._kind) // 8, "big")

    def agree(self, point: bytes) -> bytes:
        verify_agrees(self._kind)
        with translated("agreeing with a customer master key"):
            key = self._engine.slots.entity(self._item)
            return zgen(self._engine.sessions[0], key, point)

    def unload(self) -> None:
        self._engine.slots.remove(self._item)
