/* SPDX-License-Identifier: MIT
 *
 * client.h - one worker in the client role, for the commands that speak to a server: sub, pub, replay. Hides that
 * callbacks run on another thread: the main thread asks for something to be done there, and waits until it was.
 *
 * A connection's fields belong to the worker; the main thread reads `state` and what comes before it in that state.
 */
#ifndef LIB_CLIENT_H
#define LIB_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "environment.h"
#include "options.h"
#include "ringcast_client.h"
#include "wait.h"

enum client_state { CLIENT_CONNECTING, CLIENT_OPEN, CLIENT_CLOSED };

struct client;

struct client_conn {
	struct client *client;
	const char *url;
	_Atomic rc_conn handle; /* 0: it has not begun */
	/* How it ended, once it is closed. */
	uint16_t code;
	int status;
	char reason[256];
	_Atomic int state; /* enum client_state */
};

struct client {
	rc_server *server;
	struct wait wait;
	/* Called on the worker for each message; may be null. */
	void (*message)(void *context, struct client_conn *conn, const struct rc_message *message);
	void *context;
	struct rc_tls_client_options tls;
	_Atomic unsigned open_count; /* connections that are not closed */
	bool interrupted;            /* a signal came; main thread only */
	bool deflate;                /* connections offer permessage-deflate */
	struct option_list headers;  /* of the requests, "NAME: VALUE" */
	unsigned timeout_ms;         /* of an opening; 0: the library's */
	unsigned again_ms;           /* a connection that ends is opened again after this; 0: it is not */
};

/* The options of all commands that may speak to wss:// servers, for their tables. */
#define CLIENT_TLS_TRUST_OPTIONS(tls)                                                                                  \
	{ "ca", OPTION_TEXT, &(tls)->ca, "FILE", "wss: trust this authority (PEM) instead of the system's" },          \
	    { "insecure", OPTION_FLAG, &(tls)->insecure, NULL, "wss: any certificate will do" },                       \
	{                                                                                                              \
		"cert", OPTION_TEXT, &(tls)->certificate, "FILE", "wss: a certificate to show, with its chain"         \
	}
#define CLIENT_TLS_OPTIONS(tls)                                                                                        \
	CLIENT_TLS_TRUST_OPTIONS(tls),                                                                                 \
	{                                                                                                              \
		"key", OPTION_TEXT, &(tls)->key, "FILE", "wss: and its key"                                            \
	}

/* Which of them mean nothing by themselves. */
#define CLIENT_TLS_NEEDS                                                                                               \
	{ "ca", "!insecure" }, { "cert", "key" },                                                                      \
	{                                                                                                              \
		"key", "cert"                                                                                          \
	}

/* And of those that open connections by client_connect(). */
#define CLIENT_CONNECT_OPTIONS(client)                                                                                 \
	{ "header", OPTION_LIST, &(client)->headers, "'NAME: VALUE'", "a header of the request; may be repeated" },    \
	{                                                                                                              \
		"timeout", OPTION_MS, &(client)->timeout_ms, "TIME",                                                   \
		    "for a connection to open, its name included; default 10s"                                         \
	}

/* Whether TLS options were given and no URL is one of wss://. If so, says which option is useless, and returns the exit
 * status; or -1. */
int client_tls_useless(const struct subcommand *command, const struct rc_tls_client_options *tls, char *const *urls,
                       unsigned url_count);

/* The header that shows RINGCAST_TOKEN, in `text`. Returns 1 with *header, 0 when there is no token, or -1 after
 * printing what is wrong with it. */
#define CLIENT_TOKEN_HEADER_SIZE (ENVIRONMENT_TOKEN_MAX + 16)
int client_token_header(struct rc_connect_header *header, char text[CLIENT_TOKEN_HEADER_SIZE]);

/* Gives the TLS options to the server, if any was given. Returns 0, or a negative errno with *error set. */
int client_tls(rc_server *server, const struct rc_tls_client_options *tls, struct rc_error *error);

/* Starts the worker. Returns 0, or -1 after printing why. */
int client_start(struct client *client);
/* Begins a connection. `conn` must live until client_end(). Returns 0, or -1 after printing why. */
int client_connect(struct client *client, struct client_conn *conn, const char *url);
/* Waits until it is open. Returns 0, or -1 when it failed or a signal came; client_verdict() says which. */
int client_await_open(struct client *client, struct client_conn *conn);

/* Sends one message from the main thread and waits while the connection's queue is full, so that nothing is lost.
 * Returns 0, or -1 when the connection closed or a signal came. */
struct client_send {
	struct client_conn *conn;
	enum rc_opcode opcode;
	const char *data;
	size_t size;
};
int client_send(struct client *client, const struct client_send *sends, size_t count);

/* Waits until a descriptor can be read. Returns 0, or -1 when all connections closed or a signal came first. */
int client_await_input(struct client *client, int descriptor);

/* Waits until all connections are closed. Returns 0, or -1 when a signal came first. */
int client_await_closed(struct client *client);
/* Ends the worker. What is still open gets 1001 and a second to leave. */
void client_end(struct client *client);

/* Says on stderr how a connection ended. Returns an exit status: 0 for 1000 and 1001. */
int client_verdict(const struct client_conn *conn);

#endif
