"""Several images at once, with an event loop: python examples/with_event_loop.py cat photo1.jpg photo2.jpg"""

import asyncio
import sys

from maskq import AsyncClient


async def main(prompt: str, paths: list[str]) -> None:
    """Print what each image shows, as soon as it is known."""
    async with AsyncClient() as maskq:
        async for path, outcome in maskq.map(paths, prompt):
            print(path, outcome)


asyncio.run(main(sys.argv[1], sys.argv[2:]))
