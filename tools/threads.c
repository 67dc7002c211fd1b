// SPDX-License-Identifier: Apache-2.0
#include "tools/threads.h"

#include "tools/isolated.h"
#include "tools/thread_stop.h"
#include "tools/thread_walk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PROC_PATH_MAX = 96 };

const char *hm_thread_state_text(char state)
{
	switch (state) {
	case 'R':
		return "running";
	case 'S':
		return "sleeping";
	case 'D':
		return "waiting for the disk";
	case 'T':
		return "stopped";
	case 't':
		return "traced";
	case 'Z':
	case 'X':
		return "ended";
	case 'I':
		return "idle";
	default:
		return "unknown";
	}
}

/* --- /proc --------------------------------------------------------------------------------------------- */

/* The beginning of a file of the thread, without the newline at its end.  False where it cannot be read. */
static bool read_text(pid_t pid, pid_t thread, const char *file, char *ret_text, size_t room_bytes)
{
	char path[PROC_PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)thread, file);
	FILE *const stream = fopen(path, "re");

	if (stream == NULL)
		return false;

	const size_t size = fread(ret_text, 1, room_bytes - 1, stream);

	(void)fclose(stream);
	ret_text[size] = '\0';
	if (size > 0 && ret_text[size - 1] == '\n')
		ret_text[size - 1] = '\0';
	return size > 0;
}

/* When it last began to run, or was accounted for: seconds of the scheduler's clock.  Negative: not known. */
static double last_ran_seconds(pid_t pid, pid_t thread)
{
	static const char key[] = "se.exec_start";
	char text[512];

	if (!read_text(pid, thread, "sched", text, sizeof(text)))
		return -1;

	const char *const at = strstr(text, key);
	const char *const colon = at != NULL ? strchr(at, ':') : NULL;

	return colon != NULL ? strtod(colon + 1, NULL) / 1000 : -1;
}

/* We run right now, and so tell what time it is by that clock. */
static double scheduler_now_seconds(void)
{
	return last_ran_seconds(getpid(), (pid_t)gettid());
}

static void describe(pid_t pid, pid_t id, double now_seconds, struct hm_thread *ret_thread)
{
	struct hm_thread thread = { .id = id, .state = '?', .idle_seconds = -1 };
	struct hm_thread_call call;
	char text[512];

	(void)read_text(pid, id, "comm", thread.name, sizeof(thread.name));
	if (read_text(pid, id, "stat", text, sizeof(text))) {
		const char *const end =
			strrchr(text, ')'); /* "TID (NAME) STATE ...", and a name may hold anything */

		if (end != NULL && end[1] == ' ')
			thread.state = end[2];
	}
	/* Where it cannot be told: "0", or the kernel's one entry for all calls. */
	if (read_text(pid, id, "wchan", text, sizeof(thread.place)) && strcmp(text, "0") != 0 &&
	    strcmp(text, "do_syscall_64") != 0)
		strcpy(thread.place, text);
	if (hm_thread_read_call(pid, id, &call) == 0) {
		thread.call = call.is_running ? NULL : hm_thread_call_name(call.number);
		thread.stack_pointer = call.stack_pointer;
	}

	const double last_seconds = last_ran_seconds(pid, id);

	if (thread.state != 'R' && now_seconds >= 0 && last_seconds >= 0)
		thread.idle_seconds = now_seconds > last_seconds ? now_seconds - last_seconds : 0;
	*ret_thread = thread;
}

static int compare_threads(const void *a, const void *b)
{
	const struct hm_thread *const left = a;
	const struct hm_thread *const right = b;

	return left->id < right->id ? -1 : left->id > right->id;
}

static int list(pid_t pid, struct hm_threads *threads)
{
	char path[PROC_PATH_MAX];
	const struct dirent *entry = NULL;
	const double now_seconds = scheduler_now_seconds();
	size_t room = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *const stream = opendir(path);

	if (stream == NULL)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((entry = readdir(stream)) != NULL) {
		if (!isdigit((unsigned char)entry->d_name[0]) || ++threads->total_count > HM_THREADS_MAX)
			continue;
		if (threads->count == room) {
			room = room != 0 ? 2 * room : 16;
			threads->entries = reallocarray(threads->entries, room, sizeof(threads->entries[0]));
			if (threads->entries == NULL)
				abort();
		}
		describe(pid, atoi(entry->d_name), now_seconds, &threads->entries[threads->count++]);
	}
	(void)closedir(stream);
	/* The first thread has the lowest number, unless numbers have wrapped. */
	if (threads->count > 1)
		qsort(threads->entries + 1, threads->count - 1, sizeof(threads->entries[0]), compare_threads);
	return threads->count > 0 ? 0 : -ESRCH;
}

/* --- Stacks -------------------------------------------------------------------------------------------- */

/* What the child says of one thread. */
struct answer {
	uint32_t index;
	int32_t error;
	uint64_t stack_pointer;
	uint64_t stack_end;
	uint32_t stack; /* enum hm_thread_stack */
	uint32_t frame_count;
	uint64_t frames[HM_THREAD_FRAMES_MAX];
};

