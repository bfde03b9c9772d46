"""The MCP server, over standard input and output or over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations

from maskq.async_client import AsyncClient
from maskq.errors import ConfigurationError
from maskq.mcp_server.images import NamedImages
from maskq.mcp_server.tools import Tools

_INSTRUCTIONS = (
    "Cuts objects out of images by name. Call segment_image with an image and a prompt of a few words such as"
    " `cat ; dog`; the answer shows what was found. Call get_masks only if the masks themselves are needed."
)
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def server_of(client: AsyncClient, folders: Iterable[Path]) -> MCPServer:
    """A server whose tools use this client and read files below these folders."""
    tools = Tools(client, NamedImages(folders))
    server: MCPServer = MCPServer("maskq", instructions=_INSTRUCTIONS, log_level="WARNING")
    creates = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True)
    reads = ToolAnnotations(read_only_hint=True, open_world_hint=False)
    server.tool(title="Cut objects out of an image", annotations=creates)(tools.segment_image)
    server.tool(title="Get masks", annotations=reads)(tools.get_masks)
    server.tool(title="List models", annotations=reads)(tools.list_models)
    return server


def serve_stdio(url: str | None, api_key: str | None, folders: Iterable[Path]) -> None:
    """Serve one host over standard input and output, until it closes the input."""

    async def serve() -> None:
        async with AsyncClient(url, api_key) as client:
            await server_of(client, folders).run_stdio_async()

    asyncio.run(serve())


def serve_http(url: str | None, api_key: str | None, folders: Iterable[Path], address: tuple[str, int]) -> None:
    """Serve hosts over streamable HTTP at `/mcp`, until the process is stopped. Requests with the host name or the
    origin of another site are refused, so that no page in a browser can call the tools."""

    async def serve() -> None:
        host, port = address
        async with AsyncClient(url, api_key) as client:
            await server_of(client, folders).run_streamable_http_async(
                host=host, port=port, transport_security=_allowed_names(host)
            )

    asyncio.run(serve())


def http_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`, or of `PORT` alone: then the host is 127.0.0.1.

    Raises:
        ConfigurationError: it is none, or stands for all addresses of the machine, whose names are not known.
    """
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"--http needs HOST:PORT, not {text!r}")
    if _is_every_address(host):
        raise ConfigurationError("--http needs one address: anybody who reaches it can use your API key")
    return host, int(port)


def _is_every_address(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _allowed_names(host: str) -> TransportSecuritySettings:
    names = [*_LOOPBACK, f"[{host}]" if ":" in host else host]
    origins = [f"http://{name}:*" for name in names]
    return TransportSecuritySettings(allowed_hosts=[f"{name}:*" for name in names], allowed_origins=origins)
