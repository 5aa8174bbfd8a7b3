/* SPDX-License-Identifier: MIT
 *
 * tls_crl.c - clients' certificates against revocation lists: who stands in one is refused, a list that has passed its
 * time lets nobody in, and a file that holds none is no list.
 */
#include "ringcast_client.h"
#include "tls_side.h"

#include <errno.h>
#include <string.h>

TestSuite(tls_crl, .init = prepare);

/* A list by the authority, until so many seconds from now. */
static const char *make_list(const struct pair *revoked, long until, const char *name)
{
	static char path[80];
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *from = X509_gmtime_adj(NULL, -3600), *to = X509_gmtime_adj(NULL, until);
	X509_CRL_set_version(list, 1);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(authority.certificate));
	X509_CRL_set1_lastUpdate(list, from);
	X509_CRL_set1_nextUpdate(list, to);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
		X509_REVOKED_set_revocationDate(entry, from);
		X509_CRL_add0_revoked(list, entry);
	}
	cr_assert(X509_CRL_sign(list, authority.key, EVP_sha256()));
	snprintf(path, sizeof path, "%s/%s", temporary(), name);
	FILE *file = fopen(path, "w");
	cr_assert(PEM_write_X509_CRL(file, list));
	fclose(file);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
	X509_CRL_free(list);
	return path;
}

/* Whether a server that reads the list lets in who shows the certificate. */
static bool lets_in(const struct pair *shown, const char *list)
{
	struct rc_tls_client_options options = { .ca = authority.path,
		                                 .certificate = shown->path,
		                                 .key = shown->key_path };
	revoked_path = list;
	struct side *server = new_side(server_of(&here, &authority, false), NULL);
	struct side *client = new_side(rc_tls_context_client(&options, NULL), "here.example");
	take(client, NULL, 0);
	for (int turn = 0; turn < 4 && server->result != RC_TLS_FAILED; turn++) {
		static uint8_t bytes[sizeof client->out];
		size_t size = client->out_size;
		memcpy(bytes, client->out, size);
		client->out_size = 0;
		take(server, bytes, size);
		size = server->out_size;
		memcpy(bytes, server->out, size);
		server->out_size = 0;
		take(client, bytes, size);
	}
	bool open = rc_tls_is_open(server->stream);
	free_side(client);
	free_side(server);
	return open;
}

Test(tls_crl, the_revoked_are_refused)
{
	struct pair good = make_pair("good", NULL, &authority), bad = make_pair("bad", NULL, &authority);
	cr_expect(lets_in(&good, NULL));
	cr_expect(lets_in(&bad, NULL));
	cr_expect(lets_in(&good, make_list(&bad, 3600, "one")));
	cr_expect_not(lets_in(&bad, make_list(&bad, 3600, "one")));
	cr_expect(lets_in(&bad, make_list(NULL, 3600, "none")), "nobody stands in it");
	cr_expect_not(lets_in(&good, make_list(NULL, -60, "late")), "it has passed its time");
}

Test(tls_crl, what_is_no_list)
{
	struct rc_tls_pair files = { here.path, here.key_path };
	struct rc_tls_options options = { .pairs = &files, .pair_count = 1, .client_ca = authority.path };
	struct rc_error error = { 0 };
	options.crl = "/nowhere";
	cr_expect_null(rc_tls_context_server(&options, tickets, &error));
	cr_expect(error.code == -ENOENT && strstr(error.text, "revocation list '/nowhere'"), "%s", error.text);
	options.crl = authority.path;
	cr_expect_null(rc_tls_context_server(&options, tickets, &error));
	cr_expect(error.code == -EINVAL && strstr(error.text, "revocation list"), "%s", error.text);
	options.crl = make_list(NULL, 3600, "list");
	options.client_ca = NULL;
	cr_expect_null(rc_tls_context_server(&options, tickets, &error));
	cr_expect(error.code == -EINVAL && strstr(error.text, "authority"), "%s", error.text);
}
