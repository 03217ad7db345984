"""A TCP relay that passes every chunk on a while after it came: `delay_relay.py HOST:PORT SECONDS`.

Prints the port that it listens on at the loopback interface. It shares no code with the lab.
"""

import asyncio
import sys


async def pump(reader, writer, delay):
    """What came at t leaves at t + delay, however much comes meanwhile."""
    loop = asyncio.get_running_loop()
    waiting = asyncio.Queue()

    async def read():
        while data := await reader.read(1 << 16):
            waiting.put_nowait((loop.time() + delay, data))
        waiting.put_nowait((loop.time() + delay, b""))

    async def write():
        while True:
            when, data = await waiting.get()
            await asyncio.sleep(max(0.0, when - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    await asyncio.gather(read(), write())


async def main(upstream, delay):
    host, port = upstream.rsplit(":", 1)

    async def serve(reader, writer):
        there, back = await asyncio.open_connection(host, int(port))
        await asyncio.gather(
            pump(reader, back, delay), pump(there, writer, delay), return_exceptions=True
        )

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2])))
