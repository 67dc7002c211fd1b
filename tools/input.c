// SPDX-License-Identifier: Apache-2.0
#include "tools/input.h"

#include "tools/cli.h"
#include "tools/ledger.h"
#include "tools/library.h"
#include "tools/process.h"
#include "tools/process_access.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *suffix)
{
	const size_t text_length = strlen(text);
	const size_t suffix_length = strlen(suffix);

	return text_length >= suffix_length && strcmp(text + text_length - suffix_length, suffix) == 0;
}

static int open_process(uint64_t pid, struct hm_input *ret_input)
{
	struct hm_process_ledger ledger;
	const int error = pid > 0 && pid <= INT_MAX ? hm_process_open_ledger((pid_t)pid, &ledger) : -ESRCH;

	if (error != 0)
		return error;
	ret_input->kind = HM_INPUT_LEDGER;
	ret_input->descriptor = ledger.descriptor;
	ret_input->pid = (pid_t)pid;
	ret_input->hidden_pid = 0;
	ret_input->is_process = true;
	strcpy(ret_input->path, ledger.path);
	return 0;
}

static pid_t find_writer(int descriptor, const char *path, const struct hm_ledger_identity *identity)
{
	const char *const slash = strrchr(path, '/');
	struct hm_process_list inner;
	struct stat status;
	pid_t writer = 0;

	if (fstat(descriptor, &status) != 0)
		return 0;
	hm_process_list_init(&inner);
	writer = hm_process_of_ledger(&inner, identity->pid, slash != NULL ? slash + 1 : path, status.st_ino);
	hm_process_list_done(&inner);
	return writer;
}

static int open_file(const char *path, struct hm_input *ret_input)
{
	struct hm_ledger_identity identity;
	struct stat status;
	int error = 0;
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (descriptor < 0)
		return -errno;
	if (fstat(descriptor, &status) != 0)
		error = -errno;
	else if (S_ISDIR(status.st_mode))
		error = -EISDIR;
	else if (snprintf(ret_input->path, sizeof(ret_input->path), "%s", path) >=
		 (int)sizeof(ret_input->path))
		error = -ENAMETOOLONG;
	if (error != 0) {
		(void)close(descriptor);
		return error;
	}
	ret_input->descriptor = descriptor;
	ret_input->pid = 0;
	ret_input->hidden_pid = 0;
	ret_input->is_process = false;
	ret_input->kind = ends_with(path, HM_LEDGER_SUFFIX) ? HM_INPUT_LEDGER : HM_INPUT_PROFILE;
	if (hm_ledger_identify(descriptor, &identity)) {
		ret_input->kind = HM_INPUT_LEDGER;
		ret_input->pid = find_writer(descriptor, path, &identity);
		if (ret_input->pid == 0 && identity.state != HM_LEDGER_FINISHED &&
		    hm_process_is_hidden(identity.pid))
			ret_input->hidden_pid = identity.pid;
	}
	return 0;
}

int hm_input_open(const char *argument, struct hm_input *ret_input)
{
	uint64_t pid = 0;

	return hm_parse_count(argument, &pid) ? open_process(pid, ret_input) : open_file(argument, ret_input);
}

void hm_input_close(struct hm_input *input)
{
	(void)close(input->descriptor);
	*input = (struct hm_input){ .descriptor = -1 };
}

/* What has this number, and no memory that we see.  Static text. */
static const char *what_is_there(const char *text)
{
	char path[64];
	const long number = strtol(text, NULL, 10);
	const pid_t pid = number > 0 && number <= INT_MAX ? (pid_t)number : 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	if (pid == 0)
		return "no such process";
	if (access(path, F_OK) == 0)
		return "has ended, which its parent has not taken notice of, or is a thread of the kernel";
	if (kill(pid, 0) == 0 || errno == EPERM)
		return "a process that this user cannot see in /proc (hidepid)";
	return "no such process";
}

/* What is to be typed behind the PID. */
static const char *rest_of(const char *verb)
{
	return strcmp(verb, "rate") == 0 ? " RATE" : "";
}

