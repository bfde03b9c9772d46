"""Celery as it comes, with one task that does nothing: what `benchmarks.ledger` is measured against."""

from __future__ import annotations

from celery import Celery


def do_nothing() -> None:
    """Nothing; its result is stored all the same."""


app = Celery()
app.task(name="noop")(do_nothing)
