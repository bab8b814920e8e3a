"""What the documents for operators say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from hwkm.server import exit_codes
from hwkm.server.aws.operations import table
from hwkm.server.metrics import Metrics
from hwkm.server.policy_file import load_policy
from hwkm.wire.core_messages import Statistics
from hwkm.wire.key_messages import KeyStatistics
from hwkm.wire.operations import OPERATIONS

DOCS = Path(__file__).resolve().parents[3] / "docs"
STATISTICS = Statistics(
    epoch=0,
    commits=0,
    anchor_writes=0,
    key_agreements=0,
    nodes_stored=0,
    challenges_open=0,
    batch_sizes={},
    halted=False,
    keys=KeyStatistics({}, 0, 0, 0, 0, 0, 0),
)


def test_every_operation_is_in_the_table_of_the_interface() -> None:
    text = (DOCS / "spec/api.md").read_text()
    for operation in OPERATIONS:
        assert re.search(
            rf"\| `{re.escape(operation.name)}` \| {operation.method} `{re.escape(operation.path)}", text
        )


def test_every_series_is_documented_and_no_other() -> None:
    exposed = set(
        re.findall(
            r"^# TYPE (\w+) (?:counter|gauge|histogram)$",
            Metrics().exposition(STATISTICS).decode(),
            re.MULTILINE,
        )
    )
    exposed = {name for name in exposed if not name.endswith("_created")}
    documented = set(
        re.findall(r"`(hwkm_\w+)(?:\{[\w, ]+\})?`", (DOCS / "operations/metrics.md").read_text())
    )
    assert documented == exposed


def test_every_exit_code_is_documented() -> None:
    text = (DOCS / "operations/configuration.md").read_text()
    codes = [value for name, value in vars(exit_codes).items() if name.startswith("EXIT_")]
    for code in codes:
        assert f"| {code} | " in text


def test_the_documented_policy_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (DOCS / "operations/policy.md").read_text(), re.DOTALL)
    path = tmp_path / "policy.toml"
    path.write_text(example.replace('"backup"', '"root"').replace('"hwkm-operators"', '"root"'))
    assert len(load_policy(path).rules) == 6


def test_every_operation_of_aws_kms_is_documented_as_supported_or_as_refused() -> None:
    text = (DOCS / "operations/aws-kms.md").read_text()
    supported, refused = text.split("### Refused, and why")
    assert set(re.findall(r"`([A-Z][A-Za-z]+)`", supported.split("## Operations")[1])) >= set(
        table.OPERATIONS
    )
    assert set(re.findall(r"`([A-Z][A-Za-z]+)`", refused)) >= table.UNSUPPORTED
    assert not any(f"`{name}`" in supported for name in table.UNSUPPORTED)
