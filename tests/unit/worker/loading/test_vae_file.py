import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from shared.errors import CheckpointError
from testing import servers
from worker.loading import download
from worker.loading.vae_file import fetch_once, find_vae

_DATA = b"weights" * 1000
_SHA256 = hashlib.sha256(_DATA).hexdigest()


class _Publisher(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        _Publisher.requests += 1
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(_DATA)))
        self.end_headers()
        self.wfile.write(_DATA[:100] if self.path == "/cut" else _DATA)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def publisher() -> Iterator[str]:
    with servers.website(_Publisher) as url:
        yield url


def test_a_file_is_fetched_once(publisher: str, tmp_path: Path) -> None:
    before = _Publisher.requests
    for _ in range(2):
        path = fetch_once(f"{publisher}/vae", _SHA256, tmp_path / "cache" / "vae.npz")
        assert path.read_bytes() == _DATA
    assert _Publisher.requests == before + 1
    assert [each.name for each in path.parent.iterdir()] == ["vae.npz"]


@pytest.mark.parametrize("path", ["missing", "cut"])
def test_a_failed_fetch_leaves_no_file_and_says_what_to_do(
    publisher: str, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    with pytest.raises(CheckpointError, match="download it elsewhere"):
        fetch_once(f"{publisher}/{path}", _SHA256, tmp_path / "vae.npz")
    assert not (tmp_path / "vae.npz").exists()


def test_without_a_network_the_error_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE_S", 0.01)
    with pytest.raises(CheckpointError, match="download it elsewhere"):
        fetch_once("http://127.0.0.1:9/vae", _SHA256, tmp_path / "vae.npz")


def test_a_fetched_file_must_have_the_digest(publisher: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="wrong SHA-256"):
        fetch_once(f"{publisher}/vae", "0" * 64, tmp_path / "vae.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_cached_file_must_have_the_digest(tmp_path: Path) -> None:
    (tmp_path / "vae.npz").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match="delete it"):
        fetch_once("http://127.0.0.1:9/vae", _SHA256, tmp_path / "vae.npz")


@pytest.mark.parametrize("name", ["vae.npz", "vae-oid.npz"])
def test_a_checkpoint_may_have_its_own_vae(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"")
    assert find_vae([tmp_path / "none", tmp_path], tmp_path / "cache") == tmp_path / name
