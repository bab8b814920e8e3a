"""Domain separation: no label is another, or begins another of the same construction."""

from __future__ import annotations

import itertools

from hwkm.crypto import labels

LABELS = {name: value for name, value in vars(labels).items() if isinstance(value, bytes)}


def test_no_label_begins_another() -> None:
    assert len(LABELS) >= 10
    for left, right in itertools.permutations(LABELS, 2):
        assert not LABELS[left].startswith(LABELS[right]), (left, right)


def test_android_labels_are_androids() -> None:
    """AOSP KeySyncUtils.java."""
    assert labels.THM_KF_HASH == b"THM_KF_hash"
    assert labels.LOCAL_RECOVERY_KEY == b"V1 locally_encrypted_recovery_key"
    assert labels.THM_RECOVERY_KEY == b"V1 THM_encrypted_recovery_key"
    assert labels.APPLICATION_KEY == b"V1 encrypted_application_key"
    assert labels.CLAIM == b"V1 KF_claim"
    assert labels.RESPONSE == b"V1 reencrypted_recovery_key"


def test_our_own_labels_say_whose_they_are() -> None:
    own = [value for value in LABELS.values() if value.startswith(b"hwkm ")]
    assert len(own) == len(LABELS) - 6
    assert all(value.decode("ascii").rpartition(" v")[2].isdigit() for value in own)
