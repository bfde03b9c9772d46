"""`maskq mcp` serves the official client of the protocol, over standard input and over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import PIL.Image
import pytest
from maskq.cli.app import run
from maskq.cli.exit_status import ExitStatus
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import CallToolResult, ImageContent, TextContent

from local.broker import free_port

pytestmark = pytest.mark.slow

T = TypeVar("T")
_SOURCE = Path(__file__).parents[3] / "client" / "src"
_READY_S = 30


def _environment(service: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_SOURCE), "MASKQ_URL": service}


def _over_stdio(service: str, folder: Path, *arguments: str) -> StdioServerParameters:
    command = ["-m", "maskq", "mcp", *arguments]
    return StdioServerParameters(command=sys.executable, args=command, env=_environment(service), cwd=folder)


def _asked(server: StdioServerParameters | str, ask: Callable[[Client], Awaitable[T]]) -> T:
    async def talk() -> T:
        async with Client(server) as client:
            return await ask(client)

    return asyncio.run(asyncio.wait_for(talk(), 60))


def _called(server: StdioServerParameters | str, tool: str, **arguments: Any) -> CallToolResult:
    return _asked(server, lambda client: client.call_tool(tool, arguments))


def _text(answer: CallToolResult) -> str:
    return "".join(each.text for each in answer.content if isinstance(each, TextContent))


def _pictures(answer: CallToolResult) -> list[PIL.Image.Image]:
    found = [each for each in answer.content if isinstance(each, ImageContent)]
    return [PIL.Image.open(io.BytesIO(base64.b64decode(each.data))) for each in found]


def _refusal(server: StdioServerParameters | str, image: str) -> str:
    answer = _called(server, "segment_image", image=image, prompt="cat")
    assert answer.is_error
    return _text(answer)


@pytest.fixture
def server(service: str, photo: Path) -> StdioServerParameters:
    """Started by a host, in the folder of the photo."""
    return _over_stdio(service, photo.parent)


@contextmanager
def _over_http(service: str, folder: Path, *arguments: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "maskq", "mcp", "--http", str(port), *arguments]
    process = subprocess.Popen(command, env=_environment(service), cwd=folder, stdout=subprocess.PIPE)
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        with httpx2.Client(transport=httpx2.HTTPTransport(retries=8)) as http:
            http.get(url, timeout=_READY_S)
        yield url
    finally:
        process.terminate()
        written, _ = process.communicate(timeout=20)
    assert written == b""


def test_an_agent_learns_what_the_tools_do_and_take(server: StdioServerParameters) -> None:
    tools = {each.name: each for each in _asked(server, lambda client: client.list_tools()).tools}
    assert set(tools) == {"segment_image", "get_masks", "list_models"}
    assert all(each.description and each.annotations for each in tools.values())
    taken = tools["segment_image"].input_schema
    assert set(taken["required"]) == {"image", "prompt"}
    assert "cat ; dog" in taken["properties"]["prompt"]["description"]
    assert all(each.get("description") for each in taken["properties"].values())
    assert tools["segment_image"].output_schema is not None


def test_a_file_is_answered_with_an_overlay_and_the_objects(server: StdioServerParameters) -> None:
    answer = _called(server, "segment_image", image="photo.png", prompt="cat")
    assert not answer.is_error, _text(answer)
    (overlay,) = _pictures(answer)
    assert (overlay.format, overlay.size) == ("JPEG", (64, 48))
    found = answer.structured_content
    assert json.loads(_text(answer)) == found
    assert (found["width"], found["height"], found["truncated"]) == (64, 48, False)
    assert found["objects"] == [
        {"number": 0, "label": "segment cat", "score": 1.0, "box": [63, 23, 64, 24], "area": 1},
    ]


def test_a_data_url_is_an_image(server: StdioServerParameters, png: bytes) -> None:
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    assert not _called(server, "segment_image", image=url, prompt="cat").is_error


def test_a_large_overlay_is_scaled_down(server: StdioServerParameters, photo: Path) -> None:
    PIL.Image.effect_noise((3000, 2000), 80).save(photo.parent / "large.png")
    answer = _called(server, "segment_image", image="large.png", prompt="cat")
    assert _pictures(answer)[0].size == (1024, 683)
    assert len(answer.model_dump_json()) < 1_000_000


def test_the_masks_of_a_job_come_in_each_format(server: StdioServerParameters) -> None:
    async def ask(client: Client) -> dict[str, CallToolResult]:
        found = await client.call_tool("segment_image", {"image": "photo.png", "prompt": "cat"})
        job = found.structured_content["job"]
        formats = ("png", "rle", "coco", "labelstudio")
        return {each: await client.call_tool("get_masks", {"job": job, "format": each}) for each in formats}

    answers = _asked(server, ask)
    assert [name for name, each in answers.items() if each.is_error] == []
    (mask,) = _pictures(answers["png"])
    assert (mask.size, mask.convert("L").getpixel((63, 23)), mask.convert("L").getextrema()) == (
        (64, 48),
        255,
        (0, 255),
    )
    (rle,) = answers["rle"].structured_content["masks"]
    assert rle["rle"]["size"] == [48, 64]
    assert answers["coco"].structured_content["annotations"][0]["area"] == 1
    assert answers["labelstudio"].structured_content["result"][0]["type"] == "brushlabels"


def test_models_are_listed(server: StdioServerParameters) -> None:
    (model,) = _called(server, "list_models").structured_content["models"]
    assert (model["id"], model["live_workers"]) == ("demo", 1)


def test_the_words_of_the_service_say_what_was_wrong(server: StdioServerParameters, photo: Path) -> None:
    missing = _called(server, "get_masks", job="no-such-job")
    assert missing.is_error
    assert "job_not_found" in _text(missing)
    (photo.parent / "notes.png").write_text("no image")
    assert "unsupported_image" in _refusal(server, "notes.png")


def test_a_service_that_is_down_is_an_error_of_the_tool(photo: Path) -> None:
    answer = _called(_over_stdio("http://127.0.0.1:1", photo.parent), "list_models")
    assert answer.is_error
    assert "Traceback" not in _text(answer)


@pytest.mark.parametrize("name", ["../secret.png", "link.png", "links/secret.png", "absolute", "file:../secret.png"])
def test_no_file_outside_the_allowed_folders_is_read(name: str, service: str, tmp_path: Path, png: bytes) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "secret.png").write_bytes(png)
    (allowed / "link.png").symlink_to(tmp_path / "secret.png")
    (allowed / "links").symlink_to(tmp_path)
    server = _over_stdio(service, tmp_path, "--allow", str(allowed))
    image = str(tmp_path / "secret.png") if name == "absolute" else name
    assert "below the allowed folders" in _refusal(server, image)


@pytest.mark.parametrize("name", ["missing.png", "folder", "pipe.png", "loop.png", "zero\0.png", ""])
def test_what_is_no_file_is_refused_like_one_outside(name: str, server: StdioServerParameters, photo: Path) -> None:
    (photo.parent / "folder").mkdir()
    os.mkfifo(photo.parent / "pipe.png")
    (photo.parent / "loop.png").symlink_to("loop.png")
    assert "below the allowed folders" in _refusal(server, name)


def test_a_link_to_an_allowed_folder_is_followed(service: str, photo: Path) -> None:
    (photo.parent / "link.png").symlink_to(photo)
    assert not _called(_over_stdio(service, photo.parent), "segment_image", image="link.png", prompt="cat").is_error


def test_a_host_that_starts_it_in_the_root_folder_allows_no_file(service: str, photo: Path) -> None:
    assert "reads no files" in _refusal(_over_stdio(service, Path("/")), str(photo))


def test_over_http_urls_work_and_files_only_if_they_are_allowed(service: str, photo: Path, png: bytes) -> None:
    with _over_http(service, photo.parent) as url:
        data = f"data:image/png;base64,{base64.b64encode(png).decode()}"
        assert not _called(url, "segment_image", image=data, prompt="cat").is_error
        assert "reads no files" in _refusal(url, str(photo))
    with _over_http(service, photo.parent, "--allow", str(photo.parent)) as url:
        assert not _called(url, "segment_image", image=str(photo), prompt="cat").is_error


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "evil.example"}, 421), ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403)],
)
def test_a_page_of_another_site_cannot_call_the_tools(
    headers: dict[str, str], status: int, service: str, photo: Path
) -> None:
    with _over_http(service, photo.parent) as url:
        accepted = {"Accept": "application/json, text/event-stream"}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        assert httpx2.post(url, json=message, headers={**accepted, **headers}).status_code == status


@pytest.mark.parametrize("address", ["0.0.0.0:8765", "[::]:8765", "nowhere", "127.0.0.1:0", "127.0.0.1:99999"])
def test_an_address_that_cannot_be_protected_is_refused(address: str, service: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "maskq", "mcp", "--http", address]
    run = subprocess.run(
        command, env=_environment(service), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("name", ["missing", "photo.png"])
def test_what_is_no_folder_cannot_be_allowed(name: str, photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mcp", "--allow", str(photo.with_name(name))]) == ExitStatus.USAGE
    assert name in capsys.readouterr().err
