"""The configuration of hwkmd: one TOML file, typed, every value checked before anything starts.

Relative paths are relative to the file. ``hwkmd config example`` prints every key with its
meaning and default (:mod:`hwkm.server.config_example`).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, field

from hwkm.errors import ConfigError
from hwkm.server.duration import Duration
from hwkm.server.tcp_address import parse_address
from hwkm.server.toml_file import TomlFile, is_absent
from hwkm.wire.core_messages import CodeBinding, CoreSettings

DEFAULT_CONFIG_PATH: Final = Path("/etc/hwkm/hwkmd.toml")
CREDENTIAL_PREFIX: Final = "credential:"
DELAYS_MAX: Final = 101

_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_SOCKET_PATH_BYTES_MAX: Final = 107  # sun_path, unix(7), with its final zero byte

Mode = Annotated[int, Meta(ge=0o600, le=0o777)]
Text = Annotated[str, Meta(min_length=1, max_length=1024)]
Delays = Annotated[tuple[Duration, ...], Meta(min_length=1, max_length=DELAYS_MAX)]


def _count(least: int, most: int) -> Meta:
    return Meta(ge=least, le=most)


def _delays(*texts: str) -> tuple[Duration, ...]:
    return tuple(Duration.parse(text) for text in texts)


class _Section(msgspec.Struct, frozen=True, kw_only=True):
    pass


class DaemonSection(_Section, frozen=True, kw_only=True):
    """Where the daemon lives and how it speaks."""

    socket: Text = "/run/hwkm/hwkmd.sock"
    socket_mode: Mode = 0o660
    socket_group: str = ""
    state_directory: Text = "/var/lib/hwkm"
    policy_file: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"
    stop_timeout: Duration = Duration.parse("5s")


class TokenSection(_Section, frozen=True, kw_only=True):
    """The token, and the file that holds its user PIN."""

    uri: Text
    pin_file: Text
    code_bound: bool = False
    code_pcr: Annotated[int, _count(8, 15)] = 13
    boot_pcrs: tuple[Annotated[int, _count(0, 15)], ...] = (0, 1, 2, 3, 4, 5, 6, 7)


class CoreSection(_Section, frozen=True, kw_only=True):
    """The trusted core's process."""

    require_hardening: bool = False
    settle_delay: Duration = Duration.parse("50ms")
    answer_timeout: Duration = Duration.parse("30s")


class AttemptsSection(_Section, frozen=True, kw_only=True):
    """The rules of guessing."""

    max_attempts_limit: Annotated[int, _count(1, 100)] = 10
    delays: Delays = _delays("0s", "0s", "1s", "5s", "30s", "2m", "10m", "30m", "1h", "2h")
    challenge_lifetime: Duration = Duration.parse("5m")


class LimitsSection(_Section, frozen=True, kw_only=True):
    """Every size, count and time that a caller could stretch."""

    body_bytes: Annotated[int, _count(16 * 1024, 16 * 1024 * 1024)] = 1024 * 1024
    header_bytes: Annotated[int, _count(1024, 64 * 1024)] = 8 * 1024
    connections: Annotated[int, _count(1, 65_536)] = 1024
    connections_per_uid: Annotated[int, _count(1, 65_536)] = 512
    requests_in_flight: Annotated[int, _count(1, 65_536)] = 512
    open_challenges: Annotated[int, _count(1, 1_000_000)] = 20_000
    open_challenges_per_uid: Annotated[int, _count(1, 1_000_000)] = 10_000
    vaults_per_uid: Annotated[int, _count(1, 100_000_000)] = 1_000_000
    request_timeout: Duration = Duration.parse("10s")
    response_timeout: Duration = Duration.parse("10s")
    idle_timeout: Duration = Duration.parse("75s")


class RecordsSection(_Section, frozen=True, kw_only=True):
    """The record database; empty means SQLite in the state directory."""

    url: str = ""


class AuditSection(_Section, frozen=True, kw_only=True):
    """The audit log; an empty directory means ``audit`` in the state directory."""

    directory: str = ""
    segment_bytes: Annotated[int, _count(64 * 1024, 1024**3)] = 64 * 1024 * 1024
    checkpoint_interval: Duration = Duration.parse("10s")


class AwsSection(_Section, frozen=True, kw_only=True):
    """The AWS KMS wire on a network socket; an empty address means none."""

    listen: str = ""
    credentials_file: str = ""
    tls_certificate: str = ""
    tls_key: str = ""
    allow_other_hosts: bool = False


class KeysSection(_Section, frozen=True, kw_only=True):
    """The key service: how keys are named, how many there may be, when they are looked after."""

    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")] = "us-east-1"
    account: Annotated[str, Meta(pattern=r"^[0-9]{12}$")] = "000000000001"
    keys_max: Annotated[int, _count(1, 10_000_000)] = 100_000
    versions_per_key: Annotated[int, _count(2, 100_000)] = 1_000
    recorded_per_key: Annotated[int, _count(1, 100_000_000)] = 1_000_000
    cached_keys: Annotated[int, _count(1, 1_000_000)] = 20_000
    scheduler_interval: Duration = Duration.parse("1m")


