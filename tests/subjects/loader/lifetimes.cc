// SPDX-License-Identifier: Apache-2.0
/*
 * Allocations before main, after it, and when threads end.  Most of it happens when nobody can tell the truth
 * any more, so it is told beforehand.
 */
#include "tests/subjects/truth.h"

#include <pthread.h>

extern "C" {
extern void *early_block; /* of a library whose constructor comes before all of ours */

#define SITES(X)                \
	X(in_constructor)       \
	X(in_destructor)        \
	X(in_static_object)     \
	X(in_static_object_end) \
	X(in_thread_local)      \
	X(in_thread_local_end)  \
	X(in_key_destructor)    \
	X(in_exit_handler)

#define DEFINE(NAME)                                        \
	SITE void *NAME(size_t size);                       \
	SITE void *NAME(size_t size)                        \
	{                                                   \
		void *const block = malloc(size);           \
                                                            \
		asm volatile("" : : "r"(block) : "memory"); \
		return block;                               \
	}
SITES(DEFINE)

static void keep(void *block)
{
	asm volatile("" : : "r"(block) : "memory");
}

__attribute__((constructor)) static void construct()
{
	keep(in_constructor(11));
}

__attribute__((destructor)) static void destruct()
{
	free(in_destructor(12));
	keep(in_destructor(13));
}

static void key_destructor(void *block)
{
	free(block);
	keep(in_key_destructor(31));
}
}

struct static_object {
	static_object() : block(in_static_object(21))
	{
	}
	~static_object()
	{
		free(block);
		keep(in_static_object_end(22));
	}
	void *block;
};
static static_object object;

struct thread_object {
	thread_object() : block(in_thread_local(41))
	{
	}
	~thread_object()
	{
		free(block);
		keep(in_thread_local_end(42));
	}
	void *block;
};
static thread_local thread_object local;

static pthread_key_t key;

static void use_thread_object()
{
	keep(local.block);
}

static void *run(void *)
{
	use_thread_object();
	if (pthread_setspecific(key, malloc(5)) != 0)
		abort();
	return nullptr;
}

static void exit_handler()
{
	keep(in_exit_handler(51));
}

static void tell(const char *site, int objects, int bytes, int inuse_objects, int inuse_bytes)
{
	say("truth %d %s %d %d %d %d", static_cast<int>(getpid()), site, objects, bytes, inuse_objects,
	    inuse_bytes);
}

int main()
{
	pthread_t threads[2];

	if (early_block == nullptr || atexit(exit_handler) != 0 ||
	    pthread_key_create(&key, key_destructor) != 0)
		return 2;
	for (pthread_t &thread : threads) {
		if (pthread_create(&thread, nullptr, run, nullptr) != 0)
			return 2;
		(void)pthread_join(thread, nullptr);
	}
	use_thread_object(); /* its end is that of the first thread, at exit */
	tell("early_constructor", 1, 1001, 0, 0);
	tell("early_destructor", 1, 1002, 1, 1002);
	tell("in_constructor", 1, 11, 1, 11);
	tell("in_destructor", 2, 25, 1, 13);
	tell("in_static_object", 1, 21, 0, 0);
	tell("in_static_object_end", 1, 22, 1, 22);
	tell("in_thread_local", 3, 123, 0, 0);
	tell("in_thread_local_end", 3, 126, 3, 126);
	tell("in_key_destructor", 2, 62, 2, 62);
	tell("in_exit_handler", 1, 51, 1, 51);
	return 0;
}
