#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL: a cluster is made, and a server of many processes answers some queries."""
import os
import shutil
import signal
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

    def serve(self, data, environment):
        """Runs the server over the queries; returns what users see of it."""
        options = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off", "autovacuum": "off",
                   "logging_collector": "off"}
        server = self.session.serve(
            [self.programs / "postgres", "-D", self.folder / data, *(f"--{key}={value}" for key, value in options.items())],
            environment, **AS_USER)
        real.wait_for(server, self.is_up, "postgres answers")
        answers = self.session.run(
            [self.programs / "psql", "-X", "-A", "-t", "-h", self.folder, "-U", "postgres", "-f", real.INPUTS / "orders.sql"])
        server.send_signal(signal.SIGINT)  # its fast shutdown
        return answers, self.session.end(server)


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


def check_backend(session, paths):
    """The process that answered the queries is the one that allocated most."""
    views = [session.view(path, "alloc_space") for path in paths]
    backend = paths[max(range(len(paths)), key=lambda index: views[index].total)]
    session.shares(backend, "alloc_space", {"PostgresMain": 0.8, "ExecCreateTableAs": 0.01})


real.main({"cluster": test_cluster})
