"""The policy of keys through a real daemon: what is refused, is refused before the core is asked."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hwkm.audit.reader import read
from hwkm.errors import AccessDenied, CiphertextInvalid, KeyDisabled, KeyNotFound
from hwkm.wire import key_api as api
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.key_http import KeyHttp

HOME, BLUE, RED = "000000000001", "000000000002", "000000000003"
UID = os.geteuid()

EVERYTHING = f'[[rule]]\nuids = [{UID}]\noperations = ["*"]\nkeys = ["*"]\naccount = "*"\n'


class World:
    """A daemon whose policy changes."""

    def __init__(self, daemon: Daemon, policy: Path) -> None:
        self.daemon = daemon
        self._policy = policy
        self.reloads = 0

    @contextmanager
    def under(self, text: str) -> Iterator[KeyHttp]:
        """A connection under a policy."""
        self._policy.write_text(text)
        assert self.daemon.process is not None
        self.daemon.process.send_signal(signal.SIGHUP)
        self.reloads += 1
        with self.daemon.http() as http:
            while self.daemon.log.count("policy reloaded") < self.reloads:
                http.get("/healthz")
            yield KeyHttp(http)

    def asked_of_core(self) -> float:
        return self.daemon.asked_of_core()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("policy")
    policy = directory / "policy.toml"
    policy.write_text(EVERYTHING)
    settings = {"daemon": {"policy_file": str(policy)}}
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), settings=settings) as daemon:
        with daemon.http() as http:
            while '"serving"' not in daemon.log:  # before that, SIGHUP would end it
                http.get("/healthz")
        yield World(daemon, policy)


REQUIRES = f"""
[[rule]]
uids = [{UID}]
operations = ["status", "key.*"]
keys = ["*"]
require_context = {{ tenant = "blue" }}
"""


def test_what_lacks_a_required_entry_is_refused_before_the_core_is_asked(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        key = keys.create().arn
        foreign = keys.encrypt(key, b"red", tenant="red")
        ours = keys.encrypt(key, b"blue", tenant="blue", more="x")
    with world.under(REQUIRES) as keys:
        before = world.asked_of_core()
        for call in (
            lambda: keys.generate(key),
            lambda: keys.generate(key, tenant="red"),
            lambda: keys.encrypt(key, b"x"),
            lambda: keys.decrypt(foreign, tenant="red"),
            lambda: keys.re_encrypt(ours, key, {"tenant": "red"}, tenant="blue", more="x"),
            lambda: keys.re_encrypt(foreign, key, {"tenant": "blue"}, tenant="red"),
            lambda: keys.call("key.generate_data_key_pair", key=key, spec="RSA_4096"),
        ):
            with pytest.raises(AccessDenied, match="context"):
                call()
        assert world.asked_of_core() == before
        assert keys.decrypt(ours, tenant="blue", more="x") == b"blue"
        assert world.asked_of_core() == before + 1
        with pytest.raises(CiphertextInvalid):  # claiming to be blue does not help
            keys.decrypt(foreign, tenant="blue")


def test_each_item_of_a_list_is_judged_by_itself(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        key = keys.create().arn
        foreign = keys.encrypt(key, b"red", tenant="red")
        ours = keys.encrypt(key, b"blue", tenant="blue")
    with world.under(REQUIRES) as keys:
        items = (
            api.CiphertextItem(ciphertext=foreign, context={"tenant": "red"}),
            api.CiphertextItem(ciphertext=ours, context={"tenant": "blue"}),
        )
        refused, opened = keys.call("key.decrypt", items=items).items
        assert refused.plaintext is None
        assert refused.error.code == "access_denied"
        assert opened.plaintext == b"blue"
        wanted = (api.DataKeyWanted(context={"tenant": "blue"}), api.DataKeyWanted())
        with pytest.raises(AccessDenied):
            keys.call("key.generate_data_key", key=key, items=wanted)


def test_only_the_operations_and_keys_of_the_rule(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        mine, other = keys.create(alias="alias/mine/1"), keys.create(alias="alias/other")
        ciphertext = keys.encrypt(mine.arn, b"x")
        foreign = keys.encrypt(other.arn, b"x")
    rule = f"""
    [[rule]]
    uids = [{UID}]
    operations = ["key.generate_data_key", "key.show", "key.list*", "key.create*", "key.delete_alias", "key.encrypt"]
    keys = ["alias/mine/*"]
    """
    with world.under(rule) as keys:
        keys.generate("alias/mine/1")
        assert keys.show(mine.key_id).arn == mine.arn
        for call in (
            lambda: keys.decrypt(ciphertext),
            lambda: keys.decrypt(foreign),
            lambda: keys.show(other.key_id),
            lambda: keys.generate("alias/other"),
            lambda: keys.call("key.disable", key=mine.arn),
            keys.create,
            lambda: keys.create(alias="alias/elsewhere"),
            lambda: keys.call("key.create_alias", alias="alias/mine/stolen", key=other.arn),
            lambda: keys.call("key.create_alias", alias="alias/elsewhere", key=mine.arn),
            lambda: keys.call("key.delete_alias", alias="alias/other"),
            lambda: keys.call("domain.rotate"),
        ):
            with pytest.raises(AccessDenied):
                call()
        created = keys.create(alias="alias/mine/2")
        assert {item.key_id for item in keys.call("key.list").keys} == {mine.key_id, created.key_id}
        names = [item.alias for item in keys.call("key.list_aliases").aliases]
        assert names == ["alias/mine/1", "alias/mine/2"]


def test_accounts_do_not_see_each_other(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        blue = keys.create(account=BLUE, alias="alias/shared-name")
        red = keys.create(account=RED, alias="alias/shared-name")
        ciphertext = keys.encrypt(red.arn, b"red's")
        assert keys.decrypt(ciphertext) == b"red's"
        assert keys.show(blue.key_id).account == BLUE  # its bare id is enough for who reaches the account
        with pytest.raises(KeyNotFound):
            keys.show("alias/shared-name")  # there is none in the account where he is at home
    rule = f'[[rule]]\nuids = [{UID}]\noperations = ["key.*"]\nkeys = ["*"]\naccount = "{BLUE}"'
    with world.under(rule) as keys:
        assert keys.show("alias/shared-name").arn == blue.arn
        assert [item.key_id for item in keys.call("key.list").keys] == [blue.key_id]
        with pytest.raises(KeyNotFound):
            keys.show(red.key_id)
        for call in (
            lambda: keys.show(red.arn),
            lambda: keys.decrypt(ciphertext),
            lambda: keys.decrypt(ciphertext, red.arn),
            lambda: keys.re_encrypt(ciphertext, blue.arn),
            lambda: keys.create(account=RED),
            lambda: keys.call("key.list", account=RED),
            lambda: keys.call("key.list_aliases", account=HOME),
            lambda: keys.call("key.update_alias", alias="alias/shared-name", key=red.arn),
        ):
            with pytest.raises(AccessDenied):
                call()


def test_a_refusal_names_the_key_and_the_context_that_were_asked_for(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        key = keys.create().arn
        foreign = keys.encrypt(key, b"red", tenant="red")
    with world.under(REQUIRES) as keys, pytest.raises(AccessDenied):
        keys.decrypt(foreign, tenant="red")
    with world.under(EVERYTHING) as keys:
        keys.call("key.disable", key=key)
        with pytest.raises(KeyDisabled):
            keys.decrypt(foreign, key, tenant="red")
    refusals = [
        (record.outcome, record.key, record.key_version, record.context)
        for record in read(world.daemon.state_directory / "audit")
        if record.operation == "key.decrypt" and record.key == key
    ]
    assert refusals == [("access_denied", key, 1, {"tenant": "red"}), ("key_disabled", key, 1, None)]


def test_a_refusal_across_accounts_names_the_key_that_was_asked_for(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        red = keys.create(account=RED, alias="alias/out-of-reach").arn
    alias = f"{red.rpartition(':')[0]}:alias/out-of-reach"
    rule = f'[[rule]]\nuids = [{UID}]\noperations = ["key.*"]\nkeys = ["*"]\naccount = "{BLUE}"'
    with world.under(rule) as keys:
        for name in (red, alias):
            with pytest.raises(AccessDenied):
                keys.encrypt(name, b"text", tenant="red")
        with pytest.raises(KeyNotFound):
            keys.encrypt(f"{red[:-4]}0000".replace(RED, BLUE), b"text", tenant="blue")
    refusals = [
        (record.outcome, record.key, record.key_version, record.context)
        for record in read(world.daemon.state_directory / "audit")
        if record.operation == "key.encrypt"
    ][-3:]
    assert refusals == [
        ("access_denied", red, None, {"tenant": "red"}),
        ("access_denied", alias, None, {"tenant": "red"}),
        ("key_not_found", f"{red[:-4]}0000".replace(RED, BLUE), None, {"tenant": "blue"}),
    ]


def test_who_is_granted_nothing_learns_nothing(world: World) -> None:
    with world.under(EVERYTHING) as keys:
        key = keys.create().arn
    with world.under(f'[[rule]]\nuids = [{UID}]\noperations = ["*"]') as keys:
        answers = set()
        for name in (key, "alias/never", "00000000-0000-4000-8000-000000000000"):
            with pytest.raises(AccessDenied) as caught:
                keys.show(name)
            answers.add(str(caught.value))
        assert len(answers) == 1
