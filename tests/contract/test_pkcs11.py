"""What only PKCS#11 tokens do: attributes, objects left over, objects changed by someone else."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass, TokenFlag
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.crypto.p256 import encode_point
from hwkm.errors import (
    AnchorTampered,
    KeyExposedError,
    TokenAlreadyProvisioned,
    TokenInUse,
    TokenPinIncorrect,
    TokenUnavailable,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.keys import P256_PARAMETERS, PRIVATE_KEY_TEMPLATE, load_key_pair
from hwkm.tokens.pkcs11.objects import find
from hwkm.tokens.uri import Pkcs11Uri, parse_token_uri
from tests.contract.devices import SoftHsmDevice, inventory, open_token, opened, provision

pytestmark = pytest.mark.needs("softhsm2-util")

COHORT, AUDIT, ANCHOR = "hwkm.cohort", "hwkm.audit", "hwkm.anchor"


@contextmanager
def user_session(device: SoftHsmDevice) -> Iterator[Any]:
    """A logged-in session of somebody who knows the PIN."""
    uri = parse_token_uri(device.uri)
    assert isinstance(uri, Pkcs11Uri)
    library = pkcs11.lib(uri.module_path)
    try:
        yield library.get_token(token_label=uri.token).open(rw=True, user_pin=device.pin.decode())
    finally:
        library.finalize()


def only(session: Any, object_class: ObjectClass, label: str) -> Any:
    (item,) = find(session, object_class, label)
    return item


def flags(device: SoftHsmDevice) -> TokenFlag:
    with user_session(device) as session:
        return session.token.slot.get_token().flags  # type: ignore[no-any-return]


# --- keys cannot leave -----------------------------------------------------------------------


@pytest.mark.parametrize("label", [COHORT, AUDIT])
def test_a_private_key_can_be_neither_read_nor_wrapped_nor_loosened(
    softhsm: SoftHsmDevice, label: str
) -> None:
    with user_session(softhsm) as session:
        key = only(session, ObjectClass.PRIVATE_KEY, label)
        with pytest.raises(pkcs11.PKCS11Error):
            key[Attribute.VALUE]
        wrapping_key = session.generate_key(KeyType.AES, 256)
        with pytest.raises(pkcs11.PKCS11Error):
            wrapping_key.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP_PAD)
        for attribute, value in ((Attribute.EXTRACTABLE, True), (Attribute.SENSITIVE, False)):
            with pytest.raises(pkcs11.PKCS11Error):
                key[attribute] = value
            with pytest.raises(pkcs11.PKCS11Error):
                key.copy({attribute: value})


def make_by_hand(
    session: Any,
    private: Mapping[Attribute, object],
    use: MechanismFlag = MechanismFlag.DERIVE,
) -> None:
    """Replace the cohort key by one with other attributes, and make the anchor fit it."""
    for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
        only(session, object_class, COHORT).destroy()
    only(session, ObjectClass.DATA, ANCHOR).destroy()
    curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMETERS}, local=True)
    curve.generate_keypair(
        label=COHORT,
        store=True,
        capabilities=use,
        private_template={**PRIVATE_KEY_TEMPLATE, **private},
    )
    fit_anchor(session)


def fit_anchor(session: Any) -> None:
    _, public_key = load_key_pair(session, COHORT)
    Pkcs11Anchor(session, ANCHOR).create(AnchorState(0, EMPTY_ROOT, cohort_digest(public_key)))


@pytest.mark.parametrize(
    ("private", "named"),
    [
        ({Attribute.EXTRACTABLE: True}, "CKA_EXTRACTABLE"),
        ({Attribute.SENSITIVE: False}, "CKA_SENSITIVE"),
        ({Attribute.MODIFIABLE: True}, "CKA_MODIFIABLE"),
        ({Attribute.UNWRAP: True}, "CKA_UNWRAP"),
        ({Attribute.SIGN: True}, "CKA_SIGN"),
    ],
)
def test_a_cohort_key_made_with_a_loose_attribute_is_refused_by_name(
    softhsm: SoftHsmDevice, private: Mapping[Attribute, object], named: str
) -> None:
    with user_session(softhsm) as session:
        make_by_hand(session, private)
    with opened(softhsm) as token, pytest.raises(KeyExposedError, match=f"cohort key.*{named}"):
        token.verify_key_policy()


def test_a_cohort_key_brought_from_outside_is_refused(softhsm: SoftHsmDevice) -> None:
    outside = ec.generate_private_key(ec.SECP256R1())
    point = encode_point(outside.public_key())
    with user_session(softhsm) as session:
        for object_class in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            only(session, object_class, COHORT).destroy()
        only(session, ObjectClass.DATA, ANCHOR).destroy()
        common = {
            Attribute.KEY_TYPE: KeyType.EC,
            Attribute.TOKEN: True,
            Attribute.LABEL: COHORT,
            Attribute.EC_PARAMS: P256_PARAMETERS,
        }
        session.create_object(
            {
                **common,
                **PRIVATE_KEY_TEMPLATE,
                Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                Attribute.DERIVE: True,
                Attribute.SIGN: False,
                Attribute.DECRYPT: False,
                Attribute.UNWRAP: False,
                Attribute.VALUE: outside.private_numbers().private_value.to_bytes(32, "big"),
            }
        )
        session.create_object(
            {
                **common,
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.EC_POINT: b"\x04\x41" + point,
            }
        )
        fit_anchor(session)
    with (
        opened(softhsm) as token,
        pytest.raises(KeyExposedError, match=r"CKA_(LOCAL|NEVER_EXTRACTABLE|ALWAYS_SENSITIVE)"),
    ):
        token.verify_key_policy()


# --- anchors changed by someone else ---------------------------------------------------------


def make_anchor(session: Any, epoch: int, root: bytes = EMPTY_ROOT, cohort: bytes | None = None) -> None:
    _, public_key = load_key_pair(session, COHORT)
    state = AnchorState(epoch, root, cohort or cohort_digest(public_key))
    Pkcs11Anchor(session, ANCHOR).create(state)


def test_a_missing_anchor_is_tampering_and_blocks_a_new_set_up(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        only(session, ObjectClass.DATA, ANCHOR).destroy()
    with pytest.raises(AnchorTampered, match="gone"):
        open_token(softhsm)
    with pytest.raises(TokenAlreadyProvisioned) as refusal:
        provision(softhsm)
    assert all(line in str(refusal.value) for line in inventory(softhsm))
    assert "anchor" not in str(refusal.value)


@pytest.mark.parametrize("root", [EMPTY_ROOT, bytes(range(32))])
def test_two_anchors_of_one_epoch_are_tampering(softhsm: SoftHsmDevice, root: bytes) -> None:
    with user_session(softhsm) as session:
        make_anchor(session, epoch=0, root=root)
    with pytest.raises(AnchorTampered, match="two anchors"):
        open_token(softhsm)
    assert len([line for line in inventory(softhsm) if "anchor" in line]) == 2


def test_an_anchor_of_another_cohort_is_tampering(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        make_anchor(session, epoch=7, cohort=bytes(32))
    with pytest.raises(AnchorTampered, match="two cohort keys"):
        open_token(softhsm)


def test_an_anchor_that_is_not_in_the_format_is_tampering(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.DATA,
                Attribute.TOKEN: True,
                Attribute.PRIVATE: True,
                Attribute.LABEL: ANCHOR,
                Attribute.VALUE: b"hello",
            }
        )
    with pytest.raises(AnchorTampered, match="not an anchor"):
        open_token(softhsm)


def test_what_an_interrupted_advance_left_is_removed_and_the_higher_epoch_holds(
    softhsm: SoftHsmDevice,
) -> None:
    with user_session(softhsm) as session:
        make_anchor(session, epoch=1, root=bytes(range(32)))
    with opened(softhsm) as token:
        assert token.anchor.read().epoch == 1
        assert token.anchor.read().root == bytes(range(32))
    assert len([line for line in inventory(softhsm) if "anchor" in line]) == 1


def test_a_token_directory_restored_from_a_backup_is_not_noticed(softhsm: SoftHsmDevice) -> None:
    """The limit of a lone PKCS#11 token, stated in docs/spec/anchor.md: asserted, not hidden."""
    backup = softhsm.directory / "backup"
    shutil.copytree(softhsm.token_directory, backup)
    with opened(softhsm) as token:
        token.anchor.advance(dataclasses.replace(token.anchor.read(), epoch=1))
    shutil.rmtree(softhsm.token_directory)
    shutil.copytree(backup, softhsm.token_directory)
    with opened(softhsm) as token:
        assert token.anchor.read().epoch == 0


