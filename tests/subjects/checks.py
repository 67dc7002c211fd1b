# SPDX-License-Identifier: Apache-2.0
"""Checks that rows of several areas share."""


def nothing_more(case, run):
    """In place of figures: the program has told of none."""


def nothing(case, run):
    """Not a file is left."""
    case.equal("files", [], [path.name for path in run.output.iterdir()])


def cut_to(frame_count):
    def check(case, run):
        profile = run.only_profile()
        longest = max(sum(not name.startswith("[") for name in sample.functions()) for sample in profile.samples)
        case.equal("frames of the longest stack", frame_count, longest)
        case.expect(profile.losses.get("cut", 0) > 0, "losses: expected cut stacks, found none")
        case.check_figures(run, losses=("cut",))
    return check
