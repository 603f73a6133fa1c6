#!/usr/bin/python3
"""testmilter.py PORT HOST [PARCELS COPY]: "another milter of the site", in plain sockets (milter protocol 6, only what is needed).

It answers 451 4.7.1 to a RCPT whose address contains "later", or "grey-at-HOST" and is not known for 3 s (greylisting),
550 5.7.1 when it contains "never-ever",
and 554 5.7.1 at the end of a message whose body contains the word "REJECT-AT-HOST". All else passes.
A message for the address PARCELS gets the further recipient COPY: the archive of parcels, on a sendmail host.
It stands in front of our milter on port 25 and alone on the resubmission listener.
"""
import socketserver
import struct
import sys
import time

SKIP = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 | 0x100 | 0x200  # no connect, helo, mail, header, eoh, unknown, data


class Milter(socketserver.StreamRequestHandler):
    def reply(self, code, text=b""):
        self.wfile.write(struct.pack(">I", len(text) + 1) + code + text)
        self.wfile.flush()

    def handle(self):
        bad = parcel = False
        while len(length := self.rfile.read(4)) == 4:
            packet = self.rfile.read(struct.unpack(">I", length)[0])
            command, data = packet[:1], packet[1:]
            if command == b"O":
                version, _, protocol = struct.unpack(">III", data[:12])
                self.reply(b"O", struct.pack(">III", min(version, 6), ADD_RECIPIENT if COPY else 0, SKIP & protocol))
            elif command == b"R":
                address = data.split(b"\0", 1)[0]
                parcel = parcel or address == PARCELS
                if b"later" in address or GREY in address and time.monotonic() < FIRST_SEEN.setdefault(address, time.monotonic()) + 3:
                    self.reply(b"y", b"451 4.7.1 come back later\0")
                elif b"never-ever" in address:
                    self.reply(b"y", b"550 5.7.1 not this one\0")
                else:
                    self.reply(b"c")
            elif command == b"B":
                bad = bad or REFUSED in data
                self.reply(b"c")
            elif command == b"E":
                bad = bad or REFUSED in data
                if bad:
                    self.reply(b"y", b"554 5.7.1 content refused by testmilter\0")
                else:
                    if parcel and COPY:
                        self.reply(b"+", COPY + b"\0")
                    self.reply(b"c")
                bad = parcel = False
            elif command == b"A":
                bad = parcel = False
            elif command in b"DK":
                pass
            elif command == b"Q":
                return
            else:
                self.reply(b"c")


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


ADD_RECIPIENT = 0x04
PARCELS, COPY = (f"<{word}>".encode() for word in sys.argv[3:5]) if len(sys.argv) > 4 else (b"", b"")
FIRST_SEEN = {}
GREY = b"grey-at-" + sys.argv[2].encode()
REFUSED = b"REJECT-AT-" + sys.argv[2].encode()
Server(("127.0.0.1", int(sys.argv[1])), Milter).serve_forever()
