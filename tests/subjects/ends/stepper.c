// SPDX-License-Identifier: Apache-2.0
/*
 * stepper LIBRARY DIRECTORY PROGRAM: runs `steps` under the library twice.  The first time it only looks
 * which calls do something seldom: grow the file, add a segment to the live table, put a node into the trie.
 * The second time it stops the process after every instruction of those calls, and of the start of the
 * ledger.
 *
 * What a kill leaves behind is the file as it is at that instant.  So it is enough to look at the file after
 * each instruction, and where it has changed, to read it and hold it against what the process had counted;
 * that a kill leaves the same is tried once.  At exit, where files come and go by system calls, the
 * directory is copied after each of these, for the tools to look at:
 *
 *	exit.NUMBER/        a copy, as a kill after that system call would leave it
 *	left.NUMBER.ledger  every hundredth other state, with a line "left ..." as killer.c has them
 */
#include "tests/subjects/ends/counts.h"

#include <dirent.h>
#include <signal.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	CALLS_MAX = 4096,
	KINDS = 6, /* and the end */
	STEPPED_OF_EACH = 5,
	EACH_LEFT = 100,
	STEPS_OF_EXIT = 3000, /* to where the ledger is marked as finished, and somewhat beyond */
	FAILURES_MAX = 10,
	EXITS_MAX = 1000,
};

/* Why a call is stepped through. */
enum reason { OF_ITS_KIND, GROWTH, SEGMENT, NODE, REASONS };

/* The process and its ledger. */
struct traced {
	pid_t pid;
	char directory[4096];
	char ledger_path[4096 + 64];
	struct counts_page *page;
	const uint8_t *ledger; /* mapped; NULL: not there yet */
	uint64_t ledger_bytes; /* when it was mapped: more may have been granted since */
	uint8_t *seen;         /* a copy of what was looked at last */
	uint64_t seen_bytes;
	long steps;
	long states;
	long not_ready;
	long failures;
};

static uint8_t is_stepped[CALLS_MAX];

static void fail(const char *what)
{
	say("%s", what);
	exit(1);
}

static void start(struct traced *traced, char **argv, char *page_path)
{
	char *const arguments[] = { argv[3], page_path, NULL };
	int status;

	memset(traced->page, 0, sizeof(*traced->page));
	traced->pid = fork();
	if (traced->pid == 0) {
		/* The same environment each time, and the same addresses. */
		(void)clearenv();
		(void)setenv("LD_PRELOAD", argv[1], 1);
		(void)setenv("HEAPMARK_DIR", traced->directory, 1);
		(void)setenv("HEAPMARK_RATE", "1", 1);
		(void)personality(ADDR_NO_RANDOMIZE);
		(void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		(void)execv(argv[3], arguments);
		_exit(127);
	}
	if (waitpid(traced->pid, &status, 0) != traced->pid || !WIFSTOPPED(status))
		fail("the program does not start");
	(void)ptrace(PTRACE_SETOPTIONS, traced->pid, NULL, PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD);
	(void)snprintf(traced->ledger_path, sizeof(traced->ledger_path), "%s/heapmark.steps.%d.ledger",
		       traced->directory, (int)traced->pid);
}

/* Lets it go on to its next stop.  Returns whether there was one; what kind, by waitpid's status. */
static bool resume(struct traced *traced, int request, int *ret_status)
{
	return ptrace(request, traced->pid, NULL, NULL) == 0 &&
	       waitpid(traced->pid, ret_status, 0) == traced->pid && WIFSTOPPED(*ret_status);
}

/* A breakpoint instruction, not a step. */
static bool is_breakpoint(const struct traced *traced, int status)
{
	siginfo_t info;

	return WSTOPSIG(status) == SIGTRAP && ptrace(PTRACE_GETSIGINFO, traced->pid, NULL, &info) == 0 &&
	       info.si_code == SI_KERNEL;
}

/* Maps the ledger as long as it is now. */
static void map_ledger(struct traced *traced)
{
	const int descriptor = open(traced->ledger_path, O_RDONLY | O_CLOEXEC);
	struct stat status = { 0 };

	if (traced->ledger != NULL)
		(void)munmap((void *)(uintptr_t)traced->ledger, traced->ledger_bytes);
	traced->ledger = NULL;
	if (descriptor < 0)
		return;
	if (fstat(descriptor, &status) == 0 && status.st_size > 0) {
		void *const address =
			mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_SHARED, descriptor, 0);

		if (address != MAP_FAILED) {
			traced->ledger = address;
			traced->ledger_bytes = (uint64_t)status.st_size;
		}
	}
	(void)close(descriptor);
}

