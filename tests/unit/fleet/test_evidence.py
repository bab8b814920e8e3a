"""Evidence: what is accepted, how it is marked, and that each thing that is wrong is refused with its own text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from hwkm.errors import EvidenceRefused, FormatError
from hwkm.fleet.evidence.cohort import combine, sign_presence, verify_cohort, verify_member
from hwkm.fleet.evidence.findings import Finding, Proof, Trust
from hwkm.formats.evidence import CohortEvidence, MemberEvidence, Presence
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey
from tests import evidence_world as world
from tests.evidence_world import NOW_S, Forged

AUDITOR = PrivateNoteKey("auditor.example", SecretBytes(b"a" * 32))
STRANGER = PrivateNoteKey("auditor.example", SecretBytes(b"b" * 32))
NOBODY = Trust(NOW_S)


def public(key: PrivateNoteKey) -> NoteKey:
    return key.public(KeyType.ED25519)


def trusting(*challengers: PrivateNoteKey, maker: str = "maker") -> Trust:
    return Trust(NOW_S, (world.maker(maker),), tuple(map(public, challengers)))


def challenged() -> Forged:
    member = Forged()
    member.answers(member.challenged(AUDITOR))
    return member


def marks(findings: list[Finding]) -> list[Proof]:
    return [finding.proof for finding in findings]


def shared(number: int, **changes: Any) -> Forged:
    return Forged(label=f"m{number}", member=number, members=3, **changes)


class TestMarks:
    def test_a_tpm_that_a_trusted_outsider_challenged_proves_keys_and_pcrs(self) -> None:
        findings = verify_member(challenged().evidence(), trusting(AUDITOR))
        assert marks(findings) == [Proof.HARDWARE] * 3 + [Proof.OPERATOR] * 3
        assert "shown to auditor.example" in findings[0].by
        assert "CN=root of maker" in findings[0].by

    def test_without_roots_a_program_passes_for_a_tpm_and_everything_is_the_operators_word(self) -> None:
        findings = verify_member(challenged().evidence(), Trust(NOW_S, (), (public(AUDITOR),)))
        assert set(marks(findings)) == {Proof.OPERATOR}
        assert "--ek-root" in findings[0].by

    def test_without_a_challenge_it_is_the_operators_word(self) -> None:
        findings = verify_member(Forged().evidence(), trusting(AUDITOR))
        assert set(marks(findings)) == {Proof.OPERATOR}
        assert "no outsider challenged" in findings[0].by

    def test_a_challenge_by_somebody_else_of_the_same_name_is_the_operators_word(self) -> None:
        findings = verify_member(challenged().evidence(), trusting(STRANGER))
        assert set(marks(findings)) == {Proof.OPERATOR}
        assert "not among those you trust" in findings[0].by

    def test_without_a_certificate_it_is_the_operators_word(self) -> None:
        findings = verify_member(Forged(overridden={"endorsement": None}).evidence(), trusting(AUDITOR))
        assert set(marks(findings)) == {Proof.OPERATOR}
        assert "nobody certified" in findings[0].by

    def test_whatever_a_token_tells_is_the_operators_word(self) -> None:
        findings = verify_member(Forged().evidence(module=world.token_module()), trusting(AUDITOR))
        assert set(marks(findings)) == {Proof.OPERATOR}


def put(**changes: Any) -> Callable[[Forged], MemberEvidence]:
    """Put something into the module before it is signed."""

    def damaged(member: Forged) -> MemberEvidence:
        made = {key: value(member) if callable(value) else value for key, value in changes.items()}
        member.overridden.update(made)
        return member.evidence()

    return damaged


def say(**changes: Any) -> Callable[[Forged], MemberEvidence]:
    """Put something into the statement before it is signed."""
    return lambda member: member.evidence(**changes)


def certify(what: str, **changes: Any) -> Callable[[Forged], Any]:
    return lambda member: member.says(world.CERTIFY, world.certified(member.public(what)), **changes)


OTHER = world.ec_key("other")
BROKEN: dict[str, tuple[Callable[[Forged], MemberEvidence], str]] = {
    "signed by another audit key": (
        lambda member: world.signed_by(OTHER, member.evidence().statement),
        "not signed by its audit key",
    ),
    "audit key off the curve": (say(audit_key="04" + "11" * 64), "not on P-256"),
    "number too high": (say(member=1), "its number is 1, and there are 1 members"),
    "attestation key not restricted": (
        put(attestation_public=lambda m: world.ecc_public(m.attestation_key, world.STAYS | world.SIGN,
                                                          world.ECDSA).hex()),
        "the attestation key has other attributes",
    ),
    "attestation key that is none": (put(attestation_public="0023000b"), "the attestation key: a public area is cut"),
    "audit key could leave": (
        put(audit_public=lambda m: world.ecc_public(m.audit_key, world.MADE | world.SIGN, world.ECDSA).hex()),
        "the audit key has other attributes",
    ),
    "audit key of the statement is another": (
        put(audit_public=lambda m: world.ecc_public(OTHER, world.STAYS | world.SIGN, world.ECDSA).hex()),
        "the audit key of the statement is not the one in the TPM",
    ),
    "cohort key could leave": (
        put(cohort_public=lambda m: world.ecc_public(m.cohort_key, world.MADE | world.DECRYPT,
                                                     world.ECDH).hex()),
        "the cohort key has other attributes",
    ),
    "cohort key with a second way to use it": (
        put(cohort_public=lambda m: world.ecc_public(m.cohort_key, world.STAYS | world.DECRYPT, world.ECDH,
                                                     b"p" * 32).hex()),
        "the cohort key has another policy",
    ),
    "cohort key that signs": (
        put(cohort_public=lambda m: world.ecc_public(m.cohort_key, world.STAYS | world.DECRYPT,
                                                     world.ECDSA).hex()),
        "the cohort key is made for another use",
    ),
    "cohort key on another curve": (
        put(cohort_public=lambda m: world.ecc_public(m.cohort_key, world.STAYS | world.DECRYPT, world.ECDH,
                                                     curve=4).hex()),
        "its curve is not P-256",
    ),
    "cohort key of the statement is another": (
        say(cohort_key=world.point(OTHER).hex()), "the cohort key of the statement is not the one in the TPM",
    ),
    "certificate of another object": (
        put(cohort_certified=certify("audit")), "the TPM certified another object than the cohort key",
    ),
    "certificate of the audit key of another object": (
        put(audit_certified=certify("cohort")), "the TPM certified another object than the audit key",
    ),
    "certificate by another key": (
        put(cohort_certified=lambda m: m.signed(bytes.fromhex(certify("cohort")(m).attest), OTHER)),
        "certificate of the cohort key is not signed by the attestation key",
    ),
    "certificate from an older statement": (
        put(cohort_certified=certify("cohort", extra=bytes(32))),
        "certificate of the cohort key was made for another statement",
    ),
    "certificate that no TPM made": (
        put(cohort_certified=certify("cohort", magic=0x11223344)), "no TPM made it",
    ),
    "quote in place of the certificate": (
        put(cohort_certified=lambda m: m.says(world.QUOTE, world.quoted(m.pcrs))),
        "certificate of the cohort key is another kind of statement",
    ),
    "statement of an unknown kind": (
        put(cohort_certified=lambda m: m.says(0x8019, b"")), "kind 0x8019 is not known",
    ),
    "statement that goes on": (
        put(cohort_certified=lambda m: m.says(world.CERTIFY, world.certified(m.public("cohort")) + b"\0")),
        "goes on after its end",
    ),
    "signature by another scheme": (
        put(quote=lambda m: msgspec.structs.replace(
            m.says(world.QUOTE, world.quoted(m.pcrs)), signature="0014000b" + "00" * 8)),
        "the quote: a TPM's signature: it is not ECDSA",
    ),
    "certificate in place of the quote": (put(quote=certify("cohort")), "the quote is another kind of statement"),
    "quote over fewer PCRs": (
        put(quote=lambda m: m.says(world.QUOTE, world.quoted(m.pcrs, numbers=0x7FFF))), "over other PCRs",
    ),
    "quote over another bank": (
        put(quote=lambda m: m.says(world.QUOTE, world.quoted(m.pcrs, bank=0x0004))), "over other PCRs",
    ),
    "quote over other values": (
        put(pcrs=tuple("00" * 32 for _ in range(16))), "over other values of the PCRs",
    ),
    "statements of two boots": (
        put(quote=lambda m: m.says(world.QUOTE, world.quoted(m.pcrs), resets=8)), "before and after a restart",
    ),
    "endorsement key that decrypts for anybody": (
        put(endorsement=lambda m: msgspec.structs.replace(
            m.endorsement(), public=world.rsa_public(world.rsa_key(f"ek {m.label}"), world.DECRYPT).hex())),
        "it decrypts for others",
    ),
    "certificate of another endorsement key": (
        put(endorsement=lambda m: m.endorsement(key="another")), "of another key than the endorsement key",
    ),
    "certificate from another maker": (
        put(endorsement=lambda m: m.endorsement(by="impostor")), "no valid path to a trusted root",
    ),
    "certificate of a web server": (
        put(endorsement=lambda m: m.endorsement(purpose="1.3.6.1.5.5.7.3.1")), "not that of an endorsement key",
    ),
    "certificate that is none": (
        put(endorsement=lambda m: msgspec.structs.replace(m.endorsement(), certificate="30820000")),
        "not an X.509 certificate",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_wrong_with_a_tpm_is_refused_with_its_own_text(what: str) -> None:
    damage, text = BROKEN[what]
    with pytest.raises(EvidenceRefused, match=text):
        verify_member(damage(Forged()), trusting(AUDITOR))


def answer(**changes: Any) -> Callable[[Forged], MemberEvidence]:
    def damaged(member: Forged) -> MemberEvidence:
        assert member.answer is not None
        return member.evidence(answer=msgspec.structs.replace(member.answer, **changes))

    return damaged


def challenge(**changes: Any) -> Callable[[Forged], MemberEvidence]:
    """Change the challenge and answer that."""

    def damaged(member: Forged) -> MemberEvidence:
        assert member.answer is not None
        changed = msgspec.structs.replace(member.answer.challenge, **changes)
        member.answer = msgspec.structs.replace(member.answer, challenge=changed)
        member.nonce = hashlib.sha256(changed.encode()).digest()
        return member.evidence()

    return damaged


UNANSWERED: dict[str, tuple[Callable[[Forged], MemberEvidence], str]] = {
    "wrong secret": (answer(secret="00" * 32), "the answer to the challenge is wrong"),
    "statement of an earlier moment": (say(nonce="00" * 32), "was made for another"),
    "another attestation key": (challenge(attestation="000b" + "00" * 32), "for another attestation key"),
    "another TPM": (challenge(endorsement="00" * 32), "for another TPM's endorsement key"),
    "not signed": (challenge(signature="00" * 64), "not signed by its challenger"),
    "by another": (challenge(challenger=str(public(STRANGER))), "not signed by its challenger"),
    "by no key": (challenge(challenger="nobody"), "not signed by its challenger"),
    "by a witness": (
        challenge(challenger=str(AUDITOR.public(KeyType.COSIGNATURE))), "not a key that signs notes",
    ),
    "no endorsement key": (put(endorsement=None), "answered without an endorsement key"),
}  # fmt: skip


@pytest.mark.parametrize("what", UNANSWERED)
def test_a_challenge_that_was_not_answered_right_is_refused(what: str) -> None:
    damage, text = UNANSWERED[what]
    with pytest.raises(EvidenceRefused, match=text):
        verify_member(damage(challenged()), trusting(AUDITOR))


TOKEN: dict[str, dict[str, str]] = {
    "CKA_EXTRACTABLE true, not false": {"CKA_EXTRACTABLE": "true"},
    "CKA_SENSITIVE false, not true": {"CKA_SENSITIVE": "false"},
    "CKA_NEVER_EXTRACTABLE false, not true": {"CKA_NEVER_EXTRACTABLE": "false"},
    "CKA_LOCAL false, not true": {"CKA_LOCAL": "false"},
    "CKA_SIGN true, not false": {"CKA_SIGN": "true"},
    "CKA_MODIFIABLE true, not false": {"CKA_MODIFIABLE": "true"},
}


class TestToken:
    @pytest.mark.parametrize("text", TOKEN)
    def test_attributes_of_a_key_that_could_leave_are_refused(self, text: str) -> None:
        evidence = Forged().evidence(module=world.token_module(**TOKEN[text]))
        with pytest.raises(EvidenceRefused, match=f"the cohort key has {text}"):
            verify_member(evidence, NOBODY)

    def test_an_attribute_that_is_not_told_counts_as_wrong(self) -> None:
        module = world.token_module()
        del module.audit_key["CKA_PRIVATE"]
        with pytest.raises(EvidenceRefused, match="the audit key has CKA_PRIVATE None, not true"):
            verify_member(Forged().evidence(module=module), NOBODY)

    def test_another_key_in_the_token_is_refused(self) -> None:
        evidence = Forged(cohort_label="another").evidence(module=world.token_module())
        with pytest.raises(EvidenceRefused, match="cohort key of the statement is not the one in the token"):
            verify_member(evidence, NOBODY)

    def test_a_token_cannot_have_answered(self) -> None:
        with pytest.raises(EvidenceRefused, match="cannot have answered"):
            verify_member(challenged().evidence(module=world.token_module()), NOBODY)

    @pytest.mark.parametrize("number", [0, 1])
    def test_an_unsealed_cohort_is_refused(self, number: int) -> None:
        module = world.token_module(CKA_EXTRACTABLE="true", CKA_NEVER_EXTRACTABLE="false")
        with pytest.raises(EvidenceRefused, match="not sealed: its key can still be wrapped"):
            verify_member(Forged(member=number, members=2).evidence(module=module), NOBODY)

    @pytest.mark.parametrize(
        ("number", "changes"),
        [(0, {"CKA_NEVER_EXTRACTABLE": "false"}),
         (1, {"CKA_NEVER_EXTRACTABLE": "false", "CKA_LOCAL": "false", "CKA_ALWAYS_SENSITIVE": "false"})],
    )  # fmt: skip
    def test_the_histories_of_several_members(self, number: int, changes: dict[str, str]) -> None:
        evidence = Forged(member=number, members=2).evidence(module=world.token_module(**changes))
        assert "cannot leave" in verify_member(evidence, NOBODY)[0].what


def record(**changes: Any) -> Callable[[Forged], Any]:
    return lambda member: member.shared(record=member.record(member.made_by_the_first(**changes)))


def terms(**changes: Any) -> Callable[[Forged], MemberEvidence]:
    """Let the key and its record have other terms, of which nothing else is wrong."""

    def damaged(member: Forged) -> MemberEvidence:
        made = member.cohort_terms
        member.terms = world.Terms(**{"sender": made.sender, "parents": made.parents, **changes})
        return member.evidence()

    return damaged


SHARED: dict[str, tuple[int, Callable[[Forged], MemberEvidence], str]] = {
    "no record": (1, put(shared=None), "does not say how the cohort key came to this member"),
    "record that is none": (1, put(shared=lambda m: m.shared(record="01")), "record of a cohort"),
    "key without a policy": (
        0,
        put(cohort_public=lambda m: world.ecc_public(
            m.cohort_key, world.MADE | world.ENCRYPTED_DUPLICATION | world.DECRYPT, world.ECDH).hex()),
        "the cohort key has another policy",
    ),
    "key that travels without a cover": (
        0,
        put(cohort_public=lambda m: world.ecc_public(
            m.cohort_key, world.MADE | world.DECRYPT, world.ECDH, m.cohort_terms.policy()).hex()),
        "the cohort key has other attributes",
    ),
    "another limit than the policy's": (
        0,
        lambda m: put(shared=m.shared(record=Forged(
            label="m0", members=3, terms=world.Terms(m.cohort_terms.sender, m.cohort_terms.parents, 4)
        ).record()))(m),
        "the cohort key has another policy",
    ),
    "for two members": (
        1, lambda m: terms(parents=m.cohort_terms.parents[:1])(m), "made for another number of members",
    ),
    "made by nobody": (0, put(shared=record(kind=world.CERTIFY, attested=b"")), "cut short"),
    "certified, not created": (
        0, put(shared=lambda m: m.shared(record=m.record(m.made_by_the_first(
            kind=world.CERTIFY, attested=world.certified(m.public("cohort")))))),
        "creation is another kind of statement",
    ),
    "created for another purpose": (1, put(shared=record(extra=bytes(32))), "creation is another kind of statement"),
    "another object created": (
        1, put(shared=record(attested=world.created(b"other"))), "made another object than the cohort key",
    ),
    "other creation data": (
        0, put(shared=lambda m: m.shared(record=m.record(m.made_by_the_first(
            attested=world.created(m.public("cohort"), b"other"))))),
        "created with other data",
    ),
    "creation signed by a member that joined": (
        1, put(shared=lambda m: m.shared(record=m.record(attestation=m.public("attestation")))),
        "creation is not signed by the attestation key",
    ),
    "made by another TPM": (
        0,
        lambda m: put(shared=m.shared(record=m.record(
            m.other(1).says(world.CREATION, world.created(m.public("cohort")),
                            extra=hashlib.sha256(b"hwkm cohort origin v1").digest()),
            m.other(1).public("attestation"))))(m),
        "another TPM than the first member's has made the cohort key",
    ),
    "sent by another module": (
        0, terms(sender=world.name(b"other")), "can be duplicated by another module than the first member",
    ),
    "no counter": (0, put(shared=lambda m: m.shared(counter_certified=None)), "no counter that ends the duplication"),
    "another index": (
        0,
        put(shared=lambda m: m.shared(
            counter_certified=m.says(world.NV, world.nv_certified(world.nv_public(0x01906861), 5)))),
        "another NV index than the counter",
    ),
    "part of the counter": (
        0,
        put(shared=lambda m: m.shared(
            counter_certified=m.says(world.NV, world.nv_certified(world.nv_public(), 5, offset=1)))),
        "another NV index than the counter",
    ),
    "key in place of the counter": (
        0, put(shared=lambda m: m.shared(counter_certified=certify("audit")(m))),
        "certificate of the counter is another kind of statement",
    ),
    "no storage key": (2, put(shared=lambda m: m.shared(storage_certified=None)), "no storage key to which"),
    "storage key that can leave": (
        2,
        put(shared=lambda m: m.shared(storage_public=world.ecc_public(
            world.ec_key("storage m2"), world.MADE | world.RESTRICTED | world.DECRYPT, None,
            cipher=bytes.fromhex("000600800043")).hex())),
        "the storage key has other attributes",
    ),
    "storage key that protects nothing": (
        2,
        put(shared=lambda m: m.shared(storage_public=world.ecc_public(
            world.ec_key("storage m2"), world.STAYS | world.RESTRICTED | world.DECRYPT, None).hex())),
        "the storage key is made for another use",
    ),
    "storage key of another TPM": (
        2, put(shared=lambda m: m.shared(storage_public=m.other(1).public("storage").hex())),
        "certified another object than the storage key",
    ),
    "sent to another TPM": (
        2, lambda m: terms(parents=m.cohort_terms.parents[::-1])(m), "was to go to another TPM than this member's",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", SHARED)
def test_what_is_wrong_with_a_tpm_of_several_is_refused_with_its_own_text(what: str) -> None:
    number, damage, text = SHARED[what]
    with pytest.raises(EvidenceRefused, match=text):
        verify_member(damage(shared(number)), NOBODY)


class TestSealed:
    def test_a_key_whose_counter_is_at_its_limit_can_leave_no_more(self) -> None:
        assert "can leave none any more" in verify_member(shared(0).evidence(), NOBODY)[0].what

    def test_a_member_that_joined_cannot_pass_it_on(self) -> None:
        assert "cannot leave it" in verify_member(shared(2).evidence(), NOBODY)[0].what

    def test_two_members_have_one_branch(self) -> None:
        member = Forged(label="m0", members=2)
        assert "can leave none any more" in verify_member(member.evidence(), NOBODY)[0].what

    def test_before_it_is_sealed_it_is_refused(self) -> None:
        with pytest.raises(EvidenceRefused, match="not sealed: its counter is at 4, and until 5"):
            verify_member(shared(0, counter_value=4).evidence(), NOBODY)


class TestCohort:
    def members(self) -> list[MemberEvidence]:
        return [shared(number).evidence() for number in range(3)]

    def test_members_in_any_order_make_a_cohort(self) -> None:
        made = combine(self.members()[::-1], NOW_S)
        assert [one.statement.member for one in made.members] == [0, 1, 2]
        assert CohortEvidence.parse(made.encode()) == made

    def test_the_key_of_the_list_must_be_the_key_of_the_evidence(self) -> None:
        made = combine(self.members(), NOW_S)
        verify_cohort(made, NOBODY, world.point(world.ec_key("cohort")))
        with pytest.raises(EvidenceRefused, match="about another key than the cohort's"):
            verify_cohort(made, NOBODY, world.point(OTHER))

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda m: m[:2], "member 2 of 3 is missing"),
            (lambda m: m[2:], "member 0, 1 of 3 is missing"),
            (lambda m: [*m, shared(2).evidence()], "stands there twice"),
            (lambda m: [*m[:2], shared(2, cohort_label="another").evidence()], "different cohort keys"),
            (
                lambda m: [*m[:2], Forged(label="x", member=2, members=4).evidence()],
                "do not agree on how many",
            ),
            (lambda m: [*m[:2], Forged(label="m1", member=2, members=3).evidence()], "one and the same"),
            (lambda m: [*m[:2], shared(2).evidence(module=world.token_module("m2"))], "different kinds"),
            (lambda m: [shared(0, counter_value=4).evidence(), *m[1:]], "member 0: the cohort is not sealed"),
            (lambda m: [*m[:2], terms(limit=6)(shared(2))], "not one and the same object"),
        ],
    )
    def test_members_that_do_not_belong_together_are_refused(
        self, change: Callable[[list[MemberEvidence]], list[MemberEvidence]], text: str
    ) -> None:
        with pytest.raises(EvidenceRefused, match=text):
            combine(change(self.members()), NOW_S)

    def test_those_present_sign_for_all_members(self) -> None:
        signed = sign_presence(sign_presence(combine(self.members(), NOW_S), AUDITOR), STRANGER)
        again = sign_presence(signed, AUDITOR)
        assert verify_cohort(again, NOBODY).present == (public(STRANGER), public(AUDITOR))
        other = [shared(0).evidence(made_at=NOW_S + 1), *self.members()[1:]]
        moved = msgspec.structs.replace(combine(other, NOW_S), present=signed.present)
        with pytest.raises(EvidenceRefused, match="a signature of somebody present"):
            verify_cohort(moved, NOBODY)

    @pytest.mark.parametrize("key", ["nobody", str(AUDITOR.public(KeyType.COSIGNATURE))])
    def test_a_presence_without_a_right_key_is_refused(self, key: str) -> None:
        presence = Presence(key=key, signature="00" * 64)
        made = msgspec.structs.replace(combine(self.members(), NOW_S), present=(presence,))
        with pytest.raises(EvidenceRefused, match="a signature of somebody present"):
            verify_cohort(made, NOBODY)


class TestFiles:
    def test_each_file_has_one_spelling(self) -> None:
        data = Forged().evidence().encode()
        assert MemberEvidence.parse(data).encode() == data
        for other in (
            data + b"\n",
            data[:-1],
            data.replace(b":", b": ", 1),
            data.replace(b"{", b'{"x":1,', 1),
        ):
            with pytest.raises(FormatError):
                MemberEvidence.parse(other)

    @pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b'{"signature":"00"}', b"[" * 100_000])
    def test_what_is_no_evidence_is_refused(self, data: bytes) -> None:
        for kind in (MemberEvidence, CohortEvidence):
            with pytest.raises(FormatError):
                kind.parse(data)

    def test_what_is_too_large_is_refused(self) -> None:
        with pytest.raises(FormatError, match="at most"):
            MemberEvidence.parse(b" " * (512 * 1024 + 1))
        with pytest.raises(FormatError, match="at most"):
            CohortEvidence.parse(b" " * (16 * 1024 * 1024 + 1))
