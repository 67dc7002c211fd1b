// SPDX-License-Identifier: Apache-2.0
#include "tools/symbols.h"

#include "tools/debug_files.h"
#include "tools/debug_info.h"
#include "tools/debug_symbols.h"
#include "tools/isolated.h"
#include "tools/load_bias.h"
#include "tools/process_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A file of 100 MiB takes half a second and 250 MiB; the largest there are (browsers) some gigabytes. Half of
 * the memory that the machine has is the other limit.
 */
enum { CPU_SECONDS = 60, SILENCE_SECONDS = 60 };
#define MEMORY_BYTES_MAX (UINT64_C(4) << 30)

/* The names of some addresses of one file, being looked up. */
struct look_up {
	struct hm_symbols *symbols; /* borrowed */
	const struct hm_snapshot_module *module;
	struct hm_arena *arena;
	struct hm_symbol_file *file;

	/* Those that were not in the cache. */
	uint64_t *addresses;            /* in the file */
	uint32_t *places;               /* in the caller's array */
	struct hm_location_name *names; /* by symbol tables */
	uint32_t count;

	struct hm_location_name *ret_names; /* the caller's array */
	uint32_t answered_count;
	bool is_found; /* the file, or one that stands for it */
	int error;

	/* Of the child. */
	struct hm_symbol_reader reader;
	const char *path;
	char root[64];
};

void hm_symbols_init(struct hm_symbols *ret_symbols)
{
	const char *const urls = getenv("DEBUGINFOD_URLS");

	*ret_symbols = (struct hm_symbols){ .may_download = urls != NULL && urls[0] != '\0' };
	hm_symbol_cache_init(&ret_symbols->cache);
}

void hm_symbols_done(struct hm_symbols *symbols)
{
	hm_symbol_cache_done(&symbols->cache);
}

void hm_symbols_begin(struct hm_symbols *symbols, const struct hm_perf_map_process *process)
{
	symbols->process = process != NULL ? *process : (struct hm_perf_map_process){ 0 };
	symbols->has_guessed_biases = false;
	if (hm_symbol_cache_is_full(&symbols->cache)) {
		hm_symbol_cache_done(&symbols->cache);
		hm_symbol_cache_init(&symbols->cache);
		symbols->note_count = 0; /* their texts went with it */
	}
}

static void note(struct look_up *look_up, enum hm_symbols_trouble trouble)
{
	struct hm_symbols *const symbols = look_up->symbols;

	if (symbols->note_count < HM_SYMBOLS_NOTES_MAX)
		symbols->notes[symbols->note_count] =
			(struct hm_symbols_note){ look_up->file->path, trouble };
	symbols->note_count++;
}

/* --- In the child ------------------------------------------------------------------------------------- */

/* What the child works with; there is one file for each child. */
struct child {
	const struct look_up *look_up;
	struct hm_symbol_writer writer;
};

static void send_download(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
	struct child *const child = context;

	hm_symbol_write_progress(&child->writer, HM_SYMBOL_DOWNLOADING, done_bytes, total_bytes);
}

static void send_answer(void *context, uint32_t index, const struct hm_location_name *name)
{
	struct child *const child = context;

	hm_symbol_write_answer(&child->writer, index, name);
}

/* What is known of one unit is handed over before the next one can end us. */
static void send_progress(void *context, uint32_t answered_count)
{
	struct child *const child = context;

	hm_symbol_write_progress(&child->writer, HM_SYMBOL_NAMING, answered_count, child->look_up->count);
}

/* Where the file that was found has its code elsewhere than was guessed, the addresses are others. */
static void correct_addresses(const struct look_up *look_up, const struct hm_debug_files *files)
{
	const struct hm_snapshot_module *const module = look_up->module;
	const uint64_t guessed = module->start_address - module->load_bias;
	uint64_t address = 0;

	if (!look_up->symbols->has_guessed_biases || files->module == NULL ||
	    !hm_load_address(files->descriptor, module->file_offset, &address))
		return;
	for (uint32_t i = 0; i < look_up->count; i++)
		look_up->addresses[i] += address - guessed;
}

