"""What a policy grants on keys: which keys, in which account, with which context."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.record import Caller
from hwkm.errors import AccessDenied, ConfigError
from hwkm.server.keys.principal import Principal
from hwkm.server.peer import Peer
from hwkm.server.policy import Policy, default_policy
from hwkm.server.policy_file import load_policy

HOME = "000000000001"
BLUE = "000000000002"
PEER = Peer(pid=5, uid=1234, gid=1234, groups=frozenset({1234}))
KEY = ("1f6d2d1e-0000-4000-8000-000000000000", "alias/blue/files")


def policy(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    return load_policy(path)


def peer(tmp_path: Path, text: str) -> Principal:
    return policy(tmp_path, text).principal_of_peer(PEER, HOME)


def test_by_default_root_may_do_everything_in_every_account_and_others_nothing() -> None:
    root = default_policy().principal_of_peer(Peer(1, 0, 0, frozenset({0})), HOME)
    root.check("key.decrypt", BLUE, KEY, [{}])
    other = default_policy().principal_of_peer(PEER, HOME)
    assert other.grants == {}
    with pytest.raises(AccessDenied, match="uid 1234"):
        other.check("key.decrypt", HOME, KEY, [{}])


def test_by_default_a_credential_may_do_everything_in_its_account_only() -> None:
    holder = default_policy().principal_of_credential("a", BLUE, PEER.caller)
    holder.check("key.decrypt", BLUE, KEY, [{}])
    assert "vault.open" not in holder.grants
    with pytest.raises(AccessDenied, match="credential a"):
        holder.check("key.decrypt", HOME, KEY, [{}])


def test_a_rule_about_every_credential_is_about_no_process(tmp_path: Path) -> None:
    made = policy(tmp_path, '[[rule]]\ncredentials = ["*"]\nkeys = ["*"]\noperations = ["key.decrypt"]')
    assert set(made.principal_of_credential("any", BLUE, PEER.caller).grants) == {"key.decrypt"}
    assert made.principal_of_peer(PEER, HOME).grants == {}


def test_a_rule_without_keys_grants_nothing_on_keys_even_if_it_grants_all(tmp_path: Path) -> None:
    everything = policy(tmp_path, '[[rule]]\nuids = [1234]\noperations = ["*"]')
    assert everything.principal_of_peer(PEER, HOME).grants == {}
    assert "key.decrypt" not in everything.grants(PEER)
    assert "vault.open" in everything.grants(PEER)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        ("alias/blue/*", True),
        ("alias/*", True),
        ("alias/blue/files", True),
        ("1f6d2d1e-*", True),
        ("alias/red/*", False),
        ("alias/blue", False),
        ("blue/files", False),
    ],
)
def test_patterns_are_compared_with_the_id_and_every_alias(
    tmp_path: Path, pattern: str, matches: bool
) -> None:
    who = peer(tmp_path, f'[[rule]]\nuids = [1234]\noperations = ["key.decrypt"]\nkeys = ["{pattern}"]')
    if matches:
        who.check("key.decrypt", HOME, KEY, [{}])
    else:
        with pytest.raises(AccessDenied):
            who.check("key.decrypt", HOME, KEY, [{}])
    with pytest.raises(AccessDenied):
        who.check("key.encrypt", HOME, KEY, [{}])


REQUIRES = """
[[rule]]
uids = [1234]
operations = ["key.decrypt"]
keys = ["alias/blue/*"]
require_context = { tenant = "blue", stage = ["test", "live"] }
"""


@pytest.mark.parametrize(
    ("context", "allowed"),
    [
        ({"tenant": "blue", "stage": "live"}, True),
        ({"tenant": "blue", "stage": "test", "aws:x": "extra"}, True),
        ({"tenant": "blue"}, False),
        ({"tenant": "red", "stage": "live"}, False),
        ({"tenant": "", "stage": "live"}, False),
        ({"Tenant": "blue", "stage": "live"}, False),
        ({}, False),
    ],
)
def test_required_entries_must_be_there_and_others_may(
    tmp_path: Path, context: dict[str, str], allowed: bool
) -> None:
    who = peer(tmp_path, REQUIRES)
    if allowed:
        who.check("key.decrypt", HOME, KEY, [context])
    else:
        with pytest.raises(AccessDenied, match="context"):
            who.check("key.decrypt", HOME, KEY, [{"tenant": "blue", "stage": "live"}, context])


def test_no_other_rule_lifts_a_requirement(tmp_path: Path) -> None:
    wider = '[[rule]]\nanyone = true\noperations = ["*"]\nkeys = ["*"]\naccount = "*"'
    for text in (REQUIRES + wider, wider + REQUIRES):
        with pytest.raises(AccessDenied, match="context"):
            peer(tmp_path, text).check("key.decrypt", HOME, KEY, [{}])
        peer(tmp_path, text).check("key.decrypt", HOME, ("other",), [{}])


def test_an_account_is_named_by_the_rules_or_is_the_default_one(tmp_path: Path) -> None:
    rule = '[[rule]]\nuids = [1234]\noperations = ["key.*"]\nkeys = ["*"]\n'
    assert peer(tmp_path, rule).account == HOME
    at_home = peer(tmp_path, rule + f'account = "{BLUE}"')
    assert at_home.account == BLUE
    at_home.check("key.show", BLUE, KEY)
    for account in (HOME, "000000000003"):
        with pytest.raises(AccessDenied):
            at_home.check("key.show", account, KEY)
    everywhere = peer(tmp_path, rule + 'account = "*"')
    assert everywhere.account == HOME
    everywhere.check("key.show", BLUE, KEY)


def test_two_accounts_for_one_caller_are_none(tmp_path: Path) -> None:
    rule = '[[rule]]\nuids = [1234]\noperations = ["key.*"]\nkeys = ["*"]\naccount = "{}"\n'
    with pytest.raises(AccessDenied, match="2 accounts"):
        peer(tmp_path, rule.format(HOME) + rule.format(BLUE))


def test_a_credential_is_at_home_in_its_account_and_gets_what_names_it(tmp_path: Path) -> None:
    text = """
    [[rule]]
    credentials = ["uploader"]
    operations = ["key.generate_data_key"]
    keys = ["*"]
    [[rule]]
    uids = [1234]
    operations = ["key.decrypt"]
    keys = ["*"]
    """
    caller = Caller(gid=0, pid=0, uid=0)
    uploader = policy(tmp_path, text).principal_of_credential("uploader", BLUE, caller)
    assert (uploader.account, set(uploader.grants)) == (BLUE, {"key.generate_data_key"})
    uploader.check("key.generate_data_key", BLUE, KEY)
    with pytest.raises(AccessDenied):
        uploader.check("key.generate_data_key", HOME, KEY)
    assert policy(tmp_path, text).principal_of_credential("other", BLUE, caller).grants == {}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('operations = ["key.decrypt"]', "keys"),
        ('operations = ["key.*"]', "keys"),
        ('operations = ["status"]\naccount = "000000000001"', "no keys"),
        ('operations = ["status"]\nrequire_context = {a = "b"}', "no keys"),
        ('operations = ["key.*"]\nkeys = ["*"]\naccount = "1"', "account"),
        ('operations = ["key.*"]\nkeys = [""]', "keys"),
        ('operations = ["key.*"]\nkeys = ["*"]\nrequire_context = {"" = "b"}', "require_context"),
        ('operations = ["key.*"]\nkeys = ["*"]\nrequire_context = {a = []}', "require_context"),
        ('operations = ["key.*"]\nkeys = ["*"]\nrequire_context = {a = 1}', "require_context"),
    ],
)
def test_what_is_wrong_about_keys_is_refused_with_its_line(tmp_path: Path, lines: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=rf"policy\.toml:\d+.*{problem}"):
        policy(tmp_path, f"[[rule]]\nuids = [1234]\n{lines}")
