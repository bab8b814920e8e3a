"""Android's lists of cohort keys: ``cert.xml`` and ``cert.sig.xml`` (``docs/spec/android-list.md``)."""

from hwkm.fleet.android.verification import SeenList, VerifiedList, verify_list

__all__ = ["SeenList", "VerifiedList", "verify_list"]
