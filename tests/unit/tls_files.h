/* SPDX-License-Identifier: MIT
 *
 * tls_files.h - certificates made on the spot, in files of a directory that goes at the end of the process.
 */
#ifndef RC_TLS_FILES_H
#define RC_TLS_FILES_H

#include <criterion/criterion.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct pair {
	EVP_PKEY *key;
	X509 *certificate;
	char key_path[64], path[64];
};

static char directory[32];

static inline void remove_directory(void)
{
	char command[64];
	snprintf(command, sizeof command, "rm -rf %s", directory);
	if (system(command))
		fprintf(stderr, "left behind: %s\n", directory);
}

static inline const char *temporary(void)
{
	if (!*directory) {
		strcpy(directory, "/tmp/rc-tls-XXXXXX");
		cr_assert_not_null(mkdtemp(directory));
		atexit(remove_directory);
	}
	return directory;
}

static inline void write_pem(const char *path, EVP_PKEY *key, X509 *certificate)
{
	FILE *file = fopen(path, "w");
	cr_assert_not_null(file);
	cr_assert(certificate ? PEM_write_X509(file, certificate)
	                      : PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL));
	fclose(file);
}

static inline void add_extension(X509 *certificate, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	cr_assert_not_null(extension, "%s", value);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

/* Signed by `authority`, or by itself and an authority. `names` is as in "DNS:a.example,IP:127.0.0.1", or null. */
static inline struct pair make_pair_of(EVP_PKEY *key, const EVP_MD *digest, const char *name, const char *names,
                                       const struct pair *authority)
{
	static long serial = 1;
	struct pair pair = { .key = key, .certificate = X509_new() };
	X509 *certificate = pair.certificate;
	X509_set_version(certificate, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_set_pubkey(certificate, pair.key);
	X509_NAME *subject = X509_get_subject_name(certificate);
	X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Example", -1, -1, 0);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(certificate, authority ? X509_get_subject_name(authority->certificate) : subject);
	if (names)
		add_extension(certificate, NID_subject_alt_name, names);
	if (!authority)
		add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
	cr_assert(X509_sign(certificate, authority ? authority->key : pair.key, digest));
	snprintf(pair.path, sizeof pair.path, "%s/%ld.pem", temporary(), serial);
	snprintf(pair.key_path, sizeof pair.key_path, "%s/%ld.key", temporary(), serial);
	write_pem(pair.path, NULL, certificate);
	write_pem(pair.key_path, pair.key, NULL);
	return pair;
}

static inline struct pair make_pair(const char *name, const char *names, const struct pair *authority)
{
	return make_pair_of(EVP_EC_gen("P-256"), EVP_sha256(), name, names, authority);
}

#endif
