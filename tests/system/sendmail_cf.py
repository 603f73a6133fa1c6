#!/usr/bin/python3
"""sendmail_cf.py M4DIR: what FEATURE(`bsmtp') makes of many a sendmail.mc, asked of the real m4 and `sendmail -bt`.

Runs inside tests/system/in-sendmail-image (real Debian sendmail, its cf/ tree untouched, no network). Each site is
example.mc with lines put before or after the feature; each check is one line of output and one of the sum.
"""
import pathlib
import re
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

M4DIR = pathlib.Path(sys.argv[1])
WORK = pathlib.Path(tempfile.mkdtemp(prefix="sendmail-cf."))
FEATURE = "FEATURE(`bsmtp')dnl\n"
results = {True: 0, False: 0}

MAP = """\
# as bsmtpctl rules export --sendmail writes it
.domain.co.uk\tremote1.bsmtp.invalid
domain.co.uk\tremote1.bsmtp.invalid
.bsmtp.invalid\ttunnel
left.domain.co.uk\tdirect
.left.domain.co.uk\tdirect
abuse@athena.domain.co.uk\tdirect
bsmtp+*@athena.domain.co.uk\tdirect
bsmtp@athena.domain.co.uk\tdirect
postmaster@athena.domain.co.uk\tdirect
"""
ACCESS = "From:bad@evil.example\tREJECT\nTo:relayed.example\tRELAY\nTo:blocked@hub.domain.com\tREJECT\nConnect:127\tRELAY\n"


def check(what, condition, detail=""):
    results[bool(condition)] += 1
    print(f"  {'ok   ' if condition else 'FAIL '} {what}" + ("" if condition else f"\n        | {detail}"))


def run(*command, text=""):
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


