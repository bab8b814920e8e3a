"""The life of a key: make, show, enable, disable, rotate, delete."""

from __future__ import annotations

from typing import Final, Literal

from hwkm.server.aws import key_facts, markers
from hwkm.server.aws import requests as asked
from hwkm.server.aws import responses as answered
from hwkm.server.aws.errors import Unsupported, Validation
from hwkm.server.aws.operations.tags import tags_of
from hwkm.server.aws.policies import check_policy
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire import key_api

PAGE: Final = 100
ROTATION_PERIOD_DAYS: Final = 365

_ROTATION_TYPES: Final[dict[str, Literal["AUTOMATIC", "ON_DEMAND"]]] = {
    "automatic": "AUTOMATIC",
    "on_demand": "ON_DEMAND",
}


async def create(service: KeyService, call: KeyCall, request: asked.CreateKey) -> answered.KeyDescribed:
    """CreateKey."""
    if request.key_spec and request.customer_master_key_spec:
        raise Validation("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")
    kind = key_facts.kind_for(request.key_spec or request.customer_master_key_spec, request.key_usage)
    if request.origin not in (None, "AWS_KMS") or request.custom_key_store_id or request.xks_key_id:
        raise Unsupported("Keys are made in the hardware here: Origin is AWS_KMS.")
    if request.multi_region:
        raise Unsupported("There are no multi-Region keys here.")
    if request.policy is not None:
        check_policy(call.principal.account, request.policy)
    new = key_api.CreateKey(
        kind=kind, description=request.description or "", tags=tags_of(request.tags or [])
    )
    return answered.KeyDescribed(key_metadata=key_facts.metadata(await service.create(call, new)))


async def describe(service: KeyService, call: KeyCall, request: asked.DescribeKey) -> answered.KeyDescribed:
    """DescribeKey."""
    return answered.KeyDescribed(key_metadata=key_facts.metadata(await service.show(call, request.key_id)))


async def list_keys(service: KeyService, call: KeyCall, request: asked.ListKeys) -> answered.Keys:
    """ListKeys: those of the caller's account."""
    if request.resource_owners not in (None, ["SELF"]):
        raise Unsupported("Keys are not shared between accounts here: ResourceOwners is SELF.")
    after = markers.place("ListKeys", request.marker, str)
    page = await service.list_keys(call, call.principal.account, after, request.limit or PAGE)
    return answered.Keys(
        keys=tuple(
            answered.KeyListed(key_id=key.key_id, key_arn=key.arn)
            for key in page.keys
            if key.state != "deleted"
        ),
        next_marker=markers.marker("ListKeys", page.next),
        truncated=page.next is not None,
    )


async def enable(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> None:
    """EnableKey."""
    await service.enable(call, request.key_id)


async def disable(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> None:
    """DisableKey."""
    await service.disable(call, request.key_id)


async def update_description(service: KeyService, call: KeyCall, request: asked.UpdateKeyDescription) -> None:
    """UpdateKeyDescription."""
    await service.update(call, request.key_id, request.description)


async def schedule_deletion(
    service: KeyService, call: KeyCall, request: asked.ScheduleKeyDeletion
) -> answered.DeletionScheduled:
    """ScheduleKeyDeletion."""
    days = request.pending_window_in_days or key_api.PENDING_DAYS_MAX
    scheduled = (await service.schedule_deletion(call, request.key_id, days)).key
    return answered.DeletionScheduled(
        key_id=scheduled.arn,
        deletion_date=key_facts.seconds(scheduled.deletion_at_ms or 0),
        key_state="PendingDeletion",
        pending_window_in_days=days,
    )


async def cancel_deletion(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> answered.KeyNamed:
    """CancelKeyDeletion."""
    return answered.KeyNamed(key_id=(await service.cancel_deletion(call, request.key_id)).arn)


async def enable_rotation(service: KeyService, call: KeyCall, request: asked.EnableKeyRotation) -> None:
    """EnableKeyRotation."""
    days = request.rotation_period_in_days or ROTATION_PERIOD_DAYS
    await service.set_rotation(call, request.key_id, days)


async def disable_rotation(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> None:
    """DisableKeyRotation."""
    await service.set_rotation(call, request.key_id, None)


async def rotation_status(
    service: KeyService, call: KeyCall, request: asked.KeyNamed
) -> answered.RotationStatus:
    """GetKeyRotationStatus."""
    info = await key_facts.shown(service, call, request.key_id)
    next_ms = info.next_rotation_at_ms
    return answered.RotationStatus(
        key_rotation_enabled=info.rotation_period_days is not None,
        key_id=info.key_id,
        rotation_period_in_days=info.rotation_period_days,
        next_rotation_date=None if next_ms is None else key_facts.seconds(next_ms),
    )


async def rotate(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> answered.KeyNamed:
    """RotateKeyOnDemand."""
    return answered.KeyNamed(key_id=(await service.rotate(call, request.key_id)).key_id)


async def list_rotations(
    service: KeyService, call: KeyCall, request: asked.ListKeyRotations
) -> answered.Rotations:
    """ListKeyRotations. The first version came by no rotation: it is shown if all material is asked for."""
    info = await key_facts.shown(service, call, request.key_id)
    everything = request.include_key_material == "ALL_KEY_MATERIAL"
    after = markers.place("ListKeyRotations", request.marker, markers.version) or 0
    page = await service.rotations(
        call, request.key_id, max(after, 0 if everything else 1), request.limit or PAGE
    )
    return answered.Rotations(
        rotations=tuple(_rotation(info, version, everything) for version in page.items),
        next_marker=markers.marker("ListKeyRotations", page.next),
        truncated=page.next is not None,
    )


def _rotation(info: key_api.KeyInfo, version: key_api.Rotation, everything: bool) -> answered.RotationListed:
    is_rotation = version.cause != "created"
    material: Literal["CURRENT", "NON_CURRENT"] = (
        "CURRENT" if version.version == info.version else "NON_CURRENT"
    )
    return answered.RotationListed(
        key_id=info.key_id,
        key_material_state=material if everything else None,
        rotation_date=key_facts.seconds(version.created_at_ms) if is_rotation else None,
        rotation_type=_ROTATION_TYPES.get(version.cause),
    )


async def last_usage(service: KeyService, call: KeyCall, request: asked.KeyNamed) -> answered.LastUsage:
    """GetKeyLastUsage. Every use of a key is known, from its creation on."""
    info = await key_facts.shown(service, call, request.key_id)
    use = info.last_use
    created = key_facts.seconds(info.created_at_ms)
    return answered.LastUsage(
        key_id=info.arn,
        key_last_usage=None
        if use is None
        else answered.LastUsageData(
            operation=key_facts.operation_name(use.operation), timestamp=key_facts.seconds(use.at_ms)
        ),
        tracking_start_date=created,
        key_creation_date=created,
    )
