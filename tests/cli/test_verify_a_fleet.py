"""docs/operations/verify-a-fleet.md, followed by a stranger, on a directory and over HTTP; and what an auditor refuses."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hwkm.cli.exits import ExitCode
from tests.cli.conftest import Ceremony
from tests.cli.documents import follow, run
from tests.daemon import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.needs(
        "swtpm", "swtpm_setup", "openssl", "tpm2_checkquote", "tpm2_print", "curl", "jq", "xxd"
    ),
]


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def public(ceremony: Ceremony, tmp_path: Path) -> Path:
    """A copy of what is published."""
    shutil.copytree(ceremony[0] / "fleet" / "public", tmp_path / "public")
    return tmp_path / "public"


@pytest.fixture(params=["file", "http"])
def fleet(request: pytest.FixtureRequest, public: Path) -> Iterator[str]:
    """The fleet's address."""
    if request.param == "file":
        yield public.as_uri()
        return
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(public)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def stranger(ceremony: Ceremony, tmp_path: Path) -> Path:
    """A directory with what a stranger has from elsewhere."""
    home = tmp_path / "stranger"
    home.mkdir()
    shutil.copy2(ceremony[0] / "pinned-root.json", home / "1.root.json")
    for name in ("ek-root.pem", "auditor-person.key.pub"):
        shutil.copy2(ceremony[0] / name, home)
    return home


def test_a_stranger_follows_the_document(stranger: Path, fleet: str) -> None:
    known = {"FLEET": fleet, "RELEASE": str(ROOT)}
    steps = list(follow("verify-a-fleet.md", stranger, known, frozenset({"", "tpm"})))
    printed = "".join(output for _, output in steps)
    assert len(steps) == 10
    for part in (
        "Cohort alpha: hardware proves where its key is.", "PASSED", "the signed root", "Verified OK",
        "fixedtpm|fixedparent|sensitivedataorigin", "ek.pem: OK",
    ):  # fmt: skip
        assert part in printed, part
    assert printed.count("Verified OK") == 2
    report = json.dumps(audited(stranger, fleet))
    release = next(output for text, output in steps if "$RELEASE" in text)
    assert f"files with the digest {release.split()[0]}" in report
    quoted = next(output for text, output in steps if "tpm2_checkquote" in text)
    assert quoted.split()[-2] in json.dumps(audited(stranger, fleet)), (
        "the PCRs' digest is that of the report"
    )
    challenged = next(output for text, output in steps if "openssl verify" in text).split()
    assert challenged[-4] in challenged[:-4], "the secret's digest is the commitment"
    assert f"000b{challenged[-2]}" in challenged, "the Name is that of the attestation key"


TRUSTED = "--root 1.root.json --ek-root ek-root.pem --challenger auditor-person.key.pub"


def audited(stranger: Path, fleet: str) -> dict[str, object]:
    done = run(stranger, f"hwkm fleet audit $FLEET {TRUSTED} --json", {"FLEET": fleet})
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_the_report_for_programs(stranger: Path, public: Path) -> None:
    report = audited(stranger, public.as_uri())
    assert (report["passed"], report["in_hardware"]) == (True, {"alpha": True})
    done = run(stranger, f"hwkm fleet audit {public} --root 1.root.json --json")
    assert json.loads(done.stdout)["in_hardware"] == {"alpha": False}


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (f"{TRUSTED} --require-hardware", ExitCode.OK, "PASSED"),
        ("--require-hardware", ExitCode.NOT_TRUSTED, "hardware does not prove where its key is"),
        ("--ek-root ek-root.pem", ExitCode.OK, "who is not among those you trust"),
        ("", ExitCode.OK, "where its key is, is the operator's word"),
        ("--root missing.json", ExitCode.LOCAL_FILE, "missing.json"),
        ("--root auditor-person.key.pub", ExitCode.NOT_TRUSTED, "is not the one that you gave"),
        ("--ek-root 1.root.json", ExitCode.LOCAL_FILE, "not certificates in PEM"),
        ("--challenger ek-root.pem", ExitCode.BAD_INPUT, "a key of notes"),
    ],
)
def test_what_a_reader_trusts_decides_what_is_proved(
    stranger: Path, public: Path, options: str, code: ExitCode, text: str
) -> None:
    done = run(stranger, f"hwkm fleet audit {public} {options}")
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout + done.stderr


def test_a_damaged_fleet_ends_with_19_and_says_where(stranger: Path, public: Path) -> None:
    (evidence,) = (public / "evidence").iterdir()
    evidence.write_bytes(evidence.read_bytes().replace(b'"member":0', b'"member":1'))
    done = run(stranger, f"hwkm fleet audit {public} {TRUSTED}")
    assert done.returncode == ExitCode.NOT_TRUSTED
    assert "FAILED    its evidence is not the one that the list was signed for" in done.stdout
    as_json = run(stranger, f"hwkm fleet audit {public} {TRUSTED} --json")
    assert as_json.returncode == ExitCode.NOT_TRUSTED
    failed = [line["about"] for line in json.loads(as_json.stdout)["lines"] if line["result"] == "failed"]
    assert failed == ["cohort alpha"]


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("hwkm fleet evidence combine x.json first.json first.json", ExitCode.NOT_TRUSTED, "stands there twice"),
        ("hwkm fleet evidence combine alpha.evidence.json first.json", ExitCode.LOCAL_FILE, "File exists"),
        ("hwkm fleet evidence combine x.json alpha.evidence.json", ExitCode.BAD_INPUT, "not the evidence of a member"),
        ("hwkm fleet evidence show first.json", ExitCode.BAD_INPUT, "not the evidence of a cohort"),
        ("hwkm fleet evidence sign alpha.evidence.json --key operator.pem", ExitCode.BAD_INPUT, "PRIVATE+KEY+"),
        ("hwkm fleet evidence show alpha.evidence.json --ek-root ek-intermediates.pem", ExitCode.OK, "CN=swtpm"),
        ("hwkm fleet propose fleet other.toml", ExitCode.NOT_TRUSTED, "about another key than the cohort's"),
        ("hwkm fleet propose fleet none.toml", ExitCode.BAD_INPUT, "root.toml: not the evidence of a cohort"),
    ],
)  # fmt: skip
def test_evidence_that_cannot_be_used_is_refused(
    ceremony: Ceremony, tmp_path: Path, script: str, code: int, text: str
) -> None:
    for path in ceremony[0].iterdir():
        if path.is_file():
            shutil.copy2(path, tmp_path)
    key = "04b8001118981df06eb494fe86da1c078d01b43af68ddc61d04649950f1086932466e03fd2dff379201d9155b0e5bd7a8b327d2553a2fca565e1bd21447e7852fa"
    other = f'[[cohort]]\nname = "alpha"\npublic_key = "{key}"\nevidence = "alpha.evidence.json"\n'
    (tmp_path / "other.toml").write_text(other)
    (tmp_path / "none.toml").write_text('[[cohort]]\nname = "alpha"\nevidence = "root.toml"\n')
    shutil.copytree(ceremony[0] / "fleet", tmp_path / "fleet")
    done = run(tmp_path, script)
    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
