"""Whether the service can be reached, safely, and whether its clock is that of this machine."""

from __future__ import annotations

import ipaddress
import ssl
import time
from collections.abc import Iterator
from datetime import timezone
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx2

from maskq.cli.doctor.finding import Finding, failure, ok, warning
from maskq.cli.exit_status import ExitStatus
from maskq.cli.probe import Probed
from maskq.configuration import Configuration

_DAYS = 14
"""A certificate that is valid for a shorter time should have been renewed."""
_CLOCK_S = 30.0
_DAY_S = 86_400
_CAUSES = (
    ("CERTIFICATE_VERIFY_FAILED", "Use the host name of the certificate, or name its authority in SSL_CERT_FILE"),
    ("SSL", "Does the service speak HTTPS on this port? Otherwise use http://"),
    ("Connection refused", "Is the service running, and on this port?"),
    ("Name or service not known", "Is the host name spelt right?"),
    ("disconnected", "Does the service speak plain HTTP on this port? Otherwise use https://"),
)


def unreachable(error: httpx2.RequestError) -> Finding:
    """Why there is no answer."""
    reason = str(error) or type(error).__name__
    advice = next((advice for part, advice in _CAUSES if part in reason), "Is a firewall or a proxy in between?")
    return failure("connection", f"{error.request.url}: {reason}", advice, ExitStatus.UNREACHABLE)


def examine_connection(probed: Probed) -> Iterator[Finding]:
    """`probed` is the answer of /livez."""
    if probed.status == 200 and probed.json == {"status": "ok"}:
        yield ok("connection", f"the service answers within {probed.took_s * 1000:.0f} ms")
    elif "location" in probed.response.headers:
        target = probed.response.headers["location"]
        yield failure("connection", f"the URL redirects to {target}", "Use the URL behind it", ExitStatus.UNREACHABLE)
    else:
        text = f"something else than maskq answers, or refuses this host: {probed.error}"
        yield failure("connection", text, "Is the URL right, with its path?", ExitStatus.UNREACHABLE)


def examine_tls(configuration: Configuration, probed: Probed) -> Iterator[Finding]:
    """Whether others can read what is sent, and for how long the certificate is valid."""
    certificate = probed.certificate
    if certificate and "notAfter" in certificate:
        days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / _DAY_S
        text = f"the certificate is valid for {days:.0f} more days"
        yield ok("tls", text) if days > _DAYS else warning("tls", text, "The operator should renew it")
    elif configuration.url.startswith("https:"):
        yield ok("tls", "the connection is encrypted")
    elif _is_this_machine(configuration.url):
        yield ok("tls", "plain HTTP, to this machine only")
    else:
        sent = "images and the API key" if configuration.api_key else "images"
        yield warning("tls", f"plain HTTP: others on the way can read {sent}", "Use https://; docs/tls.md says how")


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def examine_clock(probed: Probed) -> Iterator[Finding]:
    """The difference between the clock of the service and that of this machine."""
    try:
        theirs = parsedate_to_datetime(probed.response.headers.get("date", "")).astimezone(timezone.utc).timestamp()
    except (ValueError, TypeError):
        yield warning("clock", "the service does not tell its time", "A proxy may remove the header Date")
        return
    difference_s = theirs - probed.sent_at - probed.took_s / 2
    if abs(difference_s) <= _CLOCK_S:
        yield ok("clock", f"the clocks differ by at most {abs(difference_s) + 1:.0f} s")
    else:
        direction = "ahead of" if difference_s > 0 else "behind"
        text = f"the clock of the service is {abs(difference_s):.0f} s {direction} that of this machine"
        yield warning("clock", text, "Set both by NTP: receivers of webhooks refuse signatures that are minutes old")
