"""Tiles: names, widths, which of them a tree needs, and the hashes in them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hwkm.errors import FormatError
from hwkm.tlog.merkle import SIZE_MAX, Node, root_of
from hwkm.tlog.tiles import (
    ENTRY_BYTES_MAX,
    Tile,
    encode_bundle,
    parse_bundle,
    parse_path,
    parse_tile,
    tile_at,
    tiles_between,
)
from tests.unit.tlog.trees import leaves_of, tile_bytes, tile_hashes

LEAVES = leaves_of(1200)

tiles = st.builds(
    Tile, st.none() | st.integers(0, 63), st.integers(0, 2**55), st.integers(1, 255) | st.just(256)
)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(0, 1234067), "tile/0/x001/x234/067"),
        (Tile(1, 999, 17), "tile/1/999.p/17"),
        (Tile(None, 1000, 255), "tile/entries/x001/000.p/255"),
        (Tile(63, 0, 1), "tile/63/000.p/1"),
    ],
)
def test_paths_are_those_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert parse_path(path) == tile


@given(tiles)
def test_a_path_is_read_as_it_was_written(tile: Tile) -> None:
    assert parse_path(tile.path()) == tile


@pytest.mark.parametrize(
    "path",
    [
        *("", "tile", "tile/0", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/00/000", "tile/64/000"),
        *("tile/-1/000", "tile/0/x000/000", "tile/0/x001", "tile/0/001/x001", "tile/0/000.p/0"),
        *("tile/0/000.p/256", "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000/", "/tile/0/000"),
        *("tile/entry/000", "tile/0/000\n", "tile/0/٠٠٠", "checkpoint", "tile/0/../000"),
        "tile/0/" + "x999/" * 9 + "999",
    ],
)
def test_what_is_no_path_of_a_tile_is_refused(path: str) -> None:
    with pytest.raises(FormatError):
        parse_path(path)


def test_the_example_of_the_specification() -> None:
    """A tree of 70,000: 273 full tiles and one of 112, one full and one of 17, one of 1."""
    found = list(tiles_between(0, 70_000))
    assert [tile for tile in found if not tile.is_full] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert len(found) == 273 + 1 + 1 + 1 + 1
    assert list(tiles_between(0, 256)) == [Tile(0, 0), Tile(1, 0, 1)]


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4))
@example([256, 0, 1])
def test_tiles_written_step_by_step_are_all_that_the_tree_needs(steps: list[int]) -> None:
    written: set[Tile] = set()
    size = 0
    for step in steps:
        new = list(tiles_between(size, size + step))
        assert not {tile for tile in new if tile.is_full} & written
        written.update(new)
        size += step
    assert set(tiles_between(0, size)) <= written


@given(st.integers(1, len(LEAVES)), st.data())
def test_every_node_of_a_tree_is_in_its_tiles(size: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, size.bit_length() - 1))
    index = data.draw(st.integers(0, (size >> level) - 1))
    (found,) = tile_hashes(LEAVES[:size])([Node(level, index)])
    assert found == root_of(LEAVES[index << level : (index + 1) << level])


@pytest.mark.parametrize("node", [Node(0, 1200), Node(4, 75), Node(11, 0), Node(8, 4), Node(20, 0)])
def test_a_node_that_a_tree_has_not_is_refused(node: Node) -> None:
    with pytest.raises(FormatError):
        tile_hashes(LEAVES)([node])


@pytest.mark.parametrize(("level", "index", "size"), [(0, 0, 0), (0, 1, 256), (1, 0, 255), (None, 5, 1280)])
def test_a_tile_that_a_tree_has_not_is_refused(level: int | None, index: int, size: int) -> None:
    with pytest.raises(FormatError):
        tile_at(level, index, size)


def test_the_largest_tree_has_tiles() -> None:
    assert tile_at(7, 0, SIZE_MAX).width == 127
    assert tile_at(None, 2**55 - 1, SIZE_MAX).width == 255


def test_a_tile_of_another_width_is_refused() -> None:
    content = tile_bytes(Tile(0, 0, 5), LEAVES)
    assert parse_tile(content, 5) == LEAVES[:5]
    for data, width in [(content[:-1], 5), (content, 4), (content, 6), (b"", 1)]:
        with pytest.raises(FormatError):
            parse_tile(data, width)


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=256))
def test_a_bundle_is_read_as_it_was_written(entries: list[bytes]) -> None:
    assert parse_bundle(encode_bundle(entries), len(entries)) == entries


def test_a_bundle_has_limits() -> None:
    assert len(encode_bundle([bytes(ENTRY_BYTES_MAX)])) == ENTRY_BYTES_MAX + 2
    for entries in ([], [b""] * 257, [bytes(ENTRY_BYTES_MAX + 1)]):
        with pytest.raises(FormatError):
            encode_bundle(entries)


@pytest.mark.parametrize(
    ("data", "width"), [(b"", 1), (b"\0", 1), (b"\0\1", 1), (b"\0\0\0", 1), (b"\0\0", 2), (b"\0\1a\0\0", 1)]
)
def test_what_is_no_bundle_is_refused(data: bytes, width: int) -> None:
    with pytest.raises(FormatError):
        parse_bundle(data, width)