class Site:
    def __init__(self, name, before="", after="", end="", feature=FEATURE, drop=()):
        self.name = name
        print(f"{name}:")
        mc = (M4DIR / "example.mc").read_text(encoding="ascii")
        mc = mc.replace("/usr/share/bsmtp-tunnel/m4", str(M4DIR))
        for line in drop:
            kept = [each for each in mc.splitlines(True) if not each.startswith(line)]
            assert len(kept) < mc.count("\n"), line
            mc = "".join(kept)
        assert FEATURE in mc
        mc = mc.replace(FEATURE, before + feature + after) + end
        self.mc = WORK / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.mc"
        self.mc.write_text(mc, encoding="ascii")
        done = run("m4", str(self.mc))
        self.errors, self.text = done.stderr, done.stdout
        self.cf = self.mc.with_suffix(".cf")
        self.cf.write_text(self.text, encoding="ascii")

    def lines(self, start):
        return [line for line in self.text.splitlines() if line.startswith(start)]

    def quiet(self):
        check("m4 has no complaint", not self.errors, self.errors)
        loaded = run("sendmail", f"-C{self.cf}", "-bt", text="=M\n")
        bad = [line for line in (loaded.stdout + loaded.stderr).splitlines()
               if re.search(r"error|warning|unknown|redefined", line, re.I) and "multiple definitions" not in line]
        check("sendmail loads it without complaint", not bad, "\n".join(bad))
        return self

    def test(self, *commands):
        done = run("sendmail", f"-C{self.cf}", "-bt", text="\n".join(commands) + "\n")
        return done.stdout + done.stderr

    def route(self, address):
        out = self.test(f"/parse {address}")
        found = re.search(r"^mailer (\S+?)(?:, host (\S*?))?(?:, user (.*))?$", out, re.M)
        return tuple(part or "" for part in found.groups()) if found else ("none", "", out[-300:])

    def goes(self, address, mailer, host=None, user=None):
        got = self.route(address)
        good = got[0] == mailer and (host is None or got[1] == host) and (user is None or got[2] == user)
        check(f"{address} -> {mailer}{' ' + host if host else ''}", good, got)

    def rcpt(self, address, daemon, client="127.0.0.1"):
        out = self.test(f".D{{daemon_name}}{daemon}", f".D{{client_addr}}{client}", ".D{mail_from}<alice@hub.domain.com>", f"check_rcpt <{address}>")
        returns = [line for line in out.splitlines() if re.match(r"check_rcpt\s+returns:", line)]
        return returns[-1].split("returns:")[1].strip() if returns else out[-300:]

    def takes(self, address, daemon="bsmtp-resubmit", client="127.0.0.1"):
        got = self.rcpt(address, daemon, client)
        check(f"{daemon} takes {address}", "# error" not in got, got)

    def refuses(self, address, daemon="bsmtp-resubmit", client="127.0.0.1"):
        got = self.rcpt(address, daemon, client)
        check(f"{daemon} refuses {address}", "# error" in got, got)

    def routes_as_ever(self):
        """The routing that must hold at every site."""
        tunnel = "remote1.bsmtp.invalid"
        self.goes("user@domain.co.uk", "bsmtp-out", tunnel, "user@domain.co.uk")
        self.goes("User+tag@sub.domain.co.uk", "bsmtp-out", tunnel, "User+tag@sub.domain.co.uk")
        self.goes("root@athena.domain.co.uk", "bsmtp-out", tunnel)
        self.goes("user%domain.co.uk@remote1.bsmtp.invalid", "bsmtp-out", tunnel, "user%domain.co.uk@remote1.bsmtp.invalid")
        self.goes("user%domain.co.uk@never.remote1.bsmtp.invalid", "bsmtp-out", "never." + tunnel)
        for address in ("bsmtp@athena.domain.co.uk", "bsmtp+x@athena.domain.co.uk", "bsmtp+a+b@athena.domain.co.uk",
                        "Postmaster@Athena.Domain.Co.UK", "user@elsewhere.example"):
            self.goes(address, "esmtp")
        self.goes("bsmtp@hub.domain.com", "bsmtp-in", "hub.domain.com", "bsmtp@hub.domain.com")
        self.goes("BSMTP@Hub.Domain.COM", "bsmtp-in")
        self.goes("bsmtp+token@hub.domain.com", "bsmtp-in", "hub.domain.com", "bsmtp+token@hub.domain.com")
        self.goes("root@hub.domain.com", "local")

    def stranger(self):
        """The listener for unpacked mail is no open relay and takes local mail, whatever the client's address."""
        self.takes("root@hub.domain.com")
        for address in ("victim@elsewhere.example", "victim%elsewhere.example@hub.domain.com", "elsewhere.example!victim@hub.domain.com",
                        '"victim@elsewhere.example"@hub.domain.com', "@hub.domain.com:victim@elsewhere.example",
                        "victim@[10.99.0.66]", "user@domain.co.uk"):
            self.refuses(address)
        self.takes("victim@elsewhere.example", "MTA-v4")
        self.refuses("victim@elsewhere.example", "MTA-v4", "192.0.2.7")
        for door in ("MTA-v4", "bsmtp-resubmit"):
            self.refuses("user%domain.co.uk@remote1.bsmtp.invalid", door)


def install(name, text):
    path = pathlib.Path("/etc/mail") / name
    path.write_text(text, encoding="ascii")
    made = run("makemap", "hash", str(path), text=text)
    assert made.returncode == 0, made.stderr


def example():
    site = Site("example.mc").quiet()
    check("one list of filters: ours", site.lines("O InputMailFilters") == ["O InputMailFilters=bsmtp"], site.lines("O InputMail"))
    check("its X line: F=T", any(re.match(r"Xbsmtp, S=unix:/run/bsmtp/milter.sock, F=T, ", x) for x in site.lines("X")), site.lines("X"))
    check("mailers run F=S and without l", all("F=S" in x and "l" not in re.search(r"F=(\w+)", x)[1] for x in site.lines("Mbsmtp-")) and
          len(site.lines("Mbsmtp-")) == 2, site.lines("Mbsmtp"))
    check("the site's daemons stay, ours is added", len(site.lines("O DaemonPortOptions")) == 3, site.lines("O Daemon"))
    site.routes_as_ever()
    site.goes("user@left.domain.co.uk", "esmtp")
    site.goes("user@x.left.domain.co.uk", "esmtp")
    site.goes("user@notdomain.co.uk", "esmtp")
    site.goes('"a b"@domain.co.uk', "bsmtp-out")
    site.goes("user@" + "a." * 90 + "domain.co.uk", "bsmtp-out")
    site.goes("user@[10.99.0.3]", "esmtp")
    site.goes("xbsmtp@hub.domain.com", "local")
    site.stranger()
    site.takes("user@relayed.example")
    site.refuses("blocked@hub.domain.com")
    site.refuses("blocked@hub.domain.com", "MTA-v4")


