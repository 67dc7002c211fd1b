// SPDX-License-Identifier: Apache-2.0
/*
 * Names out of ELF files: this program's own, of which the truth is known; the C library's; stripped and
 * damaged copies.
 */
#include "proto/elf_symbols.h"
#include "tests/unit/check.h"
#include "tests/unit/scratch.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdlib.h>
#include <sys/stat.h>

/* --- Functions to be found ----------------------------------------------------------------------------- */

__attribute__((noinline)) static int local_function(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value + 1;
}

__attribute__((noinline)) int exported_function(int value);
int exported_function(int value)
{
	__asm__ volatile("" : "+r"(value));
	return value + 2;
}

/* The same code under more names: fewer leading underscores first, then the shorter, exported before local.
 */
__attribute__((alias("exported_function"))) int __exported_alias(int value);
__attribute__((alias("exported_function"))) int exported_function_too(int value);
__attribute__((alias("exported_function"), unused)) static int a(int value);

/* Assembly: a function without a size, one with, and a label inside of it that has a size but is no function.
 */
__asm__(".text\n"
	".globl sizeless\n"
	".type sizeless, @function\n"
	"sizeless:\n"
	"	nop; nop; nop; nop; ret\n"
	".globl sized\n"
	".type sized, @function\n"
	"sized:\n"
	"	.cfi_startproc\n"
	"	nop; nop\n"
	"inner_label:\n"
	"	nop; nop; ret\n"
	".size inner_label, .-inner_label\n"
	"	.cfi_endproc\n"
	".size sized, .-sized\n"
	/* The description of a function without any symbol. */
	"	.cfi_startproc\n"
	"	nop; nop; nop; ret\n"
	"	.cfi_endproc\n"
	/* And code that nothing describes. */
	"	nop; nop; nop; ret\n");
void sizeless(void);
void sized(void);

/* --- Asking -------------------------------------------------------------------------------------------- */

struct answers {
	struct hm_arena arena;
	struct hm_location_name names[64];
	enum hm_names_outcome outcome;
};

static const char *ask(const struct hm_snapshot_module *module, const uint64_t *addresses, uint32_t count,
		       struct answers *ret_answers)
{
	const struct hm_resolver resolver = hm_elf_resolver();

	hm_arena_init(&ret_answers->arena, SIZE_MAX);
	memset(ret_answers->names, 0, sizeof(ret_answers->names));
	CHECK_EQ(resolver.resolve(resolver.context, &ret_answers->arena, module, addresses, count,
				  ret_answers->names, &ret_answers->outcome),
		 0);
	for (uint32_t i = 0; i < count; i++) {
		const struct hm_location_name *const name = &ret_answers->names[i];

		if (name->line_count != 1 || name->lines[0].name[0] == '\0' ||
		    name->lines[0].system_name != name->lines[0].name)
			CHECK(!"every address has a name");
	}
	return ret_answers->names[0].lines[0].name;
}

static void expect_name(const struct hm_snapshot_module *module, uint64_t address, const char *name)
{
	struct answers answers;

	CHECK_STR(ask(module, &address, 1, &answers), name);
	CHECK(!answers.names[0].placeholder);
	CHECK_EQ(answers.outcome, HM_NAMES_FOUND);
	hm_arena_done(&answers.arena);
}

static char module_path[PATH_MAX];

/* What the preloaded library would have written down of the object around an address. */
static int describe(struct dl_phdr_info *info, size_t size, void *context)
{
	struct hm_snapshot_module *const module = context;
	const uint64_t address = module->start_address;
	bool found = false;

	(void)size;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *const segment = &info->dlpi_phdr[i];
		const uint64_t start = info->dlpi_addr + segment->p_vaddr;

		if (segment->p_type == PT_LOAD && (segment->p_flags & PF_X) != 0 && address >= start &&
		    address < start + segment->p_memsz) {
			module->start_address = start & ~UINT64_C(4095);
			module->end_address = (start + segment->p_memsz + 4095) & ~UINT64_C(4095);
			module->file_offset = segment->p_offset & ~UINT64_C(4095);
			module->load_bias = info->dlpi_addr;
			module->path = info->dlpi_name[0] != '\0' ? info->dlpi_name : module_path;
			found = true;
		}
	}
	for (int i = 0; found && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *const segment = &info->dlpi_phdr[i];

		if (segment->p_type != PT_NOTE)
			continue;
		const uint8_t *note = (const uint8_t *)(info->dlpi_addr + segment->p_vaddr);
		const uint8_t *const end = note + segment->p_memsz;
		while (note + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *const header = (const ElfW(Nhdr) *)note;
			const uint8_t *const name = note + sizeof(*header);
			const uint8_t *const description = name + (header->n_namesz + 3) / 4 * 4;

			if (header->n_type == NT_GNU_BUILD_ID && header->n_namesz == 4) {
				module->build_id_size = header->n_descsz;
				memcpy(module->build_id, description, header->n_descsz);
			}
			note = description + (header->n_descsz + segment->p_align - 1) / segment->p_align *
						     segment->p_align;
		}
	}
	return found;
}

