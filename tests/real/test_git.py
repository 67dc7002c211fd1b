#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""git clone of a repository on disk: half a dozen processes, one of them by way of a shell."""
import filecmp

import real

IDENTITY = {
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in
       (("NAME", "A"), ("EMAIL", "a@localhost"), ("DATE", "2001-02-03T04:05:06Z"))},
}


def make_repository(session):
    """Three commits of two hundred files."""
    origin = session.folder / "origin"
    environment = session.environment(**IDENTITY)
    session.must([real.find("git"), "init", "-q", origin], environment)
    for commit in range(3):
        for number in range(200):
            lines = (f"line {line} of file {number}, {line * number % 1009}, in commit {commit}\n" for line in range(60))
            (origin / f"file-{number}").write_text("".join(lines))
        session.must(["git", "add", "."], environment, cwd=origin)
        session.must(["git", "commit", "-q", "-m", f"commit {commit}"], environment, cwd=origin)
    return origin


def same_files(session, left, right):
    """The names of what differs between two working trees."""
    comparison = filecmp.dircmp(left, right, ignore=[".git"])
    _same, different, unreadable = filecmp.cmpfiles(left, right, comparison.common_files, shallow=False)
    session.equal("git clone: files", len(comparison.common_files), 200)
    return comparison.left_only + comparison.right_only + different + unreadable


def test_clone(session):
    origin = make_repository(session)
    clone = session.folder / "clone"
    command = ["git", "clone", f"file://{origin}", clone]
    plain = session.run(command, session.environment(**IDENTITY))
    session.equal("git clone: status without the library", plain.status, 0)
    head = session.must(["git", "rev-parse", "HEAD"], cwd=origin)
    for profile, rate in (session.profile, "1"), (session.profile_by_run, "64K"), (session.profile_by_run, "512K"):
        clone.rename(session.folder / f"clone before {rate}")
        outcome, paths = profile(command, rate, environment=IDENTITY)
        session.same(f"git clone at {rate}", outcome, plain)
        session.equal(f"git clone at {rate}: files that differ", same_files(session, origin, clone), [])
        session.equal(f"git clone at {rate}: HEAD", session.must(["git", "rev-parse", "HEAD"], cwd=clone), head)
        session.equal(f"git clone at {rate}: git fsck", session.run(["git", "fsck", "--strict"], cwd=clone).status, 0)

        profiles = session.good(paths)
        if rate == "1":
            functions = set().union(*(profile.functions() for profile in profiles))
            session.check("git clone: zlib packed and unpacked", {"deflateInit2_", "inflateInit2_"} <= functions,
                          functions)
            names = sorted(path.name.split(".")[1] for path in paths)
            session.check("git clone: processes", names.count("git") >= 3 and "git-upload-pack" in names, names)


real.main({"clone": test_clone})
