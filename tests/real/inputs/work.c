// SPDX-License-Identifier: Apache-2.0
// Forty functions for the passes of a compiler, and one to warn of.
#include <stdio.h>

#define WORK(number)                                                               \
	static int work_##number(int *values, int count)                           \
	{                                                                          \
		int sum = number;                                                  \
                                                                                   \
		for (int i = 0; i < count; i++) {                                  \
			for (int j = i; j > 0 && values[j - 1] > values[j]; j--) { \
				const int swapped = values[j];                     \
                                                                                   \
				values[j] = values[j - 1];                         \
				values[j - 1] = swapped;                           \
			}                                                          \
			sum = sum % 1000 * 31 + values[i] % number;                \
		}                                                                  \
		return sum < 0 ? printf("%d\n", sum) : sum;                        \
	}
#define CALL(number) sum += work_##number(values, 5);
#define TEN(what, ten)                                                                             \
	what(ten##0) what(ten##1) what(ten##2) what(ten##3) what(ten##4) what(ten##5) what(ten##6) \
		what(ten##7) what(ten##8) what(ten##9)
#define FORTY(what) TEN(what, 1) TEN(what, 2) TEN(what, 3) TEN(what, 4)

// clang-format off
FORTY(WORK)
// clang-format on

static void never_called(void)
{
}

int main(void)
{
	int values[] = { 5, 3, 1, 4, 2 };
	int sum = 0;

	FORTY(CALL)
	printf("%d\n", sum);
	return 3;
}
