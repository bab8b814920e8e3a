"""What a client does with a fleet's server that lies, forgets, stalls or breaks: each by its own error.

In every scenario a client has accepted list 1. Then something wrong is served: the refresh raises the error of that
wrong, what is remembered stays byte for byte, no vault is made and no claim is sealed; and when the fleet serves what is
right again, the client goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import SSlibKey
from tuf.api.metadata import Root

from hwkm.client import procedures
from hwkm.client.calls import Call
from hwkm.client.fleet import Fleet, FleetCohorts
from hwkm.client.flow import run
from hwkm.crypto.knowledge_factor import KfType, encode_credential, sha256_params
from hwkm.errors import (
    EpochReused,
    FleetRulesBroken,
    HwkmError,
    ListConflict,
    ListDowngrade,
    ListExpired,
    ListMalformed,
    ListNotLogged,
    ListSignatureInvalid,
    ListTooLarge,
    ListUnavailable,
    LogForked,
    LogRolledBack,
    NoteUnverified,
    SignatureMissing,
    WeakKey,
)
from hwkm.fleet.cohort_list import Cohort
from hwkm.fleet.list_log import EntryKind, LogEntry
from hwkm.fleet.signing_keys import Party, import_public_key
from tests.fleet_simulator import MemoryServer, Simulator, broken_off, endless
from tests.fleet_world import ROOT_KEYS, note_key
from tests.unit.client.thm_half import ThmHalf

PIN = encode_credential("0417")
QUICK = sha256_params(bytes(16))


@dataclass
class Client:
    """A client with a daemon of cohort ``alpha``, which counts what it is asked."""

    simulator: Simulator
    state: Path
    thm: ThmHalf = field(default_factory=ThmHalf)
    asked: list[str] = field(default_factory=list)

    @property
    def alpha(self) -> Cohort:
        return Cohort("00" * 32, "alpha", self.thm.cohort.public_key.hex())

    def fleet(self) -> Fleet:
        return Fleet(self.simulator.pinned, self.simulator.files, self.state)

    def remembered(self) -> dict[str, bytes]:
        current = (self.state / "current").resolve()
        files = (path for path in current.rglob("*") if path.is_file())
        return {str(path.relative_to(current)): path.read_bytes() for path in files}

    def create(self) -> None:
        def answer(call: Call[Any]) -> object:
            self.asked.append(call.operation.name)
            assert call.operation.name == "cohort", "nothing but the offer may be asked for"
            return self.thm.cohort

        trust = FleetCohorts(self.fleet())
        run(procedures.create(trust, PIN, KfType.PIN, name="phone", kf_params=QUICK), answer)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client that has accepted list 1, in which its daemon is."""
    made = Client(Simulator(), tmp_path / "state")
    made.simulator.publish_list(1, [made.alpha])
    assert made.fleet().refresh().epoch == 1
    return made


def refused(client: Client, error: type[HwkmError]) -> None:
    """Exactly this error, for a refresh and for a vault; nothing is remembered, nothing sent."""
    before = client.remembered()
    with pytest.raises(HwkmError) as caught:
        client.fleet().refresh()
    assert type(caught.value) is error, caught.value
    with pytest.raises(error):
        client.create()
    assert client.asked == ["cohort"]
    assert client.remembered() == before


# --- lists -----------------------------------------------------------------------------------


def signed_by(*names: str) -> Callable[[Simulator, Client], None]:
    def publish(fleet: Simulator, client: Client) -> None:
        fleet.publish_list(2, [client.alpha], signed_by=names)

    return publish


def older(fleet: Simulator, client: Client) -> None:
    """A server put back to the state before the list that was seen."""
    old = fleet.snapshot()
    fleet.publish_list(2, [client.alpha])
    client.fleet().refresh()
    fleet.roll_back(old)


def other_content(fleet: Simulator, client: Client) -> None:
    """Both parties sign two lists of one epoch; the log is not told of the second."""
    fleet.publish_list(1, [client.alpha, "beta"], logged=False)


def expired_list(fleet: Simulator, client: Client) -> None:
    fleet.publish_list(2, [client.alpha], days=-1)


def frozen(fleet: Simulator, client: Client) -> None:
    """The online key has signed nothing for longer than it promised."""
    fleet.publish_list(2, [client.alpha], online_days=-1)


def not_logged(fleet: Simulator, client: Client) -> None:
    fleet.publish_list(2, [client.alpha], logged=False)


