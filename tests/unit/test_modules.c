// SPDX-License-Identifier: Apache-2.0
/*
 * The table of modules: what is found out about an object, held against /proc/self/maps and against build ids
 * that were given to the linker; and how it gets into ledgers.
 */
#include "preload/ledger_file.h"
#include "preload/modules.h"
#include "preload/unwind_rules.h"

#include "tests/unit/check.h"
#include "tests/unit/plugin.h"
#include "tests/unit/scratch.h"

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { BUILD_ID_BYTES = 20, COPIES = 40 };

/* As tests/unit/plugins/meson.build tells the linker. */
static const uint8_t given_build_id[BUILD_ID_BYTES] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd,
							0xef, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab,
							0xcd, 0xef, 0x01, 0x23, 0x45, 0x67 };

static struct hm_ledger_file ledger;

static struct hm_module_found last_stale; /* by what find was told that something else was there before */

static uint32_t find(uintptr_t pc)
{
	struct hm_signals_saved saved;

	CHECK(hm_unwind_rules_lock(&saved));

	const struct hm_module_found found = hm_module_find(pc);

	hm_unwind_rules_unlock(&saved);
	if (found.stale_start != found.stale_end)
		last_stale = found;
	return found.module_index;
}

/* Module 1 is the first of the first segment, each segment holds twice as many as the one before. */
static const struct hm_ledger_module *in_ledger(const struct hm_ledger_file *of, uint32_t module_index)
{
	uint32_t position = module_index - 1;
	uint32_t segment = 0;
	uint32_t count = 32;

	while (position >= count) {
		position -= count;
		count *= 2;
		segment++;
	}

	const uint64_t offset = atomic_load(&hm_ledger_header(of)->module_segments[segment].offset);

	if (!CHECK(offset != 0))
		exit(1);
	return (const struct hm_ledger_module *)hm_ledger_at(of, offset) + position;
}

static const struct hm_ledger_module *module_of(uintptr_t pc)
{
	const uint32_t module_index = find(pc);

	CHECK(module_index != 0);
	CHECK(atomic_load(&hm_ledger_header(&ledger)->module_count) >= module_index);
	return in_ledger(&ledger, module_index);
}

static void check_path(const struct hm_ledger_file *of, const struct hm_ledger_module *module,
		       const char *path)
{
	char text[PATH_MAX] = "";

	CHECK(module->path_unit != 0);
	if (module->path_unit != 0) {
		const struct hm_ledger_string *const string = hm_ledger_unit(of, module->path_unit);

		memcpy(text, string->text, string->length_bytes);
	}
	CHECK_STR(text, path);
}

/* The executable mapping around pc as the kernel tells it. */
static void check_range(const struct hm_ledger_module *module, uintptr_t pc)
{
	FILE *const maps = fopen("/proc/self/maps", "re");
	char line[PATH_MAX + 100];
	bool is_found = false;

	if (maps == NULL) {
		CHECK(maps != NULL);
		return;
	}
	while (!is_found && fgets(line, sizeof(line), maps) != NULL) {
		unsigned long start;
		unsigned long end;
		unsigned long offset;
		char rights[5];

		CHECK_EQ(sscanf(line, "%lx-%lx %4s %lx", &start, &end, rights, &offset), 4);
		if (pc < start || pc >= end)
			continue;
		is_found = true;
		CHECK_EQ(rights[2], 'x');
		CHECK_EQ(module->start_address, start);
		CHECK_EQ(module->end_address, end);
		CHECK_EQ(module->file_offset, offset);
	}
	CHECK(is_found);
	fclose(maps);
}

static void test_main(void)
{
	const uintptr_t pc = (uintptr_t)test_main;
	const struct hm_ledger_module *const module = module_of(pc);
	char path[PATH_MAX];
	Dl_info info;

	CHECK(realpath("/proc/self/exe", path) != NULL);
	CHECK_EQ(atomic_load(&module->state), 2);
	CHECK_EQ(module->flags, HM_MODULE_MAIN | HM_MODULE_SELF);
	check_path(&ledger, module, path);
	check_range(module, pc);
	CHECK(dladdr((void *)pc, &info) != 0);
	CHECK_EQ(module->load_bias, (uintptr_t)info.dli_fbase);
	CHECK_EQ(find(pc), find((uintptr_t)check_range));
}

