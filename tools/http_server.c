// SPDX-License-Identifier: Apache-2.0
#include "tools/http_server.h"

#include "tools/http_connections.h"
#include "tools/http_worker.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	PATH_BYTES_MAX = 4096,
	LOCATION_BYTES_MAX = 8192,
	HOST_BYTES_MAX = HM_HOST_BYTES_MAX + 8, /* with brackets and a port */
};

struct hm_http_server {
	struct hm_http_options options;
	struct MHD_Daemon *daemon;
	struct hm_worker workers[HM_HTTP_WORKERS];
	struct hm_connections connections;
	/* relaxed: a count; an answer that is let through at the limit does no harm */
	_Atomic size_t answer_bytes;
	size_t bodies_bytes; /* what all bodies have room for; of the daemon's thread alone */
};

enum stage { STAGE_HEADERS, STAGE_BODY, STAGE_WORKING, STAGE_DONE };

/* One request and its answer, from its first line until it has gone. */
struct exchange {
	struct hm_work work; /* first: a worker's pointer to it is one to the exchange */
	struct hm_http_job job;
	struct hm_http_server *server;     /* borrowed */
	const struct hm_http_route *route; /* borrowed; NULL: none */
	struct MHD_Connection *connection; /* borrowed */
	struct hm_connection *watched;     /* borrowed: the same, as hm_connections knows it */
	char *target;                      /* owned */
	const char *local_target;          /* points into it: without the authority */
	char *body;                        /* owned; of body_room bytes */
	size_t body_room;
	size_t answer_bytes; /* that are counted in the server */
	enum stage stage;    /* written by a worker before it resumes the connection, else by its thread */
	char host[HOST_BYTES_MAX];      /* the header */
	char authority[HOST_BYTES_MAX]; /* of a target in absolute form; else "" */
	char path[PATH_BYTES_MAX];
};

/* ---- answers -------------------------------------------------------------------------------------- */

void hm_http_give(struct hm_http_answer *answer, const char *content_type, void *body, size_t body_bytes)
{
	free(answer->body);
	free(answer->location);
	*answer = (struct hm_http_answer){
		.status = MHD_HTTP_OK,
		.content_type = content_type,
		.body = body,
		.body_bytes = body_bytes,
	};
}

void hm_http_say(struct hm_http_answer *answer, unsigned int status, const char *format, ...)
{
	va_list arguments;
	char *line = NULL;
	char *text = NULL;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);

	const int length = line != NULL ? asprintf(&text, "%s\n", line) : -1;

	free(line);
	if (length < 0)
		text = NULL;
	hm_http_give(answer, "text/plain; charset=utf-8", text, length > 0 ? (size_t)length : 0);
	answer->status = status;
	answer->is_pprof_error = status >= 400;
}

static void drop_body(struct exchange *exchange)
{
	free(exchange->body);
	exchange->body = NULL;
	exchange->server->bodies_bytes -= exchange->body_room;
	exchange->body_room = 0;
}

