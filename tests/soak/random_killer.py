#!/usr/bin/python3
"""random_killer.py SEED MEAN-SECONDS LOG (as root in a host of the rig): kills (SIGKILL) one of the tunnel's processes or
all of the MTA at random moments and starts it again, until LOG.calm exists; of sendmail, which is a process for each
connection, message and queue run, every second time one process alone. LOG: one line per kill.
Its pid namespace is the host's own: it sees no process of another.
"""
import os
import random
import signal
import subprocess
import sys
import time

RNG, MEAN, LOG = random.Random(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
MTA = "postfix" if os.path.exists("/usr/lib/postfix") else "sendmail"
VICTIMS = ("bsmtp-out",) * 4 + ("bsmtp-in",) * 4 + ("bsmtp-dispatch",) * 4 + ("bsmtp-milter",) * 2 + ("mta",) * 2


def running(condition, title=""):
    """Pids of the processes whose program meets the condition and whose command line has that title in it."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and condition(os.readlink("/proc/%s/exe" % name)):
                with open("/proc/%s/cmdline" % name, encoding="utf-8", errors="replace") as line:
                    if title in line.read():
                        found.append(int(name))
        except OSError:
            pass
    return found


def kill(pids):
    killed = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    return killed


def is_mta(exe):
    return exe.startswith("/usr/lib/postfix/") or exe in ("/usr/libexec/sendmail/sendmail", "/usr/bin/procmail")


def start_mta():
    for _ in range(20):
        if systemctl("is-active", MTA) == 0 or systemctl("start", MTA) == 0:
            break
        time.sleep(0.5)
    if MTA == "sendmail" and not running(is_mta, "mqueue-client"):
        subprocess.run(["/usr/sbin/sendmail-msp", "-L", "sm-msp-queue", "-Ac", "-q2s"], stdin=subprocess.DEVNULL, check=False)


def systemctl(verb, unit):
    return subprocess.run(["systemctl", verb, unit], capture_output=True, check=False).returncode


def strike(victim):
    """True when something died."""
    if victim in ("bsmtp-out", "bsmtp-in"):
        # Started by the MTA, alive for a few milliseconds: waits for one, then for a moment of its life.
        end = time.time() + 5
        while time.time() < end:
            pids = running(lambda exe: os.path.basename(exe) == victim)
            if pids:
                time.sleep(RNG.expovariate(1 / 0.01))
                return kill(pids) > 0
            time.sleep(0.002)
        return False
    if victim == "mta":
        pids = running(is_mta)
        if MTA == "sendmail" and pids and RNG.random() < 0.5:
            pids = [RNG.choice(pids)]
        dead = kill(pids)
        time.sleep(RNG.uniform(0, 1))
        start_mta()
        return dead > 0
    dead = systemctl("kill", victim) == 0
    time.sleep(RNG.uniform(0, 0.5))
    systemctl("start", victim)
    return dead


while not os.path.exists(LOG + ".calm"):
    time.sleep(RNG.expovariate(1 / MEAN))
    chosen = RNG.choice(VICTIMS)
    if strike(chosen):
        with open(LOG, "a", encoding="ascii") as log:
            log.write("%.3f %s\n" % (time.time(), chosen))
