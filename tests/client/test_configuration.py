"""The service and the key are those that the caller or the environment names."""

from __future__ import annotations

import pytest
from maskq import Client, ConfigurationError
from maskq.configuration import Configuration


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASKQ_URL", raising=False)
    monkeypatch.delenv("MASKQ_API_KEY", raising=False)


def test_without_anything_it_is_the_service_on_this_machine() -> None:
    assert Configuration.of() == Configuration("http://127.0.0.1:8000", None)


def test_arguments_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASKQ_URL", "https://example.com/maskq/")
    monkeypatch.setenv("MASKQ_API_KEY", " maskq_1\n")
    assert Configuration.of() == Configuration("https://example.com/maskq", "maskq_1")
    assert Configuration.of("http://localhost:1", "maskq_2") == Configuration("http://localhost:1", "maskq_2")
    assert Configuration.of(api_key="").api_key is None


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8000", "ftp://a", "http://", "http://a:x", "http://a b", "http://a?b", "http://[a"]
)
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="must look like"):
        Configuration.of(url)


@pytest.mark.parametrize("key", ["maskq_\x00", "maskq_é", "maskq_1 2", "maskq_1\nX: y"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Client(api_key=key)
    assert "maskq_" not in str(caught.value)


def test_the_key_is_not_in_what_a_debugger_shows() -> None:
    configuration = Configuration.of(api_key="maskq_secret")
    assert "secret" not in repr(configuration) + repr(Client(api_key="maskq_secret"))
    assert configuration.headers == {"Authorization": "Bearer maskq_secret"}
