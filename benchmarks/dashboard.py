"""Draws the dashboard of deploy/grafana from a real run: Prometheus scrapes a running service, and the responses to the
dashboard's own queries are plotted.

    python -m benchmarks.dashboard [--seconds 60] [--png docs/images/dashboard.png]

Needs the program `prometheus` (Debian: apt install prometheus). The service runs on loopback; the model is a script.
The load changes, and in the middle a worker is killed. Exit status 1 if a query returns nothing, except those about a
GPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import yaml

from local.broker import free_port
from testing.fleet import SCRIPTED_WORKER, Fleet
from testing.load_clients import LoadClients
from testing.pictures import photo_sized_png

_ROOT = Path(__file__).parent.parent
DASHBOARD = _ROOT / "deploy" / "grafana" / "maskq.json"
ALERTS = _ROOT / "deploy" / "prometheus" / "alerts.yml"
_SCRAPE_S = 2
_WINDOW = "20s"
_COLUMNS = 3


def expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Title, query and legend of everything that the dashboard shows, with its variables replaced."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            query = target["expr"].replace("$__rate_interval", _WINDOW).replace("$model", ".*")
            yield panel["title"], query, target["legendFormat"]


@contextmanager
def prometheus(folder: Path, targets: dict[str, list[int]]) -> Iterator[str]:
    """Run Prometheus on loopback with the project's alert rules, scraping these ports. Yields its address."""
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}" for port in ports]}]}
        for name, ports in targets.items()
    ]
    config = {
        "global": {"scrape_interval": f"{_SCRAPE_S}s", "evaluation_interval": f"{_SCRAPE_S}s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": jobs,
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'series'}"]
    with (folder / "prometheus.log").open("wb") as log:
        command = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def query_range(url: str, query: str, begin: float, end: float) -> list[dict[str, Any]]:
    """The series that Prometheus returns for a query over this time, in Unix seconds."""
    span: dict[str, str | float] = {"query": query, "start": begin, "end": end, "step": _SCRAPE_S}
    answer = httpx2.get(f"{url}/api/v1/query_range", params=span).raise_for_status().json()
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


async def _change_load(fleet: Fleet, seconds: float) -> None:
    """Low load, high load while a worker is killed, overload, low load."""
    clients = LoadClients(fleet.url, photo_sized_png())
    asyncio.get_running_loop().call_later(0.4 * seconds, fleet.workers[0].kill)
    try:
        for jobs_per_s in (5, 20, 32, 5):
            await clients.open_loop(jobs_per_s, seconds / 4)
    finally:
        await clients.close()


def draw(dashboard: dict[str, Any], answers: dict[str, list[tuple[str, list[dict[str, Any]]]]], path: Path) -> None:
    """Write an image with a plot for each panel."""
    from matplotlib.figure import Figure

    rows = -(-len(dashboard["panels"]) // _COLUMNS)
    figure = Figure(figsize=(15, 3 * rows), layout="constrained")
    for axes, panel in zip(figure.subplots(rows, _COLUMNS).flat, dashboard["panels"], strict=True):
        for legend, series in answers[panel["title"]]:
            for each in series:
                points = [(float(at), float(value)) for at, value in each["values"]]
                label = legend
                for name, value in each["metric"].items():
                    label = label.replace("{{" + name + "}}", value)
                axes.plot([at - points[0][0] for at, _ in points], [value for _, value in points], label=label)
        unit = panel["fieldConfig"]["defaults"]["unit"]
        axes.set_title(f"{panel['title']} [{unit}]", fontsize=10)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=70)


def run(seconds: float, png: Path) -> int:
    """Load the service, query Prometheus, draw. Returns an exit status."""
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = {"SCRIPTED_MS": "400", "MASKQ_MAX_BATCH": "4", "MASKQ_WORKER_THREADS": "4", "MASKQ_RESULT_CACHE_S": "60"}
        with Fleet(folder, SCRIPTED_WORKER, 3, 1, **env) as fleet:
            targets = {"maskq-api": [fleet.port], "maskq-worker": fleet.metrics_ports}
            with prometheus(folder, targets) as url:
                begin = time.time()
                asyncio.run(_change_load(fleet, seconds))
                time.sleep(2 * _SCRAPE_S)
                answers: dict[str, list[tuple[str, list[dict[str, Any]]]]] = {}
                for title, query, legend in expressions(dashboard):
                    answers.setdefault(title, []).append((legend, query_range(url, query, begin, time.time())))
                firing = query_range(url, 'ALERTS{alertstate="firing"}', begin, time.time())
    alerts = {each["metric"]["alertname"] for each in firing}
    draw(dashboard, answers, png)
    silent = [f"{title}: {legend}" for title, all_ in answers.items() for legend, found in all_ if not found]
    print(json.dumps({"alerts": sorted(alerts), "without_answer": silent}, indent=2))
    return int(any("GPU" not in each for each in silent))


def main() -> int:
    """Run and plot. Returns an exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--png", type=Path, default=_ROOT / "docs" / "images" / "dashboard.png")
    options = parser.parse_args()
    return run(options.seconds, options.png)


if __name__ == "__main__":
    sys.exit(main())
