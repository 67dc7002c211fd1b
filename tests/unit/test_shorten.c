// SPDX-License-Identifier: Apache-2.0
/* Names made to fit. */
#include "tests/unit/check.h"
#include "tools/shorten.h"

#include <stdlib.h>

static const char insert[] =
	"std::map<int, std::vector<std::pair<int, long>>>::insert(std::pair<int, long>&&)";

static const struct {
	const char *name;
	size_t columns;
	const char *expected;
} rows[] = {
	{ "main", 30, "main" },
	{ "main", 4, "main" },
	{ insert, 100, insert },
	{ insert, 79, "std::map<int, std::vector<std::pair<...>>>::insert(std::pair<int, long>&&)" },
	{ insert, 64, "std::map<int, std::vector<...>>::insert(std::pair<int, long>&&)" },
	{ insert, 62, "std::map<...>::insert(std::pair<...>&&)" },
	{ insert, 40, "std::map<...>::insert(std::pair<...>&&)" },
	{ insert, 30, "std::map<...>::insert(...)" },
	{ insert, 20, "std::...:insert(...)" },
	/* brackets that are none */
	{ "operator<<(std::basic_ostream<char, std::char_traits<char>>&, A const&)", 50,
	  "operator<<(std::basic_ostream<...>&, A const&)" },
	{ "A<int, long, short>::operator>>(A<int, long, short>&)", 40, "A<...>::operator>>(A<...>&)" },
	{ "A<int, long, short>::operator()(int, long, short)", 30, "A<...>::operator()(...)" },
	{ "A<int, long, short>::operator-><int, char, B>()", 30, "A<...>::operator-><...>()" },
	{ "A<int, long, short>::operator<=>(B) const", 30, "A<...>::operator<=>(B) const" },
	{ "my_operator<int, long, short>::call(one_argument)", 40, "my_operator<...>::call(one_argument)" },
	{ "(anonymous namespace)::run(std::function<void (int)>)", 46,
	  "(anonymous namespace)::run(std::function<...>)" },
	{ "core::ops::function::FnOnce<fn(i32) -> alloc::vec::Vec<u8>>::call_once", 50,
	  "core::ops::function::FnOnce<...>::call_once" },
	/* brackets that do not match, and nothing to leave out */
	{ "broken<<<<<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 20, "broke...aaaaaaaaaaaa" },
	{ "broken>>>>>)))))aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 20, "broke...aaaaaaaaaaaa" },
	{ "a_function_of_c /a/long/way/to/the/source/of/it.c:1234", 30, "a_functio...ource/of/it.c:1234" },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaa", 3, "..." },
	{ "aa", 1, "aa" },
	{ "", 0, "" },
	/* characters, not bytes */
	{ "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xb6", 6,
	  "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xb6" },
	{ "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xb6", 5, "...\xc3\xa4\xc3\xb6" },
};

int main(void)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *const shortened = hm_shorten_name(rows[i].name, rows[i].columns);

		CHECK_STR(shortened, rows[i].expected);
		CHECK(hm_text_columns(shortened) <= rows[i].columns || strlen(rows[i].name) < 3);
		free(shortened);
	}
	CHECK_EQ(hm_text_columns("\xc2\xb1 5 %"), 5);
	return check_result();
}
