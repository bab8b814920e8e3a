"""The steps of a cohort of several members, on this member: token, files and audit log together."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwkm.errors import ConfigError
from hwkm.server.config import Config
from hwkm.server.moved_file import write_new
from hwkm.server.pin_file import ensure_pin_file
from hwkm.server.provisioning import note, set_up
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import StateDirectory
from hwkm.server.supervisor import ask_cohort
from hwkm.wire.core_messages import (
    CohortRead,
    CohortStart,
    CoreSettings,
    CreateCohort,
    InviteMember,
    JoinCohort,
    NamedRequest,
    RequestMembership,
    SealCohort,
    ShowCohort,
)


@dataclass(frozen=True, slots=True)
class MadeMember:
    """Where the token is now, and the PIN file if one was made."""

    read: CohortRead
    pin_file_made: Path | None


async def create(
    config: Config,
    members: int,
    destroy_existing: str | None,
    so_pin_file: Path | None,
    requests: Sequence[tuple[bytes, bytes]] = (),
) -> MadeMember:
    """Make the first member of a cohort. ``requests`` (TPM only): request and fingerprint of each other member.

    Raises:
        TokenAlreadyProvisioned: as :func:`hwkm.server.provisioning.provision_token`.
        HwkmError: configuration, token or storage failed.
    """

    def make(settings: CoreSettings, destroy: bool) -> Awaitable[CohortRead]:
        return ask_cohort(
            CreateCohort(
                settings=settings,
                members=members,
                destroy_existing=destroy,
                so_pin_file=str(so_pin_file or ""),
                requests=tuple(NamedRequest(request, fingerprint) for request, fingerprint in requests),
            )
        )

    _verify_not_code_bound(config)
    with StateDirectory.take(config.state_directory, create=True):
        read, done = await set_up(config, destroy_existing, make)
        note(config, "cohort.create", {"members": str(members), "cohort": digest(read.public_key)})
        return MadeMember(read, done.pin_file_made)


async def request(
    config: Config,
    out: Path,
    destroy_existing: str | None,
    so_pin_file: Path | None,
) -> MadeMember:
    """Make all but the cohort key and write the membership request; once made, write the same again.

    Raises:
        TokenAlreadyProvisioned: as :func:`hwkm.server.provisioning.provision_token`.
        HwkmError: configuration, token or storage failed.
    """

    def make(settings: CoreSettings, destroy: bool) -> Awaitable[CohortRead]:
        return ask_cohort(
            RequestMembership(
                settings=settings,
                destroy_existing=destroy,
                so_pin_file=str(so_pin_file or ""),
            )
        )

    _verify_absent(out)
    _verify_not_code_bound(config)
    with StateDirectory.take(config.state_directory, create=True):
        pin_file_made = ensure_pin_file(config.pin_path, config.token.uri)
        before = await _ask(config, ShowCohort(settings=config.core_settings()))
        if before.stage == "requested" and destroy_existing is None:
            with pin_tried_once(config.state_directory, config.pin_path):
                read = await make(config.core_settings(), False)
        else:
            read, _ = await set_up(config, destroy_existing, make)
        note(config, "cohort.request", {"fingerprint": read.fingerprint.hex()})
        write_new(out, [read.document])
        return MadeMember(read, config.pin_path if pin_file_made else None)


async def invite(config: Config, asked: bytes, fingerprint: bytes, number: int, out: Path) -> CohortRead:
    """Write the invitation for the module that asked.

    Raises:
        HwkmError: the core refused, or storage failed.
    """
    _verify_absent(out)
    message = InviteMember(
        settings=config.core_settings(), request=asked, fingerprint=fingerprint, number=number
    )
    with StateDirectory.take(config.state_directory):
        read = await _ask(config, message)
        note(config, "cohort.invite", {"fingerprint": fingerprint.hex(), "member": str(number)})
        write_new(out, [read.document])
        return read


async def join(config: Config, invitation: bytes, sender: bytes) -> CohortRead:
    """Take up the cohort key.

    Raises:
        HwkmError: the core refused, or storage failed.
    """
    message = JoinCohort(settings=config.core_settings(), invitation=invitation, sender=sender)
    return await _noted(config, message, "cohort.join", {"sender": sender.hex()})


async def seal(config: Config, *, incomplete: bool) -> CohortRead:
    """Let the cohort key go to nobody any more.

    Raises:
        HwkmError: the core refused, or storage failed.
    """
    return await _noted(
        config, SealCohort(settings=config.core_settings(), incomplete=incomplete), "cohort.seal", {}
    )


async def show(config: Config) -> CohortRead:
    """Look at the token; change nothing.

    Raises:
        HwkmError: the core failed, or a daemon is running.
    """
    with StateDirectory.take(config.state_directory):
        return await _ask(config, ShowCohort(settings=config.core_settings()))


def digest(public_key: bytes) -> str:
    """SHA-256 of a public key in hex."""
    return hashlib.sha256(public_key).hexdigest()


async def _noted(
    config: Config, message: CohortStart, operation: str, detail: Mapping[str, str]
) -> CohortRead:
    with StateDirectory.take(config.state_directory):
        read = await _ask(config, message)
        place = {"cohort": digest(read.public_key), "member": str(read.number), "members": str(read.members)}
        note(config, operation, {**place, **detail})
        return read


async def _ask(config: Config, message: CohortStart) -> CohortRead:
    with pin_tried_once(config.state_directory, config.pin_path):
        return await ask_cohort(message)


def _verify_not_code_bound(config: Config) -> None:
    """Refuse before anything is destroyed; the core would refuse it too."""
    if config.token.code_bound:
        raise ConfigError(
            f"{config.path}: code_bound in [token]: only a cohort of one module (hwkmd init) has a code-bound key"
        )


def _verify_absent(out: Path) -> None:
    """Look before anything is made: what cannot be written is not worth making.

    Raises:
        ConfigError: it is there.
    """
    if out.exists() or not out.parent.is_dir():
        raise ConfigError(f"{out} exists already, or its directory does not")
