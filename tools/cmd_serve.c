// SPDX-License-Identifier: Apache-2.0
/* heapmark serve: a process, a ledger or a directory of them over HTTP, as Go's net/http/pprof. */
#include "tools/cli.h"
#include "tools/http_server.h"
#include "tools/input.h"
#include "tools/serve.h"
#include "tools/signals.h"
#include "tools/verb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OPTION_ALLOW_HOST = HM_OPTION_LONG_ONLY,
	OPTION_TOKEN_FILE,
	HOST_NAMES_MAX = 64,
	TOKEN_BYTES_MAX = 4096,
};

struct serve_options {
	const char *address;
	struct hm_host hosts[HOST_NAMES_MAX];
	const char *host_names[HOST_NAMES_MAX]; /* of these */
	size_t host_name_count;
	const char *token_file; /* NULL: none */
	char token[TOKEN_BYTES_MAX];
};

static bool add_host_name(struct serve_options *options, const char *name)
{
	struct hm_host *const host = &options->hosts[options->host_name_count];

	if (options->host_name_count == HOST_NAMES_MAX) {
		hm_fail("--allow-host: at most %d names", HOST_NAMES_MAX);
		return false;
	}
	if (!hm_host_parse(name, host) || host->name[0] == '\0' || host->has_port) {
		hm_fail("--allow-host %s: not the name of a host, without a port", name);
		return false;
	}
	options->host_names[options->host_name_count++] = host->name;
	return true;
}

static bool parse_options(const struct hm_verb *verb, int argc, char **argv,
			  struct serve_options *ret_options)
{
	int letter = 0;

	while ((letter = hm_verb_option(verb, argc, argv)) != -1) {
		if (letter == 'l')
			ret_options->address = optarg;
		else if (letter == OPTION_TOKEN_FILE)
			ret_options->token_file = optarg;
		else if (letter == OPTION_ALLOW_HOST && !add_host_name(ret_options, optarg))
			return false;
	}
	if (optind == argc) {
		hm_fail("there is no PID, LEDGER or DIR to serve");
		return false;
	}
	if (optind + 1 < argc) {
		hm_fail("only one PID, LEDGER or DIR can be served; a DIR is for many processes");
		return false;
	}
	return true;
}