static void test_vdso(void)
{
	const uintptr_t start = getauxval(AT_SYSINFO_EHDR);
	const struct hm_ledger_module *const module = module_of(start + 64);

	CHECK_EQ(module->flags, HM_MODULE_VDSO);
	check_path(&ledger, module, "[vdso]");
	CHECK_EQ(module->start_address, start);
	CHECK(module->build_id_size != 0);
}

static const char *in_plugins(const char *name)
{
	static char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s/%s", plugin_directory(), name);
	return path;
}

static void test_build_id(void)
{
	void *const plugin = plugin_open("build_id.so");
	const uintptr_t pc = (uintptr_t)plugin_find(plugin, "twin_number");
	const struct hm_ledger_module *const module = module_of(pc);

	CHECK_EQ(module->flags, 0);
	check_path(&ledger, module, in_plugins("build_id.so"));
	check_range(module, pc);
	CHECK_EQ(module->build_id_size, BUILD_ID_BYTES);
	CHECK_EQ(memcmp(module->build_id, given_build_id, BUILD_ID_BYTES), 0);
}

static void test_broken_note(void)
{
	void *const plugin = plugin_open("broken_note.so");
	const uintptr_t pc = (uintptr_t)plugin_find(plugin, "broken_note");
	const struct hm_ledger_module *const module = module_of(pc);

	check_range(module, pc);
	CHECK_EQ(module->build_id_size, 0);
}

/* Addresses in no executable segment of an object. */
static void test_none(void)
{
	static int data;
	void *const memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK_EQ(find((uintptr_t)memory), 0);
	CHECK_EQ(find((uintptr_t)&data), 0);
	CHECK_EQ(find(0), 0);
	CHECK_EQ(find(UINTPTR_MAX), 0);
	munmap(memory, 4096);
}

/* An object that was opened by a relative name keeps the path it had, and its number, when the process moves.
 */
static void test_relative_path(void)
{
	char before[PATH_MAX];

	CHECK(getcwd(before, sizeof(before)) != NULL);
	CHECK_EQ(chdir(plugin_directory()), 0);

	void *const plugin = dlopen("./twin_2.so", RTLD_NOW | RTLD_LOCAL);
	const uintptr_t pc = (uintptr_t)plugin_find(plugin, "twin_number");
	const struct hm_ledger_module *const module = module_of(pc);

	check_path(&ledger, module, in_plugins("./twin_2.so"));
	CHECK_EQ(chdir("/"), 0);
	CHECK(module_of((uintptr_t)plugin_find(plugin, "twin_call")) == module);
	CHECK_EQ(chdir(before), 0);
	CHECK_EQ(dlclose(plugin), 0);
}

/* Two plug-ins with one handle, one address and one name are told apart once the first is in doubt. */
static void test_doubt(void)
{
	void *plugin = plugin_open("twin_1.so");
	const uintptr_t pc = (uintptr_t)plugin_find(plugin, "twin_number");
	const uint32_t module_index = find(pc);
	struct hm_signals_saved saved;

	CHECK(hm_unwind_rules_lock(&saved));
	CHECK(!hm_module_is_permanent(module_index));
	CHECK(!hm_module_is_permanent(0));
	CHECK(hm_module_is_permanent(hm_module_find((uintptr_t)test_doubt).module_index));
	hm_modules_doubt();
	CHECK_EQ(hm_module_find(pc).module_index, module_index);
	hm_modules_doubt();
	hm_unwind_rules_unlock(&saved);
	CHECK_EQ(dlclose(plugin), 0);
}

static void copy_file(const char *from, const char *to)
{
	char buffer[4096];
	const int in = open(from, O_RDONLY | O_CLOEXEC);
	const int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	ssize_t size;

	CHECK(in >= 0 && out >= 0);
	while ((size = read(in, buffer, sizeof(buffer))) > 0)
		CHECK_EQ(write(out, buffer, (size_t)size), size);
	CHECK_EQ(close(in) | close(out), 0);
}

/* More than the first segment of the table holds; each is told from the others, though it differs in its name
 * only. */
