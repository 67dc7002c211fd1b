// SPDX-License-Identifier: Apache-2.0
/*
 * PID|LEDGER|PROFILE: what a verb is given to look at.  A directory stands for all ledgers and profiles in
 * it.
 */
#ifndef HM_TOOLS_INPUT_H
#define HM_TOOLS_INPUT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum hm_input_kind {
	HM_INPUT_LEDGER,
	HM_INPUT_PROFILE, /* or neither: reading it will tell */
};

struct hm_input {
	enum hm_input_kind kind;
	int descriptor;   /* owned; released by hm_input_close */
	pid_t pid;        /* the process that was named, or that still writes the ledger; 0: none */
	pid_t hidden_pid; /* where that is 0: one of the ledger's number that cannot be looked at; 0: none */
	bool is_process;  /* the argument was a PID */
	char path[PATH_MAX]; /* of the file as it was named; for a process, of its ledger as the process sees
				it */
};

/*
 * Opens what the argument names: only digits are a PID, anything else is a path.  Whether a file is a ledger
 * is told by how it begins, and where it is damaged by its name.
 * Returns 0, what hm_process_open_ledger says about a process, or what open says about a file.
 */
int hm_input_open(const char *argument, struct hm_input *ret_input);
void hm_input_close(struct hm_input *input);

/* Says why hm_input_open failed, what follows, and what to type.  `verb` is the one that is running. */
void hm_input_explain(const char *verb, const char *argument, int error);

/* Arguments with directories replaced by what is in them, in alphabetical order. */
struct hm_input_list {
	char **arguments; /* owned, and so is each; released by hm_input_list_done */
	size_t count;
};

/*
 * Returns 0; or -ENOENT where a directory holds no file of the kind, or another negative errno where it
 * cannot be read: then *ret_culprit (borrowed from `arguments`) is that directory.
 */
int hm_input_list_init(char *const *arguments, size_t argument_count, bool with_profiles,
		       struct hm_input_list *ret_list, const char **ret_culprit);
void hm_input_list_done(struct hm_input_list *list);

#endif
