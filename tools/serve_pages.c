// SPDX-License-Identifier: Apache-2.0
/* The pages for people, and what needs no snapshot. */
#include "tools/process_access.h"
#include "tools/process_usage.h"
#include "tools/serve.h"
#include "tools/threads_page.h"

#include "proto/text.h"
#include "tools/cli.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char html[] = "text/html; charset=utf-8";
static const char plain[] = "text/plain; charset=utf-8";

/* A page being printed. */
struct page {
	FILE *stream; /* NULL: no memory */
	char *text;
	size_t text_bytes;
};

static void page_begin(struct page *page)
{
	page->stream = open_memstream(&page->text, &page->text_bytes);
}

static void page_end(struct page *page, struct hm_http_job *job, const char *content_type)
{
	if (page->stream != NULL && fclose(page->stream) == 0) {
		hm_http_give(&job->answer, content_type, page->text, page->text_bytes);
		return;
	}
	hm_http_say(&job->answer, 503, "%s", strerror(ENOMEM));
}

/* Text out of a ledger or a request, which may hold anything. */
static void print_escaped(FILE *stream, const char *text)
{
	char *const clean = malloc(hm_text_clean_length(text) + 1);

	if (clean == NULL)
		return;
	hm_text_clean(text, clean);
	for (const char *place = clean; *place != '\0'; place++) {
		const char *const escaped = *place == '<'    ? "&lt;"
					    : *place == '>'  ? "&gt;"
					    : *place == '&'  ? "&amp;"
					    : *place == '"'  ? "&quot;"
					    : *place == '\'' ? "&#39;"
							     : NULL;

		if (escaped != NULL)
			(void)fputs(escaped, stream);
		else
			(void)fputc(*place, stream);
	}
	free(clean);
}

/* Text that is a value in a query: as RFC 3986 has it, which also keeps it out of the way of HTML. */
static void print_encoded(FILE *stream, const char *text)
{
	for (; *text != '\0'; text++) {
		const bool is_plain =
			isascii(*text) && (isalnum((unsigned char)*text) || strchr("-._~", *text) != NULL);

		(void)fprintf(stream, is_plain ? "%c" : "%%%02X", (unsigned char)*text);
	}
}

static void print_head(FILE *stream, const char *title)
{
	(void)fprintf(
		stream,
		"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>%s</title>\n"
		"<style>\nbody { font-family: sans-serif; margin: 2em }\n"
		"td, th { padding: 0.2em 1em 0.2em 0; text-align: left }\n"
		"td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }\n"
		".ended { color: #777 }\n</style>\n</head>\n<body>\n",
		title);
}

/* ---- / --------------------------------------------------------------------------------------------- */

struct process_list {
	FILE *stream;
	uint64_t count;
};

static const char *file_name_of(const struct hm_target *target)
{
	const char *const slash = strrchr(target->path, '/');

	return slash != NULL ? slash + 1 : target->path;
}

/* A link to a path for this process: by its number while it runs, else by the name of its ledger. */
static void print_link(FILE *stream, const struct hm_target *target, const char *path, const char *text)
{
	(void)fprintf(stream, "<a href=\"%s?", path);
	if (target->is_running) {
		(void)fprintf(stream, "pid=%d", (int)target->pid);
	} else {
		(void)fputs("ledger=", stream);
		print_encoded(stream, file_name_of(target));
	}
	(void)fprintf(stream, "\">%s</a> ", text);
}

