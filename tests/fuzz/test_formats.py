"""Every parser of bytes returns or raises FormatError, and every value has one encoding.

``parse(encode(value)) == value`` for every value that can be made, and ``encode(parse(data)) ==
data`` for every byte string that is taken: no parser takes two encodings of the same value.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hwkm.crypto import p256, securebox
from hwkm.crypto.knowledge_factor import KfAlgorithm, KfParams, encode_credential, hash_credential
from hwkm.errors import DecryptionError, FormatError, InvalidKeyError
from hwkm.formats.anchor import AnchorState
from hwkm.formats.ciphertext import OVERHEAD_BYTES, CiphertextHead
from hwkm.formats.cohort_invitation import CohortInvitation, MembershipRequest
from hwkm.formats.context import encode_context, parse_context
from hwkm.formats.counter import MAX_ATTEMPTS_CEILING, ClaimEntry, Counter, Instant
from hwkm.formats.domain_token import DomainToken, ExchangeStatement, ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.node_log import Changes, encode_record, read_records
from hwkm.formats.tree_node import NODE_BYTES_MAX, Branch, Leaf, parse_node
from hwkm.formats.vault_params import VaultParams
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.opening import ClaimRequest
from hwkm.thm.outcome import Opened, Refused, Wrong
from hwkm.tokens.uri import MemoryUri, Pkcs11Uri, TpmUri, parse_token_uri
from tests.fuzz.byte_strings import edited, near
from tests.key_world import Cmk, memory_domain
from tests.vault_world import World
from tests.vectors.reference import p256 as curve


class Encodable(Protocol):
    def encode(self) -> bytes: ...


POINTS = [curve.public_key(bytes(31) + bytes([number])) for number in range(1, 5)]

numbers = st.integers(0, 2**64 - 1)
digests = st.binary(min_size=32, max_size=32)
nonzero_digests = digests.filter(any)
instants = st.builds(Instant, st.binary(min_size=16, max_size=16), numbers)
entries = st.builds(ClaimEntry, nonzero_digests, instants)
counters = st.builds(
    Counter,
    vault_digest=digests,
    carried=st.integers(0, MAX_ATTEMPTS_CEILING - 5),
    unresolved=st.integers(0, MAX_ATTEMPTS_CEILING),
    charged_at=instants,
    opened=st.none() | entries,
    charges=st.lists(entries, max_size=5).map(tuple),
)
anchors = st.builds(AnchorState, numbers, digests, digests)
params = st.builds(
    VaultParams,
    st.sampled_from(POINTS),
    numbers,
    st.integers(0, 2**32 - 1),
    st.binary(min_size=17, max_size=17),
)
leaves = st.builds(Leaf, digests, st.binary(min_size=1, max_size=NODE_BYTES_MAX - 33))
branches = st.dictionaries(st.integers(0, 15), nonzero_digests, min_size=1).map(Branch)

texts = st.text(max_size=12)
contexts = st.dictionaries(texts.filter(bool), texts, max_size=4)
key_names = st.builds(KeyName, st.binary(min_size=16, max_size=16), st.integers(1, 2**32 - 1))
wrapped_keys = st.builds(
    WrappedKey,
    st.sampled_from(Backend),
    st.sampled_from(KeyKind),
    st.integers(1, 2**32 - 1),
    key_names,
    st.binary(min_size=1, max_size=60),
    st.just(b"") | st.binary(min_size=32, max_size=32),
)
parts = st.binary(min_size=1, max_size=60)
signatures = st.binary(min_size=64, max_size=64)
statements = st.builds(ExchangeStatement, st.sampled_from(Backend), parts, parts, parts, signatures)
exported_keys = st.builds(ExportedKey, key_names, st.sampled_from(KeyKind), parts)
domain_tokens = st.builds(
    DomainToken,
    st.sampled_from(Backend),
    st.binary(min_size=65, max_size=65),
    digests,
    parts,
    st.lists(exported_keys, min_size=1, max_size=3).map(tuple),
    signatures,
)
requests = st.builds(MembershipRequest, statements, st.binary(max_size=60))
invitations = st.builds(
    CohortInvitation,
    st.sampled_from(Backend),
    st.binary(min_size=65, max_size=65),
    digests,
    st.binary(min_size=65, max_size=65),
    st.just(1),
    st.integers(2, 16),
    parts,
    parts,
    signatures,
)

FORMATS: dict[str, tuple[Callable[[bytes], Encodable], st.SearchStrategy[Encodable]]] = {
    "anchor": (AnchorState.parse, anchors),
    "vault params": (VaultParams.parse, params),
    "claim entry": (ClaimEntry.parse, entries),
    "counter": (Counter.parse, counters),
    "tree node": (parse_node, leaves | branches),
    "wrapped key": (WrappedKey.parse, wrapped_keys),
    "exchange statement": (ExchangeStatement.parse, statements),
    "domain token": (DomainToken.parse, domain_tokens),
    "membership request": (MembershipRequest.parse, requests),
    "cohort invitation": (CohortInvitation.parse, invitations),
}
CMK = Cmk(memory_domain())
GOOD_CIPHERTEXT = CMK.encrypt(b"data key", {"tenant": "mint"})
every_format = pytest.mark.parametrize("name", FORMATS)


# --- formats ---------------------------------------------------------------------------------


@every_format
@given(data=st.data())
def test_every_value_comes_back_from_its_bytes(name: str, data: st.DataObject) -> None:
    parse, values = FORMATS[name]
    value = data.draw(values)
    assert parse(value.encode()) == value


@every_format
@settings(max_examples=300)
@given(data=st.data())
def test_bytes_are_refused_or_are_the_one_encoding_of_their_value(name: str, data: st.DataObject) -> None:
    parse, values = FORMATS[name]
    given_bytes = data.draw(near(values.map(lambda value: value.encode())))
    try:
        parsed = parse(given_bytes)
    except FormatError:
        return
    assert parsed.encode() == given_bytes


@settings(max_examples=300)
@given(
    st.integers(0, 3),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 5),
    st.lists(digests.map(lambda digest: digest + bytes(24)) | st.just(bytes(56)), max_size=6),
)
def test_counter_of_any_head_and_entries(
    version: int, carried: int, unresolved: int, count: int, claim_entries: list[bytes]
) -> None:
    data = bytes([version, carried, unresolved, count]) + bytes(56) + b"".join(claim_entries)
    try:
        counter = Counter.parse(data)
    except FormatError:
        return
    assert counter.encode() == data
    assert counter.attempts <= MAX_ATTEMPTS_CEILING


@settings(max_examples=300)
@given(st.integers(0, 2), st.binary(max_size=2), st.lists(digests | st.just(bytes(32)), max_size=17))
def test_branch_of_any_bitmap_and_children(kind: int, bitmap: bytes, children: list[bytes]) -> None:
    data = bytes([kind]) + bitmap + b"".join(children)
    try:
        node = parse_node(data)
    except FormatError:
        return
    assert node.encode() == data


@given(st.binary(min_size=65, max_size=65) | edited(st.sampled_from(POINTS)))
def test_key_in_params_is_refused_or_on_the_curve(point: bytes) -> None:
    try:
        parsed = VaultParams.parse(point + bytes(29))
    except FormatError:
        return
    x, y = (int.from_bytes(part, "big") for part in (point[1:33], point[33:]))
    assert parsed.cohort_public_key == point
    assert point[0] == 4
    assert curve.is_on_curve(x, y)


# --- key service -----------------------------------------------------------------------------


@settings(max_examples=300)
@given(near(contexts.map(encode_context)))
def test_context_is_refused_or_is_the_one_encoding(data: bytes) -> None:
    try:
        context = parse_context(data)
    except FormatError:
        return
    assert encode_context(context) == data


@settings(max_examples=300)
@given(
    near(st.builds(CiphertextHead, key_names, st.binary(min_size=16, max_size=16)).map(lambda h: h.encode()))
)
def test_ciphertext_is_refused_or_begins_with_its_head(data: bytes) -> None:
    try:
        head = CiphertextHead.parse(data)
    except FormatError:
        return
    assert data.startswith(head.encode())
    assert len(data) > OVERHEAD_BYTES


@settings(max_examples=300)
@given(near(st.just(GOOD_CIPHERTEXT)))
def test_ciphertext_opens_or_raises_the_one_error(data: bytes) -> None:
    try:
        plaintext = CMK.decrypt(data, {"tenant": "mint"})
    except DecryptionError:
        return
    assert (data, plaintext) == (GOOD_CIPHERTEXT, b"data key")


# --- keys and boxes --------------------------------------------------------------------------


@given(near(st.sampled_from(POINTS)))
def test_point_is_refused_or_comes_back(point: bytes) -> None:
    try:
        loaded = p256.load_point(point)
    except InvalidKeyError:
        return
    assert p256.encode_point(loaded) == point


@given(st.binary(max_size=33))
def test_scalar_is_refused_or_in_range(scalar: bytes) -> None:
    try:
        loaded = p256.load_scalar(scalar)
    except InvalidKeyError:
        return
    assert loaded.private_numbers().private_value == int.from_bytes(scalar, "big")
    assert 0 < int.from_bytes(scalar, "big") < curve.N


SCALAR = bytes(31) + b"\1"
public_boxes = st.binary(max_size=40).map(lambda payload: securebox.encrypt(POINTS[0], b"s", b"h", payload))
shared_boxes = st.binary(max_size=40).map(lambda payload: securebox.encrypt(None, b"s", b"h", payload))


@pytest.mark.parametrize(
    ("private_key", "boxes"), [(SCALAR, public_boxes), (None, shared_boxes)], ids=["public key", "secret"]
)
@given(data=st.data())
def test_box_opens_or_raises_the_one_error(
    private_key: bytes | None, boxes: st.SearchStrategy[bytes], data: st.DataObject
) -> None:
    box = data.draw(boxes)
    other = data.draw(st.binary(max_size=200) | edited(st.just(box)))
    try:
        securebox.decrypt(private_key, b"s", b"h", other)
    except DecryptionError:
        return
    assert other == box


# --- knowledge factor ------------------------------------------------------------------------

anything_typed = st.text(alphabet=st.characters(exclude_categories=()))


@settings(max_examples=300)
@given(anything_typed)
@example("\ud800")
@example("e\u0301")
@example("\0")
def test_credential_is_refused_or_is_utf8_in_normal_form(text: str) -> None:
    try:
        credential = encode_credential(text)
    except FormatError:
        return
    decoded = credential.expose().decode("utf-8")
    assert unicodedata.is_normalized("NFC", decoded)
    assert encode_credential(decoded) == credential


costs = (
    st.integers(-1, 40) | st.integers().map(lambda number: number % 2**33) | st.sampled_from([2**16, 2**20])
)


@settings(max_examples=300)
@given(st.sampled_from(KfAlgorithm), st.binary(max_size=20) | st.just(bytes(16)), costs, costs, costs)
def test_cost_is_refused_or_can_be_paid(
    algorithm: KfAlgorithm, salt: bytes, memory: int, iterations: int, lanes: int
) -> None:
    try:
        cost = KfParams(algorithm, salt, memory, iterations, lanes)
    except FormatError:
        return
    if memory * iterations * lanes < 10_000:
        assert len(hash_credential(encode_credential("0000"), cost)) == 32


# --- token URIs ------------------------------------------------------------------------------

GOOD_URIS = [
    "pkcs11:token=hwkm;object=hwkm?module-path=/usr/lib/softhsm/libsofthsm2.so",
    "pkcs11:serial=12%2034;model=SoftHSM?module-path=/lib/x.so",
    "tpm:tcti=device:/dev/tpmrm0;keys=0x81006860;anchor=0x01806860",
    "tpm:tcti=swtpm:path=/run/tpm.sock",
    "insecure-memory:path=/tmp/token",
]
good_uris = st.sampled_from([uri.encode() for uri in GOOD_URIS])


@settings(max_examples=300)
@given(st.text() | near(good_uris).map(lambda data: data.decode("latin-1")))
def test_token_uri_is_refused_or_read(text: str) -> None:
    try:
        uri = parse_token_uri(text)
    except FormatError:
        return
    assert isinstance(uri, Pkcs11Uri | TpmUri | MemoryUri)


# --- what reaches the rules ------------------------------------------------------------------

WORLD = World(max_attempts_limit=100)
VAULT = WORLD.seal(max_attempts=100)
GOOD_CLAIM = WORLD.claim(VAULT, VAULT.kf_hash).request
FIELDS = ("params", "vault", "challenge", "claim")


@st.composite
def damaged_claims(draw: st.DrawFn) -> ClaimRequest:
    """A right claim with an open challenge, of which one or more fields are damaged."""
    fields = {
        name: draw(st.just(good) | st.binary(max_size=200) | edited(st.just(good)))
        for name in FIELDS
        for good in (getattr(GOOD_CLAIM, name),)
    }
    return ClaimRequest(**fields)


@settings(max_examples=300)
@given(
    damaged_claims().filter(lambda claim: any(getattr(claim, n) != getattr(GOOD_CLAIM, n) for n in FIELDS))
)
def test_damaged_claim_is_refused_and_charges_nothing(claim: ClaimRequest) -> None:
    (outcome,) = WORLD.opening.open_claims([claim], WORLD.now)
    assert isinstance(outcome, Refused)
    assert WORLD.anchor.writes == 0
    assert WORLD.attempts_remaining(VAULT) == 100


def test_the_claim_that_was_damaged_is_good() -> None:
    world = World()
    vault = world.seal()
    assert isinstance(world.guess_right(vault), Opened)
    assert isinstance(world.guess_wrong(vault), Wrong)


changes_of_nodes = st.lists(
    st.dictionaries(digests, st.none() | st.binary(max_size=100), max_size=4), min_size=1, max_size=4
)


@given(puts=changes_of_nodes, generation=numbers, data=st.data())
def test_a_node_log_ends_at_what_is_not_whole_and_never_fails(
    puts: list[Changes], generation: int, data: st.DataObject
) -> None:
    log = b"".join(encode_record(generation, changes) for changes in puts)
    assert list(read_records(log, generation)) == puts
    damaged = data.draw(near(st.just(log)))
    whole = b"".join(encode_record(generation, changes) for changes in read_records(damaged, generation))
    assert damaged.startswith(whole)
