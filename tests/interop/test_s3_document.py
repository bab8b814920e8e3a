"""docs/s3.md: its commands are run as they stand, on hwkmd and SeaweedFS, and print what it says."""

from __future__ import annotations

import shutil
from string import Template

import pytest

from tests.hardware import short_directory
from tests.interop.document import blocks_of, run_page
from tests.interop.seaweedfs import ACCESS_KEY, SECRET_KEY, seaweedfs
from tests.interop.service import key_service
from tests.interop.toolbox import ROOT, clean_environment

PAGE = (ROOT / "docs" / "s3.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)  # some 45 runs of the AWS CLI
@pytest.mark.needs("swtpm", "weed", "jq")
def test_every_command_of_the_page_prints_what_the_page_says() -> None:
    directory = short_directory()
    try:
        with key_service("swtpm") as service:
            you, other = service.tenants
            variables = {
                "KMS_ENDPOINT": you.endpoint,
                "KMS_ACCESS_KEY": you.access_key,
                "KMS_SECRET_KEY": you.secret_key,
                "SERVER_ACCESS_KEY": you.access_key,
                "SERVER_SECRET_KEY": you.secret_key,
                "OTHER_ACCESS_KEY": other.access_key,
                "OTHER_SECRET_KEY": other.secret_key,
                "S3_ACCESS_KEY": ACCESS_KEY,
                "S3_SECRET_KEY": SECRET_KEY,
            }
            (configuration,) = (block.text for block in blocks_of(PAGE) if block.title == "s3.json")
            with seaweedfs(directory, [Template(configuration).substitute(variables)]) as (endpoint,):
                page = directory / "page"
                page.mkdir()
                environment = clean_environment(page, S3_ENDPOINT=endpoint, AWS_MAX_ATTEMPTS="1", **variables)
                steps = run_page(PAGE, page, environment)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert len(steps) >= 10
    assert [step for step in steps if not step.is_as_stated] == []
