# SPDX-License-Identifier: Apache-2.0
"""Numbers of files: none of the program's is touched, none of the low ones is taken."""
from checks import nothing_more
from row import Row


CLOSING = ("sh", "-c", 'exec "$@" <&-', "sh")
DARK = ("sh", "-c", 'exec 5>&1; exec "$@" <&- >&- 2>&-', "sh")


def no_room(case, run):
    """The ledger cannot be reached any more: what did not fit counts as dropped, and the sum stays right."""
    profile = run.only_profile()
    total = profile.total("beside_ledger") + profile.total("[dropped]")
    (truth,) = run.truth().values()
    case.equal("allocations beside the ledger", tuple(truth["beside_ledger"][:2]), total[:2])
    case.equal("samples without room", profile.total("[dropped]").alloc_objects, profile.losses.get("live", 0))
    case.expect(profile.losses.get("growth", 0) > 0, "losses: expected growth, found none")


ROWS = [
    Row("descriptors: numbers", "descriptors list"),
    Row("descriptors: numbers, no standard input", "descriptors list", wrapper=CLOSING),
    *(Row(f"descriptors: numbers, RLIMIT_NOFILE {limit}", "descriptors list", wrapper=("prlimit", f"--nofile={limit}"))
      for limit in (10, 11, 16, 43)),
    Row("descriptors: 0, 1 and 2 closed", "numbers dark 5", wrapper=DARK),
    Row("descriptors: all closed and used again", "descriptors reuse"),
    *(Row(f"descriptors: all closed by {how}, streams through each number", f"closing {how}")
      for how in ("closefrom", "range", "loop", "dup2", "unshare")),
    Row("descriptors: all closed by exec, streams through each number", "closing cloexec", profiles=1, ledgers=1),
    Row("descriptors: each way to get one", "numbers ways", profiles=None, ledgers=None),
    Row("descriptors: as a daemon sees them", "numbers daemon"),
    Row("descriptors: 10,000 threads", "numbers threads"),
    Row("descriptors: 1,000 times dlopen and dlclose", "numbers plugins small_plugin.so", check=nothing_more),
    Row("descriptors: 1,000 forks", "numbers forks", profiles=21),
    Row("descriptors: a child is spawned without any", "numbers spawn", profiles=2),
    *(Row(f"descriptors: the ledger's own, {how}", f"ledger {how}") for how in ("number", "name", "link", "open")),
    Row("descriptors: the ledger's own, number and name", "ledger both", check=no_room),
]
