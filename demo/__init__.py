"""``make demo``: a recovery key goes into a vault, comes back for the right PIN, and is lost for wrong ones.

Everything is real: a SoftHSM token or a software TPM, ``hwkmd`` and ``hwkm`` as they are installed,
all in a temporary directory that is removed at the end. What differs from expectation ends the
demonstration with an error.
"""
