// SPDX-License-Identifier: Apache-2.0
/*
 * An HTTP server for a table of paths, by libmicrohttpd: what is the same whatever is served.
 *
 * One thread speaks to all clients and never waits for anything; two workers make the answers, one request
 * at a time each, while the request's connection is suspended.  One worker is for what takes long, so that a
 * page is answered while names are looked up for a profile.  A fourth thread watches what those do not see:
 * that a client takes too long, and that one has gone away while its connection is suspended.
 *
 * What nobody can exceed, each with an answer that says so:
 *	HM_HTTP_CONNECTIONS_MAX     connections; further ones wait in the kernel until one ends
 *	HM_HTTP_HEADER_BYTES_MAX    request line and headers together (431 or 414)
 *	HM_HTTP_BODY_BYTES_MAX      a request's body (413); only that of a POST is kept
 *	HM_HTTP_BODIES_BYTES_MAX    bodies of which the answer is not made yet, all together (503)
 *	HM_HTTP_JOBS_MAX            requests that a worker has before it, those that wait for their time
 *	                            included (503)
 *	HM_HTTP_ANSWER_BYTES_MAX    answers that clients have not taken yet, all together (503)
 *	HM_HTTP_TIMEOUT_SECONDS     a connection on which nothing moves is closed
 *	HM_HTTP_REQUEST_SECONDS     a request has to be there, its body included, so long after the connection
 *	                            was made, or after the last answer on it; else it is closed
 *	HM_HTTP_ANSWER_SECONDS      an answer has to be taken in this time, and a second more for each
 *	                            HM_HTTP_ANSWER_RATE_BYTES of it; else its connection is closed
 */
#ifndef HM_TOOLS_HTTP_SERVER_H
#define HM_TOOLS_HTTP_SERVER_H

#include "tools/http_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
	HM_HTTP_CONNECTIONS_MAX = 1024,
	HM_HTTP_HEADER_BYTES_MAX = 32 << 10,
	HM_HTTP_BODY_BYTES_MAX = 1 << 20,
	HM_HTTP_BODIES_BYTES_MAX = 16 << 20,
	HM_HTTP_JOBS_MAX = 128,
	HM_HTTP_ANSWER_BYTES_MAX = 256 << 20,
	HM_HTTP_TIMEOUT_SECONDS = 15,
	HM_HTTP_REQUEST_SECONDS = 30, /* twice the silence that is allowed */
	HM_HTTP_ANSWER_SECONDS = 60,
	HM_HTTP_ANSWER_RATE_BYTES = 16 << 10, /* a modem's; what is slower holds a connection for its sake */
};

enum hm_http_method { HM_HTTP_GET = 1, HM_HTTP_HEAD = 2, HM_HTTP_POST = 4 };

struct hm_http_request {
	enum hm_http_method method;
	const char *path;  /* decoded */
	const char *query; /* as it was sent */
	const char *host;  /* what it was sent to, which has been checked; "" where that is not said */
	const char *body;  /* terminated; body_bytes without the terminator */
	size_t body_bytes;
};

struct hm_http_answer {
	unsigned int status;
	const char *content_type; /* static text */
	const char *file_name; /* static text: the client is to save it under this name; NULL: to show it */
	bool is_pprof_error;   /* go tool pprof prints the text of such an error, not of others */
	char *body;            /* owned; from malloc */
	size_t body_bytes;
	char *location; /* owned; from malloc; NULL: none */
};

/* A request while a worker has it. */
struct hm_http_job {
	struct hm_http_request request;
	struct hm_http_answer answer;
	/*
	 * What `work` leaves for its next call, and how that is given back where there is none because the
	 * server ends, or because the client has gone away meanwhile.
	 */
	void *kept;
	void (*release)(void *kept);
};

enum hm_http_worker { HM_HTTP_QUICK, HM_HTTP_LONG, HM_HTTP_WORKERS };

struct hm_http_route {
	const char *path; /* the whole path; one that ends with '*' is for all that begin so */
	unsigned int methods;
	enum hm_http_worker worker;
	/*
	 * Makes the answer, and returns 0; or returns after how many nanoseconds it wants to be called again
	 * for the same job.  One job at a time for each worker.
	 */
	uint64_t (*work)(void *context, struct hm_http_job *job);
};

struct hm_http_access {
	struct hm_host address;        /* where it listens; the name an IP address */
	bool is_any_address;           /* all of the machine's: then each that a client reached is good */
	const char *const *host_names; /* borrowed: further names that it may be called by */
	size_t host_name_count;
	const char *token; /* borrowed; NULL: none is needed */
};

struct hm_http_options {
	/*
	 * Borrowed; the first that fits; ended by path NULL.  As in Go's mux, who asks for "/a//b", "/a/./b" or
	 * "/x/../a/b" is sent on to "/a/b" where that is a route, and to "/a/b/" where only that is one.
	 */
	const struct hm_http_route *routes;
	struct hm_http_access access;
	void *context; /* borrowed by the routes */
};

struct hm_http_server;

/*
 * Begins to listen.  `text` is an address as hm_host_parse takes it; an empty name, or "[::]", is every
 * address, of IPv4 and of IPv6.  Where there is no IPv6 an empty name is every one of IPv4.
 * On success *ret_descriptor is the caller's, and *ret_address says where it really listens.
 * Returns 0, -EINVAL where `text` is no address, -ENOENT where the name is not known, or a negative errno.
 */
int hm_http_listen(const char *text, int *ret_descriptor, struct hm_host *ret_address, bool *ret_is_any);

/*
 * Serves on the listening socket, which it takes over, until hm_http_stop.  Signals that are blocked stay so
 * in its threads.  Returns 0 or a negative errno.
 */
int hm_http_start(const struct hm_http_options *options, int descriptor, struct hm_http_server **ret_server);

/* Answers what is under way with 503 and ends. */
void hm_http_stop(struct hm_http_server *server);

/* An answer of text, for people and for pprof.  The status is an error's from 400 on. */
void hm_http_say(struct hm_http_answer *answer, unsigned int status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* An answer that takes over `body`, from malloc. */
void hm_http_give(struct hm_http_answer *answer, const char *content_type, void *body, size_t body_bytes);

#endif
