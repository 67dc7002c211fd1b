# SPDX-License-Identifier: Apache-2.0
"""Stacks that are deep, small, foreign or broken."""
from case import Skip
from checks import cut_to
from row import Row

MAKECONTEXT = None  # where makecontext has a coroutine return to: an address of the C library, without a name


def is_chain(functions, chain):
    """Whether the stack begins with these functions; None stands for any one."""
    return len(functions) >= len(chain) and all(name in (None, found) for found, name in zip(functions, chain))


def stacks(chains, truncated=0, cut=0, whole=None):
    """
    Beside the figures: every stack of a site begins with one of its `chains` (innermost first), and has no more
    frames than that where it is in `whole`; so many samples have lost their callers, or some where that is None.
    """
    def check(case, run):
        profile = run.only_profile()
        case.check_figures(run, losses=("truncated", "cut"))
        for kind, expected in (("truncated", truncated), ("cut", cut)):
            if expected is not None:
                case.equal(f"stacks that are {kind}", expected, profile.losses.get(kind, 0))
        for sample in profile.samples:
            functions = [name for name in sample.functions() if name not in ("[truncated]", "[cut]")]
            site = sample.innermost(chains)
            if site is None:
                continue
            functions = functions[functions.index(site):]
            fitting = [chain for chain in chains[site] if is_chain(functions, (site, *chain))]
            case.expect(fitting, f"{site}: unexpected stack {functions}")
            if whole and fitting:
                case.expect(len(functions) == len(fitting[0]) + 1, f"{site}: frames that are not its own: {functions}")
    return check


COROUTINES = stacks({
    "in_even": [("even_start", MAKECONTEXT)],
    "in_odd": [("odd_start", MAKECONTEXT)],
    "in_nested": [("nested_start", MAKECONTEXT)],
}, whole=True)

INTERRUPTED = stacks({
    "in_sent": [("handle_sent", None, None, "run_rounds")],
    "in_fault": [("handle_fault", None, "write_guarded", "run_rounds")],
    "below_signals": [("run_rounds",)],
})

# Code that keeps a frame pointer is passed; where something else is in RBP the walk ends.
GENERATED = stacks({
    "with_frame_pointer": [("called_with_frame_pointer", None, "run_generated", "main")],
    "without_frame_pointer": [("called_without_frame_pointer", None)],
    "with_a_number": [("called_with_a_number", None)],
    "with_its_own_address": [("called_with_its_own_address", None)],
}, truncated=None)


def through_frames_of_compilers(case, run):
    """Each stack comes by the function that was called for it and goes on to main, the naked one's aside."""
    profile = run.only_profile()
    case.check_figures(run, losses=("truncated",))
    lost = 0
    for sample in profile.samples:
        functions = sample.functions()
        site = next((name for name in functions if name.startswith("under_")), None)
        if site == "under_naked":
            lost += sample.figures.alloc_objects if "[truncated]" in functions else 0
        elif site is not None:
            inlined = ("under_tail_call", "under_lambda")  # or left by a jump
            caller = "call_all" if site in inlined else site.replace("under_", "call_")
            case.expect({caller, "call_all", "main"}.issubset(functions),
                        f"{site}: expected {caller}, call_all and main, found {functions}")
    case.equal("stacks that are truncated", lost, profile.losses.get("truncated", 0))


def without_information(case, run):
    """There is nothing to go by: the figures are right by site, and that stacks end is told."""
    profile = run.only_profile()
    case.check_figures(run, losses=("truncated",))
    case.expect(profile.losses.get("truncated", 0) > 0, "losses: expected truncated stacks, found none")


def estimated(case, run):
    """Within five deviations: a block of s bytes adds less than s times the interval to the variance of the sum."""
    profile = run.only_profile()
    (truth,) = run.truth().values()
    _, alloc, _, inuse = truth["in_cloned"]
    found = profile.total("in_cloned")
    for name, expected, estimate in (("alloc_space", alloc, found.alloc_space),
                                     ("inuse_space", inuse, found.inuse_space)):
        bound = 5 * (expected * profile.period) ** 0.5
        case.expect(abs(estimate - expected) < bound,
                    f"{name}: expected {expected} within {bound:.0f}, found {estimate}")
    case.equal("losses", {}, profile.losses)


def split(case):
    try:
        case.program("compiled-split")
    except AssertionError:
        raise Skip("split stacks were not built: there is no gold linker") from None
    Row("", "compiled-split", check=through_frames_of_compilers).run(case)


ROWS = [
    Row("stacks: a recursion of 100,000", "deep 100000", check=cut_to(128)),
    Row("stacks: the smallest threads, new rules", "small_threads first"),
    Row("stacks: the smallest threads, a ledger begins", "small_threads fork", profiles=11, ledgers=10),
    Row("stacks: the smallest threads, exit", "small_threads exit"),
    Row("stacks: the smallest threads, dlclose", "small_threads dlclose small_plugin.so small_plugin_2.so"),
    Row("stacks: 2000 coroutines", "coroutines thousands", check=COROUTINES),
    Row("stacks: coroutines made by coroutines", "coroutines nested", check=COROUTINES),
    Row("stacks: coroutines with little stack left", "coroutines tight", check=cut_to(128)),
    *(Row(f"stacks: a switch in assembly, {mode}", f"handmade {mode}",
          check=stacks({"in_handmade": [("handmade_start",)], "in_main": [("main",)]}, truncated=None))
      for mode in ("top", "stale", "moved")),
    Row("stacks: alternate stacks of handlers", "alternate", check=INTERRUPTED),
    *(Row(f"stacks: 8 KiB for a clone, {mode}", f"cloned {mode} 1000", check=stacks({"in_cloned": [("cloned_start",)]}))
      for mode in ("vfork", "thread")),
    *(Row(f"stacks: 8 KiB for a clone, {mode}, default rate", f"cloned {mode} 20000", {"HEAPMARK_RATE": None},
          check=estimated) for mode in ("vfork", "thread")),
    Row("stacks: code made at run time", "generated", check=GENERATED),
    *(Row(f"stacks: broken, {mode}", f"broken {mode}", check=without_information) for mode in ("lies", "overwritten")),
    *(Row(f"stacks: compiled, {variant}", f"compiled-{variant}", check=through_frames_of_compilers)
      for variant in ("o0", "o3", "large", "avx")),
    Row("stacks: compiled, split stacks", check=split),
    *(Row(f"stacks: compiled, {variant}", f"compiled-{variant}", check=without_information)
      for variant in ("no_information", "frame_pointer_only")),
]
