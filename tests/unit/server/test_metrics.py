"""What Prometheus reads."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from hwkm.server.metrics import Metrics
from hwkm.wire.core_messages import Statistics
from hwkm.wire.key_messages import KeyStatistics

STATISTICS = Statistics(
    epoch=7,
    commits=4,
    anchor_writes=5,
    key_agreements=40,
    nodes_stored=9,
    challenges_open=2,
    batch_sizes={1: 3, 64: 2, 200: 1},
    halted=False,
    keys=KeyStatistics({"decrypt_data": 3}, 1, 4, 2, 5, 2, 1),
)


def samples(text: bytes) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_batch_sizes_are_a_cumulative_histogram() -> None:
    found = samples(Metrics().exposition(STATISTICS))
    assert found["hwkm_batch_claims_bucket[1.0]"] == 3
    assert found["hwkm_batch_claims_bucket[32.0]"] == 3
    assert found["hwkm_batch_claims_bucket[64.0]"] == 5
    assert found["hwkm_batch_claims_bucket[+Inf]"] == 6
    assert found["hwkm_batch_claims_count"] == 6
    assert found["hwkm_batch_claims_sum"] == 3 + 128 + 200


def test_the_numbers_of_the_core_are_there_while_there_is_one() -> None:
    found = samples(Metrics().exposition(STATISTICS))
    assert found["hwkm_commits_total"] == 4
    assert found["hwkm_nv_writes_total"] == 5
    assert found["hwkm_epoch"] == 7
    assert found["hwkm_key_operations_total[decrypt_data]"] == 3
    assert (found["hwkm_key_loads_total"], found["hwkm_key_cache_hits_total"]) == (2, 5)
    assert "hwkm_commits_total" not in samples(Metrics().exposition(None))


def test_two_daemons_in_one_process_do_not_share_counts() -> None:
    first, second = Metrics(), Metrics()
    first.claims.labels("opened").inc()
    assert samples(first.exposition(None))["hwkm_claims_total[opened]"] == 1
    assert "hwkm_claims_total[opened]" not in samples(second.exposition(None))