static struct hm_snapshot_module module_around(uint64_t address)
{
	struct hm_snapshot_module module = { .start_address = address };

	CHECK_EQ(dl_iterate_phdr(describe, &module), 1);
	return module;
}

/* --- Tests --------------------------------------------------------------------------------------------- */

static void test_own(const struct hm_snapshot_module *module)
{
	expect_name(module, (uint64_t)local_function, "local_function");
	expect_name(module, (uint64_t)local_function + 1, "local_function");
	expect_name(module, (uint64_t)exported_function, "exported_function");
	expect_name(module, (uint64_t)sizeless, "sizeless");
	expect_name(module, (uint64_t)sizeless + 4, "sizeless");
	expect_name(module, (uint64_t)sized, "sized");
	expect_name(module, (uint64_t)sized + 2, "sized"); /* not the label */
	expect_name(module, (uint64_t)sized + 4, "sized");

	/* Behind `sized`, 5 bytes long: known by its description, then not at all. */
	struct answers answers;
	char by_start[PATH_MAX];
	char by_address[PATH_MAX];
	const char *const base = strrchr(module->path, '/') + 1;
	const uint64_t nameless = (uint64_t)sized + 5;
	const uint64_t addresses[3] = { nameless, nameless + 3, nameless + 5 };
	ask(module, addresses, 3, &answers);
	snprintf(by_start, sizeof(by_start), "%s+0x%lx", base, nameless - module->load_bias);
	snprintf(by_address, sizeof(by_address), "%s+0x%lx", base, nameless + 5 - module->load_bias);
	CHECK_STR(answers.names[0].lines[0].name, by_start);
	CHECK_STR(answers.names[1].lines[0].name, by_start);
	CHECK_STR(answers.names[2].lines[0].name, by_address);
	CHECK(answers.names[0].placeholder && answers.names[2].placeholder);
	hm_arena_done(&answers.arena);
}

/* Many addresses at once, unlike one by one, share passes over the tables: the same must come out. */
static void test_many(const struct hm_snapshot_module *module)
{
	struct answers all;
	uint64_t addresses[64];
	const uint64_t step = (module->end_address - module->start_address) / 64;

	for (uint32_t i = 0; i < 64; i++)
		addresses[i] = module->start_address + i * step + i % 7;
	ask(module, addresses, 64, &all);
	for (uint32_t i = 0; i < 64; i++) {
		struct answers one;

		CHECK_STR(ask(module, &addresses[i], 1, &one), all.names[i].lines[0].name);
		CHECK_EQ(one.names[0].placeholder, all.names[i].placeholder);
		hm_arena_done(&one.arena);
	}
	hm_arena_done(&all.arena);
}

/* Against dladdr, which reads .dynsym only: where it has a name for an exact start, ours is one of that
 * address. */
static void test_c_library(void)
{
	static const char *const functions[] = { "malloc",      "qsort", "strtol", "fopen",
						 "getaddrinfo", "free",  "_exit" };

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
		void *const library = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
		const uint64_t address = (uint64_t)dlsym(library, functions[i]);
		const struct hm_snapshot_module module = module_around(address);
		struct answers answers;
		const uint64_t inside = address + 1;

		const char *const name = ask(&module, &inside, 1, &answers);
		CHECK(!answers.names[0].placeholder);
		CHECK_EQ((uint64_t)dlsym(library, name), address); /* this name, or an alias */
		CHECK(strchr(name, '@') == NULL);
		hm_arena_done(&answers.arena);
		dlclose(library);
	}
	const uint64_t address = (uint64_t)dlsym(RTLD_DEFAULT, "qsort");
	const struct hm_snapshot_module module = module_around(address);
	expect_name(&module, address, "qsort");
}

