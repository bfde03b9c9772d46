"""`maskq doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import httpx2
import typer
from rich.text import Text

from maskq.cli.doctor.connection import examine_clock, examine_connection, examine_tls, unreachable
from maskq.cli.doctor.finding import Finding, Level
from maskq.cli.doctor.job import examine_job
from maskq.cli.doctor.service import examine_key, examine_models, examine_store
from maskq.cli.exit_status import ExitStatus
from maskq.cli.options import AsJson, Target, client_of
from maskq.cli.output import plain, print_json, stdout
from maskq.cli.probe import Prober
from maskq.configuration import Configuration

WithJob = Annotated[bool, typer.Option("--job", help="Also run a small job, and delete it.")]
_STYLES = {Level.OK: "green", Level.WARNING: "yellow", Level.FAILURE: "red"}


def examine(context: typer.Context, job: WithJob = False, as_json: AsJson = False) -> int:
    """Examine the service, the API key and the way to it, and say what to do.

    The exit status is that of the first failure; warnings alone are 0.
    """
    findings = []
    for finding in _findings(context, job):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        names = ("area", "level", "text", "advice")
        print_json([{name: asdict(each)[name] for name in names} for each in findings])
    return next((each.status for each in findings if each.level == Level.FAILURE), ExitStatus.OK)


def _findings(context: typer.Context, with_job: bool) -> Iterator[Finding]:
    target: Target = context.obj
    configuration = Configuration.of(target.url, target.api_key)
    has_failed = False
    with Prober(configuration) as prober:
        try:
            for finding in _examined(configuration, prober):
                has_failed |= finding.level == Level.FAILURE
                yield finding
        except httpx2.RequestError as error:
            yield unreachable(error)
            return
    if with_job and not has_failed:
        with client_of(context) as client:
            yield from examine_job(client)


def _examined(configuration: Configuration, prober: Prober) -> Iterator[Finding]:
    probed = prober.send("GET", "/livez")
    for finding in examine_connection(probed):
        yield finding
        if finding.level == Level.FAILURE:
            return
    yield from examine_tls(configuration, probed)
    yield from examine_clock(probed)
    yield from examine_store(prober)
    yield from examine_key(prober)
    yield from examine_models(prober)


def _print(finding: Finding) -> None:
    line = Text(f"{finding.level.value:<8}", style=_STYLES[finding.level])
    line.append(plain(f"{finding.area}: {finding.text}"), style="default")
    if finding.advice:
        line.append(plain(f". {finding.advice}"), style="default")
    stdout.print(line, soft_wrap=True)
