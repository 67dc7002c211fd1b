// SPDX-License-Identifier: Apache-2.0
/*
 * places ACTION [fork]: half of the work, then something happens to the place of the profile or to the rights
 * of the process, then the other half, here or in a child.  HEAPMARK_DIR is the place, with or without the
 * library.
 */
#include "tests/subjects/truth.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NOBODY = 65534, BLOCKS = 20000 };

TRUTH(work_before)
static SITE struct block work_before(size_t size)
{
	return truth_allocated(&truth_of_work_before, malloc(size), size);
}

TRUTH(work_after)
static SITE struct block work_after(size_t size)
{
	return truth_allocated(&truth_of_work_after, malloc(size), size);
}

/* So many live samples that the ledger has to grow; one in three is freed. */
static void work(struct block (*allocate)(size_t size))
{
	for (size_t index = 0; index < BLOCKS; index++) {
		struct block block = allocate(index % 300);

		if (index % 3 == 0)
			truth_free(&block);
	}
}

static void must(const char *what, bool done)
{
	if (done)
		return;
	say("%s: %s", what, strerrorname_np(errno));
	_exit(98);
}

static const char *place(void)
{
	const char *const directory = getenv("HEAPMARK_DIR");

	return directory != NULL ? directory : ".";
}

static void leave_alone(void)
{
}

static void change_directory(void)
{
	must("chdir", chdir("/") == 0);
}

static void change_root(void)
{
	must("chroot", chroot(".") == 0 && chdir("/") == 0);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place_in_tree)
{
	(void)status;
	(void)kind;
	(void)place_in_tree;
	return remove(path);
}

static void remove_place(void)
{
	must("nftw", nftw(place(), remove_one, 10, FTW_DEPTH | FTW_PHYS) == 0);
}

static void rename_place(void)
{
	must("rename", rename(place(), "moved") == 0);
}

static void become_nobody(void)
{
	must("setuid", setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
}

static void become_nobody_alone(void)
{
	const struct rlimit no_processes = { 0, 0 };

	must("setrlimit", setrlimit(RLIMIT_NPROC, &no_processes) == 0);
	become_nobody();
}

static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0, 0, 0 } };

	must("prctl", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	must("capset", syscall(SYS_capset, &header, none) == 0);
}

static void forbid_dumps(void)
{
	must("prctl", prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void detach_place(void)
{
	must("umount2", umount2(place(), MNT_DETACH) == 0);
}

static void remount_place(void)
{
	const int result = mount(NULL, place(), NULL, MS_REMOUNT | MS_RDONLY, NULL);

	say("remounted read-only: %s", result == 0 ? "done" : strerrorname_np(errno));
}

static void fill_place(void)
{
	static char bytes[4096];
	char path[4096];

	(void)snprintf(path, sizeof(path), "%s/filler", place());

	const int file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	must("open", file >= 0);
	for (size_t size = sizeof(bytes); size > 0; size /= 2) {
		while (write(file, bytes, size) == (ssize_t)size) {
		}
	}
	must("write", errno == ENOSPC || errno == EDQUOT);
	(void)close(file);
}

/* Descriptor 2 is now a file of the program's own, and there is something to complain of at the end. */
static void reuse_standard_error(void)
{
	static const char record[] = "a record of the program's own\n";

	must("close", close(STDERR_FILENO) == 0);
	must("open", open("data", O_CREAT | O_RDWR, 0600) == STDERR_FILENO);
	for (int count = 0; count < 10; count++)
		must("write",
		     write(STDERR_FILENO, record, sizeof(record) - 1) == (ssize_t)sizeof(record) - 1);
	must("lseek", lseek(STDERR_FILENO, 0, SEEK_SET) == 0);
	remove_place();
}

static void use_up_descriptors(void)
{
	while (dup(STDOUT_FILENO) >= 0) {
	}
	must("dup", errno == EMFILE);
}

static const struct action {
	const char *name;
	void (*function)(void);
} actions[] = {
	{ "nothing", leave_alone },         { "chdir", change_directory },
	{ "chroot", change_root },          { "remove", remove_place },
	{ "rename", rename_place },         { "nobody", become_nobody },
	{ "alone", become_nobody_alone },   { "drop", drop_capabilities },
	{ "undumpable", forbid_dumps },     { "detach", detach_place },
	{ "remount", remount_place },       { "fill", fill_place },
	{ "stderr", reuse_standard_error }, { "descriptors", use_up_descriptors },
};

static void act(const char *name)
{
	for (size_t index = 0; index < sizeof(actions) / sizeof(actions[0]); index++) {
		if (strcmp(actions[index].name, name) == 0) {
			actions[index].function();
			return;
		}
	}
	must(name, false);
}

static void work_in_child(void)
{
	const pid_t child = fork();
	int status = 0;

	if (child == 0) {
		truth_begin_anew();
		work(work_after);
		truth_print();
		exit(4);
	}
	must("waitpid", child > 0 && waitpid(child, &status, 0) == child);
	say("child: %d", WEXITSTATUS(status));
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return 1;
	work(work_before);
	act(argv[1]);
	if (argc > 2)
		work_in_child();
	else
		work(work_after);
	truth_print();
	return 3;
}
