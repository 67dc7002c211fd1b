# SPDX-License-Identifier: Apache-2.0
"""Objects that come and go, and code that runs before and after main."""
from row import Row


def missed_frees(case, run):
    """What was freed behind our back counts as freed when its address comes again, and is told."""
    missed = run.only_profile().losses.get("missed_free", 0)
    before = run.only_profile().total("host_before")
    case.equal("alloc_objects and alloc_space of host_before", (100, 33300), before[:2])
    case.equal("inuse_objects of host_before", 100 - missed, before.inuse_objects)
    case.expect(missed > 0, "losses: expected missed frees, found none")
    case.equal("host_after", (200, 66600, 200, 66600), run.only_profile().total("host_after"))


def own_names(case, run):
    """Two objects that took turns at one address keep their names; and neither has the other's figures."""
    profile = run.only_profile()
    case.expect("one address" in run.lines(), "the loader has put them at two addresses: nothing is checked")
    for sample in profile.samples:
        twins = {"castor", "pollux"}.intersection(sample.functions())
        files = {frame.mapping.rsplit("/", 1)[-1] for frame in sample.frames if frame.function in twins}
        case.expect(files <= {f"{name}.so" for name in twins},
                    f"expected {twins} in the file of that name, found {files}")
    case.check_figures(run)


ROWS = [
    Row("loader: before main, after it, ends of threads", "lifetimes"),
    Row("loader: a plug-in of C++ in a C program", "plugin_host throw plugin_throw.so"),
    Row("loader: RTLD_DEEPBIND", "plugin_host deepbind plugin_deepbind.so", check=missed_frees),
    Row("loader: two plug-ins at one address", "plugin_host twins castor.so pollux.so", check=own_names),
]
