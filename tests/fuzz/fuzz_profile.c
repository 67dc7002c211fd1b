// SPDX-License-Identifier: Apache-2.0
/*
 * A profile of any bytes: read, checked, and shown by `heapmark top` or `heapmark flame`.
 *
 *	byte 0   bits 0-1: what follows is 0, 1: the message itself; 2: the message, to be packed with gzip
 *	         here, so that no checksum stands before it; 3: the file with gzip's bytes
 *	         bits 2-5: how `top` shows it (see show_top)
 *	         bit 6: drawn by `flame` in its place, bits 2-3 say how; bit 7: compared with itself by
 *`diff`; both: `doctor` says what it is then the bytes
 */
#include "proto/gzip.h"
#include "proto/ledger.h"
#include "proto/profile_check.h"
#include "proto/profile_read.h"
#include "tests/fuzz/fuzz.h"
#include "tools/cli.h"
#include "tools/shorten.h"
#include "tools/verb.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* As tests/unit/test_profile.c has it: messages that are small in the file and large in memory. */
enum { READ_BYTES_FIXED = 4 << 20, READ_BYTES_PER_BYTE = 64 };

/* The file that the input stands for. */
static struct fuzz_buffer make_file(struct fuzz_input rest, uint32_t form)
{
	enum { PACKED = 2 };
	struct fuzz_buffer file = { 0 };
	const struct hm_sink sink = { fuzz_append, &file };
	struct hm_arena arena;

	if (form != PACKED) {
		file.bytes = malloc(rest.rest_bytes); /* exactly as long: the sanitizer sees its end */
		if (rest.rest_bytes > 0)
			memcpy(file.bytes, rest.at, rest.rest_bytes);
		file.size_bytes = rest.rest_bytes;
		return file;
	}
	hm_arena_init(&arena, SIZE_MAX);
	struct hm_gzip *const gzip = hm_gzip_open(&arena, &sink);
	hm_gzip_write(gzip, rest.at, rest.rest_bytes);
	fuzz_require(hm_gzip_finish(gzip) == 0, "anything can be packed");
	hm_arena_done(&arena);
	return file;
}

static void require_text(const struct hm_profile *profile, uint32_t index)
{
	fuzz_require(hm_profile_string(profile, index) != NULL, "every text can be asked for");
}

static void require_short(const struct hm_profile *profile, uint32_t name)
{
	enum { COLUMNS = 30 };
	char *const shortened = hm_shorten_name(hm_profile_string(profile, name), COLUMNS);

	fuzz_require(hm_text_columns(shortened) <= COLUMNS, "a name can be cut to fit");
	free(shortened);
}

/* What a view follows without asking. */
static void require_sane(const struct hm_profile *profile)
{
	for (uint32_t i = 0; i < profile->sample_count; i++) {
		const struct hm_profile_sample *const sample = &profile->samples[i];

		for (uint32_t k = 0; k < sample->location_count; k++)
			fuzz_require(sample->locations[k] == HM_PROFILE_NONE ||
					     sample->locations[k] < profile->location_count,
				     "a frame is a location or none");
		for (uint32_t k = 0; k < sample->label_count; k++)
			require_text(profile, sample->labels[k].key);
	}
	for (uint32_t i = 0; i < profile->function_count; i++)
		require_short(profile, profile->functions[i].name);
	for (uint32_t i = 0; i < profile->location_count; i++) {
		const struct hm_profile_location *const location = &profile->locations[i];

		fuzz_require(location->mapping == HM_PROFILE_NONE ||
				     location->mapping < profile->mapping_count,
			     "a location has a mapping or none");
		for (uint32_t k = 0; k < location->line_count; k++)
			fuzz_require(location->lines[k].function == HM_PROFILE_NONE ||
					     location->lines[k].function < profile->function_count,
				     "a line has a function or none");
	}
}

