// SPDX-License-Identifier: Apache-2.0
#include "tools/nearest.h"

#include <string.h>

enum { WORD_MAX = 32 }; /* names here are short; longer words are not misspellings of them */

static size_t min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * The number of edits between two words.  rows[i][j] is that of the first i characters of `a` and the first
 * j of `b`; it follows from the three rows' neighbours, and from two rows up where characters changed places.
 */
static size_t edit_distance(const char *a, const char *b)
{
	size_t rows[WORD_MAX + 1][WORD_MAX + 1];
	const size_t a_length = strlen(a);
	const size_t b_length = strlen(b);

	for (size_t i = 0; i <= a_length; i++)
		rows[i][0] = i;
	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		for (size_t j = 1; j <= b_length; j++) {
			const size_t replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			rows[i][j] = min_size(replaced, min_size(rows[i - 1][j], rows[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				rows[i][j] = min_size(rows[i][j], rows[i - 2][j - 2] + 1);
		}
	}
	return rows[a_length][b_length];
}

const char *hm_nearest(const char *word, const char *const *candidates, size_t candidate_count)
{
	const size_t word_length = strlen(word);
	const char *best = NULL;
	size_t best_distance = (word_length + 2) / 3 + 1;

	if (word_length == 0 || word_length > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < candidate_count; i++) {
		if (strlen(candidates[i]) > WORD_MAX)
			continue;

		const size_t distance = strncmp(candidates[i], word, word_length) == 0
						? 0
						: edit_distance(word, candidates[i]);

		if (distance < best_distance) {
			best = candidates[i];
			best_distance = distance;
		}
	}
	return best;
}
