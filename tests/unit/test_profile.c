// SPDX-License-Identifier: Apache-2.0
/*
 * Snapshot -> profile -> reader: what was written comes back, keeps every rule, and is the same each time;
 * no input does harm.  That each broken rule is noticed is test_check.c's.
 *
 * With an argument it writes a profile of known content there, for other readers to look at.
 */
#include "proto/elf_symbols.h"
#include "proto/profile_check.h"
#include "proto/profile_read.h"
#include "proto/profile_write.h"
#include "tests/unit/check.h"
#include "tests/unit/ledger_build.h"
#include "tests/unit/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* --- Helpers ------------------------------------------------------------------------------------------- */

struct buffer {
	uint8_t *bytes;
	size_t size_bytes;
};

static int append(void *context, const void *data, size_t size_bytes)
{
	struct buffer *const buffer = context;

	buffer->bytes = realloc(buffer->bytes, buffer->size_bytes + size_bytes);
	memcpy(buffer->bytes + buffer->size_bytes, data, size_bytes);
	buffer->size_bytes += size_bytes;
	return 0;
}

/*
 * Names made of the address: "function_<offset / 16>", every third without a symbol; with two lines, an
 * inlined one and its caller, in modules that have a build id.
 */
static int resolve(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
		   const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
		   enum hm_names_outcome *ret_outcome)
{
	uint32_t *const asked_count = context;

	for (uint32_t i = 0; i < count; i++) {
		struct hm_line *const lines = hm_arena_allocate_array(arena, 2, sizeof(*lines));
		char *const name = hm_arena_allocate(arena, 64);

		CHECK(addresses[i] >= module->start_address && addresses[i] < module->end_address);
		CHECK(i == 0 || addresses[i] > addresses[i - 1]);
		snprintf(name, 64, "function_%lx", (addresses[i] - module->start_address) / 16);
		lines[0] = (struct hm_line){ "inlined", "inlined", "/src/in.h", 7, 5 };
		lines[1] = (struct hm_line){ name, "_Z8mangled", "/src/a.c", 100 + i, 90 };
		const bool inlined = module->build_id_size != 0;
		ret_names[i] =
			(struct hm_location_name){ inlined ? lines : lines + 1, inlined ? 2 : 1, false };
	}
	*asked_count += count;
	*ret_outcome = HM_NAMES_FOUND;
	return 0;
}

static uint32_t asked_count;

static struct hm_profile_options make_options(void)
{
	return (struct hm_profile_options){
		.resolver = { .resolve = resolve, .context = &asked_count },
		.producer = "heapmark 1.2.3",
	};
}

static void print_finding(void *context, const struct hm_profile_finding *finding)
{
	(void)context;
	if (finding->is_broken)
		fprintf(stderr, "\t%s: %s\n", finding->rule, finding->sentence);
}

static struct hm_snapshot take(const struct ledger_build *build)
{
	const struct hm_source source = hm_source_from_memory(build->bytes, ledger_build_length(build));
	const struct hm_snapshot_options options = { .realtime_ns = UINT64_C(1700000100) * 1000000000 };
	struct hm_snapshot snapshot = { 0 };

	CHECK_EQ(hm_snapshot_take(&source, &options, &snapshot, NULL), 0);
	return snapshot;
}

static struct buffer write_snapshot(const struct hm_snapshot *snapshot,
				    const struct hm_profile_options *options,
				    struct hm_profile_written *ret_written)
{
	struct buffer buffer = { 0 };
	const struct hm_sink sink = { append, &buffer };

	CHECK_EQ(hm_profile_write(snapshot, options, &sink, ret_written), 0);
	return buffer;
}

/* Writes, reads, and requires that no rule is broken. */
static struct hm_profile round_trip(const struct ledger_build *build,
				    const struct hm_profile_options *options)
{
	struct hm_snapshot snapshot = take(build);
	struct hm_profile_written written;
	struct hm_profile profile = { 0 };
	const struct buffer buffer = write_snapshot(&snapshot, options, &written);

	if (CHECK_EQ(hm_profile_read(buffer.bytes, buffer.size_bytes, &profile, NULL), 0)) {
		CHECK_EQ(hm_profile_check(&profile, print_finding, NULL), 0);
		CHECK_EQ(written.sample_count, profile.sample_count);
		CHECK_EQ(written.location_count, profile.location_count);
		CHECK_EQ(written.function_count, profile.function_count);
		CHECK_EQ(written.raw_bytes, profile.unpacked_bytes);
	}
	hm_snapshot_done(&snapshot);
	free(buffer.bytes);
	return profile;
}

