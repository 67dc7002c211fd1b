#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: a cluster is made, and a server of many processes answers some queries."""
import os
import shutil
import signal
import subprocess
from pathlib import Path

import real

# Programs of the server are not on the path of Debian, and it does not run as root.
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
AS_USER = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


class Cluster:
    """A folder of the server's user, the server in it, and the library where that user can read it."""

    def __init__(self, session):
        if not PROGRAMS:
            raise real.Skipped("postgres is not installed")
        self.session = session
        self.programs = PROGRAMS[-1].parent
        self.folder = session.folder / "cluster"
        self.folder.mkdir()
        if AS_USER:
            shutil.chown(self.folder, AS_USER["user"], AS_USER["group"])
        self.library = shutil.copy(session.library, session.folder)

    def profiled(self, output, rate):
        return self.session.preloaded(output, rate, self.library)

    def make(self, data, environment):
        """initdb."""
        command = [self.programs / "initdb", "-D", self.folder / data, "-U", "postgres", "-A", "trust", "--no-locale",
                   "-E", "UTF8", "--no-sync", "--no-instructions"]
        return self.session.run(command, environment, cwd=self.folder, **AS_USER)

    def is_up(self):
        return self.session.run([self.programs / "pg_isready", "-q", "-h", self.folder]).status == 0

    def serve(self, data, environment, meanwhile=lambda server: None):
        """Runs the server over the queries; returns what users see of it."""
        options = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off", "autovacuum": "off",
                   "logging_collector": "off"}
        server = self.session.serve(
            [self.programs / "postgres", "-D", self.folder / data,
             *(f"--{key}={value}" for key, value in options.items())], environment, **AS_USER)
        real.wait_for(server, self.is_up, "postgres answers")
        answers = self.psql("-f", real.INPUTS / "orders.sql")
        meanwhile(server)
        server.send_signal(signal.SIGINT)  # its fast shutdown
        return answers, self.session.end(server)

    def psql(self, *arguments):
        return self.session.run(self.psql_command(*arguments))

    def psql_command(self, *arguments):
        return [self.programs / "psql", "-X", "-A", "-t", "-h", self.folder, "-U", "postgres", *arguments]

    def make_text(self, mebibytes):
        """A session of its own, in which a text of this length is made; returns the number of its process."""
        return int(self.session.must(self.psql_command("-c", self.text_query(mebibytes))).partition("|")[0])

    @staticmethod
    def text_query(mebibytes):
        return f"SELECT pg_backend_pid(), length(repeat('x', {mebibytes} << 20))"

    def make_text_and_be_killed(self, server, mebibytes):
        """The same, and the process is killed; the server ends all others, and starts again."""
        command = self.psql_command("-c", self.text_query(mebibytes), "-c", "SELECT pg_sleep(600)")
        client = subprocess.Popen(command, env=self.session.environment(), stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        with client:
            pid = int(client.stdout.readline().partition("|")[0])
            os.kill(pid, signal.SIGKILL)
        real.wait_for(server, self.is_up, "postgres answers again")
        return pid


def test_cluster(session):
    cluster = Cluster(session)
    made = cluster.make("plain", session.environment())
    session.equal(f"initdb: status without the library: {made.stderr}", made.status, 0)
    output = session.new_output()
    made_profiled = cluster.make("again", cluster.profiled(output, "64K"))
    session.same("initdb", made_profiled, made._replace(stdout=made.stdout.replace(b"/plain ", b"/again ")))
    paths = session.collect(output)
    session.good(paths)
    session.check("initdb: processes", len(paths) > 3, paths)

    plain, status = cluster.serve("plain", session.environment())
    session.equal("postgres: status without the library", status, 0)
    session.check("postgres: answers without the library", b"20000|959" in plain.stdout, plain)
    for rate in "1", "64K":
        output = session.new_output()
        answers, status = cluster.serve("again", cluster.profiled(output, rate))
        session.same(f"psql at {rate}", answers, plain)
        session.equal(f"postgres at {rate}: status", status, 0)
        paths = session.collect(output)
        session.good(paths)
        if rate == "1":
            session.check("postgres: processes", len(paths) > 5, paths)
        check_backend(session, paths)


def test_backends(session):
    """Each session's process has what was made in it, however it ended."""
    cluster = Cluster(session)
    made = cluster.make("data", session.environment())
    session.equal(f"initdb: status: {made.stderr}", made.status, 0)
    output = session.new_output()
    mebibytes = {}

    def make_texts(server):
        for number in 3, 7, 11:
            mebibytes[cluster.make_text(number)] = number
        mebibytes[cluster.make_text_and_be_killed(server, 13)] = 13
        mebibytes[cluster.make_text(17)] = 17

    _answers, status = cluster.serve("data", cluster.profiled(output, "1"), make_texts)
    session.equal("postgres: status", status, 0)
    paths = session.collect(output)
    profiles = dict(zip(paths, session.good(paths)))
    session.equal("postgres: sessions", list(mebibytes.values()), [3, 7, 11, 13, 17])
    texts = {}
    for path, profile in profiles.items():
        pid = int(path.name.split(".")[2].partition("-")[0])
        texts[pid] = texts.get(pid, 0) + profile.total("repeat").alloc_space
    for pid, number in mebibytes.items():
        # The text, its length before it and what the allocator keeps about it; a second text of one letter.
        excess = texts.get(pid, 0) - (number << 20)
        session.check(f"postgres: a text of {number} MiB in {pid}", 0 < excess < 16384, excess)
    others = {pid: size for pid, size in texts.items() if pid not in mebibytes and size != 0}
    session.equal("postgres: texts in other processes", others, {})


def check_backend(session, paths):
    """The process that answered the queries is the one that allocated most."""
    views = [session.view(path, "alloc_space") for path in paths]
    backend = paths[max(range(len(paths)), key=lambda index: views[index].total)]
    session.shares(backend, "alloc_space", {"PostgresMain": 0.8, "ExecCreateTableAs": 0.01})


real.main({"cluster": test_cluster, "backends": test_backends})
