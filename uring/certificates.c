/* SPDX-License-Identifier: MIT
 *
 * certificates.c - see certificates.h, and the public functions about certificates. It must not know a connection.
 * Invariant: once there is a server's context there always is one; a bad one never takes its place.
 */
#include "growing.h"
#include "judge.h"
#include "ringcast_client.h"
#include "worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int rc_certificates_open(struct rc_server *server)
{
	struct certificates *certificates = &server->certificates;
	pthread_mutex_init(&certificates->lock, NULL);
	pthread_mutex_init(&certificates->reload_lock, NULL);
	certificates->tickets = rc_tls_tickets_new();
	return certificates->tickets ? 0 : -ENOMEM;
}

static void free_options(struct rc_tls_options *options)
{
	for (unsigned i = 0; options->pairs && i < options->pair_count; i++) {
		free((char *)(uintptr_t)options->pairs[i].certificate);
		free((char *)(uintptr_t)options->pairs[i].key);
	}
	free((struct rc_tls_pair *)(uintptr_t)options->pairs);
	free((char *)(uintptr_t)options->client_ca);
	free((char *)(uintptr_t)options->crl);
	memset(options, 0, sizeof *options);
}

void rc_certificates_close(struct rc_server *server)
{
	struct certificates *certificates = &server->certificates;
	rc_tls_context_release(certificates->server);
	rc_tls_context_release(certificates->client);
	rc_tls_tickets_free(certificates->tickets);
	free_options(&certificates->options);
	pthread_mutex_destroy(&certificates->lock);
	pthread_mutex_destroy(&certificates->reload_lock);
}

static struct rc_tls_context *take(struct certificates *certificates, struct rc_tls_context *const *which)
{
	pthread_mutex_lock(&certificates->lock);
	struct rc_tls_context *context = *which ? rc_tls_context_keep(*which) : NULL;
	pthread_mutex_unlock(&certificates->lock);
	return context;
}

struct rc_tls_context *rc_certificates_take(struct rc_server *server)
{
	return take(&server->certificates, &server->certificates.server);
}

struct rc_tls_context *rc_certificates_take_client(struct rc_server *server)
{
	return take(&server->certificates, &server->certificates.client);
}

static void replace(struct certificates *certificates, struct rc_tls_context **which, struct rc_tls_context *context)
{
	pthread_mutex_lock(&certificates->lock);
	struct rc_tls_context *old = *which;
	*which = context;
	pthread_mutex_unlock(&certificates->lock);
	rc_tls_context_release(old);
}

static bool copy(const char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return !from || *to;
}

static int copy_options(struct rc_tls_options *to, const struct rc_tls_options *from)
{
	struct rc_tls_pair *pairs = calloc(from->pair_count, sizeof *pairs);
	*to = (struct rc_tls_options){ .pairs = pairs, .client_optional = from->client_optional };
	if (!pairs || !copy(&to->client_ca, from->client_ca) || !copy(&to->crl, from->crl))
		return -ENOMEM;
	to->pair_count = from->pair_count;
	for (unsigned i = 0; i < from->pair_count; i++)
		if (!copy(&pairs[i].certificate, from->pairs[i].certificate) ||
		    !copy(&pairs[i].key, from->pairs[i].key))
			return -ENOMEM;
	return 0;
}

static int take_options(const rc_server *server, void *options, size_t size, const void *given, size_t given_size,
                        struct rc_error *error)
{
	if (atomic_load(&server->started))
		return rc_fail(error, -EBUSY, "certificates are named before the start");
	int result = rc_growing_take(options, size, given, given_size);
	return result < 0 ? rc_fail(error, result, "the options of TLS: %s", rc_strerror(result)) : 0;
}

int(rc_server_tls)(rc_server *server, const struct rc_tls_options *given, struct rc_error *error, size_t struct_size)
{
	struct certificates *certificates = &server->certificates;
	struct rc_tls_options options = { 0 }, copied;
	int result = take_options(server, &options, sizeof options, given, struct_size, error);
	if (result < 0)
		return result;
	struct rc_error why = { 0 };
	struct rc_tls_context *context = rc_tls_context_server(&options, certificates->tickets, &why);
	if (!context)
		return rc_fail(error, why.code, "%s", why.text);
	if (copy_options(&copied, &options) < 0) {
		free_options(&copied);
		rc_tls_context_release(context);
		return rc_fail(error, -ENOMEM, "no memory for the names of certificates");
	}
	free_options(&certificates->options);
	certificates->options = copied;
	replace(certificates, &certificates->server, context);
	return 0;
}

int rc_server_tls_reload(rc_server *server, struct rc_error *error)
{
	struct certificates *certificates = &server->certificates;
	struct rc_error why = { .code = -EINVAL, .text = "no certificates were named before the start" };
	struct rc_tls_context *context = NULL;
	pthread_mutex_lock(&certificates->reload_lock);
	if (certificates->options.pair_count)
		context = rc_tls_context_server(&certificates->options, certificates->tickets, &why);
	if (context) {
		replace(certificates, &certificates->server, context);
		/* Each worker looks at its connections once more. */
		atomic_fetch_add(&certificates->reload_count, 1);
		for (unsigned i = 0; i < server->worker_count; i++)
			rc_mailbox_knock(&server->workers[i].mailbox);
	}
	pthread_mutex_unlock(&certificates->reload_lock);
	return context ? 0 : rc_fail(error, why.code, "%s", why.text);
}

size_t(rc_certificates)(rc_server *server, struct rc_certificate *out, size_t max, size_t struct_size)
{
	struct certificates *certificates = &server->certificates;
	struct rc_tls_context *context = rc_certificates_take(server);
	size_t count = 0;
	const X509 *shown;
	for (; context && (shown = rc_tls_context_certificate(context, (unsigned)count)); count++) {
		struct rc_certificate described;
		if (count >= max)
			continue;
		memset(&described, 0, sizeof described);
		rc_tls_describe(shown, &described);
		/* Names do not change once the server has started. */
		snprintf(described.file, sizeof described.file, "%s", certificates->options.pairs[count].certificate);
		rc_growing_give((uint8_t *)out + count * struct_size, struct_size, &described, sizeof described);
	}
	rc_tls_context_release(context);
	return count;
}

int(rc_server_tls_client)(rc_server *server, const struct rc_tls_client_options *given, struct rc_error *error,
                          size_t struct_size)
{
	struct rc_tls_client_options options = { 0 };
	int result = take_options(server, &options, sizeof options, given, struct_size, error);
	if (result < 0)
		return result;
	struct rc_error why = { 0 };
	struct rc_tls_context *context = rc_tls_context_client(&options, &why);
	if (!context)
		return rc_fail(error, why.code, "%s", why.text);
	replace(&server->certificates, &server->certificates.client, context);
	return 0;
}

int rc_certificates_need_client(struct rc_server *server)
{
	static const struct rc_tls_client_options defaults;
	struct certificates *certificates = &server->certificates;
	struct rc_error error = { 0 };
	pthread_mutex_lock(&certificates->lock);
	if (!certificates->client)
		certificates->client = rc_tls_context_client(&defaults, &error);
	pthread_mutex_unlock(&certificates->lock);
	return error.code;
}
