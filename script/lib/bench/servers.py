# SPDX-License-Identifier: Apache-2.0
"""The rows with a server: processor time that all its processes took, for each request.

Starting and ending is in it, so that writing the profile is.
"""
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from bench import columns
from bench.measure import CannotRun, Row, end_all, wait_for

POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
AS_POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

NGINX = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off;
    gzip on;
    gzip_types text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        default_type text/plain;
        root {folder}/pages;
    }}
}}
"""

ONLY_THE_FIRST = {columns.HEAPTRACK: "follows the first process only, and here others do the work"}


def client(words, **more):
    """Runs what loads the server; it is not measured."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        raise CannotRun(f"{words[0]}: status {done.returncode}: {done.stderr.strip()[-100:]}")
    return done.stdout


def succeeds(words):
    return subprocess.run(list(map(str, words)), capture_output=True, check=False).returncode == 0


def served(runner, words, is_up, load, end, **more):
    """Runs a server over a load; returns the requests that load() says it made."""
    server = runner.start(words, **more)
    try:
        wait_for(server, is_up, Path(words[0]).name)
        requests = load()
        end()
        runner.finish(server)
    finally:
        if server.returncode is None:
            end_all(server)
    return requests


def cpu_us_per(runner, requests):
    return runner.usage.cpu_s / requests * 1e6


def redis(requests):
    def run(runner):
        with tempfile.TemporaryDirectory(dir=runner.place.scratch) as folder:
            path = f"{folder}/redis"
            command = ["redis-cli", "-s", path]

            def load():
                client(["redis-benchmark", "-s", path, "-q", "-P", "16", "-n", requests, "-r", "100000", "-d", "64",
                        "-t", "set"])
                return requests

            served(runner, ["redis-server", "--port", "0", "--unixsocket", path, "--save", "", "--appendonly", "no"],
                   lambda: succeeds([*command, "ping"]), load, lambda: client([*command, "shutdown", "nosave"]))
        return cpu_us_per(runner, requests)

    missing = "" if shutil.which("redis-benchmark") and shutil.which("redis-server") else "redis is not installed"
    return Row("redis-server, each request", "µs", run, is_program=True, missing=missing)


def free_port():
    with socket.socket() as unbound:
        unbound.bind(("127.0.0.1", 0))
        return unbound.getsockname()[1]


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def nginx(seconds):
    def run(runner):
        with tempfile.TemporaryDirectory(dir=runner.place.scratch) as name:
            folder, port = Path(name), free_port()
            folder.chmod(0o777)  # for the workers, which give up root
            (folder / "pages").mkdir()
            (folder / "pages/numbers").write_text("".join(f"{number}\n" for number in range(2000)))
            (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))

            def load():
                said = client(["wrk", "-t1", "-c16", f"-d{seconds}s", "-H", "Accept-Encoding: gzip",
                               f"http://127.0.0.1:{port}/numbers"])
                return int(re.search(r"(\d+) requests in", said)[1])

            def end():
                os.kill(int((folder / "nginx.pid").read_text()), signal.SIGQUIT)

            requests = served(runner, ["/usr/sbin/nginx", "-c", folder / "nginx.conf", "-e", "stderr"],
                              lambda: answers(port), load, end)
        return cpu_us_per(runner, requests)

    missing = "" if shutil.which("wrk") and Path("/usr/sbin/nginx").exists() else "nginx or wrk is not installed"
    return Row("nginx, wrk, each request", "µs", run, is_program=True, missing=missing,
               missing_under=ONLY_THE_FIRST)


class Cluster:
    """A PostgreSQL cluster with pgbench's tables, made when it is first needed."""

    def __init__(self, place):
        self.folder = place.scratch / "cluster"
        self.programs = POSTGRES[-1].parent if POSTGRES else None
        self.to_clients = ["-h", self.folder, "-U", "postgres"]

    def command(self):
        options = {"listen_addresses": "", "unix_socket_directories": self.folder, "fsync": "off", "autovacuum": "off"}
        return [self.programs / "postgres", "-D", self.folder / "data",
                *(f"--{key}={value}" for key, value in options.items())]

    def is_up(self):
        return succeeds([self.programs / "pg_isready", "-q", "-h", self.folder])

    def end(self):
        pid = (self.folder / "data/postmaster.pid").read_text().splitlines()[0]
        os.kill(int(pid), signal.SIGINT)  # its fast shutdown

    def make(self):
        if self.folder.exists():
            return
        self.folder.mkdir()
        if AS_POSTGRES:
            shutil.chown(self.folder, AS_POSTGRES["user"], AS_POSTGRES["group"])
        client([self.programs / "initdb", "-D", self.folder / "data", "-U", "postgres", "-A", "trust", "--no-locale",
                "--no-sync"], cwd=self.folder, **AS_POSTGRES)
        server = subprocess.Popen(self.command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  cwd=self.folder, start_new_session=True, **AS_POSTGRES)
        try:
            wait_for(server, self.is_up, "postgres")
            client(["pgbench", "-i", "-q", *self.to_clients, "postgres"])
            self.end()
            server.wait()
        finally:
            if server.returncode is None:
                end_all(server)


def postgres(place, name, options, transactions):
    """pgbench with so many transactions in each of four clients."""
    cluster = Cluster(place)

    def run(runner):
        cluster.make()

        def load():
            client(["pgbench", "-n", "-S", "-c4", "-j1", "-t", transactions, *options, *cluster.to_clients,
                    "postgres"])
            return 4 * transactions

        requests = served(runner, cluster.command(), cluster.is_up, load, cluster.end, user=AS_POSTGRES)
        return cpu_us_per(runner, requests)

    missing = "" if POSTGRES and shutil.which("pgbench") else "PostgreSQL is not installed"
    return Row(f"PostgreSQL, pgbench, each {name}", "µs", run, is_program=True, missing=missing,
               missing_under=ONLY_THE_FIRST)


def all_rows(place, part):
    """part(count): of a full load's count, what is to be made."""
    return [redis(part(100_000)),
            nginx(max(1, part(2))),
            postgres(place, "query", [], part(5_000)),
            postgres(place, "connection", ["-C"], part(60))]