static void add_headers(struct MHD_Response *response, const struct exchange *exchange)
{
	const struct hm_http_answer *const answer = &exchange->job.answer;
	char disposition[128];

	(void)MHD_add_response_header(response, "Content-Type", answer->content_type);
	(void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	if (answer->is_pprof_error)
		(void)MHD_add_response_header(response, "X-Go-Pprof", "1");
	if (answer->status == MHD_HTTP_UNAUTHORIZED)
		(void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"heapmark\"");
	if (answer->status == MHD_HTTP_SERVICE_UNAVAILABLE)
		(void)MHD_add_response_header(response, "Retry-After", "1");
	if (answer->status == MHD_HTTP_METHOD_NOT_ALLOWED)
		(void)MHD_add_response_header(response, "Allow",
					      exchange->route != NULL &&
							      (exchange->route->methods & HM_HTTP_POST) != 0
						      ? "GET, HEAD, POST"
						      : "GET, HEAD");
	if (answer->location != NULL)
		(void)MHD_add_response_header(response, "Location", answer->location);
	if (answer->file_name != NULL) {
		(void)snprintf(disposition, sizeof(disposition), "attachment; filename=\"%s\"",
			       answer->file_name);
		(void)MHD_add_response_header(response, "Content-Disposition", disposition);
	}
}

static enum MHD_Result send_answer(struct exchange *exchange)
{
	struct hm_http_server *const server = exchange->server;
	struct hm_http_answer *const answer = &exchange->job.answer;
	const size_t before = atomic_load_explicit(&server->answer_bytes, memory_order_relaxed);

	drop_body(exchange); /* it has been read */
	if (answer->body_bytes >
	    HM_HTTP_ANSWER_BYTES_MAX -
		    (before < HM_HTTP_ANSWER_BYTES_MAX ? before : HM_HTTP_ANSWER_BYTES_MAX))
		hm_http_say(
			answer, MHD_HTTP_SERVICE_UNAVAILABLE,
			"clients have not taken %zu MiB of answers yet, so there is no room for this one; "
			"try again",
			before >> 20);

	struct MHD_Response *const response =
		MHD_create_response_from_buffer(answer->body_bytes, answer->body, MHD_RESPMEM_MUST_FREE);

	if (response == NULL)
		return MHD_NO;
	answer->body = NULL; /* the response has it */
	exchange->answer_bytes = answer->body_bytes;
	(void)atomic_fetch_add_explicit(&server->answer_bytes, answer->body_bytes, memory_order_relaxed);
	add_headers(response, exchange);
	hm_connections_allow(&server->connections, exchange->watched,
			     HM_HTTP_ANSWER_SECONDS +
				     (unsigned int)(answer->body_bytes / HM_HTTP_ANSWER_RATE_BYTES));
	/* The library looks at whether it can send, which it cannot for long where a slow client takes a
	 * buffer of megabytes: that is no silence. */
	(void)MHD_set_connection_option(exchange->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0U);

	const enum MHD_Result result = MHD_queue_response(exchange->connection, answer->status, response);

	MHD_destroy_response(response);
	return result;
}

/* ---- who may ask ---------------------------------------------------------------------------------- */

static const char *header_of(const struct exchange *exchange, const char *name)
{
	const char *const value = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);

	return value != NULL ? value : "";
}

static enum MHD_Result count_host(void *context, enum MHD_ValueKind kind, const char *key, const char *value)
{
	(void)kind;
	(void)value;
	*(unsigned int *)context += strcasecmp(key, "Host") == 0;
	return MHD_YES;
}

/* The address of this machine that the client has reached: it can be named, as an address, without doubt. */
static bool is_address_reached(const struct exchange *exchange, const char *name)
{
	const union MHD_ConnectionInfo *const info =
		MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char text[NI_MAXHOST];

	return info != NULL && getsockname(info->connect_fd, (struct sockaddr *)&address, &size) == 0 &&
	       getnameinfo((const struct sockaddr *)&address, size, text, sizeof(text), NULL, 0,
			   NI_NUMERICHOST) == 0 &&
	       hm_host_is_same(name, text);
}

/*
 * A page of somebody else's can make a browser ask us under its own name, if that name is made to resolve to
 * our address.  What the browser then sends as Host is that name.
 */
static bool is_host_known(const struct exchange *exchange, const char *name)
{
	const struct hm_http_access *const access = &exchange->server->options.access;

	if (hm_host_is_loopback(name) || hm_host_is_same(name, access->address.name))
		return true;
	for (size_t i = 0; i < access->host_name_count; i++)
		if (hm_host_is_same(name, access->host_names[i]))
			return true;
	if (!access->is_any_address)
		return false;
	/* the addresses for all of them, which a client may name to reach this machine */
	return hm_host_is_same(name, "0.0.0.0") || hm_host_is_same(name, "::") ||
	       is_address_reached(exchange, name);
}

