"""What the service lets this client do."""

from __future__ import annotations

from collections.abc import Iterator

from maskq.cli.doctor.finding import Finding, failure, ok, warning
from maskq.cli.exit_status import ExitStatus
from maskq.cli.probe import Probed, Prober
from maskq.rate_limit import limits_of


def examine_store(prober: Prober) -> Iterator[Finding]:
    """Whether the service takes jobs."""
    probed = prober.send("GET", "/readyz")
    if probed.status == 200:
        yield ok("ready", "the service accepts jobs")
        return
    workers = probed.json.get("live_workers") if isinstance(probed.json, dict) and probed.json.get("store") else None
    if isinstance(workers, dict) and not any(workers.values()):
        advice = "Its operator should start a worker, or look at the log of one"
        yield failure("ready", "the service accepts no jobs now: no worker is alive", advice)
    else:
        yield failure("ready", f"the service accepts no jobs now: {probed.error}", "Its operator should look at Redis")


def examine_key(prober: Prober) -> Iterator[Finding]:
    """Whether the key is valid, its scopes, and its limits. The request that would submit a job has no image."""
    has_key = prober.configuration.api_key is not None
    reads, submits = prober.send("GET", "/jobs?limit=1"), prober.send("POST", "/segment/")
    if reads.status == 401:
        advice = "Make a new key with `maskq keys create`" if has_key else "Set MASKQ_API_KEY"
        text = "the service does not know this key" if has_key else "the service needs an API key"
        yield failure("key", text, advice, ExitStatus.REFUSED)
        return
    yield ok("key", "the service knows the key" if has_key else "the service needs no key")
    yield _scope("read", reads, {200})
    yield _scope("submit", submits, {400, 422})
    yield from _limits(reads, submits)


def _scope(name: str, probed: Probed, expected: set[int]) -> Finding:
    if probed.status in expected:
        return ok("key", f"it may {name}")
    if probed.status == 403:
        advice = "Ask the operator for a key with this scope"
        return failure("key", f"it may not {name}: {probed.error}", advice, ExitStatus.REFUSED)
    return warning("key", f"whether it may {name} is unknown: {probed.error}", "Try again later")


def _limits(*answers: Probed) -> Iterator[Finding]:
    """The limits that these answers name, as the last one of each says."""
    found = {name: limit for each in answers for name, limit in limits_of(each.response.headers).items()}
    for name, limit in found.items():
        text = f"{limit.per_s * 60:g} requests a minute, {limit.quota:g} at once; {limit.remaining:g} are left now"
        yield ok(f"limit {name}", text) if limit.remaining >= 1 else warning(f"limit {name}", text, "Wait a little")


def examine_models(prober: Prober) -> Iterator[Finding]:
    """Which models have live workers."""
    probed = prober.send("GET", "/models")
    if probed.status != 200 or not _are_models(probed.json):
        yield failure("models", f"the models are unknown: {probed.error}", "Is the URL that of maskq?")
        return
    for number, model in enumerate(probed.json):
        workers, name = model["live_workers"], f"{model['id']}{' (default)' if number == 0 else ''}"
        if workers:
            yield ok("models", f"{name}: {workers} live {'worker' if workers == 1 else 'workers'}")
        else:
            found = failure if number == 0 else warning
            yield found("models", f"{name}: no live worker", "The operator should start one, or look at its log")


def _are_models(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and {"id", "live_workers"} <= each.keys() for each in value
    )