static const struct hm_ledger_header *header_of(const struct traced *traced)
{
	return (const struct hm_ledger_header *)(const void *)traced->ledger;
}

/* Returns whether the file is another than it was when this was asked last. */
static bool has_changed(struct traced *traced)
{
	/* Nothing lies beyond what was given out, but what is being written before it is. */
	enum { AHEAD_BYTES = 8192 };
	uint64_t bytes;
	struct stat status;

	if (stat(traced->ledger_path, &status) != 0)
		return false;
	if (traced->ledger == NULL || traced->ledger_bytes != (uint64_t)status.st_size)
		map_ledger(traced);
	if (traced->ledger == NULL)
		return false;
	bytes = header_of(traced)->arena_next + AHEAD_BYTES;
	if (bytes > traced->ledger_bytes)
		bytes = traced->ledger_bytes;
	if (traced->seen_bytes == traced->ledger_bytes && memcmp(traced->seen, traced->ledger, bytes) == 0)
		return false;
	if (traced->seen_bytes != traced->ledger_bytes)
		traced->seen = realloc(traced->seen, traced->ledger_bytes);
	traced->seen_bytes = traced->ledger_bytes;
	memcpy(traced->seen, traced->ledger, traced->ledger_bytes);
	return true;
}

static void write_file(const char *path, const void *data, size_t size_bytes)
{
	const int descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (descriptor < 0 || write(descriptor, data, size_bytes) != (ssize_t)size_bytes)
		fail("no room for copies");
	(void)close(descriptor);
}

/* Reads the state that was seen last. */
static void look(struct traced *traced)
{
	const struct hm_source source = hm_source_from_memory(traced->seen, traced->seen_bytes);
	const struct reading reading =
		reading_of_source(&source, traced->page->site_start, traced->page->site_end);
	const struct bounds bounds = counts_bounds(traced->page);
	char name[64];
	char path[sizeof(traced->directory) + 64];

	traced->states++;
	traced->not_ready += reading.error == -EAGAIN;
	(void)snprintf(name, sizeof(name), "left.%ld.ledger", traced->states);
	if (reading.error != 0 && (reading.error != -EAGAIN || traced->page->site_start != 0)) {
		say("%s: error %d", name, reading.error);
		traced->failures++;
	}
	if (!counts_fit(name, &reading, &bounds))
		traced->failures++;
	if (traced->states % EACH_LEFT == 0 && reading.error == 0) {
		(void)snprintf(path, sizeof(path), "%s/%s", traced->directory, name);
		write_file(path, traced->seen, traced->seen_bytes);
		counts_say_left(name, &bounds);
	}
}

/* Steps to the next breakpoint; or, where count is not 0, so many instructions. */
static void step(struct traced *traced, long count)
{
	int status;

	for (long number = 0; count == 0 || number < count; number++) {
		if (!resume(traced, PTRACE_SINGLESTEP, &status))
			fail("ended while it was stepped through");
		traced->steps++;
		if (has_changed(traced))
			look(traced);
		if (traced->failures >= FAILURES_MAX || is_breakpoint(traced, status))
			break;
	}
}

/* From the first system call after which there is a file, to where it is complete. */
static void step_through_start(struct traced *traced)
{
	int status;

	while (access(traced->ledger_path, F_OK) != 0) {
		if (!resume(traced, PTRACE_SYSCALL, &status) || is_breakpoint(traced, status))
			fail("no ledger was made");
	}
	do {
		step(traced, 1);
	} while (traced->failures < FAILURES_MAX &&
		 (traced->ledger == NULL || header_of(traced)->state != HM_LEDGER_RECORDING));
}