static void test_outcomes(const struct hm_snapshot_module *module)
{
	const uint64_t address = (uint64_t)local_function;
	char expected[PATH_MAX];
	struct answers answers;
	struct hm_snapshot_module changed = *module;

	snprintf(expected, sizeof(expected), "%s+0x%lx", strrchr(module->path, '/') + 1,
		 address - module->load_bias);
	changed.build_id[3] ^= 1;
	CHECK_STR(ask(&changed, &address, 1, &answers), expected);
	CHECK_EQ(answers.outcome, HM_NAMES_OTHER_FILE);
	hm_arena_done(&answers.arena);

	changed.build_id_size = 0; /* what was loaded had none, the file has */
	ask(&changed, &address, 1, &answers);
	CHECK_EQ(answers.outcome, HM_NAMES_OTHER_FILE);
	hm_arena_done(&answers.arena);

	changed = *module;
	changed.path = "/no/such/file.so";
	ask(&changed, &address, 1, &answers);
	CHECK_EQ(answers.outcome, HM_NAMES_NO_FILE);
	CHECK(strncmp(answers.names[0].lines[0].name, "file.so+0x", 10) == 0);
	hm_arena_done(&answers.arena);

	changed.path = "/proc/self/cmdline";
	ask(&changed, &address, 1, &answers);
	CHECK_EQ(answers.outcome, HM_NAMES_NOT_ELF);
	hm_arena_done(&answers.arena);

	changed.path = "";
	changed.flags = HM_MODULE_VDSO;
	CHECK_STR(ask(&changed, &address, 1, &answers), "[vdso]");
	CHECK_EQ(answers.outcome, HM_NAMES_NO_FILE);
	hm_arena_done(&answers.arena);

	changed = *module;
	changed.load_bias = changed.start_address + 1;
	ask(&changed, &address, 1, &answers);
	CHECK_EQ(answers.outcome, HM_NAMES_NOT_ELF);
	hm_arena_done(&answers.arena);
}

static uint8_t *read_file(const char *path, size_t *ret_size_bytes)
{
	struct stat status;
	const int descriptor = open(path, O_RDONLY);

	fstat(descriptor, &status);
	uint8_t *const data = malloc((size_t)status.st_size);
	*ret_size_bytes = (size_t)read(descriptor, data, (size_t)status.st_size);
	close(descriptor);
	return data;
}

static bool write_file(const char *path, const void *data, size_t size_bytes)
{
	const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	const bool good = write(descriptor, data, size_bytes) == (ssize_t)size_bytes;

	close(descriptor);
	return good;
}

/* A pipe in the place of the file is not waited for. */
static void test_pipe(const struct hm_snapshot_module *module, const char *directory)
{
	struct hm_snapshot_module changed = *module;
	struct answers answers;
	const uint64_t address = (uint64_t)local_function;
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s/pipe", directory);
	CHECK_EQ(mkfifo(path, 0600), 0);
	changed.path = path;
	ask(&changed, &address, 1, &answers);
	CHECK_EQ(answers.outcome, HM_NAMES_NO_FILE);
	hm_arena_done(&answers.arena);
	unlink(path);
}

/* Turns all sections of a type into nothing, as strip does. */
static void remove_sections(uint8_t *file, uint32_t type)
{
	const Elf64_Ehdr *const header = (const Elf64_Ehdr *)file;
	Elf64_Shdr *const sections = (Elf64_Shdr *)(file + header->e_shoff);

	for (uint32_t i = 0; i < header->e_shnum; i++) {
		if (sections[i].sh_type == type)
			sections[i].sh_type = SHT_NULL;
	}
}

