"""Plain Celery with one task that does nothing: the baseline of `benchmarks.ledger`."""

from __future__ import annotations

from celery import Celery


def do_nothing() -> None:
    """Does nothing. Celery stores its result nevertheless."""


app = Celery()
app.task(name="noop")(do_nothing)
