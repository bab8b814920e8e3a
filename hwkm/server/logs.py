"""The daemon's own log, on standard error: events and their facts, never a body, never a secret.

An exception is logged by its type and the places it came through. Its text is left out: it may
quote what it failed on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import traceback
from pathlib import Path
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

STANDARD_ERROR: Final = 2

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


def set_up_logs(level: str, form: Literal["json", "console"], descriptor: int = STANDARD_ERROR) -> None:
    """Direct structlog, and the logging module of libraries, to a file descriptor."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _place_only,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _DescriptorLogger(descriptor),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forwarder()], level=logging.WARNING, force=True)


def get_log() -> FilteringBoundLogger:
    """The daemon's logger."""
    log: FilteringBoundLogger = structlog.get_logger()
    return log


def _place_only(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """Replace an exception by its type and the places it came through."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["places"] = [
            f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}"
            for frame in traceback.extract_tb(error.__traceback__)
        ][-8:]
    return event


class _DescriptorLogger:
    """Writes lines without a buffer. A log that cannot be written (full disk) stops nothing."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace") + b"\n")

    debug = info = warning = error = critical = exception = msg = _write


class _Forwarder(logging.Handler):
    """What libraries log, without their arguments: those may be bytes of a request."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "template": str(record.msg)}
        if record.exc_info and isinstance(record.exc_info[1], BaseException):
            fields["exc_info"] = record.exc_info[1]
        get_log().warning("library", **fields)
