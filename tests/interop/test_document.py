"""The runner of documentation pages notices what it has to notice."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.interop.document import PageFailed, Step, run_page

PAGE = """
```json title=settings.json
{"colour": "blue"}
```

```sh
alias show='cat'
show settings.json
```

```text
{"colour": "…"}
```

```sh
name=kept
```

Prose.

```sh
echo $name
```

```text
KEPT
```
"""


def run(page: str, directory: Path) -> list[Step]:
    return run_page(page, directory, dict(os.environ))


def test_files_are_written_variables_and_aliases_stay_and_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    steps = run(PAGE, tmp_path)
    assert [step.printed for step in steps] == ['{"colour": "blue"}\n', "", "kept\n"]
    assert [step.is_as_stated for step in steps] == [True, True, False]


@pytest.mark.parametrize("command", ["false", "ls /nowhere | cat", "echo $unset"])
def test_a_command_that_fails_fails_the_page(tmp_path: Path, command: str) -> None:
    with pytest.raises(PageFailed):
        run(f"```sh\n{command}\necho reached\n```\n", tmp_path)


def test_a_wildcard_stands_for_one_line_only() -> None:
    assert Step("", "a … b\n", "a 1 b\n").is_as_stated
    assert not Step("", "a … b\n", "a 1\n2 b\n").is_as_stated
