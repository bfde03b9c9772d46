"""What the service lets this client do."""

from __future__ import annotations

from collections.abc import Iterator

from maskq.cli.doctor.finding import Finding, failure, ok, warning
from maskq.cli.doctor.probe import Prober
from maskq.cli.exit_status import ExitStatus
from maskq.rate_limit import limits_of

_NO_SCOPE = "Ask the operator for a key with this scope"


def examine_store(prober: Prober) -> Iterator[Finding]:
    """Whether the service takes jobs."""
    probed = prober.send("GET", "/readyz")
    if probed.status == 200:
        yield ok("ready", "the service accepts jobs")
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
    yield ok("key", "the service accepts the key" if has_key else "the service needs no key")
    for scope, probed, expected in (("read", reads, (200,)), ("submit", submits, (400, 422))):
        if probed.status in expected:
            yield ok("key", f"it may {scope}")
        elif probed.status == 403:
            yield failure("key", f"it may not {scope}: {probed.error}", _NO_SCOPE, ExitStatus.REFUSED)
        else:
            yield failure("key", f"whether it may {scope} is unknown: {probed.error}", "Try again later")
    limits = limits_of(reads.response.headers) or limits_of(submits.response.headers)
    for limit in limits.values():
        text = f"{limit.per_s * 60:g} requests a minute, {limit.quota:g} at once; {limit.remaining:g} are left now"
        yield ok("limit", text) if limit.remaining >= 1 else warning("limit", text, "The client waits by itself")


def examine_models(prober: Prober) -> Iterator[Finding]:
    """Which models have live workers."""
    probed = prober.send("GET", "/models")
    if probed.status != 200 or not isinstance(probed.json, list):
        yield failure("models", f"the models are unknown: {probed.error}", "See above")
        return
    for number, model in enumerate(probed.json):
        workers, name = model["live_workers"], f"{model['id']}{' (default)' if number == 0 else ''}"
        if workers:
            yield ok("models", f"{name}: {workers} live {'worker' if workers == 1 else 'workers'}")
        else:
            found = failure if number == 0 else warning
            yield found("models", f"{name}: no live worker", "The operator should start one, or look at its log")
