"""What an operator does with the pages open: start, set, upgrade, serve a model of one's own, open it with TLS."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2

from local.broker import free_port
from tests.e2e.compose.jobs import Clients
from tests.e2e.compose.shell import TrialFailed, run, wait_until
from tests.e2e.compose.stack import ROOT, SERVICES, Stack
from tests.e2e.compose.trials import Results, Trial, under_load, without_reaping

_FIRST_S = 1_800.0
"""A first start builds both images."""
_JOB_S = 60.0
_WORKERS = SERVICES["worker"]
_NUMBER = {"WORKERS": str(_WORKERS)}
_A_JOB = "jobs/0197a2b4-5c6d-7e8f-9a0b-1c2d3e4f5a6b"
_CERTIFICATE = """
mkdir -p certificates
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout certificates/privkey.pem -out certificates/fullchain.pem
chown 101 certificates/privkey.pem
"""


def first_mask(stack: Stack) -> Results:
    """`docker compose up` alone, with nothing else set, gives a person the page and a mask."""
    stack.remove_images()
    with stack.in_foreground("docker compose up") as process:

        def is_ready() -> bool:
            if process.poll() is not None:
                log = (stack.folder.parent / "foreground.log").read_text("utf-8", "replace")
                raise TrialFailed(f"`docker compose up` ended with status {process.returncode}\n{log[-3000:]}")
            return stack.live_workers() == 1

        seconds = wait_until(is_ready, "a first worker", _FIRST_S)
        page = httpx2.get(f"{stack.url}/", headers={"Accept": "text/html"})
        if "<html" not in page.text:
            raise TrialFailed(f"/ is no page: {page.status_code} {page.text[:300]}")
        _check_mask(stack.url)
    return {"seconds_with_build": seconds}


def _check_mask(url: str, **options: Any) -> dict[str, Any]:
    """Submit the sample image, and wait for its one mask. Returns the job."""
    with httpx2.Client(timeout=_JOB_S, **options) as client:
        files = {"image_file": (ROOT / "models/demo/sample.jpg").read_bytes()}
        headers = {"Prefer": "wait=30"}
        answer = client.post(f"{url}/segment/", data={"prompt": "red circle"}, files=files, headers=headers)
    job: dict[str, Any] = answer.json()
    if job.get("status") != "succeeded" or len(job["result"]["objects"]) != 1:
        raise TrialFailed(f"the sample image has no mask: {answer.status_code} {str(job)[:300]}")
    return job | {"location": answer.headers.get("location", "")}


def settings(stack: Stack, clients: Clients) -> Results:
    """Settings in .env arrive in every container that reads them, and the proxy follows those of the API."""
    if unset := [line for line in _environment(stack, "worker") if line.startswith("MASKQ_MAX_BATCH")]:
        raise TrialFailed(f"a setting that is not set is in the container: {unset}")
    wanted = {"MASKQ_RETENTION_S": "86401", "MASKQ_MAX_BATCH": "8", "MASKQ_WEBHOOK_TIMEOUT_S": "14"}
    stack.configure(**_NUMBER, **wanted, MASKQ_MAX_IMAGE_BYTES="40000000")
    stack.documented("docker compose up -d")
    stack.wait_until_ready(_WORKERS)
    arrived = {
        service: [name for name, value in wanted.items() if f"{name}={value}" in _environment(stack, service)]
        for service in ("api", "webhooks", "worker")
    }
    if arrived != {
        "api": ["MASKQ_RETENTION_S"],
        "webhooks": ["MASKQ_RETENTION_S", "MASKQ_WEBHOOK_TIMEOUT_S"],
        "worker": ["MASKQ_RETENTION_S", "MASKQ_MAX_BATCH"],
    }:
        raise TrialFailed(f"settings did not arrive: {arrived}")
    large = httpx2.post(f"{stack.url}/segment/", data={"prompt": "x"}, files={"image_file": b"x" * 39_000_000})
    if large.status_code != 415:
        raise TrialFailed(f"39 MB that are no image: {large.status_code} {large.text[:300]}")
    _as_before(stack)
    return {"arrived": sum(map(len, arrived.values()))}


def _environment(stack: Stack, service: str) -> list[str]:
    """The variables of the first process of a container, as it was started."""
    (container, *_) = stack.containers(service)
    return Path(f"/proc/{stack.process_id(container)}/environ").read_text("utf-8").split("\0")


def _as_before(stack: Stack) -> None:
    stack.configure(**_NUMBER)
    stack.documented("docker compose up -d")
    stack.wait_until_ready(_WORKERS)


def upgrade(stack: Stack, clients: Clients) -> Results:
    """An upgrade as docs/operations.md describes it loses no job and no worker."""
    before = {name: set(stack.containers(name)) for name in ("worker", "webhooks", "api")}
    with (stack.folder / "shared/__init__.py").open("a") as module:
        module.write("# another version\n")

    def replace_all() -> None:
        stack.documented("docker compose build")
        stack.documented("docker compose up -d --no-deps worker")
        stack.documented("docker compose up -d --no-deps webhooks")
        stack.documented("docker compose up -d --no-deps api")
        stack.documented("docker compose up -d redis")

    results = without_reaping(under_load(stack, clients, replace_all))
    stack.wait_until_ready(_WORKERS)
    for name, old in before.items():
        new = set(stack.containers(name))
        if len(new) != len(old) or new & old:
            raise TrialFailed(f"{name}: {len(old)} containers before the upgrade, {len(new)} after; {new & old} stayed")
    return results | {"workers": len(stack.containers("worker"))}


def own_model(stack: Stack, clients: Clients) -> Results:
    """A folder on this host is served under a name of the operator's choice."""
    shutil.copytree(stack.folder / "models/demo", stack.folder / "my-models/shapes", dirs_exist_ok=True)
    stack.configure(**_NUMBER, MODEL_FOLDERS="./my-models", MASKQ_MODEL_ID="shapes=/my-models/shapes")
    stack.documented("docker compose up -d")
    stack.wait_until_ready(_WORKERS)
    job = _check_mask(stack.url)
    _as_before(stack)
    if job["model_id"] != "shapes":
        raise TrialFailed(f"the model is called {job['model_id']}")
    return {"model_id": job["model_id"]}