static void go_to_breakpoint(struct traced *traced)
{
	int status;

	do {
		if (!resume(traced, PTRACE_CONT, &status))
			fail("ended before its time");
	} while (!is_breakpoint(traced, status));
}

static uint32_t count_live_segments(const struct hm_ledger_header *header)
{
	uint32_t count = 0;

	while (count < HM_SEGMENTS_MAX && header->live_segments[count].offset != 0)
		count++;
	return count;
}

/* Of the trie's first level. */
static uint32_t count_nodes(const struct traced *traced)
{
	const hm_trie_reference *const roots =
		(const hm_trie_reference *)(const void *)(traced->ledger + HM_LEDGER_HEADER_BYTES);
	uint32_t count = 0;

	for (uint32_t index = 0; index < HM_TRIE_ROOTS; index++)
		count += roots[index] & 1;
	return count;
}

/* What may change with a call. */
struct sizes {
	uint64_t granted_bytes;
	uint32_t live_segments;
	uint32_t nodes;
};

static struct sizes sizes_of(const struct traced *traced)
{
	const struct hm_ledger_header *const header = header_of(traced);

	return (struct sizes){ header->granted_bytes, count_live_segments(header), count_nodes(traced) };
}

static bool is_reason(enum reason reason, const struct sizes *before, const struct sizes *after)
{
	switch (reason) {
	case OF_ITS_KIND:
		return true;
	case GROWTH:
		return after->granted_bytes != before->granted_bytes;
	case SEGMENT:
		return after->live_segments != before->live_segments;
	default:
		return after->nodes != before->nodes;
	}
}

/* The first run: which calls to step through. */
static void learn(struct traced *traced, long found[REASONS])
{
	long of_kind[KINDS] = { 0 };
	long number = 0;

	go_to_breakpoint(traced);
	for (; traced->page->step < KINDS && number < CALLS_MAX; number++) {
		const uint64_t kind = traced->page->step;
		map_ledger(traced);
		const struct sizes before = sizes_of(traced);

		go_to_breakpoint(traced);
		map_ledger(traced);
		const struct sizes after = sizes_of(traced);

		for (enum reason reason = OF_ITS_KIND; reason < REASONS; reason++) {
			if (!is_reason(reason, &before, &after))
				continue;
			/* The very first calls compile rules for their frames, at a hundred thousand
			 * instructions each. */
			if (reason == OF_ITS_KIND ? number > 32 && of_kind[kind]++ < STEPPED_OF_EACH
						  : found[reason]++ < STEPPED_OF_EACH)
				is_stepped[number] = 1;
		}
	}
	for (size_t kind = 0; kind < KINDS; kind++)
		found[OF_ITS_KIND] += of_kind[kind] > 0;
}

/* Copies the files of the directory into DIRECTORY/exit.NUMBER. */
static void copy_directory(const struct traced *traced, long number)
{
	char target[sizeof(traced->directory) + 32];
	DIR *const directory = opendir(traced->directory);
	const struct dirent *entry;

	(void)snprintf(target, sizeof(target), "%s/exit.%ld", traced->directory, number);
	if (directory == NULL || mkdir(target, 0700) != 0)
		fail("no room for copies");
	while ((entry = readdir(directory)) != NULL) {
		char from[sizeof(target) + 256];
		char to[sizeof(target) + 256 + 1];
		static uint8_t data[4 << 20];

		if (strstr(entry->d_name, "heapmark.") == NULL)
			continue;
		(void)snprintf(from, sizeof(from), "%s/%s", traced->directory, entry->d_name);
		(void)snprintf(to, sizeof(to), "%s/%s", target, entry->d_name);

		const int descriptor = open(from, O_RDONLY | O_CLOEXEC);
		const ssize_t length = read(descriptor, data, sizeof(data));

		(void)close(descriptor);
		if (length < 0 || length == sizeof(data))
			fail("a file cannot be copied");
		write_file(to, data, (size_t)length);
	}
	(void)closedir(directory);
}

