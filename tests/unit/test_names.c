// SPDX-License-Identifier: Apache-2.0
/* What names of debug information are made of: readable forms, lists of perf, the pipe, the cache. */
#include "tests/unit/check.h"
#include "tools/demangle.h"
#include "tools/isolated.h"
#include "tools/load_bias.h"
#include "tools/perf_map.h"
#include "tools/symbol_cache.h"
#include "tools/symbol_pipe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_demangle(void)
{
	static const struct {
		const char *linkage_name;
		const char *name;
	} cases[] = {
		{ "main", "main" },
		{ "_Z10make_outeri", "make_outer" },
		{ "_ZN1a1b1cEv", "a::b::c" },
		{ "_Znwm", "operator new" },
		{ "_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int>::push_back" },
		{ "_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE6appendEPKc", "std::string::append" },
		{ "_ZN12_GLOBAL__N_11fEv", "(anonymous namespace)::f" },
		{ "_ZN1AltERKS_", "A::operator<" },
		{ "_Z3barIiEvT_", "bar<int>" },
		{ "_Z3foov.cold", "foo" },
		{ "_Z3fooi.part.0", "foo" },
		{ "parse_line.part.0", "parse_line" },
		{ "parse_line.constprop.0.isra.0", "parse_line" },
		{ ".cold", ".cold" },
		{ "a.b", "a.b" },
		{ "_ZN4core3ptr4read17h0123456789abcdefE", "core::ptr::read" },
		{ "_RNvCs1234_7mycrate3foo", "mycrate::foo" },
		{ "_Z", "_Z" },
		{ "_R", "_R" },
	};
	struct hm_arena arena;

	hm_arena_init(&arena, SIZE_MAX);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_STR(hm_demangle(&arena, cases[i].linkage_name), cases[i].name);

	/* Longer than any compiler makes it. */
	char *const endless = calloc(1, 1 << 20);
	memset(endless, 'S', (1 << 20) - 1);
	endless[0] = '_';
	endless[1] = 'Z';
	CHECK(hm_demangle(&arena, endless) == endless);
	free(endless);
	hm_arena_done(&arena);
}

static void test_shorten(void)
{
	static const struct {
		const char *from;
		const char *to;
	} cases[] = {
		{ "std::map<int, A, std::less<int>, std::allocator<std::pair<int const, A> > >::at",
		  "std::map<int, A>::at" },
		{ "std::unique_ptr<A, std::default_delete<A> >", "std::unique_ptr<A>" },
		{ "f<&A::operator< >, std::allocator<int>", "f<&A::operator<>" },
		{ "operator->, std::less<", "operator->, std::less<" }, /* not closed: left alone */
		{ "std::__cxx11::list<std::__cxx11::basic_string<char, std::char_traits<char>, "
		  "std::allocator<char> > >",
		  "std::list<std::string>" },
	};
	char name[256];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		strcpy(name, cases[i].from);
		hm_demangle_shorten(name);
		CHECK_STR(name, cases[i].to);
	}
	/* Beyond what fits a line, first what is within other arguments goes, then all. */
	char wide[512] = "outer<inner<";
	memset(wide + strlen(wide), 'x', 200);
	strcat(wide, ">, other>::f");
	hm_demangle_shorten(wide);
	CHECK_STR(wide, "outer<inner<...>, other>::f");
	strcpy(wide, "outer<");
	memset(wide + 6, 'x', 200);
	strcpy(wide + 206, ">::f");
	hm_demangle_shorten(wide);
	CHECK_STR(wide, "outer<...>::f");
}

static void write_text(const char *path, const char *text)
{
	FILE *const stream = fopen(path, "w");

	CHECK(stream != NULL);
	fputs(text, stream);
	fclose(stream);
}

