"""An LMTP client for agents that speak on standard input and output, as an MTA starts them."""
import smtplib
import socket
import subprocess


class Session:
    """One started agent with the session on a socket pair (Postfix spawn) or on two pipes
    (sendmail, F=z); use as a context. Reads replies, writes octets, never guesses."""

    def __init__(self, argv, pipes=False, preexec=None):
        if pipes:
            self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=subprocess.PIPE, preexec_fn=preexec)
            self.socket = None
            self.out, self.file = self.process.stdin, self.process.stdout
        else:
            self.socket, theirs = socket.socketpair()
            with theirs:
                self.process = subprocess.Popen(argv, stdin=theirs, stdout=theirs,
                                                stderr=subprocess.PIPE)
            self.socket.settimeout(60)
            self.file = self.out = self.socket.makefile("rwb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def reply(self):
        """All lines of the next reply, without CRLF; [] at the end."""
        lines = []
        while True:
            try:
                line = self.file.readline()
            except ConnectionResetError:  # ended with input unread
                line = b""
            if not line:
                return lines
            assert line.endswith(b"\r\n"), line
            lines.append(line[:-2].decode("ascii"))
            if line[3:4] != b"-":
                return lines

    def replies(self, count):
        return [self.reply()[-1] for _ in range(count)]

    def send(self, data):
        self.out.write(data)
        self.out.flush()

    def say(self, *commands):
        """Sends all commands at once; the last line of each reply."""
        self.send("".join(c + "\r\n" for c in commands).encode())
        return self.replies(len(commands))

    def hello(self):
        greeting = self.reply()
        self.send(b"LHLO mta.example\r\n")
        return greeting + self.reply()

    def message(self, sender, recipients, text):
        """MAIL, RCPTs and DATA pipelined; replies to them, and the final ones."""
        count = len(recipients)
        first = self.say(f"MAIL FROM:{sender}", *[f"RCPT TO:{r}" for r in recipients], "DATA")
        if not first[-1].startswith("354"):
            return first, []
        self.send(text.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        taken = sum(reply.startswith("250") for reply in first[1:1 + count])
        return first, self.replies(taken)

    def peak_kib(self):
        """The most memory that the agent has had resident."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

    def close(self):
        for stream in {self.file, self.out}:
            try:
                stream.close()
            except OSError:
                pass
        if self.socket:
            self.socket.close()

    def end(self):
        """Closes and returns the exit status."""
        self.close()
        return self.process.wait(60)


class LibraryClient(smtplib.LMTP):
    """Python's own client on the same socket: an implementation nobody here wrote."""

    def __init__(self, session):
        super().__init__(host="")
        self.sock, self.file = session.socket, session.file
        self.greeting = self.getreply()
