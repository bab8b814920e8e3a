"""hwkm against vectors of an independent computation, in both directions.

hwkm draws nonces and ephemeral keys itself, so its own boxes are checked by letting the second
computation open them.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto import p256, securebox
from hwkm.crypto.knowledge_factor import (
    KfAlgorithm,
    KfParams,
    encode_credential,
    hash_credential,
    thm_kf_hash,
)
from hwkm.errors import FormatError
from hwkm.formats import vault as boxes
from hwkm.formats.anchor import AnchorState
from hwkm.formats.counter import ClaimEntry, Counter, Instant, counter_key
from hwkm.formats.membership import Membership
from hwkm.formats.tree_node import Branch, Leaf, node_digest, parse_node
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.tree import Tree
from hwkm.wire.core_messages import ReplyFrame, RequestFrame
from hwkm.wire.framing import FrameReader, encode_frame
from tests.vault_world import DictionaryNodes
from tests.vectors.files import Vector, label, load, unhex
from tests.vectors.reference import securebox as reference

SECUREBOX = load("hwkm_securebox.json")
KNOWLEDGE_FACTOR = load("hwkm_knowledge_factor.json")
VAULT = load("hwkm_vault.json")
ATTEMPT_TREE = load("hwkm_attempt_tree.json")
ANCHOR = load("hwkm_anchor.json")
CORE_CHANNEL = load("hwkm_core_channel.json")

PRIVATE_KEY = unhex(VAULT, "cohort_private_key")
PARAMS = unhex(VAULT["params"][0], "encoded")
PUBLIC_KEY = unhex(VAULT["params"][0], "cohort_public_key")


def agreed(sealed: bytes) -> bytes:
    point = p256.load_point(securebox.sender_point(sealed))
    return p256.load_scalar(PRIVATE_KEY).exchange(ec.ECDH(), point)


def optional(vector: Vector, name: str) -> bytes | None:
    return None if vector[name] is None else unhex(vector, name)


def box(name: str) -> bytes:
    return unhex(VAULT[name], "box")


# --- SecureBox -------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", SECUREBOX["vectors"], ids=label)
def test_hwkm_opens_the_reference_box(vector: Vector) -> None:
    secret, header = unhex(vector, "shared_secret"), unhex(vector, "header")
    payload = securebox.decrypt(optional(vector, "our_private_key"), secret, header, unhex(vector, "box"))
    assert payload == unhex(vector, "payload")


@pytest.mark.parametrize("vector", SECUREBOX["vectors"], ids=label)
def test_reference_opens_the_hwkm_box(vector: Vector) -> None:
    secret, header, payload = (unhex(vector, name) for name in ("shared_secret", "header", "payload"))
    made = securebox.encrypt(optional(vector, "their_public_key"), secret, header, payload)
    assert len(made) == len(unhex(vector, "box"))
    assert reference.open_box(optional(vector, "our_private_key"), secret, header, made) == payload


# --- knowledge factor ------------------------------------------------------------------------


@pytest.mark.parametrize("vector", KNOWLEDGE_FACTOR["vectors"], ids=label)
def test_knowledge_factor(vector: Vector) -> None:
    cost = (vector["memory"], vector["iterations"], vector["lanes"])
    params = KfParams(KfAlgorithm(vector["algorithm"]), unhex(vector, "salt"), *cost)
    credential = encode_credential(vector["text"])
    assert credential.expose() == unhex(vector, "credential")
    kf_hash = hash_credential(credential, params).expose()
    assert kf_hash == unhex(vector, "kf_hash")
    assert thm_kf_hash(kf_hash) == unhex(vector, "thm_kf_hash")


@pytest.mark.parametrize("pattern", KNOWLEDGE_FACTOR["patterns"], ids=lambda pattern: str(pattern["text"]))
def test_pattern_is_one_ascii_digit_a_cell(pattern: Vector) -> None:
    digits = bytes(ord("1") + 3 * row + column for row, column in pattern["cells"])
    assert encode_credential(pattern["text"]).expose() == digits


# --- vault -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VAULT["params"], ids=["usual", "lowest", "highest"])
def test_vault_params(vector: Vector) -> None:
    params = VaultParams(
        unhex(vector, "cohort_public_key"),
        int(vector["counter_id"]),
        vector["max_attempts"],
        unhex(vector, "handle"),
    )
    assert params.encode() == unhex(vector, "encoded")
    assert VaultParams.parse(unhex(vector, "encoded")) == params


@pytest.mark.parametrize(
    ("name", "length"),
    [
        ("inner", boxes.INNER_BYTES),
        ("vault", boxes.VAULT_BYTES),
        ("claim", boxes.CLAIM_BYTES),
        ("response", boxes.RESPONSE_BYTES),
    ],
)
def test_lengths(name: str, length: int) -> None:
    assert len(box(name)) == length


def test_thm_opens_the_reference_claim_and_vault() -> None:
    claim = boxes.open_claim(agreed(box("claim")), PARAMS, unhex(VAULT, "challenge"), box("claim"))
    assert claim.thm_kf_hash == unhex(VAULT, "thm_kf_hash")
    assert claim.claimant_key == unhex(VAULT, "claimant_key")
    assert boxes.open_vault(agreed(box("vault")), claim.thm_kf_hash, PARAMS, box("vault")) == box("inner")


def test_client_opens_the_reference_response() -> None:
    inner = boxes.open_response(unhex(VAULT, "claimant_key"), PARAMS, box("response"))
    assert inner == box("inner")
    assert boxes.open_recovery_key(unhex(VAULT, "kf_hash"), inner) == unhex(VAULT, "recovery_key")


def test_reference_opens_the_hwkm_vault() -> None:
    inner = boxes.seal_recovery_key(unhex(VAULT, "kf_hash"), unhex(VAULT, "recovery_key"))
    vault = boxes.seal_vault(PUBLIC_KEY, unhex(VAULT, "thm_kf_hash"), PARAMS, inner)
    header = unhex(VAULT["vault"], "header")
    assert reference.open_box(PRIVATE_KEY, unhex(VAULT, "thm_kf_hash"), header, vault) == inner
    opened = reference.open_box(None, unhex(VAULT, "kf_hash"), unhex(VAULT["inner"], "header"), inner)
    assert opened == unhex(VAULT, "recovery_key")


def test_reference_opens_the_hwkm_claim() -> None:
    proof = boxes.OpenedClaim(unhex(VAULT, "thm_kf_hash"), unhex(VAULT, "claimant_key"))
    claim = boxes.seal_claim(PUBLIC_KEY, PARAMS, unhex(VAULT, "challenge"), proof)
    payload = reference.open_box(PRIVATE_KEY, b"", unhex(VAULT["claim"], "header"), claim)
    assert payload == proof.thm_kf_hash + proof.claimant_key


def test_reference_opens_the_hwkm_response() -> None:
    response = boxes.seal_response(unhex(VAULT, "claimant_key"), PARAMS, box("inner"))
    header = unhex(VAULT["response"], "header")
    assert reference.open_box(None, unhex(VAULT, "claimant_key"), header, response) == box("inner")


@pytest.mark.parametrize("vector", VAULT["application_keys"], ids=["no metadata", "with metadata"])
def test_application_keys(vector: Vector) -> None:
    recovery_key, metadata = unhex(VAULT, "recovery_key"), unhex(vector, "metadata")
    payload, header = unhex(vector["wrapped"], "payload"), unhex(vector["wrapped"], "header")
    wrapped = unhex(vector["wrapped"], "box")
    assert len(wrapped) == boxes.WRAPPED_APPLICATION_KEY_BYTES
    assert boxes.unwrap_application_key(recovery_key, wrapped, metadata) == payload
    made = boxes.wrap_application_key(recovery_key, payload, metadata)
    assert reference.open_box(None, recovery_key, header, made) == payload


def test_digests() -> None:
    digest = boxes.vault_digest(PARAMS, box("vault"))
    assert digest == unhex(VAULT, "vault_digest")
    claim = boxes.claim_digest(digest, unhex(VAULT, "challenge"), box("claim"))
    assert claim == unhex(VAULT, "claim_digest")


# --- attempt tree ----------------------------------------------------------------------------


def entry_of(vector: Vector) -> ClaimEntry:
    return ClaimEntry(unhex(vector, "digest"), instant_of(vector))


def instant_of(vector: Vector) -> Instant:
    return Instant(unhex(vector, "boot_id"), int(vector["ms"]))


@pytest.mark.parametrize("vector", ATTEMPT_TREE["counter_keys"])
def test_counter_key(vector: Vector) -> None:
    params = VaultParams(PUBLIC_KEY, int(vector["counter_id"]), 10, unhex(vector, "handle"))
    assert counter_key(params) == unhex(vector, "key")


@pytest.mark.parametrize("vector", ATTEMPT_TREE["counters"], ids=label)
def test_counter(vector: Vector) -> None:
    counter = Counter(
        vault_digest=unhex(vector, "vault_digest"),
        carried=vector["carried"],
        unresolved=vector["unresolved"],
        charged_at=instant_of(vector["charged_at"]),
        opened=entry_of(vector["opened"]) if vector["opened"] else None,
        charges=tuple(entry_of(charge) for charge in vector["charges"]),
    )
    assert counter.encode() == unhex(vector, "encoded")
    assert Counter.parse(unhex(vector, "encoded")) == counter


def test_branch() -> None:
    vector = ATTEMPT_TREE["branch"]
    branch = Branch({int(nibble, 16): bytes.fromhex(digest) for nibble, digest in vector["children"].items()})
    assert branch.encode() == unhex(vector, "encoded")
    assert parse_node(unhex(vector, "encoded")) == branch


@pytest.mark.parametrize("vector", ATTEMPT_TREE["trees"], ids=label)
def test_tree(vector: Vector) -> None:
    leaves = {unhex(leaf, "key"): unhex(leaf, "value") for leaf in vector["leaves"]}
    nodes = {unhex(node, "digest"): unhex(node, "node") for node in vector["nodes"]}
    root = unhex(vector, "root")
    change = Tree(DictionaryNodes()).updated(bytes(32), leaves)
    assert (change.root, change.nodes) == (root, nodes)
    stored = DictionaryNodes()
    stored.nodes = nodes
    assert {key: Tree(stored).get(root, key) for key in leaves} == leaves


@pytest.mark.parametrize("vector", ATTEMPT_TREE["trees"], ids=label)
def test_nodes(vector: Vector) -> None:
    leaves = [Leaf(unhex(leaf, "key"), unhex(leaf, "value")) for leaf in vector["leaves"]]
    parsed = [parse_node(unhex(node, "node")) for node in vector["nodes"]]
    assert all(leaf in parsed for leaf in leaves)
    assert [node.encode().hex() for node in parsed] == [node["node"] for node in vector["nodes"]]
    assert [node_digest(node.encode()).hex() for node in parsed] == [
        node["digest"] for node in vector["nodes"]
    ]


@pytest.mark.parametrize("vector", ATTEMPT_TREE["refused_counters"], ids=label)
def test_malformed_counter_is_refused(vector: Vector) -> None:
    with pytest.raises(FormatError):
        Counter.parse(unhex(vector, "encoded"))


@pytest.mark.parametrize("vector", ATTEMPT_TREE["refused_nodes"], ids=label)
def test_malformed_node_is_refused(vector: Vector) -> None:
    with pytest.raises(FormatError):
        parse_node(unhex(vector, "encoded"))


# --- anchor ----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", ANCHOR["vectors"], ids=label)
def test_anchor(vector: Vector) -> None:
    membership = Membership(vector["number"], vector["members"])
    state = AnchorState(int(vector["epoch"]), unhex(vector, "root"), unhex(vector, "cohort"), membership)
    assert state.encode() == unhex(vector, "encoded")
    assert AnchorState.parse(unhex(vector, "encoded")) == state


@pytest.mark.parametrize("vector", ANCHOR["refused"], ids=label)
def test_malformed_anchor_is_refused(vector: Vector) -> None:
    with pytest.raises(FormatError):
        AnchorState.parse(unhex(vector, "encoded"))


# --- core channel ----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", CORE_CHANNEL["requests"], ids=label)
def test_request_frame(vector: Vector) -> None:
    assert_frame(vector, RequestFrame)


@pytest.mark.parametrize("vector", CORE_CHANNEL["replies"], ids=label)
def test_reply_frame(vector: Vector) -> None:
    assert_frame(vector, ReplyFrame)


def assert_frame(vector: Vector, frame_type: type[RequestFrame] | type[ReplyFrame]) -> None:
    """The frame decodes to the message and encodes to the same bytes again."""
    (body,) = FrameReader().feed(unhex(vector, "frame"))
    frame = msgspec.msgpack.decode(body, type=frame_type)
    number, message = vector["message"]
    fields = msgspec.to_builtins(frame.body, builtin_types=(bytes,))
    assert (frame.number, json.loads(json.dumps(fields, default=bytes.hex))) == (number, message)
    assert encode_frame(msgspec.msgpack.encode(frame)) == unhex(vector, "frame")