def other_bytes(fleet: Simulator, _: Client) -> None:
    (path,) = (name for name in fleet.server.contents if name.startswith("targets/"))
    fleet.publish_list(2, ["alpha", "beta"])
    new = next(name for name in fleet.server.contents if name.startswith("targets/") and name != path)
    fleet.server.contents[new] = fleet.server.contents[path]


# --- roots -----------------------------------------------------------------------------------


def rsa_key(bits: int) -> rsa.RSAPublicKey:
    """A public key of so many bits; nobody needs its private half here."""
    return rsa.RSAPublicNumbers(65537, (1 << (bits - 1)) + 1).public_key()


def root_with(change: Callable[[Root], None]) -> Callable[[Simulator, Client], None]:
    def publish(fleet: Simulator, _: Client) -> None:
        staged = fleet.stage_root()
        change(staged.signed)
        fleet.publish_root(staged, ROOT_KEYS)

    return publish


def weak_key(bits: int) -> Callable[[Root], None]:
    return lambda root: root.add_key(SSlibKey.from_crypto(rsa_key(bits)), "timestamp")


def low_threshold(root: Root) -> None:
    root.roles["targets"].threshold = 1


def root_of_strangers(fleet: Simulator, _: Client) -> None:
    fleet.publish_root(fleet.stage_root(["operator-x", "auditor-x"]), ["operator-x", "auditor-x"])


def root_of_one_party(fleet: Simulator, _: Client) -> None:
    fleet.rotate_root(["operator-root"])


def expired_root(fleet: Simulator, _: Client) -> None:
    fleet.publish_root(fleet.stage_root(days=-1), ROOT_KEYS)


# --- the log ---------------------------------------------------------------------------------


def forked(fleet: Simulator, client: Client) -> None:
    fleet.publish_list(2, [client.alpha])
    fleet.entries[1] = LogEntry("00" * 32, EntryKind.LIST, 1).encode()
    fleet.write_log(fleet.entries)


def shorter(fleet: Simulator, _: Client) -> None:
    fleet.write_log(fleet.entries[:1])


def reused(fleet: Simulator, client: Client) -> None:
    fleet.publish_list(2, [client.alpha])
    fleet.log(EntryKind.LIST, 1, b"another list of epoch 1")


def by_a_stranger(fleet: Simulator, _: Client) -> None:
    fleet.log_key = note_key("stranger.example/log")
    fleet.write_log(fleet.entries)


# --- answers ---------------------------------------------------------------------------------


def cut(prefix: str) -> Callable[[Simulator, Client], None]:
    """A new list, one of whose files is only half there."""

    def change(fleet: Simulator, client: Client) -> None:
        name = newest(fleet, client, prefix)
        fleet.server.contents[name] = fleet.server.contents[name][: len(fleet.server.contents[name]) // 2]

    return change


def gone(prefix: str) -> Callable[[Simulator, Client], None]:
    def change(fleet: Simulator, client: Client) -> None:
        del fleet.server.contents[newest(fleet, client, prefix)]

    return change


def answered(prefix: str, answer: Callable[[], Iterator[bytes]]) -> Callable[[Simulator, Client], None]:
    def change(fleet: Simulator, client: Client) -> None:
        fleet.server.instead[newest(fleet, client, prefix)] = answer

    return change


def newest(fleet: Simulator, client: Client, prefix: str) -> str:
    """Publish list 2; the file of this kind that is new, or changed."""
    before = fleet.snapshot()
    fleet.publish_list(2, [client.alpha])
    (name,) = (
        name
        for name, data in fleet.server.contents.items()
        if name.startswith(prefix) and before.get(name) != data
    )
    return name


def deep_json() -> Iterator[bytes]:
    yield b"[" * 16_000


SCENARIOS: dict[str, tuple[Callable[[Simulator, Client], None], type[HwkmError]]] = {
    "nobody signed": (signed_by(), SignatureMissing),
    "the operator alone signed": (signed_by("operator-list"), SignatureMissing),
    "the auditor alone signed": (signed_by("auditor-list"), SignatureMissing),
    "the operator signed twice": (signed_by("operator-list", "operator-2"), SignatureMissing),
    "strangers signed": (signed_by("operator-x", "auditor-x"), SignatureMissing),
    "an older list": (older, ListDowngrade),
    "equal version, other content": (other_content, ListConflict),
    "an expired list": (expired_list, ListExpired),
    "a frozen server": (frozen, ListExpired),
    "a list that is not in the log": (not_logged, ListNotLogged),
    "other bytes than were signed for": (other_bytes, ListSignatureInvalid),
    "RSA of 512 bits in the root": (root_with(weak_key(512)), WeakKey),
    "RSA of 2048 bits in the root": (root_with(weak_key(2048)), WeakKey),
    "a root that lets one party act": (root_with(low_threshold), FleetRulesBroken),
    "a root of strangers": (root_of_strangers, SignatureMissing),
    "a root of one party": (root_of_one_party, SignatureMissing),
    "an expired root": (expired_root, ListExpired),
    "a forked log": (forked, LogForked),
    "a shorter log": (shorter, LogRolledBack),
    "an epoch used again": (reused, EpochReused),
    "a checkpoint by a stranger": (by_a_stranger, NoteUnverified),
    "half a timestamp": (cut("metadata/timestamp"), ListMalformed),
    "half a snapshot": (cut("metadata/2.snapshot"), ListSignatureInvalid),
    "half of the signed metadata": (cut("metadata/2.targets"), ListSignatureInvalid),
    "half a list": (cut("targets/"), ListSignatureInvalid),
    "half a checkpoint": (cut("log/checkpoint"), ListMalformed),
    "half a bundle of the log": (cut("log/tile/"), ListMalformed),
    "no timestamp": (gone("metadata/timestamp"), ListUnavailable),
    "no list": (gone("targets/"), ListUnavailable),
    "no checkpoint": (gone("log/checkpoint"), ListUnavailable),
    "no bundle of the log": (gone("log/tile/"), ListUnavailable),
    "an endless timestamp": (answered("metadata/timestamp", endless), ListTooLarge),
    "an endless snapshot": (answered("metadata/2.snapshot", endless), ListTooLarge),
    "an endless list": (answered("targets/", endless), ListTooLarge),
    "an endless checkpoint": (answered("log/checkpoint", endless), ListTooLarge),
    "an endless bundle of the log": (answered("log/tile/", endless), ListTooLarge),
    "a timestamp that breaks off": (answered("metadata/timestamp", broken_off), ListUnavailable),
    "a list that breaks off": (answered("targets/", broken_off), ListUnavailable),
    "a checkpoint that breaks off": (answered("log/checkpoint", broken_off), ListUnavailable),
    "JSON without bottom": (answered("metadata/timestamp", deep_json), ListMalformed),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_it_is_refused_by_its_own_error_and_nothing_is_stored_or_trusted(client: Client, name: str) -> None:
    break_it, error = SCENARIOS[name]
    break_it(client.simulator, client)
    refused(client, error)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "an older list"])
