/* SPDX-License-Identifier: MIT
 *
 * kernel.c - TLS records made by the simulated kernel: once it has been given the keys, a socket takes plaintext and
 * its peer gets records. The production code's record layer makes them with those very keys: so what was sealed with
 * them before, or is sealed out of turn, does not open at the other end.
 */
#include "record.h"
#include "ring_sim.h"

#include <linux/tls.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <string.h>

static struct kernel {
	struct rc_tls_half half;
	bool has_layer; /* TCP_ULP */
} kernels[PEERS_MAX];
static EVP_CIPHER_CTX *shared;

void kernel_reset_all(void)
{
	if (!shared)
		shared = EVP_CIPHER_CTX_new();
	for (unsigned i = 0; i < PEERS_MAX; i++) {
		if (rc_tls_half_is_open(&kernels[i].half))
			rc_tls_half_close(&kernels[i].half);
		memset(&kernels[i], 0, sizeof kernels[i]);
	}
}

bool kernel_seals(const struct peer *peer)
{
	return rc_tls_half_is_open(&kernels[peer->index].half);
}

static int take_keys(struct kernel *kernel, const uint8_t *value, unsigned size)
{
	static const uint8_t nothing[RC_TLS_SECRET_MAX];
	const struct tls_crypto_info *info = (const void *)value;
	bool chacha = info->cipher_type == TLS_CIPHER_CHACHA20_POLY1305,
	     small = info->cipher_type == TLS_CIPHER_AES_GCM_128;
	size_t salt = chacha ? 0 : 4, iv = 12 - salt, key = small ? 16 : 32;
	CHECK(info->version == TLS_1_3_VERSION && size == sizeof *info + 12 + key + 8, "wrong keys for the kernel");
	const uint8_t *at = value + sizeof *info;
	uint64_t sequence = 0;
	for (unsigned i = 0; i < 8; i++)
		sequence = sequence << 8 | at[12 + key + i];
	CHECK(rc_tls_half_open(&kernel->half,
	                       small    ? 0x1301
	                       : chacha ? 0x1303
	                                : 0x1302,
	                       nothing, sequence),
	      "no cipher");
	memcpy(kernel->half.iv + salt, at, iv);
	memcpy(kernel->half.key, at + iv, key);
	memcpy(kernel->half.iv, at + iv + key, salt);
	return 0;
}

int kernel_option(struct peer *peer, int level, int name, const void *value, unsigned size)
{
	struct kernel *kernel = &kernels[peer->index];
	if (level == IPPROTO_TCP && name == TCP_ULP) {
		CHECK(size >= 3 && memcmp(value, "tls", 3) == 0, "an unknown layer");
		if (sim_fault(FAULT_NO_KERNEL_TLS))
			return -ENOENT;
		int result = kernel->has_layer ? -EEXIST : 0;
		kernel->has_layer = true;
		return result;
	}
	CHECK(level == SOL_TLS && name == TLS_TX && kernel->has_layer && !kernel_seals(peer), "an option out of turn");
	if (sim_fault(FAULT_KEYS_REFUSED))
		return -EINVAL;
	sim_met(MET_KERNEL_TLS);
	return take_keys(kernel, value, size);
}

/* Plaintext that the socket took. */
void kernel_send(struct peer *peer, const struct rc_range *ranges, size_t size, bool is_alert)
{
	static uint8_t plain[1 << 18], sealed[(1 << 18) + (1 << 14)];
	uint8_t *to = sealed;
	size_t at = 0;
	CHECK(size <= sizeof plain, "a send of %zu bytes", size);
	for (unsigned i = 0; at < size; i++) {
		size_t piece = RC_MIN(size - at, ranges[i].size);
		memcpy(plain + at, ranges[i].at, piece);
		at += piece;
	}
	for (size_t done = 0, piece; done < size; done += piece) {
		piece = RC_MIN(size - done, (size_t)16384);
		CHECK(rc_tls_seal(&kernels[peer->index].half, shared, is_alert ? RC_TLS_ALERT : RC_TLS_DATA,
		                  plain + done, piece, &to, sealed + sizeof sealed),
		      "a record is not made");
	}
	tap_take(peer, sealed, (size_t)(to - sealed));
}
