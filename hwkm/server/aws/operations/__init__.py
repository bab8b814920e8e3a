"""What is done for each operation: a coroutine over the key service, in AWS's terms.

Each takes the call and the decoded request, and returns the response, or None for an empty one. Errors
of the key service pass through: :mod:`hwkm.server.aws.translation` puts them into AWS's words.
"""
