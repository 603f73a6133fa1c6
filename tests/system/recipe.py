#!/usr/bin/python3
"""recipe.py FILE HEADING [--run PROMPT=HOST]... [--replace OLD=NEW]...: types a document's commands on the rig.

Takes the fenced `console` blocks below the heading; a command stands after a prompt "NAME# " and may go on
in a here-document. Only prompts named by --run are typed, each on the rig host given; "both" stands for every
host named. Whatever a host exports as NAME.asc in /root reaches the others "by mail" before a `key import`, and
$HEARD is the fingerprint that the other admin "reads out" (the last output of `key fingerprint` elsewhere).
Stops at the first command that fails and shows it.
"""
import argparse
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def commands(text, heading):
    section, inside, level = [], False, len(heading) - len(heading.lstrip("#"))
    for line in text.splitlines():
        mark = re.match(r"(#+) ", line)
        if mark and line.strip() == heading:
            inside = True
        elif mark and inside and len(mark.group(1)) <= level and not line.startswith("#" * 7):
            break
        elif inside:
            section.append(line)
    if not section:
        sys.exit(f"recipe: no section '{heading}'")
    for block in re.findall(r"^```console\n(.*?)^```", "\n".join(section) + "\n", re.S | re.M):
        lines = block.splitlines()
        while lines:
            match = re.fullmatch(r"([a-z0-9]+)# (.*)", lines.pop(0))
            if not match:
                sys.exit("recipe: a line without prompt in: " + block)
            prompt, command = match.groups()
            here = re.search(r"<<-?\s*'?(\w+)'?", command)
            while here and lines:
                line = lines.pop(0)
                command += "\n" + line
                if line == here.group(1):
                    break
            while command.endswith("\\") and lines:
                command += "\n" + lines.pop(0)
            yield prompt, command


class Host:
    """A root shell per host that lives as long as the recipe, so that `cd` and variables last."""

    def __init__(self, name):
        self.name = name
        self.said = ""
        self.shell = subprocess.Popen([str(HERE / "on"), name, "bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, text=True)

    def run(self, command):
        self.shell.stdin.write(command + "\nprintf '\\n@@done %s\\n' $?\n")
        self.shell.stdin.flush()
        output = []
        for line in self.shell.stdout:
            if line.startswith("@@done "):
                return int(line.split()[1]), "".join(output).strip()
            output.append(line)
        return 255, "".join(output)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("heading")
    parser.add_argument("--run", action="append", required=True)
    parser.add_argument("--replace", action="append", default=[])
    parser.add_argument("--heard-from", action="append", default=[], help="HOST: also hears this host's fingerprint")
    parser.add_argument("--quiet", action="store_true")
    args = parser.parse_args()
    where = dict(item.split("=", 1) for item in args.run)
    hosts = {name: Host(name) for name in list(where.values()) + args.heard_from}
    for name in args.heard_from:
        hosts[name].said = hosts[name].run("bsmtpctl key fingerprint")[1]
    text = pathlib.Path(args.file).read_text(encoding="utf-8")
    for prompt, command in commands(text, args.heading):
        for item in args.replace:
            old, new = item.split("=", 1)
            command = command.replace(old, new)
        targets = [where[p] for p in where] if prompt == "both" else [where[prompt]] if prompt in where else []
        for name in targets:
            host = hosts[name]
            others = [other for other in hosts.values() if other is not host]
            if "key import" in command or "$HEARD" in command:
                for other in others:
                    exchange(other, host)
                heard = next((other.said for other in others if other.said), "")
                host.run(f"HEARD='{heard}'")
            code, output = host.run(command)
            if not args.quiet:
                print(f"{name}# {command}" + ("\n" + re.sub("^", "    ", output, flags=re.M) if output else ""))
            if code:
                sys.exit(f"recipe: on {name} this ended with {code}:\n  {command}\n{output}")
            if "key fingerprint" in command and not command.startswith("echo"):
                host.said = output.splitlines()[-1]
    for host in hosts.values():
        host.shell.stdin.close()
        host.shell.wait()


def exchange(source, target):
    listing = subprocess.run([str(HERE / "on"), source.name, "bash", "-c", "ls /root/*.asc 2>/dev/null || :"],
                             capture_output=True, text=True, check=True).stdout.split()
    for path in listing:
        data = subprocess.run([str(HERE / "on"), source.name, "cat", path], capture_output=True, check=True).stdout
        subprocess.run([str(HERE / "on"), target.name, "tee", path], input=data, stdout=subprocess.DEVNULL, check=True)


main()
