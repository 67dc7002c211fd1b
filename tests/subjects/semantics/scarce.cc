// SPDX-License-Identifier: Apache-2.0
/*
 * Memory runs out: RLIMIT_AS leaves 64 MiB.  A new-handler gives some back, and is called again; bad_alloc is
 * thrown and caught with blocks in hand; the nothrow forms say NULL.  Then there is memory again.
 */
#include "tests/subjects/truth.h"

#include <cerrno>
#include <memory_resource>
#include <new>
#include <sys/resource.h>
#include <vector>

/* Of mimalloc, whose new cannot throw: it is compiled as C, and aborts instead. */
extern "C" int mi_version(void) __attribute__((weak));

static constexpr size_t MIB = 1 << 20;

/* An exception is allocated below the site that asked, and gone: of such a site only what is in use is known.
 */
extern "C" {
TRUTH(new_until_bad_alloc)
SITE struct block new_until_bad_alloc(size_t size);
SITE struct block new_until_bad_alloc(size_t size)
{
	truth_of_new_until_bad_alloc.alloc_is_unknown = true;
	return truth_allocated(&truth_of_new_until_bad_alloc, operator new(size), size);
}

TRUTH(new_until_null)
SITE struct block new_until_null(size_t size);
SITE struct block new_until_null(size_t size)
{
	truth_of_new_until_null.alloc_is_unknown = true; /* libstdc++ catches what the throwing form throws */
	return truth_allocated(&truth_of_new_until_null, operator new[](size, std::nothrow), size);
}

TRUTH(new_aligned_until_bad_alloc)
SITE struct block new_aligned_until_bad_alloc(size_t size);
SITE struct block new_aligned_until_bad_alloc(size_t size)
{
	truth_of_new_aligned_until_bad_alloc.alloc_is_unknown = true;
	return truth_allocated(
		&truth_of_new_aligned_until_bad_alloc, operator new (size, std::align_val_t{ 4096 }), size);
}

TRUTH(reserve)
SITE struct block reserve(size_t size);
SITE struct block reserve(size_t size)
{
	return truth_allocated(&truth_of_reserve, malloc(size), size);
}

TRUTH(pool_object)
SITE struct block pool_object(size_t size);
}

static struct block reserves[3];
static int handler_calls;

static void give_back()
{
	if (handler_calls < 3)
		truth_free(&reserves[handler_calls]);
	if (++handler_calls == 4)
		std::set_new_handler(nullptr);
}

static struct kept_blocks {
	struct block blocks[200];
	size_t count;
} kept;

static void delete_all(bool is_aligned)
{
	for (size_t index = 0; index < kept.count; index++) {
		truth_freed(&kept.blocks[index]);
		if (is_aligned)
			operator delete (kept.blocks[index].address, std::align_val_t{ 4096 });
		else
			operator delete(kept.blocks[index].address);
	}
	kept.count = 0;
}

static const char *take_all(struct block (*take)(size_t size))
{
	try {
		while (kept.count < 200) {
			const struct block block = take(MIB - 4096);

			if (block.address == nullptr)
				return "NULL";
			kept.blocks[kept.count++] = block;
		}
	} catch (const std::bad_alloc &) {
		return "bad_alloc";
	}
	return "no end";
}

static void leave_room(size_t size_bytes)
{
	struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
	unsigned long pages = 0;
	FILE *const file = fopen("/proc/self/statm", "r");

	if (file == nullptr || fscanf(file, "%lu", &pages) != 1)
		abort();
	(void)fclose(file);
	limit.rlim_cur = pages * 4096 + size_bytes;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		abort();
}

/* A class with an operator new of its own: the pool's memory is seen, once, where the pool took it. */
struct pooled {
	long values[8];
	static void *operator new(size_t size);
	static void operator delete(void *block);
};

static char *pool;
static size_t pool_used_bytes;

SITE struct block pool_object(size_t size)
{
	return truth_allocated(&truth_of_pool_object, malloc(size), size);
}

void *pooled::operator new(size_t size)
{
	if (pool == nullptr)
		pool = static_cast<char *>(pool_object(10000).address);
	pool_used_bytes += size;
	return pool + pool_used_bytes - size;
}

void pooled::operator delete(void *)
{
}

static void show_pools()
{
	size_t sum = 0;

	for (long number = 0; number < 100; number++) {
		auto *const object = new pooled;

		object->values[0] = number;
		sum += static_cast<size_t>(object->values[0]);
		delete object;
	}
	say("a class with its own new: %zu in %zu bytes", sum, pool_used_bytes);

	std::pmr::unsynchronized_pool_resource resource;
	std::pmr::vector<long> numbers(&resource);

	for (long number = 0; number < 10000; number++)
		numbers.push_back(number);
	say("std::pmr: %ld", numbers[9999]);
}

static void show_exceptions()
{
	std::set_new_handler(give_back);
	say("new: %s", take_all(new_until_bad_alloc));
	say("more than half of it: %d", kept.count > 32);
	say("calls of the handler: %d", handler_calls);
	delete_all(false);
	say("new aligned: %s", take_all(new_aligned_until_bad_alloc));
	delete_all(true);
}

int main()
{
	for (struct block &block : reserves)
		block = reserve(8 * MIB);
	show_pools();
	leave_room(64 * MIB);
	if (mi_version == nullptr)
		show_exceptions();
	say("new[] nothrow: %s", take_all(new_until_null));
	delete_all(false);
	leave_room(64 * MIB);

	void *const again = operator new(MIB);

	say("again: %s", again != nullptr ? "block" : "NULL");
	operator delete(again);
	truth_print();
	return 0;
}