static void explain_refusal(const char *verb, const char *pid)
{
	struct hm_refusal refusal;

	hm_process_explain_refusal((pid_t)strtol(pid, NULL, 10), HM_ACCESS_READ, &refusal);
	hm_fail("%s: its ledger cannot be read: %s", pid, refusal.reason);
	if (refusal.remedy == HM_REMEDY_ROOT)
		hm_advise("sudo heapmark %s %s%s", verb, pid, rest_of(verb));
	else if (refusal.remedy == HM_REMEDY_UNKNOWN)
		hm_advise("grep -E 'State|Uid|Gid|Cap|NSpid' /proc/%s/status", pid);
	else if (refusal.is_other)
		hm_advise("sudo -u '#%u' heapmark %s %s%s, or give this container CAP_SYS_PTRACE (docker run "
			  "--cap-add=SYS_PTRACE)",
			  refusal.owner, verb, pid, rest_of(verb));
	else
		hm_advise("give this container CAP_SYS_PTRACE (docker run --cap-add=SYS_PTRACE)");
}

static void explain_process(const char *verb, const char *pid, int error)
{
	switch (error) {
	case -ESRCH:
		hm_fail("%s: %s, so there is nothing to read in memory", pid, what_is_there(pid));
		hm_advise("ls heapmark.*.%s* for the profile or the ledger that it left", pid);
		break;
	case -EACCES:
	case -EPERM:
		explain_refusal(verb, pid);
		break;
	case -ENOENT:
		hm_fail("%s: runs without %s, and it cannot be loaded later; nothing is known about it", pid,
			HM_LIBRARY_NAME);
		hm_advise("heapmark run COMMAND... to start it with the library");
		break;
	case -ENODATA:
		hm_fail("%s: has %s loaded but no ledger: nothing was sampled in it, or no file could be "
			"made",
			pid, HM_LIBRARY_NAME);
		hm_advise("heapmark run -r 1 -o DIR COMMAND... to see every allocation");
		break;
	default:
		hm_fail("%s: its ledger cannot be read: %s", pid, strerror(-error));
		hm_advise("sudo heapmark %s %s", verb, pid);
	}
}

void hm_input_explain(const char *verb, const char *argument, int error)
{
	uint64_t pid = 0;

	if (hm_parse_count(argument, &pid)) {
		explain_process(verb, argument, error);
		return;
	}
	hm_fail("%s: %s", argument, strerror(-error));
	if (error == -ENOENT)
		hm_advise("heapmark %s with the number of a process, a .ledger file or a directory of them",
			  verb);
	else
		hm_advise("ls -ld %s", argument);
}

static void list_add(struct hm_input_list *list, char *argument)
{
	char **const arguments = reallocarray(list->arguments, list->count + 1, sizeof(list->arguments[0]));

	if (arguments == NULL || argument == NULL)
		abort();
	arguments[list->count] = argument;
	list->arguments = arguments;
	list->count++;
}

static int compare_texts(const void *a, const void *b)
{
	char *const *const left = a;
	char *const *const right = b;

	return strcmp(*left, *right);
}

static int list_add_directory(struct hm_input_list *list, const char *directory, bool with_profiles)
{
	const size_t count_before = list->count;
	const struct dirent *entry = NULL;
	DIR *const stream = opendir(directory);

	if (stream == NULL)
		return -errno;
	while ((entry = readdir(stream)) != NULL) {
		char *path = NULL;

		if (!ends_with(entry->d_name, HM_LEDGER_SUFFIX) &&
		    !(with_profiles && ends_with(entry->d_name, HM_PROFILE_SUFFIX)))
			continue;
		if (asprintf(&path, "%s%s%s", directory, ends_with(directory, "/") ? "" : "/",
			     entry->d_name) < 0)
			abort();
		list_add(list, path);
	}
	(void)closedir(stream);
	if (list->count == count_before)
		return -ENOENT;
	qsort(list->arguments + count_before, list->count - count_before, sizeof(list->arguments[0]),
	      compare_texts);
	return 0;
}

int hm_input_list_init(char *const *arguments, size_t argument_count, bool with_profiles,
		       struct hm_input_list *ret_list, const char **ret_culprit)
{
	struct hm_input_list list = { 0 };

	for (size_t i = 0; i < argument_count; i++) {
		struct stat status;
		uint64_t pid = 0;
		int error = 0;

		if (!hm_parse_count(arguments[i], &pid) && stat(arguments[i], &status) == 0 &&
		    S_ISDIR(status.st_mode))
			error = list_add_directory(&list, arguments[i], with_profiles);
		else
			list_add(&list, strdup(arguments[i]));
		if (error != 0) {
			hm_input_list_done(&list);
			*ret_culprit = arguments[i];
			return error;
		}
	}
	*ret_list = list;
	return 0;
}

void hm_input_list_done(struct hm_input_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->arguments[i]);
	free(list->arguments);
	*list = (struct hm_input_list){ 0 };
}
