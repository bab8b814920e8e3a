"""What the daemon does for each operation of :data:`hwkm.wire.operations.OPERATIONS`.

A handler is one coroutine that takes the desk (what the daemon has) and the call (what the caller
wants, decoded and authorised), returns the response struct, and raises :mod:`hwkm.errors`.
Nothing here speaks HTTP.
"""