static const char *frame_name(const struct hm_profile *profile, uint32_t sample_index, uint32_t frame_index)
{
	const struct hm_profile_sample *const sample = &profile->samples[sample_index];

	if (frame_index >= sample->location_count)
		return "(none)";
	const struct hm_profile_location *const location =
		&profile->locations[sample->locations[frame_index]];
	return location->line_count == 0
		       ? "(no line)"
		       : hm_profile_string(profile, profile->functions[location->lines[0].function].name);
}

static bool has_comment(const struct hm_profile *profile, const char *text)
{
	for (uint32_t i = 0; i < profile->comment_count; i++) {
		if (strcmp(hm_profile_string(profile, profile->comments[i]), text) == 0)
			return true;
	}
	fprintf(stderr, "\tno comment \"%s\"\n", text);
	return false;
}

static const struct hm_profile_mapping *find_mapping(const struct hm_profile *profile, const char *file)
{
	static const struct hm_profile_mapping none;

	for (uint32_t i = 0; i < profile->mapping_count; i++) {
		if (strcmp(hm_profile_string(profile, profile->mappings[i].file), file) == 0)
			return &profile->mappings[i];
	}
	CHECK(!"the mapping is there");
	return &none;
}

/* --- What is written ----------------------------------------------------------------------------------- */