static void name_in_child(struct child *child, const struct hm_debug_files *files)
{
	const struct look_up *const look_up = child->look_up;
	const struct hm_debug_query query = {
		.addresses = look_up->addresses,
		.known_names = look_up->names,
		.count = look_up->count,
		.answer = send_answer,
		.progress = send_progress,
		.context = child,
	};
	int error = files->module == NULL ? 0
					  : hm_debug_symbols_name(files, look_up->arena, look_up->addresses,
								  look_up->names, look_up->count);

	if (error == 0)
		error = hm_debug_info_name(files, &query);
	if (error != 0)
		hm_symbol_write_fact(&child->writer, HM_SYMBOL_FACT_NO_MEMORY);
}

static void run_child(void *context, int descriptor)
{
	static struct child child; /* static: its buffer is large */
	const struct look_up *const look_up = context;
	const struct hm_debug_wanted wanted = {
		.path = look_up->path[0] != '\0' ? look_up->path : NULL,
		.name = look_up->module->path,
		.root = look_up->root,
		.build_id = look_up->module->build_id,
		.build_id_bytes = look_up->module->build_id_size,
		.may_download = look_up->symbols->may_download,
		.downloading = send_download,
		.context = &child,
	};
	struct hm_debug_files files;

	child.look_up = look_up;
	hm_symbol_writer_init(&child.writer, descriptor);
	if (hm_debug_files_open(&wanted, &files))
		hm_symbol_write_fact(&child.writer, HM_SYMBOL_FACT_OPENED);
	if (files.dwarf != NULL)
		hm_symbol_write_fact(&child.writer, HM_SYMBOL_FACT_DEBUG_INFO);
	if (files.server_failed)
		hm_symbol_write_fact(&child.writer, HM_SYMBOL_FACT_SERVER_FAILED);
	correct_addresses(look_up, &files);
	/* Also where nothing was opened: names from the symbol tables are demangled here. */
	name_in_child(&child, &files);
	hm_symbol_writer_flush(&child.writer);
	/* What it took goes with the process; taking it apart would cost as long again. */
}

/* --- In the tool -------------------------------------------------------------------------------------- */

static void take_fact(void *context, enum hm_symbol_fact fact)
{
	struct look_up *const look_up = context;

	look_up->is_found = look_up->is_found || fact == HM_SYMBOL_FACT_OPENED;
	if (fact == HM_SYMBOL_FACT_SERVER_FAILED && look_up->symbols->may_download) {
		look_up->symbols->may_download = false;
		note(look_up, HM_SYMBOLS_SERVER_FAILED);
	}
	if (fact == HM_SYMBOL_FACT_NO_MEMORY && !look_up->file->is_bad) {
		look_up->file->is_bad = true;
		note(look_up, HM_SYMBOLS_TOO_LONG);
	}
}

static void take_progress(void *context, enum hm_symbol_stage stage, uint64_t done, uint64_t total)
{
	const struct look_up *const look_up = context;

	if (look_up->symbols->progress != NULL)
		look_up->symbols->progress(look_up->file->path, stage, done, total);
}

/* Keeps the names and gives them to the caller. */
static int keep(struct look_up *look_up, uint32_t index, const struct hm_location_name *name)
{
	const struct hm_location_name *const kept = hm_symbol_cache_insert(
		&look_up->symbols->cache, look_up->file, look_up->addresses[index], name);

	if (kept == NULL)
		return -ENOMEM;
	look_up->ret_names[look_up->places[index]] = *kept;
	return 0;
}

static int take_answer(void *context, uint32_t index, const struct hm_location_name *name)
{
	struct look_up *const look_up = context;

	if (index >= look_up->count)
		return -EBADMSG;
	look_up->answered_count++;
	return keep(look_up, index, name);
}

static int take_bytes(void *context, const void *data, size_t size_bytes)
{
	struct look_up *const look_up = context;

	look_up->error = hm_symbol_reader_take(&look_up->reader, data, size_bytes);
	return look_up->error;
}

static uint64_t memory_limit(void)
{
	const uint64_t half = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;

	return half < MEMORY_BYTES_MAX ? half : MEMORY_BYTES_MAX;
}

