// SPDX-License-Identifier: Apache-2.0
#include "tools/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { FILES_MAX = 6 }; /* the kernel follows five scripts: fs/exec.c, exec_binprm */

/* A file in memory.  Every access goes through part_of: nobody promised that it is a sound ELF file. */
struct file_image {
	const uint8_t *base; /* owned mapping; NULL: empty */
	size_t size_bytes;
};

static const void *part_of(const struct file_image *file, uint64_t offset, uint64_t length_bytes)
{
	if (offset > file->size_bytes || length_bytes > file->size_bytes - offset)
		return NULL;
	return file->base + offset;
}

/* The string at an offset, or NULL where it does not end inside the file. */
static const char *string_of(const struct file_image *file, uint64_t offset)
{
	if (offset >= file->size_bytes ||
	    memchr(file->base + offset, '\0', file->size_bytes - offset) == NULL)
		return NULL;
	return (const char *)file->base + offset;
}

static bool map_file(const char *path, struct file_image *ret_file)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	void *base = MAP_FAILED;

	if (descriptor < 0)
		return false;
	if (fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
		base = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, descriptor, 0);
	(void)close(descriptor);
	if (base == MAP_FAILED)
		return false;
	*ret_file = (struct file_image){ .base = base, .size_bytes = (size_t)status.st_size };
	return true;
}

static void unmap_file(struct file_image *file)
{
	(void)munmap((void *)(uintptr_t)file->base, file->size_bytes);
	*file = (struct file_image){ 0 };
}

static enum hm_program_verdict can_execute(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0)
		return errno == EACCES ? HM_PROGRAM_NOT_EXECUTABLE : HM_PROGRAM_NOT_FOUND;
	if (!S_ISREG(status.st_mode) || access(path, X_OK) != 0)
		return HM_PROGRAM_NOT_EXECUTABLE;
	return HM_PROGRAM_FINE;
}

/*
 * As execvp: the first entry of PATH with a file that can be executed, else one with a file that cannot.  An
 * empty entry is the current directory.
 */
static enum hm_program_verdict find_in_path(const char *command, char ret_path[PATH_MAX])
{
	const char *directories = getenv("PATH");
	enum hm_program_verdict verdict = HM_PROGRAM_NOT_FOUND;

	if (directories == NULL)
		directories = "/bin:/usr/bin";
	for (;;) {
		const size_t length = strcspn(directories, ":");
		char path[PATH_MAX];
		const int written = snprintf(path, sizeof(path), "%.*s%s%s", (int)length, directories,
					     length > 0 ? "/" : "", command);
		const enum hm_program_verdict here =
			written < PATH_MAX ? can_execute(path) : HM_PROGRAM_NOT_FOUND;

		if (here == HM_PROGRAM_FINE ||
		    (here != HM_PROGRAM_NOT_FOUND && verdict == HM_PROGRAM_NOT_FOUND)) {
			verdict = here;
			strcpy(ret_path, path);
		}
		if (here == HM_PROGRAM_FINE || directories[length] == '\0')
			return verdict;
		directories += length + 1;
	}
}

static enum hm_program_verdict find_command(const char *command, char ret_path[PATH_MAX])
{
	if (strchr(command, '/') == NULL && command[0] != '\0')
		return find_in_path(command, ret_path);
	if (snprintf(ret_path, PATH_MAX, "%s", command) >= PATH_MAX)
		return HM_PROGRAM_NOT_FOUND;
	return can_execute(ret_path);
}

/* The interpreter in a script's first line; false where the file is no script. */
static bool read_interpreter(const struct file_image *file, char interpreter[PATH_MAX])
{
	const char *const text = part_of(file, 0, 3);

	if (text == NULL || text[0] != '#' || text[1] != '!')
		return false;

	const char *const end = text + file->size_bytes;
	const char *start = text + 2;
	size_t length = 0;

	while (start < end && (*start == ' ' || *start == '\t'))
		start++;
	while (start + length < end && strchr(" \t\n", start[length]) == NULL)
		length++;
	if (length == 0 || length >= PATH_MAX)
		return false;
	memcpy(interpreter, start, length);
	interpreter[length] = '\0';
	return true;
}

