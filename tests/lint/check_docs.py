#!/usr/bin/python3
"""Holds documents against the code.

- every configuration key of schema.cc stands in docs/man/bsmtp.conf.5 and in docs/timers.md when
  it is a duration;
- every option of a program's main stands in its man page;
- every command of bsmtpctl that a document names is one, and bsmtpctl.8 has them all;
- every log event of common/log/events.cc stands in docs/operations.md;
- every man page passes groff without a warning;
- the table of RFC 2442 in docs/parcel-format.md has a test for every row, on the programs for those
  of the processor; it names only tests that exist, and every test of a file named for the RFC;
- the table of attacks in docs/security.md names each test of tests/program/hostile_*_test.py once;
- every relative link in README.md and docs/*.md leads to a file;
- no file tracked by git names machine paths or carries marks of unfinished work.
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = sys.argv[1]
PROBLEMS = []


def read(path):
    try:
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            return f.read()
    except FileNotFoundError:
        PROBLEMS.append(f"{path}: missing")
        return ""


def man_text(page):
    """A man page's source with roff's escaped hyphens undone."""
    return read("docs/man/" + page).replace("\\-", "-")


def check_keys():
    schema = read("common/config/schema.cc")
    keys = re.findall(r'\{"([a-z0-9-]+)",\s*Kind::(k\w+)', schema)
    if len(keys) < 40:
        PROBLEMS.append("schema.cc: the key table was not understood")
    page, timers = man_text("bsmtp.conf.5"), read("docs/timers.md")
    for key, kind in keys:
        if not re.search(r"(?m)^\.B.*(?<![a-z-])" + re.escape(key) + r"(?![a-z-])", page):
            PROBLEMS.append(f"docs/man/bsmtp.conf.5: key {key} is not described")
        if kind == "kDuration" and f"`{key}`" not in timers:
            PROBLEMS.append(f"docs/timers.md: timer {key} is missing")


def check_options():
    for source, page in (("milter/main.cc", "bsmtp-milter.8"), ("mda/enqueue/main.cc", "bsmtp-out.8"),
                         ("mda/receive/main.cc", "bsmtp-in.8"), ("mda/dispatch/main.cc", "bsmtp-dispatch.8")):
        folder = os.path.join(ROOT, os.path.dirname(source))
        options = set()
        for name in sorted(os.listdir(folder)):
            if name.endswith(".cc"):
                text = read(os.path.join(os.path.dirname(source), name))
                if "add_options()" in text:
                    options |= set(re.findall(r'\(\s*"([a-z][a-z-]+)(?:,\w)?"\s*,\s*(?:po|"|boost)', text))
        if not options:
            PROBLEMS.append(f"{source}: no options found")
        page_text = man_text(page)
        for option in sorted(options | {"config", "help", "version"}):
            if option not in ("recipient", "recipients") and "--" + option not in page_text:
                PROBLEMS.append(f"docs/man/{page}: option --{option} is not described")


def check_commands():
    commands = set(re.findall(r'\{"([a-z]+ [a-z]+|[a-z]+)",\s*"', read("mda/ctl/ctl_commands.cc")))
    if len(commands) < 30:
        PROBLEMS.append("ctl_commands.cc: the commands were not understood")
    page = re.sub(r'["\n]|\n\.BR? ', " ", man_text("bsmtpctl.8"))
    for command in sorted(commands):
        if command not in page:
            PROBLEMS.append(f"docs/man/bsmtpctl.8: {command} is not described")
    groups = {command.split()[0] for command in commands}
    for document in documents() + ["docs/man/" + name for name in os.listdir(os.path.join(ROOT, "docs/man"))]:
        text = read(document).replace("\\-", "-")
        for group, word in re.findall(r"\bbsmtpctl ([a-z]+)(?: ([a-z]+)\b)?", text):
            if group in groups and group not in commands and word and f"{group} {word}" not in commands:
                PROBLEMS.append(f"{document}: bsmtpctl has no command {group} {word}")


def check_events():
    events = set(re.findall(r'emit\(Level::k\w+,\s*[\w"-]+,\s*"([a-z-]+)"', read("common/log/events.cc")))
    if len(events) < 20:
        PROBLEMS.append("events.cc: the events were not understood")
    operations = read("docs/operations.md")
    for event in sorted(events):
        if f"`{event}`" not in operations:
            PROBLEMS.append(f"docs/operations.md: event {event} is not described")


def check_man():
    folder = os.path.join(ROOT, "docs/man")
    pages = sorted(os.listdir(folder))
    for page in pages:
        run = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", os.path.join(folder, page)],
                             capture_output=True, text=True, check=False)
        if run.returncode != 0 or run.stderr.strip():
            PROBLEMS.append(f"docs/man/{page}: {run.stderr.strip()[:300]}")
    if len(pages) < 7:
        PROBLEMS.append(f"docs/man: {len(pages)} pages, seven expected")


def documents():
    found = ["README.md", "CHANGELOG.md"]
    for folder, _, names in os.walk(os.path.join(ROOT, "docs")):
        found += [os.path.relpath(os.path.join(folder, n), ROOT) for n in names if n.endswith(".md")]
    return found


def check_links():
    for document in documents():
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", read(document)):
            if "://" in target:
                continue
            path = os.path.normpath(os.path.join(ROOT, os.path.dirname(document), target))
            if not os.path.exists(path):
                PROBLEMS.append(f"{document}: link to {target} leads nowhere")


def tests_in(path):
    """Names of the tests in a GoogleTest or unittest file."""
    text = read(path)
    if path.endswith(".cc"):
        return set(re.findall(r"(?m)^TEST(?:_F|_P)?\(\w+,\s*(\w+)\)", text))
    return set(re.findall(r"(?m)^ +def (test_\w+)\(", text))


def check_rfc2442():
    page = "docs/parcel-format.md"
    rows = re.findall(r"(?m)^\| ([GTP]\d+) \|[^|]*\|(.*)\|$", read(page))
    expected = ([f"G{n}" for n in range(1, 13)] + ["T1", "T2"] + [f"P{n}" for n in range(1, 14)])
    if [row for row, _ in rows] != expected:
        PROBLEMS.append(f"{page}: the rows of RFC 2442 are not {expected[0]} to {expected[-1]}, each once")
    named = {}
    for row, cell in rows:
        tests = re.findall(r"`(\S+) (\w+)`", cell)
        for file, test in tests:
            named.setdefault("tests/" + file, set()).add(test)
        if not tests or len(tests) != cell.count("`") // 2:
            PROBLEMS.append(f"{page}: row {row}: not a list of `file test`")
        if (row[0] == "P" or row == "T2") and not any(file.startswith("program/") for file, _ in tests):
            PROBLEMS.append(f"{page}: row {row} is not asserted on the programs")
    for path, tests in sorted(named.items()):
        for test in sorted(tests - tests_in(path)):
            PROBLEMS.append(f"{page}: {path} has no test {test}")
    for folder, _, names in os.walk(os.path.join(ROOT, "tests")):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), ROOT)
            if re.fullmatch(r"rfc2442\w*\.(cc|py)", name):
                for test in sorted(tests_in(path) - named.get(path, set())):
                    PROBLEMS.append(f"{page}: {test} of {path} stands in no row")


def check_hostile():
    page = "docs/security.md"
    section = read(page).partition("## Attacks, and the tests that try them")[2].partition("\n## ")[0]
    named = re.findall(r"`(test_\w+)`", section)
    there = set()
    for name in sorted(os.listdir(os.path.join(ROOT, "tests/program"))):
        if re.fullmatch(r"hostile_\w+_test\.py", name):
            there |= tests_in("tests/program/" + name)
    for test in sorted(set(named) ^ there):
        PROBLEMS.append(f"{page}: {test} " + ("is no test" if test in named else "stands in no row"))
    for test in sorted({t for t in named if named.count(t) > 1}):
        PROBLEMS.append(f"{page}: {test} stands in two rows")


def check_tree():
    if not os.path.isdir(os.path.join(ROOT, ".git")):
        return
    files = subprocess.run(["git", "-c", "safe.directory=*", "-C", ROOT, "ls-files"],
                           capture_output=True, text=True, check=True).stdout.split("\n")
    # Written in pieces, so that this file does not find itself.
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    paths = re.compile(r"/wo" + r"rk/|/tm" + r"p/b-|\.\./sha" + r"red/(?!corpus)")
    for name in files:
        if not name.endswith((".cc", ".h", ".py", ".sh", ".md", ".txt", ".in")):
            continue
        for number, line in enumerate(read(name).split("\n"), 1):
            if marks.search(line):
                PROBLEMS.append(f"{name}:{number}: mark of unfinished work")
            if paths.search(line):
                PROBLEMS.append(f"{name}:{number}: path of one machine")


check_keys()
check_options()
check_commands()
check_events()
if shutil.which("groff"):
    check_man()
check_links()
check_rfc2442()
check_hostile()
check_tree()
for problem in PROBLEMS:
    print(problem)
print(f"{len(PROBLEMS)} problems")
sys.exit(1 if PROBLEMS else 0)
