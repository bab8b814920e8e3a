"""Operations on keys: each hands its body to the key service."""

from __future__ import annotations

from hwkm.server.handlers.call import Call, Desk
from hwkm.wire import key_api as api
from hwkm.wire.api import Nothing


async def create(desk: Desk, call: Call[api.CreateKey]) -> api.KeyInfo:
    """Make a key."""
    return await desk.keys.create(call.keys, call.body)


async def list_keys(desk: Desk, call: Call[api.ListKeys]) -> api.KeyList:
    """List keys."""
    body = call.body
    return await desk.keys.list_keys(call.keys, body.account, body.after, body.limit)


async def show(desk: Desk, call: Call[api.KeyNamed]) -> api.KeyInfo:
    """Show a key."""
    return await desk.keys.show(call.keys, call.body.key)


async def update(desk: Desk, call: Call[api.UpdateKey]) -> api.KeyInfo:
    """Change the description."""
    return await desk.keys.update(call.keys, call.body.key, call.body.description)


async def enable(desk: Desk, call: Call[api.KeyNamed]) -> api.KeyInfo:
    """Let a key be used."""
    return await desk.keys.enable(call.keys, call.body.key)


async def disable(desk: Desk, call: Call[api.KeyNamed]) -> api.KeyInfo:
    """Let a key not be used."""
    return await desk.keys.disable(call.keys, call.body.key)


async def schedule_deletion(desk: Desk, call: Call[api.ScheduleDeletion]) -> api.DeletionScheduled:
    """Delete a key after a waiting period."""
    return await desk.keys.schedule_deletion(call.keys, call.body.key, call.body.days)


async def cancel_deletion(desk: Desk, call: Call[api.KeyNamed]) -> api.KeyInfo:
    """Keep a key."""
    return await desk.keys.cancel_deletion(call.keys, call.body.key)


async def rotate(desk: Desk, call: Call[api.KeyNamed]) -> api.KeyInfo:
    """Give a key a new version."""
    return await desk.keys.rotate(call.keys, call.body.key)


async def set_rotation(desk: Desk, call: Call[api.SetRotation]) -> api.KeyInfo:
    """Rotate a key by itself, or no more."""
    return await desk.keys.set_rotation(call.keys, call.body.key, call.body.period_days)


async def rotations(desk: Desk, call: Call[api.ListOfKey]) -> api.RotationList:
    """List versions."""
    body = call.body
    return await desk.keys.rotations(call.keys, body.key, body.after, body.limit)


async def tag(desk: Desk, call: Call[api.TagKey]) -> api.KeyInfo:
    """Add or change tags."""
    return await desk.keys.tag(call.keys, call.body.key, call.body.tags)


async def untag(desk: Desk, call: Call[api.UntagKey]) -> api.KeyInfo:
    """Remove tags."""
    return await desk.keys.untag(call.keys, call.body.key, call.body.names)


async def recorded(desk: Desk, call: Call[api.ListOfKey]) -> api.RecordedDataKeys:
    """List recorded data keys."""
    body = call.body
    return await desk.keys.recorded(call.keys, body.key, body.after, body.limit)


async def public_key(desk: Desk, call: Call[api.KeyNamed]) -> api.PublicKey:
    """Return the public half."""
    return await desk.keys.public_key(call.keys, call.body.key)


async def create_alias(desk: Desk, call: Call[api.PutAlias]) -> api.AliasInfo:
    """Name a key."""
    return await desk.keys.create_alias(call.keys, call.body.alias, call.body.key)


async def update_alias(desk: Desk, call: Call[api.PutAlias]) -> api.AliasInfo:
    """Let an alias name another key."""
    return await desk.keys.update_alias(call.keys, call.body.alias, call.body.key)


async def delete_alias(desk: Desk, call: Call[api.AliasNamed]) -> Nothing:
    """Remove an alias."""
    await desk.keys.delete_alias(call.keys, call.body.alias)
    return Nothing()


async def list_aliases(desk: Desk, call: Call[api.ListAliases]) -> api.AliasList:
    """List aliases."""
    body = call.body
    return await desk.keys.list_aliases(call.keys, body.account, body.key, body.after, body.limit)


async def generate_data_keys(desk: Desk, call: Call[api.GenerateDataKeys]) -> api.DataKeys:
    """Make data keys."""
    return await desk.keys.generate_data_keys(call.keys, call.body.key, call.body.items)


async def generate_wrapped_data_keys(desk: Desk, call: Call[api.GenerateDataKeys]) -> api.WrappedDataKeys:
    """Make data keys without their plaintexts."""
    return await desk.keys.generate_wrapped_data_keys(call.keys, call.body.key, call.body.items)


async def generate_data_key_pair(desk: Desk, call: Call[api.GenerateDataKeyPair]) -> api.DataKeyPair:
    """Make a data key pair."""
    body = call.body
    return await desk.keys.generate_data_key_pair(call.keys, body.key, body.spec, body.context, body.record)


async def generate_wrapped_data_key_pair(
    desk: Desk, call: Call[api.GenerateDataKeyPair]
) -> api.WrappedDataKeyPair:
    """Make a data key pair without its private key."""
    body = call.body
    return await desk.keys.generate_wrapped_data_key_pair(
        call.keys, body.key, body.spec, body.context, body.record
    )


async def encrypt(desk: Desk, call: Call[api.Encrypt]) -> api.Encrypted:
    """Encrypt."""
    return await desk.keys.encrypt(call.keys, call.body.key, call.body.items)


async def decrypt(desk: Desk, call: Call[api.Decrypt]) -> api.Decrypted:
    """Decrypt."""
    return await desk.keys.decrypt(call.keys, call.body.key, call.body.items)


async def re_encrypt(desk: Desk, call: Call[api.ReEncrypt]) -> api.ReEncrypted:
    """Encrypt anew."""
    body = call.body
    return await desk.keys.re_encrypt(
        call.keys, body.source_key, body.key, body.items, keep_records=body.keep_record
    )


async def random(desk: Desk, call: Call[api.GenerateRandom]) -> api.Random:
    """Return random bytes."""
    return await desk.keys.random(call.keys, call.body.length)


async def generate_macs(desk: Desk, call: Call[api.GenerateMacs]) -> api.Macs:
    """Compute HMACs."""
    return await desk.keys.generate_macs(call.keys, call.body.key, call.body.messages)


async def verify_macs(desk: Desk, call: Call[api.VerifyMacs]) -> api.Verified:
    """Verify HMACs."""
    return await desk.keys.verify_macs(call.keys, call.body.key, call.body.items)


async def sign(desk: Desk, call: Call[api.Sign]) -> api.Signatures:
    """Sign."""
    body = call.body
    return await desk.keys.sign(call.keys, body.key, body.algorithm, body.items)


async def verify(desk: Desk, call: Call[api.VerifySignatures]) -> api.Verified:
    """Verify signatures."""
    body = call.body
    return await desk.keys.verify(call.keys, body.key, body.algorithm, body.items)


async def derive_shared_secret(desk: Desk, call: Call[api.DeriveSharedSecret]) -> api.SharedSecret:
    """Agree on a secret."""
    return await desk.keys.derive_shared_secret(call.keys, call.body.key, call.body.public_key)
