"""How the cohort key came to be where it is, and what must hold for its public area then.

=====================  ==============================================================================
history                public area
=====================  ==============================================================================
alone                  made here, ``fixedTPM`` and ``fixedParent``, no policy
alone, code-bound      the same, but used by the policy of its code record only
first of several       made here; the policy of its record, which names our audit key and our counter
joined                 the same policy, which names our storage primary at our number
=====================  ==============================================================================

A record that anybody exchanged does not have the authPolicy that the key has had since it was made.
"""

from __future__ import annotations

from dataclasses import dataclass

from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.errors import AnchorTampered
from hwkm.formats.code_record import CodeRecord
from hwkm.formats.cohort_record import CohortRecord
from hwkm.formats.membership import Membership
from hwkm.tokens.tpm.policy import verify_public_area
from hwkm.tokens.tpm.templates import CODE_BOUND_ATTRIBUTES, COHORT_ATTRIBUTES, MEMBERS_COHORT_ATTRIBUTES


@dataclass(frozen=True, slots=True)
class History:
    """What the TPM holds beside the cohort key: Names of our keys, the record, and the counter's value.

    ``code`` is the record of a code-bound key; the TPM does not hold it.
    """

    storage_name: bytes
    audit_name: bytes
    counter_handle: int
    record: CohortRecord | None = None
    counter: int | None = None
    code: CodeRecord | None = None

    def verify(self, membership: Membership, cohort_key: TPM2B_PUBLIC) -> None:
        """Check the cohort key's public area.

        Raises:
            KeyExposedError: it is not that of the history.
            AnchorTampered: the record is missing, or another cohort's.
        """
        if self.code:
            verify_public_area("cohort key", cohort_key, CODE_BOUND_ATTRIBUTES, self.code.policy_digest())
            return
        if membership.members == 1:
            verify_public_area("cohort key", cohort_key, COHORT_ATTRIBUTES)
            return
        terms = self.verified_record().terms
        verify_public_area("cohort key", cohort_key, MEMBERS_COHORT_ATTRIBUTES, terms.policy_digest())
        if membership.number:
            named = terms.parents[membership.number - 1 : membership.number] == (self.storage_name,)
        else:
            named = (terms.sender, terms.counter) == (self.audit_name, self.counter_handle)
        if terms.members != membership.members or not named:
            raise AnchorTampered("the cohort record is another member's than the anchor says")

    def is_sealed(self, membership: Membership) -> bool:
        """Whether the key can go to no other member from here.

        Raises:
            AnchorTampered: record or counter is missing.
        """
        if membership.number or membership.members == 1:
            return True
        if self.counter is None:
            raise AnchorTampered("the cohort counter is missing: someone removed it")
        return self.counter >= self.verified_record().terms.limit

    def verified_record(self) -> CohortRecord:
        """The record. Raises AnchorTampered: there is none."""
        if self.record is None:
            raise AnchorTampered("the cohort record is missing: someone removed it")
        return self.record
