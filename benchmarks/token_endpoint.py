"""The naive bot's model: the same tokens as `token_source` says, over HTTP. `python -m benchmarks.token_endpoint`.

It prints the port that it listens on.
"""

from __future__ import annotations

import asyncio

from aiohttp import web

from benchmarks.token_source import TOKENS_PER_S


async def answer(request: web.Request) -> web.StreamResponse:
    """A token a line."""
    *_, word, tokens = (await request.text()).split()
    response = web.StreamResponse()
    await response.prepare(request)
    loop = asyncio.get_running_loop()
    began = loop.time()
    for said in range(int(tokens)):
        await asyncio.sleep(max(0.0, began + said / TOKENS_PER_S - loop.time()))
        await response.write(f"{word} \n".encode())
    return response


async def main() -> None:
    """Listen without end."""
    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
