"""The one typed message set between the daemon (front) and the trusted core.

Sent as msgpack in length-prefixed frames over a private socketpair. Unknown fields and wrong
types are refused on both sides. No message of this file to the front ever holds a secret: a response
is sealed to its claimant. The messages of the key service, which do hold data keys and plaintext, are
in :mod:`hwkm.wire.key_messages`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hwkm.wire.key_messages import KeyReply, KeyRequest, KeyStatistics
from hwkm.wire.message import Message

Params = Annotated[bytes, Meta(min_length=94, max_length=94)]
Vault = Annotated[bytes, Meta(min_length=157, max_length=157)]
Claim = Annotated[bytes, Meta(min_length=143, max_length=143)]
Challenge = Annotated[bytes, Meta(min_length=32, max_length=32)]
Point = Annotated[bytes, Meta(min_length=65, max_length=65)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]


# --- start -----------------------------------------------------------------------------------


class CodeBinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The cohort key is bound to code: by which PCRs, and where the record of it is kept."""

    code_pcr: int
    boot_pcrs: tuple[int, ...]
    record_path: str


class CoreSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the core needs to run; the PIN itself is read by the core from ``pin_file``."""

    token_uri: str
    pin_file: str
    nodes_path: str
    max_attempts_limit: int
    delays_ms: tuple[int, ...]
    challenge_lifetime_ms: int
    challenges_max: int
    settle_delay_ms: int
    require_hardening: bool
    code_binding: CodeBinding | None = None


class Serve(Message, frozen=True, kw_only=True, tag="serve"):
    """First message: take up the token and serve."""

    settings: CoreSettings


class Provision(Message, frozen=True, kw_only=True, tag="provision"):
    """First message: make the keys and the anchor, answer, and end.

    ``so_pin_file`` holds the security officer's PIN, for trusted domain keys; empty without one.
    """

    settings: CoreSettings
    destroy_existing: bool
    so_pin_file: str = ""


class AddDomain(Message, frozen=True, kw_only=True, tag="add_domain"):
    """First message: make a domain key where there is none, and trusted spares by an SO PIN, and end."""

    settings: CoreSettings
    so_pin_file: str = ""


class Inspect(Message, frozen=True, kw_only=True, tag="inspect"):
    """First message: say what is in the token, change nothing, and end."""

    settings: CoreSettings


class Sweep(Message, frozen=True, kw_only=True, tag="sweep"):
    """First message: check the whole attempt tree, remove nodes that crashes left, and end."""

    settings: CoreSettings


class NamedRequest(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The membership request of a member that a cohort key names, and its fingerprint as its operator told it."""

    request: bytes
    fingerprint: Hash


class CreateCohort(Message, frozen=True, kw_only=True, tag="create_cohort"):
    """First message: as Provision, for the first of several members. Answer: CohortRead.

    ``requests`` (TPM only) has those of members 1, 2, ...
    """

    settings: CoreSettings
    members: int
    destroy_existing: bool
    so_pin_file: str = ""
    requests: tuple[NamedRequest, ...] = ()


class RequestMembership(Message, frozen=True, kw_only=True, tag="request_membership"):
    """First message: make all but the cohort key, and the request for that. Answer: CohortRead."""

    settings: CoreSettings
    destroy_existing: bool
    so_pin_file: str = ""


class InviteMember(Message, frozen=True, kw_only=True, tag="invite_member"):
    """First message: wrap the cohort key to the module that asked. Answer: CohortRead."""

    settings: CoreSettings
    request: bytes
    fingerprint: Hash
    number: int


class JoinCohort(Message, frozen=True, kw_only=True, tag="join_cohort"):
    """First message: take up the cohort key of an invitation. Answer: CohortRead."""

    settings: CoreSettings
    invitation: bytes
    sender: Hash


class SealCohort(Message, frozen=True, kw_only=True, tag="seal_cohort"):
    """First message: let the cohort key go to no further member. Answer: CohortRead."""

    settings: CoreSettings
    incomplete: bool = False


class ShowCohort(Message, frozen=True, kw_only=True, tag="show_cohort"):
    """First message: say how far the token is, change nothing. Answer: CohortRead."""

    settings: CoreSettings


class MakeEvidence(Message, frozen=True, kw_only=True, tag="make_evidence"):
    """First message: let the hardware say what it keeps, sign it, answer, and end.

    ``challenge`` is the file that an outsider made, or empty; ``intermediates`` are certificates (DER) that belong
    between a TPM's and its maker's root; ``made_at`` is the time of now, in seconds since 1970.
    """

    settings: CoreSettings
    made_at: int
    challenge: bytes = b""
    intermediates: tuple[bytes, ...] = ()


class TokenFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the token says of itself; nothing secret."""

    kind: str
    manufacturer: str
    model: str
    label: str
    serial: str
    firmware: str
    nv_bytes_free: int | None = None
    persistent_keys_free: int | None = None
    domain_trusted: bool | None = None


class Ready(Message, frozen=True, kw_only=True, tag="ready"):
    """The core holds the token, as ``member`` (from 0) of so many ``members``, and is open for requests."""

    cohort_public_key: Point
    member: int
    members: int
    audit_public_key: Point
    epoch: int
    token: TokenFacts
    hardening: tuple[str, ...]


class Inventory(Message, frozen=True, kw_only=True, tag="inventory"):
    """What hwkm objects the token holds, one line each, for people.

    ``code_pcr_extended``: a code-bound key cannot be made before the machine was restarted.
    """

    objects: tuple[str, ...]
    cohort_public_key: bytes = b""
    code_pcr_extended: bool = False


class CohortRead(Message, frozen=True, kw_only=True, tag="cohort_read"):
    """How far a token is on its way into a cohort; see :class:`hwkm.tokens.cohort.CohortState`.

    ``document`` is the request or invitation that was made, and ``objects`` what was found in the token.
    """

    stage: str
    number: int
    members: int
    public_key: bytes
    audit_public_key: bytes
    invited: dict[int, bytes]
    fingerprint: bytes = b""
    document: bytes = b""
    objects: tuple[str, ...] = ()


class Swept(Message, frozen=True, kw_only=True, tag="swept"):
    """The attempt tree is whole; so many nodes are in it, so many others were removed."""

    nodes: int
    removed: int


class EvidenceMade(Message, frozen=True, kw_only=True, tag="evidence_made"):
    """The evidence of this member, a file of ``docs/spec/evidence.md``."""

    evidence: bytes


# --- requests --------------------------------------------------------------------------------


class IssueChallenge(Message, frozen=True, kw_only=True, tag="issue_challenge"):
    """Bind a fresh challenge to a sealed vault."""

    params: Params
    vault: Vault


class OpenVault(Message, frozen=True, kw_only=True, tag="open_vault"):
    """Present a claim."""

    params: Params
    vault: Vault
    challenge: Challenge
    claim: Claim


class ReadCounter(Message, frozen=True, kw_only=True, tag="read_counter"):
    """How the counter named in the params stands."""

    params: Params


class ResumeVault(Message, frozen=True, kw_only=True, tag="resume_vault"):
    """Let a suspended counter be charged again."""

    params: Params


class ReadStatistics(Message, frozen=True, kw_only=True, tag="read_statistics"):
    """Counts since the core started."""


class SignCheckpoint(Message, frozen=True, kw_only=True, tag="sign_checkpoint"):
    """Sign a state of the audit log; ``proof`` leads there from the state signed last in this life."""

    size: Annotated[int, Meta(ge=0)]
    root: Hash
    proof: Annotated[tuple[Hash, ...], Meta(max_length=64)]


class Stop(Message, frozen=True, kw_only=True, tag="stop"):
    """Make deferred changes durable, answer, and end."""


VaultRequest = IssueChallenge | OpenVault | ReadCounter | ResumeVault | ReadStatistics | SignCheckpoint | Stop
CoreRequest = VaultRequest | KeyRequest
CohortStart = CreateCohort | RequestMembership | InviteMember | JoinCohort | SealCohort | ShowCohort
CoreStart = Serve | Provision | AddDomain | Inspect | Sweep | MakeEvidence | CohortStart


# --- replies ---------------------------------------------------------------------------------


class ChallengeIssued(Message, frozen=True, kw_only=True, tag="challenge_issued"):
    """A challenge and how the counter stands."""

    challenge: Challenge
    expires_in_ms: int
    attempts_remaining: int
    retry_after_ms: int
    suspended: bool


class VaultOpened(Message, frozen=True, kw_only=True, tag="vault_opened"):
    """Right: the sealed response."""

    response: bytes
    attempts_remaining: int


class VaultWrong(Message, frozen=True, kw_only=True, tag="vault_wrong"):
    """Wrong, and charged."""

    attempts_remaining: int
    retry_after_ms: int


class VaultIsLocked(Message, frozen=True, kw_only=True, tag="vault_locked"):
    """No attempts remain."""


class VaultIsSuspended(Message, frozen=True, kw_only=True, tag="vault_suspended"):
    """Charges in a row without a verdict."""


class VaultDelayed(Message, frozen=True, kw_only=True, tag="vault_delayed"):
    """Too soon after a charge."""

    retry_after_ms: int


class VaultFaulted(Message, frozen=True, kw_only=True, tag="vault_faulted"):
    """Charged, but the hardware failed before the verdict."""

    attempts_remaining: int


class CounterRead(Message, frozen=True, kw_only=True, tag="counter_read"):
    """How a counter stands."""

    attempts_remaining: int
    retry_after_ms: int
    suspended: bool


class Statistics(Message, frozen=True, kw_only=True, tag="statistics"):
    """Counts since the core started; ``batch_sizes`` maps claims decided in a batch to batches."""

    epoch: int
    commits: int
    anchor_writes: int
    key_agreements: int
    nodes_stored: int
    challenges_open: int
    batch_sizes: dict[int, int]
    halted: bool
    keys: KeyStatistics


class CheckpointSigned(Message, frozen=True, kw_only=True, tag="checkpoint_signed"):
    """The ECDSA signature (DER) under the text of the checkpoint."""

    signature: bytes


class Done(Message, frozen=True, kw_only=True, tag="done"):
    """It was done."""


class Failed(Message, frozen=True, kw_only=True, tag="failed"):
    """It was not done; ``code`` is that of an error in :mod:`hwkm.errors`."""

    code: str
    message: str


CoreReply = (
    ChallengeIssued
    | VaultOpened
    | VaultWrong
    | VaultIsLocked
    | VaultIsSuspended
    | VaultDelayed
    | VaultFaulted
    | CounterRead
    | Statistics
    | CheckpointSigned
    | Done
    | Failed
    | KeyReply
)
CoreStarted = Ready | Inventory | CohortRead | Swept | EvidenceMade | Failed


class RequestFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A numbered request."""

    number: int
    body: CoreRequest


class ReplyFrame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """The reply to the request of the same number."""

    number: int
    body: CoreReply
