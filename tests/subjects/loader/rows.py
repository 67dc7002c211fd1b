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


def own_names_in_a_row(case, run):
    """As above; and those that come again are not entered anew each time."""
    own_names(case, run)
    entered = [name for name in run.only_profile().mappings if name.endswith(("castor.so", "pollux.so"))]
    case.expect(len(entered) <= 32, f"expected each file at a handful of addresses, found {len(entered)} entries")


def two_files(case, run):
    """The second file is there and names its own; what the first one allocated is not given names of the second."""
    case.expect("one address" in run.lines(), "the loader has put them at two addresses: nothing is checked")
    profile = run.only_profile()
    case.equal("figures of pollux", (30, 465, 30, 465), tuple(profile.total("pollux")))
    unnamed = {name for name in profile.functions() if name.startswith("plugin.so+0x")}
    of_first = [sample.figures for sample in profile.samples if sample.functions()[0] in unnamed]
    case.equal("figures of the first file, without names", (30, 465, 30, 465), tuple(map(sum, zip(*of_first))))
    case.equal("entries of the file", 2, sum(name.endswith("/plugin.so") for name in profile.mappings))
    case.equal("losses", {}, profile.losses)


def audited(case):
    Row("", "lifetimes", {"LD_AUDIT": str(case.program("auditor.so"))}).run(case)


ROWS = [
    Row("loader: before main, after it, ends of threads", "lifetimes"),
    Row("loader: a plug-in of C++ in a C program", "plugin_host throw plugin_throw.so"),
    Row("loader: RTLD_DEEPBIND", "plugin_host deepbind plugin_deepbind.so", check=missed_frees),
    Row("loader: two plug-ins at one address", "plugin_host twins castor.so pollux.so", check=own_names),
    Row("loader: a thousand plug-ins at one address", "churn 1 0 1000 castor.so pollux.so", check=own_names_in_a_row),
    Row("loader: plug-ins come and go beside threads", "churn 1 2 300 castor.so pollux.so", check=own_names_in_a_row),
    Row("loader: threads take addresses from each other", "churn 3 1 700 castor.so pollux.so",
        check=own_names_in_a_row),
    Row("loader: the next plug-in is there before dlclose returns", "churn 3 0 100 castor.so pollux.so",
        preload="{library} slow_unload.so", plain_preload="slow_unload.so", check=own_names_in_a_row),
    Row("loader: a plug-in is replaced between two loads", "rewritten castor.so pollux.so", check=two_files),
    Row("loader: namespaces", "namespaces plugin_deepbind.so"),
    Row("loader: exceptions through C, backtrace", "unwinding plugin_unwind.so"),
    Row("loader: before relocation, at the very end", "before_relocation"),
    Row("loader: before relocation, everything bound at once", "before_relocation", {"LD_BIND_NOW": "1"}),
    *(Row(f"loader: everything bound at once, {name}", command, {"LD_BIND_NOW": "1"}) for name, command in (
        ("ends of threads", "lifetimes"), ("C++", "plugin_host throw plugin_throw.so"))),
    Row("loader: a library in front of us", "interposed", preload="interposer.so {library}",
        plain_preload="interposer.so"),
    Row("loader: a library behind us", "interposed", preload="{library} interposer.so",
        plain_preload="interposer.so"),
    Row("loader: an auditor", check=audited),
]
