"""Evidence by real hardware: a SoftHSM, a swtpm, and a swtpm whose maker certified its endorsement key."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPMA_NV
from tpm2_pytss.types import TPM2B_NV_PUBLIC, TPMS_NV_PUBLIC

from hwkm.crypto.p256 import load_point
from hwkm.errors import EvidenceRefused, EvidenceUnavailable
from hwkm.fleet.evidence import tpm as rules
from hwkm.fleet.evidence.challenge import Drawn, make_challenge
from hwkm.fleet.evidence.cohort import combine, verify_cohort, verify_member
from hwkm.fleet.evidence.findings import Proof, Trust
from hwkm.formats.evidence import Challenge, MemberEvidence, TpmModule, extra_data
from hwkm.formats.tpm_structures import parse_ecc_public
from hwkm.secret import Pin, SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from hwkm.tokens import registry
from hwkm.tokens.tpm import templates
from hwkm.tokens.tpm.connection import Connection
from hwkm.wire import core_messages as wire
from tests.contract import cohorts
from tests.contract.devices import Device, MemoryDevice, SwtpmDevice, opened, provision
from tests.core_process import CoreProcess, core_settings
from tests.hardware import TpmMaker
from tests.vectors.make_evidence import evidence

pytestmark = pytest.mark.needs("swtpm", "swtpm_setup", "softhsm2-util")

AUDITOR = PrivateNoteKey("auditor.example", SecretBytes(b"a" * 32))


def drawn() -> Drawn:
    return Drawn(SecretBytes(b"s" * 32), SecretBytes(b"t" * 32))


def trusting(maker: TpmMaker) -> Trust:
    root = x509.load_pem_x509_certificate(maker.root.read_bytes())
    return Trust(int(time.time()), (root,), (AUDITOR.public(KeyType.ED25519),))


@pytest.fixture
def maker(tmp_path: Path) -> TpmMaker:
    return TpmMaker(tmp_path / "maker")


@pytest.fixture
def certified(maker: TpmMaker) -> Iterator[SwtpmDevice]:
    """A provisioned swtpm that its maker certified."""
    device = SwtpmDevice(maker=maker)
    try:
        provision(device)
        yield device
    finally:
        device.stop()


def by_the_core(device: Device, nodes: Path, challenge: bytes = b"") -> wire.CoreStarted:
    settings = core_settings(device, nodes)  # type: ignore[arg-type]
    with CoreProcess(device) as core:  # type: ignore[arg-type]
        return core.start(wire.MakeEvidence(settings=settings, made_at=1, challenge=challenge))


def test_the_core_makes_evidence_that_verifies(hardware: Device, tmp_path: Path) -> None:
    made = by_the_core(hardware, tmp_path / "nodes.db")
    assert isinstance(made, wire.EvidenceMade), made
    member = MemberEvidence.parse(made.evidence)
    findings = verify_member(member, Trust(int(time.time())))
    assert {finding.proof for finding in findings} == {Proof.OPERATOR}
    software = member.statement.software
    assert "hwkm/thm/opening.py" in software.files
    assert any("softhsm" in path or "tss2" in path for path in software.libraries)
    with opened(hardware) as token:
        assert member.statement.cohort_key == token.cohort_key.public_key().hex()


def test_mere_memory_has_no_evidence(tmp_path: Path) -> None:
    device = MemoryDevice()
    try:
        provision(device)
        refused = by_the_core(device, tmp_path / "nodes.db")
    finally:
        device.stop()
    assert isinstance(refused, wire.Failed)
    assert refused.code == EvidenceUnavailable.code


def test_a_token_cannot_answer_a_challenge(softhsm: Device, tmp_path: Path, certified: SwtpmDevice) -> None:
    with opened(certified) as token:
        challenge = make_challenge(evidence(token), AUDITOR, drawn())
    refused = by_the_core(softhsm, tmp_path / "nodes.db", challenge.encode())
    assert isinstance(refused, wire.Failed)
    assert (refused.code, "no endorsement key" in refused.message) == (EvidenceUnavailable.code, True)


class TestChallenge:
    def test_a_tpm_that_answers_proves_where_its_keys_are(
        self, certified: SwtpmDevice, maker: TpmMaker, tmp_path: Path
    ) -> None:
        first = by_the_core(certified, tmp_path / "nodes.db")
        assert isinstance(first, wire.EvidenceMade), first
        challenge = make_challenge(MemberEvidence.parse(first.evidence), AUDITOR, drawn())
        second = by_the_core(certified, tmp_path / "nodes.db", challenge.encode())
        assert isinstance(second, wire.EvidenceMade), second
        member = MemberEvidence.parse(second.evidence)
        with_chain = with_intermediates(member, certified, maker)
        findings = verify_member(with_chain, trusting(maker))
        assert [finding.proof for finding in findings[:3]] == [Proof.HARDWARE] * 3
        with pytest.raises(EvidenceRefused, match="no valid path to a trusted root"):
            verify_member(with_chain, trusting(TpmMakerOfOthers(tmp_path / "others")))

    def test_the_challenge_of_another_tpm_is_not_answered(
        self, certified: SwtpmDevice, maker: TpmMaker
    ) -> None:
        other = SwtpmDevice(maker=maker)
        try:
            provision(other)
            with opened(other) as token:
                theirs = make_challenge(evidence(token), AUDITOR, drawn())
        finally:
            other.stop()
        with opened(certified) as token:
            ours = make_challenge(evidence(token), AUDITOR, drawn())
            for challenge, text in [
                (theirs, "for another attestation key"),
                (msgspec.structs.replace(theirs, attestation=ours.attestation), "for another TPM"),
                (msgspec.structs.replace(ours, credential=theirs.credential), "cannot read the challenge"),
                (msgspec.structs.replace(ours, commitment="00" * 32), "does not hold the secret"),
            ]:
                with pytest.raises(EvidenceUnavailable, match=text):
                    token.answer(challenge)
            assert token.answer(ours).secret == (b"s" * 32).hex()

    def test_every_bit_of_the_credential_counts(self, certified: SwtpmDevice) -> None:
        with opened(certified) as token:
            ours = make_challenge(evidence(token), AUDITOR, drawn())
            sealed = bytes.fromhex(ours.credential)
            for at in range(2, len(sealed), 13):
                with pytest.raises(EvidenceUnavailable):
                    token.answer(msgspec.structs.replace(ours, credential=flipped(sealed, at).hex()))
            assert token.answer(ours).secret == (b"s" * 32).hex()

    @pytest.mark.parametrize("index", [0x01C0000A, 0x01C00012, 0x01C00014])
    def test_every_profile_of_endorsement_keys_answers(self, swtpm: SwtpmDevice, index: int) -> None:
        """Whatever the certificate says: the key is made by the profile that goes with its index."""
        define_index(swtpm, index, bytes.fromhex("3082000400000000"))
        with opened(swtpm) as token:
            challenge = make_challenge(evidence(token), AUDITOR, drawn())
            assert token.answer(challenge).secret == (b"s" * 32).hex()

    def test_a_tpm_without_a_certificate_answers_nothing(self, swtpm: Device, certified: SwtpmDevice) -> None:
        with opened(certified) as token:
            challenge = make_challenge(evidence(token), AUDITOR, drawn())
        with opened(swtpm) as token, pytest.raises(EvidenceUnavailable, match="no certificate"):
            token.answer(challenge)


def test_three_tpms_prove_where_the_key_of_their_cohort_is(maker: TpmMaker) -> None:
    devices = [SwtpmDevice(maker=maker) for _ in range(3)]
    try:
        whole_cohort_of_tpms(devices)
        members = [answered(device, maker) for device in devices]
    finally:
        for device in devices:
            device.stop()
    found = verify_cohort(combine(members, int(time.time())), trusting(maker))
    assert found.in_hardware
    told = [findings[0].what for findings in found.members]
    assert "was made in this TPM and can leave none any more" in told[0]
    assert all("came from the first member's TPM into this one" in text for text in told[1:])
    with pytest.raises(EvidenceRefused, match="member 2 of 3 is missing"):
        combine(members[:2], int(time.time()))


def whole_cohort_of_tpms(members: Sequence[SwtpmDevice]) -> None:
    """The key of TPMs names its members when it is made, so they ask first."""
    first, *others = members
    asked = [cohorts.request(device) for device in others]
    named = [(request, cohorts.fingerprint_of(request)) for request in asked]
    with Pin(first.pin) as pin:
        registry.create_cohort(first.uri, pin, len(members), requests=named)
    for number, (device, request) in enumerate(zip(others, asked, strict=True), start=1):
        cohorts.join(device, cohorts.invite(first, request, number), cohorts.sender_of(first))
    cohorts.seal(first)


def answered(device: SwtpmDevice, maker: TpmMaker) -> MemberEvidence:
    """A member's evidence after a challenge."""
    with opened(device) as token:
        challenge = make_challenge(evidence(token), AUDITOR, drawn())
        return evidence(token, challenge, maker.intermediates_der())


