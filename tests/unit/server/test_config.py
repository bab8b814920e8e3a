"""The configuration: three lines are enough, and whatever is wrong is refused with its line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hwkm.errors import ConfigError
from hwkm.server.config import SECTIONS, Config, load_config
from hwkm.server.config_example import example_config, shown_config

TOKEN = '[token]\nuri = "insecure-memory:path=/nowhere"\npin_file = "pin"\n'


Loader = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    def load_text(text: str) -> Config:
        path = tmp_path / "hwkmd.toml"
        path.write_text(text)
        return load_config(path)

    return load_text


def test_three_lines_are_enough(load: Loader, tmp_path: Path) -> None:
    config = load(TOKEN)
    assert config.pin_path == tmp_path / "pin"
    assert config.socket_path == Path("/run/hwkm/hwkmd.sock")
    assert config.records_url == "sqlite:////var/lib/hwkm/records.db"
    assert config.audit_directory == Path("/var/lib/hwkm/audit")
    settings = config.core_settings()
    assert settings.max_attempts_limit == 10
    assert settings.delays_ms[:4] == (0, 0, 1_000, 5_000)
    assert len(settings.delays_ms) == 10


def test_paths_are_relative_to_the_file(load: Loader, tmp_path: Path) -> None:
    config = load(TOKEN + '[daemon]\nsocket = "run/s"\nstate_directory = "/abs"\npolicy_file = "p.toml"\n')
    assert config.socket_path == tmp_path / "run/s"
    assert config.state_directory == Path("/abs")
    assert config.policy_path == tmp_path / "p.toml"


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("[token]\nuri = 'x'\n", 1, "'pin_file' is missing"),
        ("# empty\n", 1, "'uri' is missing"),
        (TOKEN + "[deamon]\n", 4, "unknown section [deamon]"),
        (TOKEN + "\n[daemon]\nsockt = 'x'\n", 6, "unknown key 'sockt'"),
        (TOKEN + "pin = '1234'\n", 4, "unknown key 'pin'"),
        (TOKEN + "[daemon]\nsocket_mode = 660\n", 5, "socket_mode"),
        (TOKEN + "[daemon]\nsocket_mode = '660'\n", 5, "socket_mode"),
        (TOKEN + "[daemon]\nlog_level = 'loud'\n", 5, "possible are debug, info, warning, error"),
        (TOKEN + f"[daemon]\nsocket = '/{'x' * 200}'\n", 5, "socket: the path is longer than 107 bytes"),
        (TOKEN + "[attempts]\nmax_attempts_limit = 0\n", 5, "max_attempts_limit"),
        (TOKEN + "[attempts]\nmax_attempts_limit = 101\n", 5, "max_attempts_limit"),
        (TOKEN + "[attempts]\nmax_attempts_limit = true\n", 5, "max_attempts_limit"),
        (TOKEN + "[attempts]\ndelays = []\n", 5, "delays"),
        (TOKEN + "[attempts]\ndelays = ['1s']\n", 5, "must be 0s"),
        (TOKEN + "[attempts]\n\n# why\ndelays = [\n '0s', '5s',\n '1s']\n", 7, "one is shorter than the last"),
        (TOKEN + "[attempts]\ndelays = ['0s', '5 s']\n", 5, "expected a duration"),
        (TOKEN + "[attempts]\ndelays = ['0s', 5]\n", 5, "expected a duration"),
        (TOKEN + "[attempts]\nchallenge_lifetime = '0s'\n", 5, "challenge_lifetime"),
        (TOKEN + "[limits]\nbody_bytes = 5\n", 5, "body_bytes"),
        (TOKEN + "[limits]\nconnections = 4\nconnections_per_uid = 5\n", 6, "over connections"),
        (TOKEN + "[limits]\nopen_challenges = 4\nopen_challenges_per_uid = 5\n", 6, "over open_challenges"),
        (TOKEN + "[limits]\nrequest_timeout = '0s'\n", 5, "request_timeout"),
        (TOKEN + "[core]\nrequire_hardening = 1\n", 5, "require_hardening"),
        (TOKEN + "[core]\nsettle_delay = '2m'\n", 5, "settle_delay"),
        (TOKEN + "[records]\nurl = 'sqlite:///relative.db'\n", 5, "must be absolute"),
        (TOKEN + "[records]\nurl = 'sqlite://'\n", 5, "must be absolute"),
        (TOKEN + "[aws]\nlisten = '0.0.0.0:8443'\n", 5, "on the loopback"),
        (TOKEN + "[aws]\nlisten = '0.0.0.0:8443'\nallow_other_hosts = true\n", 5, "needs tls_certificate"),
        (TOKEN + "[aws]\nlisten = 'localhost:8443'\n", 5, "ADDRESS:PORT"),
        (TOKEN + "[aws]\ntls_key = 'key.pem'\n", 5, "come together"),
        ("token = 5\n" , 1, "token must be a table"),
        (TOKEN + "x = = 1\n", 4, "Invalid value"),
        (TOKEN + "x = 'unterminated\n", 5, ""),
        (TOKEN + "uri = 'twice'\n", 4, "overwrite"),
        (TOKEN.replace('"pin"', '"credential:a/b"'), 3, "credential"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_its_line(
    load: Loader, tmp_path: Path, text: str, line: int, problem: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(text)
    assert str(refused.value).startswith(f"{tmp_path}/hwkmd.toml:{line}: ")
    assert problem in str(refused.value)


def test_a_file_that_is_not_text_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "hwkmd.toml"
    path.write_bytes(b"# fine\n\xff\n")
    with pytest.raises(ConfigError, match=r"hwkmd\.toml:2: not UTF-8"):
        load_config(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml: No such file.*hwkmd config example"):
        load_config(tmp_path / "absent.toml")


def test_the_aws_wire_may_be_reached_by_others_with_tls_and_a_switch(load: Loader, tmp_path: Path) -> None:
    config = load(
        TOKEN
        + "[aws]\nlisten='0.0.0.0:443'\ntls_certificate='c.pem'\ntls_key='k.pem'\nallow_other_hosts=true\n"
    )
    assert config.aws.tls_key == str(tmp_path / "k.pem")
    assert config.credentials_path == config.state_directory / "aws-credentials.toml"
    assert load(TOKEN + "[aws]\ncredentials_file='c.toml'\n").credentials_path == tmp_path / "c.toml"
    assert load(TOKEN + "[aws]\nlisten='[::1]:0'\n").aws.listen == "[::1]:0"


def test_a_credential_is_looked_up_when_it_is_needed(load: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = load(TOKEN.replace('"pin"', '"credential:token-pin"'))
    with pytest.raises(ConfigError, match="LoadCredential=token-pin"):
        _ = config.pin_path
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/hwkmd.service")
    assert config.pin_path == Path("/run/credentials/hwkmd.service/token-pin")


def test_the_example_is_valid_and_shows_the_defaults(load: Loader) -> None:
    example = example_config()
    assert load(example).daemon == load(TOKEN).daemon
    uncommented = "\n".join(
        line[1:] if line.startswith("#") and not line.startswith("# ") else line
        for line in example.splitlines()
    )
    everything = load(uncommented)
    for name in SECTIONS:
        assert getattr(everything, name) == getattr(load(example), name)
        for field in msgspec.structs.fields(SECTIONS[name]):
            assert f"\n{field.name} = " in uncommented


def test_what_is_shown_is_a_configuration_without_the_password(load: Loader) -> None:
    config = load(TOKEN + "[records]\nurl = 'postgresql://hwkm:s3cret@db/hwkm'\n")
    shown = shown_config(config)
    assert "s3cret" not in shown
    assert "postgresql://hwkm:***@db/hwkm" in shown
    assert load(shown).limits == config.limits


def test_the_documented_example_is_the_printed_one() -> None:
    document = Path(__file__).resolve().parents[3] / "docs" / "operations" / "configuration.md"
    assert f"```toml\n{example_config()}```" in document.read_text()


TPM = '[token]\nuri = "tpm:tcti=device:/dev/tpmrm0"\npin_file = "pin"\n'


def test_a_code_bound_key_is_told_to_the_core_with_its_pcrs_in_order(load: Loader) -> None:
    assert load(TPM).core_settings().code_binding is None
    binding = load(TPM + "code_bound = true\nboot_pcrs = [7, 0]\n").core_settings().code_binding
    assert binding is not None
    assert (binding.code_pcr, binding.boot_pcrs) == (13, (0, 7))
    assert binding.record_path.endswith("/code-record.json")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (TOKEN + "code_bound = true\n", "only a TPM can do it"),
        (TPM + "code_bound = true\ncode_pcr = 7\n", "code_pcr"),
        (TPM + "code_bound = true\ncode_pcr = 16\n", "code_pcr"),
        (TPM + "code_bound = true\nboot_pcrs = [0, 0]\n", "one is named twice"),
        (TPM + "code_bound = true\nboot_pcrs = [0, 13]\n", "code_pcr is among them"),
        (TPM + "code_bound = true\nboot_pcrs = [16]\n", "boot_pcrs"),
    ],
)
def test_pcrs_that_bind_nothing_or_everything_are_refused(text: str, problem: str, load: Loader) -> None:
    with pytest.raises(ConfigError, match=problem):
        load(text)
