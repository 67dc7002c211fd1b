# SPDX-License-Identifier: Apache-2.0
"""The heap at its high-water mark: what programs know of their own peaks, against `heapmark dump --peak`."""
import math
import statistics
import subprocess

import pprof
from case import TIMEOUT_SECONDS, clean_environment
from row import SIGKILL, SUPERVISED, Row

SIGMAS = 4
SEEDS = range(1, 40, 2)
# preload/peak.h: with one thread, and with several, whose samples in flight add one block of each.
ALONE, THREADS = 64 / 65, 0.969 * (1 - 1 / 3000)


def peaks_said(run):
    """A list for each process: {site: (objects, bytes)} when it had the most."""
    processes = []
    for line in run.lines():
        _, site, objects, size_bytes = line.split()
        if not processes or site in processes[-1]:
            processes.append({})
        processes[-1][site] = (int(objects), int(size_bytes))
    return processes


def dump_peak(case, run, ledger):
    path = run.output.parent / f"{ledger.stem}.peak.pb.gz"
    result = subprocess.run([case.build.tool, "dump", "--peak", "-o", path, ledger], env=clean_environment(),
                            capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    case.equal("exit status of dump --peak", 0, result.returncode)
    case.expect("in use at the high-water mark" in result.stderr, f"dump --peak says {result.stderr!r}")
    check = subprocess.run([case.build.tool, "check", path], env=clean_environment(), capture_output=True, text=True,
                           timeout=TIMEOUT_SECONDS)
    case.equal("exit status of check", (0, ""), (check.returncode, check.stderr))
    return pprof.read(path)


def at_least(share):
    """
    All sites together have at least that share of what they have said, and none has more.  (A site may be short of
    all that grew between the mark and the peak.)
    """
    def check(case, run):
        said = peaks_said(run)
        ledgers = sorted(run.files("ledger"), key=lambda path: int(path.name.split(".")[2]))
        case.equal("ledgers", len(said), len(ledgers))
        for sites, ledger in zip(said, ledgers):
            profile, ordinary = dump_peak(case, run, ledger), run.profile(ledger)
            expected = sum(size_bytes for _, size_bytes in sites.values())
            found = {site: profile.total(site, among=sites) for site in sites}
            total = sum(figures.inuse_space for figures in found.values())
            case.expect(share * expected <= total <= expected,
                        f"bytes at the peak: expected {expected}, at least {share:.3f} of it, found {total}")
            for site, (objects, size_bytes) in sites.items():
                figures = found[site]
                if share == 1:
                    case.equal(f"{site} at the peak", (objects, size_bytes), figures[2:])
                case.expect(figures.inuse_objects <= objects and figures.inuse_space <= size_bytes,
                            f"{site} at the peak: expected at most {objects}, {size_bytes}, found {figures[2:]}")
                case.equal(f"{site} allocated", ordinary.total(site, among=sites)[:2], figures[:2])
            case.expect("#heapmark.inuse=peak" in profile.comments, "no comment says that this is the peak")
            case.expect("#heapmark.inuse=peak" not in ordinary.comments, "a comment says that now is the peak")
            for one in (profile, ordinary):
                case.equal("#heapmark.peak_bytes", [str(profile.total().inuse_space)],
                           [line.split("=")[1] for line in one.comments if line.startswith("#heapmark.peak_bytes=")])
    return check


def sampled(case):
    """At 64K: within 4 standard deviations, one by one and their mean, over 20 seeds."""
    rate_bytes, count, size_bytes = 64 * 1024, 3000, 2000
    p = 1 - math.exp(-(size_bytes + 1) / rate_bytes)
    deviation = size_bytes * math.sqrt(count * (1 - p) / p)
    scores = []
    for seed in SEEDS:
        run = case.run("heights middle-killed", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": str(seed)} | SUPERVISED)
        profile = dump_peak(case, run, *run.files("ledger"))
        scores.append((profile.total("height_base").inuse_space - count * size_bytes) / deviation)
        case.expect(abs(scores[-1]) <= SIGMAS, f"seed {seed}: {scores[-1]:+.2f} standard deviations off")
        case.equal("the spike, which is always sampled", 3000000, profile.total("height_spike").inuse_space)
    mean, bound = statistics.fmean(scores), SIGMAS / math.sqrt(len(scores))
    case.expect(abs(mean) <= bound, f"mean: expected within {bound:.2f} standard deviations, found {mean:+.2f}")


def height(mode, share, ledgers=1, **rest):
    return Row(f"peak: {mode}", f"heights {mode}", SUPERVISED, profiles=0, ledgers=ledgers, check=at_least(share),
               **rest)


ROWS = [
    height("ramp", ALONE),
    height("middle", 1),
    height("middle-killed", 1, status=SIGKILL),
    height("bound", ALONE),
    height("sawtooth", 1),
    height("resize", 1),
    height("threads", THREADS),
    height("family", 1, ledgers=2),
    Row("peak: sampled", check=sampled),
]