static void test_header(void)
{
	struct ledger_build build;
	const char *const comments[] = { "a line for people", "#caller.key=1" };
	struct hm_profile_options options = make_options();

	ledger_build_sample(&build);
	options.comments = comments;
	options.comment_count = 2;
	struct hm_profile profile = round_trip(&build, &options);
	static const char *const types[4][2] = {
		{ "alloc_objects", "count" },
		{ "alloc_space", "bytes" },
		{ "inuse_objects", "count" },
		{ "inuse_space", "bytes" },
	};
	CHECK_EQ(profile.sample_type_count, 4);
	for (uint32_t i = 0; i < 4; i++) {
		CHECK_STR(hm_profile_string(&profile, profile.sample_types[i].type), types[i][0]);
		CHECK_STR(hm_profile_string(&profile, profile.sample_types[i].unit), types[i][1]);
	}
	CHECK(profile.gzipped);
	CHECK_STR(hm_profile_string(&profile, profile.default_sample_type), "inuse_space");
	CHECK_EQ(hm_profile_default_sample_type(&profile), 3);
	CHECK_STR(hm_profile_string(&profile, profile.period_type.type), "space");
	CHECK_EQ(profile.period, 512 << 10);
	CHECK_EQ(profile.time_ns, INT64_C(1700000100) * 1000000000);
	CHECK_EQ(profile.duration_ns, 0);
	CHECK(strstr(hm_profile_string(&profile, profile.drop_frames), "operator new") != NULL);
	CHECK_EQ(profile.keep_frames, 0);
	CHECK(has_comment(&profile,
			  "heapmark 1.2.3: subject[4242], one sample per 512 KiB allocated on average, "
			  "20101 samples"));
	CHECK(has_comment(&profile,
			  "taken before the process came to a normal end: it was running, or was killed"));
	CHECK(has_comment(&profile,
			  "7 samples without room among the live ones; they are under [dropped], as freed"));
	CHECK(has_comment(&profile, "#heapmark.pid=4242"));
	CHECK(has_comment(&profile, "#heapmark.comm=subject"));
	CHECK(has_comment(&profile, "#heapmark.run_id=abcdef"));
	CHECK(has_comment(&profile, "#heapmark.state=recording"));
	CHECK(has_comment(&profile, "#heapmark.loss.live=7"));
	CHECK(has_comment(&profile, "a line for people"));
	CHECK(has_comment(&profile, "#caller.key=1"));
	for (uint32_t i = 0; i < profile.string_count; i++)
		CHECK(strstr(profile.strings[i].text, "--secret") == NULL); /* no command line */
	hm_profile_done(&profile);

	ledger_build_header(&build)->state = HM_LEDGER_FINISHED;
	ledger_build_header(&build)->end_realtime_ns = UINT64_C(1700000050) * 1000000000;
	ledger_build_header(&build)->control_interval_bytes = 1;
	profile = round_trip(&build, &options);
	CHECK_EQ(profile.period, 1);
	CHECK_EQ(profile.time_ns, INT64_C(1700000050) * 1000000000);
	CHECK(has_comment(&profile,
			  "heapmark 1.2.3: subject[4242], every allocation counted, 20101 samples"));
	CHECK(has_comment(&profile, "#heapmark.state=finished"));
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

static void test_figures(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();

	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build);
	const struct hm_snapshot_totals totals = hm_snapshot_sum(&snapshot);
	struct hm_profile profile = round_trip(&build, &options);
	int64_t sums[4] = { 0 };

	/* Stack 0 counted nothing, [overflow] neither. */
	CHECK_EQ(profile.sample_count, 199 + 1);
	for (uint32_t i = 0; i < profile.sample_count; i++) {
		for (uint32_t k = 0; k < 4; k++)
			sums[k] += hm_profile_value(&profile.samples[i], k);
		if (i > 0)
			CHECK(profile.samples[i].values[3] <= profile.samples[i - 1].values[3]);
	}
	CHECK_EQ(sums[0], 10 * 19900 + 7);
	CHECK_EQ(sums[1], 1000 * 19900 + 70);
	CHECK_EQ(sums[2], hm_objects_round(totals.inuse.objects_fixed));
	CHECK_EQ(sums[3], hm_bytes_round(totals.inuse.bytes_fixed));

	/* 199 is the largest that is not a multiple of 3: 4 of 10 freed. */
	CHECK_EQ(profile.samples[0].values[0], 1990);
	CHECK_EQ(profile.samples[0].values[1], 199000);
	CHECK_EQ(profile.samples[0].values[2], 1194);
	CHECK_EQ(profile.samples[0].values[3], 119400);
	CHECK_EQ(profile.samples[0].location_count, 1 + 199 % 40);
	CHECK_STR(frame_name(&profile, 0, 0), "inlined");
	CHECK_STR(frame_name(&profile, 0, 1), "function_42"); /* 0x100 + 0x10 * (199 % 50 + 1) */
	CHECK_STR(frame_name(&profile, 0, 2), "function_43");
	hm_profile_done(&profile);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

static void test_locations(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();
	const uint32_t asked_before = asked_count;

	ledger_build_sample(&build);
	struct hm_profile profile = round_trip(&build, &options);
	const struct hm_profile_mapping *const first = &profile.mappings[0];
	CHECK_STR(hm_profile_string(&profile, first->file), "/usr/bin/subject");
	CHECK_EQ(first->start_address, 0x555555554000);
	CHECK_EQ(first->end_address, 0x555555664000);
	CHECK_EQ(first->file_offset, 0);
	CHECK_STR(hm_profile_string(&profile, first->build_id), "");
	CHECK(first->has_functions && first->has_filenames && first->has_line_numbers);
	CHECK(!first->has_inline_frames);
	const struct hm_profile_mapping *const library = find_mapping(&profile, "/usr/lib/libsubject.so.1");
	CHECK_EQ(library->file_offset, 0x1000);
	CHECK_STR(hm_profile_string(&profile, library->build_id), "abcdef0000000000000000000000000000000000");
	CHECK(library->has_inline_frames);
	const struct hm_profile_mapping *const ours = find_mapping(&profile, "[heapmark]");
	CHECK(ours->has_functions && !ours->has_filenames);
	/* The vDSO is in no stack and no mapping. */
	CHECK_EQ(profile.mapping_count, 3);
	/* Each distinct address was asked for once, and is a location; so are [dropped], [truncated], [cut].
	 */
	CHECK_EQ(profile.location_count, asked_count - asked_before + 3);

	for (uint32_t i = 0; i < profile.location_count; i++) {
		const struct hm_profile_location *const location = &profile.locations[i];

		if (location->line_count == 2) { /* the inlined one first */
			CHECK_STR(hm_profile_string(&profile,
						    profile.functions[location->lines[0].function].name),
				  "inlined");
			CHECK_EQ(location->lines[0].line, 7);
			const struct hm_profile_function *const real =
				&profile.functions[location->lines[1].function];
			CHECK_STR(hm_profile_string(&profile, real->system_name), "_Z8mangled");
			CHECK_STR(hm_profile_string(&profile, real->file), "/src/a.c");
			CHECK_EQ(real->start_line, 90);
		}
	}
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

/* The frames that no process has. */
static void test_made_up(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();
	const struct hm_ledger_module module = { .start_address = 0x10000, .end_address = 0x20000 };
	const struct ledger_counts counts[] = {
		{ 1, 6, 600, 0, 0, 0.0, 0.0 }, { 1, 5, 500, 0, 0, 0.0, 0.0 }, { 1, 4, 400, 0, 0, 0.0, 0.0 },
		{ 1, 3, 300, 0, 0, 0.0, 0.0 }, { 1, 2, 200, 0, 0, 0.0, 0.0 }, { 1, 1, 100, 0, 0, 0.0, 0.0 },
	};

	ledger_build_begin(&build, 1 << 20);
	ledger_build_module(&build, &module, "/lib/a.so");
	const uint64_t known = hm_frame_make(1, 0x10010);
	/* JIT code; an address outside of its module; a module that is not known; no address at all. */
	const uint64_t strange[] = { 0x7f1234567890, hm_frame_make(1, 0x30000), hm_frame_make(9, 0x10010),
				     0 };
	ledger_build_count(&build, ledger_build_stack(&build, &known, 1, HM_STACK_TRUNCATED), &counts[0]);
	ledger_build_count(&build, ledger_build_stack(&build, &known, 1, HM_STACK_CUT), &counts[1]);
	ledger_build_count(&build, ledger_build_stack(&build, strange, 4, 0), &counts[2]);
	ledger_build_count(&build, ledger_build_stack(&build, NULL, 0, 0), &counts[3]);
	ledger_build_count(&build, ledger_build_header(&build)->dropped_unit, &counts[4]);
	ledger_build_count(&build, ledger_build_header(&build)->overflow_unit, &counts[5]);
	struct hm_profile profile = round_trip(&build, &options);
	CHECK_EQ(profile.sample_count, 6);
	CHECK_EQ(profile.samples[0].location_count, 2);
	CHECK_STR(frame_name(&profile, 0, 0), "function_1");
	CHECK_STR(frame_name(&profile, 0, 1), "[truncated]");
	CHECK_STR(frame_name(&profile, 1, 1), "[cut]");
	CHECK_EQ(profile.samples[2].location_count, 3);
	for (uint32_t i = 0; i < 3; i++)
		CHECK_STR(frame_name(&profile, 2, i), "[anon]");
	CHECK_STR(frame_name(&profile, 3, 0), "[truncated]");
	CHECK_STR(frame_name(&profile, 4, 0), "[dropped]");
	CHECK_STR(frame_name(&profile, 5, 0), "[overflow]");
	const struct hm_profile_mapping *const anon = find_mapping(&profile, "[anon]");
	CHECK_EQ(anon->start_address, 0x10000);
	CHECK_EQ(anon->end_address, 0x7f1234568000);
	CHECK(!anon->has_functions);
	/* The executable stands first though no module is it. */
	CHECK_STR(hm_profile_string(&profile, profile.mappings[0].file), "/usr/bin/subject");
	CHECK_EQ(profile.mappings[0].end_address, 0);
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

static void test_paths(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = {
		.resolver = hm_elf_resolver(),
		.producer = "heapmark",
	};
	struct hm_ledger_module module = { 0 };
	static const char *const paths[] = { "/opt/b (deleted)", "/opt/caf\xe9/\x1b[1m", "/opt/a",
					     "/memfd:jit (deleted)" };
	uint64_t frames[6];

	ledger_build_begin(&build, 1 << 20);
	for (uint32_t i = 0; i < 4; i++) {
		module.start_address = 0x100000 * (i + 1);
		module.end_address = module.start_address + 0x1000;
		module.flags = i == 2 ? HM_MODULE_MAIN : 0;
		ledger_build_module(&build, &module, paths[i]);
		frames[i] = hm_frame_make(i + 1, module.start_address + 0x123);
	}
	module = (struct hm_ledger_module){ .start_address = 0x900000,
					    .end_address = 0x901000,
					    .flags = HM_MODULE_VDSO };
	ledger_build_module(&build, &module, NULL);
	frames[4] = hm_frame_make(5, 0x900010);
	module.flags = 0;
	module.start_address = 0xa00000;
	module.end_address = 0xa01000;
	ledger_build_module(&build, &module, NULL);
	frames[5] = hm_frame_make(6, 0xa00010);
	ledger_build_count(&build, ledger_build_stack(&build, frames, 6, 0),
			   &(struct ledger_counts){ 1, 1, 1, 0, 0, 0.0, 0.0 });
	struct hm_profile profile = round_trip(&build, &options);
	if (CHECK_EQ(profile.mapping_count, 6)) {
		CHECK_STR(hm_profile_string(&profile, profile.mappings[0].file), "/opt/a");
		find_mapping(&profile, "/opt/b");
		find_mapping(&profile, "/opt/caf\\xe9/\\x1b[1m");
		find_mapping(&profile, "/memfd:jit");
		find_mapping(&profile, "[vdso]");
		find_mapping(&profile, "[anon]");
	}
	CHECK_STR(frame_name(&profile, 0, 0), "b (deleted)+0x100123");
	CHECK_STR(frame_name(&profile, 0, 4), "[vdso]");
	CHECK_STR(frame_name(&profile, 0, 5), "[anon]");
	CHECK(has_comment(&profile, "no function names, the file cannot be opened: /opt/b"));
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

static void test_without_names(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = { .producer = "heapmark" };

	ledger_build_sample(&build);
	struct hm_profile profile = round_trip(&build, &options);
	CHECK_STR(frame_name(&profile, 0, 0), "(no line)");
	CHECK(!profile.mappings[0].has_functions);
	CHECK_EQ(profile.function_count, 3); /* [dropped], [truncated], [cut] */
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

static void test_empty(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();

	ledger_build_begin(&build, 1 << 20);
	struct hm_profile profile = round_trip(&build, &options);
	CHECK_EQ(profile.sample_count, 0);
	CHECK_EQ(profile.mapping_count, 1);
	hm_profile_done(&profile);
	ledger_build_end(&build);
}

static void test_deterministic(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();
	struct buffer buffers[2];

	for (uint32_t i = 0; i < 2; i++) {
		ledger_build_sample(&build);
		struct hm_snapshot snapshot = take(&build);

		buffers[i] = write_snapshot(&snapshot, &options, NULL);
		hm_snapshot_done(&snapshot);
		ledger_build_end(&build);
	}
	CHECK(buffers[0].size_bytes == buffers[1].size_bytes &&
	      memcmp(buffers[0].bytes, buffers[1].bytes, buffers[0].size_bytes) == 0);
	free(buffers[0].bytes);
	free(buffers[1].bytes);
}

static void test_file(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();
	struct hm_profile profile;
	struct stat status;
	struct rlimit old;
	char directory[PATH_MAX];
	char path[PATH_MAX + 16];
	char full[PATH_MAX + 16];

	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build);
	scratch_make(directory);
	snprintf(path, sizeof(path), "%s/p.pb.gz", directory);
	snprintf(full, sizeof(full), "%s/full", directory);
	getrlimit(RLIMIT_FSIZE, &old);
	const struct rlimit small = { 1000, old.rlim_max };
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_NEW, NULL), -EFBIG);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	CHECK(stat(path, &status) != 0);

	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_NEW, NULL), 0);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_NEW, NULL), -EEXIST);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_REPLACE, NULL), 0);
	/* By a link of our own, so that a failing test cannot replace the device. */
	CHECK_EQ(symlink("/dev/full", full), 0);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, full, HM_OUTPUT_REPLACE, NULL), -ENOSPC);
	CHECK_EQ(unlink(full), 0);
	const int descriptor = open(path, O_RDONLY);
	CHECK_EQ(hm_profile_read_descriptor(descriptor, &profile, NULL), 0);
	CHECK_EQ(profile.sample_count, 200);
	hm_profile_done(&profile);
	close(descriptor);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(rmdir(directory), 0); /* nothing temporary is left */
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
}