static void warn_readable(const char *path, int descriptor)
{
	struct stat status;

	if (fstat(descriptor, &status) == 0 && (status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		hm_warn("--token-file %s: others may read it too; chmod 600 %s", path, path);
}

/* The first bytes of the file, which may be a pipe.  Returns how many, or a negative errno. */
static ssize_t read_file(const char *path, char *ret_bytes, size_t size_bytes)
{
	const int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t count = 0;
	ssize_t size = 0;

	if (descriptor < 0)
		return -errno;
	while (count < (ssize_t)size_bytes &&
	       (size = read(descriptor, ret_bytes + count, size_bytes - (size_t)count)) > 0)
		count += size;
	if (size < 0)
		count = -errno;
	else
		warn_readable(path, descriptor);
	(void)close(descriptor);
	return count;
}

static bool read_token(struct serve_options *options)
{
	static const char *const reasons[] = {
		[HM_TOKEN_EMPTY] = "its first line is empty, so there is no token in it",
		[HM_TOKEN_LONG] = "its first line is longer than a token may be",
		[HM_TOKEN_BAD] =
			"its first line has a blank, a NUL or another control character inside, which no "
			"token may have",
	};
	char bytes[TOKEN_BYTES_MAX];
	const ssize_t count = read_file(options->token_file, bytes, sizeof(bytes));

	if (count < 0) {
		hm_fail("--token-file %s: %s", options->token_file, strerror((int)-count));
		return false;
	}

	const enum hm_token token = hm_token_parse(bytes, (size_t)count, (size_t)count < sizeof(bytes),
						   options->token, sizeof(options->token));

	if (token != HM_TOKEN_FOUND)
		hm_fail("--token-file %s: %s", options->token_file, reasons[token]);
	return token == HM_TOKEN_FOUND;
}

/* "127.0.0.1:6060", "[::1]:6060". */
static void format_place(const char *name, unsigned int port, char *ret_text, size_t text_bytes)
{
	const bool is_ipv6 = strchr(name, ':') != NULL;

	(void)snprintf(ret_text, text_bytes, "%s%s%s:%u", is_ipv6 ? "[" : "", name, is_ipv6 ? "]" : "", port);
}

static void say_ready(const struct hm_serve *serve, const struct serve_options *options,
		      const struct hm_http_access *access)
{
	const struct hm_host *const address = &access->address;
	const bool is_directory = serve->targets.kind == HM_TARGETS_DIRECTORY;
	const char *const header = options->token_file != NULL ? "-H \"Authorization: Bearer TOKEN\" " : "";

	char place[HM_HOST_BYTES_MAX + 16];
	char origin[HM_HOST_BYTES_MAX + 32] = "http://";

	format_place(address->name, address->port, place, sizeof(place));
	format_place(access->is_any_address ? "localhost" : address->name, address->port,
		     origin + strlen(origin), sizeof(origin) - strlen(origin));
	if (!hm_host_is_loopback(address->name))
		hm_warn("%s can be reached from other machines: whoever does sees the program's functions "
			"and command line%s",
			place,
			options->token_file != NULL ? ", if he has the token" : "; consider --token-file");
	hm_say("serving %s at %s/", serve->targets.argument, origin);
	if (options->token_file != NULL)
		hm_next("curl %s-o heap.pb.gz \"%s/debug/pprof/heap%s\"", header, origin,
			is_directory ? "?pid=PID" : "");
	else
		hm_next("go tool pprof %s%s/debug/pprof/heap%s", is_directory ? "\"" : "", origin,
			is_directory ? "?pid=PID\"" : "");
	hm_next("curl %s%s/metrics", header, origin);
}

/* Every connection is a descriptor; the usual soft limit is 1024 for the sake of select(), not used here. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void explain_listen(const char *address, int error)
{
	if (error == -EINVAL) {
		hm_fail("-l %s: not an address with a port", address);
		hm_advise("heapmark serve -l 127.0.0.1:6060 ...");
	} else if (error == -EADDRINUSE) {
		hm_fail("-l %s: something else listens there already", address);
		hm_advise("heapmark serve -l 127.0.0.1:0 ... to have a free port chosen");
	} else {
		hm_fail("-l %s: %s", address, error == -ENOENT ? "there is no such host" : strerror(-error));
		hm_advise("heapmark serve -l 127.0.0.1:6060 ...");
	}
}

/* Serves until a signal comes.  Returns an exit status. */
static int serve_until_signal(struct hm_serve *serve, const struct serve_options *options)
{
	struct hm_http_options http = {
		.routes = hm_serve_routes,
		.access = { .host_names = options->host_names,
			    .host_name_count = options->host_name_count,
			    .token = options->token_file != NULL ? options->token : NULL },
		.context = serve,
	};
	static const int ending[] = { SIGINT, SIGTERM, SIGHUP };
	struct hm_http_server *server = NULL;
	int descriptor = -1;
	int signal_number = 0;
	int error = hm_http_listen(options->address, &descriptor, &http.access.address,
				   &http.access.is_any_address);

	if (error != 0) {
		explain_listen(options->address, error);
		return HM_EXIT_USAGE;
	}
	const sigset_t signals = hm_signals_block(ending, sizeof(ending) / sizeof(ending[0]));
	(void)signal(SIGPIPE, SIG_IGN);
	raise_descriptor_limit();
	error = hm_http_start(&http, descriptor, &server);
	if (error != 0) {
		hm_fail("the server cannot be started: %s", strerror(-error));
		return HM_EXIT_USAGE;
	}
	say_ready(serve, options, &http.access);
	while (sigwait(&signals, &signal_number) != 0)
		;
	hm_http_stop(server);
	hm_say("ended by signal %d, after %" PRIu64 " profiles", signal_number,
	       atomic_load_explicit(&serve->dump_count, memory_order_relaxed));
	return HM_EXIT_DONE;
}

static int serve_main(const struct hm_verb *verb, int argc, char **argv)
{
	static struct serve_options options = { .address = "127.0.0.1:6060" }; /* static: large */
	static struct hm_serve serve;

	if (!parse_options(verb, argc, argv, &options))
		return hm_verb_usage(verb);
	if (options.token_file != NULL && !read_token(&options))
		return HM_EXIT_USAGE;

	const char *const argument = argv[optind];
	const int error = hm_targets_init(&serve.targets, argument);

	if (error == -EMEDIUMTYPE) {
		hm_fail("%s: not a ledger, and profiles are served by pprof", argument);
		hm_advise("go tool pprof -http=: %s", argument);
		return HM_EXIT_USAGE;
	}
	if (error != 0) {
		hm_input_explain(verb->name, argument, error);
		return HM_EXIT_USAGE;
	}
	hm_symbols_init(&serve.symbols);
	hm_allocators_init(&serve.allocators);

	const int status = serve_until_signal(&serve, &options);

	hm_serve_baselines_done(&serve);
	hm_symbols_done(&serve.symbols);
	hm_allocators_done(&serve.allocators);
	hm_targets_done(&serve.targets);
	return status;
}

static const struct hm_option serve_options[] = {
	{ 'l', "listen", "ADDR:PORT",
	  "where to listen (default 127.0.0.1:6060); port 0: a free one, which is\nprinted; no ADDR: all "
	  "addresses" },
	{ OPTION_ALLOW_HOST, "allow-host", "NAME",
	  "answer to this name too; only the address and names of the loopback\nare known otherwise" },
	{ OPTION_TOKEN_FILE, "token-file", "FILE",
	  "answer only who sends \"Authorization: Bearer TOKEN\", TOKEN being the\nfile's first line" },
	{ 0 },
};

const struct hm_verb hm_verb_serve = {
	.name = "serve",
	.summary = "serves profiles, metrics and variables over HTTP, as Go's net/http/pprof",
	.synopsis = "[-l ADDR:PORT] [--allow-host NAME] [--token-file FILE] PID|LEDGER|DIR",
	.text = "Serves a process, a ledger, or the ledgers of a directory as they come and go.  Nothing of "
		"it "
		"runs in\n"
		"the process.\n"
		"  /debug/pprof/heap, allocs   profiles; ?seconds=N: the difference over N seconds; "
		"?debug=1: text\n"
		"  /debug/pprof/delta_heap     what was allocated since the last call\n"
		"  /debug/pprof/threads        threads, and where they wait\n"
		"  /debug/vars                 JSON, as Go's expvar\n"
		"  /metrics                    for Prometheus\n"
		"  /                           the processes; ?pid=N chooses one\n"
		"Ends with SIGINT or SIGTERM.",
	.options = serve_options,
	.usage_status = HM_EXIT_USAGE,
	.main = serve_main,
};
