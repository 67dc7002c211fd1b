# SPDX-License-Identifier: Apache-2.0
"""One run of a command under a column, and the rounds in which all rows are run under all columns."""
import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Callable, NamedTuple

from bench import columns, figures

# Of one process, after which a column is given up for a row.
PATIENCE_SECONDS = 90

# What users may have set for themselves, and would change what is measured.
OF_THE_USER = ("HEAPMARK", "HEAPPROFILE", "TCMALLOC", "MALLOC_", "GLIBC_", "LD_", "DEBUGINFOD", "PYTHON")


class CannotRun(Exception):
    """Why this row is not there for this column."""


class Usage(NamedTuple):
    """What a process took, with all that it waited for; the memory is that of the largest of them."""
    wall_s: float
    cpu_s: float
    rss_kib: int


@dataclasses.dataclass
class Row:
    """run(runner) runs the load and returns its value."""
    name: str
    unit: str  # of the value
    run: Callable
    clock: str = "cpu"  # processor time, or "wall"
    is_program: bool = False  # one that people use, not a loop
    missing: str = ""  # why it cannot be measured here
    missing_under: dict = dataclasses.field(default_factory=dict)  # the same, by column


class Place:
    """Where the programs and the scratch space are.  Anybody may read it: some servers leave root."""

    def __init__(self, build, scratch):
        self.scratch = Path(scratch)
        self.scratch.chmod(0o755)
        self.programs = Path(build) / "tests/bench"
        self.tool = Path(build) / "tools/heapmark"
        self.library = self.lend(Path(build) / "preload/libheapmark.so")
        self.shim = self.lend(self.programs / "forward_shim.so")

    def lend(self, library):
        """A copy that everybody can read."""
        return Path(shutil.copy(library, self.scratch))

    def program(self, name):
        return str(self.programs / name)


class Runner:
    """Runs the commands of one cell in one round."""

    def __init__(self, place, column, scale):
        self.place = place
        self.column = column
        self.scale = scale * column.share
        self.usage = None
        self.processes = 1  # that the load has started one after the other
        self.output = place.scratch / "output"
        shutil.rmtree(self.output, ignore_errors=True)
        self.output.mkdir()
        self.output.chmod(0o777)

    def count(self, rounds):
        """Of the rounds of a loop, those that this column is given."""
        return max(64, int(rounds * self.scale))

    def filled(self, words):
        return [str(word).replace("{output}", str(self.output)) for word in words]

    def command(self, words):
        """A command behind the column's own, if it has one."""
        return self.filled([*self.column.prefix, *words])

    def start(self, words, user=None, has_prefix=True, **streams):
        """Starts a command under the column.  user: whose process it is to be, for subprocess."""
        settings = {**self.column.settings, "PYTHONMALLOC": "malloc"}
        report = self.output / "usage"
        timed = [self.place.program("timed"), report,
                 *self.filled(f"{name}={value}" for name, value in settings.items()),
                 *(self.command(words) if has_prefix else self.filled(words))]
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_USER)}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
        process = subprocess.Popen(list(map(str, timed)), env=environment, cwd=self.output, start_new_session=True,
                                   **streams, **(user or {}))
        process.report = report
        return process

    def finish(self, process):
        """Waits for the end, and remembers what the process took."""
        try:
            output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            end_all(process)
            raise CannotRun(f"not done after {PATIENCE_SECONDS} s") from None
        except BaseException:  # somebody ends us: nothing of ours goes on
            end_all(process)
            raise
        text = process.report.read_text() if process.report.exists() else ""
        process.report.unlink(missing_ok=True)
        found = re.fullmatch(r"status=(\d+) wall_s=([\d.]+) cpu_s=([\d.]+) rss_kib=(\d+)\n", text)
        if not found:
            raise CannotRun("could not be started")
        status = os.waitstatus_to_exitcode(int(found[1]))
        if status != 0:
            raise CannotRun(f"ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}")
        self.usage = Usage(float(found[2]), float(found[3]), int(found[4]))
        return output

    def run(self, words, **more):
        """Runs a command to its end; returns its standard output."""
        return self.finish(self.start(words, stdout=subprocess.PIPE, **more)).decode()

    def loop(self, words, **more):
        """The nanoseconds that one of our programs says a round took."""
        output = self.run(words, **more)
        return float(re.search(r"ns_per_round=([\d.]+)", output)[1])

    def files(self):
        return sorted(self.output.glob(self.column.pattern)) if self.column.pattern else []


def end_all(process):
    """Ends a process and all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def wait_for(process, condition, what):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if process.poll() is not None:
            raise CannotRun(f"{what} ended before it answered")
        if time.monotonic() > deadline:
            raise CannotRun(f"{what} did not answer within {PATIENCE_SECONDS} s")
        time.sleep(0.01)


def add_round(cell, row, runner):
    """Runs a row under a column and adds what came out to its cell."""
    column = runner.column
    try:
        value = row.run(runner)
    except CannotRun as reason:
        cell.clear()
        cell["missing"] = str(reason)
        return
    for name, measured in ("values", value), ("cpu_s", runner.usage.cpu_s), ("rss_kib", runner.usage.rss_kib):
        cell.setdefault(name, []).append(figures.rounded(measured))
    cell["processes"] = runner.processes
    if "files" not in cell:
        files = runner.files()
        cell["files"] = len(files)
        cell["file_bytes"] = sum(path.stat().st_size for path in files)
        if files and column.reader:
            cell["broken"] = columns.read_all(column, files)


def empty_cells(rows, all_columns):
    """{row: {column: {}}}, with the reason where there is nothing to run."""
    cells = {}
    for row in rows:
        cells[row.name] = {}
        for column in all_columns:
            if column.takes(row.name):
                missing = column.missing or row.missing or row.missing_under.get(column.name, "")
                cells[row.name][column.name] = {"missing": missing} if missing else {}
    return cells


def rounds_of(place, rows, all_columns, runs, scale):
    """Every row under every column in each round.  Returns the cells."""
    cells = empty_cells(rows, all_columns)
    start = time.monotonic()
    for number in range(1, runs + 1):
        for row in rows:
            seconds = int(time.monotonic() - start)
            print(f"[{seconds // 60}:{seconds % 60:02}] round {number} of {runs}: {row.name}", file=sys.stderr)
            for column in all_columns:
                cell = cells[row.name].get(column.name, {"missing": ""})
                if "missing" not in cell and number <= column.rounds_max:
                    add_round(cell, row, Runner(place, column, scale))
    return cells