/* --- What is read -------------------------------------------------------------------------------------- */

static void expect_fault(const void *data, size_t size_bytes, int error, enum hm_profile_fault fault)
{
	struct hm_profile profile;
	enum hm_profile_fault got = HM_PROFILE_UNREADABLE;

	CHECK_EQ(hm_profile_read(data, size_bytes, &profile, &got), error);
	CHECK_EQ(got, fault);
	CHECK(hm_profile_fault_text(fault)[0] != '\0');
}

static struct buffer write_sample(void)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();

	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build);
	const struct buffer buffer = write_snapshot(&snapshot, &options, NULL);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
	return buffer;
}

static struct buffer unpack(struct buffer packed)
{
	struct hm_arena arena;
	struct buffer raw = { 0 };
	uint8_t *bytes;
	size_t size_bytes;
	size_t trailing_bytes;

	hm_arena_init(&arena, SIZE_MAX);
	CHECK_EQ(hm_gzip_unpack(&arena, packed.bytes, packed.size_bytes, SIZE_MAX / 4, &bytes, &size_bytes,
				&trailing_bytes),
		 0);
	append(&raw, bytes, size_bytes);
	hm_arena_done(&arena);
	return raw;
}

static struct buffer pack(const void *data, size_t size_bytes)
{
	struct buffer packed = { 0 };
	const struct hm_sink sink = { append, &packed };
	struct hm_arena arena;

