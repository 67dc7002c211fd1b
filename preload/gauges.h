// SPDX-License-Identifier: Apache-2.0
/*
 * Named numbers that the program publishes (struct hm_ledger_gauge): what Go's expvar is for.
 *
 * A gauge is found by its name, among the first that were set; the table is filled from the front and
 * nothing leaves it.  Any thread, lock-free.
 */
#ifndef HM_PRELOAD_GAUGES_H
#define HM_PRELOAD_GAUGES_H

struct hm_ledger_file;

/* Sets a gauge, made where it is new.  A full table or a long name is counted in HM_LOSS_GAUGES. */
void hm_gauge_set(const struct hm_ledger_file *ledger, const char *name, double value);

#endif
