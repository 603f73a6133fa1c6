#!/usr/bin/python3
"""A slow link in user space: relays TCP between two MTAs at a given rate and round-trip time.

usage: link_proxy.py LISTEN_ADDR:PORT TARGET_ADDR:PORT [--rate 64000] [--rtt 0.6] [--stats FILE]

All connections share one link of RATE bit/s in each direction; every segment of at most 1,460
octets waits for its turn and then for half the round-trip time. A new connection costs one round
trip before its first octet, as a TCP handshake does; each segment is charged 40 octets of IP and
TCP header. Writes {"connections", "out", "in", "wire_out", "wire_in"} as JSON to FILE on SIGTERM
and on SIGUSR1.
"""
import argparse
import asyncio
import json
import signal

SEGMENT, HEADER, WINDOW = 1460, 40, 65536


class Direction:
    """One direction of the link, shared by all connections."""

    def __init__(self, rate, delay):
        self.rate, self.delay = rate, delay
        self.free_at = 0.0
        self.payload = self.wire = 0

    def schedule(self, octets):
        """The loop time at which a segment of this size has arrived."""
        loop = asyncio.get_running_loop()
        start = max(loop.time(), self.free_at)
        self.free_at = start + (octets + HEADER) * 8 / self.rate
        self.payload += octets
        self.wire += octets + HEADER
        return self.free_at + self.delay


async def pump(reader, writer, direction):
    """Relays until end of file; the two halves are separate so that delay does not block reading."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue()
    room = asyncio.Semaphore(WINDOW // SEGMENT)

    async def deliver():
        while True:
            when, data = await queue.get()
            await asyncio.sleep(max(0, when - loop.time()))
            room.release()
            if data is None:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    sender = asyncio.create_task(deliver())
    try:
        while data := await reader.read(SEGMENT):
            await room.acquire()
            queue.put_nowait((direction.schedule(len(data)), data))
        await room.acquire()
        queue.put_nowait((direction.schedule(0), None))
        await sender
    except (ConnectionError, OSError):
        sender.cancel()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("listen")
    parser.add_argument("target")
    parser.add_argument("--rate", type=float, default=64000)
    parser.add_argument("--rtt", type=float, default=0.6)
    parser.add_argument("--stats")
    arguments = parser.parse_args()
    target_host, target_port = arguments.target.rsplit(":", 1)
    listen_host, listen_port = arguments.listen.rsplit(":", 1)
    out = Direction(arguments.rate, arguments.rtt / 2)
    back = Direction(arguments.rate, arguments.rtt / 2)
    connections = 0

    def write_stats():
        if arguments.stats:
            with open(arguments.stats, "w", encoding="ascii") as f:
                json.dump({"connections": connections, "out": out.payload, "in": back.payload,
                           "wire_out": out.wire, "wire_in": back.wire}, f)

    async def serve(reader, writer):
        nonlocal connections
        connections += 1
        await asyncio.sleep(arguments.rtt)
        try:
            far_reader, far_writer = await asyncio.open_connection(target_host, int(target_port))
        except OSError:
            writer.close()
            return
        await asyncio.gather(pump(reader, far_writer, out), pump(far_reader, writer, back))
        for side in (writer, far_writer):
            side.close()

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, write_stats)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await asyncio.start_server(serve, listen_host, int(listen_port), limit=4 * SEGMENT)
    async with server:
        await stop.wait()
    write_stats()


asyncio.run(main())
