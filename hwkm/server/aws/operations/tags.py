"""Tags of keys, and the one policy that every key has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hwkm.errors import TagInvalid
from hwkm.server.aws import key_facts, markers
from hwkm.server.aws import requests as asked
from hwkm.server.aws import responses as answered
from hwkm.server.aws.errors import AwsError
from hwkm.server.aws.policies import DEFAULT_NAME, check_policy, check_policy_name, default_policy
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire.key_api import TAGS_MAX

PAGE: Final = 50


def tags_of(tags: Iterable[asked.Tag]) -> dict[str, str]:
    """Tags by key.

    Raises:
        AwsError: TagException.
    """
    found: dict[str, str] = {}
    for tag in tags:
        if tag.tag_key in found:
            raise _refused("Duplicate tag keys")
        if tag.tag_key.lower().startswith("aws:"):
            raise _refused("Tags beginning with aws: are reserved")
        found[tag.tag_key] = tag.tag_value
    if len(found) > TAGS_MAX:
        raise _refused("Too many tags")
    return found


async def tag(service: KeyService, call: KeyCall, request: asked.TagResource) -> None:
    """TagResource."""
    await service.tag(call, request.key_id, tags_of(request.tags))


async def untag(service: KeyService, call: KeyCall, request: asked.UntagResource) -> None:
    """UntagResource."""
    await service.untag(call, request.key_id, request.tag_keys)


async def list_tags(service: KeyService, call: KeyCall, request: asked.ListResourceTags) -> answered.Tags:
    """ListResourceTags, by key of the tag."""
    info = await key_facts.shown(service, call, request.key_id)
    after = markers.place("ListResourceTags", request.marker, str)
    names = [name for name in sorted(info.tags) if after is None or name > after]
    page = names[: request.limit or PAGE]
    more = len(page) < len(names)
    return answered.Tags(
        tags=tuple(answered.TagListed(tag_key=name, tag_value=info.tags[name]) for name in page),
        next_marker=markers.marker("ListResourceTags", page[-1] if more else None),
        truncated=more,
    )


async def get_policy(service: KeyService, call: KeyCall, request: asked.GetKeyPolicy) -> answered.KeyPolicy:
    """GetKeyPolicy."""
    info = await key_facts.shown(service, call, request.key_id)
    check_policy_name(request.policy_name)
    return answered.KeyPolicy(policy=default_policy(info.account), policy_name=DEFAULT_NAME)


async def put_policy(service: KeyService, call: KeyCall, request: asked.PutKeyPolicy) -> None:
    """PutKeyPolicy: the policy that the key has already is taken."""
    info = await key_facts.shown(service, call, request.key_id)
    check_policy_name(request.policy_name)
    check_policy(info.account, request.policy)


async def list_policies(
    service: KeyService, call: KeyCall, request: asked.ListKeyPolicies
) -> answered.PolicyNames:
    """ListKeyPolicies."""
    await key_facts.shown(service, call, request.key_id)
    if request.marker is not None:
        raise markers.invalid_marker()
    return answered.PolicyNames(policy_names=(DEFAULT_NAME,), truncated=False)


def _refused(message: str) -> AwsError:
    return AwsError("TagException", message, code=TagInvalid.code)
