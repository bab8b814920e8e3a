"""Encrypted files: each under a data key of its own, which a key of the daemon wraps.

The format is that of the AWS Encryption SDK (``docs/spec/file-format.md``).
"""
