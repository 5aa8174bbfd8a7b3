/* SPDX-License-Identifier: MIT
 *
 * libwebsockets, on one thread: /relay/NAME, /topic/NAME[,NAME...], /publish/NAME and /echo.
 * A message is shared by all whose queue it stands in, and each writes one when the library says that it may.
 */
#include <libwebsockets.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE 4096

struct message {
	unsigned waiting;
	int binary;
	size_t size;
	unsigned char bytes[]; /* LWS_PRE, then the message */
};

struct session {
	struct lws *wsi;
	struct session *next;
	char path[256];
	struct message *queue[QUEUE];
	unsigned head, count;
	struct message *incoming;
};

static struct session *sessions; /* those that relay */

static void release(struct message *message)
{
	if (!--message->waiting)
		free(message);
}

/* Whether a session subscribes to the topic that another publishes to. */
static int wants(const struct session *session, const char *topic)
{
	size_t size = strlen(topic);
	const char *at = strchr(session->path + 1, '/');
	if (!strncmp(session->path, "/publish/", 9))
		return 0;
	for (; at; at = strchr(at + 1, ','))
		if (!strncmp(at + 1, topic, size) && (!at[size + 1] || at[size + 1] == ','))
			return 1;
	return 0;
}

static void enqueue(struct session *session, struct message *message)
{
	if (session->count == QUEUE)
		return;
	message->waiting++;
	session->queue[(session->head + session->count++) % QUEUE] = message;
	lws_callback_on_writable(session->wsi);
}

static void received(struct session *session, struct lws *wsi, const void *in, size_t size)
{
	struct message *message = session->incoming;
	size_t before = message ? message->size : 0;
	message = realloc(message, sizeof *message + LWS_PRE + before + size);
	if (!message)
		abort();
	memcpy(message->bytes + LWS_PRE + before, in, size);
	message->size = before + size;
	message->binary = lws_frame_is_binary(wsi);
	session->incoming = message;
	if (lws_remaining_packet_payload(wsi) || !lws_is_final_fragment(wsi))
		return;
	session->incoming = NULL;
	message->waiting = 1;
	if (!strcmp(session->path, "/echo"))
		enqueue(session, message);
	else
		for (struct session *other = sessions; other; other = other->next)
			if (wants(other, strchr(session->path + 1, '/') + 1))
				enqueue(other, message);
	release(message);
}

static int write_next(struct session *session)
{
	if (!session->count)
		return 0;
	struct message *message = session->queue[session->head];
	session->head = (session->head + 1) % QUEUE;
	session->count--;
	enum lws_write_protocol protocol = message->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT;
	int written = lws_write(session->wsi, message->bytes + LWS_PRE, message->size, protocol);
	release(message);
	if (session->count)
		lws_callback_on_writable(session->wsi);
	return written < 0 ? -1 : 0;
}

static void closed(struct session *session)
{
	for (struct session **at = &sessions; *at; at = &(*at)->next)
		if (*at == session) {
			*at = session->next;
			break;
		}
	for (; session->count; session->count--, session->head = (session->head + 1) % QUEUE)
		release(session->queue[session->head]);
	free(session->incoming);
	free(session);
}

static int serve(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t size)
{
	struct session **place = user, *session = place ? *place : NULL;
	switch (reason) {
	case LWS_CALLBACK_ESTABLISHED:
		*place = session = calloc(1, sizeof *session);
		if (!session)
			return -1;
		session->wsi = wsi;
		lws_hdr_copy(wsi, session->path, sizeof session->path, WSI_TOKEN_GET_URI);
		if (strcmp(session->path, "/echo")) {
			session->next = sessions;
			sessions = session;
		}
		break;
	case LWS_CALLBACK_RECEIVE:
		received(session, wsi, in, size);
		break;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return write_next(session);
	case LWS_CALLBACK_CLOSED:
		if (session)
			closed(session);
		*place = NULL;
		break;
	default:
		break;
	}
	return 0;
}

static volatile sig_atomic_t running = 1;

static void stop(int number)
{
	(void)number;
	running = 0;
}

int main(int argc, char **argv)
{
	static const struct lws_protocols protocols[] = {
		{ .name = "relay",
		  .callback = serve,
		  .per_session_data_size = sizeof(struct session *),
		  .rx_buffer_size = 65536 },
		{ 0 },
	};
	struct lws_context_creation_info info = {
		.port = argc > 1 ? atoi(argv[1]) : 0,
		.iface = "127.0.0.1",
		.protocols = protocols,
		.pt_serv_buf_size = 65536,
		.options = LWS_SERVER_OPTION_DISABLE_IPV6,
	};
	lws_set_log_level(LLL_ERR, NULL);
	signal(SIGTERM, stop);
	struct lws_context *context = lws_create_context(&info);
	if (!context)
		return 1;
	while (running && lws_service(context, 0) >= 0)
		;
	lws_context_destroy(context);
	return 0;
}
