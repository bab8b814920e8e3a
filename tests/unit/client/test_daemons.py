"""The file that says which daemons a client has, and the one that says for which list a vault was made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwkm.client.cohort import VerifiedFleet, by_fleet
from hwkm.client.daemons import FILE_BYTES_MAX, read_daemons
from hwkm.client.made_for import MadeFor, VaultRecord
from hwkm.errors import ConfigError
from tests.unit.client.thm_half import ThmHalf

KEY = ThmHalf().cohort.public_key
HANDLE = "48" + "00" * 16


def daemons_file(directory: Path, text: str) -> Path:
    path = directory / "daemons.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def table(sockets: list[str], **which: str) -> str:
    named = "".join(f'{name} = "{value}"\n' for name, value in which.items())
    return f"[[cohort]]\n{named}sockets = {json.dumps(sockets)}\n"


class TestDaemons:
    def test_a_cohort_is_given_by_name_or_key_with_the_sockets_of_its_members(self, tmp_path: Path) -> None:
        text = table(["/run/a"], name="alpha") + table(["/run/b0", "b1"], key=KEY.hex())
        alpha, beta = read_daemons(daemons_file(tmp_path, text))
        assert (alpha.name, alpha.key, alpha.sockets) == ("alpha", b"", (Path("/run/a"),))
        assert (beta.name, beta.key, beta.sockets) == ("", KEY, (Path("/run/b0"), tmp_path / "b1"))

    def test_it_is_found_in_a_list_by_what_it_was_given_by(self, tmp_path: Path) -> None:
        text = table(["/run/a"], name="alpha") + table(["/run/b"], key=KEY.hex())
        by_name, by_key = read_daemons(daemons_file(tmp_path, text))
        renamed = by_fleet(KEY, "beta", 1, bytes(32))
        fleet = VerifiedFleet(1, bytes(32), (renamed,))
        assert by_key.cohort_in(fleet) == renamed
        assert by_name.cohort_in(fleet) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "cohort = 1",
            "[[cohort]]\n",
            table(["/run/a"]),
            table(["/run/a"], name="alpha", key=KEY.hex()),
            table([], name="alpha"),
            table(["/run/a"] * 2, name="alpha"),
            table([f"/run/{n}" for n in range(17)], name="alpha"),
            table(["/run/a"], name="alpha") + table(["/run/b"], name="alpha"),
            table(["/run/a"], name="alpha") + table(["/run/a"], name="beta"),
            table(["/run/a"], key="04" + "00" * 64),
            table(["/run/a"], key=KEY.hex()[:-2]),
            table(["/run/a"], name="alpha", port="1"),
            table([""], name="alpha"),
            "#" * (FILE_BYTES_MAX + 1),
            "[[cohort",
        ],
        ids=[
            "empty",
            "no table",
            "nothing in it",
            "neither",
            "both",
            "no socket",
            "a socket twice",
            "too many members",
            "a name twice",
            "a socket of two",
            "no point",
            "a short key",
            "an unknown word",
            "an empty path",
            "too long",
            "not TOML",
        ],
    )
    def test_anything_else_is_refused(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ConfigError, match=r"daemons\.toml"):
            read_daemons(daemons_file(tmp_path, text))

    def test_so_is_a_file_that_others_can_write_or_that_is_not_there(self, tmp_path: Path) -> None:
        path = daemons_file(tmp_path, table(["/run/a"], name="alpha"))
        path.chmod(0o620)
        with pytest.raises(ConfigError, match="chmod 600"):
            read_daemons(path)
        with pytest.raises(ConfigError):
            read_daemons(tmp_path / "absent")


class TestRecord:
    def test_what_is_put_is_there_for_the_next_one(self, tmp_path: Path) -> None:
        path = tmp_path / "config" / "vaults.json"
        made = MadeFor.of(by_fleet(KEY, "alpha", 7, bytes(32)), 7)
        VaultRecord(path).put(HANDLE, made)
        assert VaultRecord(path).of(HANDLE) == made
        assert made.key == KEY
        VaultRecord(path).forget(HANDLE)
        assert VaultRecord(path).of(HANDLE) is None

    def test_nothing_is_known_before_and_forgetting_makes_no_file(self, tmp_path: Path) -> None:
        record = VaultRecord(tmp_path / "vaults.json")
        assert record.of(HANDLE) is None
        record.forget(HANDLE)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "text",
        ["", "[]", '{"48": {"cohort": "04", "epoch": 1}}', f'{{"{HANDLE}": {{"cohort": "04", "epoch": 1}}}}'],
    )
    def test_a_damaged_file_is_refused_and_not_overwritten(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "vaults.json"
        path.write_text(text)
        path.chmod(0o600)
        record = VaultRecord(path)
        made = MadeFor.of(by_fleet(KEY, "alpha", 7, bytes(32)), 7)
        with pytest.raises(ConfigError):
            record.of(HANDLE)
        with pytest.raises(ConfigError):
            record.put(HANDLE, made)
        with pytest.raises(ConfigError):
            record.forget(HANDLE)
        assert path.read_text() == text

    def test_a_file_that_others_can_write_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "vaults.json"
        path.write_text("{}")
        path.chmod(0o622)
        with pytest.raises(ConfigError, match="chmod 600"):
            VaultRecord(path).of(HANDLE)