static bool check_name(struct exchange *exchange, const char *text)
{
	struct hm_http_answer *const answer = &exchange->job.answer;
	struct hm_host host;

	if (!hm_host_parse(text, &host) || host.name[0] == '\0') {
		hm_http_say(answer, MHD_HTTP_BAD_REQUEST, "the request needs one Host header, with a name");
		return false;
	}
	if (!is_host_known(exchange, host.name)) {
		hm_http_say(answer, MHD_HTTP_FORBIDDEN,
			    "not served under the name %s, as a page of somebody else's could ask for it; "
			    "start the server with: heapmark serve --allow-host %s ...",
			    host.name, host.name);
		return false;
	}
	exchange->job.request.host = text;
	return true;
}

/*
 * The Host header has to be there but in HTTP/1.0, which no browser speaks.  A target that says where it goes
 * itself overrides it; nobody has to be sure which of them a browser lets a page choose, so both are judged.
 */
static bool check_host(struct exchange *exchange, const char *version)
{
	struct hm_http_answer *const answer = &exchange->job.answer;
	unsigned int count = 0;

	(void)MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, count_host, &count);
	if (count > 1 || (count == 0 && strcmp(version, "HTTP/1.0") != 0) ||
	    !hm_http_trim(header_of(exchange, "Host"), exchange->host, sizeof(exchange->host))) {
		hm_http_say(answer, MHD_HTTP_BAD_REQUEST, "the request needs one Host header, with a name");
		return false;
	}
	if (count == 1 && !check_name(exchange, exchange->host))
		return false;
	if (!hm_http_target(exchange->target, exchange->authority, sizeof(exchange->authority),
			    &exchange->local_target)) {
		hm_http_say(answer, MHD_HTTP_BAD_REQUEST, "the path cannot be understood");
		return false;
	}
	return exchange->authority[0] == '\0' || check_name(exchange, exchange->authority);
}

static bool check_token(struct exchange *exchange)
{
	const char *const token = exchange->server->options.access.token;

	if (token == NULL || hm_bearer_matches(header_of(exchange, "Authorization"), token))
		return true;
	hm_http_say(&exchange->job.answer, MHD_HTTP_UNAUTHORIZED,
		    "a token is needed: curl -H \"Authorization: Bearer $(cat TOKEN-FILE)\" ...");
	return false;
}

/* ---- what is asked -------------------------------------------------------------------------------- */

static bool is_path_of(const struct hm_http_route *route, const char *path)
{
	const size_t length = strlen(route->path);

	if (length > 0 && route->path[length - 1] == '*')
		return strncmp(path, route->path, length - 1) == 0;
	return strcmp(path, route->path) == 0;
}

static const struct hm_http_route *route_of(const struct exchange *exchange, const char *path)
{
	const struct hm_http_route *route = exchange->server->options.routes;

	while (route->path != NULL && !is_path_of(route, path))
		route++;
	return route->path != NULL ? route : NULL;
}

/* Whether the path is another spelling of one that there is: the answer then sends the client there. */
static bool send_on(struct exchange *exchange)
{
	struct hm_http_answer *const answer = &exchange->job.answer;
	char clean[PATH_BYTES_MAX + 1];
	bool is_other = hm_http_clean_path(exchange->path, clean);

	if (route_of(exchange, clean) == NULL) {
		strcat(clean, "/");
		is_other = true;
	}
	if (!is_other || route_of(exchange, clean) == NULL)
		return false;

	char *const location = malloc(LOCATION_BYTES_MAX);

	if (location == NULL ||
	    !hm_http_location(clean, exchange->job.request.query, location, LOCATION_BYTES_MAX)) {
		free(location);
		hm_http_say(answer, MHD_HTTP_URI_TOO_LONG, "this is at another path, and the query too long");
		return true;
	}
	hm_http_say(answer, MHD_HTTP_MOVED_PERMANENTLY, "this is at %s", location);
	answer->location = location;
	return true;
}

