"""The client library: make, open and replace vaults over hwkmd's Unix socket.

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

:class:`AsyncVaultClient` is the same with ``await``. Programs that keep the two halves of a
client in two places use :mod:`hwkm.client.framework`, which sees the secrets and does no I/O, and
:class:`RecoveryAgent`, which carries messages and sees no secret. Every error is a
:class:`HwkmError`; the rest of them are in :mod:`hwkm.errors`.
"""

from hwkm.client.agent import DEFAULT_SOCKET, AsyncRecoveryAgent, RecoveryAgent
from hwkm.client.application_key import ApplicationKey
from hwkm.client.framework import Recovered
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
    "AsyncRecoveryAgent",
    "AsyncVaultClient",
    "CohortMismatch",
    "CohortTrust",
    "FixedCohort",
    "HwkmError",
    "KfAlgorithm",
    "KfParams",
    "KfType",
    "KnownCohort",
    "RateLimited",
    "Recovered",
    "RecoveryAgent",
    "SecretBytes",
    "Unavailable",
    "VaultClient",
    "VaultLocked",
    "WrongKnowledgeFactor",
    "encode_credential",
]
