"""Pages that are no operation: health, metrics, the OpenAPI document.

They name no vault and no user, are open to whoever can connect, and are neither audited nor
counted against the requests in flight: they have to answer when nothing else does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from hwkm.server import answers
from hwkm.server.handlers.call import Desk
from hwkm.server.http_messages import Response
from hwkm.server.keys.book import KeyBook
from hwkm.server.limits import Connections, RequestsInFlight
from hwkm.server.metrics import CONTENT_TYPE
from hwkm.server.openapi import openapi_document

Page = Callable[[], Awaitable[Response]]


class Health(msgspec.Struct, frozen=True):
    """Whether vaults can be opened now, and if not, why."""

    ready: bool
    detail: str


class OwnPages:
    """The three pages."""

    def __init__(self, desk: Desk, connections: Connections, in_flight: RequestsInFlight) -> None:
        self._desk = desk
        self._connections = connections
        self._in_flight = in_flight
        self._restarts_counted = 0
        self._hits_counted = 0
        self._misses_counted = 0
        self._openapi = openapi_document()
        self._pages = {
            "/healthz": self._healthz,
            "/metrics": self._metrics,
            "/v1/openapi.json": self._describe,
        }

    def find(self, path: str) -> Page | None:
        """Return the page at ``path``, if there is one."""
        return self._pages.get(path)

    async def _healthz(self) -> Response:
        supervisor = self._desk.supervisor
        statistics = await self._desk.core.statistics()
        if statistics is None:
            health = Health(False, supervisor.detail or "the trusted core does not answer")
        elif statistics.halted:
            health = Health(False, "the attempt state does not match the token: no vault is opened")
        elif self._desk.audit.failure:
            health = Health(False, self._desk.audit.failure)
        else:
            health = Health(True, self._desk.checkpoints.failure)
        return answers.answer(200 if health.ready else 503, msgspec.json.encode(health))

    async def _metrics(self) -> Response:
        supervisor, metrics = self._desk.supervisor, self._desk.metrics
        metrics.connections.set(self._connections.total)
        metrics.requests_in_flight.set(self._in_flight.count)
        metrics.vaults.set(self._desk.records.vaults)
        metrics.audit_failing.set(bool(self._desk.audit.failure))
        metrics.audit_unsigned.set(self._desk.audit.size - self._desk.audit.signed_size)
        metrics.core_ready.set(supervisor.state == "ready")
        metrics.core_queue_depth.set(supervisor.queue_depth)
        metrics.core_restarts.inc(supervisor.restarts - self._restarts_counted)
        self._restarts_counted = supervisor.restarts
        self._count_keys(self._desk.book)
        statistics = await self._desk.core.statistics()
        return answers.answer(200, metrics.exposition(statistics), CONTENT_TYPE)

    def _count_keys(self, book: KeyBook) -> None:
        metrics = self._desk.metrics
        metrics.keys.set(book.keys)
        metrics.keys_cached.set(book.cached)
        metrics.key_cache_hits.inc(book.hits - self._hits_counted)
        metrics.key_cache_misses.inc(book.misses - self._misses_counted)
        self._hits_counted, self._misses_counted = book.hits, book.misses

    async def _describe(self) -> Response:
        return answers.answer(200, self._openapi)
