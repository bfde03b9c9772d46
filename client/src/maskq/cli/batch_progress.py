"""What `maskq batch` shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskq.batch.journal import FAILED
from maskq.cli.output import print_json, stderr
from maskq.typed import Json

_LINE_EVERY_S = 5.0


class BatchProgress:
    """A bar on a terminal, else a line now and then; or one JSON line for each image."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            TextColumn("{task.fields[failed]}", style="red"),
            console=stderr,
            disable=as_json or not stderr.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, rate="", failed="")
        self._ended = self._failed = self._total = self._before = 0
        self._begin = self._line_at = 0.0

    @contextmanager
    def of(self, total: int, left: int) -> Iterator[None]:
        """Show the progress of a batch of `total` images, of which `left` are left."""
        self._total, self._before = total, total - left
        self._begin = self._line_at = time.monotonic()
        self._bar.update(self._task, total=total, completed=self._before)
        if self._before and left and not self._as_json:
            stderr.print(f"{self._before} of {total} images have ended before", highlight=False)
        with self._bar:
            yield

    def add(self, name: str, end: Json) -> None:
        """An image has ended."""
        self._ended += 1
        self._failed += end["kind"] == FAILED
        if self._as_json:
            print_json(_line_of(name, end))
            return
        if end["kind"] == FAILED:
            line = f"failed: {shown(name)}: {shown(end['detail'])} ({end['type']})"
            stderr.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        failed = f"{self._failed} failed" if self._failed else ""
        self._bar.update(self._task, advance=1, rate=f"{self._per_s:.1f}/s", failed=failed)
        if not stderr.is_terminal and time.monotonic() - self._line_at >= _LINE_EVERY_S:
            self._line_at = time.monotonic()
            stderr.print(self._line(), highlight=False, soft_wrap=True)

    @property
    def _per_s(self) -> float:
        return self._ended / max(0.001, time.monotonic() - self._begin)

    def _line(self) -> str:
        ended = self._before + self._ended
        left_s = (self._total - ended) / self._per_s
        return f"{ended}/{self._total}, {self._per_s:.1f}/s, {left_s:.0f} s left, {self._failed} failed"


def shown(text: str) -> str:
    """A name on one line: a terminal must not carry out what is in it."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text
    )


def _line_of(name: str, end: Json) -> Json:
    line: Json = {"image": name, "status": end["kind"], "job_id": end["job_id"]}
    if end["kind"] == FAILED:
        return {**line, "error": {"type": end["type"], "detail": end["detail"]}}
    return {**line, "objects": len(end["objects"])}
