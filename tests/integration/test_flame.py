#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: test_flame.py TOOL LIBRARY

Pictures of `heapmark flame`, read as the XML that they are: every width, colour and figure against the profile.
"""
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))
import pprof  # noqa: E402
import pprof_write  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
PATIENCE_SECONDS = 60
PANEL_WIDTH = 1168
LEFT = 16
# Coordinates have two decimals, and a gap of 0.6 is left between frames.
ROUNDING = 0.62

passed = failed = 0


def check(name, condition, detail=""):
    global passed, failed
    passed, failed = passed + bool(condition), failed + (not condition)
    if not condition:
        print(f"FAILED {name}: {detail}"[:2000])


def equal(name, actual, expected):
    check(name, actual == expected, f"{actual!r}, expected {expected!r}")


class Frame:
    def __init__(self, group):
        rect = group.find(SVG + "rect")
        self.title = group.findtext(SVG + "title")
        self.name = self.title.split("\n")[0]
        self.x, self.y, self.width = (float(rect.get(key)) for key in ("x", "y", "width"))
        self.kept = int(re.search(r"k(\d)", group.get("class"))[1])
        text = group.find(SVG + "text")
        self.label = "" if text is None else "".join(text.itertext())


class Picture:
    def __init__(self, data):
        self.root = xml.fromstring(data)
        self.panels = [[Frame(group) for group in panel] for panel in self.root.iter(SVG + "g")
                       if panel.get("class") == "panel"]
        self.text = "\n".join("".join(text.itertext()) for text in self.root.iter(SVG + "text"))

    def frame(self, panel, name):
        (frame,) = [frame for frame in self.panels[panel] if frame.name == name]
        return frame


class Place:
    def __init__(self, folder, tool, library):
        self.folder, self.tool, self.library = Path(folder), tool, library

    def run(self, *arguments, **more):
        environment = {key: value for key, value in os.environ.items() if not key.startswith("HEAPMARK")}
        return subprocess.run([self.tool, *map(str, arguments)], cwd=self.folder, env=environment, capture_output=True,
                              timeout=PATIENCE_SECONDS, check=False, **more)

    def picture(self, stacks, *options, **more):
        pprof_write.write(self.folder / "made.pb.gz", stacks, **more)
        outcome = self.run("flame", "-o", "-", *options, "made.pb.gz")
        equal(f"{options}: status", (outcome.returncode, outcome.stderr), (0, b""))
        return Picture(outcome.stdout)


# main keeps half of 1000: a cache keeps all of its 400, a parser 100 of 600, of which an inlined reader 0 of 300.
STACKS = [
    (["malloc", "cache_add", "main"], (4, 400, 4, 400)),
    (["malloc", "parse", "main"], (3, 300, 1, 100)),
    (["malloc", ["read_inlined", "parse"], "main"], (3, 300, 0, 0)),
]
DROP = "malloc|calloc"


def check_widths(name, picture, panel, total, expected):
    for function, (bytes_, kept_class, x_bytes) in expected.items():
        frame = picture.frame(panel, function)
        check(f"{name}: {function}: width", abs(frame.width - PANEL_WIDTH * bytes_ / total) < ROUNDING, frame.width)
        check(f"{name}: {function}: place", abs(frame.x - LEFT - PANEL_WIDTH * x_bytes / total) < ROUNDING, frame.x)
        equal(f"{name}: {function}: colour", frame.kept, kept_class)
    equal(f"{name}: frames", sorted(frame.name for frame in picture.panels[panel]), sorted(expected))


# Bytes, class of colour, and where it begins: siblings by size, the largest first.
ALLOC = {"all": (1000, 4, 0), "main": (1000, 4, 0), "parse": (600, 2, 0), "read_inlined": (300, 0, 0),
         "cache_add": (400, 6, 600)}
INUSE = {"all": (500, 4, 0), "main": (500, 4, 0), "cache_add": (400, 6, 0), "parse": (100, 2, 400)}
# In a pair both are in the order of what was allocated.
PAIRED = {**INUSE, "parse": (100, 2, 0), "cache_add": (400, 6, 100)}


def test_widths(place):
    picture = place.picture(STACKS, "--by", "alloc", drop_frames=DROP)
    check_widths("alloc", picture, 0, 1000, ALLOC)
    equal("alloc: panels", len(picture.panels), 1)
    equal("alloc: rows", [picture.frame(0, name).y - picture.frame(0, "all").y
                          for name in ("main", "parse", "read_inlined")], [18, 36, 54])
    equal("alloc: what a frame tells", picture.frame(0, "parse").title,
          "parse\nin made\nallocated 600 B, 60.0 %\nin use 100 B, 20.0 %\nkept 16.7 %")
    equal("alloc: label", picture.frame(0, "parse").label, "parse600 B, 17% kept")
    check("alloc: whose", "made.pb.gz: allocated" in picture.text, picture.text)
    check("alloc: nothing left out", "0 frames narrower than half a pixel are left out" in picture.text, picture.text)
    picture = place.picture(STACKS, drop_frames=DROP)
    check_widths("inuse", picture, 0, 500, INUSE)
    picture = place.picture(STACKS, "--pair", drop_frames=DROP)
    check_widths("pair, above", picture, 0, 1000, ALLOC)
    check_widths("pair, below", picture, 1, 500, PAIRED)
    check("pair: both on one scale", "of the 1000 B allocated, 500 B is still in use, 50.0 %" in picture.text,
          picture.text)
    bars = [float(rect.get("width")) for rect in picture.root.findall(SVG + "rect") if rect.get("height") == "8"]
    equal("pair: bar", bars, [PANEL_WIDTH, PANEL_WIDTH / 2])


def pixels_of(png):
    """The rows of a PNG of 8 bits a channel, as lists of (red, green, blue)."""
    chunks, offset = {}, 8
    while offset < len(png):
        size, kind = struct.unpack(">I4s", png[offset:offset + 8])
        chunks[kind] = chunks.get(kind, b"") + png[offset + 8:offset + 8 + size]
        offset += size + 12
    width, height, _depth, color = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    channels = {2: 3, 6: 4}[color]
    data, stride, rows = zlib.decompress(chunks[b"IDAT"]), width * channels, []
    above = bytes(stride)
    for line in range(height):
        method, *row = data[line * (stride + 1):(line + 1) * (stride + 1)]
        for i in range(stride):
            left, corner = (row[i - channels], above[i - channels]) if i >= channels else (0, 0)
            paeth = min((left, above[i], corner), key=lambda value: abs(left + above[i] - corner - value))
            row[i] = (row[i] + [0, left, above[i], (left + above[i]) // 2, paeth][method]) & 0xff
        above = row
        rows.append([tuple(row[i:i + 3]) for i in range(0, stride, channels)])
    return rows


# Of tools/flame_svg.c.
KEPT_COLORS = ["ece7dc", "f6e3b4", "fbc981", "f6a05c", "e97a4e", "c2413f", "8d1538"]


def test_static(place):
    """As an image, by a program that runs no script: each frame is there, in the colour of what was kept."""
    if shutil.which("rsvg-convert") is None:
        print("rsvg-convert is not installed: the image was not looked at")
        return
    picture = place.picture(STACKS, "--by", "alloc", "--pair", drop_frames=DROP)
    png = subprocess.run(["rsvg-convert"], input=xml.tostring(picture.root), check=True, capture_output=True,
                         timeout=PATIENCE_SECONDS).stdout
    pixels = pixels_of(png)
    equal("image: size", (len(pixels[0]), str(len(pixels))), (1200, picture.root.get("height")))
    for panel in picture.panels:
        for frame in panel:
            shown = pixels[int(frame.y) + 1][int(frame.x + frame.width / 2)]
            equal(f"image: colour of {frame.name}", bytes(shown).hex(), KEPT_COLORS[frame.kept])


def test_drop_frames(place):
    shown = {frame.name for frame in place.picture(STACKS, "--by", "alloc").panels[0]}
    check("nothing dropped: malloc is shown", "malloc" in shown, shown)
    pprof_write.write(place.folder / "bad.pb.gz", STACKS, drop_frames="(")
    outcome = place.run("flame", "bad.pb.gz")
    equal("drop_frames that nobody understands: status", outcome.returncode, 0)
    check("drop_frames that nobody understands: warning", b"cannot be understood" in outcome.stderr, outcome.stderr)


def test_narrow(place):
    """Of 10000 bytes a pixel is 8.56: what has 4 bytes is left out with what it calls, what has 5 is not."""
    stacks = [(["big", "main"], (1, 9982, 1, 9982)), (["inner", "four", "main"], (1, 4, 1, 4)),
              (["five", "main"], (1, 5, 1, 5)), (["nine", "main"], (1, 9, 1, 9))]
    picture = place.picture(stacks)
    equal("narrow frames", {frame.name for frame in picture.panels[0]}, {"all", "main", "big", "five", "nine"})
    check("narrow frames are counted", "2 frames narrower than half a pixel are left out" in picture.text, picture.text)
    total = sum(frame.width for frame in picture.panels[0] if frame.name in ("big", "five", "nine"))
    check("the others keep their places", abs(total - PANEL_WIDTH * 9996 / 10000) < 2, total)


def test_hostile(place):
    names = ['</title><script>alert("1")</script>', "a&b", "]]>", "\x1b[31mred", "caf\xe9 <T>", b"\xff\xfe", "中" * 200,
             "\ufffe\uffff!", b"\xc2\x85", "new\nline", ""]
    stacks = [([name, "main"], (1, 1000, 1, 1000)) for name in names]
    picture = place.picture(stacks, comments=["#heapmark.comm=<b>", "#heapmark.pid=1"])
    equal("hostile names: scripts", len(picture.root.findall(f".//{SVG}script")), 1)
    shown = {frame.name for frame in picture.panels[0]}
    for name in ('</title><script>alert("1")</script>', "a&b", "]]>", "?[31mred", "café <T>", "??", "??!", "中" * 200, "?",
                 "new?line", "[made]"):
        check(f"hostile names: {name}", name in shown, shown)
    check("hostile names: title", "<b>[1]: in use" in picture.text, picture.text)
    wide = picture.frame(0, "中" * 200)
    check("wide letters are cut in time", re.fullmatch("中+…", wide.label) and 2 * len(wide.label) * 6.63 < wide.width + 7,
          wide.label)


def test_deep(place):
    """A thousand frames: half are beyond the limit, which the picture and a warning say."""
    stack = [f"f{number}" for number in range(1000)]
    pprof_write.write(place.folder / "deep.pb.gz", [(stack, (1, 1000, 1, 1000)), (["x"], (1, 1000, 1, 1000))])
    outcome = place.run("flame", "-o", "-", "deep.pb.gz")
    picture = Picture(outcome.stdout)
    equal("deep: frames", len(picture.panels[0]), 1 + 512 + 1)
    check("deep: said in the picture", "1 samples have frames beyond the limits (512 deep" in picture.text, picture.text)
    check("deep: said", b"1 samples have frames beyond the limits" in outcome.stderr, outcome.stderr)
    equal("deep: status", outcome.returncode, 0)


def test_lies(place):
    """Values that do not fit together: negative ones, and more in use than allocated."""
    stacks = [(["a", "main"], (1, 100, 5, 900)), (["b", "main"], (1, -50, 1, -700)), (["c", "main"], (1, 20, 0, 0))]
    for options in (["--by", "alloc"], ["--by", "inuse"], ["--pair"]):
        for panel in place.picture(stacks, *options).panels:
            equal(f"lies {options}: frames outside", [
                frame.name for frame in panel
                if frame.x < LEFT or frame.x + frame.width > LEFT + PANEL_WIDTH + ROUNDING], [])


def test_files(place):
    folder = place.folder
    pprof_write.write(folder / "heapmark.x.1.pb.gz", STACKS)
    for expected in ("heapmark.x.1.svg", "heapmark.x.1-2.svg", "heapmark.x.1-3.svg"):
        outcome = place.run("flame", "heapmark.x.1.pb.gz")
        equal(f"{expected}: said", outcome.stderr.decode(),
              f"heapmark: wrote heapmark.x.1{expected[12:]}\nheapmark: next  xdg-open heapmark.x.1{expected[12:]}\n")
        equal(f"{expected}: mode", (folder / expected).stat().st_mode & 0o777, 0o600)
    before = (folder / "heapmark.x.1.svg").read_bytes()
    equal("the same each time", (folder / "heapmark.x.1-2.svg").read_bytes(), before)
    equal("-o replaces", (place.run("flame", "-q", "--pair", "-o", "heapmark.x.1.svg", "heapmark.x.1.pb.gz").stderr,
                          (folder / "heapmark.x.1.svg").read_bytes() != before), (b"", True))
    for arguments, status, why in (
            ([], 2, b"there is no PID"), (["a", "b"], 2, b"a picture shows one"), (["--by", "age", "x"], 2, b"--by age"),
            (["nowhere.pb.gz"], 2, b"nowhere.pb.gz"), (["-o", "/nowhere/x.svg", "heapmark.x.1.pb.gz"], 2, b"/nowhere/x.svg"),
            (["/dev/null"], 2, b"/dev/null")):
        outcome = place.run("flame", *arguments)
        equal(f"{arguments}: status", outcome.returncode, status)
        check(f"{arguments}: says why", why in outcome.stderr and b"heapmark: next" in outcome.stderr, outcome.stderr)
    outcome = place.run("flame", "-o", "/dev/full", "heapmark.x.1.pb.gz")
    equal("a full disk: status", outcome.returncode, 2)
    check("a full disk: says so", b"No space left" in outcome.stderr, outcome.stderr)


def test_nothing(place):
    freed = [(["parse", "main"], (3, 300, 0, 0))]
    pprof_write.write(place.folder / "freed.pb.gz", freed)
    outcome = place.run("flame", "freed.pb.gz")
    equal("nothing in use: status", outcome.returncode, 2)
    check("nothing in use: what to type", b"next  heapmark flame --by alloc freed.pb.gz" in outcome.stderr, outcome.stderr)
    picture = place.picture(freed, "--pair")
    check("nothing in use: a pair shows the other", "nothing" in picture.text and len(picture.panels) == 1, picture.text)
    pprof_write.write(place.folder / "empty.pb.gz", [])
    outcome = place.run("flame", "--pair", "empty.pb.gz")
    check("no samples: says so", outcome.returncode == 2 and b"nothing was sampled" in outcome.stderr, outcome.stderr)


def test_terminal(place):
    pprof_write.write(place.folder / "made.pb.gz", STACKS)
    primary, secondary = pty.openpty()
    outcome = subprocess.run([place.tool, "flame", "-o", "-", "made.pb.gz"], cwd=place.folder, stdout=secondary,
                             stderr=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=False)
    os.close(secondary)
    os.close(primary)
    equal("a terminal: status", outcome.returncode, 2)
    check("a terminal: says why", b"a terminal cannot show it" in outcome.stderr, outcome.stderr)


def test_program(place):
    """A real program: the picture's totals are the profile's, to the figure that is shown; a ledger gives the same."""
    environment = {**os.environ, "LD_PRELOAD": str(place.library), "HEAPMARK_DIR": str(place.folder),
                   "HEAPMARK_RATE": "1"}
    subprocess.run(["python3", "-c", "import os; kept = [str(n) * 10 for n in range(20000)]; os._exit(0)"], check=True,
                   env=environment, timeout=PATIENCE_SECONDS)
    (ledger,) = place.folder.glob("*.ledger")
    profile = place.folder / "python.pb.gz"
    equal("dump: status", place.run("dump", "-q", "-o", profile, ledger).returncode, 0)
    outcomes = [place.run("flame", "--pair", "-o", "-", source) for source in (ledger, profile)]
    equal("flame: status", [outcome.returncode for outcome in outcomes], [0, 0])
    total = pprof.read(profile).total()
    for picture in (Picture(outcome.stdout) for outcome in outcomes):
        mebibytes = [float(re.search(r"allocated ([\d.]+) MiB", picture.frame(0, "all").title)[1]),
                     float(re.search(r"in use ([\d.]+) MiB", picture.frame(1, "all").title)[1])]
        for shown, truth in zip(mebibytes, (total.alloc_space, total.inuse_space)):
            check("a program: total", abs(shown - truth / (1 << 20)) <= 0.06 or shown == truth >> 20, (shown, truth))
        for panel in picture.panels:
            equal("a program: labels that do not fit",
                  [frame.label for frame in panel if len(frame.label) * 6.63 > frame.width + 1], [])


def main():
    tool, library = map(os.path.abspath, sys.argv[1:3])
    for test in (test_widths, test_static, test_drop_frames, test_narrow, test_hostile, test_deep, test_lies, test_files, test_nothing,
                 test_terminal, test_program):
        with tempfile.TemporaryDirectory(prefix="heapmark-flame-") as folder:
            test(Place(folder, tool, library))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
