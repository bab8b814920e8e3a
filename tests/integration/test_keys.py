"""The key service through a real daemon, on every kind of device: each operation, right and wrong."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hwkm.audit.reader import read
from hwkm.errors import (
    AliasExists,
    CiphertextInvalid,
    FormatError,
    HwkmError,
    IncorrectKey,
    InvalidArn,
    InvalidKeyError,
    KeyDisabled,
    KeyNotFound,
    KeyStateInvalid,
    KeyUsageInvalid,
    LimitExceeded,
    MacInvalid,
    SignatureInvalid,
    TagInvalid,
    UnsupportedKind,
)
from hwkm.formats.key_kind import KeyKind, KeyUsage
from hwkm.wire import key_api as api
from hwkm.wire.key_messages import PairSpec
from tests.daemon import Daemon
from tests.devices import ALL, make_device
from tests.key_http import KeyHttp

ACCOUNT = "000000000001"
LIMITS = {"versions_per_key": 4, "keys_max": 1000, "recorded_per_key": 5}


@pytest.fixture(scope="module", params=ALL)
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with ExitStack() as stack:
        device = make_device(request.param, tmp_path_factory.mktemp("token"), stack)
        yield stack.enter_context(Daemon(device, settings={"keys": LIMITS}))


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with daemon.http() as client:
        yield client


@pytest.fixture
def keys(http: httpx.Client) -> KeyHttp:
    return KeyHttp(http)


numbers = itertools.count()


def fresh_alias() -> str:
    return f"alias/test/{next(numbers)}"


# --- data keys, encryption -------------------------------------------------------------------


def test_a_data_key_comes_back_from_its_ciphertext_and_context(keys: KeyHttp) -> None:
    key = keys.create(description="files").arn
    made = keys.generate(key, tenant="blue", file="1")
    assert len(made.plaintext) == 32
    assert len(made.ciphertext) == 32 + 53
    assert keys.decrypt(made.ciphertext, file="1", tenant="blue") == made.plaintext
    assert keys.generate(key, tenant="blue", file="1").plaintext != made.plaintext


def test_wrong_context_damage_and_unknown_keys_are_one_answer(keys: KeyHttp) -> None:
    key = keys.create().arn
    made = keys.generate(key, tenant="blue")
    answers = []
    for ciphertext, context in [
        (made.ciphertext, {}),
        (made.ciphertext, {"tenant": "red"}),
        (made.ciphertext, {"tenant": "blue", "more": ""}),
        (made.ciphertext[:-1], {"tenant": "blue"}),
        (made.ciphertext + b"x", {"tenant": "blue"}),
        (b"x", {"tenant": "blue"}),
        *(
            (flipped(made.ciphertext, place), {"tenant": "blue"})
            for place in (0, 1, 16, 17, 20, 21, 36, 37, 84)
        ),
    ]:
        with pytest.raises(CiphertextInvalid) as caught:
            keys.decrypt(ciphertext, **context)
        answers.append(str(caught.value))
    assert len(set(answers)) == 1
    assert keys.decrypt(made.ciphertext, tenant="blue") == made.plaintext


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_ciphertext_under_another_key_than_the_named_one_is_refused(keys: KeyHttp) -> None:
    one, other = keys.create().arn, keys.create().arn
    made = keys.generate(one)
    assert keys.decrypt(made.ciphertext, one) == made.plaintext
    with pytest.raises(IncorrectKey):
        keys.decrypt(made.ciphertext, other)


def test_encrypting_and_re_encrypting(keys: KeyHttp) -> None:
    one, other = keys.create().arn, keys.create().arn
    first = keys.encrypt(one, b"a secret", tenant="blue")
    second = keys.re_encrypt(first, other, tenant="blue")
    third = keys.re_encrypt(second, one, {"tenant": "red"}, tenant="blue")
    assert keys.decrypt(first, tenant="blue") == keys.decrypt(second, tenant="blue") == b"a secret"
    assert keys.decrypt(third, one, tenant="red") == b"a secret"
    with pytest.raises(CiphertextInvalid):
        keys.re_encrypt(first, other, tenant="red")
    with pytest.raises(IncorrectKey):
        keys.call("key.re_encrypt", key=one, source_key=other, items=(api.ReEncryptItem(ciphertext=first),))


def test_a_refused_item_of_a_batch_used_neither_key_says_the_audit_log(keys: KeyHttp, daemon: Daemon) -> None:
    one, other = keys.create().arn, keys.create().arn
    good = keys.encrypt(one, b"a secret")
    items = tuple(api.ReEncryptItem(ciphertext=sent) for sent in (good, flipped(good, 60)))
    answer = keys.call("key.re_encrypt", key=other, items=items)
    assert [item.error is None for item in answer.items] == [True, False]
    records = list(read(daemon.state_directory / "audit"))[-4:]
    assert {record.operation for record in records} == {"key.re_encrypt"}
    uses = {(record.key, record.outcome) for record in records}
    assert uses == {(key, outcome) for key in (one, other) for outcome in ("ok", "ciphertext_invalid")}


@pytest.mark.parametrize("length", [1, 4096])
def test_the_sizes_that_are_allowed(keys: KeyHttp, length: int) -> None:
    key = keys.create().arn
    assert keys.decrypt(keys.encrypt(key, b"x" * length)) == b"x" * length
    assert len(keys.generate(key, min(length, 1024)).plaintext) == min(length, 1024)


def test_wrapped_data_keys_come_without_their_plaintext(keys: KeyHttp) -> None:
    key = keys.create().arn
    items = (api.DataKeyWanted(length=16), api.DataKeyWanted(length=64))
    made = keys.call("key.generate_wrapped_data_key", key=key, items=items)
    assert [len(keys.decrypt(ciphertext)) for ciphertext in made.items] == [16, 64]


@pytest.mark.parametrize("spec", list(PairSpec))
def test_a_data_key_pair_comes_back_from_its_ciphertext(keys: KeyHttp, spec: PairSpec) -> None:
    key = keys.create().arn
    made = keys.call("key.generate_data_key_pair", key=key, spec=spec, context={"a": "b"})
    assert keys.decrypt(made.ciphertext, a="b") == made.private_key
    private: Any = serialization.load_der_private_key(made.private_key, None)
    assert isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    public = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public == made.public_key
    wrapped = keys.call("key.generate_wrapped_data_key_pair", key=key, spec=spec)
    assert isinstance(
        serialization.load_der_private_key(keys.decrypt(wrapped.ciphertext), None), type(private)
    )


def test_a_long_list_with_an_impossible_context_at_its_end_is_refused_as_a_whole(
    keys: KeyHttp, daemon: Daemon
) -> None:
    key = keys.create().arn
    wanted = (api.DataKeyWanted(context={"n": "x"}),) * 99 + (api.DataKeyWanted(context={"n": "x" * 8_192}),)
    with pytest.raises(FormatError):
        keys.call("key.generate_data_key", key=key, items=wanted)
    records = [record for record in read(daemon.state_directory / "audit") if record.key == key]
    refused = [record for record in records if record.operation == "key.generate_data_key"]
    assert [(record.outcome, record.context, record.detail) for record in refused] == [
        ("bad_format", {"n": "x"}, {"items": "99"}),
        ("bad_format", None, {"context": "refused"}),
    ]


def test_a_long_list_is_answered_in_order_each_item_for_itself(keys: KeyHttp) -> None:
    one, other = keys.create().arn, keys.create().arn
    count = 600
    wanted = tuple(api.DataKeyWanted(context={"n": str(n)}) for n in range(count))
    made = keys.call("key.generate_data_key", key=one, items=wanted).items
    elsewhere = keys.generate(other, n="x")
    items = [
        api.CiphertextItem(ciphertext=item.ciphertext, context={"n": str(n if n % 7 else -1)})
        for n, item in enumerate(made)
    ]
    items[300] = api.CiphertextItem(ciphertext=elsewhere.ciphertext, context={"n": "x"})
    answers = keys.call("key.decrypt", items=tuple(items)).items
    for n, answer in enumerate(answers):
        if n == 300:
            assert (answer.plaintext, answer.key) == (elsewhere.plaintext, other)
        elif n % 7:
            assert (answer.plaintext, answer.error) == (made[n].plaintext, None)
        else:
            assert answer.plaintext is None
            assert answer.error is not None
            assert answer.error.code == "ciphertext_invalid"
    again = tuple(
        api.ReEncryptItem(ciphertext=item.ciphertext, context={"n": str(n)}) for n, item in enumerate(made)
    )
    moved = keys.call("key.re_encrypt", key=other, items=again)
    back = tuple(
        api.CiphertextItem(ciphertext=item.ciphertext, context={"n": str(n)})
        for n, item in enumerate(moved.items)
    )
    opened = keys.call("key.decrypt", key=other, items=back).items
    assert [answer.plaintext for answer in opened] == [item.plaintext for item in made]


def test_random_bytes_differ_and_have_their_length(keys: KeyHttp) -> None:
    drawn = [keys.call("key.random", length=length).random for length in (1, 32, 32, 1024)]
    assert [len(random) for random in drawn] == [1, 32, 32, 1024]
    assert drawn[1] != drawn[2]


# --- MAC, signature, key agreement -----------------------------------------------------------

HASHES = {KeyKind.HMAC_224: 28, KeyKind.HMAC_256: 32, KeyKind.HMAC_384: 48, KeyKind.HMAC_512: 64}


def supported(keys: KeyHttp, kind: KeyKind) -> str | None:
    """A key of this kind, or None where the hardware has none."""
    try:
        return keys.create(kind=kind).arn
    except UnsupportedKind:
        return None


@pytest.mark.parametrize("kind", list(HASHES))
def test_a_mac_verifies_and_a_changed_one_does_not(keys: KeyHttp, kind: KeyKind) -> None:
    key = supported(keys, kind)
    if key is None:
        assert kind is not KeyKind.HMAC_256
        return
    messages = (b"one", b"two" * 1000)
    macs = keys.call("key.generate_mac", key=key, messages=messages).items
    assert [len(mac) for mac in macs] == [HASHES[kind]] * 2
    right = tuple(api.MacItem(message=m, mac=mac) for m, mac in zip(messages, macs, strict=True))
    keys.call("key.verify_mac", key=key, items=right)
    for message, mac in [(b"one", macs[1]), (b"two", macs[0]), (b"one", macs[0][:-1])]:
        with pytest.raises(MacInvalid):
            keys.call("key.verify_mac", key=key, items=(*right, api.MacItem(message=message, mac=mac)))


@pytest.mark.parametrize("kind", [kind for kind in KeyKind if kind.usage is KeyUsage.SIGN_VERIFY])
def test_a_signature_verifies_by_message_and_by_digest_and_a_changed_one_does_not(
    keys: KeyHttp, kind: KeyKind
) -> None:
    key = supported(keys, kind)
    if key is None:
        assert kind is not KeyKind.ECC_NIST_P256_SIGN
        return
    public = keys.call("key.public_key", key=key)
    assert set(public.signing_algorithms) == kind.signing_algorithms
    for algorithm in kind.signing_algorithms:
        message = b"a message"
        digest = hashlib.new(f"sha{algorithm.digest_bytes * 8}", message).digest()
        items = (api.SignItem(message=message), api.SignItem(digest=digest))
        signed = keys.call("key.sign", key=key, algorithm=algorithm, items=items).items
        right = tuple(api.SignatureItem(message=message, signature=signature) for signature in signed)
        by_digest = api.SignatureItem(digest=digest, signature=signed[0])
        keys.call("key.verify", key=key, algorithm=algorithm, items=(*right, by_digest))
        for wrong in (
            api.SignatureItem(message=b"another", signature=signed[0]),
            api.SignatureItem(message=message, signature=flipped(signed[0], len(signed[0]) - 1)),
            api.SignatureItem(message=message, signature=b"x"),
        ):
            with pytest.raises(SignatureInvalid):
                keys.call("key.verify", key=key, algorithm=algorithm, items=(*right, wrong))
        with pytest.raises(FormatError):
            keys.call("key.sign", key=key, algorithm=algorithm, items=(api.SignItem(digest=digest + b"xx"),))
        with pytest.raises(FormatError):
            keys.call("key.sign", key=key, algorithm=algorithm, items=(api.SignItem(),))


@pytest.mark.parametrize(
    ("kind", "curve"),
    [(KeyKind.ECC_NIST_P256_AGREE, ec.SECP256R1()), (KeyKind.ECC_NIST_P384_AGREE, ec.SECP384R1())],
)
def test_both_sides_agree_on_one_secret(keys: KeyHttp, kind: KeyKind, curve: ec.EllipticCurve) -> None:
    key = supported(keys, kind)
    if key is None:
        assert kind is not KeyKind.ECC_NIST_P256_AGREE
        return
    ours: Any = serialization.load_der_public_key(keys.call("key.public_key", key=key).public_key)
    theirs = ec.generate_private_key(curve)
    secret = keys.call("key.derive_shared_secret", key=key, public_key=spki(theirs)).secret
    assert hmac.compare_digest(secret, theirs.exchange(ec.ECDH(), ours))
    other_curve = ec.generate_private_key(ec.SECP521R1())
    for wrong in (spki(other_curve), b"x", spki(theirs)[:-1]):
        with pytest.raises(InvalidKeyError):
            keys.call("key.derive_shared_secret", key=key, public_key=wrong)


def spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def test_a_key_does_only_the_work_it_was_made_for(keys: KeyHttp) -> None:
    symmetric, mac = keys.create().arn, keys.create(kind=KeyKind.HMAC_256).arn
    data = (api.DataKeyWanted(),)
    for call in (
        lambda: keys.call("key.generate_data_key", key=mac, items=data),
        lambda: keys.encrypt(mac, b"x"),
        lambda: keys.call("key.generate_mac", key=symmetric, messages=(b"x",)),
        lambda: keys.call("key.public_key", key=symmetric),
        lambda: keys.call("key.rotate", key=mac),
        lambda: keys.call("key.set_rotation", key=mac, period_days=90),
        lambda: keys.create(kind=KeyKind.HMAC_256, rotation_period_days=90),
    ):
        with pytest.raises(KeyUsageInvalid):
            call()


# --- the life of a key -----------------------------------------------------------------------


def test_a_key_is_shown_as_it_was_made_by_all_four_of_its_names(keys: KeyHttp) -> None:
    alias = fresh_alias()
    made = keys.create(description="files", alias=alias, tags={"team": "blue"}, rotation_period_days=365)
    assert made.arn == f"arn:aws:kms:us-east-1:{ACCOUNT}:key/{made.key_id}"
    assert (made.aliases, made.tags, made.version, made.state) == ((alias,), {"team": "blue"}, 1, "enabled")
    assert made.next_rotation_at_ms == made.created_at_ms + 365 * 86_400_000
    for name in (made.key_id, made.arn, alias, f"arn:aws:kms:us-east-1:{ACCOUNT}:{alias}"):
        assert keys.show(name) == made


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("health-check-dummy-key", KeyNotFound),
        ("00000000-0000-4000-8000-000000000000", KeyNotFound),
        ("alias/never", KeyNotFound),
        ("alias/", KeyNotFound),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:alias/never", KeyNotFound),
        (f"arn:aws:kms:us-east-1:{ACCOUNT}:key/x", KeyNotFound),
        (f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/never", InvalidArn),
        ("arn:aws:kms:us-east-1:1:alias/never", InvalidArn),
        (f"arn:aws:s3:us-east-1:{ACCOUNT}:alias/never", InvalidArn),
        ("arn:", InvalidArn),
        ("ALIAS/x", KeyNotFound),
        ("x" * 2048, KeyNotFound),
        ("", FormatError),
        ("x" * 2049, FormatError),
    ],
)
def test_names_of_no_key(keys: KeyHttp, name: str, error: type[HwkmError]) -> None:
    with pytest.raises(error):
        keys.show(name)


def test_rotation_changes_no_name_and_every_old_ciphertext_decrypts(keys: KeyHttp) -> None:
    made = keys.create()
    secrets = [keys.generate(made.arn)]
    for version in (2, 3, 4):
        rotated = keys.call("key.rotate", key=made.key_id)
        assert (rotated.arn, rotated.version) == (made.arn, version)
        secrets.append(keys.generate(made.arn))
    with pytest.raises(LimitExceeded):
        keys.call("key.rotate", key=made.key_id)
    assert [keys.decrypt(item.ciphertext) for item in secrets] == [item.plaintext for item in secrets]
    history = keys.call("key.rotations", key=made.arn, limit=3)
    assert [(item.version, item.cause) for item in history.items] == [
        (1, "created"),
        (2, "on_demand"),
        (3, "on_demand"),
    ]
    rest = keys.call("key.rotations", key=made.arn, after=history.next)
    assert [item.version for item in rest.items] == [4]
    assert rest.next is None


def test_automatic_rotation_is_set_and_unset(keys: KeyHttp) -> None:
    key = keys.create().arn
    info = keys.call("key.set_rotation", key=key, period_days=90)
    assert info.rotation_period_days == 90
    assert info.next_rotation_at_ms is not None
    info = keys.call("key.set_rotation", key=key, period_days=None)
    assert (info.rotation_period_days, info.next_rotation_at_ms) == (None, None)


def test_a_disabled_key_does_nothing_until_it_is_enabled(keys: KeyHttp) -> None:
    key = keys.create().arn
    made = keys.generate(key)
    assert keys.call("key.disable", key=key).state == "disabled"
    assert keys.call("key.disable", key=key).state == "disabled"
    for call in (
        lambda: keys.generate(key),
        lambda: keys.decrypt(made.ciphertext),
        lambda: keys.encrypt(key, b"x"),
        lambda: keys.re_encrypt(made.ciphertext, key),
        lambda: keys.call("key.rotate", key=key),
        lambda: keys.call("key.set_rotation", key=key, period_days=90),
    ):
        with pytest.raises(KeyDisabled):
            call()
    assert keys.call("key.enable", key=key).state == "enabled"
    assert keys.decrypt(made.ciphertext) == made.plaintext


def test_a_key_that_waits_for_its_deletion_does_nothing_and_says_what_it_orphans(keys: KeyHttp) -> None:
    key = keys.create().arn
    made = keys.generate(key, record="file 1", name="x")
    pending = keys.call("key.schedule_deletion", key=key, days=7)
    assert pending.key.state == "pending_deletion"
    assert pending.orphans.total == 1
    assert pending.orphans.items[0].label == "file 1"
    assert pending.orphans.items[0].digest == hashlib.sha256(made.ciphertext).digest()
    for call in (
        lambda: keys.generate(key),
        lambda: keys.decrypt(made.ciphertext, name="x"),
        lambda: keys.call("key.enable", key=key),
        lambda: keys.call("key.rotate", key=key),
        lambda: keys.call("key.update", key=key, description="x"),
        lambda: keys.call("key.tag", key=key, tags={"a": "b"}),
        lambda: keys.call("key.schedule_deletion", key=key, days=7),
        lambda: keys.call("key.create_alias", key=key, alias=fresh_alias()),
    ):
        with pytest.raises(KeyStateInvalid):
            call()
    assert keys.call("key.cancel_deletion", key=key).state == "disabled"
    with pytest.raises(KeyStateInvalid):
        keys.call("key.cancel_deletion", key=key)
    keys.call("key.enable", key=key)
    assert keys.decrypt(made.ciphertext, name="x") == made.plaintext


def test_recorded_data_keys_follow_their_re_encryption_and_are_bounded(keys: KeyHttp) -> None:
    one, other = keys.create().arn, keys.create().arn
    made = [keys.generate(one, record=f"file {n}") for n in range(5)]
    with pytest.raises(LimitExceeded):
        keys.generate(one, record="one too many")
    keys.re_encrypt(made[0].ciphertext, other)
    page = keys.call("key.recorded", key=one, limit=2)
    assert ([item.label for item in page.items], page.total) == (["file 1", "file 2"], 4)
    rest = keys.call("key.recorded", key=one, limit=2, after=page.next)
    assert [item.label for item in rest.items] == ["file 3", "file 4"]
    assert [item.label for item in keys.call("key.recorded", key=other).items] == ["file 0"]


def test_tags_and_description(keys: KeyHttp) -> None:
    key = keys.create(tags={"a": "1"}).arn
    assert keys.call("key.tag", key=key, tags={"a": "2", "b": ""}).tags == {"a": "2", "b": ""}
    assert keys.call("key.untag", key=key, names=("a", "z")).tags == {"b": ""}
    assert keys.call("key.update", key=key, description="ü").description == "ü"
    with pytest.raises(TagInvalid):
        keys.call("key.tag", key=key, tags={"aws:x": ""})
    with pytest.raises(TagInvalid):
        keys.call("key.tag", key=key, tags={str(n): "" for n in range(50)})
    assert keys.show(key).tags == {"b": ""}


def test_an_alias_moves_between_keys_and_goes(keys: KeyHttp) -> None:
    alias = fresh_alias()
    one, other, mac = keys.create(alias=alias).arn, keys.create().arn, keys.create(kind=KeyKind.HMAC_256).arn
    made = keys.generate(alias)
    with pytest.raises(AliasExists):
        keys.call("key.create_alias", alias=alias, key=other)
    with pytest.raises(AliasExists):
        keys.create(alias=alias)
    with pytest.raises(KeyUsageInvalid):
        keys.call("key.update_alias", alias=alias, key=mac)
    keys.call("key.update_alias", alias=alias, key=other)
    assert keys.show(alias).arn == other
    assert (keys.show(one).aliases, keys.show(other).aliases) == ((), (alias,))
    assert keys.decrypt(made.ciphertext) == made.plaintext
    with pytest.raises(IncorrectKey):
        keys.decrypt(made.ciphertext, alias)
    listed = keys.call("key.list_aliases", key=other)
    assert [item.alias for item in listed.aliases] == [alias]
    keys.call("key.delete_alias", alias=alias)
    for name in (alias, f"arn:aws:kms:us-east-1:{ACCOUNT}:{alias}"):
        with pytest.raises(KeyNotFound):
            keys.show(name)
        with pytest.raises(KeyNotFound):
            keys.call("key.delete_alias", alias=name)
    with pytest.raises(KeyNotFound):
        keys.call("key.update_alias", alias=alias, key=one)
    assert keys.show(other).aliases == ()


def test_lists_go_page_by_page_through_everything(keys: KeyHttp) -> None:
    made = {keys.create(alias=fresh_alias()).key_id for _ in range(5)}
    seen: list[str] = []
    after = None
    while True:
        page = keys.call("key.list", after=after, limit=3)
        seen += [item.key_id for item in page.keys]
        if (after := page.next) is None:
            break
    assert made <= set(seen)
    assert seen == sorted(set(seen))
    aliases: list[str] = []
    name = None
    while True:
        found = keys.call("key.list_aliases", after=name, limit=3)
        aliases += [item.alias for item in found.aliases]
        if (name := found.next) is None:
            break
    assert aliases == sorted(set(aliases))
    assert len(aliases) >= 5


def test_the_last_use_is_known_at_once(keys: KeyHttp) -> None:
    key = keys.create().arn
    assert keys.show(key).last_use is None
    keys.decrypt(keys.generate(key).ciphertext)
    use = keys.show(key).last_use
    assert use is not None
    assert use.operation == "key.decrypt"


def test_keys_are_there_after_a_restart_of_daemon_and_core(daemon: Daemon) -> None:
    alias = fresh_alias()
    with daemon.http() as http:
        info = KeyHttp(http).create(alias=alias, tags={"a": "b"})
        made = KeyHttp(http).generate(alias, a="b")
        use = KeyHttp(http).show(alias).last_use
    daemon.restart()
    with daemon.http() as http:
        keys = KeyHttp(http)
        assert keys.decrypt(made.ciphertext, a="b") == made.plaintext
        shown = keys.show(alias)
        assert (shown.arn, shown.tags, shown.aliases) == (info.arn, {"a": "b"}, (alias,))
        assert use is not None
    daemon.kill_core()
    daemon.wait_until_ready()
    with daemon.http() as http:
        assert KeyHttp(http).decrypt(made.ciphertext, a="b") == made.plaintext


def test_every_operation_is_in_the_audit_log_and_no_plaintext(daemon: Daemon) -> None:
    with daemon.http() as http:
        keys = KeyHttp(http)
        key = keys.create().arn
        keys.decrypt(keys.encrypt(key, b"not for the log", tenant="blue"), tenant="blue")
        with pytest.raises(KeyNotFound):
            keys.show("alias/never")
    records = list(read(daemon.state_directory / "audit"))
    tail = [(record.operation, record.outcome) for record in records][-4:]
    assert tail == [
        ("key.create", "ok"),
        ("key.encrypt", "ok"),
        ("key.decrypt", "ok"),
        ("key.show", "key_not_found"),
    ]
    written = b"".join(
        path.read_bytes() for path in (daemon.state_directory / "audit").rglob("*") if path.is_file()
    )
    assert b"not for the log" not in written
    assert "not for the log" not in daemon.log