static void count_broken(void *context, const struct hm_profile_finding *finding)
{
	uint64_t *const count = context;

	fuzz_require(finding->sentence[0] != '\0' && finding->rule[0] != '\0' &&
			     finding->consequence[0] != '\0',
		     "a finding is told");
	*count += finding->is_broken;
}

/* Writes the file to one without a name, whose path is returned. */
static char *put_file(const struct fuzz_buffer *file)
{
	static char path[32];
	static int descriptor = -1;

	if (descriptor < 0) {
		descriptor = memfd_create("profile", MFD_CLOEXEC);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", descriptor);
	}
	fuzz_require(ftruncate(descriptor, 0) == 0 && pwrite(descriptor, file->bytes, file->size_bytes, 0) ==
							      (ssize_t)file->size_bytes,
		     "the file is there");
	return path;
}

static void run_verb(const struct hm_verb *verb, int count, char **arguments)
{
	optind = 0; /* from the start, as for a new process */
	const int status = verb->main(verb, count, arguments);
	fuzz_require(status == HM_EXIT_DONE || status == HM_EXIT_USAGE, "it is shown, or said why not");
}

static void show_top(char *path, uint32_t options)
{
	static char *const orders[] = { "inuse", "alloc", "kept", "inuse" };
	char *arguments[] = { "top", "-n0", "--by", orders[options % 4], path, NULL, NULL, NULL };
	int count = 5;

	if ((options & 4) != 0)
		arguments[count++] = "--cum";
	if ((options & 8) != 0)
		arguments[count++] = "--lines";
	run_verb(&hm_verb_top, count, arguments);
}

static void show_diff(char *path)
{
	char *arguments[] = { "diff", "-n0", "--fail-above", "0", path, path, NULL };

	run_verb(&hm_verb_diff, 6, arguments);
}

static void show_doctor(char *path)
{
	char *arguments[] = { "doctor", path, NULL };

	run_verb(&hm_verb_doctor, 2, arguments);
}

static void show_flame(char *path, uint32_t options)
{
	static char *const ways[] = { "--by=inuse", "--by=alloc", "--pair", "--pair" };
	char *arguments[] = { "flame", "-q", "-o", "/dev/null", ways[options % 4], path, NULL };

	run_verb(&hm_verb_flame, 6, arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct fuzz_input rest = { data, size_bytes };
	const uint32_t choice = (uint32_t)fuzz_take(&rest, 1);
	const struct fuzz_buffer file = make_file(rest, choice % 4);
	struct hm_profile profile;
	enum hm_profile_fault fault = HM_PROFILE_NO_MEMORY;

	fuzz_memory_reset();
	if (hm_profile_read(file.bytes, file.size_bytes, &profile, &fault) == 0) {
		uint64_t told_count = 0;

		fuzz_require(fuzz_memory_peak_bytes() <=
				     READ_BYTES_FIXED + READ_BYTES_PER_BYTE * profile.unpacked_bytes,
			     "reading takes memory in proportion to what is unpacked");
		require_sane(&profile);
		const uint64_t count = hm_profile_check(&profile, count_broken, &told_count);
		fuzz_require((count == 0) == (told_count == 0), "what is counted is told");
		hm_profile_done(&profile);
	} else {
		fuzz_require(fault != HM_PROFILE_NO_MEMORY && hm_profile_fault_text(fault)[0] != '\0',
			     "a file that is refused has a fault, which is its own");
	}
	/* A ledger is another harness's: the verbs would open the files that it names. */
	if (file.size_bytes < 8 || memcmp(file.bytes, HM_LEDGER_MAGIC, 8) != 0) {
		if ((choice & 192) == 192)
			show_doctor(put_file(&file));
		else if ((choice & 128) != 0)
			show_diff(put_file(&file));
		else if ((choice & 64) != 0)
			show_flame(put_file(&file), choice >> 2 & 15);
		else
			show_top(put_file(&file), choice >> 2 & 15);
	}
	free(file.bytes);
	return 0;
}