def proxy_errors(stack: Stack, clients: Clients) -> Results:
    """Errors of the proxy itself are problem documents, as those of the API."""
    found = {"metrics": httpx2.get(f"{stack.url}/metrics")}
    found["too_large"] = httpx2.post(f"{stack.url}/segment/", content=b"x" * 60_000_000)
    stack.compose("stop", "api")
    found["no_api"] = httpx2.get(f"{stack.url}/models")
    stack.compose("start", "api")
    stack.wait_until_ready(_WORKERS)
    for name, answer in found.items():
        if (
            answer.headers["content-type"] != "application/problem+json"
            or answer.json()["status"] != answer.status_code
        ):
            raise TrialFailed(f"{name}: {answer.status_code} {answer.text[:300]}")
    return {name: answer.status_code for name, answer in found.items()}


def tls_and_keys(stack: Stack, clients: Clients) -> Results:
    """The example of docs/tls.md and the commands of docs/keys.md: TLS, a path, keys, and another certificate."""
    ports = {"HTTPS_PORT": str(free_port()), "HTTP_PORT": str(free_port())}
    url = f"https://localhost:{ports['HTTPS_PORT']}/maskq"
    run(["bash", "-ec", _CERTIFICATE], folder=stack.folder)
    files = "docker-compose.yml:docker-compose.tls.yml:docker-compose.trial.yml"
    stack.configure(**_NUMBER, **ports, COMPOSE_FILE=files, MASKQ_PUBLIC_URL=url)
    stack.documented("docker compose up -d")
    wait_until(lambda: _answers(stack, f"{url}/readyz") == 200, "TLS", _JOB_S)
    if (refused := _answers(stack, f"{url}/{_A_JOB}")) != 401:
        raise TrialFailed(f"without a key: {refused}")
    key = stack.documented(
        "docker compose run --rm api python -m api.auth.keys_command create NAME", NAME="trial"
    ).split()[-1]
    job = _check_mask(url, verify=_trust(stack), headers={"Authorization": f"Bearer {key}"})
    if not urljoin(f"{url}/", job["location"]).startswith(f"{url}/jobs/"):
        raise TrialFailed(f"Location is {job['location']}")
    redirect = httpx2.get(f"http://localhost:{ports['HTTP_PORT']}/maskq/").headers["location"]
    if redirect != f"{url}/":
        raise TrialFailed(f"port 80 sends browsers to {redirect}")
    found = {"page": _answers(stack, f"{url}/"), "metrics": _answers(stack, f"{url}/metrics")}
    _revoke(stack, url, key)
    _renew(stack, ports)
    _as_before(stack)
    return {"without_key": 401, **found}


def _revoke(stack: Stack, url: str, key: str) -> None:
    """Revoke the only key; it must be refused from then on."""
    identifier = (
        stack.documented("docker compose run --rm api python -m api.auth.keys_command list").splitlines()[-1].split()[0]
    )
    stack.documented("docker compose run --rm api python -m api.auth.keys_command revoke ID", ID=identifier)
    answer = httpx2.get(f"{url}/{_A_JOB}", verify=_trust(stack), headers={"Authorization": f"Bearer {key}"})
    if answer.status_code != 401:
        raise TrialFailed(f"a revoked key is answered with {answer.status_code}")


def _renew(stack: Stack, ports: dict[str, str]) -> None:
    """Replace the certificate, as a renewal does; the proxy must show the new one."""
    run(["bash", "-ec", _CERTIFICATE], folder=stack.folder)
    stack.documented("docker compose kill -s HUP proxy")
    wanted = (stack.folder / "certificates/fullchain.pem").read_text("ascii")
    address = ("localhost", int(ports["HTTPS_PORT"]))
    wait_until(lambda: ssl.get_server_certificate(address) == wanted, "the new certificate", _JOB_S)


def _answers(stack: Stack, url: str) -> int:
    """The status of an answer over TLS; -1 without one."""
    try:
        return httpx2.get(url, verify=_trust(stack), headers={"Accept": "text/html"}).status_code
    except httpx2.HTTPError:
        return -1


def _trust(stack: Stack) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=Path(stack.folder, "certificates/fullchain.pem"))


def webhook_commands(stack: Stack, clients: Clients) -> Results:
    """The commands of docs/webhooks.md."""
    secret = stack.documented("docker compose exec webhooks python -m webhooks.secrets_command show").strip()
    if not secret.startswith("whsec_"):
        raise TrialFailed(f"the secret is {secret}")
    stack.configure(**_NUMBER, DELIVERERS="2")
    stack.documented("docker compose up -d")
    deliverers = len(stack.containers("webhooks"))
    _as_before(stack)
    if deliverers != 2:
        raise TrialFailed(f"{deliverers} deliverers")
    return {"deliverers": deliverers}


MAINTENANCE: tuple[Trial, ...] = (settings, upgrade, proxy_errors, own_model, webhook_commands, tls_and_keys)
