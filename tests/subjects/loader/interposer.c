// SPDX-License-Identifier: Apache-2.0
/*
 * Another library for LD_PRELOAD: counts the calls of malloc, calloc, realloc and free and passes them on,
 * looking for the next one when it is first needed, as most such libraries do.  Its constructor allocates and
 * starts a thread.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

unsigned long interposer_count(void);

static unsigned long call_count;

static void *next(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static void count(void)
{
	(void)__atomic_fetch_add(&call_count, 1, __ATOMIC_RELAXED);
}

unsigned long interposer_count(void)
{
	return __atomic_load_n(&call_count, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
	static void *(*next_malloc)(size_t);

	if (next_malloc == NULL) {
		void *const function = next("malloc");

		memcpy(&next_malloc, &function, sizeof(next_malloc));
	}
	count();
	return next_malloc(size);
}

void *calloc(size_t number, size_t size)
{
	static void *(*next_calloc)(size_t, size_t);

	if (next_calloc == NULL) {
		void *const function = next("calloc");

		memcpy(&next_calloc, &function, sizeof(next_calloc));
	}
	count();
	return next_calloc(number, size);
}

void *realloc(void *block, size_t size)
{
	static void *(*next_realloc)(void *, size_t);

	if (next_realloc == NULL) {
		void *const function = next("realloc");

		memcpy(&next_realloc, &function, sizeof(next_realloc));
	}
	count();
	return next_realloc(block, size);
}

void free(void *block)
{
	static void (*next_free)(void *);

	if (next_free == NULL) {
		void *const function = next("free");

		memcpy(&next_free, &function, sizeof(next_free));
	}
	count();
	next_free(block);
}

static void *run(void *key)
{
	(void)pthread_setspecific(*(pthread_key_t *)key, malloc(19));
	return malloc(23);
}

__attribute__((constructor)) static void start(void)
{
	static pthread_key_t key;
	pthread_t thread;
	void *block = NULL;

	if (pthread_key_create(&key, free) != 0 || pthread_create(&thread, NULL, run, &key) != 0)
		abort();
	(void)pthread_join(thread, &block);
	free(realloc(block, 100));
	free(strdup("in a constructor"));
	(void)dlsym(RTLD_DEFAULT, "no_such_function");
}