static void test_perf_map(void)
{
	static const uint64_t addresses[] = { 0x0fff, 0x1000, 0x10ff, 0x1100, 0x2004, 0x3000 };
	enum { COUNT = sizeof(addresses) / sizeof(addresses[0]) };
	static const struct hm_line unknown = { .name = "[anon]", .system_name = "[anon]" };
	struct hm_perf_map_process process = { .inner_pid = 999999000 + getpid() % 1000, .owner = getuid() };
	struct hm_location_name names[COUNT];
	struct hm_arena arena;
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)process.inner_pid);
	write_text(path, "1000 100 first function\n"
			 "not a line\n"
			 "2000\n"
			 "ffffffffffffffff 10 too far\n"
			 "2000 8 moved\n"
			 "2000 10 stays here\n"
			 "3000 1\n");
	hm_arena_init(&arena, SIZE_MAX);
	for (int i = 0; i < COUNT; i++)
		names[i] = (struct hm_location_name){ &unknown, 1, true };
	CHECK_EQ(hm_perf_map_name(&process, &arena, addresses, COUNT, names), 0);
	CHECK(names[0].placeholder && names[3].placeholder && names[5].placeholder);
	CHECK_STR(names[1].lines[0].name, "first function");
	CHECK_STR(names[2].lines[0].name, "first function");
	CHECK_STR(names[4].lines[0].name, "stays here");
	CHECK(!names[4].placeholder);

	/* Another's, or of an earlier process that had the number: not ours. */
	names[1] = (struct hm_location_name){ &unknown, 1, true };
	process.start_ns = UINT64_C(1) << 62;
	CHECK_EQ(hm_perf_map_name(&process, &arena, addresses, COUNT, names), 0);
	CHECK(names[1].placeholder);
	process.start_ns = 0;
	process.owner = getuid() + 1;
	CHECK_EQ(hm_perf_map_name(&process, &arena, addresses, COUNT, names), 0);
	CHECK(names[1].placeholder == (getuid() != 0)); /* root's lists are anybody's */
	unlink(path);
	CHECK_EQ(hm_perf_map_name(&process, &arena, addresses, COUNT, names), 0);
	hm_arena_done(&arena);
}

struct heard {
	uint32_t facts;
	uint32_t answers;
	uint32_t last_index;
};

static void hear_fact(void *context, enum hm_symbol_fact fact)
{
	struct heard *const heard = context;

	heard->facts |= UINT32_C(1) << fact;
}

static void hear_progress(void *context, enum hm_symbol_stage stage, uint64_t done, uint64_t total)
{
	(void)context;
	CHECK_EQ(stage, HM_SYMBOL_NAMING);
	CHECK_EQ(done, 3);
	CHECK_EQ(total, 9);
}

static int hear_answer(void *context, uint32_t index, const struct hm_location_name *name)
{
	struct heard *const heard = context;

	heard->answers++;
	heard->last_index = index;
	CHECK_EQ(name->line_count, 2);
	CHECK_STR(name->lines[0].name, "inner");
	CHECK_STR(name->lines[0].file, "/src/inner.h");
	CHECK_EQ(name->lines[0].line, 7);
	CHECK_STR(name->lines[1].system_name, "_Z5outerv");
	CHECK(name->lines[1].file == NULL);
	return index == 99 ? -ENOMEM : 0;
}

static void test_pipe(void)
{
	static struct hm_symbol_writer writer;
	static uint8_t bytes[8192];
	const struct hm_line lines[] = { { "inner", "inner", "/src/inner.h", 7, 5 },
					 { "outer", "_Z5outerv", NULL, 0, 0 } };
	const struct hm_location_name name = { lines, 2, false };
	struct heard heard = { 0 };
	struct hm_symbol_reader reader = { hear_fact, hear_progress, hear_answer, &heard, NULL, 0, 0, NULL };
	int ends[2];

	CHECK_EQ(pipe(ends), 0);
	hm_symbol_writer_init(&writer, ends[1]);
	hm_symbol_write_fact(&writer, HM_SYMBOL_FACT_DEBUG_INFO);
	hm_symbol_write_progress(&writer, HM_SYMBOL_NAMING, 3, 9);
	hm_symbol_write_answer(&writer, 4, &name);
	hm_symbol_write_answer(&writer, 5, &name);
	hm_symbol_writer_flush(&writer);
	const ssize_t size = read(ends[0], bytes, sizeof(bytes));
	CHECK(size > 0);
	for (ssize_t i = 0; i < size; i++) /* it comes as it comes */
		CHECK_EQ(hm_symbol_reader_take(&reader, bytes + i, 1), 0);
	CHECK_EQ(heard.facts, 1u << HM_SYMBOL_FACT_DEBUG_INFO);
	CHECK_EQ(heard.answers, 2);
	CHECK_EQ(heard.last_index, 5);
	hm_symbol_reader_done(&reader);

	/* A kind that is none of ours ends it; so does what the taker says. */
	const uint32_t nonsense[] = { 77, 0 };
	CHECK_EQ(hm_symbol_reader_take(&reader, nonsense, sizeof(nonsense)), -EBADMSG);
	hm_symbol_reader_done(&reader);
	hm_symbol_write_answer(&writer, 99, &name);
	hm_symbol_writer_flush(&writer);
	CHECK_EQ(hm_symbol_reader_take(&reader, bytes, (size_t)read(ends[0], bytes, sizeof(bytes))), -ENOMEM);
	hm_symbol_reader_done(&reader);
	close(ends[0]);
	close(ends[1]);
}