# --- keys changed by someone else ------------------------------------------------------------


def test_a_cohort_key_made_anew_is_tampering(softhsm: SoftHsmDevice) -> None:
    with user_session(softhsm) as session:
        anchor = bytes(only(session, ObjectClass.DATA, ANCHOR)[Attribute.VALUE])
        make_by_hand(session, {})
        only(session, ObjectClass.DATA, ANCHOR).destroy()
        Pkcs11Anchor(session, ANCHOR).create(AnchorState.parse(anchor))
    with pytest.raises(AnchorTampered, match="cohort key"):
        open_token(softhsm)


@pytest.mark.parametrize("label", [COHORT, AUDIT])
def test_a_public_key_put_in_place_of_ours_is_never_given_out(softhsm: SoftHsmDevice, label: str) -> None:
    """Public objects are not protected by the PIN, and clients seal to the public key."""
    foreign = encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())
    with user_session(softhsm) as session:
        only(session, ObjectClass.PUBLIC_KEY, label).destroy()
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.TOKEN: True,
                Attribute.LABEL: label,
                Attribute.EC_PARAMS: P256_PARAMETERS,
                Attribute.EC_POINT: b"\x04\x41" + foreign,
            }
        )
    with pytest.raises(AnchorTampered), opened(softhsm) as token:
        token.verify_key_policy()


