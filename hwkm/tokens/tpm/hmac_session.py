"""A salted HMAC session with parameter encryption, for the few commands that run all day.

ESAPI makes a new OpenSSL library context for each hash, HMAC and nonce (tpm2-tss since 3.2):
4 ms of processor time a command, ten times what the TPM emulator itself needs. So the commands of
:mod:`hwkm.tokens.tpm.commands` and :mod:`hwkm.tokens.tpm.key_commands` go through this session, and
everything that is done once (set-up, opening) through ESAPI. ADR 0004 has the measurement and the price.

TPM 2.0 library specification, part 1, on session-based authorisations, session-based encryption, KDFa
and KDFe, and (annex C) secret sharing by ECDH. Session algorithms: SHA-256, AES-128-CFB. A TPM checks
each HMAC of ours, so a mistake here is a refusal; each answer's HMAC is checked below, before the
answer is looked at.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from hwkm.crypto.tpm_protection import kdfa, share_secret
from hwkm.errors import TokenUnavailable
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.errors import TRY_AGAIN, CommandRefused

_NO_SESSIONS: Final = 0x8001
_SESSIONS: Final = 0x8002
_START_AUTH_SESSION: Final = 0x176
_FLUSH_CONTEXT: Final = 0x165
_RH_NULL: Final = 0x40000007
_SE_HMAC: Final = 0x00
_SE_POLICY: Final = 0x01
_SESSION_ALGORITHMS: Final = struct.pack(">HHHH", 0x0006, 128, 0x0043, 0x000B)  # AES, 128 bits, CFB; SHA-256

_HEADER: Final = struct.Struct(">HII")
_NONCE_BYTES: Final = 32
_DIGEST_BYTES: Final = 32
_AES_KEY_BYTES: Final = 16

CONTINUE_SESSION: Final = 0x01
DECRYPT: Final = 0x20  # the TPM decrypts the first command parameter
ENCRYPT: Final = 0x40  # the TPM encrypts the first answer parameter
AUDIT: Final = 0x80  # the session authorises nothing; its HMAC vouches for command and answer

# The TPM asks for the same command again; about a second in all, then TokenBusy.
_PAUSES_S: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.4)


class Transport(Protocol):
    """What carries a command to the TPM and its answer back."""

    def transact(self, command: bytes) -> bytes:
        """Return the answer to a command.

        Raises:
            TokenUnavailable: nothing is known of what the TPM did.
        """
        ...


class SplitTransport(Transport, Protocol):
    """The same in two halves, so that there is something to do while the TPM works."""

    def send(self, command: bytes) -> None:
        """Send a command; its answer must be received before the next. Raises as ``transact``."""
        ...

    def receive(self) -> bytes:
        """Return the answer to the command sent last. Raises as ``transact``."""
        ...


@dataclass(frozen=True, slots=True)
class Entity:
    """A TPM object or NV index that a command uses: handle, Name, and authorisation value."""

    handle: int
    name: bytes
    authorisation: SecretBytes


@dataclass(frozen=True, slots=True)
class Prepared:
    """A command that is ready to be sent, and what its answer is checked with."""

    command: bytes
    code: int
    nonce_caller: bytes
    key: SecretBytes
    returns_handle: bool = False


class HmacSession:
    """One session; every command continues it. One thread."""

    def __init__(
        self,
        transport: Transport,
        salt_handle: int,
        salt_point: bytes,
        bind: Entity | None = None,
        *,
        policy: bool = False,
    ) -> None:
        """Start the session, salted with the P-256 storage key at ``salt_handle``.

        A ``policy`` session authorises by what is proved to the TPM with its :attr:`handle`; that must
        include TPM2_PolicyAuthValue. Bound to ``bind``, nobody who does not know its authorisation knows the session's key, not
        even who put a storage key of his own in place of the TPM's.

        Raises:
            CommandRefused: the TPM refused.
            TokenUnavailable: the TPM does not answer.
        """
        self.transport = transport
        salt, encrypted_salt = share_secret(salt_point, b"SECRET\0")
        nonce_caller = os.urandom(_NONCE_BYTES)
        body = struct.pack(">II", salt_handle, bind.handle if bind else _RH_NULL)
        body += sized(nonce_caller) + sized(encrypted_salt)
        body += bytes((_SE_POLICY if policy else _SE_HMAC,)) + _SESSION_ALGORITHMS
        answer = send_plain(transport, _START_AUTH_SESSION, body)
        self._handle = answer[10:14]
        self._nonce_tpm, _ = split_sized(answer[14:])
        authorisation = bind.authorisation.expose() if bind else b""
        with salt, SecretBytes(authorisation + salt.expose()) as secret:
            key = kdfa(secret.expose(), b"ATH\0", self._nonce_tpm + nonce_caller, _DIGEST_BYTES)
        self._session_key = SecretBytes(key)

    def execute(
        self, code: int, handles: tuple[Entity, ...], first: bytes | None, rest: bytes, flags: int
    ) -> bytes:
        """Run a command authorised by the first of ``handles`` and return the answer's parameters.

        Without handles nothing is authorised, and ``flags`` must have AUDIT.

        ``first`` is the content of the command's first parameter if that is a sized buffer
        (encrypted if ``flags`` has DECRYPT), ``rest`` the parameters after it.

        Raises:
            CommandRefused: the TPM refused; the session goes on.
            TokenUnavailable: the TPM does not answer, or the answer is not authentic.
        """
        prepared = self.prepare(code, handles, first, rest, flags)
        return self._verified(prepared, _sent(self.transport, prepared.command))

    def execute_for_handle(
        self, code: int, handles: tuple[Entity, ...], first: bytes | None, rest: bytes, flags: int
    ) -> tuple[int, bytes]:
        """Run a command that loads an object; return the object's handle too.

        The HMAC of the answer does not cover the handle. That of every command on the object covers its
        Name, or it has an authorisation value of its own: a wrong handle is refused then.

        Raises:
            CommandRefused, TokenUnavailable: as :meth:`execute`.
        """
        prepared = replace(self.prepare(code, handles, first, rest, flags), returns_handle=True)
        answer = _sent(self.transport, prepared.command)
        return int.from_bytes(answer[10:14], "big"), self._verified(prepared, answer)

    def prepare(
        self, code: int, handles: tuple[Entity, ...], first: bytes | None, rest: bytes, flags: int
    ) -> Prepared:
        """Make a command ready, as for :meth:`execute`; the session can prepare no other before its answer."""
        authorisation = handles[0].authorisation.expose() if handles else b""
        key = SecretBytes(self._session_key.expose() + authorisation)
        nonce_caller = os.urandom(_NONCE_BYTES)
        if first is not None:
            if flags & DECRYPT:
                first = _cfb(key.expose(), nonce_caller + self._nonce_tpm).encryptor().update(first)
            rest = sized(first) + rest
        command = self._authorised(code, handles, rest, nonce_caller, flags, key.expose())
        return Prepared(command, code, nonce_caller, key)

    def finish(self, prepared: Prepared, answer: bytes) -> bytes:
        """Return the parameters of the answer to a prepared command.

        Raises:
            CommandRefused, TokenUnavailable: as :meth:`execute`; nothing is tried again.
        """
        code = answered_code(answer)
        if code:
            raise CommandRefused(code)
        return self._verified(prepared, answer)

    @property
    def handle(self) -> int:
        """The session's handle in the TPM."""
        return int.from_bytes(self._handle, "big")

    def close(self) -> None:
        """Flush the session from the TPM and forget its key. May be called again."""
        if not len(self._session_key):
            return
        self._session_key.wipe()
        with suppress(TokenUnavailable, CommandRefused):
            send_plain(self.transport, _FLUSH_CONTEXT, self._handle)

    def _authorised(
        self,
        code: int,
        handles: tuple[Entity, ...],
        parameters: bytes,
        nonce_caller: bytes,
        flags: int,
        key: bytes,
    ) -> bytes:
        area = self._area(_cp_hash(code, handles, parameters), nonce_caller, flags, key)
        return _with_sessions(code, handles, area, parameters)

    def _area(self, cp_hash: bytes, nonce_caller: bytes, flags: int, key: bytes) -> bytes:
        """Return what authorises a command: handle, nonce, attributes, HMAC."""
        attributes = bytes((flags | CONTINUE_SESSION,))
        mac = hmac.digest(key, cp_hash + nonce_caller + self._nonce_tpm + attributes, "sha256")
        return self._handle + sized(nonce_caller) + attributes + sized(mac)

    def _verified(self, prepared: Prepared, answer: bytes) -> bytes:
        """Check the answer's HMAC, then decrypt its first parameter if the TPM encrypted it."""
        with prepared.key as secret:
            return self._decrypted(prepared, answer, secret.expose())

    def _decrypted(self, prepared: Prepared, answer: bytes, key: bytes) -> bytes:
        start = _HEADER.size + (4 if prepared.returns_handle else 0)
        size = int.from_bytes(answer[start : start + 4], "big")
        parameters, area = answer[start + 4 : start + 4 + size], answer[start + 4 + size :]
        nonce_tpm, attributes, trailing = self._checked(area, prepared, parameters, key)
        if trailing:
            raise _not_authentic()
        return _decrypted(parameters, attributes, key, nonce_tpm + prepared.nonce_caller)

    def _checked(
        self, area: bytes, prepared: Prepared, parameters: bytes, key: bytes
    ) -> tuple[bytes, int, bytes]:
        """Check one session's part of an answer; return new nonce, attributes, and what follows it."""
        nonce_tpm, area = split_sized(area)
        attributes, (mac, following) = area[:1], split_sized(area[1:])
        rp_hash = hashlib.sha256(bytes(4) + prepared.code.to_bytes(4, "big") + parameters).digest()
        expected = hmac.digest(key, rp_hash + nonce_tpm + prepared.nonce_caller + attributes, "sha256")
        if not hmac.compare_digest(mac, expected):
            raise _not_authentic()
        self._nonce_tpm = nonce_tpm
        return nonce_tpm, attributes[0], following


