"""A real hwkmd with the AWS wire on a network socket, and clients of botocore's for it. Needs no pytest.

Every answer that a client gets is checked against botocore's service model before botocore looks at it:
no member that the model does not have, nothing null, everything of its type.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import botocore.config
import botocore.session
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape

from tests.core_process import Device
from tests.daemon import POLL_S, START_DEADLINE_S, Daemon

ACCOUNT_A: Final = "000000000001"
ACCOUNT_B: Final = "000000000002"
REGION: Final = "us-east-1"

_ADDRESS: Final = re.compile(r'"aws": ?"([0-9.:\[\]]+)"')


@dataclass(frozen=True)
class Key:
    """An access key as ``hwkmd credential create`` printed it."""

    access_key_id: str
    secret_access_key: str


def create_credential(daemon: Daemon, name: str, account: str) -> Key:
    """Make a credential by the command. A running daemon does not know it before it reloads."""
    done = daemon.command("credential", "create", name, "--account", account, "--json")
    assert done.returncode == 0, done.stderr
    return Key(**json.loads(done.stdout))


class AwsDaemon(Daemon):
    """Serves AWS KMS at :attr:`url`, with the credentials ``a`` and ``b`` of two accounts."""

    a: Key
    b: Key

    def __init__(self, device: Device, *, aws: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(device, **options)
        self._starts = 0
        self.sections = {"aws": {"listen": "127.0.0.1:0", **(aws or {})}}
        self.settings(self.sections)

    def settings(self, *changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the configuration anew, the AWS wire included."""
        self.configure({"attempts": {"delays": ["0s"]}}, self.sections, *changes)

    def start(self, *, wait: bool = True) -> None:
        if not hasattr(self, "a"):
            self.a = create_credential(self, "a", ACCOUNT_A)
            self.b = create_credential(self, "b", ACCOUNT_B)
        self._starts += 1
        super().start(wait=wait)

    @property
    def address(self) -> str:
        """Where the newest life of the daemon says that it listens."""
        deadline = time.monotonic() + START_DEADLINE_S
        while len(found := _ADDRESS.findall(self.log)) < self._starts:
            self._check_alive(deadline, "does not say where it listens")
            time.sleep(POLL_S)
        return str(found[-1])

    @property
    def url(self) -> str:
        """The endpoint for clients."""
        scheme = "https" if self.sections["aws"].get("tls_key") else "http"
        return f"{scheme}://{self.address}"

    def client(self, key: Key | None = None, **config: Any) -> Any:
        """botocore's KMS client, without retries; for credential ``a`` unless another is given."""
        return kms_client(self.url, key or self.a, **config)


def kms_client(url: str, key: Key, *, verify: str | bool | None = None, **config: Any) -> Any:
    """botocore's KMS client whose answers are checked against the model."""
    config.setdefault("retries", {"total_max_attempts": 1})
    client = botocore.session.Session(profile=None).create_client(
        "kms",
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id=key.access_key_id,
        aws_secret_access_key=key.secret_access_key,
        verify=verify,
        config=botocore.config.Config(**config),
    )
    client.meta.events.register("before-parse.kms", check_response)
    return client


def check_response(operation_model: OperationModel, response_dict: Mapping[str, Any], **_: Any) -> None:
    """See that a raw answer is what the model says, strictly."""
    headers = response_dict["headers"]
    assert headers["x-amzn-RequestId"]
    assert headers["Content-Type"] == "application/x-amz-json-1.1"
    body = response_dict["body"]
    if response_dict["status_code"] != 200:
        assert response_dict["status_code"] in (400, 500)
        error = json.loads(body)
        assert set(error) <= {"__type", "message"}
        assert re.fullmatch(r"[A-Za-z]+", error["__type"])
        assert error.get("message") != ""
    elif operation_model.output_shape is None:
        assert body == b""
    else:
        check_value(json.loads(body), operation_model.output_shape, operation_model.name)


def check_value(value: Any, shape: Shape, place: str) -> None:
    """See that a value of JSON is of a shape of the model."""
    match shape.type_name:
        case "structure":
            assert isinstance(value, dict), place
            assert set(value) <= set(shape.members), place
            assert set(shape.required_members) <= set(value), place
            for name, member in value.items():
                check_value(member, shape.members[name], f"{place}.{name}")
        case "list":
            assert isinstance(value, list), place
            for item in value:
                check_value(item, shape.member, f"{place}[]")
        case "blob":
            check_length(len(base64.b64decode(value, validate=True)), shape, place)
        case "string":
            assert isinstance(value, str), place
            assert not shape.enum or value in shape.enum, place
            check_length(len(value), shape, place)
        case "timestamp":
            assert type(value) in (int, float), place
        case "integer":
            assert type(value) is int, place
        case "boolean":
            assert isinstance(value, bool), place
        case other:
            raise AssertionError(f"{place}: {other}")


def check_length(length: int, shape: Shape, place: str) -> None:
    """See that a length is within the model's limits."""
    limits = shape.metadata
    assert limits.get("min", 0) <= length <= limits.get("max", length), place


def refusal(error: ClientError) -> tuple[str, str]:
    """Name and text of an error."""
    return error.response["Error"]["Code"], error.response["Error"]["Message"]
