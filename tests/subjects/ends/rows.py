# SPDX-License-Identifier: Apache-2.0
"""However a process ends, its figures are there."""
import random
import struct
import subprocess
import time

import pprof
from checks import nothing
from row import NEVER, SIGABRT, SIGKILL, SIGSEGV, SIGTERM, Row


def second_name(case, run):
    """The image before exec keeps its ledger under its name, the one after it gets the next."""
    case.equal("files", [f"heapmark.ends.{run.pid}-2.pb.gz", f"heapmark.ends.{run.pid}.ledger"],
               [path.name for path in run.files()])


class Counts:
    """struct counts of programs/counted.c, summed over its threads; index 0 objects, 1 bytes."""
    LAYOUT = struct.Struct("8Q")

    def __init__(self, path):
        threads = list(self.LAYOUT.iter_unpack(path.read_bytes()))
        numbers = [sum(column) for column in zip(*threads)]
        self.alloc_begun, self.alloc_done, self.free_begun, self.free_done = (numbers[i:i + 2] for i in (0, 2, 4, 6))

    def bounds(self):
        """[(lowest, highest)] for each figure."""
        alloc = list(zip(self.alloc_done, self.alloc_begun))
        freed = list(zip(self.free_done, self.free_begun))
        return alloc + [(allocs[0] - frees[1], allocs[1] - frees[0]) for allocs, frees in zip(alloc, freed)]


def killed_at_random(case):
    """Whenever the kill comes: the figures are those of what was done, give or take what had just begun."""
    chance = random.Random(1)
    counts_path = case.scratch / "counts"
    for number in range(200):
        process, output = start_counted(case, counts_path)
        time.sleep(chance.uniform(0, 0.015))
        process.kill()
        process.communicate()
        ledgers = list(output.glob("*.ledger"))
        case.equal(f"run {number}: ledgers", 1, len(ledgers))
        for path in ledgers:
            check_killed(case, f"run {number}", path, Counts(counts_path).bounds())
            path.unlink()
        if len(case.failures) > 10:
            break


def start_counted(case, counts_path):
    """Returns the process and its HEAPMARK_DIR, when it has begun."""
    output = case.scratch / "output"
    output.mkdir(exist_ok=True)
    environment = {"LD_PRELOAD": str(case.build.library), "HEAPMARK_RATE": "1", "HEAPMARK_DIR": str(output)}
    process = subprocess.Popen([case.program("counted"), counts_path], env=environment, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process, output


def check_killed(case, name, ledger, bounds):
    result = subprocess.run([case.build.tool, "dump", "-q", "-o", "-", ledger], capture_output=True)
    if result.returncode != 0:
        case.fail(f"{name}: heapmark dump: expected exit status 0, found {result.returncode}: "
                  f"{result.stderr.decode()}")
        return
    found = pprof.parse(pprof.gzip.decompress(result.stdout)).total("counted")
    for figure, value, (lowest, highest) in zip(pprof.TYPES, found, bounds):
        case.expect(lowest <= value <= highest, f"{name}: {figure}: expected {lowest} to {highest}, found {value}")


ROWS = [
    *(Row(f"ends: {mode}", f"ends {mode}", status=status, profiles=profiles, ledgers=1 - profiles)
      for mode, status, profiles in (
          ("return", 7, 1), ("exit", 7, 1), ("exit_from_thread", 7, 1), ("end_of_main_thread", 0, 1),
          ("_exit", 7, 0), ("_Exit", 7, 0), ("quick_exit", 7, 0), ("abort", SIGABRT, 0), ("fault", SIGSEGV, 0),
          ("SIGTERM", SIGTERM, 0), ("SIGKILL", SIGKILL, 0))),
    *(Row(f"ends: {mode}, nothing sampled", f"ends {mode}", NEVER, status=7, profiles=0, check=nothing)
      for mode in ("_exit", "_Exit", "quick_exit")),
    Row("ends: exec of another program", "ends exec_other", profiles=None, ledgers=1),
    Row("ends: exec of itself", "ends exec_self", status=7, ledgers=1),
    Row("ends: names after exec", "ends exec_self", status=7, ledgers=1, check=second_name),
    Row("ends: killed at 200 random instants", check=killed_at_random),
]
