"""The ceremony of docs/operations/ceremony.md, run as it stands there, and with keys in a token."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from tests.cli.conftest import Ceremony
from tests.cli.documents import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.needs("swtpm", "swtpm_setup", "openssl"),
]


def test_the_document_is_a_ceremony_that_works(ceremony: Ceremony) -> None:
    directory, steps = ceremony
    assert len(steps) == 13
    printed = "".join(output for _, output in steps)
    assert printed.count("Verified: epoch 1, 1 cohort.") == 2
    assert "hardware  its cohort key was made in one TPM and is fixed there for ever" in printed
    assert "published root 1" in printed
    assert "published list 1" in printed
    assert "published root 2" in printed
    assert {path.name for path in (directory / "fleet" / "public" / "metadata").iterdir()} >= {
        "1.root.json", "2.root.json", "1.targets.json", "timestamp.json",
    }  # fmt: skip


def test_a_dry_run_shows_what_is_signed_and_changes_nothing(
    ceremony: Ceremony,
) -> None:
    """What is proposed, and what each party signs, has one hash."""
    _, steps = ceremony
    for name, others in (("init-root", 0), ("propose", 1)):
        (output,) = [printed for script, printed in steps if f"hwkm fleet {name} fleet" in script]
        digests = re.findall(r"signed bytes +SHA-256 ([0-9a-f]{64})", output)
        assert digests[0] == digests[1]
        assert len(set(digests)) == 1 + others, "the staged root is shown with the list"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("hwkm fleet init-root fleet root.toml", "has a root already"),
        ("hwkm fleet sign fleet --key operator.pem --passphrase-file passphrase", "nothing is staged"),
        ("hwkm fleet propose fleet missing.toml", "missing.toml"),
        ("hwkm fleet propose other cohorts.toml", "holds no fleet"),
        ("hwkm fleet publish fleet --online-key operator.pem --log-key log.key", "passphrase"),
        ("hwkm fleet publish fleet --online-key online.pem --log-key witness.key", "not the one"),
        ("hwkm fleet verify fleet/public --root root.toml --state s", "not root metadata"),
        ("hwkm fleet keygen online.pem --for online", "File exists"),
        ("hwkm fleet keygen new.key --for witness", "have a name"),
        ("hwkm fleet add-cosignature fleet 'x'", "checkpoint.pending"),
    ],
)
def test_what_cannot_be_done_says_why(ceremony: Ceremony, script: str, message: str) -> None:
    done = run(ceremony[0], script)
    assert done.returncode not in (0, 1), done.stderr
    assert message in done.stderr


@pytest.fixture
def keys(ceremony: Ceremony, tmp_path: Path) -> Path:
    """A directory with the keys and descriptions of a ceremony that has not begun."""
    for path in ceremony[0].iterdir():
        if path.is_file() and path.name != "witness.state":
            shutil.copy2(path, tmp_path)
    return tmp_path


def test_signatures_out_of_turn_or_by_the_wrong_hand_are_refused(keys: Path) -> None:
    key = "--passphrase-file passphrase --key"
    assert run(keys, "hwkm fleet init-root fleet root.toml").returncode == 0
    for command, message in [
        (f"countersign fleet {key} auditor-root.pem", "the operator has to sign first"),
        (f"sign fleet {key} auditor-root.pem", "none of the operator's"),
        (f"sign fleet {key} operator.pem", "nothing is staged that this key signs"),
        ("publish fleet --online-key online.pem --log-key log.key", "0 right signatures of 2"),
    ]:
        done = run(keys, f"hwkm fleet {command}")
        assert message in done.stderr
    assert run(keys, f"hwkm fleet sign fleet {key} operator-root.pem").returncode == 0
    again = run(keys, f"hwkm fleet sign fleet {key} operator-root.pem")
    assert again.returncode == ExitCode.NOT_TRUSTED
    assert "has signed already" in again.stderr
    alone = run(keys, "hwkm fleet publish fleet --online-key online.pem --log-key log.key")
    assert alone.returncode == ExitCode.NOT_TRUSTED
    assert not (keys / "fleet" / "public").exists()


def test_a_root_in_which_one_party_could_act_alone_is_not_staged(keys: Path) -> None:
    root = (keys / "root.toml").read_text()
    greedy = '\n[[key]]\nfile = "operator-2.pub"\nparty = "operator"\nsigns = "lists"\n'
    (keys / "root.toml").write_text(root + greedy)
    made = run(keys, "hwkm fleet keygen operator-2 --passphrase-file passphrase")
    assert made.returncode == 0, made.stderr
    done = run(keys, "hwkm fleet init-root fleet root.toml --dry-run")
    assert done.returncode == ExitCode.NOT_TRUSTED
    assert "could sign alone" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
    ],
    ids=["RSA-2048", "secp256k1"],
)
def test_weak_keys_are_refused_at_import(keys: Path, arguments: list[str]) -> None:
    private = subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout
    public = subprocess.run(
        ["openssl", "pkey", "-pubout"], input=private, check=True, capture_output=True
    ).stdout
    (keys / "auditor.pem.pub").write_bytes(public)
    done = run(keys, "hwkm fleet init-root fleet root.toml")
    assert done.returncode == ExitCode.NOT_TRUSTED
    assert "Ed25519, P-256, P-384, or RSA of at least 3072 bits" in done.stderr


def test_show_for_programs(ceremony: Ceremony) -> None:
    done = run(ceremony[0], "hwkm fleet show fleet --json")
    assert json.loads(done.stdout) == {"root": None, "list": None, "published_epoch": 1}
