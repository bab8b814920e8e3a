"""Counts and times for Prometheus (``docs/operations/metrics.md``). No label names a vault or a user."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hwkm.wire.core_messages import Statistics
from hwkm.wire.key_messages import KeyStatistics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """What the daemon counts itself; the core's own counts are added when they are asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "hwkm_requests",
            "Requests answered, by operation and by ok or the code of the error.",
            ["operation", "code"],
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "hwkm_request_seconds",
            "Time from a whole request to its answer.",
            ["operation"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._of_answers: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self.claims = Counter(
            "hwkm_claims",
            "Claims presented, by outcome: opened, or the code of the error.",
            ["outcome"],
            registry=self.registry,
        )
        self.refused_connections = Counter(
            "hwkm_refused_connections",
            "Connections refused because of a limit.",
            registry=self.registry,
        )
        self.aws_unauthenticated = Counter(
            "hwkm_aws_unauthenticated",
            "Requests of the AWS wire without a valid signature; none is in the audit log.",
            registry=self.registry,
        )
        self.connections = self._gauge("hwkm_connections", "Open connections.")
        self.requests_in_flight = self._gauge("hwkm_requests_in_flight", "Requests being worked on.")
        self.vaults = self._gauge("hwkm_vaults", "Vaults in the record database, locked ones included.")
        self.keys = self._gauge("hwkm_keys", "Keys that were not deleted.")
        self.keys_cached = self._gauge("hwkm_keys_cached", "Keys in the daemon's memory, wrapped.")
        self.key_cache_hits = Counter(
            "hwkm_key_cache_found", "Keys that were found in the daemon's memory.", registry=self.registry
        )
        self.key_cache_misses = Counter(
            "hwkm_key_cache_missed", "Keys that were read from the database.", registry=self.registry
        )
        self.core_ready = self._gauge("hwkm_core_ready", "1 while the trusted core is ready, else 0.")
        self.core_queue_depth = self._gauge("hwkm_core_queue_depth", "Requests waiting for the trusted core.")
        self.core_restarts = Counter(
            "hwkm_core_restarts", "Times that the trusted core was started again.", registry=self.registry
        )
        self.audit_syncs = Counter(
            "hwkm_audit_syncs", "Times that audit records were made durable.", registry=self.registry
        )
        self.audit_failing = self._gauge(
            "hwkm_audit_failing", "1 while the audit log takes no records, and so nothing is done."
        )
        self.audit_unsigned = self._gauge(
            "hwkm_audit_unsigned_records", "Audit records that no signed checkpoint covers yet."
        )
        self.audit_records = Counter(
            "hwkm_audit_records", "Audit records made durable.", registry=self.registry
        )

    def answered(self, operation: str, code: str, seconds: float) -> None:
        """Count a request and its time."""
        children = self._of_answers.get((operation, code))
        if children is None:
            children = (self.requests.labels(operation, code), self.request_seconds.labels(operation))
            self._of_answers[operation, code] = children  # as many as there are operations and codes
        children[0].inc()
        children[1].observe(seconds)

    def audit_synced(self, records: int) -> None:
        """Count one fsync of the audit log."""
        self.audit_syncs.inc()
        self.audit_records.inc(records)

    def exposition(self, statistics: Statistics | None) -> bytes:
        """The text that Prometheus reads; the core's part is left out while there is no core."""
        text = generate_latest(self.registry)
        if statistics is None:
            return text
        core = CollectorRegistry()
        core.register(_CoreMetrics(statistics))
        return text + generate_latest(core)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)


class _CoreMetrics(Collector):
    """The counts of the core's present life; they start again at 0 when it does."""

    def __init__(self, statistics: Statistics) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        numbers = self._statistics
        yield CounterMetricFamily("hwkm_commits", "Batches of claims committed.", numbers.commits)
        yield CounterMetricFamily(
            "hwkm_nv_writes", "Writes of the anchor in the token.", numbers.anchor_writes
        )
        yield CounterMetricFamily(
            "hwkm_key_agreements", "ECDH operations in the token.", numbers.key_agreements
        )
        yield CounterMetricFamily(
            "hwkm_tree_nodes_stored", "Nodes of the attempt tree stored.", numbers.nodes_stored
        )
        yield GaugeMetricFamily("hwkm_epoch", "Epoch of the attempt state.", numbers.epoch)
        yield GaugeMetricFamily(
            "hwkm_challenges_open", "Challenges issued and not used.", numbers.challenges_open
        )
        yield GaugeMetricFamily(
            "hwkm_halted", "1 if the attempt state does not match the token.", int(numbers.halted)
        )
        yield _batch_histogram(numbers.batch_sizes)
        yield from _key_metrics(numbers.keys)


def _key_metrics(keys: KeyStatistics) -> Iterator[Metric]:
    operations = CounterMetricFamily(
        "hwkm_key_operations", "Items of requests of the key service.", labels=["operation"]
    )
    for operation, count in keys.operations.items():
        operations.add_metric([operation], count)
    yield operations
    yield CounterMetricFamily("hwkm_key_refusals", "Ciphertexts and stored keys refused.", keys.refused)
    yield CounterMetricFamily("hwkm_key_hmacs", "HMACs computed in the token.", keys.hmacs)
    yield CounterMetricFamily("hwkm_key_loads", "Keys loaded into the token.", keys.loads)
    yield CounterMetricFamily("hwkm_key_cache_hits", "Uses of a key loaded already.", keys.cache_hits)
    yield GaugeMetricFamily("hwkm_keys_loaded", "Keys loaded in the token.", keys.loaded)
    yield CounterMetricFamily("hwkm_random_draws", "Draws of the token's generator.", keys.random_draws)


def _batch_histogram(sizes: dict[int, int]) -> HistogramMetricFamily:
    in_bucket = [
        sum(count for size, count in sizes.items() if low < size <= high)
        for low, high in zip((-1, *_BATCH_BUCKETS), (*_BATCH_BUCKETS, 1 << 62), strict=True)
    ]
    names = (*(f"{bound}.0" for bound in _BATCH_BUCKETS), "+Inf")
    return HistogramMetricFamily(
        "hwkm_batch_claims",
        "Claims that shared one commit.",
        buckets=list(zip(names, map(float, accumulate(in_bucket)), strict=True)),
        sum_value=sum(size * count for size, count in sizes.items()),
    )
