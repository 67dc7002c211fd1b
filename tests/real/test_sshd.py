#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's sshd: the child that speaks with whoever has not said yet who he is lives in a seccomp filter, which kills
it for any system call that it does not need itself."""
import os
import re
import shlex

import real

COMMAND = "echo $((6 * 7)); exit 3"

# The one line that the library says of the child: before the filter comes a limit of no more files, so where nothing
# was sampled until then there is no ledger.
LEFT_AS_A_LEDGER = (rb"heapmark: sshd\[(\d+)\]: its seccomp filter forbids what writing a profile takes; the figures are in "
                    rb"\S+\.ledger: heapmark dump \S+\n")
RUNS_WITHOUT = rb"heapmark: cannot write to \S+ \(Too many open files\): sshd\[(\d+)\] runs without a profile; [^\n]*\n"

# What it allocates to exchange keys, at least.
CHILD_BYTES = 50_000

CONFIGURATION = """
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
"""


def make_keys(session):
    for name in "host_key", "user_key":
        session.must(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", session.folder / name])
    (session.folder / "authorized_keys").write_bytes((session.folder / "user_key.pub").read_bytes())
    (session.folder / "sshd_config").write_text(CONFIGURATION.format(folder=session.folder))


def log_in(session, preload):
    """One connection, without a network: the server's standard input is the client's connection.  `preload` has what
    is set for the server alone."""
    log = session.folder / "sshd.log"
    log.unlink(missing_ok=True)
    server = ["env", *(f"{key}={value}" for key, value in preload.items()), real.find("sshd"), "-i",
              "-E", str(log), "-f", str(session.folder / "sshd_config")]
    outcome = session.run(["ssh", "-F", "none", "-q", "-i", session.folder / "user_key", "-o", "BatchMode=yes",
                           "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                           "-o", f"ProxyCommand={shlex.join(server)}", f"{session.user}@localhost", COMMAND])
    # How much it says after the client has gone is a matter of chance.
    return outcome, re.sub(r"\d+", "0", log.read_text().split("Starting session")[0])


def test_sandbox(session):
    session.user = session.must(["id", "-un"]).strip()
    if os.getuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # where the child is locked in; Debian makes it at boot
    make_keys(session)
    plain, plain_log = log_in(session, {})
    if not session.equal("sshd without the library: logged in", [plain.status, plain.stdout], [3, b"42\n"]):
        return
    for rate in real.RATES:
        output = session.new_output()
        preload = {key: value for key, value in session.preloaded(output, rate).items() if key.startswith(("LD_", "HEAP"))}
        profiled, log = log_in(session, preload)
        said = re.search(LEFT_AS_A_LEDGER if rate == "1" else LEFT_AS_A_LEDGER + b"|" + RUNS_WITHOUT, profiled.stderr)
        if rate == "1":
            session.check("sshd at 1: one line of the child", said, profiled.stderr)
        if said:
            profiled = profiled._replace(stderr=profiled.stderr.replace(said[0], b"", 1))
        session.same(f"sshd at {rate}", profiled, plain)
        session.equal(f"sshd at {rate}: log as without the library", log, plain_log)
        if rate == "1" and said:
            check_child(session, output, int(said[1]))


def check_child(session, output, pid):
    """What the child allocated behind its filter is there; stacks may be short, for no rules are made there."""
    paths = [path for path in session.collect(output) if f".{pid}." in path.name]
    session.equal("sshd: profiles of the child", len(paths), 1)
    for profile in session.good(paths, may_lose=("truncated",)):
        session.check("sshd: what the child has allocated", profile.total().alloc_space > CHILD_BYTES, profile.total())


real.main({"sandbox": test_sandbox})