enum child { CHILD_TELLS, CHILD_CRASHES, CHILD_EXITS, CHILD_LOOPS, CHILD_IS_SILENT, CHILD_TALKS };

struct watched {
	enum child child;
	size_t heard_bytes;
};

static void act(void *context, int descriptor)
{
	const struct watched *const watched = context;
	static const char word[] = "word";

	CHECK_EQ(write(descriptor, word, strlen(word)), (ssize_t)strlen(word));
	switch (watched->child) {
	case CHILD_TELLS:
		return;
	case CHILD_CRASHES:
		raise(SIGSEGV);
		return;
	case CHILD_EXITS:
		_exit(3);
	case CHILD_LOOPS:
		for (volatile unsigned i = 0;; i++)
			;
	case CHILD_IS_SILENT:
		pause();
		return;
	case CHILD_TALKS:
		while (write(descriptor, word, strlen(word)) > 0)
			;
	}
}

static int hear(void *context, const void *data, size_t size_bytes)
{
	struct watched *const watched = context;

	(void)data;
	watched->heard_bytes += size_bytes;
	return watched->heard_bytes > 1 << 20;
}

/* However the child ends, what it had said is there. */
static void test_isolated(void)
{
	static const enum hm_isolated_end ends[] = {
		[CHILD_TELLS] = HM_ISOLATED_DONE,         [CHILD_CRASHES] = HM_ISOLATED_CRASHED,
		[CHILD_EXITS] = HM_ISOLATED_CRASHED,      [CHILD_LOOPS] = HM_ISOLATED_TOO_LONG,
		[CHILD_IS_SILENT] = HM_ISOLATED_TOO_LONG, [CHILD_TALKS] = HM_ISOLATED_STOPPED,
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct watched watched = { .child = (enum child)i };
		const struct hm_isolated_work work = { act, hear, &watched };
		const struct hm_isolated_limits limits = {
			.cpu_seconds = 1,
			.silence_seconds = i == CHILD_IS_SILENT ? 1 : 60,
			.memory_bytes = UINT64_C(1) << 40,
		};

		CHECK_EQ(hm_isolated_run(&work, &limits), ends[i]);
		CHECK(watched.heard_bytes >= 4);
	}
}

static void test_cache(void)
{
	enum { COUNT = 20000 };
	const struct hm_snapshot_module first = { .path = "/lib/a.so",
						  .build_id_size = 2,
						  .build_id = { 1, 2 } };
	const struct hm_snapshot_module moved = { .path = "/lib/b.so",
						  .build_id_size = 2,
						  .build_id = { 1, 2 } };
	const struct hm_snapshot_module plain = { .path = "/lib/a.so" };
	struct hm_symbol_cache cache;
	char text[32];

	hm_symbol_cache_init(&cache);
	CHECK(hm_symbol_cache_file(&cache, &first) == hm_symbol_cache_file(&cache, &moved));
	CHECK(hm_symbol_cache_file(&cache, &first) != hm_symbol_cache_file(&cache, &plain));
	/* Texts that are all different, so that their table moves many times. */
	for (uint32_t i = 0; i < COUNT; i++) {
		snprintf(text, sizeof(text), "function %u", i);
		const struct hm_line line = { text, text, NULL, i, 0 };
		const struct hm_location_name name = { &line, 1, false };
		CHECK(hm_symbol_cache_insert(&cache, hm_symbol_cache_file(&cache, &first), i, &name) != NULL);
	}
	for (uint32_t i = 0; i < COUNT; i++) {
		const struct hm_location_name *const name =
			hm_symbol_cache_find(&cache, hm_symbol_cache_file(&cache, &first), i);
		snprintf(text, sizeof(text), "function %u", i);
		CHECK(name != NULL && strcmp(name->lines[0].name, text) == 0 && name->lines[0].line == i);
	}
	CHECK(hm_symbol_cache_find(&cache, hm_symbol_cache_file(&cache, &plain), 1) == NULL);
	CHECK(!hm_symbol_cache_is_full(&cache));
	hm_symbol_cache_done(&cache);
}

static void test_load_bias(void)
{
	uint64_t bias = 1;

	CHECK(!hm_load_bias("/dev/null", 0x1000, 0, &bias));
	CHECK(!hm_load_bias("/nowhere", 0x1000, 0, &bias));
	CHECK(hm_load_bias("/proc/self/exe", 0x7f0000000000, 0, &bias));
	CHECK_EQ(bias, 0x7f0000000000);
}

int main(void)
{
	test_demangle();
	test_shorten();
	test_perf_map();
	test_pipe();
	test_isolated();
	test_cache();
	test_load_bias();
	return check_result();
}
