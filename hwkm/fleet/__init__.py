"""Lists of cohort keys: who vouches for them, and what must hold before a client trusts one.

No I/O: bytes, a time and what was seen before come in; verified keys or a typed error come out.
:mod:`hwkm.fleet.android` reads the lists that Google publishes for Android's recoverable key store.
"""