def execute_together(
    sessions: tuple[HmacSession, HmacSession], code: int, handles: tuple[Entity, ...], parameters: bytes
) -> bytes:
    """Run a command that the first two of ``handles`` must authorise, each by a session of its own.

    The first parameter of the answer is encrypted by the first session.

    Raises:
        CommandRefused, TokenUnavailable: as :meth:`HmacSession.execute`.
    """
    cp_hash = _cp_hash(code, handles, parameters)
    prepared, areas = [], b""
    for session, entity, flags in zip(sessions, handles[:2], (ENCRYPT, 0), strict=True):
        key = SecretBytes(session._session_key.expose() + entity.authorisation.expose())
        nonce_caller = os.urandom(_NONCE_BYTES)
        areas += session._area(cp_hash, nonce_caller, flags, key.expose())
        prepared.append(Prepared(b"", code, nonce_caller, key))
    answer = _sent(sessions[0].transport, _with_sessions(code, handles, areas, parameters))
    size = int.from_bytes(answer[10:14], "big")
    body, area = answer[14 : 14 + size], answer[14 + size :]
    with prepared[0].key as first_key, prepared[1].key as second_key:
        nonce_tpm, attributes, area = sessions[0]._checked(area, prepared[0], body, first_key.expose())
        _, _, trailing = sessions[1]._checked(area, prepared[1], body, second_key.expose())
        if trailing:
            raise _not_authentic()
        return _decrypted(body, attributes, first_key.expose(), nonce_tpm + prepared[0].nonce_caller)


