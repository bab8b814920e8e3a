"""``hwkm fleet audit``: the report, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from hwkm.cli.exits import ExitCode
from hwkm.cli.fleet.evidence import trust_of
from hwkm.cli.fleet.outside import read_root
from hwkm.cli.printing import count, print_json, print_line
from hwkm.client.fleet.audit import FleetAudit, Line, Report, Result

_LEGEND = "checked: computed from the files; reader: what you gave; hardware: proved by hardware; operator: only somebody's word."


def audit(
    source: str,
    root: Path | None,
    ek_roots: Sequence[Path],
    challengers: Sequence[Path],
    *,
    require_hardware: bool,
    as_json: bool,
) -> None:
    """Check everything again that a fleet's public files prove; exit with 19 if anything fails."""
    trust = trust_of(ek_roots, challengers)
    report = FleetAudit(source, trust, read_root(root) if root else None).run()
    missing = [name for name, proved in report.in_hardware.items() if not proved] if require_hardware else []
    passed = report.passed and not missing
    if as_json:
        print_json(_as_json(report, passed=passed))
    else:
        _print(report, missing, passed=passed)
    if not passed:
        raise typer.Exit(ExitCode.NOT_TRUSTED)


def _print(report: Report, missing: Sequence[str], *, passed: bool) -> None:
    print_line(_LEGEND, style="dim")
    about = ""
    for line in report.lines:
        if line.about != about:
            about = line.about
            print_line(about, style="bold")
        _print_line(line)
    for name in missing:
        print_line(f"cohort {name}", style="bold")
        print_line("  FAILED    hardware does not prove where its key is, which you require", style="red")
    failed = sum(line.result is Result.FAILED for line in report.lines) + len(missing)
    for name, proved in report.in_hardware.items():
        word = "hardware proves where its key is" if proved else "where its key is, is the operator's word"
        print_line(f"Cohort {name}: {word}.")
    if passed:
        print_line(f"PASSED: {count(len(report.lines), 'line')}, none failed.", style="green")
    else:
        print_line(f"FAILED: {count(failed, 'line')} of {len(report.lines) + len(missing)}.", style="red")


def _print_line(line: Line) -> None:
    if line.result is Result.FAILED:
        print_line(f"  FAILED    {line.what} ({line.by})", style="red")
        return
    print_line(f"  {line.basis:<8}  {line.what}")
    print_line(f"            by {line.by}", style="dim")


def _as_json(report: Report, *, passed: bool) -> dict[str, object]:
    return {
        "passed": passed,
        "in_hardware": report.in_hardware,
        "lines": [
            {
                "about": line.about,
                "result": str(line.result),
                "what": line.what,
                "basis": str(line.basis),
                "by": line.by,
            }
            for line in report.lines
        ],
    }