/* Returns 0 or -ENOMEM: whatever happens to the child is noted, and no error. */
static int ask_child(struct look_up *look_up)
{
	const struct hm_isolated_work work = { run_child, take_bytes, look_up };
	const struct hm_isolated_limits limits = {
		.cpu_seconds = CPU_SECONDS,
		.silence_seconds = SILENCE_SECONDS,
		.memory_bytes = memory_limit(),
	};

	look_up->reader = (struct hm_symbol_reader){
		.fact = take_fact,
		.progress = take_progress,
		.answer = take_answer,
		.context = look_up,
	};
	const enum hm_isolated_end end = hm_isolated_run(&work, &limits);
	hm_symbol_reader_done(&look_up->reader);
	if (look_up->error == -ENOMEM)
		return look_up->error;
	if (end == HM_ISOLATED_DONE)
		return 0;
	look_up->file->is_bad = true;
	note(look_up, end == HM_ISOLATED_TOO_LONG   ? HM_SYMBOLS_TOO_LONG
		      : end == HM_ISOLATED_NO_CHILD ? HM_SYMBOLS_NO_CHILD
						    : HM_SYMBOLS_CRASHED);
	return 0;
}

/* Lists the addresses that are not known yet.  Returns 0 or -ENOMEM. */
static int list_unknown(struct look_up *look_up, const uint64_t *addresses, uint32_t count)
{
	look_up->addresses = hm_arena_allocate_array(look_up->arena, count, sizeof(*look_up->addresses));
	look_up->places = hm_arena_allocate_array(look_up->arena, count, sizeof(*look_up->places));
	look_up->names = hm_arena_allocate_array(look_up->arena, count, sizeof(*look_up->names));
	if (look_up->addresses == NULL || look_up->places == NULL || look_up->names == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++) {
		const uint64_t address = addresses[i] - look_up->module->load_bias;
		const struct hm_location_name *const name =
			hm_symbol_cache_find(&look_up->symbols->cache, look_up->file, address);

		if (name != NULL) {
			look_up->ret_names[i] = *name;
			continue;
		}
		look_up->addresses[look_up->count] = address;
		look_up->places[look_up->count] = i;
		look_up->count++;
	}
	return 0;
}

static int name_by_tables(struct look_up *look_up, char path[HM_PROCESS_PATH_BYTES])
{
	uint64_t *const addresses =
		hm_arena_allocate_array(look_up->arena, look_up->count, sizeof(*addresses));

	if (addresses == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < look_up->count; i++)
		addresses[i] = look_up->addresses[i] + look_up->module->load_bias;
	return hm_process_names(look_up->symbols->process.pid, look_up->arena, look_up->module, addresses,
				look_up->count, look_up->names, &look_up->file->outcome, path);
}

/* The child is worth its while where there may be something that it can read. */
static bool may_have_more(const struct look_up *look_up)
{
	return !look_up->file->is_bad && (look_up->module->flags & HM_MODULE_VDSO) == 0 &&
	       (look_up->file->outcome == HM_NAMES_FOUND || look_up->module->build_id_size > 0);
}

static int look_up_unknown(struct look_up *look_up)
{
	char path[HM_PROCESS_PATH_BYTES];
	const pid_t pid = look_up->symbols->process.pid;
	int error = name_by_tables(look_up, path);

	if (error != 0)
		return error;
	for (uint32_t i = 0; i < look_up->count; i++)
		look_up->ret_names[look_up->places[i]] = look_up->names[i];
	if (!may_have_more(look_up))
		return 0;
	look_up->path = path;
	if (pid != 0)
		(void)snprintf(look_up->root, sizeof(look_up->root), "/proc/%d/root", (int)pid);
	error = ask_child(look_up);
	if (look_up->is_found)
		look_up->file->outcome = HM_NAMES_FOUND;
	return error;
}

static int resolve(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	struct hm_symbols *const symbols = context;
	struct look_up look_up = {
		.symbols = symbols,
		.module = module,
		.arena = arena,
		.file = hm_symbol_cache_file(&symbols->cache, module),
		.ret_names = ret_names,
	};
	int error = look_up.file != NULL ? list_unknown(&look_up, addresses, count) : -ENOMEM;

	if (error == 0 && look_up.count > 0)
		error = look_up_unknown(&look_up);
	if (error == 0)
		*ret_outcome = look_up.file->outcome;
	return error;
}

static int resolve_elsewhere(void *context, struct hm_arena *arena, const uint64_t *addresses, uint32_t count,
			     struct hm_location_name *ret_names)
{
	const struct hm_symbols *const symbols = context;

	if (symbols->process.inner_pid == 0)
		return 0;
	return hm_perf_map_name(&symbols->process, arena, addresses, count, ret_names);
}

struct hm_resolver hm_symbols_resolver(struct hm_symbols *symbols)
{
	return (struct hm_resolver){
		.resolve = resolve,
		.resolve_elsewhere = resolve_elsewhere,
		.context = symbols,
	};
}
