"""A receiver of webhooks in a process of its own: notes when the first byte of each call came, and of which incident."""

import asyncio
import re
import sys
import time

_INCIDENT = re.compile(rb'"incident_id":\s*"([0-9a-f-]{36})"')
_LENGTH = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    first = await reader.read(1)
    at = time.time()
    if first:
        head = first + await reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(head)
        body = await reader.readexactly(int(found[1])) if found else b""
        writer.write(_OK)
        await writer.drain()
        incident = _INCIDENT.search(body)
        print(f"{at!r} {incident[1].decode() if incident else '-'}", flush=True)
    writer.close()


async def main() -> None:
    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    threading_end = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    async with server:
        await threading_end


if __name__ == "__main__":
    asyncio.run(main())
