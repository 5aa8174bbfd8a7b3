/* SPDX-License-Identifier: MIT
 *
 * record.c - see record.h. Invariant: no sequence number is used twice with the same key.
 */
#include "record.h"

#include "check.h"
#include "limits.h"

#include <linux/tls.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <string.h>

#define HEADER_SIZE 5
#define TAG_SIZE 16
#define PLAIN_MAX 16384

/* Section 7.1, with an empty context; what is wanted is never longer than the digest, so one turn of HKDF-Expand is
 * all (RFC 5869, section 2.3). */
static bool expand(const struct rc_tls_sender *sender, const char *label, uint8_t *to, size_t size)
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
	bool good = HMAC(sender->digest, sender->secret, EVP_MD_get_size(sender->digest), info, at, block, &block_size) &&
	            size <= block_size;
	if (good)
		memcpy(to, block, size);
	OPENSSL_cleanse(block, sizeof block);
	return good;
}

static bool take_keys(struct rc_tls_sender *sender)
{
	EVP_CIPHER_CTX_free(sender->own);
	sender->own = NULL;
	return expand(sender, "key", sender->key, (size_t)EVP_CIPHER_get_key_length(sender->cipher)) &&
	       expand(sender, "iv", sender->iv, sizeof sender->iv);
}

/* Fetched once: named anew they would be looked up for each record. */
static EVP_CIPHER *ciphers[3];

static void fetch_ciphers(void)
{
	ciphers[0] = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
	ciphers[1] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	ciphers[2] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
}

bool rc_tls_sender_open(struct rc_tls_sender *sender, unsigned suite, const uint8_t *secret, uint64_t sequence)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, fetch_ciphers);
	memset(sender, 0, sizeof *sender);
	if (suite < 0x1301 || suite > 0x1303 || !ciphers[suite - 0x1301])
		return false;
	sender->cipher = ciphers[suite - 0x1301];
	sender->digest = suite == 0x1302 ? EVP_sha384() : EVP_sha256();
	sender->sequence = sequence;
	memcpy(sender->secret, secret, (size_t)EVP_MD_get_size(sender->digest));
	if (take_keys(sender))
		return true;
	rc_tls_sender_close(sender);
	return false;
}

void rc_tls_sender_close(struct rc_tls_sender *sender)
{
	EVP_CIPHER_CTX_free(sender->own);
	OPENSSL_cleanse(sender, sizeof *sender);
}

/* A keyed context, set to this record's nonce (section 5.3). */
static EVP_CIPHER_CTX *context_for(struct rc_tls_sender *sender, EVP_CIPHER_CTX *shared)
{
	uint8_t nonce[sizeof sender->iv];
	memcpy(nonce, sender->iv, sizeof nonce);
	for (unsigned i = 0; i < 8; i++)
		nonce[sizeof nonce - 1 - i] ^= (uint8_t)(sender->sequence >> 8 * i);
	if (sender->own)
		return EVP_EncryptInit_ex(sender->own, NULL, NULL, NULL, nonce) == 1 ? sender->own : NULL;
	if (sender->sequence >= RC_TLS_RECORDS_SHARED && (sender->own = EVP_CIPHER_CTX_new()))
		shared = sender->own;
	const EVP_CIPHER *cipher = EVP_CIPHER_CTX_get0_cipher(shared) == sender->cipher ? NULL : sender->cipher;
	return EVP_EncryptInit_ex(shared, cipher, NULL, sender->key, nonce) == 1 ? shared : NULL;
}

bool rc_tls_sender_seal(struct rc_tls_sender *sender, EVP_CIPHER_CTX *shared, enum rc_tls_record_type type,
                        const uint8_t *bytes, size_t size, uint8_t **to, const uint8_t *end)
{
	uint8_t *at = *to, inner = (uint8_t)type;
	size_t sealed = size + 1 + TAG_SIZE;
	int done;
	if (size > PLAIN_MAX || (size_t)(end - at) < HEADER_SIZE + sealed || sender->sequence == UINT64_MAX)
		return false;
	EVP_CIPHER_CTX *context = context_for(sender, shared);
	sender->sequence++; /* even if what follows fails */
	at[0] = RC_TLS_DATA;
	at[1] = at[2] = 3; /* section 5.2: a legacy version */
	at[3] = (uint8_t)(sealed >> 8);
	at[4] = (uint8_t)sealed;
	if (!context || EVP_EncryptUpdate(context, NULL, &done, at, HEADER_SIZE) != 1 ||
	    EVP_EncryptUpdate(context, at + HEADER_SIZE, &done, bytes, (int)size) != 1 ||
	    EVP_EncryptUpdate(context, at + HEADER_SIZE + size, &done, &inner, 1) != 1 ||
	    EVP_EncryptFinal_ex(context, at + HEADER_SIZE + size + 1, &done) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, at + HEADER_SIZE + size + 1) != 1)
		return false;
	*to = at + HEADER_SIZE + sealed;
	return true;
}

/* uapi/linux/tls.h: version and cipher, then the part of the nonce that a record of TLS 1.2 would carry, the key, the part
 * that it would not (the "salt", of which ChaCha20 has none), and the next record's number. */
size_t rc_tls_sender_for_kernel(const struct rc_tls_sender *sender, uint8_t *to)
{
	bool chacha = sender->cipher == ciphers[2];
	size_t key_size = (size_t)EVP_CIPHER_get_key_length(sender->cipher), salt_size = chacha ? 0 : 4;
	const struct tls_crypto_info info = {
		.version = TLS_1_3_VERSION,
		.cipher_type = chacha ? TLS_CIPHER_CHACHA20_POLY1305
		                      : key_size == 16 ? TLS_CIPHER_AES_GCM_128 : TLS_CIPHER_AES_GCM_256,
	};
	uint8_t *at = to;
	memcpy(at, &info, sizeof info);
	memcpy(at += sizeof info, sender->iv + salt_size, sizeof sender->iv - salt_size);
	memcpy(at += sizeof sender->iv - salt_size, sender->key, key_size);
	memcpy(at += key_size, sender->iv, salt_size);
	at += salt_size;
	for (unsigned i = 0; i < 8; i++)
		*at++ = (uint8_t)(sender->sequence >> 8 * (7 - i));
	return (size_t)(at - to);
}

bool rc_tls_sender_update(struct rc_tls_sender *sender, EVP_CIPHER_CTX *shared, uint8_t **to, const uint8_t *end)
{
	static const uint8_t update[] = { 24, 0, 0, 1, 0 }; /* key_update, update_not_requested */
	uint8_t next[RC_TLS_SECRET_MAX];
	size_t size = (size_t)EVP_MD_get_size(sender->digest);
	if (!rc_tls_sender_seal(sender, shared, RC_TLS_HANDSHAKE, update, sizeof update, to, end) ||
	    !expand(sender, "traffic upd", next, size))
		return false;
	memcpy(sender->secret, next, size);
	OPENSSL_cleanse(next, sizeof next);
	sender->sequence = 0;
	return take_keys(sender);
}
