"""The HTTP interface as plain calls, without the stretching of a client library: for many fast claims."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx
import msgspec

from hwkm.crypto.knowledge_factor import KfType, sha256_params
from hwkm.formats.vault_params import VaultParams
from hwkm.wire import api
from hwkm.wire.problems import ProblemBody, error_of
from tests.vault_clients import Claimed, SealedVault, finish, make_claim

Response = TypeVar("Response", bound=msgspec.Struct)

KNOWLEDGE_FACTOR = api.KnowledgeFactor.of(KfType.PIN, sha256_params(bytes(16)))


def handle_of(vault: SealedVault) -> str:
    """The handle in the params of a vault, in hex."""
    return VaultParams.parse(vault.params).handle.hex()


def create_body(
    vault: SealedVault, name: str, keys: tuple[api.WrappedApplicationKey, ...] = ()
) -> api.CreateVault:
    return api.CreateVault(
        name=name,
        params=vault.params,
        vault=vault.blob,
        knowledge_factor=KNOWLEDGE_FACTOR,
        application_keys=keys,
    )


def replace_body(vault: SealedVault, expected: int) -> api.ReplaceVault:
    return api.ReplaceVault(
        expected_snapshot_version=expected,
        params=vault.params,
        vault=vault.blob,
        knowledge_factor=KNOWLEDGE_FACTOR,
    )


class VaultHttp:
    """Calls that return the typed response or raise the typed error."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def call(
        self, method: str, path: str, kind: type[Response], body: msgspec.Struct | None = None, **query: Any
    ) -> Response:
        content = None if body is None else msgspec.json.encode(body)
        answer = self.http.request(method, path, content=content, params=query or None)
        return decoded(answer, kind)

    def cohort(self) -> bytes:
        return self.call("GET", "/v1/cohort", api.CohortInfo).public_key

    def create(
        self, vault: SealedVault, name: str = "", keys: tuple[api.WrappedApplicationKey, ...] = ()
    ) -> api.VaultInfo:
        body = create_body(vault, name or f"vault {handle_of(vault)}", keys)
        return self.call("POST", "/v1/vaults", api.VaultInfo, body)

    def show(self, vault: SealedVault) -> api.VaultInfo:
        return self.call("GET", f"/v1/vaults/{handle_of(vault)}", api.VaultInfo)

    def replace(self, vault: SealedVault, expected: int) -> api.VaultInfo:
        path = f"/v1/vaults/{handle_of(vault)}"
        return self.call("PUT", path, api.VaultInfo, replace_body(vault, expected))

    def delete(self, vault: SealedVault) -> None:
        self.call("DELETE", f"/v1/vaults/{handle_of(vault)}", api.Nothing)

    def challenge(self, vault: SealedVault) -> api.ChallengeIssued:
        return self.call("POST", f"/v1/vaults/{handle_of(vault)}/challenge", api.ChallengeIssued)

    def claim(self, vault: SealedVault, kf_hash: bytes) -> Claimed:
        """Ask for a challenge and make the claim of one guess."""
        return make_claim(vault, kf_hash, self.challenge(vault).challenge)

    def present(self, vault: SealedVault, claimed: Claimed) -> api.VaultOpened:
        path = f"/v1/vaults/{handle_of(vault)}/open"
        body = api.OpenVault(challenge=claimed.request.challenge, claim=claimed.request.claim)
        return self.call("POST", path, api.VaultOpened, body)

    def guess(self, vault: SealedVault, kf_hash: bytes) -> bytes:
        """Make and present a claim; return the recovery key."""
        claimed = self.claim(vault, kf_hash)
        return finish(vault, claimed, self.present(vault, claimed).response)


def decoded(answer: httpx.Response, kind: type[Response]) -> Response:
    """The typed response, or the typed error raised."""
    if answer.status_code == 200:
        return msgspec.json.decode(answer.content, type=kind)
    raise error_of(msgspec.json.decode(answer.content, type=ProblemBody).error)
