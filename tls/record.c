/* SPDX-License-Identifier: MIT
 *
 * record.c - see record.h. Invariant: no sequence number is used twice with the same key.
 */
#include "record.h"

#include "bounds.h"
#include "check.h"

#include <linux/tls.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>

#define TAG_SIZE 16
#define PLAIN_MAX 16384

/* Section 7.1, with an empty context. No key is longer than the digest, so one turn of HKDF-Expand is enough (RFC 5869,
 * section 2.3). */
static bool expand(const struct rc_tls_half *half, const char *label, uint8_t *to, size_t size)
{
	uint8_t info[64] = { (uint8_t)(size >> 8), (uint8_t)size }, block[EVP_MAX_MD_SIZE];
	size_t label_size = strlen(label), at = 2;
	info[at++] = (uint8_t)(6 + label_size);
	memcpy(info + at, "tls13 ", 6);
	memcpy(info + at + 6, label, label_size);
	at += 6 + label_size;
	info[at++] = 0;
	info[at++] = 1;
	unsigned block_size = 0;
	bool good = HMAC(half->digest, half->secret, EVP_MD_get_size(half->digest), info, at, block, &block_size) &&
	            size <= block_size;
	if (good)
		memcpy(to, block, size);
	OPENSSL_cleanse(block, sizeof block);
	return good;
}

static bool take_keys(struct rc_tls_half *half)
{
	EVP_CIPHER_CTX_free(half->own);
	half->own = NULL;
	return expand(half, "key", half->key, (size_t)EVP_CIPHER_get_key_length(half->cipher)) &&
	       expand(half, "iv", half->iv, sizeof half->iv);
}

/* Fetched once: by their names they would be looked up for each record. */
static EVP_CIPHER *ciphers[3];

static void fetch_ciphers(void)
{
	ciphers[0] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	ciphers[1] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	ciphers[2] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

bool rc_tls_half_open(struct rc_tls_half *half, unsigned suite, const uint8_t *secret, uint64_t sequence)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch_ciphers);
	memset(half, 0, sizeof *half);
	if (suite < 0x1301 || suite > 0x1303 || !ciphers[suite - 0x1301])
		return false;
	half->cipher = ciphers[suite - 0x1301];
	half->digest = suite == 0x1302 ? EVP_sha384() : EVP_sha256();
	half->sequence = sequence;
	memcpy(half->secret, secret, (size_t)EVP_MD_get_size(half->digest));
	if (take_keys(half))
		return true;
	rc_tls_half_close(half);
	return false;
}

void rc_tls_half_close(struct rc_tls_half *half)
{
	EVP_CIPHER_CTX_free(half->own);
	OPENSSL_cleanse(half, sizeof *half);
}

/* This record's nonce (section 5.3). */
static void make_nonce(const struct rc_tls_half *half, uint8_t nonce[static sizeof half->iv])
{
	memcpy(nonce, half->iv, sizeof half->iv);
	for (unsigned i = 0; i < 8; i++)
		nonce[sizeof half->iv - 1 - i] ^= (uint8_t)(half->sequence >> 8 * i);
}

/* A keyed context, set to this record's nonce. */
static EVP_CIPHER_CTX *context_for(struct rc_tls_half *half, EVP_CIPHER_CTX *shared)
{
	uint8_t nonce[sizeof half->iv];
	make_nonce(half, nonce);
	if (half->own)
		return EVP_EncryptInit_ex(half->own, NULL, NULL, NULL, nonce) == 1 ? half->own : NULL;
	if (half->sequence >= RC_TLS_RECORDS_SHARED && (half->own = EVP_CIPHER_CTX_new()))
		shared = half->own;
	const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(shared) == half->cipher ? NULL : half->cipher;
	return EVP_EncryptInit_ex(shared, cipher, NULL, half->key, nonce) == 1 ? shared : NULL;
}

bool rc_tls_seal(struct rc_tls_half *half, EVP_CIPHER_CTX *shared, enum rc_tls_record_type type, const uint8_t *bytes,
                 size_t size, uint8_t **to, const uint8_t *end)
{
	uint8_t *at = *to, inner = (uint8_t)type;
	size_t sealed = size + 1 + TAG_SIZE;
	int done;
	if (size > PLAIN_MAX || (size_t)(end - at) < RC_TLS_HEADER_SIZE + sealed || half->sequence == UINT64_MAX)
		return false;
	EVP_CIPHER_CTX *context = context_for(half, shared);
	half->sequence++; /* even if what follows fails */
	at[0] = RC_TLS_DATA;
	at[1] = at[2] = 3; /* section 5.2: a legacy version */
	at[3] = (uint8_t)(sealed >> 8);
	at[4] = (uint8_t)sealed;
	if (!context || EVP_EncryptUpdate(context, NULL, &done, at, RC_TLS_HEADER_SIZE) != 1 ||
	    EVP_EncryptUpdate(context, at + RC_TLS_HEADER_SIZE, &done, bytes, (int)size) != 1 ||
	    EVP_EncryptUpdate(context, at + RC_TLS_HEADER_SIZE + size, &done, &inner, 1) != 1 ||
	    EVP_EncryptFinal_ex(context, at + RC_TLS_HEADER_SIZE + size + 1, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + RC_TLS_HEADER_SIZE + size + 1) != 1)
		return false;
	*to = at + RC_TLS_HEADER_SIZE + sealed;
	return true;
}

