"""What tests do before and after something fails: submit jobs, and look what became of them."""

from __future__ import annotations

import httpx2

from tests.integration.processes import Processes


def accepted(answer: httpx2.Response) -> str:
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["id"]
    return job_id


def status_of(processes: Processes, job_id: str) -> str:
    with processes.client() as client:
        status: str = client.get(f"/jobs/{job_id}").json()["status"]
        return status


def require_one_attempt(processes: Processes, client: httpx2.Client, job_id: str) -> None:
    def deliveries() -> list[dict[str, object]]:
        found: list[dict[str, object]] = client.get(f"/jobs/{job_id}/webhooks").json()["deliveries"]
        return found

    processes.until(lambda: deliveries()[0]["state"] == "delivered")
    assert len(deliveries()[0]["attempts"]) == 1  # type: ignore[arg-type]


def require_quiet_logs(processes: Processes) -> None:
    """A fault is logged when it begins, and when its reason changes."""
    assert "Traceback" not in processes.logs(), processes.logs()
    for name in processes.running:
        assert processes.log(name).count("waiting for Redis") <= 3, processes.log(name)
        assert processes.log(name).count("heartbeat") <= 3, processes.log(name)
