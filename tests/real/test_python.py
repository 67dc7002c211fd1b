#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's python3: one process with many objects, and several, forked, executed and killed."""
import real

# What bytes(600) takes: 600, an end, and what python keeps about the object.
BLOCK_BYTES = 633

SAME_EVERY_TIME = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


def command(script, *arguments):
    return [real.find("/usr/bin/python3"), str(real.INPUTS / script), *arguments]


def test_objects(session):
    plain = session.run(command("objects.py", "10000"), session.environment(**SAME_EVERY_TIME))
    session.equal("objects: status without the library", plain.status, 3)
    truth = None
    for rate in real.RATES:
        outcome, paths = session.profile(command("objects.py", "10000"), rate,
                                         environment={**SAME_EVERY_TIME, "HEAPMARK_SEED": "2"})
        session.same(f"objects at {rate}", outcome, plain)
        session.equal(f"objects at {rate}: profiles", len(paths), 1)
        (profile,) = session.good(paths)
        session.shares(paths[0], "alloc_space", {"PyEval_EvalCode": 0.7, "_PyEval_EvalFrameDefault": 0.7})
        truth = truth or profile.total()
        session.near(f"objects at {rate}", rate, profile.total(), truth)


def test_difference(session):
    """Two runs that differ in 5,000 objects: nothing else may differ."""
    totals = []
    for count in ["10000", "15000"]:
        _outcome, paths = session.profile(command("objects.py", count), "1", environment=SAME_EVERY_TIME)
        (profile,) = session.good(paths)
        totals.append(profile.total())
    more = [after - before for before, after in zip(*totals)]
    session.equal("5,000 objects more, allocated", more[:2], [5000, 5000 * BLOCK_BYTES])


def test_children(session):
    plain = session.run(command("workers.py"), session.environment(**SAME_EVERY_TIME))
    session.equal("workers: status without the library", plain.status, 0)
    for profile, rate in (session.profile, "1"), (session.profile_by_run, "64K"), (session.profile, "512K"):
        outcome, paths = profile(command("workers.py"), rate, environment=SAME_EVERY_TIME)
        session.same(f"workers at {rate}", outcome, plain)
        # Itself, two workers, the killed one, two in the pool, and the other program.
        if rate != "512K":  # at which a small one may go without a sample
            session.equal(f"workers at {rate}: profiles", len(paths), 7)
        profiles = session.good(paths)
        if rate == "1":
            check_each_process(session, profiles)


def test_methods(session):
    """Every way in which multiprocessing starts a worker: each worker has what it made in its own profile."""
    for method in "fork", "spawn", "forkserver":
        for name, profile in (f"{method}, preload", session.profile), (f"{method}, run", session.profile_by_run):
            outcome, paths = profile(command("started.py", method), "1", environment=SAME_EVERY_TIME)
            lines = outcome.stdout.decode().splitlines()
            session.equal(f"{name}: status", [outcome.status, outcome.stderr], [0, b""])
            ends = [line for line in lines if "made" not in line]
            session.equal(f"{name}: ends of the workers", ends, ["0", "0", "-9"])
            made = {int(pid): int(count) for pid, _, count in (line.split() for line in lines if "made" in line)}
            check_workers(session, name, made, dict(zip(paths, session.good(paths, may_lose=("cut",)))))


def check_workers(session, name, made, profiles):
    """`made`: objects by the number of the process."""
    session.equal(f"{name}: objects made", [sum(made.values()), list(made.values())[:3]], [28000, [4000, 7000, 9000]])
    totals = {}
    for path, profile in profiles.items():
        pid = int(path.name.split(".")[2].partition("-")[0])
        totals.setdefault(pid, []).append(profile.total())
    for pid, count in made.items():
        # A worker that is started by exec has one image, or a small one before it.
        largest = max(totals.get(pid, [real.Figures()]))
        session.check(f"{name}: worker {pid}", largest.alloc_objects >= count
                      and largest.alloc_space >= count * BLOCK_BYTES, f"{largest} for {count}")
    few, more, killed = (max(totals[pid]) for pid in list(made)[:3])
    session.equal(f"{name}: 3,000 objects more in the second worker", more.alloc_objects - few.alloc_objects, 3000)
    more_bytes = more.alloc_space - few.alloc_space - 3000 * BLOCK_BYTES
    session.check(f"{name}: their bytes, and those of a longer message", 0 <= more_bytes < BLOCK_BYTES, more_bytes)
    session.check(f"{name}: kept by the killed worker",
                  killed.inuse_objects >= 9000 and killed.inuse_space >= 9000 * BLOCK_BYTES, killed)


def check_each_process(session, profiles):
    """Every process has its own objects in its own profile, and nothing of its parent's."""
    _first, few, more, killed, *pool = [profile.total() for profile in
                                        sorted(profiles, key=lambda profile: int(profile.notes["start_time_ns"]))][:6]
    session.equal("3,000 objects more in the second worker", [more.alloc_objects - few.alloc_objects,
                                                              more.alloc_space - few.alloc_space],
                  [3000, 3000 * BLOCK_BYTES])
    for name, figure, expected in [
            ("in the first worker", few.alloc_objects, 4000),
            ("kept by the killed worker", killed.inuse_objects, 9000),
            ("in the pool", sum(figures.alloc_objects for figures in pool), 8000)]:
        session.check(f"objects {name}", expected <= figure < expected + 1000, f"{figure} for {expected}")


real.main({"objects": test_objects, "difference": test_difference, "children": test_children, "methods": test_methods})