/* One number for names and sizes of the files, and when they were changed. */
static uint64_t directory_state(const struct traced *traced)
{
	uint64_t state = 0;
	DIR *const directory = opendir(traced->directory);
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		uint64_t hash = 0;
		struct stat status;

		if (strstr(entry->d_name, "heapmark.") == NULL ||
		    fstatat(dirfd(directory), entry->d_name, &status, 0) != 0)
			continue;
		for (const char *letter = entry->d_name; *letter != '\0'; letter++)
			hash = hash * 131 + (uint8_t)*letter;
		state += (hash + (uint64_t)status.st_size) * UINT64_C(0x9e3779b97f4a7c15);
	}
	if (directory != NULL)
		(void)closedir(directory);
	return state;
}

/* From the last call to the end: by instructions as long as the ledger may change, then by system calls. */
static long go_to_exit(struct traced *traced)
{
	uint64_t state = 0;
	long copies = 0;
	int status = 0;

	step(traced, STEPS_OF_EXIT);
	while (resume(traced, PTRACE_SYSCALL, &status) && copies < EXITS_MAX) {
		const uint64_t now = directory_state(traced);

		if (has_changed(traced))
			look(traced);
		if (now != state)
			copy_directory(traced, copies++);
		state = now;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail("no good end");
	copy_directory(traced, copies++);
	return copies;
}

/* A kill in the middle of a call leaves what was seen before it. */
static bool kill_leaves_what_was_seen(struct traced *traced)
{
	int status;
	bool is_same;

	for (int call = 0; call < 200; call++)
		go_to_breakpoint(traced);
	step(traced, 400);
	(void)has_changed(traced);
	if (kill(traced->pid, SIGKILL) != 0 || waitpid(traced->pid, &status, 0) != traced->pid ||
	    !WIFSIGNALED(status))
		return false;
	map_ledger(traced);
	is_same = traced->ledger != NULL && traced->ledger_bytes == traced->seen_bytes &&
		  memcmp(traced->ledger, traced->seen, traced->seen_bytes) == 0;
	(void)unlink(traced->ledger_path);
	return is_same;
}

/* The last figures, in a line "exit ...". */
static void say_at_exit(const struct traced *traced)
{
	const struct bounds bounds = counts_bounds(traced->page);

	counts_say("exit at", &bounds);
}

int main(int argc, char **argv)
{
	static struct traced traced;
	long found[REASONS] = { 0 };
	char page_path[4096 + 16];
	int status;

	if (argc != 4)
		return 2;
	(void)snprintf(traced.directory, sizeof(traced.directory), "%s", argv[2]);
	(void)snprintf(page_path, sizeof(page_path), "%s.counts", argv[2]);
	traced.page = counts_map(page_path, O_CREAT | O_TRUNC);
	if (traced.page == NULL)
		return 2;

	start(&traced, argv, page_path);
	learn(&traced, found);
	(void)kill(traced.pid, SIGKILL);
	(void)waitpid(traced.pid, &status, 0);
	(void)unlink(traced.ledger_path);

	start(&traced, argv, page_path);
	say("a kill leaves what was seen: %d", kill_leaves_what_was_seen(&traced));

	start(&traced, argv, page_path);
	step_through_start(&traced);
	go_to_breakpoint(&traced);
	for (long number = 0; traced.page->step < KINDS && traced.failures < FAILURES_MAX; number++) {
		if (is_stepped[number])
			step(&traced, 0);
		else
			go_to_breakpoint(&traced);
	}
	(void)has_changed(&traced);
	look(&traced);
	say_at_exit(&traced);

	const long exits = traced.failures == 0 ? go_to_exit(&traced) : 0;

	say("kinds %ld growth %ld segments %ld nodes %ld", found[OF_ITS_KIND], found[GROWTH], found[SEGMENT],
	    found[NODE]);
	say("steps %ld states %ld not_ready %ld exits %ld", traced.steps, traced.states, traced.not_ready,
	    exits);
	return traced.failures == 0 ? 0 : 1;
}