enum rc_tls_alert rc_tls_unseal(struct rc_tls_half *half, EVP_CIPHER_CTX *shared, const uint8_t *record, size_t size,
                                uint8_t *to, size_t *content, enum rc_tls_record_type *type)
{
	uint8_t nonce[sizeof half->iv], last;
	const uint8_t *at = record + RC_TLS_HEADER_SIZE;
	size_t before_last = size - RC_TLS_HEADER_SIZE - TAG_SIZE - 1;
	int done;
	const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(shared) == half->cipher ? NULL : half->cipher;
	RC_ASSERT(size >= RC_TLS_HEADER_SIZE + RC_TLS_SEALED_MIN && half->sequence < UINT64_MAX);
	make_nonce(half, nonce);
	half->sequence++;
	if (EVP_DecryptInit_ex(shared, cipher, NULL, half->key, nonce) != 1 ||
	    EVP_DecryptUpdate(shared, NULL, &done, record, RC_TLS_HEADER_SIZE) != 1 ||
	    (before_last && EVP_DecryptUpdate(shared, to, &done, at, (int)before_last) != 1) ||
	    EVP_DecryptUpdate(shared, &last, &done, at + before_last, 1) != 1 ||
	    EVP_CIPHER_CTX_ctrl(shared, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, (void *)(at + before_last + 1)) != 1)
		return RC_TLS_INTERNAL_ERROR;
	if (EVP_DecryptFinal_ex(shared, &last, &done) != 1)
		return RC_TLS_BAD_RECORD_MAC;
	/* Section 5.4: behind the type there may be zeros. */
	while (!last && before_last)
		last = to[--before_last];
	*content = before_last;
	*type = last;
	return last ? 0 : RC_TLS_UNEXPECTED_MESSAGE;
}

/* uapi/linux/tls.h: version and cipher, then the part of the nonce that a record of TLS 1.2 would carry, the key, the
 * part that it would not (the "salt", of which ChaCha20 has none), and the next record's number. */
size_t rc_tls_half_for_kernel(const struct rc_tls_half *half, uint8_t *to)
{
	bool chacha = half->cipher == ciphers[2];
	size_t key_size = (size_t)EVP_CIPHER_get_key_length(half->cipher), salt_size = chacha ? 0 : 4;
	const struct tls_crypto_info info = {
		.version = TLS_1_3_VERSION,
		.cipher_type = chacha           ? TLS_CIPHER_CHACHA20_POLY1305
		               : key_size == 16 ? TLS_CIPHER_AES_GCM_128
		                                : TLS_CIPHER_AES_GCM_256,
	};
	uint8_t *at = to;
	memcpy(at, &info, sizeof info);
	memcpy(at += sizeof info, half->iv + salt_size, sizeof half->iv - salt_size);
	memcpy(at += sizeof half->iv - salt_size, half->key, key_size);
	memcpy(at += key_size, half->iv, salt_size);
	at += salt_size;
	for (unsigned i = 0; i < 8; i++)
		*at++ = (uint8_t)(half->sequence >> 8 * (7 - i));
	return (size_t)(at - to);
}

bool rc_tls_half_turn(struct rc_tls_half *half)
{
	uint8_t next[RC_TLS_SECRET_MAX];
	size_t size = (size_t)EVP_MD_get_size(half->digest);
	if (!expand(half, "traffic upd", next, size))
		return false;
	memcpy(half->secret, next, size);
	OPENSSL_cleanse(next, sizeof next);
	half->sequence = 0;
	return take_keys(half);
}

bool rc_tls_half_update(struct rc_tls_half *half, EVP_CIPHER_CTX *shared, uint8_t **to, const uint8_t *end)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 }; /* key_update, update_not_requested */
	return rc_tls_seal(half, shared, RC_TLS_HANDSHAKE, update, sizeof update, to, end) && rc_tls_half_turn(half);
}
