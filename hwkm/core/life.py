"""One life of the core: harden, read the start message, take up the token, serve, end."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Final

import msgspec

from hwkm.core.channel import Channel, ChannelClosed
from hwkm.core.checkpoints import CheckpointSigner
from hwkm.core.code_manifest import code_manifest, read_record, write_record
from hwkm.core.cohort_requests import answer_cohort
from hwkm.core.counted import CountedAnchor, CountedCohortKey, CountedNodes
from hwkm.core.evidence import make_evidence
from hwkm.core.exclusive import hold_alone
from hwkm.core.hardening import harden
from hwkm.core.key_service import KeyService
from hwkm.core.loop import Loop
from hwkm.core.pin_file import officer_pin, read_pin
from hwkm.core.service import Service
from hwkm.core.sweep import reachable_nodes
from hwkm.errors import HwkmError, TokenError
from hwkm.secret import Pin
from hwkm.store.nodes import SqliteNodeStore
from hwkm.thm.ledger import Ledger
from hwkm.tokens import registry
from hwkm.tokens.token import Token, TokenDescription
from hwkm.wire import core_messages as wire

EXIT_OK: Final = 0
EXIT_NOT_STARTED: Final = 1
EXIT_RESTART: Final = 75
"""The core cannot be sure of its state any more and wants to start again from the anchor."""


def live(channel: Channel) -> int:
    """Do what the start message says; return the exit code."""
    try:
        start = channel.receive_start()
        return _begin(channel, start)
    except ChannelClosed:
        return EXIT_OK


def _begin(channel: Channel, start: wire.CoreStart) -> int:
    try:
        hardening = harden(require_all=start.settings.require_hardening)
        with hold_alone(start.settings.token_uri.encode()):
            return _do(channel, start, hardening)
    except HwkmError as exc:
        channel.send_started(wire.Failed(code=exc.code, message=str(exc)))
        return EXIT_NOT_STARTED


def _do(channel: Channel, start: wire.CoreStart, hardening: tuple[str, ...]) -> int:
    match start:
        case wire.Serve(settings=settings):
            return _serve(channel, settings, hardening)
        case wire.Provision():
            channel.send_started(_provision(start))
        case wire.AddDomain():
            channel.send_started(_add_domain(start))
        case wire.Inspect(settings=settings):
            channel.send_started(_inspect(settings))
        case wire.Sweep(settings=settings):
            channel.send_started(_sweep(settings))
        case wire.MakeEvidence():
            channel.send_started(_evidence(start))
        case _:
            channel.send_started(answer_cohort(start))
    return EXIT_OK


def _provision(start: wire.Provision) -> wire.Inventory:
    uri = start.settings.token_uri
    with read_pin(start.settings.pin_file) as pin, officer_pin(start.so_pin_file) as so_pin:
        if start.destroy_existing:
            registry.destroy(uri, pin)
        _make_keys(start.settings, pin, so_pin)
    return _inspect(start.settings)


def _make_keys(settings: wire.CoreSettings, pin: Pin, so_pin: Pin | None) -> None:
    """Make the keys. The record of a code-bound one is durable before there is anything to be bound by it."""
    uri, binding = settings.token_uri, settings.code_binding
    if binding is None:
        registry.provision(uri, pin, so_pin)
        return
    record = registry.record_code(uri, pin, binding.code_pcr, binding.boot_pcrs, code_manifest(settings))
    write_record(binding, record)
    registry.provision_code_bound(uri, pin, record, so_pin)


def _add_domain(start: wire.AddDomain) -> wire.Inventory:
    with read_pin(start.settings.pin_file) as pin, officer_pin(start.so_pin_file) as so_pin:
        registry.add_domain(start.settings.token_uri, pin, so_pin)
    return _inspect(start.settings)


def _inspect(settings: wire.CoreSettings) -> wire.Inventory:
    with read_pin(settings.pin_file) as pin:
        objects = tuple(registry.inventory(settings.token_uri, pin))
        extended = _code_pcr_extended(settings, pin)
        try:
            token = registry.open_token(settings.token_uri, pin)
        except TokenError:
            return wire.Inventory(objects=objects, code_pcr_extended=extended)
    public_key = token.cohort_key.public_key()
    token.close()
    return wire.Inventory(objects=objects, cohort_public_key=public_key, code_pcr_extended=extended)


def _code_pcr_extended(settings: wire.CoreSettings, pin: Pin) -> bool:
    binding = settings.code_binding
    return binding is not None and registry.code_pcr_extended(settings.token_uri, pin, binding.code_pcr)


def _sweep(settings: wire.CoreSettings) -> wire.Swept:
    with _opened_token(settings) as token, SqliteNodeStore(settings.nodes_path) as nodes:
        removed = nodes.sweep(reachable_nodes(nodes, token.anchor.read().root))
        return wire.Swept(nodes=nodes.counters().nodes, removed=removed)


def _evidence(start: wire.MakeEvidence) -> wire.EvidenceMade:
    with _opened_token(start.settings) as token:
        return wire.EvidenceMade(evidence=make_evidence(token, start))


@contextmanager
def _opened_token(settings: wire.CoreSettings) -> Iterator[Token]:
    """The token, its keys checked, held by this process alone."""
    with read_pin(settings.pin_file) as pin:
        token = _open(settings, pin)
    with closing(token):
        token.verify_key_policy()
        with hold_alone(token.audit_key.public_key()):
            yield token


def _open(settings: wire.CoreSettings, pin: Pin) -> Token:
    """Open the token; a code-bound core measures itself first."""
    if settings.code_binding is None:
        return registry.open_token(settings.token_uri, pin)
    record, manifest = read_record(settings.code_binding), code_manifest(settings)
    return registry.open_code_bound(settings.token_uri, pin, record, manifest)


def _serve(channel: Channel, settings: wire.CoreSettings, hardening: tuple[str, ...]) -> int:
    with _opened_token(settings) as token, SqliteNodeStore(settings.nodes_path) as nodes:
        return _serve_token(channel, settings, hardening, token, nodes)


def _serve_token(
    channel: Channel,
    settings: wire.CoreSettings,
    hardening: tuple[str, ...],
    token: Token,
    nodes: SqliteNodeStore,
) -> int:
    anchor, counted_nodes = CountedAnchor(token.anchor), CountedNodes(nodes)
    cohort = hashlib.sha256(token.cohort_key.public_key()).digest()
    ledger = Ledger(anchor, counted_nodes, cohort, token.membership)
    keys, signer = KeyService(token.domain, token), CheckpointSigner(token.audit_key)
    cohort_key = CountedCohortKey(token.cohort_key)
    service = Service(cohort_key, anchor, counted_nodes, ledger, signer, settings, keys.statistics)
    channel.send_started(
        wire.Ready(
            cohort_public_key=token.cohort_key.public_key(),
            audit_public_key=token.audit_key.public_key(),
            member=token.membership.number,
            members=token.membership.members,
            epoch=ledger.state.epoch,
            token=_facts(token.describe()),
            hardening=hardening,
        )
    )
    # What is there now stays: no collection on the way to an answer walks it again.
    gc.collect()
    gc.freeze()
    try:
        Loop(channel, service, keys, settle_delay_s=settings.settle_delay_ms / 1000).run()
    except TokenError:
        return EXIT_RESTART
    return EXIT_OK


def _facts(description: TokenDescription) -> wire.TokenFacts:
    facts = {name: value for name, value in asdict(description).items() if value is not None}
    return msgspec.convert(facts, wire.TokenFacts)
