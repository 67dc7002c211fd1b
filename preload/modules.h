// SPDX-License-Identifier: Apache-2.0
/*
 * Loaded objects: which executable segment an instruction belongs to.
 *
 * Objects are met lazily: when a rule in one is compiled, the loader tells which object the address lies in
 * (_dl_find_object, which takes no lock) and the object's own headers in memory tell the rest.  The loader's
 * list is never walked, so neither dlopen nor a loader that is busy in another thread concerns us.
 *
 * The table is private memory, so that a fork child keeps the numbers that its rules contain; every entry is
 * also written into the ledger of the process (struct hm_ledger_module), under the same number.
 *
 * All functions are called with the lock of the unwind rules held (unwind_rules.h), and never otherwise;
 * they allocate nothing from the program's heap and keep errno.
 */
#ifndef HM_PRELOAD_MODULES_H
#define HM_PRELOAD_MODULES_H

#include <stdbool.h>
#include <stdint.h>

struct hm_ledger_file;

struct hm_module_found {
	uint32_t module_index; /* 1..HM_MODULES_MAX; 0: none */

	/* Addresses at which another object was when they were last looked at: what was learnt there is void.
	 * Empty in all but the rarest case, an object that vanished without dlclose being called. */
	uintptr_t stale_start;
	uintptr_t stale_end;
};

/*
 * Finds the executable segment that contains `pc` and enters it where it is new.  module_index is 0 where
 * there is none (JIT code, a corrupted stack), or where the table is full (counted in HM_LOSS_MODULES, once
 * for each call).
 */
struct hm_module_found hm_module_find(uintptr_t pc);

/*
 * The number of the module that contains `pc`, where it was met before and nothing speaks against its being
 * there still; 0 otherwise.  Makes no system call.
 */
uint32_t hm_module_find_known(uintptr_t pc);

/*
 * From now on `ledger` (borrowed; outlives its use here) receives every module, those already known at once.
 * NULL: none does.
 */
void hm_modules_attach(struct hm_ledger_file *ledger);

/*
 * Around dlclose: of all modules but the permanent ones it is no longer taken for granted that they are still
 * there. The next look at each is a close one, and an object that is found where it was is given its old
 * number.
 */
void hm_modules_doubt(void);

/* Whether a module can never be unloaded: the program, the C library, the loader, ourselves. */
bool hm_module_is_permanent(uint32_t module_index);

#endif