def filters():
    other = "INPUT_MAIL_FILTER(`other', `S=inet:10099@127.0.0.1, F=T')dnl\n"
    dkim = "INPUT_MAIL_FILTER(`opendkim', `S=unix:/run/opendkim/opendkim.sock')dnl\n"
    cases = {
        "filters before the feature": ({"before": dkim + other}, "opendkim,other,bsmtp", "opendkim;other"),
        "filters after the feature": ({"after": dkim + other}, "opendkim,other,bsmtp", "opendkim;other"),
        "filters on both sides": ({"before": dkim, "after": other}, "opendkim,other,bsmtp", "opendkim;other"),
        "filters after the mailers": ({"end": dkim}, "opendkim,bsmtp", "opendkim"),
        "list set before": ({"before": "MAIL_FILTER(`other', `S=inet:1@localhost')dnl\ndefine(`confINPUT_MAIL_FILTERS', `other')dnl\n"},
                            "other,bsmtp", "other"),
        "list set after, ours named first": ({"after": other + "define(`confINPUT_MAIL_FILTERS', `bsmtp, other')dnl\n"}, "other,bsmtp", "other"),
        "list emptied at the end": ({"after": other, "end": "define(`confINPUT_MAIL_FILTERS', `')dnl\n"}, "bsmtp", ""),
    }
    for name, (where, everywhere, inside) in cases.items():
        site = Site(name, **where).quiet()
        got = [re.sub(r"[ ]", "", line) for line in site.lines("O InputMailFilters")]
        check(f"port 25 runs {everywhere}", got == ["OInputMailFilters=" + everywhere], got)
        listener = [line for line in site.lines("O DaemonPortOptions") if "bsmtp-resubmit" in line]
        check(f"the listener runs '{inside}'", len(listener) == 1 and listener[0].endswith("InputMailFilters=" + inside), listener)