def test_when_the_right_files_are_served_again_the_client_goes_on(client: Client, name: str) -> None:
    fleet = client.simulator
    right = copy.copy(fleet)
    right.server, right.entries, right.roots = MemoryServer(), list(fleet.entries), list(fleet.roots)
    right.server.contents = fleet.snapshot()
    break_it, error = SCENARIOS[name]
    break_it(fleet, client)
    with pytest.raises(error):
        client.fleet().refresh()
    client.simulator = right
    right.publish_list(9, [client.alpha, "beta"])
    assert client.fleet().refresh().epoch == 9


def test_an_endless_answer_is_broken_off(client: Client) -> None:
    name = newest(client.simulator, client, "metadata/timestamp")
    client.simulator.server.chunks_sent = 0
    with client.simulator.server.answering(name, endless), pytest.raises(ListTooLarge):
        client.fleet().refresh()
    assert client.simulator.server.chunks_sent < 100


def test_a_client_fetches_no_more_than_it_needs(client: Client) -> None:
    client.simulator.server.asked.clear()
    client.simulator.publish_list(2, [client.alpha])
    client.fleet().refresh()
    asked = client.simulator.server.asked
    assert len(asked) == len(set(asked))
    assert len(asked) <= 7


def test_a_listed_cohort_gets_its_vault_and_carries_what_both_parties_saw(client: Client) -> None:
    trusted = FleetCohorts(client.fleet()).verify(client.thm.cohort.public_key)
    assert (trusted.name, trusted.epoch, trusted.evidence) == ("alpha", 1, bytes(32))


def test_a_first_use_of_a_broken_fleet_leaves_nothing_behind(client: Client, tmp_path: Path) -> None:
    client.simulator.publish_list(2, [client.alpha], signed_by=["operator-list"])
    fresh = Client(client.simulator, tmp_path / "fresh", client.thm)
    with pytest.raises(SignatureMissing):
        fresh.create()
    assert not (fresh.state / "current").exists()
    assert [path.name for path in fresh.state.iterdir()] == ["lock"]


@pytest.mark.parametrize("bits", [512, 1024, 2048, 3071])
def test_a_weak_key_is_not_even_imported(bits: int) -> None:
    pem = rsa_key(bits).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(WeakKey):
        import_public_key(pem, Party.OPERATOR)
