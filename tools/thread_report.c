// SPDX-License-Identifier: Apache-2.0
#include "tools/thread_report.h"

#include "proto/text.h"
#include "tools/cli.h"
#include "tools/frame_name.h"
#include "tools/process_access.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { GROUP_FRAMES = 3, NAME_BYTES_MAX = 256, SECONDS_PER_MINUTE = 60 };

/* --- The page ------------------------------------------------------------------------------------------ */

/* With a backslash before each character of `special`. */
static void print_text(FILE *stream, const char *text, const char *special)
{
	char *const clean = malloc(hm_text_clean_length(text) + 1);

	if (clean == NULL)
		abort();
	hm_text_clean(text, clean);
	for (const char *place = clean; *place != '\0'; place++)
		(void)fprintf(stream, strchr(special, *place) != NULL ? "\\%c" : "%c", *place);
	free(clean);
}

/* The system call, else the kernel's function; NULL: neither is known. */
static const char *waits_in(const struct hm_thread *thread)
{
	if (thread->call != NULL)
		return thread->call;
	return thread->place[0] != '\0' ? thread->place : NULL;
}

static void print_head(FILE *stream, const struct hm_thread *thread)
{
	(void)fprintf(stream, "thread %d \"", (int)thread->id);
	print_text(stream, thread->name, "\"");
	(void)fprintf(stream, "\" [%s", hm_thread_state_text(thread->state));
	if (waits_in(thread) != NULL)
		(void)fprintf(stream, " in %s", waits_in(thread));
	if (thread->idle_seconds >= SECONDS_PER_MINUTE)
		(void)fprintf(stream, ", %.0f minutes", thread->idle_seconds / SECONDS_PER_MINUTE);
	(void)fputs("]:\n", stream);
}

static void print_place(FILE *stream, const struct hm_thread_name *found, const struct hm_line *line,
			uint64_t address)
{
	(void)fputc('\t', stream);
	if (line != NULL && line->file != NULL) {
		print_text(stream, line->file, "");
		(void)fprintf(stream, ":%" PRIu32, line->line);
	} else if (found != NULL && found->path[0] != '\0') {
		print_text(stream, found->path, "");
		(void)fprintf(stream, "+0x%" PRIx64, found->file_offset);
	} else {
		(void)fprintf(stream, "0x%" PRIx64, address);
	}
	(void)fputc('\n', stream);
}

static void print_frame(FILE *stream, const struct hm_thread_names *names, uint64_t address)
{
	const struct hm_thread_name *const found = hm_thread_names_find(names, address);
	const uint32_t line_count = found != NULL ? found->name.line_count : 0;

	for (uint32_t i = 0; i < line_count; i++) {
		print_text(stream, found->name.lines[i].name, "");
		(void)fputs("()\n", stream);
		print_place(stream, found, &found->name.lines[i], address);
	}
	if (line_count == 0) {
		(void)fputs("<unknown>()\n", stream);
		print_place(stream, found, NULL, address);
	}
}

static void print_end(FILE *stream, const struct hm_thread *thread)
{
	switch (thread->stack) {
	case HM_THREAD_STACK_SLEEPER:
		(void)fputs("# not stopped, since its call would not go on: what lies further out needs "
			    "registers\n",
			    stream);
		break;
	case HM_THREAD_STACK_PART:
		(void)fputs(thread->frame_count < HM_THREAD_FRAMES_MAX
				    ? "# the stack could not be followed further\n"
				    : "# deeper frames are left out\n",
			    stream);
		break;
	case HM_THREAD_STACK_NONE:
		(void)fputs("# the stack was not read\n", stream);
		break;
	default:
		break;
	}
}

void hm_threads_print(FILE *stream, const struct hm_threads *threads, const struct hm_thread_names *names)
{
	char *const missing = hm_threads_missing_text(threads);

	if (missing != NULL)
		(void)fprintf(stream, "# %s\n\n", missing);
	free(missing);
	for (size_t i = 0; i < threads->count; i++) {
		const struct hm_thread *const thread = &threads->entries[i];

		print_head(stream, thread);
		for (uint32_t k = 0; k < thread->frame_count; k++)
			print_frame(stream, names, thread->frames[k]);
		print_end(stream, thread);
		(void)fputc('\n', stream);
	}
}

