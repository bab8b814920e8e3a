"""Customer master keys as children of domain keys: made, proved, and moved to another parent.

A blob is refused if the TPM refuses it (another parent's, damaged), if its public area is not that of the
kind, or if it does not take the authorisation value that its name and kind give (another key's).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from hwkm.errors import TokenUnavailable
from hwkm.formats.key_kind import KeyKind, KeyName, KeyUsage
from hwkm.secret import SecretBytes
from hwkm.tokens.tpm.errors import CommandRefused, refused_authorisation, refused_parameter, translate
from hwkm.tokens.tpm.hmac_session import ENCRYPT, Entity, HmacSession, sized, split_sized
from hwkm.tokens.tpm.key_commands import (
    HMAC,
    INNER_KEY_BYTES,
    ChildBlob,
    Duplicated,
    change_authorisation,
    create,
    duplicate,
    hmac_parameters,
    import_child,
    load,
    sign,
    signing_scheme,
    zgen,
)
from hwkm.tokens.tpm.key_templates import HASHES, empty_unique, is_of_kind, name_of, public_template
from hwkm.tokens.tpm.slots import LoadedObject, Slots
from hwkm.tokens.wrapping import refusal


def encode_blob(blob: ChildBlob) -> bytes:
    """Return what a wrapped key holds: TPM2B_PRIVATE, then TPM2B_PUBLIC."""
    return sized(blob.private) + sized(blob.public)


def parse_blob(name: KeyName, kind: KeyKind, data: bytes) -> ChildBlob:
    """Read what :func:`encode_blob` wrote, of a key of this kind.

    Raises:
        WrappedKeyRefused: it is none.
    """
    try:
        private, rest = split_sized(data)
        public, trailing = split_sized(rest)
    except TokenUnavailable as exc:
        raise refusal(name, kind) from exc
    if trailing or not is_of_kind(kind, public):
        raise refusal(name, kind)
    return ChildBlob(private, public)


class Nursery:
    """Makes and moves children. ``salt`` is handle and point of the storage primary."""

    def __init__(self, session: HmacSession, slots: Slots, salt: tuple[int, bytes]) -> None:
        self._session = session
        self._slots = slots
        self._salt = salt

    def make(self, parent: Entity, kind: KeyKind, authorisation: SecretBytes) -> ChildBlob:
        """Make a key; nothing of it stays inside.

        Raises:
            CommandRefused, TokenUnavailable: as :func:`create`; or the TPM made something else.
        """
        self._slots.make_room(1)  # the parent and the new object take a slot each
        template = public_template(kind) + empty_unique(kind)
        blob = create(self._session, parent, authorisation, template)
        if not is_of_kind(kind, blob.public):
            raise TokenUnavailable(f"the TPM made a key that is not of kind {kind}")
        return blob

    def load(self, parent: Entity, blob: ChildBlob, authorisation: SecretBytes) -> LoadedObject:
        """Load a blob. Raises CommandRefused, TokenUnavailable."""
        self._slots.make_room(1)
        handle = load(self._session, parent, blob)
        return self._slots.add(handle, name_of(blob.public), authorisation)

    @contextmanager
    def loaded(self, parent: Entity, blob: ChildBlob, authorisation: SecretBytes) -> Iterator[LoadedObject]:
        """Load a blob for a moment. Raises as :meth:`load`."""
        item = self.load(parent, blob, authorisation)
        try:
            yield item
        finally:
            self._slots.remove(item)

    def prove(self, item: LoadedObject, kind: KeyKind) -> None:
        """Use the key once: the TPM refuses if the authorisation value is not its own.

        Raises:
            CommandRefused, TokenUnavailable: it is not, or the TPM failed.
        """
        key = self._slots.entity(item)
        if kind.is_secret_key:
            self._session.execute(HMAC, (key,), *hmac_parameters(b"proof"), ENCRYPT)
        elif kind.usage == KeyUsage.SIGN_VERIFY:
            algorithm = min(kind.signing_algorithms)
            scheme = signing_scheme(algorithm, HASHES[algorithm.digest_bytes])
            sign(self._session, key, scheme, bytes(algorithm.digest_bytes))
        else:
            zgen(self._session, key, _GENERATORS[kind.spec])

    def move(
        self, blob: ChildBlob, parent: Entity, new_parent: Entity, authorisation: SecretBytes
    ) -> ChildBlob:
        """Return the child under another parent of this TPM. Raises CommandRefused, TokenUnavailable."""
        with SecretBytes(os.urandom(INNER_KEY_BYTES)) as inner_key:
            with self.loaded(parent, blob, authorisation) as item:
                moving = self.duplicated(item, new_parent, inner_key)
            self._slots.make_room(1)
            return import_child(self._session, new_parent, blob.public, moving, inner_key.expose())

    def reauthorised(self, item: LoadedObject, parent: Entity, public: bytes, new: SecretBytes) -> ChildBlob:
        """Return a loaded child with another authorisation value. Raises CommandRefused, TokenUnavailable."""
        return change_authorisation(self._session, self._slots.entity(item), parent, public, new)

    def duplicated(self, item: LoadedObject, new_parent: Entity, inner_key: SecretBytes) -> Duplicated:
        """Return a loaded child wrapped to another parent. Raises CommandRefused, TokenUnavailable."""
        self._slots.make_room(2)  # the key that the session is salted with takes a slot
        with closing(HmacSession(self._session.transport, *self._salt, policy=True)) as policy:
            return duplicate(policy, self._slots.entity(item), new_parent, inner_key.expose())


@contextmanager
def refusals(name: KeyName, kind: KeyKind, generation: int, doing: str) -> Iterator[None]:
    """Translate what the TPM refused while it looked at somebody's blob.

    Raises:
        WrappedKeyRefused: the blob is not what it should be.
        TokenError: the hardware failed.
    """
    try:
        yield
    except CommandRefused as exc:
        if refused_parameter(exc.code):
            raise refusal(name, kind, generation) from exc
        raise translate(exc.code, doing) from exc


@contextmanager
def proofs(name: KeyName, kind: KeyKind, generation: int) -> Iterator[None]:
    """The same while the key itself is used: a wrong authorisation value is another key's.

    Raises:
        WrappedKeyRefused, TokenError: as :func:`refusals`.
    """
    try:
        yield
    except CommandRefused as exc:
        if refused_authorisation(exc.code):
            raise refusal(name, kind, generation) from exc
        raise translate(exc.code, "proving a key") from exc


_GENERATORS: Final = {
    "ECC_NIST_P256": bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    ),
    "ECC_NIST_P384": bytes.fromhex(
        "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a38"
        "5502f25dbf55296c3a545e3872760ab73617de4a96262c6f5d9e98bf9292dc29f8"
        "f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f"
    ),
}
"""SEC 2, 2.4.2 and 2.5.1; a point that is on the curve for sure."""
