"""A tenant of a key service: its credential, and the clients of others that use it. Needs no pytest."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config

from tests.interop.toolbox import BIN, NODE_MODULES, clean_environment

REGION: Final = "us-east-1"
PROGRAMS: Final = Path(__file__).parent / "programs"
DEADLINE_S: Final = 120.0


class ClientFailed(Exception):
    """A client program ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Tenant:
    """An account of the key service at ``endpoint``, and a home directory for programs."""

    name: str
    account: str
    access_key: str
    secret_key: str
    endpoint: str
    home: Path

    def kms(self) -> Any:
        """A boto3 client that does not try again."""
        return boto3.client(
            "kms",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def environment(self, **more: str) -> dict[str, str]:
        """What the AWS SDKs and the AWS CLI read."""
        return clean_environment(
            self.home,
            AWS_ACCESS_KEY_ID=self.access_key,
            AWS_SECRET_ACCESS_KEY=self.secret_key,
            AWS_DEFAULT_REGION=REGION,
            AWS_REGION=REGION,
            AWS_ENDPOINT_URL_KMS=self.endpoint,
            AWS_MAX_ATTEMPTS="1",
            NODE_PATH=str(NODE_MODULES),
            **more,
        )

    def run(self, *command: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> bytes:
        """Run a program to its end; return what it printed.

        Raises:
            ClientFailed: its exit code is not 0.
        """
        done = subprocess.run(
            command,
            input=stdin,
            env={**self.environment(), **(environment or {})},
            cwd=self.home,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        if done.returncode != 0:
            raise ClientFailed(done.stderr.decode())
        return done.stdout

    def aws(self, *arguments: str, environment: Mapping[str, str] | None = None) -> Any:
        """Run the AWS CLI; return its answer."""
        out = self.run(
            str(BIN / "aws"), *arguments, environment={"AWS_DEFAULT_OUTPUT": "json", **(environment or {})}
        )
        return json.loads(out) if out.strip() else None

    def python(
        self, program: str, *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
    ) -> bytes:
        """Run one of the Python programs beside this file."""
        command = (str(BIN / "python"), str(PROGRAMS / program), *arguments)
        return self.run(*command, stdin=stdin, environment=environment)

    def node(self, program: str, *arguments: str, stdin: bytes = b"") -> bytes:
        """Run one of the JavaScript programs beside this file."""
        return self.run(str(BIN / "node"), str(PROGRAMS / program), *arguments, stdin=stdin)
