"""Has the audit log signed by the key in the hardware: now and then, when asked, and at the end.

A checkpoint vouches for all records before it, so one every few seconds is enough; between two,
records are durable but not yet signed for.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from hwkm.audit.published import Published
from hwkm.audit.tree import Prepared, TreeWriter
from hwkm.errors import AuditError, HwkmError, LogError, NotConsistent
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.core_calls import CoreCalls
from hwkm.server.logs import get_log
from hwkm.tlog.audit_key import audit_log_key
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.note import NoteSignature, SignedNote
from hwkm.tlog.note_keys import NoteKey
from hwkm.wire.core_messages import CheckpointSigned, SignCheckpoint

FRESH_S: Final = 1.0
"""A checkpoint is not signed again on request within this time."""

_PAUSE_S: Final = 0.0002

T = TypeVar("T")


class Checkpoints:
    """The tree over the audit log, and its newest signed state."""

    @classmethod
    async def open(cls, directory: Path, audit: AuditWriter) -> Self:
        """Take up the tree of the log in ``directory``.

        Raises:
            AuditError: the records are not those that were signed for.
            StorageUnavailable: something cannot be read or written.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="audit tree")
        try:
            tree = await asyncio.get_running_loop().run_in_executor(thread, TreeWriter.open, directory)
        except BaseException:
            thread.shutdown()
            raise
        return cls(directory, audit, tree, thread)

    def __init__(
        self, directory: Path, audit: AuditWriter, tree: TreeWriter, thread: ThreadPoolExecutor
    ) -> None:
        """Take over the tree; use :meth:`open`."""
        self._published = Published(directory)
        self._audit, self._tree, self._thread = audit, tree, thread
        self._one_at_a_time = asyncio.Lock()
        self._core: CoreCalls | None = None
        self._key: NoteKey | None = None
        self._note: SignedNote | None = None
        self._published_size = 0
        self._last_signed = [0]
        self._signed_at = -FRESH_S
        self._timer: asyncio.Task[None] | None = None
        self.failure = ""
        """Why the newest records could not be signed for, or nothing."""

    async def start(self, core: CoreCalls, interval_s: float) -> None:
        """Sign from now on: at once, and every ``interval_s`` if there are new records.

        Raises:
            AuditError: the newest checkpoint is not signed by the key in the hardware.
            StorageUnavailable: it cannot be read.
        """
        self._core, self._key = core, audit_log_key(core.ready.audit_public_key)
        note = self._published.checkpoint()
        if note is not None:
            try:
                self._published_size = verify_checkpoint(note.encode(), self._key).checkpoint.size
            except LogError as exc:
                raise AuditError(f"the checkpoint of the audit log is not to be believed: {exc}") from exc
        self._note, self._last_signed = note, [self._published_size]
        await self._run(self._put_key)
        self._timer = asyncio.create_task(self._sign_now_and_then(interval_s), name="checkpoints")

    async def newest(self) -> tuple[SignedNote, NoteKey]:
        """Return a checkpoint that covers all records but those of the last second, and the log's key.

        Raises:
            HwkmError: it could not be signed.
        """
        if self._core is None or self._key is None:
            raise AuditError("the audit log is not being signed")
        async with self._one_at_a_time:
            if self._note is None or time.monotonic() - self._signed_at >= FRESH_S:
                await self._sign()
        if self._note is None:
            raise AuditError("the audit log is empty")
        return self._note, self._key

    async def close(self) -> None:
        """Sign what is left to be signed, if that is possible, and end."""
        if self._timer is not None:
            self._timer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._timer
            await self._try_to_sign()
        self._thread.shutdown()

    def _put_key(self) -> None:
        try:
            self._published.put_log_key(str(self._key))
        except OSError as exc:
            get_log().warning("public key of the audit log not written", problem=str(exc.strerror))

    async def _sign_now_and_then(self, interval_s: float) -> None:
        while True:
            await self._try_to_sign()
            await asyncio.sleep(interval_s)

    async def _try_to_sign(self) -> None:
        try:
            async with self._one_at_a_time:
                await self._sign()
        except HwkmError as exc:
            self.failure = f"the audit log could not be signed: {exc}"
            get_log().error("checkpoint not signed", problem=str(exc))

    async def _sign(self) -> None:
        """Sign for all records there are, if there are more than were signed for."""
        size = self._audit.size
        if self._note is None or size > self._published_size:
            prepared = await self._run(self._tree.prepare, size, partial(time.sleep, _PAUSE_S))
            note = await self._signed(prepared)
            await self._run(self._tree.publish, prepared, note)
            self._note, self._published_size = note, size
            self._audit.signed_size = size
        self._signed_at = time.monotonic()
        self.failure = ""

    async def _signed(self, prepared: Prepared) -> SignedNote:
        """Let the core sign, and see that it signed what was meant."""
        assert self._key is not None
        signature = await self._ask(prepared)
        text = Checkpoint(self._key.name, prepared.size, prepared.root).text()
        note = SignedNote(text, (NoteSignature(self._key.name, self._key.key_id, signature),))
        note.verify([self._key])
        return note

    async def _ask(self, prepared: Prepared) -> bytes:
        """Return a signature of the core, which wants a proof from the state that it signed last.

        Which that is can be unknown: a reply may be lost.
        """
        assert self._core is not None
        candidates, self._last_signed = self._last_signed, [*self._last_signed, prepared.size]
        for number, old_size in enumerate(reversed(candidates), 1):
            proof = await self._run(self._tree.prove_growth, old_size)
            request = SignCheckpoint(size=prepared.size, root=prepared.root, proof=proof)
            try:
                reply = await self._core.ask(request, CheckpointSigned)
            except NotConsistent:
                if number == len(candidates):
                    raise
            else:
                self._last_signed = [prepared.size]
                return reply.signature
        raise AuditError("there is no state to go on from")

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)
