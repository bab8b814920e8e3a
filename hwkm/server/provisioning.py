"""``hwkmd init``: make keys and anchor in the token, and the files that belong to them.

Token, node store and record database are made and destroyed together: a new token with an old
node store would never open, and old vaults are worth nothing under a new cohort key. The audit
log outlives them all; what was destroyed is written into it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy.engine import make_url

from hwkm.audit.log import AuditLog
from hwkm.audit.published import Published
from hwkm.audit.record import AuditEntry
from hwkm.errors import CodeChanged, ConfigError, TokenAlreadyProvisioned
from hwkm.server.config import Config
from hwkm.server.peer import our_own_caller
from hwkm.server.pin_file import ensure_pin_file
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import StateDirectory
from hwkm.server.supervisor import add_domain, inspect, provision, sweep
from hwkm.store.migration import upgrade
from hwkm.store.records import Records
from hwkm.wire.core_messages import CoreSettings, Inventory, Swept

MadeT = TypeVar("MadeT")

_SUFFIXES: Final = ("", "-wal", "-shm", "-journal", "-log")


@dataclass(frozen=True, slots=True)
class Existing:
    """What there is already: objects in the token, node store and vaults beside it."""

    inventory: Inventory
    nodes: Path | None
    vaults: int

    def __bool__(self) -> bool:
        return bool(self.inventory.objects or self.nodes or self.vaults)

    def lines(self) -> list[str]:
        """One line for each thing that would be destroyed."""
        found = list(self.inventory.objects)
        if self.nodes:
            found.append(f"attempt state in {self.nodes}")
        if self.vaults:
            found.append(
                f"{self.vaults} vaults in the record database; their recovery keys would be lost for good"
            )
        return found

    @property
    def digest(self) -> str:
        """What has to be given to destroy it: SHA-256 of the cohort's public key, 64 hex digits.

        Without a cohort key (an interrupted init) it is that of the list of what there is.
        """
        return hashlib.sha256(
            self.inventory.cohort_public_key or "\n".join(self.lines()).encode()
        ).hexdigest()


@dataclass(frozen=True, slots=True)
class SetUp:
    """What happened beside the token."""

    pin_file_made: Path | None
    destroyed: bool


@dataclass(frozen=True, slots=True)
class Provisioned:
    """What init has made."""

    inventory: Inventory
    pin_file_made: Path | None

    @property
    def cohort_digest(self) -> str:
        """SHA-256 of the cohort's public key, 64 hex digits."""
        return hashlib.sha256(self.inventory.cohort_public_key).hexdigest()


async def provision_token(
    config: Config, destroy_existing: str | None, so_pin_file: Path | None = None
) -> Provisioned:
    """Provision the token; ``destroy_existing`` is the digest that an earlier refusal printed.

    ``so_pin_file`` holds the PIN of a PKCS#11 token's security officer, for trusted domain keys.

    Raises:
        TokenAlreadyProvisioned: there is something already, and the digest of it was not given;
            the message lists it. Nothing was changed.
        HwkmError: configuration, token or storage failed. Init can be run again.
    """

    def make(settings: CoreSettings, destroy: bool) -> Awaitable[Inventory]:
        return provision(settings, destroy_existing=destroy, so_pin_file=str(so_pin_file or ""))

    with StateDirectory.take(config.state_directory, create=True):
        inventory, done = await set_up(config, destroy_existing, make)
        if not done.destroyed:
            note(config, "token.provision")
        return Provisioned(inventory, done.pin_file_made)


async def set_up(
    config: Config, destroy_existing: str | None, make: Callable[[CoreSettings, bool], Awaitable[MadeT]]
) -> tuple[MadeT, SetUp]:
    """Make what ``make`` makes in the token, and the files beside it; the caller holds the state directory.

    ``make`` is told whether to destroy what is in the token first.

    Raises:
        CodeChanged: the key is to be code-bound and something was measured in this boot already.
        TokenAlreadyProvisioned, HwkmError: as :func:`provision_token`.
    """
    pin_file_made = ensure_pin_file(config.pin_path, config.token.uri)
    with pin_tried_once(config.state_directory, config.pin_path):
        existing = await find_existing(config)
    if existing.inventory.code_pcr_extended:
        raise CodeChanged(
            f"PCR {config.token.code_pcr} was extended since the machine was started, by a core that ran or by"
            " somebody else: a cohort key is bound to code only before that. Nothing was changed. Restart the"
            " machine without the daemon, or choose another code_pcr"
        )
    if existing:
        _check_digest(existing, destroy_existing)
        _destroy_files(config, existing)
    # The files go first: if this stops here, the old token is without its node store, which
    # every start refuses and this command repairs. The other way round is never possible.
    result = await make(config.core_settings(), bool(existing))
    upgrade(config.records_url)
    if existing:
        note(config, "token.destroy")
    Published(config.audit_directory).put_away()
    return result, SetUp(config.pin_path if pin_file_made else None, destroyed=bool(existing))


