/* SPDX-License-Identifier: MIT
 *
 * tokens.c - a room that one enters with a token, checked at the handshake.
 *
 * A token is NAME.EXPIRY.SIGNATURE: who, until when (seconds since 1970), and the HMAC-SHA256 of both under a key. Who
 * has none is refused with 401 and words, before a connection exists. What is said in the room bears the token's name.
 */
#include <ringcast.h>

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SIGNATURE_SIZE 64 /* SHA-256 in hexadecimal */
#define NAME_SIZE_MAX 32
#define MESSAGE_SIZE_MAX 1000

static rc_server *server;
static const char *key;

static void end(int signal_number)
{
	(void)signal_number, rc_server_stop(server, 1000); /* NOLINT(bugprone-signal-handler): safe, says ringcast.h */
}

static void sign(const char *text, size_t size, char *signature)
{
	unsigned char digest[SIGNATURE_SIZE / 2];
	HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)text, size, digest, NULL);
	for (unsigned i = 0; i < sizeof digest; i++)
		sprintf(signature + 2 * i, "%02x", digest[i]);
}

/* What is wrong with a token, in words; or null, and the name. Nothing else in it is looked at before the signature is
 * known to be right. That is compared in constant time, or its bytes could be guessed one after the other. */
static const char *check_token(const char *token, char *name)
{
	char signature[SIGNATURE_SIZE + 1];
	const char *dot = token ? strrchr(token, '.') : NULL;
	long long expiry;
	if (!token)
		return "A token is missing: send \"Authorization: Bearer TOKEN\", or ?token=TOKEN.\n";
	if (!dot || strlen(dot + 1) != SIGNATURE_SIZE)
		return "This is no token.\n";
	sign(token, (size_t)(dot - token), signature);
	if (CRYPTO_memcmp(signature, dot + 1, SIGNATURE_SIZE) != 0)
		return "The token's signature is wrong.\n";
	if (sscanf(token, "%32[^.].%lld", name, &expiry) != 2 || expiry < time(NULL))
		return "The token has expired.\n";
	return NULL;
}

/* Browsers can set no header, so the query does, too. Proxies log it: let such a token live for seconds only. */
static int on_request(void *context, rc_request *request)
{
	const char *header = rc_request_header(request, "Authorization"), *query = rc_request_query(request, "token");
	char name[NAME_SIZE_MAX + 1];
	const char *wrong = check_token(header && strncmp(header, "Bearer ", 7) == 0 ? header + 7 : query, name);
	(void)context;
	if (wrong) {
		rc_request_add_header(request, "WWW-Authenticate", "Bearer");
		return rc_request_respond(request, 401, NULL, wrong, strlen(wrong));
	}
	if (!rc_request_is_websocket(request) || rc_subscribe(server, rc_request_conn(request), "room", 4, NULL) < 0)
		return 400;
	rc_request_set_user(request, strdup(name)); /* on_close frees it */
	return 0;
}

static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	char text[NAME_SIZE_MAX + 3 + MESSAGE_SIZE_MAX];
	int size = snprintf(text, sizeof text, "%s: %.*s", (char *)user, (int)message->size, (char *)message->data);
	(void)context, (void)conn;
	rc_publish(server, "room", 4, text, (size_t)size, 0);
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context, (void)conn, (void)closing;
	free(user);
}

static int print_token(const char *name, long long seconds)
{
	char text[NAME_SIZE_MAX + 32], signature[SIGNATURE_SIZE + 1];
	int size = snprintf(text, sizeof text, "%.*s.%lld", NAME_SIZE_MAX, name, time(NULL) + seconds);
	sign(text, (size_t)size, signature);
	return printf("%s.%s\n", text, signature) < 0;
}

int main(int argc, char **argv)
{
	struct rc_config config;
	struct rc_error error = { .text = "set TOKENS_KEY in the environment to a secret of yours" };
	key = getenv("TOKENS_KEY");
	if (key && argc == 3) /* tokens ann 3600 */
		return print_token(argv[1], atoll(argv[2]));
	rc_config_init(&config);
	config.worker_count = 1;
	config.message_size_max = MESSAGE_SIZE_MAX;
	config.handlers = (struct rc_handlers){ .request = on_request, .message = on_message, .close = on_close };
	server = key ? rc_server_new(&config, &error) : NULL;
	int port = server ? rc_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:8080", &error) : -1;
	if (port < 0)
		return fprintf(stderr, "tokens: %s\n", error.text), 1;
	printf("listening on ws://127.0.0.1:%d\n", port);
	fflush(stdout);
	signal(SIGINT, end);
	signal(SIGTERM, end);
	if (rc_server_run(server, 0, &error) < 0) /* the one worker is this thread, until the end */
		return fprintf(stderr, "tokens: %s\n", error.text), 1;
	rc_server_free(server);
	return 0;
}