	hm_arena_init(&arena, SIZE_MAX);
	struct hm_gzip *const gzip = hm_gzip_open(&arena, &sink);
	hm_gzip_write(gzip, data, size_bytes);
	CHECK_EQ(hm_gzip_finish(gzip), 0);
	hm_arena_done(&arena);
	return packed;
}

/* A bomb: 256 MiB and more of nothing, in a file of 1 MiB. */
static void expect_too_large(void)
{
	struct buffer bomb = { 0 };
	const struct hm_sink sink = { append, &bomb };
	struct hm_arena arena;
	uint8_t *const zeros = calloc(1, HM_PROFILE_FILE_BYTES_MAX + 1);

	hm_arena_init(&arena, SIZE_MAX);
	struct hm_gzip *const gzip = hm_gzip_open(&arena, &sink);
	for (size_t written = 0; written <= HM_PROFILE_UNPACKED_BYTES_MAX; written += 1 << 20)
		hm_gzip_write(gzip, zeros, 1 << 20);
	CHECK_EQ(hm_gzip_finish(gzip), 0);
	CHECK(bomb.size_bytes < 2 << 20);
	expect_fault(bomb.bytes, bomb.size_bytes, -EFBIG, HM_PROFILE_TOO_LARGE);
	expect_fault(zeros, HM_PROFILE_FILE_BYTES_MAX + 1, -EFBIG, HM_PROFILE_TOO_LARGE);
	hm_arena_done(&arena);
	free(zeros);
	free(bomb.bytes);
}

