"""Tiles follow the records, are made again when they are lost, and lead to what was signed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwkm.audit.published import Published
from hwkm.audit.tree import TreeWriter, entries_between
from hwkm.errors import AuditError, StorageUnavailable
from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.proofs import verify_consistency
from hwkm.tlog.tile_builder import TileBuilder, partial_tiles
from hwkm.tlog.tiles import parse_path, tiles_between
from tests.unit.audit.examples import append, make_log, segments, sign, verified
from tests.unit.tlog.trees import leaves_of

LEAVES = leaves_of(1000)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """600 records, none of them signed for."""
    directory = make_log(tmp_path / "audit", 0)
    append(directory, *range(600))
    return directory


def tiles(log: Path) -> set[str]:
    return {str(path.relative_to(log)) for path in (log / "tile").rglob("*") if path.is_file()}


def test_a_stranger_finds_every_file_that_the_tree_needs(log: Path) -> None:
    sign(log, 600)
    needed = {tile.path() for tile in tiles_between(0, 600)}
    bundles = {f"tile/entries/{path.removeprefix('tile/0/')}" for path in needed if path[:7] == "tile/0/"}
    assert tiles(log) == needed | bundles


def test_tiles_grow_with_every_checkpoint_and_partial_ones_go_when_the_full_one_is_there(log: Path) -> None:
    for size in (3, 200, 255):
        sign(log, size)
    partial = {"tile/0/000.p/3", "tile/0/000.p/200", "tile/0/000.p/255"}
    assert {name for name in tiles(log) if name.startswith("tile/0/")} == partial
    sign(log, 256)
    assert tiles(log) == {"tile/0/000", "tile/entries/000", "tile/1/000.p/1"}
    for size in (257, 600):
        sign(log, size)
        assert verified(log).signed == size
    assert {parse_path(name).path() for name in tiles(log)} == tiles(log)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 600), min_size=1, max_size=4, unique=True).map(sorted))
def test_any_steps_lead_to_the_same_tree(log: Path, sizes: list[int]) -> None:
    shutil.rmtree(log / "tile", ignore_errors=True)
    (log / "checkpoint").unlink(missing_ok=True)
    leaves = [leaf_hash(entry) for _, entry in entries_between(log, 0, 600)]
    before = 0
    for size in sizes:
        tree = TreeWriter.open(log)
        assert tree.size == before
        prepared = tree.prepare(size)
        assert prepared.root == root_of(leaves[:size])
        verify_consistency(before, size, root_of(leaves[:before]), prepared.root, tree.prove_growth(before))
        sign(log, size)
        before = size
    assert verified(log).signed == before


def test_lost_or_damaged_tiles_are_made_again_at_the_next_start(log: Path) -> None:
    sign(log, 600)
    whole = {name: (log / name).read_bytes() for name in tiles(log)}
    for name in ("tile/0/002.p/88", "tile/1/000.p/2"):
        (log / name).write_bytes(whole[name][:-1] + b"x")
        TreeWriter.open(log)
        assert {other: (log / other).read_bytes() for other in tiles(log)} == whole
    shutil.rmtree(log / "tile")
    TreeWriter.open(log)
    assert {other: (log / other).read_bytes() for other in tiles(log)} == whole


def test_records_that_are_not_those_signed_for_are_refused_at_start(log: Path) -> None:
    sign(log, 600)
    path = segments(log)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"request-599"', b'"request-999"'))
    with pytest.raises(AuditError, match="record 599 was changed"):
        TreeWriter.open(log)
    path.write_bytes(content.replace(b'"request-1"', b'"request-9"'))
    shutil.rmtree(log / "tile")
    with pytest.raises(AuditError, match="not those that the checkpoint was made for"):
        TreeWriter.open(log)


def test_a_checkpoint_of_more_records_than_there_are_is_refused(log: Path) -> None:
    sign(log, 600)
    path = segments(log)[0]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:599]))
    with pytest.raises(AuditError, match="ends after 599 records; 600 were there"):
        TreeWriter.open(log)
    with pytest.raises(AuditError, match="ends after 599 records"):
        list(entries_between(log, 0, 600))


def test_what_could_not_be_written_is_written_at_the_next_try(log: Path) -> None:
    sign(log, 100)
    tree = TreeWriter.open(log)
    (log / "tile/0/001.p").write_text("in the way")
    with pytest.raises(StorageUnavailable):
        tree.prepare(300)
    (log / "tile/0/001.p").unlink()
    assert tree.size == 100
    assert tree.prepare(300).size == tree.size == 300


def test_a_pause_is_made_now_and_then(log: Path) -> None:
    pauses: list[None] = []
    TreeWriter.open(log).prepare(600, lambda: pauses.append(None))
    assert len(pauses) == 10


def test_what_a_former_key_signed_is_put_away(log: Path) -> None:
    published = Published(log)
    published.put_away()
    for number in range(2):
        sign(log, 100)
        published.put_log_key("a key")
        published.put_away()
        assert {path.name for path in (log / f"former/{number}").iterdir()} == {"checkpoint", "log-key"}
    assert published.checkpoint() is None
    with pytest.raises(AuditError, match="log-key is missing"):
        published.log_key()


# --- the builder -----------------------------------------------------------------------------


@given(st.integers(0, 700), st.integers(0, 300))
def test_a_builder_taken_up_again_goes_on_as_before(size: int, more: int) -> None:
    first = TileBuilder()
    for leaf in LEAVES[:size]:
        first.append(leaf)
    assert [tile for tile, _ in first.partial()] == partial_tiles(size)
    second = TileBuilder(size, first.partial())
    third = first.copy()
    for leaf in LEAVES[size : size + more]:
        assert second.append(leaf) == third.append(leaf)
    assert second.frontier().root() == third.frontier().root() == root_of(LEAVES[: size + more])
    assert first.frontier().root() == root_of(LEAVES[:size])
