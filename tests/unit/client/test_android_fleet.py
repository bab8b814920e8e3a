"""Android's lists as a client's source: verified at each use, no older than seen, nothing kept of what is refused."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hwkm.client.cohort import Basis
from hwkm.client.fleet import AndroidFleet, FleetCohorts, ListKind, PinnedFleet
from hwkm.client.fleet.android import parse_root
from hwkm.client.fleet.fetching import FleetFiles
from hwkm.errors import (
    CertificateInvalid,
    CohortMismatch,
    ConfigError,
    HwkmError,
    ListConflict,
    ListDowngrade,
    ListMalformed,
    ListSignatureInvalid,
    ListTooLarge,
    ListUnavailable,
)
from tests.android_world import NOW, AndroidList, digest, issue, rsa_key
from tests.fleet_simulator import BASE, MemoryServer, broken_off, endless
from tests.unit.client.thm_half import ThmHalf
from tests.vectors.files import load


class Publisher:
    """Serves lists from memory; a client trusts its root."""

    def __init__(self, state: Path) -> None:
        self.list = AndroidList()
        self.server = MemoryServer()
        self.state = state

    def publish(self, serial: int) -> None:
        self.list.serial = str(serial)
        self.serve(*self.list.files())

    def serve(self, cert_xml: bytes, sig_xml: bytes) -> None:
        self.server.contents = {"cert.xml": cert_xml, "cert.sig.xml": sig_xml}

    def client(self, now: float = NOW) -> AndroidFleet:
        files = FleetFiles(BASE, self.server)
        return AndroidFleet(self.list.root.certificate, files, self.state, now=lambda: now)

    def remembered(self) -> bytes:
        return (self.state / "current" / "seen.json").read_bytes()


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    made = Publisher(tmp_path / "state")
    made.publish(7)
    assert made.client().refresh().epoch == 7
    return made


def test_its_endpoints_are_cohorts_by_the_word_of_one_party(publisher: Publisher) -> None:
    fleet = publisher.client().refresh()
    assert (fleet.epoch, len(fleet.cohorts)) == (7, 2)
    assert {cohort.basis for cohort in fleet.cohorts} == {Basis.ANDROID}
    assert {cohort.epoch for cohort in fleet.cohorts} == {7}
    key = fleet.cohorts[1].public_key
    assert FleetCohorts(publisher.client()).verify(key) == fleet.cohorts[1]
    assert fleet.cohorts[1].name == f"android-{digest(key).hex()[:16]}"
    with pytest.raises(CohortMismatch):
        FleetCohorts(publisher.client()).verify(ThmHalf().cohort.public_key)


def test_a_newer_list_takes_the_place_of_the_older_for_good(publisher: Publisher) -> None:
    old = publisher.list.files()
    publisher.publish(8)
    assert publisher.client().refresh().epoch == 8
    publisher.serve(*old)
    with pytest.raises(ListDowngrade, match="8 was seen"):
        publisher.client().refresh()


def other_content(publisher: Publisher) -> None:
    publisher.list.metadata = ""
    publisher.publish(7)


def older(publisher: Publisher) -> None:
    publisher.publish(6)


def other_signer(publisher: Publisher) -> None:
    cert_xml = publisher.list.cert_xml()
    publisher.serve(cert_xml, publisher.list.sig_xml(cert_xml, rsa_key("stranger")))


def other_root(publisher: Publisher) -> None:
    stranger = dataclasses.replace(AndroidList(), serial="8", root=issue("root", rsa_key("other"), ca=True))
    publisher.serve(*stranger.files())


def one_changed_byte(publisher: Publisher) -> None:
    publisher.publish(8)
    data = publisher.server.contents["cert.xml"]
    publisher.server.contents["cert.xml"] = data.replace(b"<serial>8<", b"<serial>9<")


def half(name: str) -> Callable[[Publisher], None]:
    def change(publisher: Publisher) -> None:
        publisher.publish(8)
        data = publisher.server.contents[name]
        publisher.server.contents[name] = data[: len(data) // 2]

    return change


def without(name: str) -> Callable[[Publisher], None]:
    def change(publisher: Publisher) -> None:
        del publisher.server.contents[name]

    return change


def same_key_twice(publisher: Publisher) -> None:
    publisher.list.endpoints = [publisher.list.endpoints[0]] * 2
    publisher.publish(8)


@pytest.mark.parametrize(
    ("break_it", "error"),
    [
        (older, ListDowngrade),
        (other_content, ListConflict),
        (other_signer, ListSignatureInvalid),
        (one_changed_byte, ListSignatureInvalid),
        (other_root, CertificateInvalid),
        (half("cert.xml"), ListSignatureInvalid),
        (half("cert.sig.xml"), ListMalformed),
        (without("cert.xml"), ListUnavailable),
        (without("cert.sig.xml"), ListUnavailable),
        (same_key_twice, ListMalformed),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_is_refused_leaves_what_was_seen(
    publisher: Publisher, break_it: Callable[[Publisher], None], error: type[HwkmError]
) -> None:
    before = publisher.remembered()
    break_it(publisher)
    with pytest.raises(HwkmError) as caught:
        publisher.client().refresh()
    assert type(caught.value) is error
    assert publisher.remembered() == before


def test_certificates_that_are_no_longer_valid_are_refused(publisher: Publisher) -> None:
    with pytest.raises(CertificateInvalid):
        publisher.client(NOW + 200 * 86_400).refresh()


@pytest.mark.parametrize("name", ["cert.xml", "cert.sig.xml"])
def test_answers_without_end_or_that_break_off(publisher: Publisher, name: str) -> None:
    with publisher.server.answering(name, endless), pytest.raises(ListTooLarge, match="larger"):
        publisher.client().refresh()
    with publisher.server.answering(name, broken_off), pytest.raises(ListUnavailable):
        publisher.client().refresh()
    assert publisher.client().refresh().epoch == 7


def test_what_was_seen_is_not_lost_in_silence(publisher: Publisher) -> None:
    (publisher.state / "current" / "seen.json").write_text("{}")
    with pytest.raises(ConfigError):
        publisher.client().refresh()


class TestPinned:
    def test_root_source_and_kind_are_remembered_together(self, tmp_path: Path) -> None:
        mirror, pinned = tmp_path / "mirror", PinnedFleet(tmp_path / "config" / "fleet")
        published = AndroidList()
        days = (0, 36_500)
        published.root = issue("root", rsa_key("root"), ca=True, days=days)
        published.intermediate = issue(
            "intermediate", rsa_key("intermediate"), published.root, ca=True, path_length=1, days=days
        )
        published.signer = issue("signer", rsa_key("signer"), published.intermediate, days=days)
        published.intermediates = [published.intermediate]
        published.endpoints = [issue("endpoint", ThmHalf()._private, published.intermediate, days=days)]
        mirror.mkdir()
        for name, data in zip(("cert.xml", "cert.sig.xml"), published.files(), strict=True):
            (mirror / name).write_bytes(data)
        root = published.root.certificate.public_bytes(Encoding.PEM)
        verified = pinned.pin(root, str(mirror), ListKind.ANDROID)
        assert PinnedFleet(pinned.directory).source().refresh() == verified
        with pytest.raises(ConfigError):
            pinned.pin(b"no certificate", str(mirror), ListKind.ANDROID)
        assert PinnedFleet(pinned.directory).source().refresh() == verified


def test_the_list_that_google_publishes_gives_cohorts(tmp_path: Path) -> None:
    vector = load("production_cert_list.json")
    server = MemoryServer()
    server.contents = {
        "cert.xml": vector["cert_xml_utf8"].encode(),
        "cert.sig.xml": vector["sig_xml_utf8"].encode(),
    }
    root = parse_root(base64.b64decode(vector["root"]["der_base64"]), "the vector")
    at = vector["validation_time_unix"]
    fleet = AndroidFleet(root, FleetFiles(BASE, server), tmp_path / "state", now=lambda: at).refresh()
    keys = [cohort.public_key.hex() for cohort in fleet.cohorts]
    assert (fleet.epoch, keys) == (
        vector["expected"]["serial"],
        vector["expected"]["endpoint_public_keys_hex"],
    )