class Config(_Section, frozen=True, kw_only=True):
    """The whole file, paths made absolute."""

    path: Path
    token: TokenSection
    daemon: DaemonSection = field(default_factory=DaemonSection)
    core: CoreSection = field(default_factory=CoreSection)
    attempts: AttemptsSection = field(default_factory=AttemptsSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    records: RecordsSection = field(default_factory=RecordsSection)
    audit: AuditSection = field(default_factory=AuditSection)
    aws: AwsSection = field(default_factory=AwsSection)
    keys: KeysSection = field(default_factory=KeysSection)

    @property
    def state_directory(self) -> Path:
        """Where everything that the daemon keeps lies."""
        return Path(self.daemon.state_directory)

    @property
    def socket_path(self) -> Path:
        """The Unix socket, unless systemd hands one in."""
        return Path(self.daemon.socket)

    @property
    def policy_path(self) -> Path | None:
        """The policy file, if there is one."""
        return Path(self.daemon.policy_file) if self.daemon.policy_file else None

    @property
    def pin_path(self) -> Path:
        """The PIN file; ``credential:NAME`` is the file that systemd's LoadCredential=NAME made.

        Raises:
            ConfigError: systemd passed no credentials to this process.
        """
        if not self.token.pin_file.startswith(CREDENTIAL_PREFIX):
            return Path(self.token.pin_file)
        name = self.token.pin_file.removeprefix(CREDENTIAL_PREFIX)
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise ConfigError(
                f"{self.path}: pin_file is {self.token.pin_file}, but systemd passed no credentials to this"
                f" process; run it in a unit that has LoadCredential={name}:FILE"
            )
        return Path(directory) / name

    @property
    def has_pin_here(self) -> bool:
        """Whether this process can know where the PIN is: a credential is passed to the service only."""
        return not self.token.pin_file.startswith(CREDENTIAL_PREFIX) or "CREDENTIALS_DIRECTORY" in os.environ

    @property
    def nodes_path(self) -> Path:
        """The node store of the attempt tree."""
        return self.state_directory / "nodes.db"

    @property
    def records_url(self) -> str:
        """The record database."""
        return self.records.url or f"sqlite:///{self.state_directory / 'records.db'}"

    @property
    def audit_directory(self) -> Path:
        """The audit log."""
        return Path(self.audit.directory) if self.audit.directory else self.state_directory / "audit"

    @property
    def credentials_path(self) -> Path:
        """The credentials of the AWS front."""
        given = self.aws.credentials_file
        return Path(given) if given else self.state_directory / "aws-credentials.toml"

    def core_settings(self) -> CoreSettings:
        """What the core is told. The PIN is not in it: the core reads the file itself."""
        return CoreSettings(
            token_uri=self.token.uri,
            pin_file=str(self.pin_path),
            nodes_path=str(self.nodes_path),
            max_attempts_limit=self.attempts.max_attempts_limit,
            delays_ms=tuple(int(delay) for delay in self.attempts.delays),
            challenge_lifetime_ms=int(self.attempts.challenge_lifetime),
            challenges_max=self.limits.open_challenges,
            settle_delay_ms=int(self.core.settle_delay),
            require_hardening=self.core.require_hardening,
            code_binding=self._code_binding() if self.token.code_bound else None,
        )

    def _code_binding(self) -> CodeBinding:
        record = self.state_directory / "code-record.json"
        pcrs = tuple(sorted(self.token.boot_pcrs))
        return CodeBinding(code_pcr=self.token.code_pcr, boot_pcrs=pcrs, record_path=str(record))


SECTIONS: Final[dict[str, type[_Section]]] = {
    "daemon": DaemonSection,
    "token": TokenSection,
    "core": CoreSection,
    "attempts": AttemptsSection,
    "limits": LimitsSection,
    "records": RecordsSection,
    "audit": AuditSection,
    "aws": AwsSection,
    "keys": KeysSection,
}


def load_config(path: Path) -> Config:
    """Read the configuration.

    Raises:
        ConfigError: it cannot be read, or anything in it is unknown or impossible; the message
            names file and line.
    """
    path = path.absolute()
    if is_absent(path):
        raise ConfigError(
            f"{path}: No such file or directory; name another by --config, or start from: hwkmd config example"
        )
    file = TomlFile(path)
    for name in file.tables:
        if name not in SECTIONS:
            file.refuse(f"unknown section [{name}]; known are {', '.join(SECTIONS)}", name)
    sections = {
        name: file.section(struct, file.tables.get(name, {}), name) for name, struct in SECTIONS.items()
    }
    config = Config(path=path, **_located(file, sections))  # type: ignore[arg-type]
    _check_together(file, config)
    return config


def _located(file: TomlFile, sections: dict[str, _Section]) -> dict[str, _Section]:
    """Make every path absolute."""
    base = file.path.parent
    daemon, token, audit, aws = (sections[name] for name in ("daemon", "token", "audit", "aws"))
    assert isinstance(daemon, DaemonSection)
    assert isinstance(token, TokenSection)
    assert isinstance(audit, AuditSection)
    assert isinstance(aws, AwsSection)
    replaced = {
        "daemon": msgspec.structs.replace(
            daemon,
            socket=_absolute(base, daemon.socket),
            state_directory=_absolute(base, daemon.state_directory),
            policy_file=_absolute(base, daemon.policy_file),
        ),
        "token": msgspec.structs.replace(token, pin_file=_pin_file(file, base, token.pin_file)),
        "audit": msgspec.structs.replace(audit, directory=_absolute(base, audit.directory)),
        "aws": msgspec.structs.replace(
            aws,
            credentials_file=_absolute(base, aws.credentials_file),
            tls_certificate=_absolute(base, aws.tls_certificate),
            tls_key=_absolute(base, aws.tls_key),
        ),
    }
    return sections | replaced


def _absolute(base: Path, text: str) -> str:
    return str(base / text) if text else ""


def _pin_file(file: TomlFile, base: Path, text: str) -> str:
    if not text.startswith(CREDENTIAL_PREFIX):
        return _absolute(base, text)
    if not _CREDENTIAL_NAME.fullmatch(text.removeprefix(CREDENTIAL_PREFIX)):
        file.refuse("pin_file: a credential's name is of letters, digits, . _ and -", "token", "pin_file")
    return text


def _check_together(file: TomlFile, config: Config) -> None:
    """Refuse values that are possible each by itself and impossible together, or in a wider sense."""
    token = config.token
    limits, attempts, daemon, url = config.limits, config.attempts, config.daemon, config.records.url
    aws = config.aws
    longest_socket = f"the path is longer than {_SOCKET_PATH_BYTES_MAX} bytes, the system's limit"
    rules = (
        ("attempts", "delays", attempts.delays[0] == 0, "the first is for no failed attempt and must be 0s"),
        (
            "attempts",
            "delays",
            list(attempts.delays) == sorted(attempts.delays),
            "one is shorter than the last",
        ),
        ("attempts", "challenge_lifetime", 1_000 <= attempts.challenge_lifetime <= _DAY_MS, "from 1s to 1d"),
        (
            "limits",
            "connections_per_uid",
            limits.connections_per_uid <= limits.connections,
            "over connections",
        ),
        (
            "limits",
            "open_challenges_per_uid",
            limits.open_challenges_per_uid <= limits.open_challenges,
            "over open_challenges",
        ),
        ("token", "code_bound", not token.code_bound or token.uri.startswith("tpm:"), "only a TPM can do it"),
        ("token", "boot_pcrs", len(set(token.boot_pcrs)) == len(token.boot_pcrs), "one is named twice"),
        ("token", "boot_pcrs", token.code_pcr not in token.boot_pcrs, "code_pcr is among them"),
        ("core", "settle_delay", config.core.settle_delay <= 60_000, "at most 1m"),
        ("daemon", "socket", len(os.fsencode(daemon.socket)) <= _SOCKET_PATH_BYTES_MAX, longest_socket),
        (
            "aws",
            "tls_key",
            bool(aws.tls_certificate) == bool(aws.tls_key),
            "certificate and key come together",
        ),
        ("aws", "listen", _may_listen(aws), _LISTEN_RULE),
        ("records", "url", not _RELATIVE_SQLITE.match(url), "the path must be absolute: sqlite:////PATH"),
        *(
            (section, name, _is_timeout(config, section, name), "from 100ms to 1h")
            for section, name in _TIMEOUTS
        ),
    )
    for section, name, holds, problem in rules:
        if not holds:
            file.refuse(f"{name}: {problem}", section, name)


def _is_timeout(config: Config, section: str, name: str) -> bool:
    return 100 <= int(getattr(getattr(config, section), name)) <= 3_600_000


def _may_listen(aws: AwsSection) -> bool:
    """Whether the address is one, and within the machine unless TLS and a switch allow more."""
    if not aws.listen:
        return True
    address = parse_address(aws.listen)
    return address is not None and (address.is_loopback or (aws.allow_other_hosts and bool(aws.tls_key)))


_LISTEN_RULE: Final = (
    "ADDRESS:PORT on the loopback, such as 127.0.0.1:8443 or [::1]:8443; any other address needs tls_certificate,"
    " tls_key and allow_other_hosts = true"
)
_DAY_MS: Final = 86_400_000
_RELATIVE_SQLITE: Final = re.compile(r"sqlite:(?!////)")
_TIMEOUTS: Final = (
    ("daemon", "stop_timeout"),
    ("core", "answer_timeout"),
    ("limits", "request_timeout"),
    ("limits", "response_timeout"),
    ("limits", "idle_timeout"),
    ("keys", "scheduler_interval"),
)


def without_password(url: str) -> str:
    """A database URL as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
