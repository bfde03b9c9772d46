"""What the Tab key offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from maskq import Client

from local.broker import free_port
from tests.client.cli.hostile_service import HostileService
from tests.client.cli.processes import environment, maskq


def _offered(words: str, url: str, **variables: str) -> list[str]:
    """What bash is told for a command line that ends with these words."""
    asked = {"_MASKQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
    ended = maskq(env=environment(MASKQ_URL=url, **asked, **variables))
    assert ended.stderr == b""
    return ended.stdout.decode().split()


def test_commands_models_and_jobs_are_offered(service: str, client: Client, photo: Path) -> None:
    job_id = client.submit(photo, "cat").id
    assert "segment" in _offered("maskq se", service)
    assert _offered("maskq segment a.png cat --model de", service) == ["demo"]
    assert job_id in _offered(f"maskq job {job_id[:6]}", service)
    assert job_id in _offered(f"maskq cancel {job_id} {job_id[:6]}", service)
    assert _offered(f"maskq --url {service} segment a.png cat --model de", "http://127.0.0.1:9") == ["demo"]


@pytest.mark.parametrize("words", ["maskq segment a.png cat --model ", "maskq job "])
def test_names_that_a_shell_could_carry_out_are_not_offered(hostile: HostileService, words: str) -> None:
    assert _offered(words, hostile.url) == []


@pytest.mark.parametrize("words", ["maskq segment a.png cat --model ", "maskq job "])
def test_a_service_that_does_not_answer_offers_nothing(words: str) -> None:
    assert _offered(words, f"http://127.0.0.1:{free_port()}") == []
    assert _offered(words, "no URL") == []
