"""What people do with a vault, as flows of calls: create, open, rotate, change the PIN.

Here the two halves of a client meet: the framework's secrets stay in local variables, and only
what the framework made for the recovery agent is yielded.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Final

from hwkm.client import calls, framework
from hwkm.client.agent import present_claim
from hwkm.client.application_key import ApplicationKey, KeyRing, unwrap_all
from hwkm.client.flow import Flow, ask, pause
from hwkm.client.framework import NewVault, Recovered, Replacement
from hwkm.client.trust import CohortTrust
from hwkm.crypto.knowledge_factor import KfParams, KfType
from hwkm.errors import (
    DecryptionError,
    FormatError,
    HwkmError,
    SnapshotConflict,
    Unavailable,
    VaultNotFound,
)
from hwkm.formats.vault_params import VaultParams
from hwkm.secret import SecretBytes
from hwkm.wire import api

LOST_PAUSE_SECONDS: Final = 2.0
"""A restarted daemon is back by then."""

_ALIAS_RANDOM_BYTES: Final = 8
_HANDLE: Final = re.compile(api.HANDLE_PATTERN)


def is_handle(text: str) -> bool:
    """Whether a text is a vault handle, 34 hex digits."""
    return _HANDLE.fullmatch(text) is not None


def find(name_or_handle: str) -> Flow[api.VaultInfo]:
    """The vault of this handle or name.

    Raises:
        VaultNotFound: there is none.
        FormatError: several have this name (of several owners).
    """
    if is_handle(name_or_handle):
        return (yield from ask(calls.show_vault(name_or_handle)))
    page = yield from ask(calls.list_vaults(name=name_or_handle))
    found = [vault for vault in page.vaults if vault.name == name_or_handle]
    if not found:
        raise VaultNotFound(f"there is no vault {name_or_handle!r}")
    if len(found) > 1:
        raise FormatError(f"{len(found)} vaults have the name {name_or_handle!r}: use a handle")
    return found[0]


def list_all(name: str | None = None) -> Flow[tuple[api.VaultInfo, ...]]:
    """Every vault that the caller may see, page by page."""
    vaults: list[api.VaultInfo] = []
    after: str | None = None
    while True:
        page = yield from ask(calls.list_vaults(name=name, after=after))
        vaults += page.vaults
        if page.next is None:
            return tuple(vaults)
        if after is not None and page.next <= after:
            raise FormatError("the daemon lists vaults in circles")
        after = page.next


def create(
    trust: CohortTrust,
    credential: SecretBytes,
    kf_type: KfType,
    *,
    name: str,
    kf_params: KfParams | None = None,
    max_attempts: int | None = None,
    application_keys: tuple[ApplicationKey, ...] = (),
) -> Flow[tuple[api.VaultInfo, NewVault]]:
    """Make a vault and have it stored."""
    offer = yield from ask(calls.cohort())
    cohort = trust.verify(offer.public_key)
    made = framework.new_vault(
        cohort,
        framework.fresh_params(cohort, offer, max_attempts=max_attempts),
        credential,
        kf_type,
        name=name,
        kf_params=kf_params,
        application_keys=application_keys,
    )
    handle = VaultParams.parse(made.request.params).handle.hex()
    try:
        try:
            info = yield from ask(calls.create_vault(made.request))
        except Unavailable as lost:
            # The handle is random: a vault of this handle is the one just made.
            info = yield from _found_after_all(handle, lost, lambda found: found.handle == handle)
    except BaseException:
        made.wipe()
        raise
    return info, made


def open_vault(trust: CohortTrust, handle: str, credential: SecretBytes) -> Flow[Recovered]:
    """Open a vault. Costs an attempt, which is given back when the knowledge factor is right."""
    trusted = trust.trusted()
    if trusted is None:
        offer = yield from ask(calls.cohort())
        trusted = trust.verify(offer.public_key)
    challenge = yield from ask(calls.challenge(handle))
    with framework.claim(challenge, credential, trusted, bytes.fromhex(handle)) as claim:
        opened = yield from present_claim(handle, claim.request)
        return claim.finish(opened)


def rotate(
    trust: CohortTrust, handle: str, credential: SecretBytes, *, drop_damaged: bool = False
) -> Flow[tuple[api.VaultInfo, Replacement]]:
    """A new recovery key under the same knowledge factor; the application keys are kept."""
    with (yield from open_vault(trust, handle, credential)) as recovered:
        ring = yield from _current_keys(recovered, drop_damaged=drop_damaged)
        made = framework.rotation(recovered, ring.keys.values())
        return (yield from _replace(recovered, made, ring))


def change_pin(
    trust: CohortTrust,
    handle: str,
    credential: SecretBytes,
    new_credential: SecretBytes,
    *,
    kf_type: KfType | None = None,
    kf_params: KfParams | None = None,
    drop_damaged: bool = False,
) -> Flow[tuple[api.VaultInfo, Replacement]]:
    """A new recovery key under a new knowledge factor; the application keys are kept."""
    with (yield from open_vault(trust, handle, credential)) as recovered:
        ring = yield from _current_keys(recovered, drop_damaged=drop_damaged)
        made = framework.pin_change(
            recovered, new_credential, ring.keys.values(), kf_type=kf_type, kf_params=kf_params
        )
        return (yield from _replace(recovered, made, ring))


def put_application_key(recovered: Recovered, key: ApplicationKey) -> Flow[api.VaultInfo]:
    """Wrap an application key under the recovery key of an opened vault, and store it."""
    wrapped = key.wrap(recovered.recovery_key)
    body = api.PutApplicationKey(
        wrapped=wrapped.wrapped,
        metadata=wrapped.metadata,
        expected_snapshot_version=recovered.snapshot_version,
    )
    return (yield from ask(calls.put_application_key(recovered.handle, key.alias, body)))


def ensure_application_key(recovered: Recovered, purpose: str) -> Flow[ApplicationKey]:
    """The first application key whose alias is ``PURPOSE.…``; made and stored if there is none.

    A new alias ends in a random number: had two programs to agree on one alias, the key that one
    of them had just encrypted with could be replaced by the other's.
    """
    ring = recovered.key_ring.keys
    for alias in sorted(ring):
        if alias.startswith(f"{purpose}."):
            return ring[alias]
    made = ApplicationKey.generate(f"{purpose}.{secrets.token_hex(_ALIAS_RANDOM_BYTES)}")
    yield from put_application_key(recovered, made)
    return made


def _current_keys(recovered: Recovered, *, drop_damaged: bool) -> Flow[KeyRing]:
    """The application keys as they are now: one stored since the vault was opened must not be lost."""
    listed = yield from ask(calls.list_application_keys(recovered.handle))
    if listed.snapshot_version != recovered.snapshot_version:
        raise SnapshotConflict("the vault was replaced by someone else since it was opened; try again")
    ring = unwrap_all(recovered.recovery_key, listed.application_keys)
    if ring.damaged and not drop_damaged:
        ring.wipe()
        raise DecryptionError(f"application keys that do not open would be lost: {', '.join(ring.damaged)}")
    return ring


def _replace(
    recovered: Recovered, made: Replacement, ring: KeyRing
) -> Flow[tuple[api.VaultInfo, Replacement]]:
    ring.wipe()
    handle, old_factor, request = recovered.handle, recovered.knowledge_factor, made.request
    try:
        try:
            info = yield from ask(calls.replace_vault(handle, request))
        except Unavailable as lost:
            # A rotation keeps the factor, so it cannot be told from somebody else's: repeat it.
            if request.knowledge_factor == old_factor:
                raise
            # The salt is random: a vault with this very factor is the one just made.
            info = yield from _found_after_all(
                handle, lost, lambda found: found.knowledge_factor == request.knowledge_factor
            )
    except BaseException:
        made.wipe()
        raise
    return info, made


def _found_after_all(
    handle: str, lost: Unavailable, is_ours: Callable[[api.VaultInfo], bool]
) -> Flow[api.VaultInfo]:
    """Look whether what a lost answer was about has happened; if not, raise ``lost``."""
    yield from pause(LOST_PAUSE_SECONDS)
    try:
        found = yield from ask(calls.show_vault(handle))
    except HwkmError:
        raise lost from None
    if not is_ours(found):
        raise lost
    return found
