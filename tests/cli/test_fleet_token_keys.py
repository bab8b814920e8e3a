"""Signing keys of a ceremony in a PKCS#11 token: the whole ceremony, and what can go wrong with a token."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from tests.cli.conftest import Ceremony
from tests.cli.documents import follow, run
from tests.hardware import SoftHsm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.needs("softhsm2-util", "swtpm", "swtpm_setup"),
]

KEPT = (
    "root.toml", "cohorts.toml", "alpha.evidence.json", "online.pem", "online.pem.pub", "log.key", "log.key.pub",
    "witness.key", "witness.key.pub",
)  # fmt: skip
MAKE_KEYS = """
import sys, pkcs11
from pkcs11.util.ec import encode_named_curve_parameters
module, label, pin_file = sys.argv[1:4]
with pkcs11.lib(module).get_token(token_label=label).open(rw=True, user_pin=open(pin_file).read()) as session:
    for number, curve in enumerate(("secp256r1", "secp256r1", "secp256r1", "secp384r1", "secp521r1"), 1):
        parameters = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
        made = session.create_domain_parameters(pkcs11.KeyType.EC, parameters, local=True)
        public = {pkcs11.Attribute.PRIVATE: number == 3}
        made.generate_keypair(id=bytes([number]), store=True, public_template=public)
"""


@pytest.fixture(scope="module")
def token() -> Iterator[Mapping[str, str]]:
    """A token with the keys 1 to 5; what the commands need in their environment. The public half of 3 is private."""
    with SoftHsm() as device:
        module = device.uri.partition("module-path=")[2].partition("&")[0]
        label = device.uri.partition("token=")[2].partition(";")[0].partition("?")[0]
        script = [sys.executable, "-c", MAKE_KEYS, module, label, str(device.pin_file)]
        subprocess.run(script, check=True, env={**device.environment})
        yield {**device.environment, "MODULE": module, "TOKEN": label, "PIN_FILE": str(device.pin_file)}


@pytest.fixture
def directory(ceremony: Ceremony, token: Mapping[str, str], tmp_path: Path) -> Path:
    """A ceremony that has not begun, whose offline keys will come from the token."""
    for name in KEPT:
        shutil.copy2(ceremony[0] / name, tmp_path)
    shutil.copy2(token["PIN_FILE"], tmp_path / "pin")
    return tmp_path


def test_the_whole_ceremony_with_every_offline_key_in_a_token(
    directory: Path, token: Mapping[str, str]
) -> None:
    steps = list(follow("ceremony.md", directory, token, frozenset({"hsm"})))
    assert len(steps) == 2
    publish = "hwkm fleet publish fleet --online-key online.pem --log-key log.key"
    witness = "hwkm fleet witness fleet/public --log log.key.pub --key witness.key --state w > cosignature"
    script = f'{publish}\n{witness}\nhwkm fleet add-cosignature fleet "$(cat cosignature)"\n{publish}\n'
    script += "hwkm fleet verify fleet/public --root fleet/public/metadata/1.root.json --state state\n"
    done = run(directory, script, token)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verified: epoch 1, 1 cohort." in done.stdout


def key(number: int, pin: str = "pin", label: str = "$TOKEN") -> str:
    return f'"hsm:{number}?label={label}" --module "$MODULE" --passphrase-file {pin}'


@pytest.mark.parametrize(
    ("script", "code", "message"),
    [
        (f"hwkm fleet public-key {key(9)} --out x.pub", ExitCode.TOKEN, "could not find ECDSA key"),
        (
            f"hwkm fleet public-key {key(1, label='none')} --out x.pub",
            ExitCode.TOKEN,
            "No PKCS#11 token found",
        ),
        (f"hwkm fleet public-key {key(5)} --out x.pub", ExitCode.TOKEN, "secp521r1 is not a supported"),
        (f"hwkm fleet public-key {key(3, pin='wrong')} --out x.pub", ExitCode.TOKEN, "refused the PIN"),
        (f"hwkm fleet public-key {key(1, pin='open')} --out x.pub", ExitCode.OK, "Public key: x.pub"),
        (
            f"hwkm fleet public-key {key(3, pin='open')} --out x.pub",
            ExitCode.LOCAL_FILE,
            "can be used by others",
        ),
        ('hwkm fleet public-key "hsm:x?label=$TOKEN" --out x.pub', ExitCode.USAGE, "named"),
        ('hwkm fleet public-key "hsm:1?label=$TOKEN" --out x.pub', ExitCode.USAGE, "--module"),
        ('hwkm fleet public-key "hsm:1" --module missing.so --out x.pub', ExitCode.TOKEN, "the token"),
    ],
)
def test_what_is_wrong_with_a_token_is_said(
    directory: Path, token: Mapping[str, str], script: str, code: ExitCode, message: str
) -> None:
    (directory / "wrong").write_text("not the PIN")
    (directory / "wrong").chmod(0o600)
    (directory / "open").write_text("not the PIN")
    (directory / "open").chmod(0o644)
    done = run(directory, script, token)
    assert done.returncode == code, done.stderr
    assert message in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_signing_with_a_wrong_pin_signs_nothing(directory: Path, token: Mapping[str, str]) -> None:
    steps = follow("ceremony.md", directory, token, frozenset({"hsm"}))
    next(steps)
    (directory / "wrong").write_text("not the PIN")
    (directory / "wrong").chmod(0o600)
    script = f"hwkm fleet init-root fleet root.toml\nhwkm fleet sign fleet --key {key(1, pin='wrong')}"
    done = run(directory, script, token)
    assert done.returncode == ExitCode.TOKEN, done.stderr
    assert "refused the PIN" in done.stderr
    shown = run(directory, "hwkm fleet show fleet --json", token)
    assert '"signatures": 0' in shown.stdout


def test_a_key_of_the_token_that_the_root_does_not_name_signs_nothing(
    directory: Path, token: Mapping[str, str]
) -> None:
    next(follow("ceremony.md", directory, token, frozenset({"hsm"})))
    made = "hwkm fleet keygen other.pem --passphrase-file pin"
    script = f"{made}\ncp other.pem.pub operator-root.pem.pub\nhwkm fleet init-root fleet root.toml"
    script += f"\nhwkm fleet sign fleet --key {key(1)}"
    done = run(directory, script, token)
    assert done.returncode == ExitCode.LOCAL_FILE
    assert "none of those that the fleet's root names" in done.stderr