static void print_process(void *context, const struct hm_target *target)
{
	struct process_list *const list = context;
	FILE *const stream = list->stream;
	struct hm_process_usage usage;
	const bool has_usage = target->is_running && hm_process_read_usage(target->pid, &usage) == 0;

	list->count++;
	(void)fprintf(stream, "<tr%s><td class=\"number\">%d</td><td>",
		      target->is_running ? "" : " class=\"ended\"", (int)target->pid);
	print_escaped(stream, target->comm);
	(void)fprintf(stream, "</td><td>%s</td><td class=\"number\">%s</td><td>",
		      target->error == -EACCES ? "of another user"
		      : target->descriptor < 0 ? "not readable"
		      : target->is_running     ? "running"
		      : target->is_hidden      ? "not ours to look at"
		      : target->is_replaced    ? "another program now"
					       : "ended",
		      has_usage ? hm_show_bytes((double)usage.resident_bytes).text : "");
	if (target->descriptor >= 0) {
		print_link(stream, target, "debug/pprof/", "profiles");
		print_link(stream, target, "debug/vars", "vars");
		print_link(stream, target, "debug/pprof/heap", "heap");
	}
	(void)fputs("</td><td>", stream);
	print_escaped(stream, target->path);
	(void)fputs("</td></tr>\n", stream);
}

uint64_t hm_serve_processes(void *context, struct hm_http_job *job)
{
	struct hm_serve *const serve = context;
	struct process_list list = { .count = 0 };
	struct page page = { 0 };
	char reason[HM_TARGET_REASON_BYTES];
	int error = 0;

	page_begin(&page);
	list.stream = page.stream;
	if (page.stream != NULL) {
		print_head(page.stream, "heapmark");
		(void)fputs("<h1>heapmark</h1>\n<table>\n<tr><th class=\"number\">pid</th><th>name</th>"
			    "<th>state</th><th class=\"number\">resident</th><th>look "
			    "at</th><th>ledger</th></tr>\n",
			    page.stream);
		error = hm_targets_visit(&serve->targets, print_process, &list, reason);
		(void)fputs("</table>\n", page.stream);
		if (error != 0) {
			(void)fputs("<p>There is nothing to show: ", page.stream);
			print_escaped(page.stream, reason);
			(void)fputs(".</p>\n", page.stream);
		} else if (list.count == 0) {
			(void)fputs("<p>No process has its ledger in ", page.stream);
			print_escaped(page.stream, serve->targets.argument);
			(void)fputs(" yet.</p>\n", page.stream);
		}
		(void)fputs("<p>All of them: <a href=\"metrics\">metrics</a></p>\n</body>\n</html>\n",
			    page.stream);
	}
	page_end(&page, job, html);
	return 0;
}

/* ---- /debug/pprof/ ---------------------------------------------------------------------------------- */

struct link {
	const char *path;
	const char *options; /* of the link */
	const char *text;
};

static const struct link links[] = {
	{ "allocs", "debug=1",
	  "What was allocated since the start, and what of it is in use; seconds=N: in N seconds" },
	{ "cmdline", "", "The command line" },
	{ "delta_heap", "", "What was allocated since this was last asked for, and what is in use now" },
	{ "heap", "debug=1", "What is in use, and what was allocated; seconds=N: the change in N seconds" },
	{ "symbol", "", "Function names for addresses, to be sent by POST" },
	{ "threads", "debug=2", "The threads, where they wait, and their stacks" },
};

/* The part of the query that chooses a process goes on into the links. */
static void print_choice(FILE *stream, const struct hm_http_job *job, const char *separator)
{
	static const char *const keys[] = { "pid", "ledger" };
	char value[NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		if (hm_query_find(job->request.query, keys[i], value, sizeof(value)) != HM_QUERY_FOUND)
			continue;
		(void)fprintf(stream, "%s%s=", separator, keys[i]);
		print_encoded(stream, value);
		separator = "&amp;";
	}
}

static void print_index(FILE *stream, const struct hm_http_job *job, const struct hm_target *target)
{
	print_head(stream, "/debug/pprof/");
	(void)fputs("<h1>/debug/pprof/</h1>\n<p>", stream);
	print_escaped(stream, target->comm);
	(void)fprintf(stream, "[%d]%s%s</p>\n<table>\n", (int)target->pid, target->is_running ? "" : " ",
		      target->is_running ? "" : hm_target_fate(target));
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		(void)fprintf(stream, "<tr><td><a href=\"/debug/pprof/%s%s%s", links[i].path,
			      links[i].options[0] != '\0' ? "?" : "", links[i].options);
		print_choice(stream, job, links[i].options[0] != '\0' ? "&amp;" : "?");
		(void)fprintf(stream, "\">%s</a></td><td>%s</td></tr>\n", links[i].path, links[i].text);
	}
	(void)fputs("</table>\n<pre>go tool pprof http://", stream);
	print_escaped(stream, job->request.host);
	(void)fputs("/debug/pprof/heap", stream);
	print_choice(stream, job, "?");
	(void)fputs("</pre>\n</body>\n</html>\n", stream);
}