/* Messages that are small in the file and large in memory: 31 million samples without anything. */
static void expect_too_much_memory(void)
{
	const size_t size_bytes = 62 << 20;
	uint8_t *const samples = malloc(size_bytes);

	for (size_t i = 0; i < size_bytes; i++)
		samples[i] = i % 2 == 0 ? 0x12 : 0;
	samples[0] = 0x0a; /* a sample type */
	expect_fault(samples, size_bytes, -ENOMEM, HM_PROFILE_NO_MEMORY);
	free(samples);
}

/* As one that reads symbol tables: needs a descriptor for as long as it looks. */
static int resolve_from_file(void *context, struct hm_arena *arena, const struct hm_snapshot_module *module,
			     const uint64_t *addresses, uint32_t count, struct hm_location_name *ret_names,
			     enum hm_names_outcome *ret_outcome)
{
	const int descriptor = open("/", O_RDONLY | O_DIRECTORY);
	const int error = resolve(context, arena, module, addresses, count, ret_names, ret_outcome);

	if (descriptor < 0)
		*ret_outcome = HM_NAMES_NO_FILE;
	else
		close(descriptor);
	return error;
}

/* A program at its limit of descriptors: with one left the profile has its names, with none it is refused. */
static void test_file_descriptors(void)
{
	struct ledger_build build;
	struct hm_profile_options options = make_options();
	struct hm_profile_written written;
	struct rlimit old;
	char directory[PATH_MAX];
	char path[PATH_MAX + 16];

	options.resolver.resolve = resolve_from_file;
	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build);
	scratch_make(directory);
	snprintf(path, sizeof(path), "%s/p.pb.gz", directory);
	getrlimit(RLIMIT_NOFILE, &old);
	const int lowest_free = dup(STDOUT_FILENO);
	close(lowest_free);
	const struct rlimit one_left = { (rlim_t)lowest_free + 1, old.rlim_max };
	const struct rlimit none_left = { (rlim_t)lowest_free, old.rlim_max };

	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none_left), 0);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_NEW, NULL), -EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &one_left), 0);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_NEW, &written), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	CHECK_EQ(written.modules_no_file, 0);
	CHECK_EQ(unlink(path), 0);
	hm_snapshot_done(&snapshot);
	scratch_remove(directory);
	ledger_build_end(&build);
}