/* Without .symtab: the exported by .dynsym, the others by where they start, one name for a function. */
static void test_stripped(const struct hm_snapshot_module *module, const char *directory)
{
	struct hm_snapshot_module stripped = *module;
	struct answers answers;
	char path[PATH_MAX + 16];
	char expected[PATH_MAX];
	size_t size_bytes;
	uint8_t *const file = read_file(module->path, &size_bytes);

	snprintf(path, sizeof(path), "%s/stripped", directory);
	stripped.path = path;
	remove_sections(file, SHT_SYMTAB);
	CHECK(write_file(path, file, size_bytes));
	uint64_t addresses[2] = { (uint64_t)local_function, (uint64_t)local_function + 2 };
	ask(&stripped, addresses, 2, &answers);
	snprintf(expected, sizeof(expected), "stripped+0x%lx", addresses[0] - module->load_bias);
	CHECK_EQ(answers.outcome, HM_NAMES_FOUND);
	CHECK_STR(answers.names[0].lines[0].name, expected);
	CHECK_STR(answers.names[1].lines[0].name, expected);
	CHECK(answers.names[0].placeholder);
	hm_arena_done(&answers.arena);

	/* More sections than fit the header's field: the number is in the first section then. */
	free(file);
	uint8_t *const again = read_file(module->path, &size_bytes);
	Elf64_Ehdr *const header = (Elf64_Ehdr *)again;
	((Elf64_Shdr *)(again + header->e_shoff))->sh_size = header->e_shnum;
	header->e_shnum = 0;
	CHECK(write_file(path, again, size_bytes));
	expect_name(&stripped, (uint64_t)local_function, "local_function");
	free(again);
	unlink(path);
}

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	uint64_t z = random_state;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* Where a reader looks: the header, the segments, the sections, the tables named by them. */
static uint64_t interesting_offset(const uint8_t *file, size_t size_bytes)
{
	const Elf64_Ehdr *const header = (const Elf64_Ehdr *)file;
	const Elf64_Shdr *const sections = (const Elf64_Shdr *)(file + header->e_shoff);
	const Elf64_Shdr *const section = &sections[next_random() % header->e_shnum];

	switch (next_random() % 6) {
	case 0:
		return next_random() % sizeof(*header);
	case 1:
		return header->e_phoff + next_random() % (header->e_phnum * sizeof(Elf64_Phdr));
	case 2:
		return header->e_shoff + next_random() % (header->e_shnum * sizeof(Elf64_Shdr));
	default:
		return section->sh_type == SHT_NOBITS || section->sh_size == 0
			       ? next_random() % size_bytes
			       : section->sh_offset + next_random() % section->sh_size;
	}
}

static void test_damaged(const struct hm_snapshot_module *module, const char *directory)
{
	enum { ROUNDS = 400 };
	struct hm_snapshot_module damaged = *module;
	char path[PATH_MAX + 16];
	size_t size_bytes;
	uint8_t *const file = read_file(module->path, &size_bytes);
	uint8_t *const copy = malloc(size_bytes);
	uint64_t addresses[64];
	uint64_t found_count = 0;

	for (uint32_t i = 0; i < 64; i++)
		addresses[i] = module->start_address + i * (module->end_address - module->start_address) / 64;
	snprintf(path, sizeof(path), "%s/damaged", directory);
	damaged.path = path;
	random_state = 20240301;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		struct answers answers;

		memcpy(copy, file, size_bytes);
		for (uint64_t i = next_random() % 10; i > 0; i--) {
			const uint64_t offset = interesting_offset(file, size_bytes);
			const uint64_t value = next_random() >> next_random() % 64;

			if (offset + 8 <= size_bytes)
				memcpy(copy + offset, &value, UINT64_C(1) << next_random() % 4);
		}
		CHECK(write_file(path, copy, round % 3 == 0 ? next_random() % size_bytes : size_bytes));
		ask(&damaged, addresses, 64, &answers);
		found_count += answers.outcome == HM_NAMES_FOUND;
		hm_arena_done(&answers.arena);
	}
	CHECK(found_count > ROUNDS / 4);
	free(copy);
	free(file);
	unlink(path);
}

int main(void)
{
	char directory[PATH_MAX];

	const ssize_t length = readlink("/proc/self/exe", module_path, sizeof(module_path) - 1);
	CHECK(length > 0);
	CHECK_EQ(local_function(1) + exported_function(1), 5);
	const struct hm_snapshot_module module = module_around((uint64_t)local_function);
	scratch_make(directory);
	test_own(&module);
	test_many(&module);
	test_c_library();
	test_outcomes(&module);
	test_pipe(&module, directory);
	test_stripped(&module, directory);
	test_damaged(&module, directory);
	scratch_remove(directory);
	return check_result();
}
