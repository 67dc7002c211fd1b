// SPDX-License-Identifier: Apache-2.0
/* A ledger all the way: snapshot, profile, the profile read back and checked. */
#ifndef HM_TESTS_FUZZ_LEDGER_ROUND_H
#define HM_TESTS_FUZZ_LEDGER_ROUND_H

#include "proto/source.h"

#include <stdbool.h>

/*
 * Takes a snapshot and, where the ledger is accepted, demands
 *   - of the snapshot that nothing in it leads outside of it, and no more is in use than was allocated;
 *   - of the profile made of it that it can be read and breaks no rule: with names where live samples are
 *     asked for, else with addresses only;
 *   - memory in proportion to the length of the source.
 * Returns whether it was accepted.
 */
bool ledger_round(const struct hm_source *source, bool live_samples);

#endif
