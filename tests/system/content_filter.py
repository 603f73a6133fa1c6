#!/usr/bin/python3
"""content_filter.py PORT NEXT-PORT HOST: a content filter as amavis is one, on 127.0.0.1.

It relays each SMTP command to NEXT-PORT and each reply back, puts "X-Rig-Filter: HOST" before a message, and refuses
one that contains the word VIRUS with 554 5.7.0.
"""
import socketserver
import sys
import smtplib

HIDDEN = (b"PIPELINING", b"CHUNKING", b"STARTTLS", b"XFORWARD")


class Session(socketserver.StreamRequestHandler):
    def say(self, code, text):
        lines = text.split(b"\n")
        for n, line in enumerate(lines):
            self.wfile.write(b"%d%s%s\r\n" % (code, b" " if n == len(lines) - 1 else b"-", line))

    def message(self):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return None
            lines.append(line)
        return b"".join(lines)

    def handle(self):
        with smtplib.SMTP("127.0.0.1", NEXT, local_hostname="filter") as behind:
            self.say(220, b"content filter")
            while line := self.rfile.readline():
                verb = line[:4].upper()
                code, text = behind.docmd(line.decode("utf-8", "surrogateescape").rstrip("\r\n"))
                if verb == b"EHLO":
                    text = b"\n".join(word for word in text.split(b"\n") if not word.startswith(HIDDEN))
                self.say(code, text)
                if verb == b"QUIT":
                    return
                if verb != b"DATA" or code != 354:
                    continue
                message = self.message()
                if message is None:
                    return
                if b"VIRUS" in message:
                    # Dropped without the end of data, so that nothing passes on.
                    self.say(554, b"5.7.0 content refused by the filter")
                    return
                behind.sock.sendall(b"X-Rig-Filter: " + HOST + b"\r\n" + message + b".\r\n")
                self.say(*behind.getreply())


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


NEXT, HOST = int(sys.argv[2]), sys.argv[3].encode()
Server(("127.0.0.1", int(sys.argv[1])), Session).serve_forever()