def send_plain(transport: Transport, code: int, body: bytes) -> bytes:
    """Run a command without any session and return its answer, header included. Nobody vouches for it.

    Raises:
        CommandRefused: the TPM refused.
        TokenUnavailable: the TPM does not answer.
    """
    return _sent(transport, _command(_NO_SESSIONS, code, body))


def _sent(transport: Transport, command: bytes) -> bytes:
    """Send a command, again while the TPM asks for that, and return the answer of one that succeeded."""
    for pause_s in (*_PAUSES_S, None):
        answer = transport.transact(command)
        code = answered_code(answer)
        if code == 0:
            return answer
        if code not in TRY_AGAIN or pause_s is None:
            raise CommandRefused(code)
        time.sleep(pause_s)
    raise AssertionError("unreachable")


def _cp_hash(code: int, handles: tuple[Entity, ...], parameters: bytes) -> bytes:
    names = b"".join(entity.name for entity in handles)
    return hashlib.sha256(code.to_bytes(4, "big") + names + parameters).digest()


def _with_sessions(code: int, handles: tuple[Entity, ...], areas: bytes, parameters: bytes) -> bytes:
    body = b"".join(entity.handle.to_bytes(4, "big") for entity in handles)
    return _command(_SESSIONS, code, body + len(areas).to_bytes(4, "big") + areas + parameters)


def _decrypted(parameters: bytes, attributes: int, key: bytes, nonces: bytes) -> bytes:
    """Decrypt the first parameter of an answer if the TPM encrypted it."""
    if not attributes & ENCRYPT:
        return parameters
    first, rest = split_sized(parameters)
    return sized(_cfb(key, nonces).decryptor().update(first)) + rest


def _not_authentic() -> TokenUnavailable:
    return TokenUnavailable("an answer of the TPM is not authentic: something between alters it")


def answered_code(answer: bytes) -> int:
    """Return an answer's response code.

    Raises:
        TokenUnavailable: the answer is not whole.
    """
    if len(answer) < _HEADER.size:
        raise TokenUnavailable("the TPM's answer is cut short")
    _, size, code = _HEADER.unpack_from(answer)
    if code == 0 and size != len(answer):
        raise TokenUnavailable("the TPM's answer is cut short")
    return int(code)


def sized(data: bytes) -> bytes:
    """Return a TPM2B: size (u16) and data."""
    return len(data).to_bytes(2, "big") + data


def split_sized(data: bytes) -> tuple[bytes, bytes]:
    """Return the content of a leading TPM2B, and what follows it.

    Raises:
        TokenUnavailable: the data ends before the TPM2B does.
    """
    end = 2 + int.from_bytes(data[:2], "big")
    if len(data) < end or len(data) < 2:
        raise TokenUnavailable("the TPM's answer is cut short")
    return data[2:end], data[end:]


def _command(tag: int, code: int, body: bytes) -> bytes:
    return _HEADER.pack(tag, _HEADER.size + len(body), code) + body


def _cfb(key: bytes, nonces: bytes) -> Cipher[CFB]:
    material = kdfa(key, b"CFB\0", nonces, 2 * _AES_KEY_BYTES)
    return Cipher(AES(material[:_AES_KEY_BYTES]), CFB(material[_AES_KEY_BYTES:]))