/* Whether this is the name of glibc's loader. */
static bool is_loader_name(const char *path)
{
	const char *const slash = strrchr(path, '/');
	const char *const name = slash != NULL ? slash + 1 : path;

	return strncmp(name, "ld-linux", strlen("ld-linux")) == 0;
}

/* Whether programs run with the privileges of their files at all: not in a container that forbids it. */
static bool privileges_are_given(const char *path)
{
	struct statvfs filesystem;

	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1 &&
	       !(statvfs(path, &filesystem) == 0 && (filesystem.f_flag & ST_NOSUID) != 0);
}

/* Whether the kernel would run the file with more privileges than we have, which makes the loader wary. */
static bool gains_privileges(const char *path)
{
	struct stat status;

	if (stat(path, &status) != 0 || !privileges_are_given(path))
		return false;
	if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid())
		return true;
	if ((status.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && status.st_gid != getegid())
		return true;
	return geteuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0;
}

static const Elf64_Shdr *section_of(const struct file_image *file, const Elf64_Ehdr *header, uint64_t index)
{
	return part_of(file, header->e_shoff + index * sizeof(Elf64_Shdr), sizeof(Elf64_Shdr));
}

/* Also one that no other object can see, as with a static libjemalloc: the program's own calls reach it. */
static bool defines_malloc(const struct file_image *file, const Elf64_Ehdr *header, const Elf64_Shdr *table)
{
	const Elf64_Shdr *const names = section_of(file, header, table->sh_link);
	const uint64_t count = table->sh_size / sizeof(Elf64_Sym);
	const Elf64_Sym *const symbols = part_of(file, table->sh_offset, count * sizeof(Elf64_Sym));

	if (names == NULL || symbols == NULL)
		return false;
	for (uint64_t i = 0; i < count; i++) {
		const Elf64_Sym *const symbol = &symbols[i];
		const char *const name = string_of(file, names->sh_offset + symbol->st_name);

		if (symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
		    name != NULL && strcmp(name, "malloc") == 0)
			return true;
	}
	return false;
}

static bool has_own_malloc(const struct file_image *file, const Elf64_Ehdr *header)
{
	const Elf64_Shdr *const first = section_of(file, header, 0);
	uint64_t count = header->e_shnum;

	if (header->e_shoff == 0 || header->e_shentsize != sizeof(Elf64_Shdr) || first == NULL)
		return false;
	if (count == 0) /* more than the field holds: the number is in the first one */
		count = first->sh_size;
	for (uint64_t i = 0; i < count; i++) {
		const Elf64_Shdr *const section = section_of(file, header, i);

		if (section == NULL)
			return false;
		if ((section->sh_type == SHT_SYMTAB || section->sh_type == SHT_DYNSYM) &&
		    defines_malloc(file, header, section))
			return true;
	}
	return false;
}

/* Whether it is a program, with all that its headers promise.  The kernel does not execute it otherwise, or
 * the program faults where something was cut off. */
static bool is_whole(const struct file_image *file)
{
	const Elf64_Ehdr *const header = part_of(file, 0, sizeof(*header));

	if (header == NULL || header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
	    (header->e_type != ET_EXEC && header->e_type != ET_DYN) ||
	    part_of(file, header->e_phoff, (uint64_t)header->e_phnum * sizeof(Elf64_Phdr)) == NULL)
		return false;
	for (unsigned int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *const segment =
			part_of(file, header->e_phoff + (uint64_t)i * sizeof(*segment), sizeof(*segment));

		if ((segment->p_type == PT_LOAD || segment->p_type == PT_INTERP) &&
		    part_of(file, segment->p_offset, segment->p_filesz) == NULL)
			return false;
		if (segment->p_type == PT_INTERP &&
		    memchr(file->base + segment->p_offset, '\0', segment->p_filesz) == NULL)
			return false;
	}
	return true;
}

/* ld-linux-x86-64.so.2 PROGRAM...: static itself, but it reads LD_PRELOAD. */
static bool is_loader(const char *path)
{
	char resolved[PATH_MAX];

	return realpath(path, resolved) != NULL && is_loader_name(resolved);
}

