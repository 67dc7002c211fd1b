# SPDX-License-Identifier: Apache-2.0
"""usage: count_tests.py TESTLOG

Reads the log of a meson test run and prints on standard output "PASSED FAILED", on standard error what was
skipped.  A test that ends with a line "N passed, M failed" of its own counts as so many.
"""
import json
import re
import sys
from pathlib import Path

OWN_COUNT = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)


def count(test):
    """Returns (passed, failed) of one test."""
    own = OWN_COUNT.findall(test.get("stdout") or "")
    passed, failed = (int(number) for number in own[-1]) if own else (0, 0)
    if test["result"] in ("OK", "EXPECTEDFAIL"):
        return (passed, failed) if own else (1, 0)
    # It failed, whatever it counted before it did: a sanitizer speaks after the last line.
    return passed, max(failed, 1)


def main():
    log = Path(sys.argv[1])
    tests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    total_passed = total_failed = 0
    for test in tests:
        if test["result"] == "SKIP":
            print(f"skipped: {test['name']}", file=sys.stderr)
            continue
        passed, failed = count(test)
        total_passed += passed
        total_failed += failed
    if not tests:
        print(f"{log}: no test ran", file=sys.stderr)
        total_failed = 1
    print(total_passed, total_failed)


main()
