// SPDX-License-Identifier: Apache-2.0
/*
 * generated: functions that are written into memory at run time, called, and unmapped, a thousand times over.
 * Each calls a function that allocates, and keeps RBP in its own way.
 */
#include "tests/subjects/truth.h"

#include <sys/mman.h>

enum { PAGE_BYTES = 4096, ROUNDS = 1000 };

TRUTH(with_frame_pointer)
static SITE struct block with_frame_pointer(void)
{
	return truth_allocated(&truth_of_with_frame_pointer, malloc(11), 11);
}

TRUTH(without_frame_pointer)
static SITE struct block without_frame_pointer(void)
{
	return truth_allocated(&truth_of_without_frame_pointer, malloc(12), 12);
}

TRUTH(with_a_number)
static SITE struct block with_a_number(void)
{
	return truth_allocated(&truth_of_with_a_number, malloc(13), 13);
}

TRUTH(with_its_own_address)
static SITE struct block with_its_own_address(void)
{
	return truth_allocated(&truth_of_with_its_own_address, malloc(14), 14);
}

#define CALLED(SITE_NAME)                         \
	static void called_##SITE_NAME(void)      \
	{                                         \
		static int round;                 \
		struct block block = SITE_NAME(); \
                                                  \
		if (round++ % 2 == 0)             \
			truth_free(&block);       \
	}
CALLED(with_frame_pointer)
CALLED(without_frame_pointer)
CALLED(with_a_number)
CALLED(with_its_own_address)

/* Each is void f(void (*called)(void)). */
static const struct {
	void (*called)(void);
	unsigned char code[24];
} functions[] = {
	/* push rbp; mov rbp, rsp; call rdi; pop rbp; ret */
	{ called_with_frame_pointer, { 0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3 } },
	/* sub rsp, 8; call rdi; add rsp, 8; ret */
	{ called_without_frame_pointer, { 0x48, 0x83, 0xec, 8, 0xff, 0xd7, 0x48, 0x83, 0xc4, 8, 0xc3 } },
	/* push rbp; mov ebp, 1000; call rdi; pop rbp; ret */
	{ called_with_a_number, { 0x55, 0xbd, 0xe8, 3, 0, 0, 0xff, 0xd7, 0x5d, 0xc3 } },
	/* push rbp; lea rbp, [rip]; call rdi; pop rbp; ret */
	{ called_with_its_own_address, { 0x55, 0x48, 0x8d, 0x2d, 0, 0, 0, 0, 0xff, 0xd7, 0x5d, 0xc3 } },
};
enum { FUNCTIONS = sizeof(functions) / sizeof(functions[0]) };

static SITE void run_generated(int round)
{
	char *const page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		abort();
	for (int index = 0; index < FUNCTIONS; index++) {
		/* Another place in the page each time, its very last bytes too. */
		char *const code = page + (PAGE_BYTES - sizeof(functions[0].code)) * (size_t)round / ROUNDS;
		void (*generated)(void (*called)(void));

		memcpy(code, functions[index].code, sizeof(functions[0].code));
		*(void **)&generated = code;
		generated(functions[index].called);
	}
	if (munmap(page, PAGE_BYTES) != 0)
		abort();
}

int main(void)
{
	for (int round = 1; round <= ROUNDS; round++)
		run_generated(round);
	truth_print();
	return 0;
}
