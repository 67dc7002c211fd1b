# SPDX-License-Identifier: Apache-2.0
"""Tables that are full: totals stay right, and what was lost is told."""
import subprocess

import pprof
from checks import cut_to
from row import SUPERVISED, Row


def lossy_totals(case, run, site, loss):
    """What had no room is under a name of its own: the sum of what was allocated stays right."""
    (truth,) = run.truth().values()
    profile = run.only_profile()
    parts = [profile.total(name) for name in (site, "[overflow]", "[dropped]")]
    total = sum(parts, pprof.Figures())
    lost = parts[1] + parts[2]
    case.equal(f"alloc_objects of {site}, [overflow] and [dropped]", truth[site][0], total.alloc_objects)
    case.equal(f"alloc_space of {site}, [overflow] and [dropped]", truth[site][1], total.alloc_space)
    case.expect(0 < lost.alloc_objects < truth[site][0], f"expected a part to be lost, found {lost.alloc_objects}")
    case.equal(f"loss.{loss}", lost.alloc_objects, profile.losses.get(loss, 0))
    words = f"{profile.losses.get(loss, 0)} samples without room"
    case.expect(any(words in comment for comment in profile.comments), f"no comment says: {words}")
    for path in run.files():
        shown = subprocess.run([run.tool, "check", path], capture_output=True, text=True).stdout
        case.expect(words in shown, f"heapmark check does not say: {words}")
        if path.suffix == ".ledger":
            limit_bytes = int(run.environment["HEAPMARK_MAX"].removesuffix("K")) * 1024
            case.expect(path.stat().st_size <= limit_bytes, f"size of the ledger: expected at most {limit_bytes}, "
                                                            f"found {path.stat().st_size}")
    return total


def lost_stacks(case, run):
    """A sample without a stack of its own is followed to its free all the same."""
    (truth,) = run.truth().values()
    total = lossy_totals(case, run, "at_many_stacks", "stacks")
    case.equal("in use", tuple(truth["at_many_stacks"][2:]), total[2:])


def lost_live(case, run):
    """A sample that cannot be followed to its free is counted as freed at once."""
    (truth,) = run.truth().values()
    total = lossy_totals(case, run, "one_of_many", "live")
    case.expect(0 < total.inuse_space <= truth["one_of_many"][3], f"in use: expected at most "
                f"{truth['one_of_many'][3]}, found {total.inuse_space}")
    case.equal("in use of [dropped]", (0, 0), run.only_profile().total("[dropped]")[2:])


def full_tables():
    for limit in ("256K", "1024K"):
        small = {"HEAPMARK_MAX": limit}
        for name, command, check in (("stacks", "many_stacks 14", lost_stacks),
                                     ("live blocks", "many_live 100000", lost_live)):
            yield Row(f"limits: {name}, {limit}", command, small, check=check)
            yield Row(f"limits: {name}, {limit}, a ledger", command, small | SUPERVISED, profiles=0, ledgers=1,
                      check=check)


ROWS = [
    *full_tables(),
    Row("limits: 16384 stacks", "many_stacks 14"),
    Row("limits: 100,000 live blocks", "many_live 100000"),
    Row("limits: HEAPMARK_FRAMES=4", "many_stacks 8", {"HEAPMARK_FRAMES": "4"}, check=cut_to(4)),
    Row("limits: RLIMIT_FSIZE 512 KiB", "many_live 100000", wrapper=("prlimit", f"--fsize={512 * 1024}"),
        check=lost_live),
]
