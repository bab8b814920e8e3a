"""The key service in the core: answers its requests, many at a time."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from typing import Final

from hwkm.core import key_work
from hwkm.core.domain_requests import DomainRequest, answer_domain
from hwkm.core.key_pairs import KeyPair, PairWanted, RsaPairMaker, is_quick, make_on_curve
from hwkm.core.key_work import KeyWork
from hwkm.core.loaded_keys import LoadedKeys
from hwkm.core.random_pool import RandomPool
from hwkm.errors import (
    DomainNotProvisioned,
    ExchangeRefused,
    ExchangeUnsupported,
    FormatError,
    GenerationRefused,
    HwkmError,
    KeyUsageInvalid,
    RateLimited,
    TokenBusy,
    TokenFull,
    UnsupportedKind,
    WrappedKeyRefused,
)
from hwkm.thm import data_keys
from hwkm.thm.ports import Domain, LoadedKey, Randomness
from hwkm.wire import key_messages as wire
from hwkm.wire.core_messages import CoreReply, Done, Failed, ReplyFrame
from hwkm.wire.key_messages import KeyRef, KeyRequest

_REFUSALS: Final = (
    DomainNotProvisioned,
    ExchangeRefused,
    ExchangeUnsupported,
    FormatError,
    GenerationRefused,
    KeyUsageInvalid,
    RateLimited,
    TokenBusy,
    TokenFull,
    UnsupportedKind,
    WrappedKeyRefused,
)
"""Errors that belong to one request. Any other TokenError ends this life of the core."""

_NO_DOMAIN: Final = "the token holds no domain key"

# A key made, wrapped or used to sign takes hardware 10 to 100 times as long as an HMAC.
_SLOW: Final = 16
_OF_HMACS: Final = (
    wire.GenerateDataKeys,
    wire.DecryptData,
    wire.EncryptData,
    wire.ReencryptData,
    wire.ComputeMacs,
    wire.DrawRandom,
    wire.GenerateDataKeyPair,
    wire.ReadDomain,
)

_Step = KeyWork | CoreReply | None
"""Work for the hardware; or the reply; or nothing yet, the reply comes later."""
_Alone = wire.ComputeMacs | wire.SignDigest | wire.AgreeKey | wire.DrawRandom | wire.ForgetKey | DomainRequest


class KeyService:
    """The core's operations on customer master keys. One thread."""

    def __init__(self, domain: Domain | None, hardware: Randomness) -> None:
        self._domain = domain
        self._hardware = hardware
        self._keys = None if domain is None else LoadedKeys(domain)
        self._pool = RandomPool(hardware)
        self._rsa_pairs = RsaPairMaker()
        self._operations: Tally[str] = Tally()
        self._refused = 0
        self._hmacs = 0

    @property
    def wake_fd(self) -> int:
        """Readable when :meth:`answer` has something to answer though no request came."""
        return self._rsa_pairs.wake_fd

    def answer(self, requests: Sequence[tuple[int, KeyRequest]]) -> list[ReplyFrame]:
        """Answer numbered requests, and earlier ones whose RSA pair is ready, in any order.

        Raises:
            TokenError: the hardware failed; this process must end. No request was answered.
        """
        frames: list[ReplyFrame] = []
        begun: list[tuple[int, KeyWork]] = []
        for number, step in self._steps(requests):
            if isinstance(step, KeyWork):
                begun.append((number, step))
            elif step is not None:
                frames.append(ReplyFrame(number, step))
        self._compute([work for _, work in begun])
        frames += [ReplyFrame(number, self._finish(work)) for number, work in begun]
        return frames

    def statistics(self) -> wire.KeyStatistics:
        """Counts since the core started."""
        keys = self._keys
        return wire.KeyStatistics(
            operations=dict(self._operations),
            refused=self._refused,
            hmacs=self._hmacs,
            loads=keys.loads if keys else 0,
            cache_hits=keys.hits if keys else 0,
            loaded=len(keys) if keys else 0,
            random_draws=self._pool.draws,
        )

    # --- requests ----------------------------------------------------------------------------

    def _steps(self, requests: Sequence[tuple[int, KeyRequest]]) -> Iterator[tuple[int, _Step]]:
        for number, request in requests:
            self._operations[str(request.__struct_config__.tag)] += items_of(request)
            yield number, self._begin(number, request)
        for wanted, pair in self._rsa_pairs.take_done():
            yield wanted.number, self._begin_sealing(wanted.request, pair)

    def _begin(self, number: int, request: KeyRequest) -> _Step:
        if self._domain is None and not isinstance(request, wire.DrawRandom):
            return _failed(DomainNotProvisioned(_NO_DOMAIN))
        try:
            match request:
                case wire.GenerateDataKeys():
                    return key_work.generate(request, self._pool)
                case wire.DecryptData():
                    return key_work.decrypt(request)
                case wire.EncryptData():
                    return key_work.encrypt(request, self._pool)
                case wire.ReencryptData():
                    return key_work.reencrypt(request, self._pool)
                case wire.GenerateDataKeyPair():
                    return self._begin_pair(number, request)
                case _:
                    return self._answer_alone(request)
        except _REFUSALS as exc:
            return _failed(exc)

    def _begin_pair(self, number: int, request: wire.GenerateDataKeyPair) -> _Step:
        data_keys.require_encrypts(request.key.kind)
        if is_quick(request.spec):
            return self._begin_sealing(request, make_on_curve(request.spec, self._pool))
        self._rsa_pairs.want(PairWanted(number, request))
        return None

    def _begin_sealing(self, request: wire.GenerateDataKeyPair, pair: KeyPair) -> _Step:
        try:
            return key_work.seal_pair(request, pair, self._pool)
        except _REFUSALS as exc:
            return _failed(exc)

    def _answer_alone(self, request: _Alone) -> CoreReply:
        match request:
            case wire.ComputeMacs(key=key, messages=messages):
                self._hmacs += len(messages)
                return wire.Macs(items=tuple(data_keys.compute_macs(key.kind, self._load(key), messages)))
            case wire.SignDigest(key=key, algorithm=algorithm, digest=digest):
                signature = data_keys.sign_digest(key.kind, self._load(key), algorithm, digest)
                return wire.Signature(signature=signature)
            case wire.AgreeKey(key=key, point=point):
                return wire.AgreedSecret(secret=data_keys.agree_key(key.kind, self._load(key), point))
            case wire.DrawRandom(length=length):
                return wire.RandomDrawn(random=self._hardware.random(length))
            case wire.ForgetKey(key_id=key_id):
                self._loaded_keys().forget(key_id)
                return Done()
            case wire.RetireDomain():
                reply = answer_domain(self._provisioned_domain(), request)
                self._loaded_keys().forget_all()
                return reply
            case _:
                return answer_domain(self._provisioned_domain(), request)

    # --- work --------------------------------------------------------------------------------

    def _compute(self, works: Sequence[KeyWork]) -> None:
        """Let the hardware compute every message key, key by key."""
        wanted: dict[KeyRef, list[tuple[KeyWork, int, bytes]]] = {}
        for work in works:
            work.message_keys = [b""] * len(work.derivations)
            for place, (key, derivation) in enumerate(work.derivations):
                wanted.setdefault(key, []).append((work, place, derivation))
        for key, slots in wanted.items():
            try:
                macs = self._load(key).hmac([derivation for _, _, derivation in slots])
            except _REFUSALS as exc:
                for work, _, _ in slots:
                    work.refusal = exc
                continue
            self._hmacs += len(slots)
            for (work, place, _), mac in zip(slots, macs, strict=True):
                work.message_keys[place] = mac

    def _finish(self, work: KeyWork) -> CoreReply:
        if work.refusal is not None:
            return _failed(work.refusal)
        reply = work.finish(work.message_keys)
        if isinstance(reply, wire.Plaintexts | wire.Ciphertexts):
            self._refused += reply.items.count(None)
        return reply

    def _load(self, key: KeyRef) -> LoadedKey:
        return self._loaded_keys().get(key)

    def _loaded_keys(self) -> LoadedKeys:
        if self._keys is None:
            raise DomainNotProvisioned(_NO_DOMAIN)
        return self._keys

    def _provisioned_domain(self) -> Domain:
        if self._domain is None:
            raise DomainNotProvisioned(_NO_DOMAIN)
        return self._domain


def items_of(request: KeyRequest) -> int:
    """How many things a request asks for."""
    match request:
        case (
            wire.GenerateDataKeys(items=things)
            | wire.EncryptData(items=things)
            | wire.DecryptData(items=things)
            | wire.ReencryptData(items=things)
            | wire.ComputeMacs(messages=things)
            | wire.RewrapKeys(keys=things)
            | wire.ExportKeys(keys=things)
        ):
            return len(things)
        case _:
            return 1


def weight(request: KeyRequest) -> int:
    """About how many HMACs of the hardware a request takes as long as."""
    return items_of(request) * (1 if isinstance(request, _OF_HMACS) else _SLOW)


def _failed(error: HwkmError) -> Failed:
    return Failed(code=error.code, message=str(error))
