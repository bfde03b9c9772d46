"""One format for all logs: ours, uvicorn's, Celery's and those of libraries. Text, or one JSON object per line.

All code logs with `logging`, and structlog formats the records. Values bound with `structlog.contextvars` (the ids of a
request and of a job) are in every line that is logged while they are bound.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from typing import TextIO

import structlog
from redis import exceptions

from shared.process.printable import printable, printable_traceback
from shared.settings import LoggingSettings
from shared.store.sentinels import NoPrimary

_NOISY = ("httpx2", "celery.app.trace", "celery.worker.strategy", "asyncio")
"""At INFO they repeat our own log lines, with fewer details."""
_ABSENT = (
    *(f": {kind}" for kind, value in vars(exceptions).items() if isinstance(value, type)),
    f": {NoPrimary.__name__}",
)
"""How a warning ends that says that Redis does not answer, or refuses: with the name of an error."""
_REPEAT_S = 60.0


def set_up_logging(settings: LoggingSettings) -> None:
    """Write all logs of this process to standard error, in the format that `log_format` names."""
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _without_uvicorn_colors,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=common,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(settings)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(_Repetitions())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = (
        False  # they cost time, and no line shows them
    )
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Repetitions(logging.Filter):
    """Drops a warning about an absent server that was logged less than a minute ago: many tasks retry each second."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING or not record.getMessage().endswith(_ABSENT):
            return True
        key, now = (record.name, record.getMessage()), time.monotonic()
        if now - self._logged_at.get(key, -math.inf) < _REPEAT_S:
            return False
        self._logged_at = {other: at for other, at in self._logged_at.items() if now - at < _REPEAT_S} | {key: now}
        return True


def _without_uvicorn_colors(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    event.pop("color_message", None)  # uvicorn repeats the message with escape codes
    return event


def _renderers(settings: LoggingSettings) -> list[structlog.typing.Processor]:
    if settings.log_format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    colors = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=_write_traceback, pad_event_to=0)
    return [_only_printable, renderer]


def _only_printable(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Escape what a client may have put into a line: else it could write lines of its own, or control a terminal."""
    return {printable(name): value if name == "exc_info" else _printable_value(value) for name, value in event.items()}


def _printable_value(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    return value if repr(value).isprintable() else printable(repr(value))


def _write_traceback(target: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    if exc_info[1] is not None:
        target.write("\n" + printable_traceback(exc_info[1], exc_info[2]))