def test_certificates_above_the_tpms_own_are_read_from_the_tpm(
    certified: SwtpmDevice, maker: TpmMaker, tmp_path: Path
) -> None:
    """As some makers put them there (TCG EK Credential Profile): one after the other, and padded."""
    (der,) = maker.intermediates_der()
    define_index(certified, 0x01C00100, der + bytes(16))
    with opened(certified) as token:
        module = evidence(token, make_challenge(evidence(token), AUDITOR, drawn())).statement.module
    assert isinstance(module, TpmModule)
    assert module.endorsement is not None
    assert module.endorsement.intermediates == (der.hex(),)


def test_an_endorsement_hierarchy_with_a_secret_gives_no_evidence(certified: SwtpmDevice) -> None:
    connection = Connection(f"swtpm:path={certified.socket_path}")
    try:
        connection.esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"secret")
    finally:
        connection.close()
    with opened(certified) as token, pytest.raises(EvidenceUnavailable, match="authorisation value"):
        evidence(token)


def test_the_rules_ask_for_the_attributes_that_keys_are_made_with() -> None:
    assert int(rules.COHORT) == int(templates.COHORT_ATTRIBUTES)
    assert int(rules.AUDIT) == int(templates.AUDIT_ATTRIBUTES)
    assert int(rules.ATTESTATION) == int(templates.ATTESTATION_ATTRIBUTES)


