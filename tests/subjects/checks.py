# SPDX-License-Identifier: Apache-2.0
"""What some rows of the table check beyond the figures of their sites."""
import math
import random
import re
import statistics
import struct
import subprocess
import time

import pprof

# Normal distribution: beyond 4 standard deviations lie 6 values of 100,000.
SIGMAS = 4
SEEDS = range(1, 60, 2)  # the lowest bit of a seed is not used


def nothing_more(case, run):
    """In place of figures: the program has told of none."""


# Names and files

def names(case):
    """heapmark.<comm>.<pid>: comm is the name under which the program was executed, made safe."""
    folder = case.scratch / "bin"
    folder.mkdir()
    for name, comm in (("we ird:näme", "we_ird_n__me"), ("a.b-c_1", "a.b-c_1"), ("x" * 100, "x" * 63)):
        link = folder / name
        link.symlink_to(case.program("plain"))
        run = case.run([str(link)])
        case.equal("files", [f"heapmark.{comm}.{run.pid}.pb.gz"], [path.name for path in run.files()])


def second_name(case, run):
    """The image before exec keeps its ledger under its name, the one after it gets the next."""
    case.equal("files", [f"heapmark.ends.{run.pid}-2.pb.gz", f"heapmark.ends.{run.pid}.ledger"],
               [path.name for path in run.files()])


def nothing(case, run):
    case.equal("files", [], [path.name for path in run.output.iterdir()])


def only_parent(case, run):
    case.equal("files", [f"heapmark.family.{run.pid}.pb.gz"], [path.name for path in run.files()])
    case.equal("allocations of the parent", 52 if "vfork_exec" in run.command else 51,
               run.only_profile().total("allocate_in_parent").alloc_objects)


def default_directory(case, run):
    case.equal("files", [f"heapmark.plain.{run.pid}.pb.gz"],
               [path.name for path in (run.output.parent / "work").iterdir()])


def kept_default_rate(case, run):
    case.equal("period", 512 * 1024, run.only_profile().period)


def nameless_totals(case, run):
    """Where no file can be opened for names, the figures are there all the same."""
    (truth,) = run.truth().values()
    expected = [sum(figures) for figures in zip(*truth.values())]
    total = run.only_profile().total()
    case.expect(all(found >= wanted for wanted, found in zip(expected, total)),
                f"all figures: expected at least {expected}, found {list(total)}")


# Processes

def siblings(case, run):
    """No two children sample alike: at 64K, 61 allocations of 32K, each sampled with probability 0.39."""
    parent = run.pid
    seen = {}
    for path in run.files("pb.gz"):
        if f".{parent}." not in path.name:
            seen[path.name] = sorted(len(sample.frames) for sample in run.profile(path).samples)
    case.equal("children with a profile", 8, len(seen))
    case.equal("different choices of samples", 8, len({tuple(depths) for depths in seen.values()}))


# Estimates