def sites():
    site = Site("no DAEMON_OPTIONS", drop=("DAEMON_OPTIONS", "FEATURE(`no_default_msa')")).quiet()
    doors = site.lines("O DaemonPortOptions")
    check("port 25 and 587 stay", any("Name=MTA" in d for d in doors) and any("Port=587" in d for d in doors), doors)
    check("the listener is there once", sum("bsmtp-resubmit" in d for d in doors) == 1, doors)

    ending = ["R$*\t\t\t$@ OK", "R$*\t\t\t$: $&{client_addr}\nR127.0.0.1\t\t$# OK", "R$*\t\t\t$# OK"]
    for number, rules in enumerate(ending):
        site = Site(f"own Local_check_rcpt that ends early {number}", end=f"LOCAL_RULESETS\nSLocal_check_rcpt\n{rules}\n").quiet()
        site.takes("root@hub.domain.com")
        site.refuses("victim@elsewhere.example")
        site.refuses("victim%elsewhere.example@hub.domain.com")
    site = Site("own Local_check_rcpt that refuses", end="LOCAL_RULESETS\nSLocal_check_rcpt\nR<root@$*>\t\t$#error $@ 5.7.1 $: \"550 no\"\n").quiet()
    site.refuses("root@hub.domain.com")

    site = Site("without access_db", drop=("FEATURE(`access_db'", "FEATURE(`blocklist_recipients'", "FEATURE(`delay_checks'")).quiet()
    site.routes_as_ever()
    site.stranger()
    site = Site("with mailertable and a smart host", before="FEATURE(`mailertable', `hash /etc/mail/mt')dnl\n", after="define(`SMART_HOST', `smart.example')dnl\n")
    site.quiet().goes("user@domain.co.uk", "bsmtp-out")
    site.goes("bsmtp@athena.domain.co.uk", "relay", "smart.example")
    site = Site("site class P", before="LOCAL_CONFIG\nCPSITE.INVALID FAX\ndivert(0)dnl\n", end="LOCAL_CONFIG\nCP LATE.INVALID\n").quiet()
    site.routes_as_ever()
    site.goes("user@x.site.invalid", "esmtp")
    site = Site("own LOCAL_RULE_0", end="LOCAL_RULE_0\nR$+ < @ $+ .co.uk. >\t$#esmtp $@ mx.example $: $1 < @ $2 .co.uk. >\n").quiet()
    site.goes("user@domain.co.uk", "bsmtp-out")
    site = Site("nocanonify, relay_entire_domain", before="FEATURE(`nocanonify')dnl\nFEATURE(`relay_entire_domain')dnl\n").quiet()
    site.routes_as_ever()
    site.takes("user@other.domain.com")
    site = Site("virtual and relay domains", before="FEATURE(`virtusertable', `hash /etc/mail/mt')dnl\nVIRTUSER_DOMAIN(`virtual.example')dnl\nRELAY_DOMAIN(`relay.example')dnl\n")
    site.quiet().takes("a@virtual.example")
    site.takes("a@relay.example")
    site.takes("a@sub.relay.example")
    site.refuses("victim@elsewhere.example")
    # The gateway's own name need not be a local domain; nobody else has a mailbox there.
    for kind, before in (("local", "LOCAL_DOMAIN(`gate.example')dnl\n"), ("relay", "RELAY_DOMAIN(`gate.example')dnl\n"),
                         ("virtual", "FEATURE(`virtusertable', `hash /etc/mail/virt')dnl\nVIRTUSER_DOMAIN(`gate.example')dnl\n")):
        site = Site(f"parcels for a {kind} domain", before=before, feature="FEATURE(`bsmtp', `host=gate.example')dnl\n").quiet()
        for address in ("bsmtp@gate.example", "BSMTP@GATE.EXAMPLE", "bsmtp+x@gate.example"):
            site.goes(address, "bsmtp-in", "gate.example")
            site.takes(address, "MTA-v4", "192.0.2.7")
    site = Site("masquerading", before="MASQUERADE_AS(`domain.com')dnl\nFEATURE(`masquerade_envelope')dnl\nFEATURE(`allmasquerade')dnl\nMASQUERADE_DOMAIN(`hub.domain.com')dnl\n").quiet()
    for address, expected in (("bsmtp+token@hub.domain.com", "hub.domain.com"), ("alice@hub.domain.com", "domain.com")):
        out = site.test(f"3,EnvFromSMTP,4 {address}").splitlines()
        got = [line for line in out if re.match(r"final\s+returns:", line)][-1].split("returns:")[1].replace(" ", "")
        check(f"reverse-path {address} is at {expected}", got == f"{address.split('@')[0]}@{expected}", got)


