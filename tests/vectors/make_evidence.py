"""Makes ``hwkm_evidence.json`` anew, by a real swtpm and a real SoftHSM: ``python -m tests.vectors.make_evidence``.

What hardware signs cannot be computed a second time, so these vectors are not made by ``independent.py``.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from pathlib import Path

from hwkm.fleet.evidence.challenge import Drawn, make_challenge
from hwkm.fleet.evidence.cohort import combine, sign_presence
from hwkm.formats.evidence import Challenge, MemberEvidence, Software, Statement, nonce_of
from hwkm.secret import SecretBytes
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from hwkm.tokens.token import Token
from tests.contract.devices import SoftHsmDevice, SwtpmDevice, opened, provision
from tests.hardware import TpmMaker, short_directory
from tests.vectors.files import DIRECTORY

NAME = "hwkm_evidence.json"
MADE_AT = 1_795_600_000


def secret(name: str) -> SecretBytes:
    return SecretBytes(hashlib.sha256(b"hwkm test vector: " + name.encode()).digest())


def evidence(
    token: Token, challenge: Challenge | None = None, intermediates: tuple[bytes, ...] = ()
) -> MemberEvidence:
    """As the core makes it, of little software."""
    nonce = nonce_of(challenge) if challenge else secret("evidence nonce").expose()
    statement = Statement(
        answer=token.answer(challenge) if challenge else None,
        audit_key=token.audit_key.public_key().hex(),
        cohort_key=token.cohort_key.public_key().hex(),
        made_at=MADE_AT,
        member=token.membership.number,
        members=token.membership.members,
        module=token.evidence(nonce, intermediates),
        nonce=nonce.hex(),
        software=Software(files={"hwkm/__init__.py": "00" * 32}, libraries={}, versions={"hwkm": "0.1.0"}),
    )
    return MemberEvidence(
        signature=token.audit_key.sign(statement.signed_digest()).hex(), statement=statement
    )


def document() -> dict[str, object]:
    auditor = PrivateNoteKey("auditor.example", secret("evidence auditor"))
    with ExitStack() as stack:
        maker = TpmMaker(short_directory() / "maker")
        tpm = SwtpmDevice(maker=maker)
        stack.callback(tpm.stop)
        provision(tpm)
        with opened(tpm) as token:
            drawn = Drawn(secret("evidence secret"), secret("evidence seed"))
            challenge = make_challenge(evidence(token), auditor, drawn)
            in_tpm = evidence(token, challenge, maker.intermediates_der())
        hsm = SoftHsmDevice()
        stack.callback(hsm.stop)
        with hsm.activated():
            provision(hsm)
            with opened(hsm) as token:
                in_token = evidence(token)
        root = maker.root.read_text()
    made = {name: combine([member], MADE_AT) for name, member in (("tpm", in_tpm), ("pkcs11", in_token))}
    signed = {name: sign_presence(cohort, auditor).encode().decode() for name, cohort in made.items()}
    return {
        "spec": "docs/spec/evidence.md",
        "source": "swtpm and SoftHSM, by tests/vectors/make_evidence.py",
        "at": MADE_AT,
        "auditor": str(auditor.public(KeyType.ED25519)),
        "root": root,
        "tpm": {"member": in_tpm.encode().decode(), "cohort": signed["tpm"]},
        "pkcs11": {"member": in_token.encode().decode(), "cohort": signed["pkcs11"]},
    }


if __name__ == "__main__":
    text = json.dumps(document(), indent=1, ensure_ascii=False) + "\n"
    Path(DIRECTORY / NAME).write_text(text, encoding="utf-8")
