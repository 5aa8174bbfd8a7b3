/* SPDX-License-Identifier: MIT
 *
 * judge.c - see judge.h. What counts as weak is what OpenSSL refuses at its security level 2, also where the system has
 * set a lower one.
 */
#include "judge.h"

#include "error.h"

#include <errno.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#define RSA_BITS_LEAST 2048
#define CURVE_BITS_LEAST 224
#define STRENGTH_LEAST 112

static int judge_key(X509 *certificate, const char *path, struct rc_error *error)
{
	const EVP_PKEY *key = X509_get0_pubkey(certificate);
	int bits = key ? EVP_PKEY_get_bits(key) : 0;
	int least = key && EVP_PKEY_get_base_id(key) == EVP_PKEY_EC ? CURVE_BITS_LEAST : RSA_BITS_LEAST;
	if (!key || EVP_PKEY_get_security_bits(key) >= STRENGTH_LEAST)
		return 0;
	return rc_fail(
	    error, -EINVAL,
	    "the certificate '%s' is weak: its key has %d bits, and %d are the least; make a new key, and have "
	    "a certificate made for it",
	    path, bits, least);
}

/* A certificate that signed itself is believed for what it is, whatever it signed itself with. */
static int judge_signature(X509 *certificate, const char *path, struct rc_error *error)
{
	int digest = NID_undef;
	if (X509_self_signed(certificate, 0) == 1 ||
	    X509_get_signature_info(certificate, &digest, NULL, NULL, NULL) != 1)
		return 0;
	if (digest != NID_md5 && digest != NID_sha1)
		return 0;
	return rc_fail(error, -EINVAL,
	               "the certificate '%s' is weak: it is signed with %s; have it signed with SHA-256 or better",
	               path, digest == NID_md5 ? "MD5" : "SHA-1");
}

int rc_tls_judge(X509 *certificate, const char *path, struct rc_error *error)
{
	int result = judge_key(certificate, path, error);
	return result < 0 ? result : judge_signature(certificate, path, error);
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	int days = 0, seconds = 0;
	ASN1_TIME *zero = ASN1_TIME_set(NULL, 0);
	bool known = zero && ASN1_TIME_diff(&days, &seconds, zero, time) == 1;
	ASN1_TIME_free(zero);
	return known ? (int64_t)days * 86400 + seconds : 0;
}

void rc_tls_describe(const X509 *certificate, struct rc_certificate *to)
{
	BIO *bio = BIO_new(BIO_s_mem());
	to->subject[0] = 0;
	if (bio && X509_NAME_print_ex(bio, X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) >= 0) {
		int size = BIO_read(bio, to->subject, sizeof to->subject - 1);
		to->subject[size > 0 ? size : 0] = 0;
	}
	BIO_free(bio);
	to->begins_s = seconds_of(X509_get0_notBefore(certificate));
	to->ends_s = seconds_of(X509_get0_notAfter(certificate));
}
