"""The running daemon: everything is put together here, started in order, and stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import signal
import ssl
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from hwkm.audit.published import Published
from hwkm.audit.record import AuditEntry
from hwkm.errors import HwkmError
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.aws.assembly import aws_http
from hwkm.server.aws.credentials_file import load_credentials
from hwkm.server.aws.http import BODY_BYTES_MAX, AwsHttp, is_worth_reading, nobody
from hwkm.server.aws.listening import listening_socket, tls_context
from hwkm.server.checkpoints import Checkpoints
from hwkm.server.config import Config
from hwkm.server.core_calls import CoreCalls
from hwkm.server.dispatch import Dispatch
from hwkm.server.handlers.call import Desk, now_ms
from hwkm.server.http_connection import ConnectionLimits, HttpServer
from hwkm.server.keys.all_keys import key_service
from hwkm.server.keys.book import KeyBook
from hwkm.server.keys.desk import KeyDesk, KeyLimits
from hwkm.server.keys.domain import DomainRotation
from hwkm.server.keys.life import Life
from hwkm.server.keys.moving import KeyMoving
from hwkm.server.keys.names import KeyNames
from hwkm.server.keys.scheduler import Scheduler
from hwkm.server.limits import Connections, OpenChallenges, RequestsInFlight
from hwkm.server.listener import BACKLOG, Listener
from hwkm.server.logs import get_log
from hwkm.server.metrics import Metrics
from hwkm.server.own_pages import OwnPages
from hwkm.server.peer import our_own_caller, peer_of
from hwkm.server.policy_file import load_policy
from hwkm.server.record_thread import RecordThread
from hwkm.server.refused_pin import pin_tried_once
from hwkm.server.state_directory import StateDirectory
from hwkm.server.supervisor import CoreSupervisor
from hwkm.server.systemd import inherited_socket, notify, watchdog_interval_s
from hwkm.server.tcp_address import parse_address

_DESCRIPTORS_BESIDE_CONNECTIONS: Final = 64


async def serve(config: Config) -> None:
    """Run the daemon until SIGTERM or SIGINT.

    Raises:
        HwkmError: it could not start; what was started is stopped again.
    """
    _allow_descriptors(config.limits.connections)
    async with AsyncExitStack() as stack:
        await Daemon(config, stack).run()


class Daemon:
    """One life of the daemon. ``stack`` holds what has to be undone at its end."""

    def __init__(self, config: Config, stack: AsyncExitStack) -> None:
        self._config = config
        self._stack = stack
        self._log = get_log()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start, serve until told to stop, stop."""
        config, stack = self._config, self._stack
        policy, tls = load_policy(config.policy_path), self._tls()
        stack.enter_context(StateDirectory.take(config.state_directory))
        self._metrics = Metrics()
        self._audit = await self._open_audit()
        self._records = await RecordThread.open(config.records_url)
        stack.push_async_callback(self._records.close)
        self._book = await self._open_book()
        self._challenges = OpenChallenges(
            per_uid_max=config.limits.open_challenges_per_uid, clock_ms=_steady_ms
        )
        self._supervisor = await self._start_core()
        core = CoreCalls(self._supervisor, config.core.answer_timeout.seconds)
        await self._checkpoints.start(core, config.audit.checkpoint_interval.seconds)
        stack.push_async_callback(self._checkpoints.close)
        stack.push_async_callback(self._note, "daemon.stop")
        connections = Connections(
            total_max=config.limits.connections, per_uid_max=config.limits.connections_per_uid
        )
        in_flight = RequestsInFlight(config.limits.requests_in_flight)
        desk = self._desk(core)
        self._look_after_keys()
        self._aws = self._aws_wire(desk, in_flight)
        pages = OwnPages(desk, connections, in_flight)
        self._dispatch = Dispatch(desk, policy, pages, in_flight, self._aws)
        self._heed_signals()
        self._aws_address = await self._listen_on_network(connections, tls)
        await self._listen(connections)
        await self._note("daemon.start")
        await self._serve_until_told()

    async def _open_audit(self) -> AuditWriter:
        directory, section = self._config.audit_directory, self._config.audit
        signed_size = Published(directory).state().size
        audit = await AuditWriter.open(
            directory, section.segment_bytes, self._metrics.audit_synced, signed_size=signed_size
        )
        self._stack.push_async_callback(audit.close)
        self._checkpoints = await Checkpoints.open(directory, audit)
        return audit

    async def _open_book(self) -> KeyBook:
        keys = self._config.keys
        book = await KeyBook.open(
            self._config.records_url, KeyNames(keys.region), cached_max=keys.cached_keys
        )
        self._stack.push_async_callback(book.close)
        return book

    async def _start_core(self) -> CoreSupervisor:
        supervisor = CoreSupervisor(self._config.core_settings(), on_event=self._core_changed)
        self._stack.push_async_callback(supervisor.stop)
        with pin_tried_once(self._config.state_directory, self._config.pin_path):
            ready = await supervisor.start()
        self._log.info("core ready", pid=supervisor.core_pid, epoch=ready.epoch, hardening=ready.hardening)
        return supervisor

    def _core_changed(self, event: str) -> None:
        self._log.warning("core", what=event)
        notify(STATUS=event)
        self._challenges.clear()

    def _desk(self, core: CoreCalls) -> Desk:
        config = self._config
        self._key_desk = self._make_key_desk(core)
        self._domain = DomainRotation(self._key_desk, self._record)
        return Desk(
            core=core,
            supervisor=self._supervisor,
            records=self._records,
            audit=self._audit,
            checkpoints=self._checkpoints,
            challenges=self._challenges,
            metrics=self._metrics,
            keys=key_service(self._key_desk),
            domain=self._domain,
            moving=KeyMoving(self._key_desk),
            book=self._book,
            account=config.keys.account,
            max_attempts_limit=config.attempts.max_attempts_limit,
            vaults_per_uid=config.limits.vaults_per_uid,
        )

    def _make_key_desk(self, core: CoreCalls) -> KeyDesk:
        keys = self._config.keys
        limits = KeyLimits(keys.keys_max, keys.versions_per_key, keys.recorded_per_key)
        return KeyDesk(core, self._book, self._book.names, limits, now_ms)

    def _aws_wire(self, desk: Desk, in_flight: RequestsInFlight) -> AwsHttp:
        return aws_http(
            desk.keys,
            desk.audit,
            desk.metrics,
            in_flight,
            book=load_credentials(self._config.credentials_path),
            region=self._config.keys.region,
            policy=lambda: self._dispatch.policy,
        )

    def _look_after_keys(self) -> None:
        scheduler = Scheduler(
            self._key_desk, Life(self._key_desk), self._domain, self._audit.append, our_own_caller()
        )
        scheduler.start(self._config.keys.scheduler_interval.seconds)
        self._stack.push_async_callback(scheduler.stop)

    # --- listening ---------------------------------------------------------------------------

    async def _listen(self, connections: Connections) -> None:
        loop = asyncio.get_running_loop()
        listener = self._listener()
        self._stack.callback(listener.close)
        http = HttpServer(
            self._dispatch,
            self._connection_limits(),
            connections,
            on_refused=self._metrics.refused_connections.inc,
            identify=peer_of,
        )
        server = await loop.create_unix_server(http, sock=listener.socket, backlog=BACKLOG)
        self._stack.push_async_callback(self._close_connections, server, http)

    def _tls(self) -> ssl.SSLContext | None:
        section = self._config.aws
        return tls_context(Path(section.tls_certificate), Path(section.tls_key)) if section.tls_key else None

    async def _listen_on_network(self, connections: Connections, tls: ssl.SSLContext | None) -> str:
        """Listen for the AWS wire where the configuration says; return where, or nothing."""
        address = parse_address(self._config.aws.listen)
        if address is None:
            return ""
        listener = listening_socket(address)
        self._stack.callback(listener.close)
        limits = self._connection_limits()
        http = HttpServer(
            self._aws.on_network,
            replace(limits, body_bytes=min(limits.body_bytes, BODY_BYTES_MAX)),
            connections,
            on_refused=self._metrics.refused_connections.inc,
            identify=nobody,
            takes_body=is_worth_reading,
        )
        server = await asyncio.get_running_loop().create_server(
            http,
            sock=listener,
            backlog=BACKLOG,
            ssl=tls,
            ssl_handshake_timeout=self._config.limits.request_timeout.seconds if tls else None,
        )
        self._stack.push_async_callback(self._close_connections, server, http)
        return str(replace(address, port=listener.getsockname()[1]))

    def _listener(self) -> Listener:
        handed_in = inherited_socket()
        if handed_in is not None:
            return Listener.inherited(handed_in)
        daemon = self._config.daemon
        return Listener.make(self._config.socket_path, mode=daemon.socket_mode, group=daemon.socket_group)

    def _connection_limits(self) -> ConnectionLimits:
        limits = self._config.limits
        return ConnectionLimits(
            header_bytes=limits.header_bytes,
            body_bytes=limits.body_bytes,
            request_timeout_s=limits.request_timeout.seconds,
            response_timeout_s=limits.response_timeout.seconds,
            idle_timeout_s=limits.idle_timeout.seconds,
        )

    async def _close_connections(self, server: asyncio.Server, http: HttpServer) -> None:
        """Take no more, let the requests in flight finish within the time limit, close the rest."""
        server.close()
        await http.shutdown(self._config.daemon.stop_timeout.seconds)

    # --- serving -----------------------------------------------------------------------------

    def _heed_signals(self) -> None:
        """Before anybody can connect: whoever finds the daemon there may also tell it to stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def _serve_until_told(self) -> None:
        watchdog = asyncio.create_task(_feed_watchdog(), name="watchdog")
        # What is there now stays: no collection on the way to an answer walks it again.
        gc.freeze()
        notify(READY="1", STATUS="serving")
        self._log.info(
            "serving", socket=str(self._config.socket_path), aws=self._aws_address, pid=os.getpid()
        )
        await self._stopping.wait()
        notify(STOPPING="1", STATUS="finishing requests")
        self._log.info("stopping")
        watchdog.cancel()

    def _reload(self) -> None:
        """SIGHUP. A file that is wrong changes nothing: what was read before stays in force."""
        try:
            self._dispatch.policy = load_policy(self._config.policy_path)
        except HwkmError as exc:
            self._log.error("policy not reloaded; the old one stays in force", problem=str(exc))
        else:
            self._log.info("policy reloaded")
        try:
            book = load_credentials(self._config.credentials_path)
        except HwkmError as exc:
            self._log.error("credentials not reloaded; the old ones stay in force", problem=str(exc))
        else:
            self._aws.front.authenticator.book = book
            self._log.info("credentials reloaded", count=len(book))

    async def _record(self, operation: str, outcome: str, detail: Mapping[str, str] | None = None) -> None:
        """Put the daemon's own doing into the audit log. Raises AuditError, StorageUnavailable."""
        await self._audit.append(AuditEntry(our_own_caller(), operation, outcome, detail=detail))

    async def _note(self, operation: str, detail: Mapping[str, str] | None = None) -> None:
        """Put it into the audit log if that can be written.

        A full disk keeps nobody from starting or stopping the daemon; it keeps every operation
        from being answered until there is room.
        """
        try:
            await self._record(operation, "ok", detail)
        except HwkmError as exc:
            self._log.error("audit record not written", operation=operation, problem=str(exc))


async def _feed_watchdog() -> None:
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify(WATCHDOG="1")
        await asyncio.sleep(interval_s)


def _steady_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _allow_descriptors(connections: int) -> None:
    """Raise our own limit of open files to what the connections may need, as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _DESCRIPTORS_BESIDE_CONNECTIONS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
