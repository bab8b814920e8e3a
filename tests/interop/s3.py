"""SeaweedFS behind boto3: a gateway for each tenant of a key service, one store behind them. Needs no pytest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.hardware import short_directory
from tests.interop.seaweedfs import ACCESS_KEY, SECRET_KEY, KmsAccess, seaweedfs
from tests.interop.tenant import REGION, Tenant


@dataclass(frozen=True)
class Storage:
    """The gateways' endpoints, in the order of the tenants, and where the store keeps its files."""

    endpoints: Sequence[str]
    directory: Path

    def s3(self, tenant: int) -> Any:
        """A boto3 client of a tenant's gateway, which does not try again."""
        return boto3.client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoints[tenant],
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def holds(self, data: bytes) -> bool:
        """Whether these bytes are in any file of the store."""
        files = (path for path in (self.directory / "weed").rglob("*") if path.is_file())
        return any(data in path.read_bytes() for path in files)


@contextmanager
def storage_of(tenants: Sequence[Tenant]) -> Iterator[Storage]:
    """Run SeaweedFS for the tenants of a key service."""
    directory = short_directory()
    access = (KmsAccess(tenant.endpoint, tenant.access_key, tenant.secret_key) for tenant in tenants)
    try:
        with seaweedfs(directory, [each.configuration() for each in access]) as endpoints:
            yield Storage(endpoints, directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
