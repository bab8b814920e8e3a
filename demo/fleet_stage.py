"""Who is on stage in the story of the fleet, and in which order things happen."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Final

from demo import fleet_story as story
from demo.fleet_story import FleetCast, Machine
from demo.machine import Service, Token
from demo.stage import Person

MEMBERS: Final = 3
MakeToken = Callable[[Path], AbstractContextManager[Token]]


def play(directory: Path, make_token: MakeToken) -> None:
    """Three members, two parties, a witness, a phone, and a machine that is in no list."""
    with ExitStack() as stack:
        cast = _cast(directory, make_token, stack)
        story.prepare(cast)
        story.make_cohort(cast)
        story.make_evidence(cast)
        story.prepare_rogue(cast)
        story.sign_root(cast)
        story.publish_list(cast)
        for machine in (*cast.members, cast.rogue):
            stack.enter_context(machine.service.serving())
        story.trust_and_use(cast)
        story.audit(cast)
        story.slip_in_a_key(cast)


def _cast(directory: Path, make_token: MakeToken, stack: ExitStack) -> FleetCast:
    def machine(name: str) -> Machine:
        token = stack.enter_context(make_token(directory / f"token-{name}"))
        service = Service(directory / f"hwkmd-{name}", token)
        person = Person.at(f"machine {name}", directory / f"at-{name}", service.socket)
        return Machine(service, Person(person.name, person.home, {**person.environment, **token.environment}))

    def person(name: str) -> Person:
        made = Person.at(name, directory / name.replace(" ", "-"), members[0].service.socket)
        environment = {key: value for key, value in made.environment.items() if key != "HWKM_SOCKET"}
        return Person(made.name, made.home, environment)

    members = [machine(str(number)) for number in range(MEMBERS)]
    names = ("operator", "auditor", "witness", "phone", "new phone")
    return FleetCast(directory, members, machine("x"), *map(person, names))