struct walking {
	pid_t pid;
	const struct hm_mappings *mappings;
	struct hm_threads *threads;
	struct answer answer; /* in the caller: as far as it has come */
	size_t answer_bytes;
};

static bool is_worth_a_walk(const struct hm_thread *thread)
{
	/* One that waits for the disk would not stop; one that is traced has a tracer. */
	return thread->state == 'R' || thread->state == 'S' || thread->state == 'T' || thread->state == 'I';
}

static void walk_thread(const struct walking *walking, struct hm_thread_walker *walker, struct answer *answer)
{
	static struct hm_thread_copy copy; /* too large for a stack; the child has one thread */
	const struct hm_thread *const thread = &walking->threads->entries[answer->index];
	bool is_complete = false;

	answer->error = hm_thread_copy(walking->pid, thread->id, &copy);
	if (answer->error != 0)
		return;
	answer->stack_pointer = copy.registers.rsp;
	answer->stack_end = copy.is_whole ? copy.registers.fs_base : 0;
	answer->frame_count =
		hm_thread_walk(walker, &copy, answer->frames, HM_THREAD_FRAMES_MAX, &is_complete);
	answer->stack = is_complete     ? HM_THREAD_STACK_WHOLE
			: copy.is_whole ? HM_THREAD_STACK_PART
					: HM_THREAD_STACK_SLEEPER;
}

static void walk_all(void *context, int descriptor)
{
	const struct walking *const walking = context;
	struct hm_thread_walker *const walker = hm_thread_walker_create(walking->pid, walking->mappings);
	const time_t end = time(NULL) + HM_THREADS_SECONDS;
	size_t walked_count = 0;

	if (walker == NULL)
		return;
	for (size_t i = 0;
	     i < walking->threads->count && walked_count < HM_THREADS_WALKED_MAX && time(NULL) <= end; i++) {
		struct answer answer = { .index = (uint32_t)i };

		if (!is_worth_a_walk(&walking->threads->entries[i]))
			continue;
		walk_thread(walking, walker, &answer);
		walked_count++;
		if (write(descriptor, &answer, sizeof(answer)) != (ssize_t)sizeof(answer))
			break; /* the caller has gone */
		if (answer.error == -EPERM || answer.error == -EACCES)
			break; /* so it will be for the others */
	}
	hm_thread_walker_free(walker);
}

static void take_answer(struct hm_threads *threads, const struct answer *answer)
{
	if (answer->index >= threads->count || answer->frame_count > HM_THREAD_FRAMES_MAX)
		return;

	struct hm_thread *const thread = &threads->entries[answer->index];

	if (answer->error != 0) {
		if (threads->refusal == 0)
			threads->refusal = answer->error;
		return;
	}
	thread->stack_pointer = answer->stack_pointer;
	thread->stack_end = answer->stack_end;
	thread->stack = (enum hm_thread_stack)answer->stack;
	thread->frame_count = answer->frame_count;
	memcpy(thread->frames, answer->frames, answer->frame_count * sizeof(thread->frames[0]));
	threads->walked_count += answer->frame_count > 0;
}

static int take_piece(void *context, const void *data, size_t size_bytes)
{
	struct walking *const walking = context;
	const uint8_t *bytes = data;

	while (size_bytes > 0) {
		const size_t missing = sizeof(walking->answer) - walking->answer_bytes;
		const size_t taken = size_bytes < missing ? size_bytes : missing;

		memcpy((uint8_t *)&walking->answer + walking->answer_bytes, bytes, taken);
		walking->answer_bytes += taken;
		bytes += taken;
		size_bytes -= taken;
		if (walking->answer_bytes == sizeof(walking->answer)) {
			take_answer(walking->threads, &walking->answer);
			walking->answer_bytes = 0;
		}
	}
	return 0;
}

int hm_threads_read(pid_t pid, const struct hm_mappings *mappings, struct hm_threads *ret_threads)
{
	static const struct hm_isolated_limits limits = {
		.cpu_seconds = 2 * HM_THREADS_SECONDS,
		.silence_seconds = HM_THREADS_SECONDS,
		.memory_bytes = UINT64_C(256) << 20,
	};
	struct hm_threads threads = { .pid = pid, .refusal = mappings == NULL ? -EACCES : 0 };
	const int error = list(pid, &threads);

	if (error != 0) {
		hm_threads_done(&threads);
		return error;
	}
	for (size_t i = 0; mappings != NULL && i < threads.count; i++)
		threads.entries[i].block = hm_thread_block_read(pid, threads.entries[i].id);
	if (mappings != NULL) {
		struct walking walking = { .pid = pid, .mappings = mappings, .threads = &threads };
		const struct hm_isolated_work work = { .run = walk_all,
						       .take = take_piece,
						       .context = &walking };

		if (hm_isolated_run(&work, &limits) == HM_ISOLATED_NO_CHILD)
			threads.refusal = -EAGAIN;
	}
	*ret_threads = threads;
	return 0;
}

void hm_threads_done(struct hm_threads *threads)
{
	free(threads->entries);
	*threads = (struct hm_threads){ 0 };
}
