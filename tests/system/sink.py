#!/usr/bin/python3
"""sink.py ADDRESS PORT DIRECTORY: an SMTP server that accepts everything and writes each message to a file

with X-Sink-From and X-Sink-To lines before it. The rest of the world, as far as the rig knows it."""
import asyncio
import itertools
import os
import sys

numbers = itertools.count(1)


async def session(reader, writer):
    def say(text):
        writer.write(text.encode() + b"\r\n")

    say("220 client.example.net sink")
    sender, recipients = "", []
    try:
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-client.example.net\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n250 SMTPUTF8\r\n")
            elif verb == b"MAIL":
                sender, recipients = line[10:].strip().decode("utf-8", "replace"), []
                say("250 2.1.0 ok")
            elif verb == b"RCPT":
                recipients.append(line[8:].strip().decode("utf-8", "replace"))
                say("250 2.1.5 ok")
            elif verb == b"DATA":
                say("354 go on")
                await writer.drain()
                lines = [f"X-Sink-From: {sender}\r\n".encode()] + [f"X-Sink-To: {r}\r\n".encode() for r in recipients]
                while (data := await reader.readline()) != b".\r\n":
                    if not data:
                        return
                    lines.append(data[1:] if data.startswith(b".") else data)
                name = f"{DIRECTORY}/{next(numbers):06d}"
                with open(name + ".tmp", "wb") as file:
                    file.writelines(lines)
                os.rename(name + ".tmp", name + ".eml")
                say("250 2.0.0 taken")
            elif verb == b"QUIT":
                say("221 2.0.0 bye")
                await writer.drain()
                return
            else:
                say("250 2.0.0 ok")
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(session, sys.argv[1], int(sys.argv[2]), limit=1 << 24)
    async with server:
        await server.serve_forever()


DIRECTORY = sys.argv[3]
asyncio.run(main())
