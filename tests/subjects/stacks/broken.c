// SPDX-License-Identifier: Apache-2.0
/*
 * broken MODE: allocations on stacks that are not what they seem.
 *	lies       through assembly without call-frame information, or with such that lies, while RBP holds
 *	           anything that could do harm (the functions of tests/unit/hand_written.S)
 *	overwritten  the outer frames hold other things while an inner one allocates, as after an overrun
 */
#include "tests/subjects/truth.h"
#include "tests/unit/hand_written.h"

#include <sys/mman.h>

enum { PAGE_BYTES = 4096, ROUNDS = 3000, OVERWRITTEN_WORDS = 256 };

TRUTH(under_lies)
static SITE struct block under_lies(size_t size)
{
	return truth_allocated(&truth_of_under_lies, malloc(size), size);
}

TRUTH(under_no_information)
static SITE struct block under_no_information(size_t size)
{
	return truth_allocated(&truth_of_under_no_information, malloc(size), size);
}

TRUTH(under_lost_pointer)
static SITE struct block under_lost_pointer(size_t size)
{
	return truth_allocated(&truth_of_under_lost_pointer, malloc(size), size);
}

TRUTH(under_overwritten)
static SITE struct block under_overwritten(size_t size)
{
	return truth_allocated(&truth_of_under_overwritten, malloc(size), size);
}

static void allocate_two(struct block (*site)(size_t))
{
	struct block block = site(10);

	truth_free(&block);
	(void)site(20);
}

static void visit_lies(void *unused)
{
	(void)unused;
	allocate_two(under_lies);
}

static void visit_no_information(void *unused)
{
	(void)unused;
	allocate_two(under_no_information);
}

static void visit_lost_pointer(void *unused)
{
	(void)unused;
	allocate_two(under_lost_pointer);
}

/* Four pages, of which the second and the fourth cannot be read, above the stacks of everybody. */
static uintptr_t make_holes(void)
{
	char *const pages = mmap(NULL, 4 * (size_t)PAGE_BYTES, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED || mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE) != 0 ||
	    munmap(pages + 3 * (size_t)PAGE_BYTES, PAGE_BYTES) != 0)
		abort();
	return (uintptr_t)pages;
}

static void run_lies(void)
{
	static uintptr_t circle[4] = { (uintptr_t)circle, (uintptr_t)hand_written_no_cfi + 8 };
	uintptr_t on_stack[4] = { (uintptr_t)on_stack, (uintptr_t)hand_written_no_cfi + 8 };
	uintptr_t outwards[4] = { (uintptr_t)&outwards[2], 1, UINT64_MAX - 7, 1 };
	const uintptr_t holes = make_holes();
	const uintptr_t values[] = {
		0,
		1,
		8,
		4095,
		4096,
		0x123457,
		holes,
		holes + PAGE_BYTES - 8, /* the second word of a frame is behind the edge */
		holes + PAGE_BYTES - 4,
		holes + PAGE_BYTES,
		holes + 3 * PAGE_BYTES - 8,
		holes + 3 * PAGE_BYTES,
		(uintptr_t)circle,
		(uintptr_t)on_stack,
		(uintptr_t)on_stack + 1,
		(uintptr_t)outwards,
		(uintptr_t)&outwards[1],
		(uintptr_t)environ, /* the outer end of this stack, and beyond */
		((uintptr_t)environ | (PAGE_BYTES - 1)) - 7,
		UINT64_C(0x00007ffffffff000),
		UINT64_C(0x00007ffffffffff8),
		UINT64_C(0x0000800000000000),
		UINT64_C(0x8000000000000000),
		UINT64_C(0xffffffffff600000), /* the page of vsyscalls */
		UINT64_MAX - 15,
		UINT64_MAX - 7,
		UINT64_MAX,
	};

	for (size_t index = 0; index < sizeof(values) / sizeof(values[0]); index++) {
		hand_written_lying_fp(visit_lies, NULL, values[index]);
		hand_written_no_cfi_no_fp(visit_no_information, NULL, values[index]);
		hand_written_lost_fp(visit_lost_pointer, NULL, values[index]);
	}
}

static uint64_t next_random(void)
{
	static uint64_t state = 1;

	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return state >> 16;
}

/* What could lie in a stack: text, numbers, addresses of the stack and around it, of code, of nothing. */
static uintptr_t make_word(uintptr_t near)
{
	const uint64_t random = next_random();

	switch (next_random() % 8) {
	case 0:
		return UINT64_C(0x4141414141414141);
	case 1:
		return random % 100;
	case 2:
		return near + random % 8192 * 8; /* outwards, perhaps beyond its end */
	case 3:
		return near + random % 4096 - 2048;
	case 4:
		return (uintptr_t)&snprintf + random % 65536;
	case 5:
		return (uintptr_t)&make_word + random % 1024;
	case 6:
		return random << 16 | random;
	default:
		return 0;
	}
}

/* Everything from the caller's frame outwards is something else for as long as the allocation takes. */
static SITE void allocate_below(uintptr_t *frame)
{
	static uintptr_t saved[OVERWRITTEN_WORDS];

	memcpy(saved, frame, sizeof(saved));
	for (int index = 0; index < OVERWRITTEN_WORDS; index++)
		frame[index] = make_word((uintptr_t)frame);
	allocate_two(under_overwritten);
	memcpy(frame, saved, sizeof(saved));
}

static SITE void overwrite_from_here(int depth)
{
	char room[OVERWRITTEN_WORDS * sizeof(uintptr_t)]; /* that there is enough stack to overwrite */

	__asm__ volatile("" : : "r"(room) : "memory");
	if (depth > 0)
		overwrite_from_here(depth - 1);
	else
		allocate_below(__builtin_frame_address(0));
	__asm__ volatile("" : : "r"(room) : "memory");
}

int main(int argc, char **argv)
{
	const char *const mode = argc == 2 ? argv[1] : "";

	if (strcmp(mode, "lies") == 0) {
		run_lies();
	} else if (strcmp(mode, "overwritten") == 0) {
		for (int round = 0; round < ROUNDS; round++)
			overwrite_from_here(1 + round % 3);
	} else {
		return 2;
	}
	truth_print();
	return 0;
}
