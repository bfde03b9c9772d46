"""Prometheus' own tools accept the alerts and the dashboard, which use only metrics that the service exposes."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.dashboard import ALERTS, DASHBOARD, expressions, prometheus, query_range
from testing.fleet import Fleet
from testing.load_clients import LoadClients
from testing.pictures import photo_sized_png
from testing.required import require_program

pytestmark = pytest.mark.slow

_OWN = re.compile(r"\b(?:maskq|process)_\w+")
_ONLY_WITH_A_GPU = {"maskq_device_memory_bytes"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        asyncio.run(_some_jobs(fleet))
        yield fleet


async def _some_jobs(fleet: Fleet) -> None:
    clients = LoadClients(fleet.url, photo_sized_png())
    load = await clients.closed_loop(2, 1.0)
    await clients.close()
    assert load.latencies_s
    assert not load.refusals


@pytest.fixture
def exposed(fleet: Fleet) -> set[str]:
    """The names of all samples that the running service exposes."""
    ports = [fleet.port, *fleet.metrics_ports]
    texts = [httpx2.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text for port in ports]
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    return {sample.name for family in families for sample in family.samples}


def _queries() -> list[str]:
    rules = yaml.safe_load(ALERTS.read_text())["groups"]
    alerts = [rule["expr"] for group in rules for rule in group["rules"]]
    return [*alerts, *(query for _, query, _ in expressions(json.loads(DASHBOARD.read_text())))]


def test_the_service_exposes_every_metric_of_alerts_and_dashboard(exposed: set[str]) -> None:
    used = {name for query in _queries() for name in _OWN.findall(query)}
    assert len(used) > 15
    assert used - exposed == _ONLY_WITH_A_GPU


def test_metric_names_follow_the_rules_of_prometheus(fleet: Fleet) -> None:
    promtool = require_program("promtool")
    for port in (fleet.port, *fleet.metrics_ports):
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
        # The library exposes creation times (`_created`), which promtool reports as errors.
        kept = "\n".join(line for line in text.splitlines() if "_created" not in line) + "\n"
        checked = subprocess.run(
            [promtool, "check", "metrics"], input=kept, capture_output=True, text=True, check=False
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_alert_rules_pass_their_own_tests(root: Path) -> None:
    promtool = require_program("promtool")
    folder = root / "deploy" / "prometheus"
    for words in (["test", "rules", "alerts.test.yml"], ["check", "config", "prometheus.yml"]):
        done = subprocess.run([promtool, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_documentation_explains_each_alert(root: Path) -> None:
    page = (root / "docs" / "operations.md").read_text()
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert f"`{rule['alert']}`" in page
            assert rule["labels"]["severity"] in ("critical", "warning")


def test_every_query_of_the_dashboard_has_a_result(fleet: Fleet, tmp_path: Path) -> None:
    require_program("prometheus")
    begin = time.time()
    targets = {"maskq-api": [fleet.port], "maskq-worker": fleet.metrics_ports}
    with prometheus(tmp_path, targets) as url:
        pending = {
            query: title
            for title, query, legend in expressions(json.loads(DASHBOARD.read_text()))
            if "GPU" not in legend
        }
        deadline = time.monotonic() + 90
        while pending and time.monotonic() < deadline:
            asyncio.run(_some_jobs(fleet))
            pending = {query: title for query, title in pending.items() if not _has_result(url, query, begin)}
    assert not pending


def _has_result(url: str, query: str, begin: float) -> bool:
    try:
        return bool(query_range(url, query, begin, time.time()))
    except httpx2.HTTPError:
        return False
