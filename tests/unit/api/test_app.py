"""What the front end refuses before it starts."""

from __future__ import annotations

import pytest

from api.app import create_app
from shared.errors import ConfigurationError
from shared.settings import Settings


@pytest.mark.parametrize("path", ["/jobs", "/segment", "/assets", "/docs", "/metrics", "/openapi.json", "/models/"])
def test_a_public_url_with_a_path_of_maskq_itself_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MASKQ_PUBLIC_URL=.*choose another path"):
        create_app(Settings.of(public_url=f"https://a.example{path}"))
