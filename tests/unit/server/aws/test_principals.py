"""Who signs: what the policy in force grants him, and nothing kept of a credential that is gone."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

from hwkm.errors import AccessDenied
from hwkm.secret import SecretBytes
from hwkm.server.aws.assembly import SigningPrincipals
from hwkm.server.aws.credentials import Credential
from hwkm.server.policy import Policy, default_policy
from hwkm.server.policy_file import load_policy

ACCOUNT = "000000000002"


def credential(name: str = "a") -> Credential:
    return Credential(name, ACCOUNT, "HWKMA", SecretBytes(b"a secret"))


def policy(tmp_path: Path, name: str) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(f'[[rule]]\ncredentials = ["{name}"]\noperations = ["key.decrypt"]\nkeys = ["*"]')
    return load_policy(path)


def test_a_signer_is_at_home_in_the_account_of_his_credential() -> None:
    principal = SigningPrincipals(default_policy)(credential())
    assert (principal.account, principal.name) == (ACCOUNT, "credential a")
    principal.check("key.decrypt", ACCOUNT, ("alias/x",))
    with pytest.raises(AccessDenied):
        principal.check("key.decrypt", "000000000001", ("alias/x",))


def test_a_new_policy_counts_at_once(tmp_path: Path) -> None:
    in_force = [policy(tmp_path, "a")]
    principals, holder = SigningPrincipals(lambda: in_force[0]), credential()
    assert set(principals(holder).grants) == {"key.decrypt"}
    assert principals(holder) is principals(holder)
    in_force[0] = policy(tmp_path, "b")
    assert principals(holder).grants == {}


def test_nothing_is_kept_of_a_credential_that_is_gone() -> None:
    principals, holder = SigningPrincipals(default_policy), credential()
    principals(holder)
    gone = weakref.ref(holder)
    del holder
    gc.collect()
    assert gone() is None
