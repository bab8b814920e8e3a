"""Who may do what: grants only, the widest wins, nothing unknown is accepted."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.errors import ConfigError
from hwkm.server.peer import NOBODY, Peer
from hwkm.server.policy import OPERATION_NAMES, Policy, Scope, default_policy
from hwkm.server.policy_file import load_policy

STRANGER = Peer(1, 4242, 4343, frozenset({4343, 4444}))


Loader = Callable[[str], Policy]


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    def load_text(text: str) -> Policy:
        path = tmp_path / "policy.toml"
        path.write_text(text)
        return load_policy(path)

    return load_text


def test_by_default_everybody_is_an_owner_and_root_may_do_everything() -> None:
    policy = default_policy()
    owner = policy.grants(STRANGER)
    assert owner["vault.open"] is Scope.OWN
    assert owner["application_key.put"] is Scope.OWN
    assert owner["status"] is Scope.OWN
    assert "audit.checkpoint" not in owner
    for uid in (0, os.geteuid()):
        everything = policy.grants(Peer(1, uid, 0, frozenset({0})))
        assert set(everything) == set(OPERATION_NAMES)
        assert set(everything.values()) == {Scope.ANY}


def test_no_policy_file_means_the_default() -> None:
    assert load_policy(None) == default_policy()


def test_rules_match_by_uid_gid_supplementary_group_and_anyone(load: Loader) -> None:
    policy = load("""
        [[rule]]
        uids = [4242]
        operations = ["vault.open"]
        [[rule]]
        gids = [4444]
        operations = ["vault.show"]
        vaults = "any"
        [[rule]]
        anyone = true
        operations = ["status"]
    """)
    assert policy.grants(STRANGER) == {
        "vault.open": Scope.OWN,
        "vault.show": Scope.ANY,
        "status": Scope.OWN,
    }
    assert policy.grants(NOBODY) == {"status": Scope.OWN}


def test_the_widest_grant_wins_whatever_the_order(load: Loader) -> None:
    own = '[[rule]]\nanyone = true\noperations = ["vault.*"]\n'
    wide = '[[rule]]\nuids = [4242]\nvaults = "any"\noperations = ["vault.show"]\n'
    for text in (own + wide, wide + own):
        grants = load(text).grants(STRANGER)
        assert grants["vault.show"] is Scope.ANY
        assert grants["vault.open"] is Scope.OWN


def test_users_and_groups_are_named(load: Loader) -> None:
    user, group = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    policy = load(f'[[rule]]\nusers = ["{user}"]\ngroups = ["{group}"]\noperations = ["*"]\n')
    assert policy.rules[0].uids == {0}
    assert policy.rules[0].gids == {0}
    assert policy.rules[0].operations == set(OPERATION_NAMES)


RULE = '[[rule]]\nanyone = true\noperations = ["*"]\n'


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "1 to 1000 rules"),
        ("[rule]\n", 1, "two brackets"),
        ("allow = true\n", 1, "unknown key 'allow'"),
        (RULE + '\n[[rule]]\noperations = ["status"]\n', 5, "about nobody"),
        (RULE + '[[rule]]\nanyone = true\noperations = ["vault.opne"]\n', 6, "'vault.opne'"),
        (RULE + '[[rule]]\nanyone = true\noperations = []\n', 6, "operations"),
        (RULE + '[[rule]]\nanyone = true\n', 4, "'operations' is missing"),
        (RULE + '[[rule]]\nusers = ["nobody-of-this-name"]\noperations = ["*"]\n', 5, "no user"),
        (RULE + '[[rule]]\ngroups = ["no-group-of-this-name"]\noperations = ["*"]\n', 5, "no group"),
        (RULE + 'vaults = "all"\n', 4, "vaults"),
        (RULE + "deny = true\n", 4, "unknown key 'deny'"),
        ('[[rule]]\nuids = [-1]\noperations = ["*"]\n', 2, "uids"),
        ('[[rule]]\nuids = ["0"]\noperations = ["*"]\n', 2, "uids"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(
    load: Loader, tmp_path: Path, text: str, line: int, problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert str(refused.value).startswith(f"{tmp_path}/policy.toml:{line}: ")
    assert problem in str(refused.value)
