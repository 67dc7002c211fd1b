// SPDX-License-Identifier: Apache-2.0
/*
 * storm PLUGIN_LEFT PLUGIN_RIGHT: threads that come and go, blocks that another thread frees than the one
 * that allocated them, plug-ins that are loaded and unloaded, and children that end in every way, until
 * SIGTERM comes.  Then prints, as the subjects do, what each process has allocated at each site, and how
 * often it saw something wrong: a block that is not as it was left, a child that ended otherwise than it
 * meant to.
 *
 * script/soak runs it.
 */
#include "tests/subjects/truth.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum {
	THREADS = 16,
	ROUNDS = 2000,            /* of a thread's life */
	SLOTS = 16384,            /* blocks that are live at once */
	BLOCK_BYTES_MAX = 4096,   /* of a size drawn from all below */
	PLUGIN_BLOCKS = 16,       /* allocated each time that a plug-in is loaded */
	THREADS_PER_CHILD = 16,   /* so many that whoever looks at all children can keep up */
	CHILD_BLOCKS = 64,        /* of which a child keeps half */
	STACK_BYTES = 128 * 1024, /* of a thread */
};

/* What is at the start of each block; the last byte repeats the size. */
struct held {
	struct block block;
};

typedef void *(*plugin_function)(size_t size);

static struct held *_Atomic slots[SLOTS];
static atomic_ulong errors;
static volatile sig_atomic_t is_over;

/*
 * Held by whoever loads or unloads, and by a fork whose child will call exit: the C library's lock of exit
 * handlers, which dlclose takes too, stays taken for ever in a child that is made meanwhile.  With or without
 * a library of ours.
 */
static pthread_mutex_t exit_handlers_busy = PTHREAD_MUTEX_INITIALIZER;

static struct truth plugin_truths[] = { { .name = "plugin_left" }, { .name = "plugin_right" } };

static void end(int number)
{
	(void)number;
	is_over = 1;
}

/* Marsaglia's xorshift; `state` is not 0. */
static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static size_t random_size(uint64_t *state)
{
	return sizeof(struct held) + 1 + next_random(state) % (BLOCK_BYTES_MAX - sizeof(struct held));
}

static struct held *hold(struct truth *truth, void *address, size_t size)
{
	struct held *const held = address;

	if (held == NULL)
		abort();
	held->block = truth_allocated(truth, address, size);
	((unsigned char *)held)[size - 1] = (unsigned char)size;
	return held;
}

static void let_go(struct held *held)
{
	struct block block;

	if (held == NULL)
		return;
	block = held->block;
	if (block.address != held ||
	    ((unsigned char *)held)[block.size_bytes - 1] != (unsigned char)block.size_bytes)
		atomic_fetch_add(&errors, 1);
	truth_free(&block);
}

TRUTH(storm_block)
static SITE struct held *storm_block(size_t size)
{
	return hold(&truth_of_storm_block, malloc(size), size);
}

TRUTH(storm_child_block)
static SITE struct held *storm_child_block(size_t size)
{
	return hold(&truth_of_storm_child_block, malloc(size), size);
}

/* Leaves a block for another thread, and frees what yet another has left. */
static void exchange(uint64_t *random, struct held *held)
{
	let_go(atomic_exchange(&slots[next_random(random) % SLOTS], held));
}

static void *live_a_life(void *argument)
{
	uint64_t random = (uintptr_t)argument;

	for (int round = 0; round < ROUNDS && !is_over; round++)
		exchange(&random, storm_block(random_size(&random)));
	return NULL;
}

static void load_once(const char *path, struct truth *truth, uint64_t *random)
{
	void *const plugin = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	plugin_function allocate = NULL;

	if (plugin == NULL) {
		atomic_fetch_add(&errors, 1);
		return;
	}
	*(void **)&allocate = dlsym(plugin, truth->name);
	for (int i = 0; i < PLUGIN_BLOCKS && allocate != NULL; i++) {
		const size_t size = random_size(random);

		exchange(random, hold(truth, allocate(size), size));
	}
	atomic_fetch_add(&errors, allocate == NULL);
	dlclose(plugin);
}

static void *load_and_unload(void *paths)
{
	uint64_t random = 1;

	for (unsigned int turn = 0; !is_over; turn++) {
		pthread_mutex_lock(&exit_handlers_busy);
		load_once(((char **)paths)[turn % 2], &plugin_truths[turn % 2], &random);
		pthread_mutex_unlock(&exit_handlers_busy);
		sched_yield();
	}
	return NULL;
}

enum ending { BY_EXIT, BY_IMMEDIATE_EXIT, BY_KILL, BY_EXEC, ENDINGS };

_Noreturn static void be_a_child(enum ending ending, uint64_t random)
{
	truth_begin_anew();
	for (int i = 0; i < CHILD_BLOCKS; i++) {
		struct held *const held = storm_child_block(random_size(&random));

		if (i % 2 == 0)
			let_go(held);
	}
	truth_print();
	switch (ending) {
	case BY_EXIT:
		exit(ending);
	case BY_KILL:
		(void)raise(SIGKILL);
		break;
	case BY_EXEC:
		(void)execl("/bin/true", "true", (char *)NULL);
		break;
	default:
		break;
	}
	_exit(ending);
}

static int status_of(enum ending ending)
{
	if (ending == BY_KILL)
		return SIGKILL;
	return W_EXITCODE(ending == BY_EXEC ? 0 : ending, 0);
}

static void have_a_child(unsigned int number)
{
	const enum ending ending = (enum ending)(number % ENDINGS);
	int status = -1;

	if (ending == BY_EXIT)
		pthread_mutex_lock(&exit_handlers_busy);
	const pid_t child = fork();
	if (child == 0)
		be_a_child(ending, number + 1);
	if (ending == BY_EXIT)
		pthread_mutex_unlock(&exit_handlers_busy);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	atomic_fetch_add(&errors, status != status_of(ending));
}

static void start(pthread_t *thread, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (pthread_create(thread, &attributes, body, argument) != 0)
		abort();
	pthread_attr_destroy(&attributes);
}

/* A thread's number is the seed of what it does. */
static unsigned int storm(void)
{
	pthread_t threads[THREADS];
	unsigned int number = 0;

	for (; number < THREADS; number++)
		start(&threads[number], live_a_life, (void *)(uintptr_t)(number + 1));
	for (; !is_over; number++) {
		pthread_join(threads[number % THREADS], NULL);
		start(&threads[number % THREADS], live_a_life, (void *)(uintptr_t)(number + 1));
		if (number % THREADS_PER_CHILD == 0)
			have_a_child(number / THREADS_PER_CHILD);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return number;
}

int main(int argc, char **argv)
{
	const struct sigaction action = { .sa_handler = end };
	pthread_t loader;

	if (argc != 3)
		return 2;
	(void)sigaction(SIGTERM, &action, NULL);
	truth_register(&plugin_truths[0]);
	truth_register(&plugin_truths[1]);
	start(&loader, load_and_unload, argv + 1);
	const unsigned int number = storm();
	pthread_join(loader, NULL);
	for (int i = 0; i < SLOTS; i++)
		let_go(atomic_exchange(&slots[i], NULL));
	truth_print();
	say("%u threads, %lu errors", number, atomic_load(&errors));
	return atomic_load(&errors) != 0;
}
