// SPDX-License-Identifier: Apache-2.0
/*
 * A ledger as the input of a harness: a file to begin with, and changes to it.
 *
 * A ledger of few stacks is nine tenths zeros, and random bytes hardly ever lead anywhere in it; so an input
 * is not the file itself:
 *
 *	byte 0       what the file begins as, modulo HM_LEDGER_INPUT_KINDS
 *	bytes 1-2    its length in units of 64 bytes, at most LEDGER_INPUT_UNITS_MAX; 0: its own
 *	then changes, 6 bytes and what they write:
 *	byte 0       what the place means: see enum ledger_input_place
 *	byte 1       the tick at which it happens: see fuzz_changing.c; fuzz_ledger.c has no ticks
 *	byte 2       how many bytes it writes; 0: the file is cut off at the place
 *	bytes 3-5    the place
 *
 * Any ledger can be said in this way: `pack_ledger LEDGER >INPUT` does it.
 */
#ifndef HM_TESTS_FUZZ_LEDGER_INPUT_H
#define HM_TESTS_FUZZ_LEDGER_INPUT_H

#include "tests/fuzz/fuzz.h"

enum { LEDGER_INPUT_UNITS_MAX = 4096 };

enum ledger_input_kind {
	LEDGER_INPUT_ZEROS, /* 24 KiB of zeros, if no length is given */
	LEDGER_INPUT_EMPTY, /* a ledger without any sample */
	LEDGER_INPUT_SMALL, /* a ledger with one of everything */
	LEDGER_INPUT_KINDS,
};

enum ledger_input_place {
	LEDGER_INPUT_OFFSET, /* in bytes from the start of the file */
	LEDGER_INPUT_WORD, /* so many words of 8 bytes that are not zero come before it in the file begun with
			    */
	LEDGER_INPUT_HEADER, /* in bytes, modulo 512: identity, counters */
	LEDGER_INPUT_PLACES,
};

/* One change, taken out of the input. */
struct ledger_change {
	uint8_t tick;
	uint8_t size_bytes;
	uint64_t offset;
	const uint8_t *bytes; /* borrowed from the input */
};

struct ledger_input {
	uint8_t *bytes; /* owned; no longer than length_bytes, so that the sanitizer sees its end */
	uint64_t length_bytes;
	struct ledger_change *changes; /* owned; in the order of the input */
	size_t change_count;
};

void ledger_input_begin(struct ledger_input *ret_input, const uint8_t *data, size_t size_bytes);
void ledger_input_end(struct ledger_input *input);

/* Makes a change; one that begins beyond the file's end makes none.  *length_bytes gets smaller by a cut. */
void ledger_input_change(uint8_t *bytes, uint64_t *length_bytes, const struct ledger_change *change);

#endif