static enum hm_http_method method_of(const char *name)
{
	static const struct {
		const char *name;
		enum hm_http_method method;
	} methods[] = { { "GET", HM_HTTP_GET }, { "HEAD", HM_HTTP_HEAD }, { "POST", HM_HTTP_POST } };

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(name, methods[i].name) == 0)
			return methods[i].method;
	return 0;
}

static bool find_route(struct exchange *exchange, const char *method)
{
	struct hm_http_request *const request = &exchange->job.request;
	struct hm_http_answer *const answer = &exchange->job.answer;

	if (!hm_http_path(exchange->local_target, exchange->path, sizeof(exchange->path))) {
		hm_http_say(answer, MHD_HTTP_BAD_REQUEST, "the path cannot be understood");
		return false;
	}
	request->path = exchange->path;
	request->query = hm_http_query(exchange->local_target);
	if (send_on(exchange))
		return false;
	exchange->route = route_of(exchange, request->path);
	if (exchange->route == NULL) {
		hm_http_say(answer, MHD_HTTP_NOT_FOUND, "nothing is here; / lists what is");
		return false;
	}
	request->method = method_of(method);
	if ((exchange->route->methods & request->method) == 0) {
		hm_http_say(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "only %s here",
			    (exchange->route->methods & HM_HTTP_POST) != 0 ? "GET, HEAD and POST"
									   : "GET and HEAD");
		return false;
	}
	return true;
}

/* Makes room for so many bytes, at most HM_HTTP_BODY_BYTES_MAX.  False where there is none. */
static bool grow_body(struct exchange *exchange, size_t needed_bytes)
{
	size_t room = needed_bytes < 2048 ? 4096 : 2 * needed_bytes;

	if (room > HM_HTTP_BODY_BYTES_MAX)
		room = HM_HTTP_BODY_BYTES_MAX;
	if (exchange->server->bodies_bytes - exchange->body_room + room > HM_HTTP_BODIES_BYTES_MAX)
		return false;

	char *const body = realloc(exchange->body, room);

	if (body == NULL)
		return false;
	exchange->server->bodies_bytes += room - exchange->body_room;
	exchange->body = body;
	exchange->body_room = room;
	return true;
}

/*
 * Takes a piece of the body.  Where that is not possible the answer says why, and the rest of the body is
 * passed over: an answer cannot be given in a call with data.  So is every body that nobody reads.
 */
static void take_body(struct exchange *exchange, const char *data, size_t size_bytes)
{
	struct hm_http_request *const request = &exchange->job.request;
	struct hm_http_answer *const answer = &exchange->job.answer;
	const size_t needed = request->body_bytes + size_bytes + 1;

	if (request->method != HM_HTTP_POST || answer->status != 0)
		return;
	if (needed > HM_HTTP_BODY_BYTES_MAX)
		hm_http_say(answer, MHD_HTTP_CONTENT_TOO_LARGE, "a body has at most %d bytes here",
			    HM_HTTP_BODY_BYTES_MAX);
	else if (needed > exchange->body_room && !grow_body(exchange, needed))
		hm_http_say(answer, MHD_HTTP_SERVICE_UNAVAILABLE,
			    "the bodies of other requests take %zu MiB already; try again",
			    exchange->server->bodies_bytes >> 20);
	if (answer->status != 0) {
		drop_body(exchange);
		return;
	}
	memcpy(exchange->body + request->body_bytes, data, size_bytes);
	exchange->body[needed - 1] = '\0';
	request->body_bytes += size_bytes;
}

/* ---- work ----------------------------------------------------------------------------------------- */

static struct exchange *exchange_of(struct hm_work *work)
{
	return (struct exchange *)work; /* its first member */
}

static uint64_t run_work(struct hm_work *work)
{
	struct exchange *const exchange = exchange_of(work);

	return exchange->route->work(exchange->server->options.context, &exchange->job);
}