char *hm_threads_missing_text(const struct hm_threads *threads)
{
	struct hm_refusal refusal;
	char *text = NULL;
	int length = 0;

	if (threads->walked_count == threads->total_count)
		return NULL;
	if (threads->refusal == -EACCES || threads->refusal == -EPERM) {
		hm_process_explain_refusal(threads->pid, HM_ACCESS_TRACE, &refusal);
		length = asprintf(&text, "%zu of %zu stacks could not be read: %s: %s",
				  threads->total_count - threads->walked_count, threads->total_count,
				  strerror(-threads->refusal), refusal.reason);
	} else if (threads->refusal != 0) {
		length = asprintf(&text, "%zu of %zu stacks could not be read: %s",
				  threads->total_count - threads->walked_count, threads->total_count,
				  strerror(-threads->refusal));
	} else {
		length = asprintf(
			&text,
			"%zu of %zu stacks were not read: threads that wait for the disk or have ended, "
			"more than %d, or no time",
			threads->total_count - threads->walked_count, threads->total_count,
			HM_THREADS_WALKED_MAX);
	}
	if (length < 0)
		abort();
	return text;
}

/* --- Groups -------------------------------------------------------------------------------------------- */

static const char *function_at(const struct hm_thread_names *names, uint64_t address, bool *ret_is_libc)
{
	const struct hm_thread_name *const found = hm_thread_names_find(names, address);

	*ret_is_libc =
		found != NULL && strncmp(hm_frame_base_name(found->path), "libc.so", strlen("libc.so")) == 0;
	if (found == NULL || found->name.line_count == 0)
		return "<unknown>";
	return found->name.lines[0].name;
}

/* From the function of the C library that was called by something else: what it does inside says nothing. */
static uint32_t first_of_interest(const struct hm_thread *thread, const struct hm_thread_names *names)
{
	bool is_libc = true;
	uint32_t frame = 0;

	while (frame < thread->frame_count && is_libc)
		(void)function_at(names, thread->frames[frame++], &is_libc);
	/* `frame` is behind the first that is not of the library, or behind the last. */
	return frame >= 2 ? frame - 2 : 0;
}

static char *where_is(const struct hm_thread *thread, const struct hm_thread_names *names)
{
	char text[GROUP_FRAMES * (NAME_BYTES_MAX + 4)] = "";
	size_t length = 0;
	const uint32_t first = first_of_interest(thread, names);

	for (uint32_t i = first; i < thread->frame_count && i < first + GROUP_FRAMES; i++) {
		bool is_libc = false;

		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%.*s",
					   i > first ? " < " : "", NAME_BYTES_MAX,
					   function_at(names, thread->frames[i], &is_libc));
	}

	char *const where = strdup(text);

	if (where == NULL)
		abort();
	hm_make_printable(where);
	return where;
}

static int compare_texts(const char *left, const char *right)
{
	return strcmp(left != NULL ? left : "", right != NULL ? right : "");
}

static int compare_places(const void *a, const void *b)
{
	const struct hm_thread_group *const left = a;
	const struct hm_thread_group *const right = b;
	const int orders[] = { strcmp(left->where, right->where), strcmp(left->state, right->state),
			       compare_texts(left->waits_in, right->waits_in) };

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (orders[i] != 0)
			return orders[i];
	return 0;
}

static int compare_sizes(const void *a, const void *b)
{
	const struct hm_thread_group *const left = a;
	const struct hm_thread_group *const right = b;

	if (left->count != right->count)
		return left->count > right->count ? -1 : 1;
	return compare_places(a, b);
}

void hm_thread_groups_build(const struct hm_threads *threads, const struct hm_thread_names *names,
			    struct hm_thread_groups *ret_groups)
{
	struct hm_thread_group *const groups = calloc(threads->count + 1, sizeof(groups[0]));
	size_t kept = 0;

	if (groups == NULL)
		abort();
	for (size_t i = 0; i < threads->count; i++) {
		const struct hm_thread *const thread = &threads->entries[i];

		groups[i] = (struct hm_thread_group){
			.where = where_is(thread, names),
			.state = hm_thread_state_text(thread->state),
			.waits_in = waits_in(thread),
			.name = thread->name,
			.count = 1,
		};
	}
	qsort(groups, threads->count, sizeof(groups[0]), compare_places);
	for (size_t i = 0; i < threads->count; i++) {
		if (kept > 0 && compare_places(&groups[kept - 1], &groups[i]) == 0) {
			groups[kept - 1].count++;
			groups[kept - 1].has_other_names |=
				strcmp(groups[kept - 1].name, groups[i].name) != 0;
			free(groups[i].where);
		} else {
			groups[kept++] = groups[i];
		}
	}
	qsort(groups, kept, sizeof(groups[0]), compare_sizes);
	*ret_groups = (struct hm_thread_groups){ .entries = groups, .count = kept };
}

void hm_thread_groups_done(struct hm_thread_groups *groups)
{
	for (size_t i = 0; i < groups->count; i++)
		free(groups->entries[i].where);
	free(groups->entries);
	*groups = (struct hm_thread_groups){ 0 };
}
