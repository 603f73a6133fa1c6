#!/usr/bin/python3
"""Fails when an #include points the wrong way.

The allowed direction is what the bsmtp_library() calls in CMake say: a file may include its own
module and the modules in its DEPS. Nothing may include tests/, no third-party header may be used
by more modules than the table below allows. With --self-test the checker proves on a made-up tree
that it can fail.
"""
import os
import re
import sys
import tempfile

# Libraries with a trust or start-up cost: header prefix -> the modules that may use it.
CONFINED = {
    "gpgme.h": {"common/crypto"},
    "zlib.h": {"common/codec"},
    "isa-l/": {"common/codec"},
    "openssl/": {"common/digest", "common/crypto"},
    "libmilter/": {"milter"},
    "sqlite3.h": {"common/ledger"},
    "boost/": {"common/config", "milter", "mda/enqueue", "mda/dispatch", "mda/receive", "mda/ctl"},
}


def modules(root):
    """{module: set of deps} from all bsmtp_library() calls."""
    out = {}
    for folder in ("common", "milter", "mda"):
        path = os.path.join(root, folder, "CMakeLists.txt")
        if not os.path.exists(path):
            continue
        text = re.sub(r"#.*", "", open(path, encoding="utf-8").read())
        for call in re.findall(r"bsmtp_library\(([^)]*)\)", text):
            words = call.split()
            deps, mode = set(), None
            for word in words[1:]:
                if word in ("DEPS", "EXTERNAL"):
                    mode = word
                elif mode == "DEPS":
                    deps.add(word)
            out[words[0]] = deps
    return out


def cycles(deps):
    """Names of modules that reach themselves."""
    def reach(start):
        seen, todo = set(), list(deps.get(start, ()))
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo.extend(deps.get(module, ()))
        return seen
    return sorted(m for m in deps if m in reach(m))


def module_of(path, deps):
    folder = os.path.dirname(path)
    while folder:
        if folder in deps:
            return folder
        folder = os.path.dirname(folder)
    return None


def check(root):
    deps = modules(root)
    problems = [f"module {m} depends on itself" for m in cycles(deps)]
    files = 0
    for top in ("common", "milter", "mda"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if not name.endswith((".cc", ".h")):
                    continue
                files += 1
                path = os.path.relpath(os.path.join(folder, name), root)
                module = module_of(path, deps)
                if module is None:
                    problems.append(f"{path}: in no bsmtp_library() module")
                    continue
                # main.cc is the program, which may combine what its bsmtp_program() links.
                program = name == "main.cc"
                for number, line in enumerate(open(os.path.join(folder, name), encoding="utf-8"), 1):
                    found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
                    if not found:
                        continue
                    quoted, target = found.group(1) == '"', found.group(2)
                    for prefix, allowed in CONFINED.items():
                        if target.startswith(prefix) and module not in allowed:
                            problems.append(f"{path}:{number}: <{target}> belongs to {sorted(allowed)}")
                    if not quoted:
                        continue
                    other = module_of(target, deps)
                    if target.startswith("tests/"):
                        problems.append(f"{path}:{number}: includes a test file")
                    elif other is None:
                        problems.append(f"{path}:{number}: \"{target}\" is no path from the root")
                    elif other != module and other not in deps[module] and not program:
                        problems.append(f"{path}:{number}: {module} may not include {other}")
    if files == 0:
        problems.append("no source file found")
    return problems, files


def self_test():
    with tempfile.TemporaryDirectory() as root:
        os.makedirs(root + "/common/low")
        os.makedirs(root + "/common/high")
        with open(root + "/common/CMakeLists.txt", "w", encoding="utf-8") as f:
            f.write("bsmtp_library(common/low)\nbsmtp_library(common/high DEPS common/low)\n")
        with open(root + "/common/high/a.cc", "w", encoding="utf-8") as f:
            f.write('#include "common/low/b.h"\n')
        with open(root + "/common/low/b.h", "w", encoding="utf-8") as f:
            f.write("// nothing\n")
        assert check(root)[0] == [], check(root)
        with open(root + "/common/low/b.h", "w", encoding="utf-8") as f:
            f.write('#include "common/high/c.h"\n#include <gpgme.h>\n#include "tests/x.h"\n')
        assert len(check(root)[0]) == 3, check(root)
        with open(root + "/common/CMakeLists.txt", "a", encoding="utf-8") as f:
            f.write("bsmtp_library(common/low DEPS common/high)\n")
        assert any("depends on itself" in p for p in check(root)[0])


if __name__ == "__main__":
    self_test()
    found, count = check(sys.argv[1])
    for problem in found:
        print(problem)
    print(f"{count} files, {len(found)} wrong includes")
    sys.exit(1 if found else 0)
