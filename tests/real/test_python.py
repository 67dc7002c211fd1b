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


real.main({"objects": test_objects, "difference": test_difference, "children": test_children})
