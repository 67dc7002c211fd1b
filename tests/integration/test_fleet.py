#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The configurations of docs/fleet.md, as far as they can be checked without the servers that they are for.

Each block is taken out of the page and given to the program that reads it, where Debian has one.  Of the others the
names of fields are held against those that the projects' sources know, and the paths are asked of a server of ours.
Paths and output as in test_tools.py, whose helpers it uses.
"""

import os
import re
import subprocess
import sys

import test_tools as common
import yaml
from test_serve import Server, steps
from test_tools import TOOL, check, contains, equal

with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/fleet.md"), encoding="utf-8") as page:
    PAGE = page.read()


def blocks(section, language):
    """The code blocks of a language below a heading."""
    text = re.split(rf"^##+ {section}\n", PAGE, flags=re.MULTILINE)[1]
    return re.findall(rf"^```{language}\n(.*?)^```", re.split(r"^##+ ", text, flags=re.MULTILINE)[0],
                      re.MULTILINE | re.DOTALL)


def paths_of(value):
    """Where the fields of a document lie: "a.b[].c"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from (f"{key}.{path}" for path in paths_of(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from (f"[].{path}" for path in paths_of(inner))


def known_fields(name, document, patterns):
    """Each field is one of these; a part "*" is any name."""
    expressions = [re.escape(pattern).replace(r"\*", "[^.]+") for pattern in patterns.split()]
    unknown = [path for path in paths_of(document)
               if not any(re.fullmatch(expression, path) for expression in expressions)]
    equal(f"{name}: fields that it does not know", unknown, [])


def write(place, path, text):
    path = os.path.join(place.path, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def run(*command):
    result = subprocess.run(command, capture_output=True, check=False, text=True)
    return result.returncode, result.stdout + result.stderr


def test_prometheus(place):
    [text] = blocks("Prometheus", "yaml")
    status, output = run("promtool", "check", "config", write(place, "prometheus.yml", text))
    check("the configuration", status == 0, output)

    lines = re.split(r"^Useful expressions:\n\n", PAGE, flags=re.MULTILINE)[1].split("\n\n")[0].splitlines()
    expressions = [re.split(r" {2,}", line.strip())[0] for line in lines]
    check("expressions: there are some", len(expressions) >= 6, expressions)
    rules = [{"record": f"expression:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    status, output = run("promtool", "check", "rules", write(place, "rules.yml", yaml.safe_dump(
        {"groups": [{"name": "fleet", "rules": rules}]})))
    check("the expressions", status == 0, output)
    with steps(place) as subject, Server(place, str(subject.pid)) as server:
        there = set(re.findall(r"^# TYPE (\S+)", server.text("/metrics")[1], re.MULTILINE))
    named = set(re.findall(r"\b(?:heapmark|process)_[a-z_]+[a-z]\b(?!_?\*)", "\n".join(expressions) + text))
    equal("names that /metrics does not have", named - there, set())


def test_systemd(place):
    """What it does not understand it only warns of."""
    unit, addition = blocks("systemd", "ini")
    program = re.search(r"^ExecStart=(\S+) ", unit, re.MULTILINE)[1]
    equal("the program", program, "/usr/bin/heapmark")
    service = write(place, "heapmark-serve.service", unit.replace(program, TOOL))
    server = write(place, "server.service", "[Service]\nExecStart=/bin/true\n")
    write(place, "server.service.d/override.conf", addition)
    for name, file in (("the unit", service), ("what is added to another", server)):
        status, output = run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", file)
        check(name, status == 0 and place.path not in output, output)
    write(place, "server.service.d/override.conf", addition.replace("Environment=LD", "Environmant=LD"))
    contains("a mistake would be seen", run("systemd-analyze", "verify", "--man=no", "--recursive-errors=no", server)[1],
             r"Unknown key (name )?'Environmant'")
    line = re.search(r"`/etc/tmpfiles\.d/heapmark\.conf` with `(.*?)`", PAGE)[1]
    root = os.path.join(place.path, "root")
    os.makedirs(os.path.join(root, "var/lib/heapmark"))
    equal("tmpfiles", run("systemd-tmpfiles", "--clean", f"--root={root}", write(place, "heapmark.conf", line + "\n")),
          (0, ""))


def test_kubernetes(place):
    [text] = blocks("Kubernetes", "yaml")
    pod = yaml.safe_load(text)
    known_fields("Pod", pod, """apiVersion kind metadata metadata.name metadata.annotations
        metadata.annotations.prometheus.io/scrape metadata.annotations.prometheus.io/port
        spec spec.shareProcessNamespace spec.volumes spec.volumes.[].name spec.volumes.[].emptyDir
        spec.volumes.[].emptyDir.sizeLimit spec.containers spec.containers.[].name spec.containers.[].image
        spec.containers.[].args spec.containers.[].env spec.containers.[].env.[].name spec.containers.[].env.[].value
        spec.containers.[].ports spec.containers.[].ports.[].name spec.containers.[].ports.[].containerPort
        spec.containers.[].volumeMounts spec.containers.[].volumeMounts.[].name
        spec.containers.[].volumeMounts.[].mountPath spec.containers.[].securityContext
        spec.containers.[].securityContext.runAsUser spec.containers.[].resources spec.containers.[].resources.limits
        spec.containers.[].resources.limits.memory""")
    program, sidecar = pod["spec"]["containers"]
    volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
    mounts = [mount for container in (program, sidecar) for mount in container["volumeMounts"]]
    equal("volumes", {mount["name"] for mount in mounts}, volumes)
    equal("texts, as annotations and variables have to be",
          {type(value) for value in [*pod["metadata"]["annotations"].values(),
                                     *(variable["value"] for variable in program["env"])]}, {str})
    equal("one user", program["securityContext"], sidecar["securityContext"])
    variables = {variable["name"]: variable["value"] for variable in program["env"]}
    arguments = sidecar["args"]
    equal("where ledgers are", {variables["HEAPMARK_DIR"], arguments[-1]}, {mount["mountPath"] for mount in mounts})
    port = sidecar["ports"][0]["containerPort"]
    equal("the port", (f":{port}", pod["metadata"]["annotations"]["prometheus.io/port"]), (arguments[2], str(port)))
    equal("the verb", arguments[:2], ["serve", "-l"])

    environment = {key: value for key, value in variables.items() if key not in ("LD_PRELOAD", "HEAPMARK_DIR")}
    with steps(place, **environment) as subject, Server(place, *arguments[3:-1], place.path) as server:
        name = arguments[arguments.index("--allow-host") + 1]
        equal("the service's name", server.ask(f"/metrics?pid={subject.pid}", Host=name)[0], 200)
        equal("another name", server.ask(f"/metrics?pid={subject.pid}", Host="else." + name)[0], 403)


def scraped(name, server, pid, path):
    """A collector gets a profile there."""
    status, headers, content = server.ask(f"{path}{'&' if '?' in path else '?'}pid={pid}")
    equal(f"{name}: {path}", (status, headers["Content-Type"], content[:2]), (200, "application/octet-stream", b"\x1f\x8b"))


def seconds(text):
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_parca(place):
    [text] = blocks("Parca", "yaml")
    document = yaml.safe_load(text)
    known_fields("Parca", document, """object_storage object_storage.bucket object_storage.bucket.type
        object_storage.bucket.config object_storage.bucket.config.directory scrape_configs scrape_configs.[].job_name
        scrape_configs.[].params scrape_configs.[].params.* scrape_configs.[].scrape_interval
        scrape_configs.[].scrape_timeout scrape_configs.[].static_configs scrape_configs.[].static_configs.[].targets
        scrape_configs.[].profiling_config scrape_configs.[].profiling_config.pprof_config
        scrape_configs.[].profiling_config.pprof_config.* scrape_configs.[].profiling_config.pprof_config.*.enabled
        scrape_configs.[].profiling_config.pprof_config.*.path""")
    [scrape] = document["scrape_configs"]
    profiles = scrape["profiling_config"]["pprof_config"]
    # It refuses a timeout that is not longer, and asks for each of its five that is not switched off.
    check("its timeout", "scrape_timeout" not in scrape or
          seconds(scrape["scrape_timeout"]) > seconds(scrape["scrape_interval"]), scrape)
    equal("its profiles", {name: profile["enabled"] for name, profile in profiles.items()},
          {"memory": True, "process_cpu": False, "goroutine": False, "block": False, "mutex": False})
    equal("parameters are lists", {type(value) for value in scrape["params"].values()}, {list})
    with steps(place) as subject, Server(place, place.path) as server:
        scraped("Parca", server, subject.pid, profiles["memory"]["path"])


def test_alloy(place):
    [text] = blocks("Grafana Alloy and Pyroscope", "alloy")
    profiles = dict(re.findall(r"profile\.(\w+)\s*\{\s*enabled\s*=\s*(\w+)", text))
    # Those that it asks for unless they are switched off, and the one that we have.
    equal("its profiles", profiles, {"godeltaprof_memory": "true", "memory": "false", "process_cpu": "false",
                                     "goroutine": "false", "mutex": "false", "block": "false"})
    without_texts = re.sub(r'"[^"\n]*"', "text", text)
    equal("brackets", [without_texts.count(bracket) for bracket in "{(["], [without_texts.count(bracket) for bracket in "})]"])
    names = set(re.findall(r"^\s*(\w+)\s*=", text, re.MULTILINE)) | set(re.findall(r"\{ (\w+)\s*=", text))
    equal("names that it does not know",
          names - {"targets", "forward_to", "scrape_interval", "scrape_timeout", "enabled", "path", "url"}, set())
    contains("what it forwards to is there", text, r'^pyroscope\.write "store" \{')
    with steps(place) as subject, Server(place, place.path) as server:
        scraped("Alloy", server, subject.pid, re.search(r'path\s*=\s*"(.*?)"', text)[1])


def test_collector(place):
    [text] = blocks("OpenTelemetry collector", "yaml")
    document = yaml.safe_load(text)
    known_fields("collector", document, """receivers receivers.pprof receivers.pprof.remote receivers.pprof.remote.endpoint
        receivers.pprof.remote.collection_interval receivers.pprof.remote.timeout exporters exporters.otlp_http
        exporters.otlp_http.profiles_endpoint service service.pipelines service.pipelines.profiles
        service.pipelines.profiles.receivers service.pipelines.profiles.exporters""")
    pipeline = document["service"]["pipelines"]["profiles"]
    equal("what is named is there", (pipeline["receivers"], pipeline["exporters"]),
          (list(document["receivers"]), list(document["exporters"])))
    path = re.fullmatch(r"http://127\.0\.0\.1:6060(/\S+)\?pid=\d+", document["receivers"]["pprof"]["remote"]["endpoint"])[1]
    with steps(place) as subject, Server(place, place.path) as server:
        scraped("collector", server, subject.pid, path)


if __name__ == "__main__":
    sys.exit(common.main(globals()))