async def add_domain_key(config: Config, so_pin_file: Path | None = None) -> tuple[str, ...]:
    """Make a domain key in a token set up without one, or trusted spares; return what is there then.

    Raises:
        TokenAlreadyProvisioned: there is one, and no SO PIN was given. Nothing was changed.
        HwkmError: another daemon runs, or configuration or token failed.
    """
    with StateDirectory.take(config.state_directory):
        with pin_tried_once(config.state_directory, config.pin_path):
            inventory = await add_domain(config.core_settings(), so_pin_file=str(so_pin_file or ""))
        note(config, "token.add_domain")
        return inventory.objects


def make_audit_log(config: Config) -> Path:
    """Make an audit log for a token that is provisioned, in place of one that was moved away.

    Raises:
        AuditError: there is one.
        HwkmError: another daemon runs, or it cannot be made.
    """
    with StateDirectory.take(config.state_directory):
        AuditLog.create(config.audit_directory)
        note(config, "audit.create")
    return config.audit_directory


async def find_existing(config: Config) -> Existing:
    """Look at token and files; change nothing.

    Raises:
        HwkmError: the token or the record database cannot be looked at.
    """
    inventory = await inspect(config.core_settings())
    nodes = config.nodes_path if config.nodes_path.exists() else None
    return Existing(inventory, nodes, _count_vaults(config))


async def sweep_nodes(config: Config) -> Swept:
    """Remove tree nodes that crashes left behind. No daemon may run meanwhile.

    Raises:
        HwkmError: another daemon runs, or token or node store failed; nothing that counts was removed.
    """
    with StateDirectory.take(config.state_directory):
        with pin_tried_once(config.state_directory, config.pin_path):
            swept = await sweep(config.core_settings())
        note(config, "nodes.sweep")
        return swept


def _check_digest(existing: Existing, given: str | None) -> None:
    if given is not None and given.lower() == existing.digest:
        return
    listed = "".join(f"\n  {line}" for line in existing.lines())
    wrong = "" if given is None else "The digest given is not that of what is there. "
    raise TokenAlreadyProvisioned(
        f"{wrong}This exists already and would be destroyed:{listed}\n"
        f"To destroy all of it, give the same command: --destroy-existing {existing.digest}"
    )


def _count_vaults(config: Config) -> int:
    path = sqlite_path(config)
    if path is not None and not path.exists():
        return 0
    with Records.open(config.records_url) as records:
        return records.count()


def sqlite_path(config: Config) -> Path | None:
    """The file of the record database, or None if it is a server's."""
    url = make_url(config.records_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _destroy_files(config: Config, existing: Existing) -> None:
    """Remove vaults and node store. A crash on the way leaves something that is found again."""
    records = sqlite_path(config)
    try:
        if records is not None:
            _remove_sqlite(records)
        elif existing.vaults:
            _delete_vaults(config)
        _remove_sqlite(config.nodes_path)
    except OSError as exc:
        raise ConfigError(f"{exc.filename} cannot be removed: {exc.strerror}") from exc


def _remove_sqlite(path: Path) -> None:
    for suffix in _SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _delete_vaults(config: Config) -> None:
    with Records.open(config.records_url) as records:
        while page := records.list():
            for record in page:
                records.delete(record.handle)


def note(config: Config, operation: str, detail: Mapping[str, str] | None = None) -> None:
    """Put it into the audit log, which is made if this is the first time.

    Raises:
        AuditError, StorageUnavailable: it cannot be written.
    """
    directory = config.audit_directory
    if not directory.exists() or not any(directory.iterdir()):
        AuditLog.create(directory)
    signed = Published(directory).state().size
    with AuditLog.open(directory, signed_size=signed, segment_bytes_max=config.audit.segment_bytes) as log:
        log.append_many([AuditEntry(our_own_caller(), operation, "ok", detail=detail)])
