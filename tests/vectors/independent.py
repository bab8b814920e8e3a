"""Makes the ``hwkm_*.json`` vectors by a second computation that shares no code with hwkm.

P-256, AES-GCM, Argon2id and MessagePack are the plain Python of ``tests/vectors/reference``;
SHA-256, HMAC, scrypt and BLAKE2b are the standard library's; Argon2id at its default cost, too
slow in Python, is OpenSSL's through `cryptography` (hwkm uses argon2-cffi). Inputs are SHA-256 of
their names, so that anyone can make them again. To write the files::

    python -m tests.vectors.independent
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
import unicodedata
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as OpensslArgon2id

from tests.vectors.reference import attempt_tree as tree
from tests.vectors.reference import data_keys, domain_token, ed25519, msgpack, p256, securebox
from tests.vectors.reference import transparency as log
from tests.vectors.reference.argon2id import Argon2id
from tests.vectors.reference.securebox import Sealed, Sealing

Document = dict[str, Any]

DIRECTORY = Path(__file__).parent
ORIGIN = "tests/vectors/independent.py, which shares no code with hwkm; byte strings are in hex"


def fixed(name: str, size: int = 32) -> bytes:
    """A reproducible input: the first bytes of SHA-256 of its name."""
    return hashlib.sha256(f"hwkm test vector: {name}".encode()).digest()[:size]


COHORT_PRIVATE_KEY = fixed("cohort private key")
COHORT_PUBLIC_KEY = p256.public_key(COHORT_PRIVATE_KEY)
BOOT_ID = fixed("boot id", 16)


# --- SecureBox -------------------------------------------------------------------------------


def sealed_box(name: str, what: Sealing, private_key: bytes | None) -> Document:
    """A vector: inputs, every intermediate value, and the box."""
    sealed = securebox.seal(what)
    return {
        "name": name,
        "our_private_key": private_key,
        **asdict(what),
        "intermediates": _intermediates(sealed),
        "box": sealed.box,
    }


def _intermediates(sealed: Sealed) -> Document:
    values = asdict(sealed)
    del values["box"]
    return {"hkdf_salt": securebox.SALT, **values}


def to_cohort(name: str, shared_secret: bytes, header: bytes, payload: bytes) -> Document:
    """A box to the cohort key."""
    what = Sealing(
        shared_secret,
        header,
        payload,
        fixed(f"{name}: nonce", 12),
        their_public_key=COHORT_PUBLIC_KEY,
        ephemeral_private_key=fixed(f"{name}: ephemeral private key"),
    )
    return sealed_box(name, what, COHORT_PRIVATE_KEY)


def to_secret(name: str, shared_secret: bytes, header: bytes, payload: bytes) -> Document:
    """A box to a shared secret only."""
    what = Sealing(shared_secret, header, payload, fixed(f"{name}: nonce", 12))
    return sealed_box(name, what, None)


def securebox_document() -> Document:
    secret, header, payload = b"a shared secret", b"a header", b"a payload of more than one AES block"
    vectors = [
        to_cohort("public key", b"", header, payload),
        to_cohort("public key, no header", b"", b"", payload),
        to_cohort("public key, no payload", b"", header, b""),
        to_cohort("public key, no header, no payload", b"", b"", b""),
        to_cohort("public key and shared secret", secret, header, payload),
        to_cohort("public key and shared secret, no header, no payload", secret, b"", b""),
        to_secret("shared secret", secret, header, payload),
        to_secret("shared secret, no header", secret, b"", payload),
        to_secret("shared secret, no payload", secret, header, b""),
        to_secret("shared secret of one zero byte", b"\0", header, bytes(16)),
    ]
    return {"spec": "docs/spec/securebox.md", "origin": ORIGIN, "vectors": vectors}


# --- knowledge factor ------------------------------------------------------------------------


def _argon2id(credential: bytes, salt: bytes, cost: tuple[int, int, int]) -> Document:
    memory, passes, lanes = cost
    ours = Argon2id(credential, salt, memory, passes, lanes)
    if memory <= 256:
        return {"h0": ours.h0, "kf_hash": ours.tag()}
    library = OpensslArgon2id(salt=salt, length=32, iterations=passes, lanes=lanes, memory_cost=memory)
    return {"h0": ours.h0, "kf_hash": library.derive(credential)}


def _scrypt(credential: bytes, salt: bytes, cost: tuple[int, int, int]) -> Document:
    n, r, p = cost
    return {"kf_hash": hashlib.scrypt(credential, salt=salt, n=n, r=r, p=p, dklen=32)}


def _salted_sha256(credential: bytes, salt: bytes, _cost: tuple[int, int, int]) -> Document:
    message = struct.pack("<I", len(salt)) + salt + struct.pack("<I", len(credential)) + credential
    return {"hashed_message": message, "kf_hash": hashlib.sha256(message).digest()}


STRETCH: dict[str, Callable[[bytes, bytes, tuple[int, int, int]], Document]] = {
    "argon2id": _argon2id,
    "scrypt": _scrypt,
    "sha256": _salted_sha256,
}


def hashed(name: str, kf_type: str, text: str, algorithm: str, cost: tuple[int, int, int]) -> Document:
    """A knowledge factor as typed, and what becomes of it."""
    credential = unicodedata.normalize("NFC", text).encode()
    salt = fixed(f"{name}: salt", 16)
    result = STRETCH[algorithm](credential, salt, cost)
    message = b"THM_KF_hash" + result["kf_hash"]
    return {
        "name": name,
        "type": kf_type,
        "text": text,
        "algorithm": algorithm,
        "salt": salt,
        **dict(zip(("memory", "iterations", "lanes"), cost, strict=True)),
        "credential": credential,
        **result,
        "thm_kf_hash_message": message,
        "thm_kf_hash": hashlib.sha256(message).digest(),
    }


def pattern_text(cells: list[tuple[int, int]]) -> str:
    """A pattern's (row, column) cells as Android writes them: 1 to 9, row by row."""
    return "".join(chr(ord("1") + 3 * row + column) for row, column in cells)


