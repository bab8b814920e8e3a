"""Requests about a cohort of several members, each the whole life of a core (``docs/operations/cohorts.md``)."""

from __future__ import annotations

from dataclasses import asdict
from typing import assert_never

import msgspec

from hwkm.core.pin_file import officer_pin, read_pin
from hwkm.errors import ConfigError
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.wire import core_messages as wire


def answer_cohort(start: wire.CohortStart) -> wire.CohortRead:
    """Do what is asked; say where the token is then.

    Raises:
        ExchangeRefused, ExchangeUnsupported, CohortSealed, FormatError, ConfigError, TokenError: as the functions
            of :mod:`hwkm.tokens.registry` say.
    """
    uri = start.settings.token_uri
    if start.settings.code_binding and not isinstance(start, wire.ShowCohort):
        raise ConfigError(
            "a code-bound cohort key (code_bound in [token]) is one module's alone: cohorts of several have none yet"
        )
    with read_pin(start.settings.pin_file) as pin:
        document = _do(start, uri, pin)
        state = asdict(registry.cohort_state(uri, pin))
        objects = tuple(registry.inventory(uri, pin))
    return msgspec.convert({**state, "document": document, "objects": objects}, wire.CohortRead)


def _do(start: wire.CohortStart, uri: str, pin: Pin) -> bytes:
    """Return the request or invitation, if one was made."""
    match start:
        case wire.CreateCohort():
            _create(start, uri, pin)
        case wire.RequestMembership():
            return _request(start, uri, pin)
        case wire.InviteMember(request=request, fingerprint=fingerprint, number=number):
            return registry.invite(uri, pin, request, fingerprint, number)
        case wire.JoinCohort(invitation=invitation, sender=sender):
            registry.join(uri, pin, invitation, sender)
        case wire.SealCohort(incomplete=incomplete):
            registry.seal(uri, pin, incomplete=incomplete)
        case wire.ShowCohort():
            pass
        case _ as never:
            assert_never(never)
    return b""


def _create(start: wire.CreateCohort, uri: str, pin: Pin) -> None:
    with officer_pin(start.so_pin_file) as so_pin:
        if start.destroy_existing:
            registry.destroy(uri, pin)
        named = [(one.request, one.fingerprint) for one in start.requests]
        registry.create_cohort(uri, pin, start.members, so_pin, named)


def _request(start: wire.RequestMembership, uri: str, pin: Pin) -> bytes:
    with officer_pin(start.so_pin_file) as so_pin:
        if start.destroy_existing:
            registry.destroy(uri, pin)
        return registry.request_membership(uri, pin, so_pin)