static void test_faults(void)
{
	const struct buffer good = write_sample();
	const struct buffer raw = unpack(good);
	const struct buffer packed_text = pack("hello, world", 12);

	expect_fault("", 0, -EBADMSG, HM_PROFILE_EMPTY);
	expect_fault("hello, world\n", 13, -EBADMSG, HM_PROFILE_NOT_A_PROFILE);
	expect_fault("\x7f"
		     "ELF\2\1\1",
		     7, -EBADMSG, HM_PROFILE_NOT_A_PROFILE);
	expect_fault(packed_text.bytes, packed_text.size_bytes, -EBADMSG, HM_PROFILE_MALFORMED);
	expect_fault(good.bytes, good.size_bytes - 1, -EBADMSG, HM_PROFILE_DAMAGED);
	expect_fault(good.bytes, good.size_bytes / 2, -EBADMSG, HM_PROFILE_DAMAGED);
	expect_fault(raw.bytes, raw.size_bytes - 1, -EBADMSG, HM_PROFILE_NOT_A_PROFILE);
	free(good.bytes);
	free(raw.bytes);
	free(packed_text.bytes);

	expect_too_large();
	expect_too_much_memory();
}

/* Another producer's profile: ids out of order, numbers not packed. */
static void test_other_producer(void)
{
	/* clang-format off */
	static const uint8_t raw[] = {
		0x0a, 4, 0x08, 1, 0x10, 2,                         /* sample type: text 1, text 2 */
		0x12, 8, 0x08, 70, 0x08, 60, 0x10, 5, 0x1a, 0,     /* sample: locations 70, 60; 5; a label */
		0x1a, 2, 0x20, 5,                                  /* a mapping without an id */
		0x22, 8, 0x08, 60, 0x18, 9, 0x22, 2, 0x08, 33,     /* location 60, address 9, function 33 */
		0x22, 8, 0x08, 70, 0x18, 8, 0x22, 2, 0x08, 44,     /* location 70, address 8, function 44, */
		0x2a, 4, 0x08, 33, 0x10, 3,                        /* which is not there; function 33: text 3 */
		0x32, 0, 0x32, 1, 'x', 0x32, 1, 'y', 0x32, 1, 'f', /* "", "x", "y", "f" */
		0x68, 3, 0x6a, 2, 2, 1,                            /* comments: 3, and packed 2, 1 */
	};
	/* clang-format on */
	struct hm_profile profile;

	if (!CHECK_EQ(hm_profile_read(raw, sizeof(raw), &profile, NULL), 0))
		return;
	CHECK(!profile.gzipped);
	CHECK_EQ(profile.mapping_count, 1);
	CHECK_EQ(profile.locations[0].mapping, HM_PROFILE_NONE); /* 0 is no id, even where something has it */
	CHECK_EQ(profile.location_count, 2);
	CHECK_EQ(profile.samples[0].locations[0], 1);
	CHECK_EQ(profile.samples[0].locations[1], 0);
	CHECK_EQ(profile.samples[0].values[0], 5);
	CHECK_EQ(profile.samples[0].label_count, 1);
	CHECK_EQ(profile.locations[0].lines[0].function, 0);
	CHECK_EQ(profile.locations[1].lines[0].function, HM_PROFILE_NONE);
	CHECK_STR(hm_profile_string(&profile, profile.functions[0].name), "f");
	CHECK_EQ(profile.comment_count, 3);
	CHECK_EQ(profile.comments[0] * 100 + profile.comments[1] * 10 + profile.comments[2], 321);
	CHECK_EQ(hm_profile_default_sample_type(&profile), 0);
	hm_profile_done(&profile);
}