/* The loader that the executable asks for, or NULL: statically linked. */
static const char *find_loader(const struct file_image *file, const Elf64_Ehdr *header)
{
	for (unsigned int i = 0; i < header->e_phnum; i++) {
		const Elf64_Phdr *const segment =
			part_of(file, header->e_phoff + (uint64_t)i * sizeof(*segment), sizeof(*segment));

		if (segment != NULL && segment->p_type == PT_INTERP)
			return string_of(file, segment->p_offset);
	}
	return NULL;
}

static unsigned int header_machine(const struct file_image *file)
{
	Elf64_Half machine;

	memcpy(&machine, file->base + offsetof(Elf64_Ehdr, e_machine), sizeof(machine));
	return machine;
}

static enum hm_program_verdict not_executable(struct hm_program *program)
{
	strcpy(program->path, program->binary);
	return HM_PROGRAM_NOT_EXECUTABLE;
}

static enum hm_program_verdict examine_elf(const struct file_image *file, struct hm_program *program)
{
	const Elf64_Ehdr *const header = part_of(file, 0, sizeof(*header));

	/* Class and machine lie at the same place in the header of every class. */
	if (file->size_bytes >= sizeof(Elf32_Ehdr) &&
	    (file->base[EI_CLASS] != ELFCLASS64 || header_machine(file) != EM_X86_64))
		return HM_PROGRAM_OTHER_MACHINE;
	if (header == NULL || !is_whole(file))
		return not_executable(program);

	const char *const loader = find_loader(file, header);

	if (loader == NULL)
		return is_loader(program->binary) ? HM_PROGRAM_FINE : HM_PROGRAM_STATIC;
	if (access(loader, F_OK) != 0) {
		(void)snprintf(program->missing, sizeof(program->missing), "%s", loader);
		return HM_PROGRAM_NO_INTERPRETER;
	}
	if (!is_loader_name(loader))
		return HM_PROGRAM_OTHER_LIBC;
	if (gains_privileges(program->binary))
		return HM_PROGRAM_PRIVILEGED;
	program->has_own_malloc = has_own_malloc(file, header);
	return HM_PROGRAM_FINE;
}

/* On to what interprets a script. */
static enum hm_program_verdict follow(struct hm_program *program, const char *interpreter, bool *ret_again)
{
	const enum hm_program_verdict verdict = can_execute(interpreter);

	if (verdict == HM_PROGRAM_NOT_FOUND) {
		strcpy(program->missing, interpreter);
		return HM_PROGRAM_NO_INTERPRETER;
	}
	strcpy(program->binary, interpreter);
	if (verdict != HM_PROGRAM_FINE)
		return not_executable(program);
	*ret_again = true;
	return HM_PROGRAM_FINE;
}

/* Examines program->binary; where it is a script, puts the interpreter there and sets *ret_again. */
static enum hm_program_verdict examine_file(struct hm_program *program, bool *ret_again)
{
	struct file_image file = { 0 };
	enum hm_program_verdict verdict = HM_PROGRAM_FINE;
	char interpreter[PATH_MAX];

	if (!map_file(program->binary, &file)) /* of the unreadable no script can be run, so it is none */
		return gains_privileges(program->binary) ? HM_PROGRAM_PRIVILEGED : HM_PROGRAM_FINE;
	if (file.size_bytes >= SELFMAG && memcmp(file.base, ELFMAG, SELFMAG) == 0)
		verdict = examine_elf(&file, program);
	else if (read_interpreter(&file, interpreter))
		verdict = follow(program, interpreter, ret_again);
	unmap_file(&file);
	return verdict;
}

void hm_program_examine(const char *command, struct hm_program *ret_program)
{
	struct hm_program *const program = ret_program;
	bool again = true;

	*program = (struct hm_program){ 0 };
	program->verdict = find_command(command, program->path);
	strcpy(program->binary, program->path);
	for (int count = 0; program->verdict == HM_PROGRAM_FINE && again && count < FILES_MAX; count++) {
		again = false;
		program->verdict = examine_file(program, &again);
	}
}
