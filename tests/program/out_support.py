"""A spool and a configuration for tests of the real bsmtp-out, and ways to run it."""
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

PEER = "remote1"
CONFIG = """host = hub.domain.com
spool-directory = {spool}
free-percent-enqueue = 0
{extra}
[peer.remote1]
host = athena.domain.co.uk
recipient-domains = *
openpgp-key = 0123456789ABCDEF0123456789ABCDEF01234567
[peer.remote2]
host = other.example
recipient-domains = *
openpgp-key = 1123456789ABCDEF0123456789ABCDEF01234567
"""


def needed_libraries(program):
    """Shared libraries that the dynamic loader would have to find, by readelf."""
    dynamic = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True)
    return re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic.stdout)


def is_sanitized(program):
    return any("san.so" in name for name in needed_libraries(program))


def spool_calls(lines):
    """How often each call that changes a spool stands in these lines of strace -y."""
    text = "\n".join(lines)
    return {
        "create": len(re.findall(r"O_CREAT", text)),
        "write": len(re.findall(r"\bp?write(?:64)?\(", text)),
        "fsync": len(re.findall(r"\bf(?:data)?sync\(", text)),
        "rename": len(re.findall(r"\brename", text)),
        "unlink": len(re.findall(r"\bunlink", text)),
    }


class Site:
    """A private spool; use as a context."""

    def __init__(self, program, extra="", parent=None):
        self.program = program
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bsmtp-out-", dir=parent))
        self.spool = self.dir / "spool"
        self.peer = self.spool / "peers" / PEER
        for name in ("tmp", "incoming", "building", "ready", "sent", "held", "failed"):
            (self.peer / name).mkdir(parents=True)
        (self.spool / "VERSION").write_text("bsmtp-spool 1\n")
        self.config = self.dir / "bsmtp.conf"
        self.config.write_text(CONFIG.format(spool=self.spool, extra=extra))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.dir, ignore_errors=True)

    def command(self, *recipients, sender="alice@domain.com", peer=PEER, options=()):
        argv = [str(self.program), "--config", str(self.config)]
        if peer is not None:
            argv += ["--peer", peer]
        argv += list(options) + ["--sender", sender, "--"]
        return argv + list(recipients or ("user%domain.co.uk@remote1.bsmtp.invalid",))

    def run(self, message, *recipients, **how):
        return subprocess.run(self.command(*recipients, **how), input=message,
                              capture_output=True, timeout=120, check=False)

    def items(self):
        return sorted((self.peer / "incoming").iterdir())

    def left_over(self):
        return os.listdir(self.peer / "tmp")


def text_of(item):
    """The message as stored: unstuffed, CRLF."""
    data = item.read_bytes()
    head, text = data.split(b"\r\nDATA\r\n", 1)
    assert text.endswith(b"\r\n.\r\n") or text == b".\r\n", text[-20:]
    lines = text[:-3].split(b"\r\n")
    return head, b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)
