"""Makes tools for agents of a service with FastMCP, calls them, and prints what happened as JSON. Runs in the
environment of that tool, without maskq: python fastmcp_tools.py URL API_KEY, in a folder with `image.png`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx2
from fastmcp import Client, FastMCP


async def _call(url: str, key: str, image: str) -> dict[str, Any]:
    async with httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        document = (await http.get("/openapi.json")).json()
        async with Client(FastMCP.from_openapi(document, http)) as client:
            tools = {tool.name: tool.model_dump(mode="json", by_alias=True) for tool in await client.list_tools()}
            submitted = await client.call_tool(
                "submit_job", {"prompt": "cat", "image_url": image, "ref": "agent", "mask_format": ["rle", "polygon"]}
            )
            job = submitted.structured_content
            ended = await client.call_tool("get_job", {"job_id": job["id"], "wait": 30})
            models = await client.call_tool("list_models", {})
            refused = await client.call_tool("submit_job", {"prompt": "cat"}, raise_on_error=False)
    return {
        "tools": tools,
        "ended": ended.structured_content,
        "models": models.structured_content,
        "refused": refused.content[0].text,
    }


if __name__ == "__main__":
    content = base64.b64encode(Path("image.png").read_bytes()).decode()
    print(json.dumps(asyncio.run(_call(sys.argv[1], sys.argv[2], f"data:image/png;base64,{content}"))))
