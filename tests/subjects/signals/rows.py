# SPDX-License-Identifier: Apache-2.0
"""Signals of the program: handlers that come at any instant, and nothing of ours among them."""
import collections
import re
import shutil

from case import Skip
from row import Row


def handlers(mode):
    # Nothing of what it does can be compared: a run without the library has other instants interrupted.
    return Row(f"handlers: {mode}", f"handlers {mode}", preload="{library} reentrant.so", compare=False)


def nested_in_part(case, run):
    """What a handler allocates while the library is at work is passed over, and nothing else is."""
    profile = run.only_profile()
    (truth,) = run.truth().values()
    case.equal("losses", {}, profile.losses)
    for site in ("in_timer_main", "in_timer_thread"):
        case.equal(site, tuple(truth[site]), profile.total(site, among=truth))
    handler = profile.total("in_timer_handler")
    case.expect(0 < handler.alloc_objects <= truth["in_timer_handler"][0],
                f"alloc_objects of in_timer_handler: expected at most {truth['in_timer_handler'][0]}, found "
                f"{handler.alloc_objects}")
    case.equal("in use of in_timer_handler", (0, 0), handler[2:])


TRACED = ("kill", "tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal", "rt_sigaction",
          "sigaltstack", "timer_create", "timer_settime", "timerfd_create", "setitimer", "alarm", "signalfd4", "clone",
          "clone3", "fork", "vfork", "socket", "socketpair", "connect", "ptrace", "rt_sigsuspend")


def traced_calls(case, command, preload):
    """The calls that have to do with signals, threads and sockets: {text: count}, without what differs by chance."""
    traces = case.scratch / f"trace-{case.run_count}"
    traces.mkdir()
    # A file for each thread: in one for all, calls are torn apart where threads meet.
    run = case.run(command, preload=preload,
                   wrapper=("strace", "-ff", "-o", str(traces / "of"), "-e", "trace=" + ",".join(TRACED)))
    case.equal("exit status", 0, run.status)
    calls = collections.Counter()
    for trace in traces.iterdir():
        for call in trace.read_text().splitlines():
            if re.match(r"[a-z]\w*\(", call):  # not: +++ exited
                calls[re.sub(r"0x[0-9a-f]+|\b\d{3,}\b|\s*=>? .*", "", call)] += 1
    return calls


def no_signal_of_ours(command):
    def check(case):
        if shutil.which("strace") is None:
            raise Skip("strace is not installed")
        plain = traced_calls(case, command, preload="")
        found = traced_calls(case, command, preload="{library}")
        case.expect(plain, "no call was traced")
        case.equal("calls made more often", {}, dict(found - plain))
        case.equal("calls made less often", {}, dict(plain - found))
    return Row(f"signals: the same calls, {command}", check=check)


ROWS = [
    handlers("nested"),
    handlers("jump"),
    *(Row(f"signals: {clock} timer, a handler that allocates anywhere", f"timer {clock} nested",
          preload="{library} reentrant.so", compare=False, check=nested_in_part)
      for clock in ("real", "prof", "thread")),
    *(Row(f"signals: {clock} timer, a handler that allocates outside of malloc", f"timer {clock} outside")
      for clock in ("real", "prof", "thread")),
    Row("signals: a profiler of processor time", "timer prof profiler"),
    Row("signals: masks, actions, timers, alternate stacks", "state"),
    Row("signals: faults as write barriers", "barrier"),
    no_signal_of_ours("state"),
    no_signal_of_ours("barrier"),
    no_signal_of_ours("family fork"),
]
