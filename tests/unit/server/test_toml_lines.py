"""Every key is found on its line, whatever stands around it."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from hwkm.server.toml_lines import TomlLines

DOCUMENT = '''\
# a comment with [brackets] and "quotes"
title = "a # is no comment here" # but here
multi = """
[not a table]
key = 1
\\""" still inside """""
literal = \'\'\'
[nor here]
\'\'\'
list = [
  1, # one
  "two, ]",
  [3],
]
inline = { a = 1, b = "}" }
"quoted key" . part = 2

[daemon]
socket = 'x'

[[rule]]
users = ["a"]
[rule.nested]
deep = true
[[rule]]
users = ["b"]
[ spaced . "name" ]
last = 2024-01-01'''


def test_keys_of_a_document_are_found() -> None:
    lines = TomlLines(DOCUMENT)
    tomllib.loads(DOCUMENT)
    assert lines.of("title") == 2
    assert lines.of("multi") == 3
    assert lines.of("literal") == 7
    assert lines.of("list") == 10
    assert lines.of("inline") == 15
    assert lines.of("quoted key", "part") == 16
    assert lines.of("daemon") == 18
    assert lines.of("daemon", "socket") == 19
    assert lines.of("rule", 0, "users") == 22
    assert lines.of("rule", 0, "nested", "deep") == 24
    assert lines.of("rule", 1) == 25
    assert lines.of("rule", 1, "users") == 26
    assert lines.of("spaced", "name", "last") == 28


def test_what_is_not_written_out_is_on_the_line_of_the_nearest_table() -> None:
    lines = TomlLines(DOCUMENT)
    assert lines.of("daemon", "absent") == 18
    assert lines.of("inline", "b") == 15
    assert lines.of("nowhere") == 1


def test_a_document_with_windows_line_ends() -> None:
    assert TomlLines('[a]\r\nb = """\r\n\r\n"""\r\nc = 1\r\n').of("a", "c") == 5


KEYS = st.text("abcdefgh_-123", min_size=1, max_size=4)
VALUES = st.sampled_from(
    [
        "1",
        "true",
        '"]"',
        "'#'",
        "[1, 2]",
        "[\n1,\n[2],\n]",
        '"""\n[x]\n"""',
        "'''\n\"\n'''",
        "{ a = [1] }",
        '"\\""',
    ]
)


@given(
    st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=5),
    st.sampled_from(["", "# x\n", "\n"]),
)
def test_any_document_of_tables_and_keys(tables: dict[str, dict[str, str]], filler: str) -> None:
    text = ""
    expected: dict[tuple[str, ...], int] = {}
    for table, keys in tables.items():
        text += filler
        expected[(table,)] = text.count("\n") + 1
        text += f"[{table}]\n"
        for key, value in keys.items():
            text += filler
            expected[(table, key)] = text.count("\n") + 1
            text += f"{key} = {value}  # {key}\n"
    tomllib.loads(text)
    lines = TomlLines(text)
    assert {path: lines.of(*path) for path in expected} == expected
