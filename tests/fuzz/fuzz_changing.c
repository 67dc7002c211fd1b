// SPDX-License-Identifier: Apache-2.0
/*
 * A ledger that changes while it is read: ledger_input.h says what the input means, ledger_round.h what is
 * demanded.
 *
 * A writer that runs beside the reader would make every run another one.  Here the source itself changes the
 * bytes: it copies each reading in two halves and counts a tick before each of them; a change is made when
 * its tick comes, so between two looks at one place as well as in the middle of a look.  Ticks begin at 0,
 * which is before anything was read; a cut makes later readings shorter, and what a source said about its
 * length stays said.
 */
#include "tests/fuzz/ledger_input.h"
#include "tests/fuzz/ledger_round.h"

#include <string.h>

struct changing {
	struct ledger_input *input; /* borrowed */
	uint64_t length_bytes;      /* now */
	uint32_t tick;
};

static void make_changes(struct changing *changing)
{
	for (size_t i = 0; i < changing->input->change_count; i++) {
		if (changing->input->changes[i].tick == changing->tick)
			ledger_input_change(changing->input->bytes, &changing->length_bytes,
					    &changing->input->changes[i]);
	}
	changing->tick++;
}

/* Up to size_bytes at `offset`, as many as are there now. */
static size_t copy(const struct changing *changing, uint64_t offset, uint8_t *buffer, size_t size_bytes)
{
	if (offset >= changing->length_bytes)
		return 0;
	if (size_bytes > changing->length_bytes - offset)
		size_bytes = (size_t)(changing->length_bytes - offset);
	memcpy(buffer, changing->input->bytes + offset, size_bytes);
	return size_bytes;
}

static int64_t read_changing(const struct hm_source *source, uint64_t offset, void *buffer, size_t size_bytes)
{
	struct changing *const changing = *(struct changing *const *)source->context;
	const size_t half = size_bytes / 16 * 8; /* words are copied whole */

	fuzz_require(offset <= source->length_bytes && size_bytes <= source->length_bytes - offset,
		     "nothing is read beyond the length that the source has told");
	make_changes(changing);
	const size_t first = copy(changing, offset, buffer, half);
	make_changes(changing);
	if (first < half)
		return (int64_t)first;
	return (int64_t)(half + copy(changing, offset + half, (uint8_t *)buffer + half, size_bytes - half));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct ledger_input input;

	ledger_input_begin(&input, data, size_bytes);
	struct changing changing = { .input = &input, .length_bytes = input.length_bytes };
	struct changing *const context = &changing;
	const struct hm_source source = { .read = read_changing,
					  .length_bytes = input.length_bytes,
					  .context = &context,
					  .descriptor = -1 };
	ledger_round(&source, true);
	ledger_input_end(&input);
	return 0;
}