static void end_work(struct hm_work *work, enum hm_work_end end)
{
	struct exchange *const exchange = exchange_of(work);

	/* from here on nobody cancels the work, so it may go when the connection goes on */
	hm_connections_leave(&exchange->server->connections, exchange->watched);
	if (end != HM_WORK_DONE && exchange->job.kept != NULL)
		exchange->job.release(exchange->job.kept);
	if (end == HM_WORK_ABANDONED)
		hm_http_say(&exchange->job.answer, MHD_HTTP_SERVICE_UNAVAILABLE, "the server ends");
	else if (end == HM_WORK_CANCELLED) /* who has closed but the half that he sends on may see it */
		hm_http_say(&exchange->job.answer, MHD_HTTP_BAD_REQUEST,
			    "the connection was closed before the time was over");
	exchange->stage = STAGE_DONE;
	MHD_resume_connection(
		exchange->connection); /* takes the daemon's lock: its thread sees all of the above */
}

/* The client of a suspended connection has gone away: called with the lock of the connections. */
static void cancel_work(void *waiter)
{
	struct exchange *const exchange = waiter;

	hm_worker_cancel(&exchange->server->workers[exchange->route->worker], &exchange->work);
}

static enum MHD_Result begin_work(struct exchange *exchange)
{
	struct hm_worker *const worker = &exchange->server->workers[exchange->route->worker];

	if (!hm_worker_reserve(worker)) {
		hm_http_say(&exchange->job.answer, MHD_HTTP_SERVICE_UNAVAILABLE,
			    "%d requests are under way already; try again", HM_HTTP_JOBS_MAX);
		return send_answer(exchange);
	}
	exchange->job.request.body = exchange->body != NULL ? exchange->body : "";
	exchange->work = (struct hm_work){ .run = run_work, .done = end_work };
	exchange->stage = STAGE_WORKING;
	hm_connections_allow(&exchange->server->connections, exchange->watched, 0);
	MHD_suspend_connection(exchange->connection);
	hm_connections_wait(&exchange->server->connections, exchange->watched, exchange);
	hm_worker_add(worker, &exchange->work);
	return MHD_YES;
}

/* ---- libmicrohttpd's side ------------------------------------------------------------------------- */

static struct hm_connection *watched_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *const info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info != NULL ? info->socket_context : NULL;
}

/* A connection begins, or ends: then before its descriptor is closed. */
static void note_connection(void *context, struct MHD_Connection *connection, void **socket_context,
			    enum MHD_ConnectionNotificationCode code)
{
	struct hm_http_server *const server = context;
	const union MHD_ConnectionInfo *const info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		hm_connections_close(&server->connections, *socket_context);
		*socket_context = NULL;
	} else if (info != NULL) {
		*socket_context = hm_connections_open(&server->connections, info->connect_fd);
		hm_connections_allow(&server->connections, *socket_context, HM_HTTP_REQUEST_SECONDS);
	}
}

/* Called with the first line of each request: what it returns is *state of the calls below. */
static void *begin_exchange(void *context, const char *target, struct MHD_Connection *connection)
{
	struct exchange *const exchange = calloc(1, sizeof(*exchange));

	if (exchange == NULL)
		return NULL;
	exchange->server = context;
	exchange->connection = connection;
	exchange->watched = watched_of(connection);
	exchange->target = strdup(target);
	exchange->job.request.host = "";
	if (exchange->target != NULL)
		return exchange;
	free(exchange);
	return NULL;
}

static void end_exchange(void *context, struct MHD_Connection *connection, void **state,
			 enum MHD_RequestTerminationCode code)
{
	struct exchange *const exchange = *state;

	(void)context;
	(void)code;
	if (exchange == NULL)
		return;
	(void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
					(unsigned int)HM_HTTP_TIMEOUT_SECONDS);
	hm_connections_allow(&exchange->server->connections, exchange->watched, HM_HTTP_REQUEST_SECONDS);
	(void)atomic_fetch_sub_explicit(&exchange->server->answer_bytes, exchange->answer_bytes,
					memory_order_relaxed);
	free(exchange->job.answer.body);
	free(exchange->job.answer.location);
	drop_body(exchange);
	free(exchange->target);
	free(exchange);
	*state = NULL;
}

