"""The AWS KMS JSON 1.1 wire, so that software which already speaks it works with hwkm unchanged.

``POST /`` with ``X-Amz-Target: TrentService.<Operation>`` (``docs/operations/aws-kms.md``). To read it: a request
is proved genuine (:mod:`~hwkm.server.aws.sigv4`, :mod:`~hwkm.server.aws.authentication`), decoded
(:mod:`~hwkm.server.aws.requests`, :mod:`~hwkm.server.aws.validation`), done by a thin operation over the key
service, and answered in AWS's words (:mod:`~hwkm.server.aws.errors`).
"""
