/* SPDX-License-Identifier: MIT
 *
 * bounds.h - every bound in one header, and how they relate. What a user may change starts from the default here. The
 * bounds that the public contract names are defined in ringcast*.h, so that an embedder has them too.
 */
#ifndef RC_BOUNDS_H
#define RC_BOUNDS_H

#include "ringcast.h"
#include "ringcast_client.h"
#include "ringcast_publish.h"

#include <assert.h>
#include <stddef.h>

#define RC_KIB ((size_t)1024)
#define RC_MIB (1024 * RC_KIB)

/* ---- handles: worker | slot | generation fill 64 bits; the top bit of the generation is for the client role ---- */
#define RC_WORKER_BITS 10
#define RC_SLOT_BITS 22
#define RC_WORKERS_MAX (1u << RC_WORKER_BITS)
#define RC_SLOTS_MAX (1u << RC_SLOT_BITS)      /* connections of one worker */
#define RC_HANDLE_DIALLED UINT32_C(0x80000000) /* the slot is an index of dialled.h instead */
#define RC_GENERATION_MASK (RC_HANDLE_DIALLED - 1)
static_assert(RC_WORKER_BITS + RC_SLOT_BITS == 32, "the generation has the other 32 bits");

/* ---- the opening handshake ---- */
#define RC_REQUEST_SIZE_MAX (8 * RC_KIB) /* request line and headers; beyond it 431 */
#define RC_REQUEST_LINE_MAX (4 * RC_KIB) /* beyond it 414 */
#define RC_REQUEST_HEADERS_MAX 64        /* beyond it 431 */
#define RC_BODY_SIZE_LIMIT (16 * RC_MIB)
#define RC_RESPONSE_HEAD_SIZE_MAX 1024 /* status line and headers of an answer of ours; its body comes on top */
#define RC_PROTOCOL_NAME_MAX 128
#define RC_HANDSHAKE_TIMEOUT_MS 10000
static_assert(RC_REQUEST_LINE_MAX < RC_REQUEST_SIZE_MAX, "a long request line is told from long headers");

/* ---- the client role ---- */
#define RC_CONNECT_REQUEST_SIZE_MAX (8 * RC_KIB) /* what a server takes at least, if it is like ours */
#define RC_ADDRESSES_MAX 8                       /* of one name; the first ones are tried */
#define RC_NAMES_MAX 1024                        /* names of a server that wait for their addresses */
#define RC_NAME_THREADS_MAX 4                    /* that ask for them, as many at a time */
#define RC_CONNECT_AGAIN_MAX_MS 30000            /* the longest pause before the next attempt, if none is named */
static_assert(RC_CONNECT_HEADERS_SIZE_MAX <= RC_CONNECT_REQUEST_SIZE_MAX / 2,
              "the rest is the URL's and the library's");

/* ---- frames and messages ---- */
#define RC_FRAME_HEADER_MAX 14  /* 2 + 8 + 4 */
#define RC_GATHERED_HEADROOM 64 /* before a gathered message: for a header, with which it may leave in its block */
#define RC_MESSAGE_SIZE_DEFAULT (1 * RC_MIB)
#define RC_MESSAGE_SIZE_LIMIT (64 * RC_MIB)
/* Of one message, at least. The limit is there against work, so it grows with the largest message ... */
#define RC_FRAGMENTS_DEFAULT 1024
#define RC_FRAGMENT_SIZE_LEAST 64        /* ... by one for so many bytes */
#define RC_BULK_SIZE_MIN (64 * RC_KIB)   /* who sends such a message is received one message at a time ... */
#define RC_BULK_AHEAD_MAX RC_MIB         /* ... with so much memory before its bytes come, at most ... */
#define RC_PLACED_SIZE_MIN (16 * RC_KIB) /* ... and the rest of a frame, if it is so long, where it belongs */
#define RC_IDLE_TIMEOUT_MS 120000
#define RC_PING_INTERVAL_MS 45000 /* proxies give up after 50 or 60 s without a byte */
#define RC_CLOSE_TIMEOUT_MS 5000
#define RC_PONGS_QUEUED_MAX 16 /* Pongs that wait; further Pings get one Pong for all, section 5.5.3 */

