/* SPDX-License-Identifier: MIT
 *
 * nats_side.c - see nats_side.h.
 */
#include "built.h"
#ifdef BACKPLANE_NATS

#include "nats_side.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PORT_DEFAULT 4222

int nats_failed(char why[static ENGINE_WHY_SIZE], const char *what, natsStatus status)
{
	/* What the library adds is where in its code that was, and now and then more. */
	const char *text = natsStatus_GetText(status), *more = nats_GetLastError(NULL);
	const char *words = more ? strstr(more, "): ") : NULL;
	snprintf(why, ENGINE_WHY_SIZE, "%s: %s", what, words ? words + 3 : text);
	return -ECONNRESET;
}

int nats_failed_at(char why[static ENGINE_WHY_SIZE], const char *what, natsStatus status, jsErrCode code)
{
	if (status == NATS_NO_RESPONDERS || code == JSNotEnabledErr || code == JSNotEnabledForAccountErr)
		return snprintf(why, ENGINE_WHY_SIZE, "%s: this server has no JetStream: start it with -js", what),
		       -ECONNRESET;
	return nats_failed(why, what, status);
}

void nats_side_leave(struct nats_side *side)
{
	natsSubscription_Destroy(side->inbox);
	jsCtx_Destroy(side->stream);
	natsConnection_Destroy(side->nats);
	side->inbox = NULL, side->stream = NULL, side->nats = NULL;
}

static bool wants_tls(const struct backplane_url *url)
{
	unsigned long wanted = strcmp(url->scheme, "nats+tls") == 0;
	backplane_url_number(url, "tls", 0, 1, &wanted);
	return wanted || backplane_url_value(url, "ca", NULL) || backplane_url_value(url, "cert", NULL);
}

/* What an operator can do about it; the library says what it is. */
static const char *remedy(natsStatus status, const struct backplane_url *url)
{
	switch ((int)status) {
	case NATS_CONNECTION_AUTH_FAILED:
	case NATS_NOT_PERMITTED:
		return "; nats://USER:PASSWORD@HOST, nats://TOKEN@HOST or ?creds=FILE lets us in";
	case NATS_SECURE_CONNECTION_WANTED:
		return "; the server has no TLS: nats:// instead";
	case NATS_SSL_ERROR:
		return "; ?ca=FILE names its authority";
	case NATS_PROTOCOL_ERROR:
		return wants_tls(url) ? "; it may want a certificate of ours: ?cert=FILE&key=FILE" : "";
	default:
		return "";
	}
}

/* Where in the chain a certificate is wrong is for the library's own log. */
static void say_why(char why[static ENGINE_WHY_SIZE], const struct backplane_url *url, const char *host,
                    natsStatus status)
{
	char words[ENGINE_WHY_SIZE];
	nats_failed(words, "", status);
	words[strcspn(words, ";")] = '\0';
	char *mismatch = strstr(words, ":expected="), *chain = strstr(words, ":depth=");
	if (mismatch || chain)
		*(mismatch ? mismatch : chain) = '\0';
	snprintf(why, ENGINE_WHY_SIZE, "%.50s%.70s%s", host, words,
	         mismatch ? "; the URL must have the name that is in its certificate" : remedy(status, url));
}

static natsStatus choose_tls(natsOptions *options, const struct backplane_url *url, const char *host)
{
	const char *ca = backplane_url_value(url, "ca", NULL), *cert = backplane_url_value(url, "cert", NULL);
	if (!wants_tls(url))
		return NATS_OK;
	natsStatus status = natsOptions_SetSecure(options, true);
	if (!status)
		status = natsOptions_SetExpectedHostname(options, host);
	if (!status && ca)
		status = natsOptions_LoadCATrustedCertificates(options, ca);
	if (!status && cert)
		status = natsOptions_LoadCertificatesChain(options, cert, backplane_url_value(url, "key", NULL));
	return status;
}

static natsStatus choose_user(natsOptions *options, const struct backplane_url *url)
{
	const char *creds = backplane_url_value(url, "creds", NULL);
	if (creds)
		return natsOptions_SetUserCredentialsFromFiles(options, creds, NULL);
	if (url->user && url->password)
		return natsOptions_SetUserInfo(options, url->user, url->password);
	return url->user ? natsOptions_SetToken(options, url->user) : NATS_OK;
}

