"""Raw rate of HMAC-SHA-256 in a device: one session, one loaded key, as fast as Python can ask.

Run as a process of its own (``python -m bench.raw_hmac URI PIN_FILE SECONDS``), as :mod:`bench.raw` is and
for the same reasons. Prints JSON: seconds of one HMAC over as many bytes as a data key's derivation has.

*PKCS#11*: C_SignInit and C_Sign with CKM_SHA256_HMAC on a session object, by python-pkcs11. *TPM*: TPM2_HMAC
(Part 3, 15.5) with a loaded keyedHash primary and a password session, once by tpm2-pytss as a program would
ask for it (``hmac_s``), once as a prepared command over the socket with nothing around it (``bare_s``).
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.raw import Operation, connect_to_tpm, measure, tpm_command

MESSAGE_BYTES = 93
"""What is given to the HMAC for one data key: docs/spec/ciphertext.md."""

_RH_OWNER, _RS_PW, _SESSIONS = 0x40000001, 0x40000009, 0x8002
_CREATE_PRIMARY, _HMAC = 0x131, 0x155
_ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 18
"""fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA, sign (Part 2, 8.3)."""
_PASSWORD = struct.pack(">IIHBH", 9, _RS_PW, 0, 0, 0)


def pkcs11_hmac(uri: str, pin: str) -> Operation:
    """One HMAC by a session object."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag

    from hwkm.tokens.uri import Pkcs11Uri, parse_token_uri

    parsed = parse_token_uri(uri)
    assert isinstance(parsed, Pkcs11Uri)
    token = pkcs11.lib(str(parsed.module_path)).get_token(token_label=parsed.token)
    session = token.open(rw=True, user_pin=pin)
    key = session.generate_key(
        KeyType.GENERIC_SECRET,
        256,
        store=False,
        capabilities=MechanismFlag.SIGN,
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
    )
    message = bytes(MESSAGE_BYTES)
    return lambda: key.sign(message, mechanism=Mechanism.SHA256_HMAC)  # type: ignore[attr-defined]


@contextmanager
def tpm_hmac(uri: str) -> Iterator[Operation]:
    """One HMAC by a transient key, through tpm2-tss."""
    from tpm2_pytss import ESAPI, TPM2_ALG, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMT_PUBLIC

    public = TPM2B_PUBLIC(TPMT_PUBLIC.parse("hmac:sha256", objectAttributes=_ATTRIBUTES))
    message = bytes(MESSAGE_BYTES)
    with ESAPI(uri.removeprefix("tpm:tcti=")) as esapi:
        key = esapi.create_primary(TPM2B_SENSITIVE_CREATE(), public)[0]
        yield lambda: esapi.hmac(key, message, TPM2_ALG.SHA256)
        esapi.flush_context(key)


@contextmanager
def bare_tpm_hmac(uri: str) -> Iterator[Operation]:
    """One HMAC by a transient key, as a prepared command."""
    connection = connect_to_tpm(uri)

    def send(code: int, body: bytes) -> bytes:
        return tpm_command(connection, _SESSIONS, code, body)

    (key,) = struct.unpack_from(">I", send(_CREATE_PRIMARY, _keyed_hash_primary()), 10)
    message = bytes(MESSAGE_BYTES)
    body = struct.pack(">I", key) + _PASSWORD + struct.pack(">H", len(message)) + message
    body += struct.pack(">H", 0x0B)
    yield lambda: send(_HMAC, body)
    connection.close()


def _keyed_hash_primary() -> bytes:
    """An HMAC-SHA-256 key of the owner hierarchy that the TPM makes (Part 2, 12.2.3.3)."""
    public = struct.pack(">HHIH", 0x08, 0x0B, _ATTRIBUTES, 0)
    public += struct.pack(">HHH", 0x05, 0x0B, 0)  # scheme HMAC with SHA-256, unique empty
    body = struct.pack(">I", _RH_OWNER) + _PASSWORD + struct.pack(">HHH", 4, 0, 0)
    return body + struct.pack(">H", len(public)) + public + struct.pack(">HI", 0, 0)


def main(uri: str, pin_file: str, seconds: str) -> None:
    """Measure and print."""
    duration, result = float(seconds), {}
    if uri.startswith("pkcs11:"):
        result["hmac_s"] = measure(pkcs11_hmac(uri, Path(pin_file).read_text().strip()), duration)
    else:  # one after the other: a TPM serves one client
        with bare_tpm_hmac(uri) as operation:
            result["bare_s"] = measure(operation, duration)
        with tpm_hmac(uri) as operation:
            result["hmac_s"] = measure(operation, duration)
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
