#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
nginx with two workers, which give up root if they have it, serves a few files over a socket; it is told to read its
configuration again, so that two new workers take their places, and to end.
"""
import collections
import gzip
import http.client
import os
import signal
import socket

import real

CONFIGURATION = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log stderr notice;
events {{ worker_connections 64; }}
http {{
    access_log off;
    log_not_found off;
    gzip on;
    gzip_types text/plain;
    gzip_min_length 100;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen unix:{folder}/nginx.sock;
        default_type text/plain;
        root {folder}/pages;
        add_header Worker $pid always;
        location /moved {{ return 301 /numbers; }}
    }}
}}
"""

PAGE = "".join(f"{number}\n" for number in range(20000)).encode()


class Connection(http.client.HTTPConnection):
    """HTTP over a socket in a folder."""

    def __init__(self, path):
        super().__init__("localhost", timeout=real.PATIENCE_SECONDS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """One request a connection; counts which worker took how many."""

    def __init__(self, path):
        self.path = path
        self.requests = collections.Counter()  # by the worker's number

    def fetch(self, page, **headers):
        """Returns (status, body) of one request."""
        connection = Connection(self.path)
        try:
            connection.request("GET", page, headers=headers)
            response = connection.getresponse()
            body = response.read()
            if response.getheader("Content-Encoding") == "gzip":
                body = b"gzip: " + gzip.decompress(body)
            self.requests[int(response.getheader("Worker"))] += 1
            return response.status, body
        finally:
            connection.close()

    def is_up(self):
        try:
            return self.fetch("/numbers")[0] == 200
        except OSError:
            return False

    def is_served_by_others(self, workers):
        """Whether the next request is taken by somebody else."""
        before = self.requests.copy()
        self.fetch("/numbers")
        (worker,) = self.requests - before
        return worker not in workers


def request_some(client):
    return [client.fetch(page, **headers)
            for page in ("/numbers", "/nothing", "/moved")
            for headers in ({}, {"Accept-Encoding": "gzip"})
            for _time in range(10)]


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(map(int, file.read().split()))


def serve(session, environment):
    """Runs the server over some requests; returns (what users see of it, its status, requests by worker, workers)."""
    client = Client(session.folder / "nginx.sock")
    server = session.serve([real.find("nginx"), "-c", session.folder / "nginx.conf", "-e", "stderr"], environment)
    real.wait_for(server, client.is_up, "nginx answers")
    first = children_of(server.pid)
    answers = request_some(client)
    os.kill(server.pid, signal.SIGHUP)
    real.wait_for(server, lambda: client.is_served_by_others(first), "nginx has new workers")
    real.wait_for(server, lambda: not children_of(server.pid) & first, "the old workers have ended")
    workers = first | children_of(server.pid)
    answers += request_some(client)
    # The workers end when they have finished their work, and the first process then.
    os.kill(server.pid, signal.SIGQUIT)
    return answers, session.end(server), client.requests, workers


def test_requests(session):
    session.folder.chmod(0o777)  # for the workers
    pages = session.folder / "pages"
    pages.mkdir()
    (pages / "numbers").write_bytes(PAGE)
    (session.folder / "nginx.conf").write_text(CONFIGURATION.format(folder=session.folder))

    plain, status, _requests, _workers = serve(session, session.environment())
    session.equal("nginx: status without the library", status, 0)
    session.equal("nginx: answers without the library", [answer[0] for answer in plain[::10]],
                  2 * [200, 200, 404, 404, 301, 301])
    session.equal("nginx: the page", plain[0][1], PAGE)
    session.equal("nginx: the page, packed", plain[10][1], b"gzip: " + PAGE)
    for rate in real.RATES:
        output = session.new_output()
        answers, status, requests, workers = serve(session, session.preloaded(output, rate))
        session.check(f"nginx at {rate}: answers as without the library", answers == plain,
                      [answer[0] for answer in answers])
        session.equal(f"nginx at {rate}: status", status, 0)
        session.equal(f"nginx at {rate}: complaints", [line for line in session.server_log().splitlines()
                                                       if "[notice]" not in line], [])
        if rate == "512K" and not list(output.iterdir()):
            continue  # a few hundred KiB in each process: nothing need have been sampled
        paths = session.collect(output)
        profiles = session.good(paths)
        if rate == "1":
            session.equal("nginx: processes", len(paths), 5)
            for path in paths:
                session.shares(path, "alloc_space", {"ngx_alloc": 0.1})
            check_workers(session, dict(zip(paths, profiles)), requests, workers)


def check_workers(session, profiles, requests, workers):
    """A pool for each request, made by the worker that took it; and none in the first process."""
    pools = {int(path.name.split(".")[2]): profile.total("ngx_http_create_request").alloc_objects
             for path, profile in profiles.items()}
    session.check("nginx: processes are the first and four workers", workers < set(pools) and len(workers) == 4,
                  f"{workers} {pools}")
    session.equal("nginx: pools of requests by process", pools, {pid: requests[pid] for pid in pools})


real.main({"requests": test_requests})