def same_samples(case):
    """HEAPMARK_SEED: a thread's samples depend on the seed alone."""
    profiles = [case.run("statistics 65536", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": seed}).only_profile()
                for seed in ("1", "1", "3")]
    figures = [{site: profile.total(site) for site in profile.functions() if site.startswith("mix_of_")}
               for profile in profiles]
    case.equal("mixes", 5, len(figures[0]))
    case.equal("figures with the same seed", figures[0], figures[1])
    case.expect(figures[0] != figures[2], f"figures with another seed: expected others, found {figures[2]}")


def z_scores(run):
    """{(site, figure): how many standard deviations the estimate is off}"""
    profile, scores = run.only_profile(), {}
    for line in run.lines():
        _, site, objects, size_bytes, objects_variance, bytes_variance = line.split()
        total = profile.total(site)
        for name, found, expected, variance in (
                ("alloc_objects", total.alloc_objects, int(objects), float(objects_variance)),
                ("alloc_space", total.alloc_space, int(size_bytes), float(bytes_variance))):
            scores[site, name] = (found - expected) / math.sqrt(variance)
    return scores


def unbiased(case, rate_bytes, preload="{library}"):
    """
    The estimates of 30 seeds, each mix of sizes for itself, as theory has them: none off by more than 4 standard
    deviations, nor their mean by more than 4 of its own.  The spread of all mixes together: the mean of 150 squares
    of standard normal numbers has the standard deviation sqrt(2 / 150).
    """
    series = {}
    for seed in SEEDS:
        run = case.run(f"statistics {rate_bytes}", {"HEAPMARK_RATE": str(rate_bytes), "HEAPMARK_SEED": str(seed)},
                       preload)
        for key, score in z_scores(run).items():
            series.setdefault(key, []).append(score)
            case.expect(abs(score) <= SIGMAS, f"{key}, seed {seed}: expected within {SIGMAS} standard deviations, "
                                              f"found {score:+.2f}")
    case.equal("mixes and figures", 10, len(series))
    for key, scores in series.items():
        mean, bound = statistics.fmean(scores), SIGMAS / math.sqrt(len(scores))
        case.expect(abs(mean) <= bound, f"mean of {key}: expected within {bound:.2f} standard deviations, "
                                        f"found {mean:+.2f}")
    for figure in ("alloc_objects", "alloc_space"):
        squares = [score * score for (_, name), scores in series.items() if name == figure for score in scores]
        bound = SIGMAS * math.sqrt(2 / len(squares))
        spread = statistics.fmean(squares)
        case.expect(abs(spread - 1) <= bound, f"variance of {figure}: expected 1 +- {bound:.2f} of what theory says, "
                                              f"found {spread:.2f}")


def unbiased_64k(case):
    unbiased(case, 64 * 1024)


def unbiased_512k(case):
    unbiased(case, 512 * 1024)


def unbiased_inside(case):
    """An allocator that calls its own exported functions: what it calls is no allocation of the program."""
    unbiased(case, 64 * 1024, "{library} {programs}/reentrant.so")


def short_threads(case):
    """The only allocation of each of 100,000 threads is sampled as often as any other."""
    count, size_bytes, rate_bytes = 100_000, 4096, 64 * 1024
    run = case.run(f"short_threads {count} {size_bytes}", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": "1"})
    p = 1 - math.exp(-(size_bytes + 1) / rate_bytes)
    deviation = math.sqrt(count * (1 - p) / p)
    found = run.only_profile().total("allocate_once")
    score = (found.alloc_objects - count) / deviation
    case.expect(abs(score) <= SIGMAS, f"alloc_objects: expected {count} +- {SIGMAS * deviation:.0f}, found "
                                      f"{found.alloc_objects}")
    case.expect(abs(found.alloc_space / size_bytes - found.alloc_objects) <= 1,
                f"alloc_space: expected {found.alloc_objects} times {size_bytes}, found {found.alloc_space}")


def floating_modes(case):
    """Traps and rounding of the program: no SIGFPE, and the same figures."""
    figures = {}
    for mode in ("plain", "traps", "upward", "zero"):
        run = case.run(f"floating {mode}", {"HEAPMARK_RATE": "64K", "HEAPMARK_SEED": "7"})
        case.equal(f"exit status ({mode})", 0, run.status)
        case.equal(f"output ({mode})", ["exceptions raised: 0", "rounding: as set"], run.lines())
        case.check_said(run, ())
        profile = run.only_profile()
        figures[mode] = [profile.total(site) for site in ("floating_small", "floating_large")]
        case.expect(all(total.alloc_objects > 0 for total in figures[mode]), f"a site has no sample ({mode})")
        case.equal(f"figures ({mode})", figures["plain"], figures[mode])


# Losses

def missed_frees(case, run):
    """What was freed behind our back counts as freed when its address comes again, and is told."""
    missed = run.only_profile().losses.get("missed_free", 0)
    before = run.only_profile().total("host_before")
    case.equal("alloc_objects and alloc_space of host_before", (100, 33300), before[:2])
    case.equal("inuse_objects of host_before", 100 - missed, before.inuse_objects)
    case.expect(missed > 0, "losses: expected missed frees, found none")
    case.equal("host_after", (200, 66600, 200, 66600), run.only_profile().total("host_after"))


def lossy_totals(case, run, site, loss):
    """What had no room is under a name of its own: the sum of what was allocated stays right."""
    (truth,) = run.truth().values()
    profile = run.only_profile()
    parts = [profile.total(name) for name in (site, "[overflow]", "[dropped]")]
    total = sum(parts, pprof.Figures())
    lost = parts[1] + parts[2]
    case.equal(f"alloc_objects of {site}, [overflow] and [dropped]", truth[site][0], total.alloc_objects)
    case.equal(f"alloc_space of {site}, [overflow] and [dropped]", truth[site][1], total.alloc_space)
    case.expect(0 < lost.alloc_objects < truth[site][0], f"expected a part to be lost, found {lost.alloc_objects}")
    case.equal(f"loss.{loss}", lost.alloc_objects, profile.losses.get(loss, 0))
    words = f"{profile.losses.get(loss, 0)} samples without room"
    case.expect(any(words in comment for comment in profile.comments), f"no comment says: {words}")
    for path in run.files():
        shown = subprocess.run([run.tool, "check", path], capture_output=True, text=True).stdout
        case.expect(words in shown, f"heapmark check does not say: {words}")
        if path.suffix == ".ledger":
            limit_bytes = int(run.environment["HEAPMARK_MAX"].removesuffix("K")) * 1024
            case.expect(path.stat().st_size <= limit_bytes, f"size of the ledger: expected at most {limit_bytes}, "
                                                            f"found {path.stat().st_size}")
    return total


def lost_stacks(case, run):
    """A sample without a stack of its own is followed to its free all the same."""
    (truth,) = run.truth().values()
    total = lossy_totals(case, run, "at_many_stacks", "stacks")
    case.equal("in use", tuple(truth["at_many_stacks"][2:]), total[2:])


def lost_live(case, run):
    """A sample that cannot be followed to its free is counted as freed at once."""
    (truth,) = run.truth().values()
    total = lossy_totals(case, run, "one_of_many", "live")
    case.expect(0 < total.inuse_space <= truth["one_of_many"][3], f"in use: expected at most "
                f"{truth['one_of_many'][3]}, found {total.inuse_space}")
    case.equal("in use of [dropped]", (0, 0), run.only_profile().total("[dropped]")[2:])


def cut_to(frame_count):
    def check(case, run):
        profile = run.only_profile()
        longest = max(sum(not name.startswith("[") for name in sample.functions()) for sample in profile.samples)
        case.equal("frames of the longest stack", frame_count, longest)
        case.expect(profile.losses.get("cut", 0) > 0, "losses: expected cut stacks, found none")
        case.check_figures(run, losses=("cut",))
    return check


def own_names(case, run):
    """Two objects that took turns at one address keep their names; and neither has the other's figures."""
    profile = run.only_profile()
    case.expect("one address" in run.lines(), "the loader has put them at two addresses: nothing is checked")
    for sample in profile.samples:
        twins = {"castor", "pollux"}.intersection(sample.functions())
        files = {frame.mapping.rsplit("/", 1)[-1] for frame in sample.frames if frame.function in twins}
        case.expect(files <= {f"{name}.so" for name in twins},
                    f"expected {twins} in the file of that name, found {files}")
    case.check_figures(run)


# A kill at any instant

class Counts:
    """struct counts of programs/counted.c, summed over its threads; index 0 objects, 1 bytes."""
    LAYOUT = struct.Struct("8Q")

    def __init__(self, path):
        threads = list(self.LAYOUT.iter_unpack(path.read_bytes()))
        numbers = [sum(column) for column in zip(*threads)]
        self.alloc_begun, self.alloc_done, self.free_begun, self.free_done = (numbers[i:i + 2] for i in (0, 2, 4, 6))

    def bounds(self):
        """[(lowest, highest)] for each figure."""
        alloc = list(zip(self.alloc_done, self.alloc_begun))
        freed = list(zip(self.free_done, self.free_begun))
        return alloc + [(allocs[0] - frees[1], allocs[1] - frees[0]) for allocs, frees in zip(alloc, freed)]


def killed_at_random(case):
    """Whenever the kill comes: the figures are those of what was done, give or take what had just begun."""
    chance = random.Random(1)
    counts_path = case.scratch / "counts"
    for number in range(200):
        process, output = start_counted(case, counts_path)
        time.sleep(chance.uniform(0, 0.015))
        process.kill()
        process.communicate()
        ledgers = list(output.glob("*.ledger"))
        case.equal(f"run {number}: ledgers", 1, len(ledgers))
        for path in ledgers:
            check_killed(case, f"run {number}", path, Counts(counts_path).bounds())
            path.unlink()
        if len(case.failures) > 10:
            break


def start_counted(case, counts_path):
    """Returns the process and its HEAPMARK_DIR, when it has begun."""
    output = case.scratch / "output"
    output.mkdir(exist_ok=True)
    environment = {"LD_PRELOAD": str(case.build.library), "HEAPMARK_RATE": "1", "HEAPMARK_DIR": str(output)}
    process = subprocess.Popen([case.program("counted"), counts_path], env=environment, stdout=subprocess.PIPE)
    process.stdout.readline()
    return process, output


def check_killed(case, name, ledger, bounds):
    result = subprocess.run([case.build.tool, "dump", "-q", "-o", "-", ledger], capture_output=True)
    if result.returncode != 0:
        case.fail(f"{name}: heapmark dump: expected exit status 0, found {result.returncode}: "
                  f"{result.stderr.decode()}")
        return
    found = pprof.parse(pprof.gzip.decompress(result.stdout)).total("counted")
    for figure, value, (lowest, highest) in zip(pprof.TYPES, found, bounds):
        case.expect(lowest <= value <= highest, f"{name}: {figure}: expected {lowest} to {highest}, found {value}")


# The file itself

def output_of(*words):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True).stdout


def exports(case):
    """The library shows the names of exports.map, and no other."""
    text = re.sub(r"#.*", "", case.build.exports.read_text())
    wanted = set(re.findall(r"(\w+);", text.split("global:")[1].split("local:")[0]))
    found = {line.split()[-1].split("@")[0] for line in
             output_of("nm", "-D", "--defined-only", case.build.library).splitlines()}
    case.expect(len(wanted) > 30, f"{case.build.exports}: expected more than 30 names, found {len(wanted)}")
    case.equal("names that are missing", set(), wanted - found)
    case.equal("names too many", set(), found - wanted)


def needed(case):
    """libc alone, which includes the loader."""
    libraries = set(re.findall(r"\(NEEDED\).*\[(.*)\]", output_of("readelf", "-dW", case.build.library)))
    case.expect("libc.so.6" in libraries, f"NEEDED: expected libc.so.6, found {libraries}")
    case.equal("NEEDED beside libc", set(), libraries - {"libc.so.6", "ld-linux-x86-64.so.2"})


def thread_local_size(case):
    """One cache line a thread, and room for flags."""
    headers = output_of("readelf", "-lW", case.build.library)
    sizes = re.findall(r"^\s*TLS\s+\S+\s+\S+\s+\S+\s+\S+\s+(0x[0-9a-f]+)", headers, re.MULTILINE)
    case.equal("PT_TLS segments", 1, len(sizes))
    case.expect(all(int(size, 16) <= 64 + 16 for size in sizes), f"PT_TLS: expected at most 80 bytes, found {sizes}")