uint64_t hm_serve_index(void *context, struct hm_http_job *job)
{
	struct hm_target target;
	struct page page = { 0 };

	if (!hm_serve_open(context, job, &target))
		return 0;
	page_begin(&page);
	if (page.stream != NULL)
		print_index(page.stream, job, &target);
	page_end(&page, job, html);
	hm_target_close(&target);
	return 0;
}

/* What Go has and a heap profiler has not.  go tool pprof asks for `profile` where it is given no path. */
uint64_t hm_serve_no_profile(void *context, struct hm_http_job *job)
{
	const char *const host = job->request.host[0] != '\0' ? job->request.host : "HOST:PORT";

	(void)context;
	if (strcmp(job->request.path, "/debug/pprof/profile") == 0)
		hm_http_say(&job->answer, 404,
			    "heapmark has no CPU profile; give the whole path: go tool pprof "
			    "http://%s/debug/pprof/heap",
			    host);
	else
		hm_http_say(&job->answer, 404, "Unknown profile; http://%s/debug/pprof/ lists what there is",
			    host);
	return 0;
}

/* ---- cmdline, threads ------------------------------------------------------------------------------- */

uint64_t hm_serve_cmdline(void *context, struct hm_http_job *job)
{
	struct hm_snapshot snapshot = { 0 };
	struct hm_target target;
	char *text = NULL;
	size_t size_bytes = 0;

	if (!hm_serve_open(context, job, &target))
		return 0;
	if (target.is_running && hm_process_read_command(target.pid, &text, &size_bytes) == 0) {
		hm_http_give(&job->answer, plain, text, size_bytes);
	} else if (hm_serve_snapshot(job, &target, &snapshot)) {
		/* The ledger has it with blanks between the arguments, and cannot tell which are of one. */
		text = strdup(snapshot.command);
		for (char *place = text; place != NULL && *place != '\0'; place++)
			if (*place == ' ')
				*place = '\0';
		hm_http_give(&job->answer, plain, text, text != NULL ? strlen(snapshot.command) : 0);
		hm_snapshot_done(&snapshot);
	}
	hm_target_close(&target);
	return 0;
}

static void explain_threads(struct hm_http_job *job, const struct hm_target *target, int error)
{
	struct hm_refusal refusal;

	if (error == -ESRCH) {
		hm_http_say(&job->answer, 404, "process %d has ended, and its threads with it",
			    (int)target->pid);
	} else if (error == -EACCES || error == -EPERM) {
		hm_process_explain_refusal(target->pid, HM_ACCESS_TRACE, &refusal);
		hm_http_say(&job->answer, 403, "the threads of process %d: %s", (int)target->pid,
			    refusal.reason);
	} else {
		hm_http_say(&job->answer, 503, "the threads of process %d: %s", (int)target->pid,
			    strerror(-error));
	}
}

uint64_t hm_serve_threads(void *context, struct hm_http_job *job)
{
	struct hm_serve *const serve = context;
	struct hm_target target;
	struct page page = { 0 };
	int error = -ESRCH;

	if (!hm_serve_open(context, job, &target))
		return 0;
	page_begin(&page);
	if (target.is_hidden)
		error = -EACCES;
	else if ((target.is_running || target.is_replaced) && page.stream != NULL)
		error = hm_threads_page_print(target.pid, &serve->symbols, page.stream);
	page_end(&page, job, plain);
	if (error != 0)
		explain_threads(job, &target, error);
	hm_target_close(&target);
	return 0;
}
