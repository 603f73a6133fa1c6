#!/usr/bin/python3
"""random_killer.py SEED MEAN-SECONDS LOG (as root in a host of the rig): kills (SIGKILL) one of the tunnel's processes or
all of the MTA at random moments and starts it again, until LOG.calm exists. LOG: one line per kill.
Its pid namespace is the host's own: it sees no process of another.
"""
import os
import random
import signal
import subprocess
import sys
import time

RNG, MEAN, LOG = random.Random(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
VICTIMS = ("bsmtp-out",) * 4 + ("bsmtp-in",) * 4 + ("bsmtp-dispatch",) * 4 + ("bsmtp-milter",) * 2 + ("mta",) * 2


def running(condition):
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and condition(os.readlink("/proc/%s/exe" % name)):
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
    return exe.startswith("/usr/lib/postfix/") or exe.endswith("/sendmail-mta")


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
        dead = kill(running(is_mta))
        time.sleep(RNG.uniform(0, 1))
        for _ in range(20):
            if systemctl("start", "postfix" if os.path.exists("/usr/lib/postfix") else "sendmail") == 0:
                break
            time.sleep(0.5)
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
