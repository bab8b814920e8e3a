"""Raw rates of a device: the bare hardware operations, in one session, as fast as Python can ask.

Run as a process of its own (``python -m bench.raw URI PIN_FILE SECONDS``), since SoftHSM binds its
configuration to the process and a TPM serves one client. Prints JSON: seconds per operation.

*PKCS#11*: C_DeriveKey with CKM_ECDH1_DERIVE, read, C_DestroyObject by python-pkcs11; one anchor write
is C_CreateObject and C_DestroyObject of a private data object. *TPM*: TPM2_ECDH_ZGen and TPM2_NV_Write as
prepared commands with password sessions, sent over the socket with nothing around them.
"""

from __future__ import annotations

import json
import secrets
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto.p256 import encode_point

Operation = Callable[[], object]


def measure(operation: Operation, seconds: float) -> float:
    """Median seconds of one operation, over so many seconds."""
    times, end = [], time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        operation()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def random_point() -> bytes:
    """A point that no implementation has seen before."""
    return encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())


# --- PKCS#11 ---------------------------------------------------------------------------------


def pkcs11_operations(uri: str, pin: str) -> tuple[Operation, Operation]:
    """Key agreement and anchor write on a token, with objects of their own."""
    import pkcs11
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
    from pkcs11.util.ec import encode_named_curve_parameters

    from hwkm.tokens.uri import Pkcs11Uri, parse_token_uri

    parsed = parse_token_uri(uri)
    assert isinstance(parsed, Pkcs11Uri)
    library = pkcs11.lib(str(parsed.module_path))
    session = library.get_token(token_label=parsed.token).open(rw=True, user_pin=pin)
    parameters = session.create_domain_parameters(
        KeyType.EC, {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}, local=True
    )
    _, private = parameters.generate_keypair(store=True, label="bench")
    points = [random_point() for _ in range(64)]
    template = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.TOKEN: False}

    def agree() -> bytes:
        mechanism = (pkcs11.KDF.NULL, None, secrets.choice(points))
        key = private.derive_key(  # type: ignore[attr-defined]
            KeyType.GENERIC_SECRET,
            256,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=mechanism,
            template=template,
        )
        value: bytes = key[Attribute.VALUE]
        key.destroy()
        return value

    def create() -> pkcs11.Object:
        return session.create_object(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: True,
                Attribute.LABEL: "bench",
                Attribute.VALUE: secrets.token_bytes(73),
            }
        )

    current = [create()]

    def write() -> None:
        old, current[0] = current[0], create()
        old.destroy()

    return agree, write


# --- TPM -------------------------------------------------------------------------------------

_RH_OWNER, _RS_PW = 0x40000001, 0x40000009
_SESSIONS, _NO_SESSIONS = 0x8002, 0x8001
_STARTUP, _CREATE_PRIMARY, _ZGEN, _NV_DEFINE, _NV_WRITE, _NV_UNDEFINE = (
    0x144,
    0x131,
    0x154,
    0x12A,
    0x137,
    0x122,
)
_NV_INDEX = 0x01806900
_PASSWORD = struct.pack(">IIHBH", 9, _RS_PW, 0, 0, 0)


def connect_to_tpm(uri: str) -> socket.socket:
    """Connect to a swtpm on a Unix socket; it serves one client at a time."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(uri.partition("path=")[2])
    return connection


def tpm_command(connection: socket.socket, tag: int, code: int, body: bytes) -> bytes:
    """Send one command and return the whole response.

    Raises:
        RuntimeError: the response code is not 0.
    """
    connection.sendall(struct.pack(">HII", tag, 10 + len(body), code) + body)
    answer = connection.recv(4096)
    _, _, result = struct.unpack_from(">HII", answer)
    if result:
        raise RuntimeError(f"TPM answered {result:#x}")
    return answer


def tpm_operations(uri: str) -> tuple[Operation, Operation]:
    """Key agreement and NV write on a swtpm, with a key and an index of their own."""
    connection = connect_to_tpm(uri)

    def send(tag: int, code: int, body: bytes) -> bytes:
        return tpm_command(connection, tag, code, body)

    with suppress(RuntimeError):  # it was started before
        send(_NO_SESSIONS, _STARTUP, struct.pack(">H", 0))
    key = _create_ecdh_primary(send)
    points = [
        struct.pack(">HH", 68, 32) + point[1:33] + struct.pack(">H", 32) + point[33:]
        for point in (random_point() for _ in range(64))
    ]

    def agree() -> bytes:
        return send(_SESSIONS, _ZGEN, struct.pack(">I", key) + _PASSWORD + secrets.choice(points))

    _define_index(send)

    def write() -> bytes:
        data = struct.pack(">H", 73) + secrets.token_bytes(73) + struct.pack(">H", 0)
        return send(_SESSIONS, _NV_WRITE, struct.pack(">II", _NV_INDEX, _NV_INDEX) + _PASSWORD + data)

    return agree, write


def _create_ecdh_primary(send: Callable[[int, int, bytes], bytes]) -> int:
    """A P-256 key for ECDH in the owner hierarchy (part 3, TPM2_CreatePrimary)."""
    attributes = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 10 | 1 << 17
    public = struct.pack(">HHIH", 0x23, 0x0B, attributes, 0)
    public += struct.pack(">HHHH", 0x10, 0x10, 0x03, 0x10) + struct.pack(">HH", 0, 0)
    body = struct.pack(">I", _RH_OWNER) + _PASSWORD + struct.pack(">HHH", 4, 0, 0)
    body += struct.pack(">H", len(public)) + public + struct.pack(">HI", 0, 0)
    handle: int = struct.unpack_from(">I", send(_SESSIONS, _CREATE_PRIMARY, body), 10)[0]
    return handle


def _define_index(send: Callable[[int, int, bytes], bytes]) -> None:
    """An ordinary index of 73 bytes without a password (part 3, TPM2_NV_DefineSpace)."""
    attributes = 1 << 2 | 1 << 18 | 1 << 25
    public = struct.pack(">IHIHH", _NV_INDEX, 0x0B, attributes, 0, 73)
    owner = struct.pack(">I", _RH_OWNER) + _PASSWORD
    body = owner + struct.pack(">HH", 0, len(public)) + public
    try:
        send(_SESSIONS, _NV_DEFINE, body)
    except RuntimeError:  # left by an earlier run
        send(_SESSIONS, _NV_UNDEFINE, struct.pack(">II", _RH_OWNER, _NV_INDEX) + _PASSWORD)
        send(_SESSIONS, _NV_DEFINE, body)


def main(uri: str, pin_file: str, seconds: str) -> None:
    """Measure and print."""
    if uri.startswith("pkcs11:"):
        agree, write = pkcs11_operations(uri, Path(pin_file).read_text().strip())
    else:
        agree, write = tpm_operations(uri)
    result = {"agree_s": measure(agree, float(seconds)), "nv_write_s": measure(write, float(seconds))}
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main(*sys.argv[1:])
