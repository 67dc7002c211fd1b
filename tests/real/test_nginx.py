#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nginx with two workers, which give up root if they have it, serves a few files over a socket."""
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


def fetch(path, page, **headers):
    """Returns (status, body) of one request."""
    connection = Connection(path)
    try:
        connection.request("GET", page, headers=headers)
        response = connection.getresponse()
        body = response.read()
        if response.getheader("Content-Encoding") == "gzip":
            body = b"gzip: " + gzip.decompress(body)
        return response.status, body
    finally:
        connection.close()


def is_up(path):
    try:
        return fetch(path, "/numbers")[0] == 200
    except OSError:
        return False


def serve(session, environment):
    """Runs the server over some requests; returns what users see of it."""
    path = session.folder / "nginx.sock"
    server = session.serve([real.find("nginx"), "-c", session.folder / "nginx.conf", "-e", "stderr"], environment)
    real.wait_for(server, lambda: is_up(path), "nginx answers")
    answers = [fetch(path, page, **headers)
               for page in ("/numbers", "/nothing", "/moved")
               for headers in ({}, {"Accept-Encoding": "gzip"})
               for _time in range(10)]
    # The workers end when they have finished their work, and the first process then.
    os.kill(server.pid, signal.SIGQUIT)
    return answers, session.end(server)


def test_requests(session):
    session.folder.chmod(0o777)  # for the workers
    pages = session.folder / "pages"
    pages.mkdir()
    (pages / "numbers").write_bytes(PAGE)
    (session.folder / "nginx.conf").write_text(CONFIGURATION.format(folder=session.folder))

    plain, status = serve(session, session.environment())
    session.equal("nginx: status without the library", status, 0)
    session.equal("nginx: answers without the library", [answer[0] for answer in plain[::10]],
                  [200, 200, 404, 404, 301, 301])
    session.equal("nginx: the page", plain[0][1], PAGE)
    session.equal("nginx: the page, packed", plain[10][1], b"gzip: " + PAGE)
    for rate in real.RATES:
        output = session.new_output()
        answers, status = serve(session, session.preloaded(output, rate))
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
            session.equal("nginx: processes", len(paths), 3)
            for path in paths:
                session.shares(path, "alloc_space", {"ngx_alloc": 0.1})
            # A pool for each request, made by the worker that took it.
            pools = sorted(profile.total("ngx_http_create_request").alloc_objects for profile in profiles)
            session.check("nginx: pools of requests", pools[0] == 0 and sum(pools) >= len(answers), pools)


real.main({"requests": test_requests})
