"""`data:` URLs."""

from __future__ import annotations

import base64

import pytest

from api.submission.data_url import decode_data_url, is_data_url

_IMAGE = b"\x89PNG\r\n\x1a\n"
_BASE64 = base64.b64encode(_IMAGE).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{_BASE64}",
        f"DATA:image/PNG;BASE64,{_BASE64}",
        f"data:;base64,{_BASE64}",
        f"data:image/png;name=a.png;base64,{_BASE64.rstrip('=')}\n",
        "data:image/png;base64," + _BASE64.replace("=", "%3D"),
        "data:image/png,%89PNG%0D%0A%1A%0A",
    ],
)
def test_the_image_is_in_the_url(url: str) -> None:
    assert is_data_url(url)
    assert is_data_url(url.encode())
    assert decode_data_url(url.encode()) == _IMAGE


@pytest.mark.parametrize(
    "url",
    ["data:", "data:image/png;base64", "data:image/png;base64,!", f"data:{'x' * 2_000},A", "data:," + "%00" * 50_000],
)
def test_a_data_url_without_readable_data_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_data_url(url.encode())