@pytest.mark.parametrize("object_class", [ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY])
def test_half_a_key_pair_is_an_interrupted_set_up(softhsm: SoftHsmDevice, object_class: ObjectClass) -> None:
    with user_session(softhsm) as session:
        only(session, object_class, AUDIT).destroy()
    with pytest.raises(AnchorTampered, match=AUDIT):
        open_token(softhsm)


# --- opening ---------------------------------------------------------------------------------


def test_a_missing_library_is_named(softhsm: SoftHsmDevice) -> None:
    softhsm.uri = "pkcs11:token=x?module-path=/nonexistent/library.so"
    with pytest.raises(TokenUnavailable, match=r"/nonexistent/library\.so"):
        open_token(softhsm)


def test_a_file_that_is_no_library_is_named(softhsm: SoftHsmDevice) -> None:
    softhsm.uri = f"pkcs11:token=x?module-path={softhsm.pin_file}"
    with pytest.raises(TokenUnavailable, match="pin"):
        open_token(softhsm)


def test_an_absent_token_is_named_with_those_present(softhsm: SoftHsmDevice) -> None:
    right = parse_token_uri(softhsm.uri)
    assert isinstance(right, Pkcs11Uri)
    softhsm.uri = f"pkcs11:token=absent?module-path={right.module_path}"
    with pytest.raises(TokenUnavailable, match="absent") as refusal:
        open_token(softhsm)
    assert str(right.token) in str(refusal.value)


def test_a_second_opening_in_one_process_is_refused_and_the_first_goes_on(softhsm: SoftHsmDevice) -> None:
    with opened(softhsm) as token:
        with pytest.raises(TokenInUse):
            open_token(softhsm)
        assert token.anchor.read().epoch == 0


def test_a_wrong_pin_is_tried_and_told_by_the_token_and_forgotten_after_the_right_one(
    softhsm: SoftHsmDevice,
) -> None:
    assert not flags(softhsm) & TokenFlag.USER_PIN_COUNT_LOW
    with pytest.raises(TokenPinIncorrect):
        open_token(softhsm, pin=b"wrong pin")
    with opened(softhsm):
        pass
    assert not flags(softhsm) & TokenFlag.USER_PIN_COUNT_LOW


def test_another_object_prefix_is_another_set_of_keys_on_the_same_token(softhsm: SoftHsmDevice) -> None:
    with opened(softhsm) as token:
        first = token.cohort_key.public_key()
    softhsm.uri = softhsm.uri.replace("?", ";object=second?")
    assert inventory(softhsm) == []
    provision(softhsm)
    with opened(softhsm) as token:
        assert token.cohort_key.public_key() != first
