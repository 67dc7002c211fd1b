// SPDX-License-Identifier: Apache-2.0
#include "tools/http_server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Whether it is IPv6's address for all of the machine's. */
static bool is_any(const struct sockaddr *address)
{
	return address->sa_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr);
}

static int listen_at(const struct addrinfo *place)
{
	enum { BACKLOG = 511 }; /* what other servers ask for; the kernel cuts it to its own limit */
	const int on = 1;
	const int off = 0;
	const int descriptor = socket(place->ai_family, place->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
				      place->ai_protocol);
	int error = 0;

	if (descriptor < 0)
		return -errno;
	/* a server that is started again does not wait for connections of the last one to be forgotten */
	(void)setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	/* all addresses: IPv4's too, whatever the system's default (net.ipv6.bindv6only) is */
	if (is_any(place->ai_addr))
		(void)setsockopt(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(descriptor, place->ai_addr, place->ai_addrlen) != 0 || listen(descriptor, BACKLOG) != 0) {
		error = -errno;
		(void)close(descriptor);
		return error;
	}
	return descriptor;
}

static int describe(int descriptor, struct hm_host *ret_address, bool *ret_is_any)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);
	char port[NI_MAXSERV];
	unsigned int number = 0;

	if (getsockname(descriptor, (struct sockaddr *)&address, &size) != 0)
		return -errno;
	if (getnameinfo((const struct sockaddr *)&address, size, ret_address->name, sizeof(ret_address->name),
			port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		return -EINVAL;
	if (sscanf(port, "%u", &number) != 1)
		return -EINVAL;
	ret_address->port = (uint16_t)number;
	ret_address->has_port = true;
	*ret_is_any = strcmp(ret_address->name, "0.0.0.0") == 0 || strcmp(ret_address->name, "::") == 0;
	return 0;
}

/* Listens at the first of its addresses where that is possible.  Returns a descriptor or a negative errno. */
static int listen_by_name(const char *name, const char *port)
{
	const struct addrinfo hints = {
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
	};
	struct addrinfo *places = NULL;
	int descriptor = -ENOENT;

	if (getaddrinfo(name, port, &hints, &places) != 0)
		return -ENOENT;
	for (const struct addrinfo *place = places; place != NULL && descriptor < 0; place = place->ai_next)
		descriptor = listen_at(place);
	freeaddrinfo(places);
	return descriptor;
}

/* Listens at all addresses: by a socket of IPv6, which is for both, or of IPv4 where there is nothing else. */
static int listen_everywhere(const char *port)
{
	const int descriptor = listen_by_name("::", port);

	/* not where IPv6's port is taken: who asked for all addresses would get half of them */
	return descriptor == -EAFNOSUPPORT || descriptor == -EADDRNOTAVAIL || descriptor == -ENOENT
		       ? listen_by_name("0.0.0.0", port)
		       : descriptor;
}

int hm_http_listen(const char *text, int *ret_descriptor, struct hm_host *ret_address, bool *ret_is_any)
{
	struct hm_host host;
	char port[8];

	if (!hm_host_parse(text, &host) || !host.has_port)
		return -EINVAL;
	(void)snprintf(port, sizeof(port), "%u", (unsigned int)host.port);

	const int descriptor =
		host.name[0] != '\0' ? listen_by_name(host.name, port) : listen_everywhere(port);

	if (descriptor < 0)
		return descriptor;

	const int error = describe(descriptor, ret_address, ret_is_any);

	if (error != 0) {
		(void)close(descriptor);
		return error;
	}
	*ret_descriptor = descriptor;
	return 0;
}
