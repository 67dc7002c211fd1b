// SPDX-License-Identifier: Apache-2.0
/*
 * A ledger that stands still, of any bytes: ledger_input.h says what the input means (ticks are ignored), and
 * ledger_round.h what is demanded.
 */
#include "tests/fuzz/ledger_input.h"
#include "tests/fuzz/ledger_round.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size_bytes)
{
	struct ledger_input input;

	ledger_input_begin(&input, data, size_bytes);
	for (size_t i = 0; i < input.change_count; i++)
		ledger_input_change(input.bytes, &input.length_bytes, &input.changes[i]);

	uint8_t *const exact = malloc(input.length_bytes); /* a cut has left it longer */
	memcpy(exact, input.bytes, input.length_bytes);
	const struct hm_source source = hm_source_from_memory(exact, input.length_bytes);
	const bool accepted = ledger_round(&source, false);
	fuzz_require(ledger_round(&source, true) == accepted, "live samples do not decide what is a ledger");
	free(exact);
	ledger_input_end(&input);
	return 0;
}