def knowledge_factor_document() -> Document:
    z_shape = [(0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (2, 1), (2, 2)]
    patterns = [
        [(0, 0), (1, 1), (2, 2), (2, 1)],
        z_shape,
        [(row, col) for row in range(3) for col in range(3)],
    ]
    default, android, none = (65536, 3, 4), (4096, 8, 1), (0, 0, 0)
    vectors = [
        hashed("argon2id, default cost", "pin", "031415", "argon2id", default),
        hashed("argon2id, smallest cost", "pin", "0000", "argon2id", (8, 1, 1)),
        hashed(
            "argon2id, 3 lanes, memory not a multiple of 4 lanes", "pin", "031415", "argon2id", (37, 2, 3)
        ),
        hashed("argon2id, segments longer than an address block", "password", "x", "argon2id", (520, 1, 1)),
        hashed("scrypt, Android's cost, PIN", "pin", "031415", "scrypt", android),
        hashed("scrypt, Android's cost, password", "password", "correct horse", "scrypt", android),
        hashed("scrypt, another cost", "pin", "031415", "scrypt", (16, 1, 2)),
        hashed("password outside ASCII, composed", "password", "Grüße 🗝", "sha256", none),
        hashed("password outside ASCII, decomposed", "password", "Gru\u0308ße 🗝", "sha256", none),
        *(
            hashed("salted sha256, pattern", "pattern", pattern_text(cells), "sha256", none)
            for cells in patterns
        ),
    ]
    return {
        "spec": "docs/spec/knowledge-factor.md",
        "origin": ORIGIN,
        "patterns": [{"cells": cells, "text": pattern_text(cells)} for cells in patterns],
        "vectors": vectors,
    }


# --- vault -----------------------------------------------------------------------------------


def vault_params(counter_id: int, max_attempts: int, handle: bytes) -> Document:
    """The fields of vault params and their 94 bytes."""
    encoded = COHORT_PUBLIC_KEY + struct.pack("<QI", counter_id, max_attempts) + handle
    return {
        "cohort_public_key": COHORT_PUBLIC_KEY,
        "counter_id": str(counter_id),
        "max_attempts": max_attempts,
        "handle": handle,
        "encoded": encoded,
    }


def application_keys(recovery_key: bytes) -> list[Document]:
    """Application keys without and with metadata."""
    return [
        {
            "metadata": metadata,
            "wrapped": to_secret(
                f"application key, {name}",
                recovery_key,
                b"V1 encrypted_application_key" + metadata,
                fixed(f"application key, {name}"),
            ),
        }
        for name, metadata in (("no metadata", b""), ("with metadata", b"somemetadata"))
    ]


def vault_document() -> Document:
    counter_id, handle = 0x1122334455667788, b"\x01" + fixed("handle", 16)
    kf_hash, recovery_key = fixed("kf_hash"), fixed("recovery key")
    claimant_key, challenge = fixed("claimant key", 16), fixed("challenge")
    thm_kf_hash = hashlib.sha256(b"THM_KF_hash" + kf_hash).digest()
    params = vault_params(counter_id, 10, handle)
    bound = params["encoded"]
    inner = to_secret("inner box", kf_hash, b"V1 locally_encrypted_recovery_key", recovery_key)
    vault = to_cohort("vault", thm_kf_hash, b"V1 THM_encrypted_recovery_key" + bound, inner["box"])
    claim = to_cohort("claim", b"", b"V1 KF_claim" + bound + challenge, thm_kf_hash + claimant_key)
    response = to_secret("response", claimant_key, b"V1 reencrypted_recovery_key" + bound, inner["box"])
    vault_digest = hashlib.sha256(b"hwkm vault digest v1" + bound + vault["box"]).digest()
    claim_message = b"hwkm claim digest v1" + vault_digest + challenge + claim["box"]
    return {
        "spec": "docs/spec/vault.md",
        "origin": ORIGIN,
        "cohort_private_key": COHORT_PRIVATE_KEY,
        "params": [
            params,
            vault_params(0, 1, bytes(17)),
            vault_params(2**64 - 1, 2**32 - 1, b"\xff" * 17),
        ],
        "kf_hash": kf_hash,
        "thm_kf_hash": thm_kf_hash,
        "recovery_key": recovery_key,
        "claimant_key": claimant_key,
        "challenge": challenge,
        "inner": inner,
        "vault": vault,
        "claim": claim,
        "response": response,
        "application_keys": application_keys(recovery_key),
        "vault_digest": vault_digest,
        "claim_digest": hashlib.sha256(claim_message).digest(),
    }


# --- attempt tree ----------------------------------------------------------------------------


def instant(boot_id: bytes, ms: int) -> bytes:
    return boot_id + ms.to_bytes(8, "big")


def claim_entry(name: str, ms: int) -> Document:
    digest = fixed(f"claim digest {name}")
    return {
        "digest": digest,
        "boot_id": BOOT_ID,
        "ms": str(ms),
        "encoded": tree.claim_entry(digest, BOOT_ID, ms),
    }


def counter(
    name: str,
    numbers: tuple[int, int],
    charges: list[Document],
    *,
    opened: Document | None = None,
    charged_at: tuple[bytes, int] = (BOOT_ID, 1_000_000),
) -> Document:
    """A counter's fields and its bytes; ``numbers`` are carried and unresolved."""
    vault_digest = fixed("vault digest")
    opened_bytes = opened["encoded"] if opened else b""
    charge_bytes = [charge["encoded"] for charge in charges]
    return {
        "name": name,
        "carried": numbers[0],
        "unresolved": numbers[1],
        "vault_digest": vault_digest,
        "charged_at": {"boot_id": charged_at[0], "ms": str(charged_at[1])},
        "opened": opened,
        "charges": charges,
        "encoded": tree.counter(numbers, vault_digest, instant(*charged_at), opened_bytes, charge_bytes),
    }


def counters() -> list[Document]:
    first, second = claim_entry("one", 1_060_000), claim_entry("two", 1_070_000)
    return [
        counter("never charged", (0, 0), [], charged_at=(bytes(16), 0)),
        counter("one charge without a verdict", (0, 1), [first]),
        counter("two wrong, one opened before them", (0, 0), [first, second], opened=claim_entry("zero", 9)),
        counter("three carried over from a replaced vault", (3, 0), [second]),
        counter("one hundred attempts", (98, 2), [first, second], charged_at=(BOOT_ID, 2**64 - 1)),
    ]


def grown_tree(name: str, values: Mapping[bytes, bytes]) -> Document:
    """A tree's leaves, nodes (children first) and root."""
    grown = tree.Tree()
    root = grown.root(dict(values))
    return {
        "name": name,
        "leaves": [{"key": key, "value": value} for key, value in values.items()],
        "root": root,
        "nodes": [{"digest": tree.node_digest(node), "node": node} for node in grown.nodes],
    }


def trees() -> list[Document]:
    alone = fixed("leaf alone")
    beside = alone[:2] + bytes([alone[2] ^ 0x01]) + alone[3:]
    far = bytes([alone[0] ^ 0x0F]) + alone[1:]
    five = [alone, beside, far, fixed("fourth leaf"), fixed("fifth leaf")]
    twins = [bytes(31) + b"\x00", bytes(31) + b"\x0f"]
    return [
        grown_tree("empty", {}),
        grown_tree("one leaf is the root itself", {alone: b"value"}),
        grown_tree("five leaves, two sharing five nibbles", {key: b"value of " + key[:4] for key in five}),
        grown_tree("two leaves sharing 63 nibbles", {key: key[-1:] for key in twins}),
    ]


def refused_counters() -> list[Document]:
    valid = counter("", (0, 1), [claim_entry("one", 1)])["encoded"]
    return [
        {"why": "empty", "encoded": b""},
        {"why": "one byte short", "encoded": valid[:-1]},
        {"why": "one byte too many", "encoded": valid + b"\0"},
        {"why": "version 2", "encoded": b"\2" + valid[1:]},
        {"why": "more charges announced than there are", "encoded": valid[:3] + b"\2" + valid[4:]},
        {"why": "101 attempts", "encoded": valid[:1] + b"\x64" + valid[2:]},
        {"why": "101 unresolved", "encoded": valid[:2] + b"\x65" + valid[3:]},
        {"why": "a charge whose digest is zeros", "encoded": valid[:116] + bytes(32) + valid[148:]},
        {"why": "opened without a digest, but with a time", "encoded": valid[:92] + BOOT_ID + valid[108:]},
    ]


def refused_nodes() -> list[Document]:
    one = tree.branch({"3": fixed("child")})
    return [
        {"why": "empty", "encoded": b""},
        {"why": "unknown kind", "encoded": b"\2" + fixed("leaf") + b"value"},
        {"why": "leaf with a short key", "encoded": b"\0" + bytes(31)},
        {"why": "leaf without a value", "encoded": b"\0" + bytes(32)},
        {"why": "branch without a bitmap", "encoded": b"\1"},
        {"why": "branch without children", "encoded": b"\1\0\0"},
        {"why": "branch with a digest missing", "encoded": one[:-32]},
        {"why": "branch with a digest too many", "encoded": one + fixed("child")},
        {"why": "branch with a byte too many", "encoded": one + b"\0"},
        {"why": "branch with a digest of zeros", "encoded": one[:3] + bytes(32)},
    ]


def attempt_tree_document() -> Document:
    handles = (bytes(17), b"\x01" + fixed("handle", 16))
    digests = {"0": fixed("child 0"), "3": fixed("child 3"), "f": fixed("child f")}
    return {
        "spec": "docs/spec/attempt-tree.md",
        "origin": ORIGIN,
        "counter_keys": [
            {"counter_id": str(counter_id), "handle": handle, "key": tree.counter_key(counter_id, handle)}
            for counter_id in (0, 1, 0x1122334455667788, 2**64 - 1)
            for handle in handles
        ],
        "counters": counters(),
        "branch": {"children": digests, "encoded": tree.branch(digests)},
        "trees": trees(),
        "refused_counters": refused_counters(),
        "refused_nodes": refused_nodes(),
    }


# --- anchor ----------------------------------------------------------------------------------


def anchor(name: str, epoch: int, root: bytes, number: int = 0, members: int = 1) -> Document:
    cohort = hashlib.sha256(COHORT_PUBLIC_KEY).digest()
    encoded = epoch.to_bytes(8, "big") + root + cohort
    encoded = b"\1" + encoded if members == 1 else b"\2" + encoded + bytes([number, members])
    return {
        "name": name,
        "epoch": str(epoch),
        "root": root,
        "cohort": cohort,
        "number": number,
        "members": members,
        "encoded": encoded,
    }


def anchor_document() -> Document:
    valid = anchor("", 7, fixed("root"))["encoded"]
    member = anchor("", 7, fixed("root"), 1, 3)["encoded"]
    return {
        "spec": "docs/spec/anchor.md",
        "origin": ORIGIN,
        "vectors": [
            anchor("empty tree", 0, bytes(32)),
            anchor("a root", 0x0102030405060708, fixed("root")),
            anchor("the last epoch", 2**64 - 1, fixed("root")),
            anchor("first of three members", 1, fixed("root"), 0, 3),
            anchor("last of sixteen members", 2, fixed("root"), 15, 16),
        ],
        "refused": [
            {"why": "empty", "encoded": b""},
            {"why": "one byte short", "encoded": valid[:-1]},
            {"why": "one byte too many", "encoded": valid + b"\0"},
            {"why": "version 0", "encoded": b"\0" + valid[1:]},
            {"why": "version 2", "encoded": b"\2" + valid[1:]},
            {"why": "version 1 with a membership", "encoded": b"\1" + member[1:]},
            {"why": "version 3", "encoded": b"\3" + member[1:]},
            {"why": "version 2 of a module alone", "encoded": member[:-2] + bytes([0, 1])},
            {"why": "no members", "encoded": member[:-2] + bytes([0, 0])},
            {"why": "as many as its number", "encoded": member[:-2] + bytes([3, 3])},
            {"why": "seventeen members", "encoded": member[:-2] + bytes([0, 17])},
            {"why": "one byte more than a member's", "encoded": member + b"\0"},
        ],
        "tpm_authorisation": [tpm_authorisation(name) for name in ("cohort", "audit", "anchor")],
    }


def tpm_authorisation(name: str) -> Document:
    pin = "0123456789abcdef0123456789abcdef"
    text = f"hwkm tpm authorisation v1\0{name}\0{pin}"
    value = hashlib.sha256(text.encode()).digest()[:31] + b"\1"
    return {"object": name, "pin": pin, "value": value}


# --- core channel ----------------------------------------------------------------------------


def frame(name: str, message: msgpack.Value) -> Document:
    body = msgpack.encode(message)
    return {"name": name, "message": message, "frame": struct.pack(">I", len(body)) + body}


def core_channel_document() -> Document:
    params, vault, challenge = fixed("p") * 3, fixed("v") * 5, fixed("challenge")
    return {
        "spec": "docs/spec/core-channel.md",
        "origin": ORIGIN,
        "requests": [
            frame("stop", [1, {"type": "stop"}]),
            frame("read counter", [300, {"type": "read_counter", "params": params[:94]}]),
            frame(
                "issue challenge",
                [70000, {"type": "issue_challenge", "params": params[:94], "vault": vault[:157]}],
            ),
        ],
        "replies": [
            frame("done", [1, {"type": "done"}]),
            frame("wrong", [2, {"type": "vault_wrong", "attempts_remaining": 9, "retry_after_ms": 30000}]),
            frame(
                "challenge issued",
                [
                    3,
                    {
                        "type": "challenge_issued",
                        "challenge": challenge,
                        "expires_in_ms": 60000,
                        "attempts_remaining": 10,
                        "retry_after_ms": 0,
                        "suspended": False,
                    },
                ],
            ),
        ],
    }


# --- transparency log ------------------------------------------------------------------------

LOG_NAME, WITNESS_NAME = "hwkm.example/log", "witness.example/w1"
LOG_SIZE, OLD_SIZE = 600, 257


def log_proofs(entries: list[bytes]) -> Document:
    inclusion = [(0, 1), (0, 2), (6, 7), (255, 256), (256, 257), (300, 600), (599, 600)]
    consistency = [(1, 2), (3, 7), (4, 7), (256, 257), (257, 600), (512, 600)]
    return {
        "roots": {str(size): log.mth(entries[:size]) for size in (0, 1, 2, 3, 7, 256, 257, 600)},
        "inclusion": [
            {"index": m, "size": size, "proof": log.path(m, entries[:size])} for m, size in inclusion
        ],
        "consistency": [
            {"old": m, "new": size, "proof": log.proof(m, entries[:size])} for m, size in consistency
        ],
    }


def log_tiles(entries: list[bytes]) -> list[Document]:
    paths = {"tile/0/000": (0, 0), "tile/0/002.p/88": (0, 2), "tile/1/000.p/2": (1, 0)}
    tiles = [{"path": path, "sha256": log.sha256(log.tile(*at, entries))} for path, at in paths.items()]
    partial = {"path": "tile/entries/002.p/88", "sha256": log.sha256(log.bundle(entries[512:]))}
    return [*tiles, partial]


def log_document() -> Document:
    entries = [f"entry {number}".encode() for number in range(LOG_SIZE)]
    private_key, log_seed, witness_seed = (
        fixed(f"{name} private key") for name in ("log", "seed", "witness")
    )
    point, time_s = p256.public_key(private_key), 1_767_225_599
    root = log.text64(log.mth(entries))
    text = f"{LOG_NAME}\n{LOG_SIZE}\n{root}\n"
    signature = log.ecdsa(private_key, fixed("log nonce"), text.encode())
    ecdsa_line = log.line(LOG_NAME, log.sha256(log.spki(point))[:4], signature)
    public_seed, witness = ed25519.public_key(log_seed), ed25519.public_key(witness_seed)
    ed25519_line = log.line(
        LOG_NAME, log.key_id(LOG_NAME, 1, public_seed), ed25519.sign(log_seed, text.encode())
    )
    cosigned = log.cosignature(witness_seed, time_s, text)
    cosigned_line = log.line(WITNESS_NAME, log.key_id(WITNESS_NAME, 4, witness), cosigned)
    note = f"{text}\n{ecdsa_line}{ed25519_line}{cosigned_line}"
    proof = [log.text64(one) for one in log.path(300, entries)]
    old_root = log.text64(log.mth(entries[:OLD_SIZE]))
    consistency = [log.text64(one) for one in log.proof(OLD_SIZE, entries)]
    return {
        "spec": "docs/spec/log.md",
        "origin": ORIGIN + "; entry n is the ASCII text `entry n`",
        "size": LOG_SIZE,
        "log_private_key": private_key,
        "log_point": point,
        "log_seed": log_seed,
        "witness_seed": witness_seed,
        "log_vkey": log.vkey(LOG_NAME, 2, log.spki(point)),
        "log_ed25519_vkey": log.vkey(LOG_NAME, 1, public_seed),
        "witness_vkey": log.vkey(WITNESS_NAME, 4, witness),
        "witness_skey": log.skey(WITNESS_NAME, witness_seed),
        "cosignature_time": time_s,
        "checkpoint": text,
        "signed_checkpoint": note,
        "old_checkpoint": f"{LOG_NAME}\n{OLD_SIZE}\n{old_root}\n",
        "witness_request": "\n".join([f"old {OLD_SIZE}", *consistency, "", ""]) + note,
        "proof_file": "\n".join(
            ["c2sp.org/tlog-proof@v1", f"extra {log.text64(entries[300])}", "index 300", *proof, "", ""]
        )
        + note,
        **log_proofs(entries),
        "tiles": log_tiles(entries),
    }


# --- key service -----------------------------------------------------------------------------

CMK = fixed("customer master key")
KEY_ID = fixed("key id", 16)
TENANT = {"tenant": "mint", "file": "2026/invoice.pdf"}


def context_vector(name: str, pairs: dict[str, str]) -> Document:
    encoded = data_keys.encode_context(pairs)
    return {
        "name": name,
        "pairs": list(pairs.items()),
        "encoded": encoded,
        "digest": hashlib.sha256(encoded).digest(),
    }


def context_document() -> Document:
    many = {f"key {number}": "v" * number for number in range(64)}
    return {
        "spec": "docs/spec/context.md",
        "origin": ORIGIN,
        "contexts": [
            context_vector("empty", {}),
            context_vector("one pair", {"tenant": "mint"}),
            context_vector("sorted by key, however it was written", TENANT),
            context_vector("an empty value", {"flag": ""}),
            context_vector("sorted by bytes of UTF-8, not of UTF-16", {"\U00010000": "a", "\uffee": "b"}),
            context_vector(
                "no normal form: what looks the same stays two keys", {"e\u0301": "1", "\u00e9": "2"}
            ),
            context_vector("64 pairs", many),
        ],
        "refused": [
            {"why": "no count", "encoded": b"\0"},
            {"why": "count without pairs", "encoded": b"\0\1"},
            {"why": "bytes after the last pair", "encoded": b"\0\0\0"},
            {"why": "pairs not sorted", "encoded": bytes.fromhex("0002 0001 62 0000 0001 61 0000")},
            {"why": "a key twice", "encoded": bytes.fromhex("0002 0001 61 0000 0001 61 0001 31")},
            {"why": "an empty key", "encoded": bytes.fromhex("0001 0000 0001 31")},
            {"why": "a value cut short", "encoded": bytes.fromhex("0001 0001 61 0002 31")},
            {"why": "not UTF-8", "encoded": bytes.fromhex("0001 0001 ff 0000")},
            {
                "why": "65 pairs",
                "encoded": b"\0\x41" + b"".join(bytes([0, 1, 32 + n, 0, 0]) for n in range(65)),
            },
        ],
    }


def ciphertext_vector(name: str, version: int, pairs: dict[str, str], plaintext: bytes) -> Document:
    context, nonce = data_keys.encode_context(pairs), fixed(f"{name}: nonce", 16)
    made = asdict(data_keys.encrypt(CMK, KEY_ID, version, context, nonce, plaintext))
    ciphertext = made.pop("ciphertext")
    return {
        "name": name,
        "version": version,
        "context": list(pairs.items()),
        "nonce": nonce,
        "plaintext": plaintext,
        "intermediates": made,
        "ciphertext": ciphertext,
    }


def ciphertext_document() -> Document:
    return {
        "spec": "docs/spec/ciphertext.md",
        "origin": ORIGIN,
        "customer_master_key": CMK,
        "key_id": KEY_ID,
        "vectors": [
            ciphertext_vector("a data key", 1, TENANT, fixed("data key")),
            ciphertext_vector("no context", 1, {}, fixed("data key")),
            ciphertext_vector("one byte, the last version", 2**32 - 1, TENANT, b"x"),
            ciphertext_vector(
                "several blocks", 2, {"tenant": "mint"}, b"plaintext of more than one AES block"
            ),
        ],
    }


def wrapped_vector(name: str, numbers: tuple[int, int, int, int], blob: bytes, key: bytes | None) -> Document:
    backend, kind, generation, version = numbers
    bound = data_keys.bound_part(backend, kind, generation, KEY_ID, version, blob)
    binding = hmac.new(key, bound, hashlib.sha256).digest() if key else b""
    return {
        "name": name,
        "backend": backend,
        "kind": kind,
        "generation": generation,
        "key_id": KEY_ID,
        "version": version,
        "blob": blob,
        "binding_key": key,
        "binding": binding,
        "encoded": bound + binding,
    }


def wrapped_key_document() -> Document:
    mac_key = fixed("binding key")
    return {
        "spec": "docs/spec/wrapped-key.md",
        "origin": ORIGIN,
        "vectors": [
            wrapped_vector("on a PKCS#11 token", (2, 1, 1, 1), fixed("blob") + fixed("blob", 8), mac_key),
            wrapped_vector(
                "bound by the hardware's own object", (3, 6, 2**32 - 1, 2**32 - 1), fixed("b"), None
            ),
        ],
    }


# --- domain token ----------------------------------------------------------------------------


def domain_token_document() -> Document:
    exchange, identity, sender, ephemeral = (
        fixed(f"{name} private key") for name in ("exchange", "identity", "sender", "ephemeral")
    )
    exchange_point, identity_point = p256.public_key(exchange), p256.public_key(identity)
    claims = b"a claim"
    body = domain_token.statement_body(2, exchange_point, identity_point, claims)
    statement_digest = domain_token.digest(b"hwkm exchange statement v1", body)
    fingerprint = domain_token.fingerprint(2, exchange_point, identity_point)
    wrapping_key = p256.agree(ephemeral, exchange_point)
    blob = domain_token.wrap(wrapping_key, CMK)
    transport, sender_point = p256.public_key(ephemeral), p256.public_key(sender)
    token = domain_token.token_body(2, sender_point, fingerprint, transport, [(1, KEY_ID, 7, blob)])
    token_digest = domain_token.digest(b"hwkm domain token v1", token)
    return {
        "spec": "docs/spec/domain-token.md",
        "origin": ORIGIN,
        "statement": {
            "backend": 2,
            "exchange_private_key": exchange,
            "exchange_key": exchange_point,
            "identity_private_key": identity,
            "identity_key": identity_point,
            "claims": claims,
            "signed_digest": statement_digest,
            "fingerprint": fingerprint,
            "encoded": body + domain_token.sign(identity, fixed("statement nonce"), statement_digest),
        },
        "token": {
            "backend": 2,
            "sender_private_key": sender,
            "sender": sender_point,
            "sender_digest": hashlib.sha256(sender_point).digest(),
            "ephemeral_private_key": ephemeral,
            "transport": transport,
            "wrapping_key": wrapping_key,
            "kind": 1,
            "key_id": KEY_ID,
            "version": 7,
            "customer_master_key": CMK,
            "blob": blob,
            "signed_digest": token_digest,
            "encoded": token + domain_token.sign(sender, fixed("token nonce"), token_digest),
        },
        "tpm": {
            "secret": fixed("credential secret"),
            "name": b"\0\x0b" + fixed("name"),
            "passing_authorisation": domain_token.passing_authorisation(
                fixed("credential secret"), b"\0\x0b" + fixed("name")
            ),
            "inner_key": domain_token.inner_key(fixed("credential secret"), b"\0\x0b" + fixed("name")),
        },
    }


# --- cohort ----------------------------------------------------------------------------------


def cohort_document() -> Document:
    joining, identity, sender, ephemeral, cohort = (
        fixed(f"cohort {name} private key")
        for name in ("joining", "identity", "sender", "ephemeral", "cohort")
    )
    joining_point, identity_point = p256.public_key(joining), p256.public_key(identity)
    claims = b"insecure-memory: no hardware holds this key"
    body = domain_token.statement_body(1, joining_point, identity_point, claims)
    digest = domain_token.digest(b"hwkm exchange statement v1", body)
    statement = body + domain_token.sign(identity, fixed("cohort statement nonce"), digest)
    fingerprint = domain_token.fingerprint(1, joining_point, identity_point)
    wrapping_key = p256.agree(ephemeral, joining_point)
    blob, transport = domain_token.wrap(wrapping_key, cohort), p256.public_key(ephemeral)
    points = (p256.public_key(sender), p256.public_key(cohort))
    invitation = domain_token.invitation_body(1, points, fingerprint, (2, 3), (transport, blob))
    invitation_digest = domain_token.digest(b"hwkm cohort invitation v1", invitation)
    return {
        "spec": "docs/spec/cohort.md",
        "origin": ORIGIN,
        "request": {
            "backend": 1,
            "joining_private_key": joining,
            "joining_key": joining_point,
            "identity_private_key": identity,
            "identity_key": identity_point,
            "claims": claims,
            "statement": statement,
            "proof": b"",
            "fingerprint": fingerprint,
            "encoded": domain_token.request(1, statement, b""),
        },
        "invitation": {
            "backend": 1,
            "sender_private_key": sender,
            "sender": points[0],
            "sender_digest": hashlib.sha256(points[0]).digest(),
            "cohort_private_key": cohort,
            "cohort_public_key": points[1],
            "number": 2,
            "members": 3,
            "ephemeral_private_key": ephemeral,
            "transport": transport,
            "wrapping_key": wrapping_key,
            "blob": blob,
            "signed_digest": invitation_digest,
            "encoded": invitation + domain_token.sign(sender, fixed("cohort nonce"), invitation_digest),
        },
    }


# --- code-bound keys -------------------------------------------------------------------------


def code_bound_document() -> Document:
    """Written out byte by byte, from the tables of TPM 2.0 parts 2 and 3."""
    names = ("hwkm/__init__.py", "hwkm/core/life.py", "setting max_attempts_limit")
    manifest = {name: hashlib.sha256(name.encode()).digest() for name in names}
    entries = b"".join(bytes((0, len(name))) + name.encode() + manifest[name] for name in names)
    manifest_digest = hashlib.sha256(b"hwkm code manifest v1" + b"\0" + entries).digest()
    code_value = hashlib.sha256(bytes(32) + manifest_digest).digest()
    boot = {0: fixed("boot PCR 0"), 7: fixed("boot PCR 7")}
    selection = bytes.fromhex("00000001000b03812000")
    pcr_digest = hashlib.sha256(boot[0] + boot[7] + code_value).digest()
    step = hashlib.sha256(bytes(32) + bytes.fromhex("0000017f") + selection + pcr_digest).digest()
    return {
        "spec": "docs/spec/code-bound.md",
        "origin": ORIGIN,
        "manifest": manifest,
        "code_pcr": 13,
        "boot_pcrs": [{"number": number, "value": value} for number, value in boot.items()],
        "manifest_digest": manifest_digest,
        "code_pcr_value": code_value,
        "selection": selection,
        "pcr_digest": pcr_digest,
        "after_policy_pcr": step,
        "policy_digest": hashlib.sha256(step + bytes.fromhex("0000016b")).digest(),
    }


# --- audit log -------------------------------------------------------------------------------


def audit_record(fields: Document) -> Document:
    """A record: sorted names, no white space, and CRC-32 of the line with zeros for the checksum."""
    unset = json.dumps(
        fields | {"check": "00000000"}, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    check = f"{zlib.crc32(unset.encode()):08x}"
    line = json.dumps(fields | {"check": check}, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return {"line": line, "leaf_hash": log.sha256(b"\0" + line.encode())}


def audit_log_document() -> Document:
    handle, moment = bytes(range(17)).hex(), "2025-12-31T23:59:59.007Z"
    arn = "arn:aws:kms:us-east-1:000000000001:key/0d990263-6481-4bd8-a1ae-7d36e7e0c8a1"
    records: list[Document] = [
        {
            "caller": {"uid": 1000, "gid": 1000, "pid": 4242},
            "operation": "vault.open",
            "outcome": "wrong_knowledge_factor",
            "request": "0a1b2c3d-1",
            "vault": handle,
        },
        {
            "caller": {"access_key": "AKIAEXAMPLE", "account": "000000000001"},
            "operation": "key.decrypt",
            "outcome": "ok",
            "request": "0a1b2c3d-2",
            "key": arn,
            "key_version": 3,
            "context": {"tenant": "alice", "object": "Grüße\n\u2028🗝"},
        },
        {
            "caller": {"uid": 0, "gid": 0, "pid": 1},
            "operation": "audit.repair",
            "outcome": "torn_tail_dropped",
            "detail": {"dropped_bytes": "17"},
        },
    ]
    made = [audit_record(fields | {"index": index, "time": moment}) for index, fields in enumerate(records)]
    entries = [record["line"].encode() for record in made]
    private_key = fixed("audit private key")
    point = p256.public_key(private_key)
    origin = "hwkm.audit/" + log.sha256(point).hex()[:32]
    text = f"{origin}\n{len(entries)}\n{log.text64(log.mth(entries))}\n"
    signature = log.ecdsa(private_key, fixed("audit nonce"), text.encode())
    signed = text + "\n" + log.line(origin, log.sha256(log.spki(point))[:4], signature)
    return {
        "spec": "docs/spec/audit-log.md",
        "origin": ORIGIN,
        "records": made,
        "roots": [log.mth(entries[:size]) for size in range(len(entries) + 1)],
        "bundle": log.bundle(entries),
        "audit_private_key": private_key,
        "audit_point": point,
        "log_key": log.vkey(origin, 2, log.spki(point)),
        "checkpoint": signed,
    }


# --- files -----------------------------------------------------------------------------------

DOCUMENTS: dict[str, Callable[[], Document]] = {
    "hwkm_securebox.json": securebox_document,
    "hwkm_knowledge_factor.json": knowledge_factor_document,
    "hwkm_vault.json": vault_document,
    "hwkm_attempt_tree.json": attempt_tree_document,
    "hwkm_anchor.json": anchor_document,
    "hwkm_core_channel.json": core_channel_document,
    "hwkm_context.json": context_document,
    "hwkm_ciphertext.json": ciphertext_document,
    "hwkm_wrapped_key.json": wrapped_key_document,
    "hwkm_domain_token.json": domain_token_document,
    "hwkm_cohort.json": cohort_document,
    "hwkm_code_bound.json": code_bound_document,
    "hwkm_log.json": log_document,
    "hwkm_audit_log.json": audit_log_document,
}


def encoded(name: str) -> str:
    """The text of one vector file."""
    text = json.dumps(DOCUMENTS[name](), default=bytes.hex, indent=1, ensure_ascii=False)
    return text + "\n"


def main() -> None:
    for name in DOCUMENTS:
        (DIRECTORY / name).write_text(encoded(name), encoding="utf-8")


if __name__ == "__main__":
    main()