/* ---- topics ---- */
#define RC_SUBSCRIPTIONS_DEFAULT 256 /* of one connection */
#define RC_SUBSCRIPTIONS_LIMIT 65536

/* ---- compression ---- */
#define RC_DEFLATE_LEVEL 6
#define RC_DEFLATE_SIZE_MIN 128
#define RC_COHORT_FRESH_MESSAGES 32 /* at least, between two beginnings at which newcomers join a cohort */

/* ---- the log ---- */
#define RC_LOG_SIZE_DEFAULT (64 * RC_MIB)
#define RC_LOG_SIZE_MIN (64 * RC_KIB)
#define RC_LOG_SIZE_MAX (64 * 1024 * RC_MIB)
#define RC_LOG_SEGMENTS 64          /* the log is recycled in pieces of log_size / this */
#define RC_LOG_READABLE_SEGMENTS 48 /* how far back a reader may be; the rest is room for publishers */
#define RC_LOG_BYTES_PER_ENTRY 128  /* index entries = log_size / this: smaller frames fill the index first */

/* Blocks in which publishers build their messages, as much together as the log. A publisher gives his back within the
 * time, or what he built is not published any more. */
#define RC_BLOCKS 128
#define RC_PLACE_TIME_MS 1000

static_assert(RC_GATHERED_HEADROOM >= RC_FRAME_HEADER_MAX, "a header fits before a gathered message");

/* ---- a round of fan-out ---- */
#define RC_SLICE_SENDS 256                  /* sends between two looks at what came in */
#define RC_SLICE_ENCODE_SIZE (256 * RC_KIB) /* bytes compressed between two such looks, or one larger message */
#define RC_PLANS_MAX (RC_SLICE_SENDS + 2)   /* of a worker: on their way, or being made */
#define RC_PLAN_WINDOW 4096                 /* index entries one round, or one plan by lookup, reads at most */
#define RC_PLAN_TAKEN_MAX 4096              /* entries one plan takes, those left out by conflation among them */
#define RC_PLAN_RANGES_MAX 64               /* ranges of one send: below IOV_MAX */
#define RC_PLAN_FRAMES_MAX 1024             /* frames of one send */
#define RC_PLAN_SIZE_MAX (256 * RC_KIB)     /* bytes of one send, unless it is a single larger frame */
/* The largest rest of a frame cut short that is kept in the outbox; a larger rest is sent from the log. */
#define RC_REST_SIZE_MAX (64 * RC_KIB)

/* Subscriptions to a round's topics that are listed by connection, at most; a round with more looks for what each
 * wants anew. */
#define RC_ROUND_TOUCHES_MAX 65536
#define RC_ROUND_INTERVAL_US 2000 /* between the beginnings of two rounds, at most ... */
#define RC_ROUND_SEND_NS 8000     /* ... and this for each of its sends: twice what one takes */
/* A worker whose rounds take longer than that has no time left. It then pauses after a round for as long as the round
 * took, but not until more than this has passed since that began: what is published meanwhile leaves in one send, and
 * that is what saves time. */
#define RC_ROUNDS_CROWDED 4 /* in a row, before that is so */
#define RC_ROUND_STRETCHED_NS 32000000
#define RC_DOZE_NS 2000000 /* a pause between two rounds that is longer ends when a command comes */

/* Bytes of answers to plain requests that may wait to be read before an answer is the last on its connection. */
#define RC_ANSWERS_WAITING_MAX (64 * RC_KIB)

#define RC_HOLDS_MAX 64 /* zero-copy sends of a worker whose bytes the kernel holds; beyond, sends copy */