static void test_many(const char *directory)
{
	uint32_t numbers[COPIES];
	char path[PATH_MAX + 32];
	uintptr_t pcs[COPIES];

	for (int i = 0; i < COPIES; i++) {
		snprintf(path, sizeof(path), "%s/%d.so", directory, i);
		copy_file(in_plugins("twin_1.so"), path);

		void *const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);

		pcs[i] = (uintptr_t)plugin_find(plugin, "twin_number");
		numbers[i] = find(pcs[i]);
		CHECK(numbers[i] != 0);
		CHECK(i == 0 || numbers[i] == numbers[i - 1] + 1);
		check_path(&ledger, module_of(pcs[i]), path);
		check_range(module_of(pcs[i]), pcs[i]);
		CHECK_EQ(unlink(path), 0);
	}
	for (int i = 0; i < COPIES; i++)
		CHECK_EQ(find(pcs[i]), numbers[i]);
	CHECK_EQ(atomic_load(&hm_ledger_header(&ledger)->module_count), numbers[COPIES - 1]);
}

/* The ledger of a fork child is given all that is known, under the same numbers. */
static void test_second_ledger(const char *directory)
{
	static struct hm_ledger_file second;
	const uint32_t count = atomic_load(&hm_ledger_header(&ledger)->module_count);

	CHECK_EQ(hm_ledger_create(directory, "second", 1, 1 << 20, &second), 0);
	hm_unwind_rules_attach(&second);
	CHECK_EQ(atomic_load(&hm_ledger_header(&second)->module_count), count);
	for (uint32_t index = 1; index <= count; index++) {
		const struct hm_ledger_module *const a = in_ledger(&ledger, index);
		const struct hm_ledger_module *const b = in_ledger(&second, index);
		char path[PATH_MAX] = "";
		const struct hm_ledger_string *const string = hm_ledger_unit(&ledger, a->path_unit);

		memcpy(path, string->text, string->length_bytes);
		CHECK_EQ(atomic_load(&b->state), 2);
		CHECK_EQ(a->start_address, b->start_address);
		CHECK_EQ(a->end_address, b->end_address);
		CHECK_EQ(memcmp(a->build_id, b->build_id, sizeof(a->build_id)), 0);
		check_path(&second, b, path);
	}

	/* The first hears of nothing new. */
	hm_unwind_rules_attach(NULL);
	CHECK(find((uintptr_t)plugin_find(plugin_open("twin_2.so"), "twin_number")) != 0);
	hm_unwind_rules_attach(&second);
	CHECK_EQ(atomic_load(&hm_ledger_header(&ledger)->module_count), count);
	hm_ledger_remove(&second);
}

/* A ledger without room: each module is missed once, however often it is met. */
static void test_no_room(const char *directory)
{
	struct hm_ledger_file full;

	CHECK_EQ(hm_ledger_create(directory, "full", 1, 1, &full), 0);
	while (hm_ledger_allocate(&full, HM_UNIT) != 0) {
	}
	hm_unwind_rules_attach(&full);

	const uint64_t missed = atomic_load(&hm_ledger_header(&full)->losses[HM_LOSS_MODULES]);

	CHECK_EQ(missed, atomic_load(&hm_ledger_header(&ledger)->module_count));
	CHECK(find((uintptr_t)test_no_room) != 0);
	CHECK_EQ(atomic_load(&hm_ledger_header(&full)->losses[HM_LOSS_MODULES]), missed);
	CHECK_EQ(atomic_load(&hm_ledger_header(&full)->module_count), 0);
	hm_unwind_rules_attach(&ledger);
	hm_ledger_remove(&full);
}

int main(void)
{
	char directory[PATH_MAX];

	scratch_make(directory);
	CHECK_EQ(hm_ledger_create(directory, "unit", 1, 1 << 20, &ledger), 0);

	/* Found before there is a ledger, and written into it then. */
	CHECK_EQ(find((uintptr_t)main), 1);
	hm_unwind_rules_attach(&ledger);
	CHECK_EQ(atomic_load(&hm_ledger_header(&ledger)->module_count), 1);

	test_main();
	test_vdso();
	test_build_id();
	test_broken_note();
	test_none();
	test_relative_path();
	test_doubt();
	test_many(directory);
	test_no_room(directory);
	test_second_ledger(directory);

	hm_ledger_remove(&ledger);
	scratch_remove(directory);
	return check_result();
}
