// SPDX-License-Identifier: Apache-2.0
/*
 * A mutex that clang's thread-safety analysis knows as one.
 */
#ifndef EXAMPLES_MUTEX_H
#define EXAMPLES_MUTEX_H

#include "examples/thread_safety.h"

#include <pthread.h>

struct CAPABILITY("mutex") mutex {
	pthread_mutex_t pthread;
};

/* libc's mutex is not annotated, so these are taken at their word.  They fail on nothing but misuse. */

static inline void mutex_init(struct mutex *mutex)
{
	pthread_mutex_init(&mutex->pthread, NULL);
}

static inline void mutex_destroy(struct mutex *mutex)
{
	pthread_mutex_destroy(&mutex->pthread);
}

static inline void mutex_lock(struct mutex *mutex) ACQUIRES(mutex);
static inline void mutex_lock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
	pthread_mutex_lock(&mutex->pthread);
}

static inline void mutex_unlock(struct mutex *mutex) RELEASES(mutex);
static inline void mutex_unlock(struct mutex *mutex) NO_THREAD_SAFETY_ANALYSIS
{
	pthread_mutex_unlock(&mutex->pthread);
}

#endif