/* ---- TLS ---- */
#define RC_TLS_HANDSHAKES_A_TICK 8           /* steps of handshakes between two rounds of fan-out; further ones wait */
#define RC_TLS_HELD_SIZE_MAX (64 * RC_KIB)   /* what a peer may send while its handshake waits */
#define RC_TLS_REPLY_SIZE (64 * RC_KIB)      /* what one step of a handshake makes; a longer flight takes several */
#define RC_TLS_REPLY_SIZE_MAX (256 * RC_KIB) /* handshake messages and answers waiting for one connection */
#define RC_TLS_SEND_SIZE_MAX (64 * RC_KIB)   /* plaintext encrypted for one connection at a time */
#define RC_TLS_STAGE_SIZE (128 * RC_KIB)     /* records wait for the ring in blocks of this ... */
#define RC_TLS_STAGES 16                     /* ... so many a worker */
#define RC_TLS_TICKET_TURN_S 21600 /* a key seals session tickets for so long, and opens them for twice as long */
#define RC_TLS_RECORDS_A_KEY (UINT64_C(1) << 24) /* RFC 8446, section 5.5: 2^24.5 full ones are safe with AES-GCM */
#define RC_TLS_USELESS_MAX 32    /* records in a row that bring no data: new keys, tickets, nothing at all */
#define RC_TLS_RECORDS_SHARED 32 /* sealed with a cipher context that all share, before a sender gets its own */
#define RC_TLS_KERNEL_SIZE_MAX (UINT64_C(1) << 38) /* bytes sealed by the kernel with one key */
static_assert(RC_TLS_SEND_SIZE_MAX <= RC_TLS_STAGE_SIZE / 2,
              "a block holds at least one send with its records' overhead");

/* ---- producers in processes of their own ---- */
#define RC_PRODUCERS_DEFAULT 64
#define RC_PRODUCERS_LIMIT 1024
#define RC_PRODUCER_TOPICS_DEFAULT 1024 /* of one producer */
#define RC_PRODUCER_TOPICS_LIMIT 65536
#define RC_PRODUCER_RING_DEFAULT (1 * RC_MIB)
#define RC_PRODUCER_RING_MIN (64 * RC_KIB)
#define RC_PRODUCER_RING_MAX (64 * RC_MIB)
#define RC_PRODUCER_TICK_SIZE (64 * RC_KIB)   /* read of one producer in a tick, or one larger record ... */
#define RC_PRODUCERS_TICK_SIZE (512 * RC_KIB) /* ... and of all that a worker has */
#define RC_PRODUCER_QUESTIONS_A_TICK 16       /* of one producer; further ones wait in its socket */
#define RC_PRODUCERS_ACCEPTED_A_TICK 16
#define RC_PRODUCER_RETRY_NS 500000    /* between two tries, when the log has no room */
#define RC_PRODUCER_PAUSE_NS 100000000 /* before another accept, when descriptors were out */
static_assert(RC_PRODUCER_TICK_SIZE <= RC_PRODUCERS_TICK_SIZE, "one producer cannot take more than all");

/* ---- time ---- */
#define RC_TICK_NS 25000000 /* of the timer wheel: 25 ms */

/* ---- memory of a worker ---- */
#define RC_SEND_SIZE_DEFAULT (4 * RC_MIB) /* waiting for one connection outside the log */
#define RC_POOL_CACHE_SIZE (16 * RC_MIB)  /* free blocks kept by a worker: each page of a new one costs a fault */
#define RC_POOL_SIZE_MAX ((size_t)2048 * RC_MIB) /* blocks in use by a worker */

/* ---- the ring ---- */
#define RC_RING_ENTRIES 1024       /* submission queue */
#define RC_COMPLETIONS_PER_ENTRY 8 /* completion queue = entries * this */
/* A TLS record fits, or a message of 16 KB with its header. No multiple of a page, so that what arrives, which is
 * mostly small, does not always meet the same few lines of the cache. */
#define RC_RECEIVE_BUFFER_SIZE (16 * RC_KIB + 320)
#define RC_RECEIVE_BUFFERS 512      /* a power of two, at most 32768 */
#define RC_RECEIVE_BUFFERS_FIRST 64 /* made at the start; doubled whenever none is free */
#define RC_NOTSENT_LOWAT (32 * RC_KIB)
#define RC_BATCH_MAX 1024          /* completions that a worker takes at once */
#define RC_DIALS_MAX 512           /* names looked up and connects of a worker on their way; further ones wait */
#define RC_MEMORY_MAX_LEAST RC_MIB /* the smallest budget for connections */
#define RC_REFUSALS_MAX 64         /* connections over the limit that are told so by a 503 */
#define RC_BACKLOG 4096
static_assert(RC_SLICE_SENDS < RC_RING_ENTRIES, "a slice is submitted by one call");
static_assert(RC_COMPLETIONS_PER_ENTRY >= 4, "multishot operations complete more often than they are submitted");

#endif