def arguments():
    feature = ("FEATURE(`bsmtp', `host=gate.example', `user=tunnel', `socket=inet:8899@127.0.0.1', `port=2600', `listen=127.0.0.9',\n"
               "`map=hash -o /etc/mail/other', `run-as=tun:tun', `agents=/opt/tunnel', `filter=tun', `daemon=tunnelback')dnl\n")
    site = Site("arguments", feature=feature).quiet()
    text = site.text
    for wanted in ("Xtun, S=inet:8899@127.0.0.1, F=T", "O InputMailFilters=tun\n", "Kbsmtp hash -o /etc/mail/other\n", "U=tun:tun", "P=/opt/tunnel/bsmtp-in,",
                   "Name=tunnelback, Family=inet, Addr=127.0.0.9, Port=2600"):
        check(f"has {wanted.strip()}", wanted in text)
    site.goes("tunnel+t@gate.example", "bsmtp-in", "gate.example", "tunnel+t@gate.example")
    site.goes("bsmtp@gate.example", "esmtp")
    site.goes("bsmtp@hub.domain.com", "local")
    site.refuses("victim@elsewhere.example", "tunnelback")
    site = Site("IPv6 listener", feature="FEATURE(`bsmtp', `listen=::1')dnl\n").quiet()
    check("Family=inet6", "Family=inet6, Addr=::1, Port=10027" in site.text)
    site.refuses("victim@elsewhere.example", client="IPv6:0:0:0:0:0:0:0:1")
    def form(site, flag, kind, option, times):
        lines = site.lines("Mbsmtp-")
        check(f"{kind} on both mailers", all(("z" in re.search(r"F=(\w+)", x)[1]) == flag and f"T=DNS/RFC822/{kind}" in x for x in lines) and
              len(lines) == 2 and site.text.count(option) == times, lines)
    form(Site("LMTP by default").quiet(), True, "SMTP", "--lmtp", 2)
    form(Site("pipe by one define", before="define(`BSMTP_PIPE')dnl\n").quiet(), False, "X-Unix", "--sender $g", 2)
    site = Site("mistyped argument", feature="FEATURE(`bsmtp', `sokcet=x')dnl\n")
    check("is named", 'unknown argument "sokcet"' in site.errors, site.errors)
    site = Site("MAILER without FEATURE", feature="dnl\n")
    check("is named", "needs FEATURE(bsmtp)" in site.errors, site.errors)


class Rules(socketserver.StreamRequestHandler):
    """bsmtp-milter's socketmap, and what may stand in its place."""
    mode, asked = "", []
    ANSWERS = {"one.depth.example": "OK %s%%domain.co.uk@remote1.bsmtp.invalid", "odd.example": "OK remote1.bsmtp.invalid"}

    def handle(self):
        while (length := self.rfile.read(1)):
            while not length.endswith(b":"):
                length += self.rfile.read(1)
            key = self.rfile.read(int(length[:-1]) + 1).decode()[:-1]
            Rules.asked.append(key)
            local, domain = key.split(" ", 1)[1].rsplit("@", 1)
            known = Rules.ANSWERS.get(domain.lower(), "OK direct")
            reply = {"": known % local if "%s" in known else known, "temporary": "TEMP later", "permanent": "PERM no", "not found": "NOTFOUND ",
                     "another word": "OK esmtp", "empty": "OK "}.get(Rules.mode, "")
            if Rules.mode == "hung":
                time.sleep(4)
            elif Rules.mode == "half an answer":
                self.wfile.write(b"9:OK dir")
            elif Rules.mode == "no netstring":
                self.wfile.write(b"OK direct\n")
            elif Rules.mode != "closed":
                self.wfile.write(f"{len(reply)}:{reply},".encode())
                continue
            return


class RulesServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def socketmap():
    path = str(WORK / "map.sock")
    feature = f"FEATURE(`bsmtp', `socketmap=-d2 unix:{path}')dnl\n"
    site = Site("socketmap", feature=feature)
    dead = ("user@domain.co.uk", "user@one.depth.example", "user@elsewhere.example", "bsmtp@athena.domain.co.uk")

    def keeps(why):
        for address in dead[:1] if why in ("hung", "half an answer") else dead:
            out = site.test(f"/parse {address}")
            check(f"{why}: {address} is kept", "4 . 3 . 5" in out and "mailer esmtp" not in out and "mailer bsmtp-out" not in out, out[-400:])
        site.goes("root@hub.domain.com", "local")
        site.goes("bsmtp+t@hub.domain.com", "bsmtp-in")
        site.goes("user%domain.co.uk@remote1.bsmtp.invalid", "bsmtp-out")

    keeps("no server")
    server = RulesServer(path, Rules)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.quiet()
    site.goes("User+x@one.depth.example", "bsmtp-out", "remote1.bsmtp.invalid.", "User+x%domain.co.uk@remote1.bsmtp.invalid")
    site.goes("x@odd.example", "bsmtp-out", "remote1.bsmtp.invalid", "x@odd.example")
    site.goes("user@elsewhere.example", "esmtp")
    site.goes("bsmtp@athena.domain.co.uk", "esmtp")
    check("the table is not asked where it says otherwise", site.route("user@domain.co.uk")[0] == "esmtp")
    check("one question for each address, case and quotes kept", "bsmtp_rules User+x@one.depth.example" in Rules.asked and
          Rules.asked.count("bsmtp_rules bsmtp@athena.domain.co.uk") == 1, Rules.asked)
    Rules.asked.clear()
    site.goes("root@hub.domain.com", "local")
    site.goes("user@[10.99.0.3]", "esmtp")
    site.goes("user%domain.co.uk@remote1.bsmtp.invalid", "bsmtp-out")
    check("class w, literals and diverted addresses need no answer", not Rules.asked, Rules.asked)
    site.test(".D{addr_type}e s", "3,0 user@elsewhere.example")
    check("senders neither", not Rules.asked, Rules.asked)
    site.route('"a b"@one.depth.example')
    check("quotes are kept", Rules.asked == ['bsmtp_rules "a b"@one.depth.example'], Rules.asked)
    for mode in ("temporary", "permanent", "not found", "another word", "empty", "closed", "no netstring", "half an answer", "hung"):
        Rules.mode = mode
        keeps(mode)
    Rules.mode = ""
    server.shutdown()
    server.server_close()


def source_routes():
    """Gone as a rule (@a,@b:u@c is u@c). A site that keeps them has no local part to ask the socketmap about."""
    path = str(WORK / "routes.sock")
    feature = f"FEATURE(`bsmtp', `socketmap=-d2 unix:{path}')dnl\n"
    routes = ("@one.depth.example:user@x.example", "@elsewhere.example,@one.depth.example:user@x.example")
    keeping = Site("source routes kept", before="define(`_USE_DEPRECATED_ROUTE_ADDR_')dnl\n", feature=feature)
    usual = Site("source routes stripped", feature=feature)

    def refused(why):
        for address in routes:
            got = keeping.route(address)
            check(f"{why}: {address} is refused", got[:2] == ("*error*", "5.1.3") and "source route" in got[2], got)

    refused("no server")
    server = RulesServer(path, Rules)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keeping.quiet()
    refused("with the server")
    keeping.goes("@hub.domain.com:user@one.depth.example", "bsmtp-out", "remote1.bsmtp.invalid.")
    keeping.goes("@hub.domain.com:root@hub.domain.com", "local")
    for site in (keeping, usual):
        site.goes("user@one.depth.example", "bsmtp-out", "remote1.bsmtp.invalid.")
    usual.goes("@elsewhere.example:user@one.depth.example", "bsmtp-out", "remote1.bsmtp.invalid.")
    server.shutdown()
    server.server_close()


def fails_closed():
    site = Site("map missing", feature="FEATURE(`bsmtp', `map=hash /etc/mail/nosuch')dnl\n")
    for address in ("user@domain.co.uk", "user@elsewhere.example"):
        out = site.test(f"/parse {address}")
        check(f"{address} is deferred", "mailer esmtp" not in out and "4 . 3 . 5" in out, out[-400:])
    site.goes("root@hub.domain.com", "local")
    site.goes("bsmtp+t@hub.domain.com", "bsmtp-in")


for user in ("bsmtp", "tun"):  # U= of a mailer must exist when sendmail reads the file
    run("useradd", "--system", "--user-group", user)
install("bsmtp", MAP)
install("access", ACCESS)
install("other", MAP)
install("virt", "@gate.example\terror:5.1.1:550 nobody here\n")
install("mt", "domain.co.uk\tesmtp:[wrong.example]\n")
pathlib.Path("/etc/mail/local-host-names").write_text("localhost\nhub.domain.com\ndomain.com\n", encoding="ascii")
for part in (example, filters, sites, arguments, socketmap, source_routes, fails_closed):
    part()
subprocess.run(["rm", "-rf", str(WORK)], check=False)
print(f"sendmail configuration: {results[True]} checks passed, {results[False]} failed")
sys.exit(results[False] > 0)