static natsStatus choose(natsOptions *options, const struct backplane_url *url, unsigned index)
{
	const struct backplane_host *host = &url->hosts[index];
	const bool v6 = strchr(host->name, ':');
	char address[512];
	snprintf(address, sizeof address, "nats://%s%s%s:%u", v6 ? "[" : "", host->name, v6 ? "]" : "",
	         host->port ? host->port : PORT_DEFAULT);
	natsStatus status = natsOptions_SetURL(options, address);
	if (!status)
		status = natsOptions_SetName(options, "ringcast");
	if (!status)
		status = natsOptions_SetAllowReconnect(options, false);
	if (!status)
		status = natsOptions_SetTimeout(options, NATS_CALL_MS);
	if (!status)
		status = natsOptions_SetPingInterval(options, 1000);
	if (!status)
		status = choose_user(options, url);
	return status ? status : choose_tls(options, url, host->name);
}

natsStatus nats_side_inbox(struct nats_side *side)
{
	natsInbox *inbox = NULL;
	char subject[NATS_NAME_SIZE + 2];
	natsStatus status = natsInbox_Create(&inbox);
	if (status)
		return status;
	side->subject_size = (size_t)snprintf(side->subject, sizeof side->subject, "%s", inbox);
	natsInbox_Destroy(inbox);
	snprintf(subject, sizeof subject, "%s%s", side->subject, side->is_writer ? ".*" : "");
	status = natsConnection_SubscribeSync(&side->inbox, side->nats, subject);
	/* What bounds it is the server's flow control. */
	return status ? status : natsSubscription_SetPendingLimits(side->inbox, -1, -1);
}

static natsStatus connect_one(struct nats_side *side, const struct backplane_url *url)
{
	natsOptions *options = NULL;
	jsOptions calls;
	jsOptions_Init(&calls);
	calls.Wait = NATS_CALL_MS;
	natsStatus status = natsOptions_Create(&options);
	if (!status)
		status = choose(options, url, side->host);
	if (!status)
		status = natsConnection_Connect(&side->nats, options);
	natsOptions_Destroy(options);
	if (!status)
		status = natsConnection_JetStream(&side->stream, side->nats, &calls);
	return status ? status : nats_side_inbox(side);
}

int nats_side_enter(struct nats_side *side, const struct backplane_url *url, char why[static ENGINE_WHY_SIZE])
{
	if (side->nats && !natsConnection_IsClosed(side->nats))
		return 0;
	nats_side_leave(side);
	for (unsigned i = 0; i < url->host_count; i++) {
		natsStatus status = connect_one(side, url);
		if (!status)
			return 0;
		say_why(why, url, url->hosts[side->host].name, status);
		nats_side_leave(side);
		side->host = (side->host + 1) % url->host_count;
	}
	return -ECONNREFUSED;
}

/* ---- answers ---- */

static uint64_t now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* An answer is {"stream":"NAME","seq":N} or {"error":{"code":..,"err_code":N,"description":".."},..}. */
static int judge_answer(natsMsg *message, char why[static ENGINE_WHY_SIZE])
{
	char text[256];
	int size = natsMsg_GetDataLength(message);
	snprintf(text, sizeof text, "%.*s", size > 0 ? size : 0, size > 0 ? natsMsg_GetData(message) : "");
	const char *words = strstr(text, "\"description\":\"");
	if (!strstr(text, "\"error\""))
		return strstr(text, "\"seq\"") ? 0 : -EPROTO;
	words = words ? words + strlen("\"description\":\"") : text;
	snprintf(why, ENGINE_WHY_SIZE, "the stream refuses it: %.*s", (int)strcspn(words, "\""), words);
	return -EIO;
}

int nats_side_await(struct nats_side *side, uint64_t first, struct engine_packet *packets, size_t count,
                    char why[static ENGINE_WHY_SIZE])
{
	const uint64_t until = now_ms() + ENGINE_WAIT_MS;
	int wrong = 0;
	for (size_t answered = 0; answered < count;) {
		natsMsg *message = NULL;
		const uint64_t now = now_ms();
		natsStatus status = natsSubscription_NextMsg(&message, side->inbox,
		                                             now < until ? (int64_t)(until - now) : 0);
		if (status == NATS_NO_RESPONDERS)
			return snprintf(why, ENGINE_WHY_SIZE, "nobody takes it: the stream is gone"), -ENOENT;
		if (status)
			return nats_failed(why, "no answer to a message", status);
		uint64_t tag = strtoull(natsMsg_GetSubject(message) + side->subject_size + 1, NULL, 10);
		if (tag >= first && tag - first < count) {
			int code = judge_answer(message, why);
			packets[tag - first].appended = code == 0;
			wrong = wrong ? wrong : code;
			answered++;
		}
		natsMsg_Destroy(message);
	}
	return wrong;
}
#endif
