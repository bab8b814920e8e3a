"""Key policies. hwkm enforces its own policy file; the one key policy that says so is the only one taken.

It is AWS's default policy of a new key: what may be done with the key is up to the identities of its
account. Storing another one would promise what nobody enforces.
"""

from __future__ import annotations

import json
from typing import Any, Final

from hwkm.server.aws.errors import AwsError, Unsupported

DEFAULT_NAME: Final = "default"


def default_policy(account: str) -> str:
    """The policy of every key of an account, as a JSON document."""
    return json.dumps(_default(account), indent=2)


def check_policy(account: str, text: str) -> None:
    """Accept the default policy and refuse every other.

    Raises:
        AwsError: it is no policy (MalformedPolicyDocumentException), or another (UnsupportedOperationException).
    """
    try:
        policy = json.loads(text)
    except (ValueError, RecursionError):
        policy = None
    if not isinstance(policy, dict) or "Statement" not in policy:
        raise AwsError("MalformedPolicyDocumentException", "The policy is not a JSON policy document.")
    if _normal(policy) != _normal(_default(account)):
        raise Unsupported(
            "Key policies are not enforced here, so none but the default one is stored: who may use a key is said in"
            " the policy file of hwkmd."
        )


def check_policy_name(name: str | None) -> None:
    """See that it is the one name there is.

    Raises:
        AwsError: NotFoundException.
    """
    if name not in (None, DEFAULT_NAME):
        raise AwsError("NotFoundException", "No such policy exists", code="key_not_found")


def _default(account: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Id": "key-default-1",
        "Statement": [
            {
                "Sid": "Enable IAM User Permissions",
                "Effect": "Allow",
                "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                "Action": "kms:*",
                "Resource": "*",
            }
        ],
    }


def _normal(policy: dict[str, Any]) -> object:
    """The policy without its names: they mean nothing, and tools choose their own."""
    statements = policy["Statement"] if isinstance(policy["Statement"], list) else [policy["Statement"]]
    plain = [
        {key: _sole(value) for key, value in statement.items() if key != "Sid"}
        if isinstance(statement, dict)
        else statement
        for statement in statements
    ]
    return [policy.get("Version"), *plain]


def _sole(value: object) -> object:
    """One value stands for a list of it."""
    match value:
        case [one]:
            return one
        case {"AWS": [one]} if isinstance(value, dict) and len(value) == 1:
            return {"AWS": one}
        case _:
            return value
