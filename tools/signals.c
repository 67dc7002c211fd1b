// SPDX-License-Identifier: Apache-2.0
#include "tools/signals.h"

sigset_t hm_signals_block(const int *numbers, size_t count)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	for (size_t i = 0; i < count; i++) {
		struct sigaction action = { .sa_handler = SIG_DFL };

		(void)sigaction(numbers[i], NULL, &action);
		if (action.sa_handler != SIG_IGN)
			(void)sigaddset(&signals, numbers[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	return signals;
}