@pytest.mark.needs("openssl", "tpm2_checkquote")
def test_other_programs_verify_what_the_tpm_signed(certified: SwtpmDevice, tmp_path: Path) -> None:
    """``tpm2_checkquote`` reads the quote, OpenSSL the certificates."""
    with opened(certified) as token:
        statement = evidence(token).statement
    module = statement.module
    assert isinstance(module, TpmModule)
    key = load_point(parse_ecc_public(bytes.fromhex(module.attestation_public)).point)
    write(tmp_path / "key.pem", key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert isinstance(key, ec.EllipticCurvePublicKey)
    write(tmp_path / "quote", bytes.fromhex(module.quote.attest))
    write(tmp_path / "signature", bytes.fromhex(module.quote.signature))
    nonce = extra_data(bytes.fromhex(statement.nonce)).hex()
    command = [
        "tpm2_checkquote",
        "-u",
        "key.pem",
        "-m",
        "quote",
        "-s",
        "signature",
        "-g",
        "sha256",
        "-q",
        nonce,
    ]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    write(tmp_path / "quote", flipped(bytes.fromhex(module.quote.attest), 60))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0


class TpmMakerOfOthers(TpmMaker):
    """A maker who has made nothing of ours."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.manufacture(directory / "state")


def with_intermediates(member: MemberEvidence, device: SwtpmDevice, maker: TpmMaker) -> MemberEvidence:
    """As ``hwkmd evidence --ek-intermediates`` makes it, of what was answered."""
    answer = member.statement.answer
    assert answer is not None
    with opened(device) as token:
        return evidence(token, answer.challenge, maker.intermediates_der())


def define_index(device: SwtpmDevice, index: int, data: bytes) -> None:
    """Put data into the TPM's memory as its maker does, readable for all."""
    attributes = TPMA_NV.OWNERWRITE | TPMA_NV.AUTHREAD | TPMA_NV.OWNERREAD | TPMA_NV.NO_DA
    public = TPM2B_NV_PUBLIC(
        TPMS_NV_PUBLIC(nvIndex=index, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=len(data))
    )
    connection = Connection(f"swtpm:path={device.socket_path}")
    try:
        item = connection.esapi.nv_define_space(b"", public)
        for at in range(0, len(data), 512):
            connection.esapi.nv_write(item, data[at : at + 512], at, ESYS_TR.OWNER)
    finally:
        connection.close()


def flipped(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def test_a_challenge_has_one_spelling(certified: SwtpmDevice) -> None:
    with opened(certified) as token:
        challenge = make_challenge(evidence(token), AUDITOR, drawn())
    assert Challenge.parse(challenge.encode()) == challenge
