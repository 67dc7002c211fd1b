// SPDX-License-Identifier: Apache-2.0
/* short_threads COUNT SIZE: threads that allocate one block each, one thread after the other. */
#include "tests/subjects/truth.h"

#include <pthread.h>

static size_t size_bytes;

static SITE void *allocate_once(void *unused)
{
	(void)unused;
	free(malloc(size_bytes));
	return NULL;
}

int main(int argc, char **argv)
{
	const long count = argc == 3 ? strtol(argv[1], NULL, 10) : 0;
	pthread_attr_t attributes;

	if (count == 0)
		return 2;
	size_bytes = strtoull(argv[2], NULL, 10);
	if (pthread_attr_init(&attributes) != 0 || pthread_attr_setstacksize(&attributes, 65536) != 0)
		abort();
	for (long index = 0; index < count; index++) {
		pthread_t thread;

		if (pthread_create(&thread, &attributes, allocate_once, NULL) != 0)
			abort();
		(void)pthread_join(thread, NULL);
	}
	say("done");
	return 0;
}