/* --- Mutations ----------------------------------------------------------------------------------------- */

static uint64_t random_state;

static uint64_t next_random(void)
{
	random_state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
	uint64_t z = random_state;
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static void ignore_finding(void *context, const struct hm_profile_finding *finding)
{
	*(uint64_t *)context += strlen(finding->sentence);
}

/* Everything that a view looks at. */
static uint64_t walk(const struct hm_profile *profile)
{
	uint64_t sum = hm_profile_default_sample_type(profile);

	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];

		sum += (uint64_t)hm_profile_value(sample, 3);
		for (uint32_t k = 0; k < sample->location_count; k++) {
			if (sample->locations[k] == HM_PROFILE_NONE)
				continue;
			const struct hm_profile_location *const location =
				&profile->locations[sample->locations[k]];
			for (uint32_t m = 0; m < location->line_count; m++) {
				const uint32_t function = location->lines[m].function;

				if (function != HM_PROFILE_NONE)
					sum += strlen(hm_profile_string(profile,
									profile->functions[function].name));
			}
			if (location->mapping != HM_PROFILE_NONE)
				sum += profile->mappings[location->mapping].start_address;
		}
	}
	return sum;
}

static void test_mutations(void)
{
	enum { ROUNDS = 2000 };
	const struct buffer packed = write_sample();
	const struct buffer raw = unpack(packed);
	uint64_t read_anyway = 0;
	uint64_t sum = 0;

	random_state = 20240302;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		/* Mostly the message itself; seldom its gzip form, of which the checksum sees nearly all. */
		const struct buffer *const from = round % 10 == 0 ? &packed : &raw;
		const size_t size_bytes =
			from->size_bytes - next_random() % 2 * (next_random() % from->size_bytes);
		uint8_t *const mutated =
			malloc(size_bytes); /* exactly as long: the sanitizer guards its end */
		struct hm_profile profile;

		memcpy(mutated, from->bytes, size_bytes);
		for (uint64_t i = next_random() % 6; i > 0; i--)
			mutated[next_random() % size_bytes] = (uint8_t)(next_random() >> next_random() % 64);
		if (hm_profile_read(mutated, size_bytes, &profile, NULL) == 0) {
			read_anyway++;
			CHECK(profile.arena.mapped_bytes < 64 * size_bytes + (4 << 20));
			hm_profile_check(&profile, ignore_finding, &sum);
			sum += walk(&profile);
			hm_profile_done(&profile);
		}
		free(mutated);
	}
	CHECK(read_anyway > ROUNDS / 20);
	CHECK(sum != 0);
	free(packed.bytes);
	free(raw.bytes);
}

static int write_for_others(const char *path)
{
	struct ledger_build build;
	const struct hm_profile_options options = make_options();

	ledger_build_sample(&build);
	struct hm_snapshot snapshot = take(&build);
	CHECK_EQ(hm_profile_write_file(&snapshot, &options, path, HM_OUTPUT_REPLACE, NULL), 0);
	hm_snapshot_done(&snapshot);
	ledger_build_end(&build);
	return check_result();
}

int main(int argument_count, char **arguments)
{
	if (argument_count > 1)
		return write_for_others(arguments[1]);
	test_header();
	test_figures();
	test_locations();
	test_made_up();
	test_paths();
	test_without_names();
	test_empty();
	test_deterministic();
	test_file();
	test_file_descriptors();
	test_faults();
	test_other_producer();
	test_mutations();
	return check_result();
}
