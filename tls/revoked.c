/* SPDX-License-Identifier: MIT
 *
 * revoked.c - see revoked.h.
 */
#include "revoked.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

static struct rc_tls_mark make_mark(const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
	struct rc_tls_mark mark = { .issuer = (uint32_t)X509_NAME_hash_ex(issuer, NULL, NULL, NULL) };
	const uint8_t *bytes = ASN1_STRING_get0_data(serial);
	size_t size = (size_t)ASN1_STRING_length(serial), most = sizeof mark.serial - 2;
	size_t taken = size < most ? size : most;
	mark.serial[0] = (uint8_t)size;
	mark.serial[1] = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;
	memcpy(mark.serial + 2, bytes + (size - taken), taken);
	return mark;
}

static int compare(const void *one, const void *other)
{
	return memcmp(one, other, sizeof(struct rc_tls_mark));
}

static size_t count_of(const X509_OBJECT *object)
{
	X509_CRL *list = X509_OBJECT_get0_X509_CRL(object);
	const STACK_OF(X509_REVOKED) *entries = list ? X509_CRL_get_REVOKED(list) : NULL;
	return entries ? (size_t)sk_X509_REVOKED_num(entries) : 0;
}

bool rc_tls_revoked_read(struct rc_tls_revoked *revoked, X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	size_t count = 0;
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++)
		count += count_of(sk_X509_OBJECT_value(objects, i));
	*revoked = (struct rc_tls_revoked){ .marks = calloc(count ? count : 1, sizeof *revoked->marks) };
	if (!revoked->marks)
		return false;
	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		const X509_OBJECT *object = sk_X509_OBJECT_value(objects, i);
		X509_CRL *list = X509_OBJECT_get0_X509_CRL(object);
		for (size_t j = 0; j < count_of(object); j++) {
			const X509_REVOKED *entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(list), (int)j);
			revoked->marks[revoked->count++] = make_mark(X509_CRL_get_issuer(list),
			                                             X509_REVOKED_get0_serialNumber(entry));
		}
	}
	qsort(revoked->marks, revoked->count, sizeof *revoked->marks, compare);
	return true;
}

void rc_tls_revoked_free(struct rc_tls_revoked *revoked)
{
	free(revoked->marks);
	*revoked = (struct rc_tls_revoked){ 0 };
}

bool rc_tls_revoked_has(const struct rc_tls_revoked *revoked, const struct rc_tls_mark *mark)
{
	return revoked->count && bsearch(mark, revoked->marks, revoked->count, sizeof *mark, compare);
}

bool rc_tls_marks_of(const SSL *ssl, struct rc_tls_mark **marks, unsigned *count)
{
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	int size = chain ? sk_X509_num(chain) : 0;
	*marks = NULL;
	*count = 0;
	if (size < 1)
		return true;
	size -= size > 1; /* nobody revokes a root by its own list */
	*marks = calloc((size_t)size, sizeof **marks);
	for (int i = 0; *marks && i < size; i++) {
		X509 *certificate = sk_X509_value(chain, i);
		(*marks)[(*count)++] = make_mark(X509_get_issuer_name(certificate),
		                                 X509_get0_serialNumber(certificate));
	}
	return *marks;
}
