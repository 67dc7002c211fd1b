// SPDX-License-Identifier: Apache-2.0
/* The `heapmark` command: a table of verbs. */
#include "tools/cli.h"
#include "tools/nearest.h"
#include "tools/verb.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct hm_verb *const verbs[] = {
	&hm_verb_run,   &hm_verb_dump,  &hm_verb_top,  &hm_verb_flame, &hm_verb_diff,      &hm_verb_doctor,
	&hm_verb_watch, &hm_verb_serve, &hm_verb_rate, &hm_verb_check, &hm_verb_symbolize,
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static void print_help(FILE *stream)
{
	(void)fputs("usage: heapmark VERB [OPTION...] ...\n"
		    "\n"
		    "Why is the memory of a Linux program so high?  heapmark samples the allocations of a "
		    "program\n"
		    "that was not built for it and writes profiles for `go tool pprof`.\n"
		    "\n"
		    "verbs:\n",
		    stream);
	for (size_t i = 0; i < VERB_COUNT; i++)
		(void)fprintf(stream, "  %-9s %s\n", verbs[i]->name, verbs[i]->summary);
	(void)fputs("\n"
		    "  -q, --quiet    print errors and warnings only\n"
		    "  -V, --version  the version\n"
		    "  VERB --help    what a verb does, and its options\n"
		    "\n"
		    "example:\n"
		    "  heapmark run ./server --port 80\n"
		    "  heapmark run -r 1 -o /tmp/profiles python3 script.py\n",
		    stream);
}

static const struct hm_verb *find_verb(const char *name)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i]->name, name) == 0)
			return verbs[i];
	return NULL;
}

/* `heapmark ./server`: the verb was forgotten. */
static bool looks_like_program(const char *word)
{
	return strchr(word, '/') != NULL && access(word, X_OK) == 0;
}

static int complain(const char *word)
{
	const char *names[VERB_COUNT];
	const char *near = NULL;

	for (size_t i = 0; i < VERB_COUNT; i++)
		names[i] = verbs[i]->name;
	near = hm_nearest(word, names, VERB_COUNT);
	if (word[0] == '-') {
		hm_fail("unknown option %s: a verb comes first", word);
		hm_advise("heapmark --help");
	} else if (looks_like_program(word)) {
		hm_fail("unknown verb %s: it is a program, and needs the verb `run` before it", word);
		hm_advise("heapmark run %s", word);
	} else if (near != NULL) {
		hm_fail("unknown verb %s: did you mean `%s`?", word, near);
		hm_advise("heapmark %s --help", near);
	} else {
		hm_fail("unknown verb %s", word);
		hm_advise("heapmark --help");
	}
	return HM_EXIT_USAGE;
}

static bool is_one_of(const char *word, const char *letter, const char *name)
{
	return strcmp(word, letter) == 0 || strcmp(word, name) == 0;
}

static int run_verb(int argc, char **argv)
{
	int index = 1;

	for (; index < argc && is_one_of(argv[index], "-q", "--quiet"); index++)
		hm_set_quiet();
	if (index == argc) {
		print_help(stderr);
		return HM_EXIT_USAGE;
	}
	if (is_one_of(argv[index], "-V", "--version")) {
		(void)printf("heapmark %s\n", HM_VERSION);
		return HM_EXIT_DONE;
	}

	const bool wants_help = is_one_of(argv[index], "help", "--help") || strcmp(argv[index], "-h") == 0;

	if (wants_help && index + 1 == argc) {
		print_help(stdout);
		return HM_EXIT_DONE;
	}
	index += wants_help;

	const struct hm_verb *const verb = find_verb(argv[index]);

	if (verb == NULL)
		return complain(argv[index]);
	if (wants_help) {
		hm_verb_print_help(verb);
		return HM_EXIT_DONE;
	}
	return verb->main(verb, argc - index, argv + index);
}

int main(int argc, char **argv)
{
	return hm_end_output(run_verb(argc, argv));
}
