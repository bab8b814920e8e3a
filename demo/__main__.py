"""``python -m demo --story vaults|keys|fleet --token softhsm|tpm``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from demo import audit_log, fleet_stage, key_story, story
from demo.fleet_stage import MakeToken
from demo.machine import Service, Token, softhsm, software_tpm
from demo.stage import Person, Unexpected

_TOKENS: Final = {"softhsm": softhsm, "tpm": software_tpm}


def main() -> int:
    """Play the story; return 0 if everything was as promised."""
    parser = argparse.ArgumentParser(prog="demo", description="Watch hwkm keep its promises.")
    parser.add_argument("--story", choices=sorted(_STORIES), default="vaults")
    parser.add_argument("--token", choices=sorted(_TOKENS), default="softhsm")
    arguments = parser.parse_args()
    play, kind = _STORIES[arguments.story], arguments.token
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    try:
        with _directory() as directory:
            play(directory, _TOKENS[kind])
    except Unexpected as exc:
        print(f"\ndemo: NOT AS PROMISED: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    print(f"\nAll as promised, in {time.monotonic() - began:.0f} s. Nothing is left running.")
    return 0


def _on_one_token(play: Callable[[Path, Token], None]) -> Callable[[Path, MakeToken], None]:
    def play_on_it(directory: Path, make_token: MakeToken) -> None:
        with make_token(directory / "token") as token:
            play(directory, token)

    return play_on_it


def _play_vaults(directory: Path, token: Token) -> None:
    """A phone is lost, its owner is not."""
    service = Service(directory / "hwkmd", token)
    cast = story.Cast(
        service,
        _operator(directory, service, token),
        Person.at("phone", directory / "phone", service.socket),
        Person.at("new phone", directory / "new-phone", service.socket),
    )
    for person in (cast.phone, cast.new_phone):
        story.write_pins(person)
    story.provision(cast)
    with service.serving() as daemon:
        story.look(cast)
        story.make_vault(cast)
        story.open_on_new_device(cast)
        story.restore(cast)
        story.lock_out(cast)
        daemon.kill()
        daemon.wait()
    with service.serving():
        story.still_locked(cast)
        audit_log.keep_checkpoint(cast.operator)
    story.verify_audit(cast)


def _play_keys(directory: Path, token: Token) -> None:
    """A tenant's file, rotations that do not touch it, and a stranger."""
    service = Service(directory / "hwkmd", token)
    cast = key_story.KeyCast(
        service,
        _operator(directory, service, token),
        *(Person.at(name, directory / name, service.socket) for name in key_story.TENANTS),
    )
    key_story.provision(cast)
    with service.serving():
        arn = key_story.encrypt(cast)
        key_story.rotate(cast)
        key_story.open_with_other_software(cast, arn)
        audit_log.keep_checkpoint(cast.operator)
    key_story.verify_audit(cast)


_STORIES: Final = {
    "vaults": _on_one_token(_play_vaults),
    "keys": _on_one_token(_play_keys),
    "fleet": fleet_stage.play,
}


def _operator(directory: Path, service: Service, token: Token) -> Person:
    person = Person.at("operator", directory / "operator", service.socket)
    return Person(person.name, person.home, {**person.environment, **token.environment})


@contextmanager
def _directory() -> Iterator[Path]:
    """A private directory with a short path (a Unix socket's name is at most 107 bytes)."""
    parent = os.environ.get("HWKM_DEMO_DIRECTORY", "/tmp")  # noqa: S108  (mkdtemp is safe there)
    directory = Path(tempfile.mkdtemp(prefix="hwkm-", dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End by way of every ``finally``."""
    raise SystemExit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
