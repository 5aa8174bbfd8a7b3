/* SPDX-License-Identifier: MIT
 *
 * error.c - see error.h. And the errors in words: what happened to a caller of this library, and what helps. The words
 * of the system fit system calls, and name no remedy. tests/live/test_install.py holds the table against the headers.
 */
#include "error.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	int code;
	const char *words;
} errors[] = {
	{ E2BIG,
	  "it sets what this library is too old to know: use the library that the program was built for, or a later" },
	{ EACCES, "not allowed: ports below 1024 need privileges, files and Unix sockets the rights of this user" },
	{ EADDRINUSE, "the address is taken: end what listens there, or choose another port" },
	{ EADDRNOTAVAIL, "this machine has no such address: name one of its own, as `ip address` lists them" },
	{ EAGAIN, "too much waits already: try again soon, or publish with RC_PUBLISH_WAIT" },
	{ EALREADY, "the place is over, committed, abandoned or timed out: reserve another one" },
	{ EBUSY, "it is too late for this: call it before the start, or in a request before it is subscribed" },
	{ ECANCELED, "it was given up, or the server stopped, before it was done: begin anew with one that runs" },
	{ ECONNABORTED, "memory was short before the connection was open: begin anew, or give the process more" },
	{ ECONNREFUSED, "connection refused, nobody listens there: check host and port, and that the server runs" },
	{ ECONNRESET, "the peer broke the connection off: its own log may say why" },
	{ EDEADLK, "a callback would wait for its own worker: call it outside of the handlers" },
	{ EEXIST,
	  "the topic has this number, or the connection this topic: go on with the next one, or unsubscribe first" },
	{ EHOSTUNREACH, "no way leads to this host: check the address and the routes" },
	{ EILSEQ, "the text is not valid UTF-8: send it as binary, or mend what made it" },
	{ EINVAL, "a value is out of range or malformed: the header says at each function what is allowed" },
	{ EKEYREJECTED,
	  "the server's certificate is not trusted: name in rc_tls_client_options.ca who vouches for it" },
	{ EMFILE, "no descriptor is left: raise `ulimit -n`, or the number of workers" },
	{ EMSGSIZE, "the message is larger than the log, the ring or the place allows: enlarge that, or divide it" },
	{ ENETUNREACH, "no way leads to this network: check the address and the routes" },
	{ ENOBUFS,
	  "more than send_size_max would wait, or all places are reserved: wait, raise that limit, or commit some" },
	{ ENOENT, "there is no such file, topic or subscription: check its name" },
	{ ENOMEM, "memory is used up: lower the limits in rc_config, or give the process more" },
	{ ENOSPC, "as many exist as there may be: let one go, or see the bounds in ringcast.h and subscriptions_max" },
	{ ENOSYS, "the kernel lacks what is needed: `ringcast probe` says what" },
	{ ENOTCONN, "the connection has ended or is closing, or its worker has: forget the handle" },
	{ ENXIO, "there is no host of this name: check its spelling, and the resolver" },
	{ EOPNOTSUPP, "not with this setting or kernel: handlers.report, or `ringcast probe`, says which" },
	{ EPERM, "not allowed: allow io_uring (seccomp, kernel.io_uring_disabled) or take RC_RING_EPOLL; one thread "
	         "steps a worker" },
	{ EPIPE, "the server has let go of this producer, or ended: open another one" },
	{ EPROTO, "the peer answered with something else than TLS or WebSocket: check the URL's scheme and port" },
	{ ETIMEDOUT,
	  "it was not done in time: check the address and the way to it, or commit what was reserved sooner" },
	{ EUSERS, "as many producers as the server takes are connected: let one go, or raise producers_max" },
};

const char *rc_strerror(int code)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (code == errors[i].code || code == -errors[i].code)
			return errors[i].words;
	return strerror(code < 0 && code > INT_MIN ? -code : code);
}

int rc_fail(struct rc_error *error, int code, const char *format, ...)
{
	if (error) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(error->text, sizeof error->text, format, arguments);
		va_end(arguments);
		error->code = code;
	}
	return code;
}
