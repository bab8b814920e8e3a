"""The example configuration: every key, its meaning, and its default as it stands in the code."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hwkm.server import config
from hwkm.server.duration import Duration

_HEAD: Final = """\
# Configuration of hwkmd. Only [token] is required; every other key is shown with its default.
# Unknown keys and impossible values are refused with their line. Relative paths are relative to
# this file. Durations: "250ms", "30s", "5m", "1h", "1d".
"""

_TOKEN: Final = {
    "uri": "pkcs11:token=hwkm?module-path=/usr/lib/softhsm/libsofthsm2.so",
    "pin_file": "token.pin",
}

_ABOUT_SECTION: Final = {
    "daemon": "Where the daemon lives and how it speaks.",
    "token": "The token that holds the keys and the anchor of the attempt state.",
    "core": "The trusted core, the only process that opens the token.",
    "attempts": "The rules of guessing. The limit and the delays hold for every vault here.",
    "limits": "Bounds on everything that a caller could stretch.",
    "records": "The database of sealed vaults. It is not trusted with secrets or counters.",
    "audit": "The audit log.",
    "aws": "The AWS KMS wire on a network socket. On the Unix socket it is always there.",
    "keys": "The key service. A key is kept wrapped by the hardware, in the record database.",
}

_ABOUT: Final = {
    "daemon.socket": "The Unix socket, unless systemd hands one in (then its .socket unit says where).",
    "daemon.socket_mode": "Its mode. Who may connect may still do only what the policy allows.",
    "daemon.socket_group": "The group that it is given, or empty for the daemon's own.",
    "daemon.state_directory": "Attempt state, records and audit log; mode 0700. One daemon at a time.",
    "daemon.policy_file": "Who may do what; empty means the default policy. SIGHUP reads it again.",
    "daemon.log_level": "debug, info, warning or error.",
    "daemon.log_format": "json or console; both go to standard error.",
    "daemon.stop_timeout": "How long requests in flight may take to finish after SIGTERM.",
    "token.uri": "pkcs11: (RFC 7512), tpm:tcti=device:/dev/tpmrm0, or insecure-memory: for tests.",
    "token.pin_file": "Holds the user PIN, mode 0600; or credential:NAME for systemd's LoadCredential=NAME.",
    "token.code_bound": "TPM only, set at init: changed code cannot use the cohort key, not even an update's. See code-bound.md.",
    "token.code_pcr": "The PCR that the core measures itself into (8 to 15); nothing else may use it.",
    "token.boot_pcrs": "Bound too, with the values of set-up: firmware and boot. Without them root can lie to the code's PCR.",
    "core.require_hardening": "Refuse to start where a measure such as locked memory does not hold.",
    "core.settle_delay": "How long a verdict waits to share a write of the token with the next claim.",
    "core.answer_timeout": "After this long without any answer the core is taken for hung and restarted.",
    "attempts.max_attempts_limit": "No vault may ask for more attempts than this (1 to 100).",
    "attempts.delays": "The pause after the n-th failed attempt, from none (0s) on; the last for all above.",
    "attempts.challenge_lifetime": "How long a challenge may be answered, and the same claim repeated.",
    "limits.body_bytes": "The body of a request.",
    "limits.header_bytes": "A line of the head of a request; there may be 64.",
    "limits.connections": "Connections in all.",
    "limits.connections_per_uid": "Connections of one user.",
    "limits.requests_in_flight": "Requests being worked on.",
    "limits.open_challenges": "Challenges that were issued and not used, in all.",
    "limits.open_challenges_per_uid": "The same, of one user.",
    "limits.vaults_per_uid": "Vaults of one user, locked ones included.",
    "limits.request_timeout": "For a request to arrive, from its first byte.",
    "limits.response_timeout": "For a response to be taken.",
    "limits.idle_timeout": "For a connection on which nothing happens.",
    "records.url": "An SQLAlchemy URL (sqlite:////PATH, postgresql://...); empty: SQLite in the state directory.",
    "aws.listen": "127.0.0.1:8443 or [::1]:8443, say; empty: no network socket. Port 0: any, told in the log.",
    "aws.credentials_file": "Made by hwkmd credential; empty: aws-credentials.toml in the state directory.",
    "aws.tls_certificate": "A chain in PEM; with it and tls_key the socket speaks TLS only.",
    "aws.tls_key": "Its key in PEM, mode 0600.",
    "aws.allow_other_hosts": "Let listen be an address that other machines can reach. It needs TLS.",
    "audit.directory": "Where it lies; empty: audit in the state directory.",
    "audit.segment_bytes": "A file of the log is closed and a new one begun at this size.",
    "keys.region": "Part of every key's ARN. Changing it changes the names of all keys.",
    "keys.account": "The account of callers on the socket for whom the policy names no other; 12 digits.",
    "keys.keys_max": "Keys in all; deleted ones do not count.",
    "keys.versions_per_key": "Versions of a key; each rotation makes one, and all stay.",
    "keys.recorded_per_key": "Data keys of a key that are recorded under labels.",
    "keys.cached_keys": "Keys kept in the daemon's memory, wrapped as they are; about 2 KiB each.",
    "keys.scheduler_interval": "How often it is looked for keys to rotate and to delete.",
    "audit.checkpoint_interval": "New records are signed for, by the key in the hardware, this often.",
}


def example_config() -> str:
    """A complete, valid, commented configuration file."""
    return _HEAD + "".join(_section(name, struct) for name, struct in config.SECTIONS.items())


def shown_config(found: config.Config) -> str:
    """The configuration in force as TOML, defaults filled in. A password in a URL is left out."""
    lines = [f"# {found.path}"]
    for name in config.SECTIONS:
        lines += ["", f"[{name}]"]
        for key, value in msgspec.structs.asdict(getattr(found, name)).items():
            shown = config.without_password(value) if (name, key) == ("records", "url") else value
            lines.append(f"{key} = {_value(key, shown)}")
    return "\n".join(lines) + "\n"


def _section(name: str, struct: type[msgspec.Struct]) -> str:
    lines = ["", f"# {_ABOUT_SECTION[name]}", f"[{name}]"]
    for field in msgspec.structs.fields(struct):
        lines.append(f"# {_ABOUT[f'{name}.{field.name}']}")
        required = field.required
        value = _TOKEN[field.name] if required else field.default
        lines.append(f"{'' if required else '#'}{field.name} = {_value(field.name, value)}")
    return "\n".join(lines) + "\n"


def _value(key: str, value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case Duration():
            return f'"{value}"'
        case int() if key == "socket_mode":
            return f"0o{value:o}"
        case tuple():
            return f"[{', '.join(_value(key, item) for item in value)}]"
        case _:
            return msgspec.json.encode(value).decode()