static enum MHD_Result advance(void *context, struct MHD_Connection *connection, const char *url,
			       const char *method, const char *version, const char *data, size_t *data_bytes,
			       void **state)
{
	struct exchange *const exchange = *state;

	(void)context;
	(void)connection;
	(void)url;
	if (exchange == NULL)
		return MHD_NO; /* there was no memory: closes the connection */
	if (exchange->stage == STAGE_DONE)
		return send_answer(exchange);
	if (exchange->stage == STAGE_HEADERS) {
		if (!check_host(exchange, version) || !check_token(exchange) || !find_route(exchange, method))
			return send_answer(exchange);
		exchange->stage = STAGE_BODY;
		return MHD_YES; /* called again for the body, or for its absence */
	}
	if (*data_bytes == 0)
		return exchange->job.answer.status == 0 ? begin_work(exchange) : send_answer(exchange);
	take_body(exchange, data, *data_bytes);
	*data_bytes = 0;
	return MHD_YES;
}

/* What libmicrohttpd has to say about clients that go away or send rubbish is of no use to anybody. */
static void ignore_message(void *context, const char *format, va_list arguments)
{
	(void)context;
	(void)format;
	(void)arguments;
}

static struct MHD_Daemon *start_daemon(struct hm_http_server *server, int descriptor)
{
	return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG,
				0, NULL, NULL, advance, server, MHD_OPTION_EXTERNAL_LOGGER, ignore_message,
				NULL, MHD_OPTION_LISTEN_SOCKET, descriptor, MHD_OPTION_URI_LOG_CALLBACK,
				begin_exchange, server, MHD_OPTION_NOTIFY_COMPLETED, end_exchange, server,
				MHD_OPTION_NOTIFY_CONNECTION, note_connection, server,
				MHD_OPTION_CONNECTION_LIMIT, (unsigned int)HM_HTTP_CONNECTIONS_MAX,
				MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HM_HTTP_HEADER_BYTES_MAX,
				MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)HM_HTTP_TIMEOUT_SECONDS,
				MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
}

/* Ends the first so many workers, and what cancels their work before. */
static void stop_threads(struct hm_http_server *server, unsigned int worker_count, bool is_watched)
{
	if (is_watched)
		hm_connections_stop(&server->connections);
	while (worker_count > 0)
		hm_worker_stop(&server->workers[--worker_count]);
}

int hm_http_start(const struct hm_http_options *options, int descriptor, struct hm_http_server **ret_server)
{
	struct hm_http_server *const server = calloc(1, sizeof(*server));
	unsigned int started = 0;
	bool is_watched = false;
	int error = 0;

	if (server == NULL) {
		(void)close(descriptor);
		return -ENOMEM;
	}
	server->options = *options;
	while (error == 0 && started < HM_HTTP_WORKERS) {
		error = hm_worker_start(&server->workers[started], HM_HTTP_JOBS_MAX);
		started += error == 0;
	}
	if (error == 0) {
		error = hm_connections_start(&server->connections, HM_HTTP_CONNECTIONS_MAX, cancel_work);
		is_watched = error == 0;
		if (!is_watched)
			hm_connections_done(&server->connections);
	}
	if (is_watched) {
		errno = 0;
		server->daemon = start_daemon(server, descriptor);
		if (server->daemon == NULL)
			error = errno != 0 ? -errno : -ENOMEM;
	}
	if (error == 0) {
		*ret_server = server;
		return 0;
	}
	stop_threads(server, started, is_watched);
	if (is_watched)
		hm_connections_done(&server->connections);
	else /* libmicrohttpd has closed the socket where it could not start */
		(void)close(descriptor);
	free(server);
	return error;
}

void hm_http_stop(struct hm_http_server *server)
{
	/* First: a connection that waits for a worker must go on before the daemon can end. */
	stop_threads(server, HM_HTTP_WORKERS, true);
	MHD_stop_daemon(server->daemon);
	hm_connections_done(&server->connections);
	free(server);
}
