"""The anchor as a private data object (``docs/spec/anchor.md``).

PKCS#11 has no counters, and SoftHSM does not let CKA_VALUE change once an object is made. So an
advance makes a new object, then destroys the old one. A crash in between leaves two; the higher
epoch is the true one, because nothing is released under an epoch before its object exists.
"""

from __future__ import annotations

from typing import Any

from pkcs11 import PKCS11Error
from pkcs11.constants import Attribute, ObjectClass

from hwkm.errors import AnchorTampered, AnchorUncertain, FormatError, TokenBusy, TokenError, TokenFull
from hwkm.formats.anchor import AnchorState
from hwkm.tokens.pkcs11.errors import NOT_APPLIED, translated
from hwkm.tokens.pkcs11.objects import find


class Pkcs11Anchor:
    """One private data object, replaced at each advance."""

    def __init__(self, session: Any, label: str) -> None:
        self._session = session
        self._label = label
        self._template = {
            Attribute.CLASS: ObjectClass.DATA,
            Attribute.TOKEN: True,
            Attribute.PRIVATE: True,
            Attribute.MODIFIABLE: False,
            Attribute.APPLICATION: "hwkm",
            Attribute.LABEL: label,
        }
        self._current: Any = None

    def read(self) -> AnchorState:
        objects = find(self._session, ObjectClass.DATA, self._label)
        states = sorted(((self._parse(item), item) for item in objects), key=lambda pair: pair[0].epoch)
        if not states:
            raise AnchorTampered(f"the anchor {self._label} is gone from the token")
        *older, (state, self._current) = states
        if any(other.epoch == state.epoch for other, _ in older):
            raise AnchorTampered(f"the token holds two anchors {self._label} of epoch {state.epoch}")
        if any(other.cohort != state.cohort for other, _ in older):
            raise AnchorTampered(f"the token holds anchors {self._label} of two cohort keys")
        if any(other.membership != state.membership for other, _ in older):
            raise AnchorTampered(f"the token holds anchors {self._label} of two members of its cohort")
        for _, item in older:
            with translated("removing what an interrupted advance left"):
                item.destroy()
        return state

    def advance(self, state: AnchorState) -> None:
        if self._current is None:
            self.read()
        replaced, self._current = self._current, None  # until all went well, nothing is known
        try:
            made = self.create(state)
        except (TokenBusy, TokenFull) as exc:
            self._verify_unmoved(state, exc)
            raise
        try:
            replaced.destroy()
        except PKCS11Error as exc:
            # The new state is in force; but two objects with this session still in use would
            # become three. The restart reads, and removes the older.
            raise AnchorUncertain("the anchor advanced, but its old object could not be destroyed") from exc
        self._current = made

    def _verify_unmoved(self, state: AnchorState, refusal: TokenError) -> None:
        """Check that a refused object was indeed not made.

        Raises:
            AnchorUncertain: it was, or that cannot be known.
        """
        try:
            made = self.read().epoch >= state.epoch
        except TokenError as exc:
            raise AnchorUncertain(f"{refusal}; and the anchor cannot be read back: {exc}") from exc
        if made:
            raise AnchorUncertain(f"{refusal}, and made the next anchor all the same")

    def create(self, state: AnchorState) -> Any:
        """Make the data object of ``state`` and return it. Only set-up calls this from outside.

        Raises:
            TokenBusy, TokenFull: definitely not made.
            AnchorUncertain: made or not, unknown.
        """
        try:
            return self._session.create_object({**self._template, Attribute.VALUE: state.encode()})
        except PKCS11Error as exc:
            definite = NOT_APPLIED.get(type(exc))
            name = type(exc).__name__
            if definite is not None:
                raise definite(f"the token has no room for the next anchor: {name}") from exc
            raise AnchorUncertain(f"the token failed while making the next anchor: {name}") from exc

    def _parse(self, item: Any) -> AnchorState:
        with translated("reading the anchor"):
            value = item[Attribute.VALUE]
        try:
            return AnchorState.parse(value)
        except FormatError as exc:
            raise AnchorTampered(f"the data object {self._label} is not an anchor of hwkm") from exc
