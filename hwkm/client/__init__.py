"""The client library: vaults and keys of hwkmd, over its Unix socket.

>>> from hwkm.client import ApplicationKey, VaultClient, WrongKnowledgeFactor, encode_credential
>>> with VaultClient(socket_path) as client:
...     with encode_credential("0417") as pin:
...         info, recovery_key = client.create("phone backup", pin)
...         with client.open(info.handle, pin) as recovered:
...             assert recovered.recovery_key == recovery_key
...             _ = client.put_application_key(recovered, ApplicationKey.generate("photos"))
...     with encode_credential("0418") as wrong:
...         try:
...             client.open(info.handle, wrong)
...         except WrongKnowledgeFactor as error:
...             print("attempts remaining:", error.attempts_remaining)
attempts remaining: 9

:class:`AsyncVaultClient` is the same with ``await``, :class:`FleetVaultClient` that of several daemons. Keys, data keys and what is encrypted under them are
the business of :class:`KeyClient` and :class:`AsyncKeyClient`, encrypted files that of :mod:`hwkm.client.files`. Programs that keep the two halves of a
client in two places use :mod:`hwkm.client.framework`, which sees the secrets and does no I/O, and
:class:`RecoveryAgent`, which carries messages and sees no secret. Every error is a
:class:`HwkmError`; the rest of them are in :mod:`hwkm.errors`.
"""

from hwkm.client.agent import DEFAULT_SOCKET, AsyncRecoveryAgent, RecoveryAgent
from hwkm.client.application_key import ApplicationKey
from hwkm.client.cohort import VerifiedCohort
from hwkm.client.data_key import DataKey, DataKeyPair
from hwkm.client.envelope import Sealed
from hwkm.client.fleet_vaults import FleetVaultClient
from hwkm.client.framework import Recovered
from hwkm.client.key_procedures import Ciphertext, ReEncrypted
from hwkm.client.keys import AsyncKeyClient, KeyClient
from hwkm.client.trust import CohortTrust, FixedCohort, KnownCohort
from hwkm.client.vaults import AsyncVaultClient, VaultClient
from hwkm.crypto.knowledge_factor import KfAlgorithm, KfParams, KfType, encode_credential
from hwkm.errors import (
    CohortMismatch,
    HwkmError,
    RateLimited,
    Unavailable,
    VaultLocked,
    WrongKnowledgeFactor,
)
from hwkm.secret import SecretBytes

__all__ = [
    "DEFAULT_SOCKET",
    "ApplicationKey",
    "AsyncKeyClient",
    "AsyncRecoveryAgent",
    "AsyncVaultClient",
    "Ciphertext",
    "CohortMismatch",
    "CohortTrust",
    "DataKey",
    "DataKeyPair",
    "FixedCohort",
    "FleetVaultClient",
    "HwkmError",
    "KeyClient",
    "KfAlgorithm",
    "KfParams",
    "KfType",
    "KnownCohort",
    "RateLimited",
    "ReEncrypted",
    "Recovered",
    "RecoveryAgent",
    "Sealed",
    "SecretBytes",
    "Unavailable",
    "VaultClient",
    "VaultLocked",
    "VerifiedCohort",
    "WrongKnowledgeFactor",
    "encode_credential",
]
