"""An outside witness of a fleet's log: cosigns a checkpoint after following the log to it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hwkm.client.fleet.fetching import FleetFiles
from hwkm.client.fleet.log_files import PENDING, fetch_checkpoint, fetch_entries
from hwkm.client.fleet.state import FollowedLog
from hwkm.client.trust import replace_file
from hwkm.errors import ConfigError, ListUnavailable
from hwkm.fleet.list_log import LogPolicy, LogState, follow, verified_checkpoint
from hwkm.tlog.note import NoteSignature
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey


class Witness:
    """Follows one log from what it saw last, which it keeps in a file."""

    def __init__(self, log_key: NoteKey, source: str, state: Path) -> None:
        """Take the log's public key, a directory or address, and the file of what was seen.

        Raises:
            ConfigError: the source is neither.
        """
        self._policy = LogPolicy(log_key)
        self._fetch = FleetFiles(source).fetch
        self._state = state

    def cosign(self, key: PrivateNoteKey, time_s: int) -> str:
        """Return the signature line for the newest checkpoint; what was seen is durable before that.

        Raises:
            LogForked, LogRolledBack, EpochReused, NoteUnverified, FormatError: it is not cosigned.
            ListUnavailable: the log cannot be fetched.
            ConfigError: what was seen cannot be read or written.
        """
        checkpoint = verified_checkpoint(self._newest_checkpoint(), self._policy)
        before = self._seen()
        known = before.size if before else 0
        entries = fetch_entries(self._fetch, known, checkpoint.checkpoint.size)
        self._remember(follow(before, checkpoint, entries))
        public = key.public(KeyType.COSIGNATURE)
        return (
            NoteSignature(public.name, public.key_id, key.cosign(checkpoint.note.text, time_s))
            .line()
            .rstrip("\n")
        )

    def _newest_checkpoint(self) -> bytes:
        """The one that waits for witnesses, or else the one in force."""
        try:
            return fetch_checkpoint(self._fetch, PENDING)
        except ListUnavailable:
            return fetch_checkpoint(self._fetch)

    def _seen(self) -> LogState | None:
        try:
            seen = msgspec.json.decode(self._state.read_bytes(), type=FollowedLog).state()
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ConfigError(f"{self._state}: {exc}") from exc
        if seen.origin != self._policy.log_key.name:
            raise ConfigError(f"{self._state} is about the log {seen.origin}")
        return seen

    def _remember(self, state: LogState) -> None:
        data = msgspec.json.encode(FollowedLog.of(state)) + b"\n"
        try:
            replace_file(self._state, data)
        except OSError as exc:
            raise ConfigError(f"{self._state}: {exc.strerror}") from exc
