/* SPDX-License-Identifier: MIT
 *
 * sim.h - the simulated world that the production code above uring/ring.h is run in. One seed decides everything:
 *
 *      main.c         one seed after another
 *      run.c          a run from beginning to end: who may go on next, chaos, quiet, the end
 *      world.c        what a seed decides before its run begins
 *      chance.c       randomness and faults, and how a run fails
 *      host.c         what the C library would give: time, memory, threads (fibers here), eventfds
 *      ring_sim.c     uring/ring.h on simulated sockets (socket.c), hostile
 *      operations.c   what becomes of what it was asked to do
 *      peer.c         the other ends: naive WebSocket clients and servers that write raw bytes
 *      script.c       what they do
 *      dials.c        whom the code under test dials, by name and address, and the truth about that
 *      secret.c       their TLS
 *      kernel.c       TLS records that the kernel makes
 *      zip.c          their compression
 *      tap.c          reads what the server's sends have put into the sockets, byte for byte
 *      application.c  the program on top: its handlers
 *      publisher.c    and its threads that publish
 *      short.c        who goes when memory is short
 *      oracle.c       the truth about topics, and what each subscriber must have got of them
 *      books.c        the same of keyed topics, whose readers keep a state each
 *      streams.c      and of topics that are numbered elsewhere
 *
 * Nothing here reads production state to decide what is right, except where it says so.
 */
#ifndef SIM_H
#define SIM_H

#include "worker.h"

/* ---- chance and faults ---- */

enum fault {
	FAULT_SHORT_SEND,
	FAULT_ONE_BYTE_RECEIVE,
	FAULT_WOULD_BLOCK,
	FAULT_ENDED_WITH_DATA, /* a multishot's last completion is a good one without RC_RING_MORE */
	FAULT_ENDED_ALONE,     /* or brings nothing */
	FAULT_NO_BUFFERS,
	FAULT_CANCELLED, /* -ECANCELED though nobody asked */
	FAULT_RESET,     /* -ECONNRESET */
	FAULT_ACCEPT_EMFILE,
	FAULT_ACCEPT_ENFILE,
	FAULT_ACCEPT_ENOMEM,
	FAULT_QUEUE_FULL,      /* what was prepared so far is submitted in the middle of preparing */
	FAULT_OVERFLOW,        /* completions are held back over several waits */
	FAULT_FEW,             /* completions come one or two a wait */
	FAULT_LATE_START,      /* an operation is done some time after it was submitted */
	FAULT_LATE_COMPLETION, /* its completion comes some time after it was done */
	FAULT_LATE_CANCEL,     /* a cancel's own completion comes after its slot was used again */
	FAULT_WRITABLE_EARLY,  /* "writable", but a send would block */
	FAULT_WOKEN_EARLY,     /* a wait ends with nothing */
	FAULT_SLOT_AGAIN,      /* a slot is used again in the very batch that says it is closed */
	FAULT_PEER_UNKNOWN,
	FAULT_ALLOCATION,
	FAULT_CLOCK_JUMP,
	FAULT_PREEMPTED, /* another thread runs between two steps of a tick */
	FAULT_CONNECT_REFUSED,
	FAULT_CONNECT_HANGS,    /* until it is cancelled */
	FAULT_NAME_FAILED,      /* a resolver that answers nothing just now, or too many questions */
	FAULT_NAME_LATE,        /* its answer may come after the time-out */
	FAULT_ZERO_COPY_FAILED, /* no memory to pin, or no such thing on this socket */
	FAULT_COPIED,           /* the kernel let go, and says that it had copied */
	FAULT_LATE_RELEASE,     /* it lets go long after the peer has read */
	FAULT_NO_RELEASE,       /* the peer reads, but its system acknowledges nothing until the connection is reset */
	FAULT_NO_KERNEL_TLS,    /* its module is missing */
	FAULT_KEYS_REFUSED,     /* or it does not take these keys */
	/* no faults, but what has to be met as well */
	MET_COMPRESSED,      /* a message that came compressed by itself */
	MET_COHORT,          /* or with those before it */
	MET_SENT_COMPRESSED, /* one that a peer compressed */
	MET_WRONG_STREAM,    /* and one that does not inflate, or to too much */
	MET_RECORD,          /* plaintext out of a TLS record */
	MET_KEY_UPDATE,      /* a peer takes new keys, and may ask for ours */
	MET_WRONG_RECORD,    /* or does what no peer may */
	MET_EVENT,           /* a message as a server-sent event */
	MET_KERNEL_TLS,      /* a socket whose kernel makes the records */
	MET_MEMORY_SHORT,    /* a connection that had to go because most was kept for it */
	MET_AGAIN,           /* a connection of ours that came back */
	MET_GIVEN_UP,        /* or that rc_close() gave up, at any moment of its life */
	MET_OTHER_ADDRESS,   /* or that opened after another address had failed */
	MET_PLACED,          /* bytes that were received where they belong */
	MET_STATE,           /* a reader that began with a state */
	MET_RESYNC,          /* or that was overrun, and began anew with one */
	MET_CONFLATED,       /* or that got the newest of each key alone */
	MET_HEARTBEAT,       /* or that heard that nothing was missing */
	MET_REPLICA,         /* a message that was numbered elsewhere */
	MET_EPOCH,           /* a reader that was told of another epoch */
	FAULT_COUNT
};
extern const char *const sim_fault_names[FAULT_COUNT];

#define WORKERS_MAX 4
#define PUBLISHERS_MAX 2
#define FIBERS_MAX (WORKERS_MAX + PUBLISHERS_MAX)
#define TOPICS 8
#define PEERS_MAX 64
#define MESSAGES_MAX 8192
#define BOOKS 2   /* keyed topics */
#define STREAMS 2 /* topics that are numbered elsewhere */
#define BOOK_MESSAGES_MAX 4096

struct sim {
	uint64_t seed, state; /* of the randomness */
	uint64_t now_ns, step, hash;
	uint32_t weights[FAULT_COUNT]; /* of 65536 */
	uint64_t struck_here[FAULT_COUNT];
	uint64_t start_ns, step_ns; /* a step of somebody takes up to step_ns */
	bool crowd;                 /* everybody wants the same few topics, and changes its mind often */
	bool quiet;                 /* no more faults, and nobody is slow any more */
	bool stopping;              /* rc_server_stop() was called */
	bool secure;                /* some connections are TLS */
	bool books;                 /* some peers keep a book of keyed topics */
	bool books_short;           /* of whose values some have to be dropped */
	bool events;                /* some peers read server-sent events, so all that is published is text */
	bool old_kernel;            /* options are set at once */
	bool stepped;               /* workers are inside a loop of the program's own */
	bool verbose;
	uint64_t jumped_ns; /* when the clock jumped last */
	rc_server *server;
	struct rc_config config;
	unsigned publisher_count;
	uint64_t live_blocks; /* memory taken and not given back */
	unsigned open_fds;
	int results[WORKERS_MAX];        /* of rc_server_run() */
	uint64_t held_most[WORKERS_MAX]; /* by all workers, at a pause of the worker's tick */
};
extern struct sim sim;
extern uint64_t sim_struck[FAULT_COUNT]; /* over all seeds */

uint64_t sim_random(void);
uint32_t sim_below(uint32_t count); /* 0 when count is 0 */
static inline uint32_t sim_between(uint32_t low, uint32_t high)
{
	return low + sim_below(high - low + 1);
}
static inline bool sim_one_in(uint32_t count)
{
	return sim_below(count) == 0;
}
bool sim_fault(enum fault kind);
void sim_met(enum fault kind);
/* Whether there may be no memory for something: an allocation failed, or there is a budget. */
static inline bool sim_memory_lacks(void)
{
	return sim.struck_here[FAULT_ALLOCATION] || sim.config.memory_max;
}
void sim_mix(uint64_t value); /* into the hash of the run */

_Noreturn void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define CHECK(condition, ...) ((condition) ? (void)0 : sim_fail(__VA_ARGS__))
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define TRACE(...) (sim.verbose ? sim_trace(__VA_ARGS__) : (void)0)

/* ---- world.c, run.c ---- */

void world_begin(uint64_t seed);  /* everything is as if nothing had run before */
bool world_make_server(void);     /* false: it could not be made, which is allowed */
uint64_t run_seed(uint64_t seed); /* returns the hash of the run */

/* ---- host.c ---- */

void host_reset(void);
void host_fiber(unsigned index, void (*run)(unsigned index));
bool host_resume(unsigned index); /* false: it has ended, now or before */
bool host_alive(unsigned index);
void host_yield(void); /* from a fiber */
void host_sleep(uint64_t ns);
uint64_t host_wake_ns(unsigned index); /* of a fiber that sleeps; 0 of one that does not */
int host_current(void);                /* -1: none, the world outside */
void host_preempt(void);               /* perhaps lets others go on */
int host_new_fd(void);
/* An eventfd's counter. */
uint64_t host_written(int fd);

/* ---- ring_sim.c ---- */

bool ring_can_run(struct rc_ring *ring); /* it is not waiting, or its wait is over */
bool ring_waits(struct rc_ring *ring);
bool ring_rests(struct rc_ring *ring);       /* nothing comes, nothing goes, whether it waits for that or not */
uint64_t ring_next_ns(struct rc_ring *ring); /* when something may happen by itself */
void ring_check_empty(struct rc_ring *ring); /* only listeners and the wake-up are left; every buffer came back */
void ring_reset(void);
struct ring_counts {
	uint64_t sends, received_size, starved;
};
extern struct ring_counts ring_counts; /* of completions that were taken, all rings of the run */

/* Listening sockets: made by rc_listen_open(), and by what dup() gives. */
bool listener_offer(unsigned peer); /* a connection begins; false when nobody listens */
void listener_reset(void);

/* ---- peer.c ---- */

enum peer_kind { PEER_CLIENT, PEER_SERVER };
enum peer_state { PEER_UNUSED, PEER_PLANNED, PEER_OFFERED, PEER_LINKED, PEER_OVER };
enum reader { READER_EAGER, READER_SLOW, READER_NEVER, READER_BURSTS, READER_KINDS };

/* One subscription of a peer to a topic, from one rc_subscribe() that succeeded to its end. */
struct interest {
	bool active;       /* not unsubscribed */
	bool posted;       /* by another thread: it may begin later, or not at all */
	bool posted_end;   /* and may end so */
	bool copied;       /* the first message comes as a copy: it counts as no delivery */
	bool forgotten;    /* the topic is not the one it was: nothing may come any more, but see may_come */
	bool made_anew;    /* the topic, since it was subscribed to or asked to be */
	bool may_come;     /* the rest of what had begun */
	uint64_t first;    /* sequence number that comes first; with `posted`, at least */
	uint64_t end;      /* when not active: no later number may come */
	uint64_t next;     /* number to come next; 0: none came yet */
	unsigned marker;   /* number of the message that says it begins; 0: none */
	uint64_t got, gap; /* messages that came; numbers left out between them */
	uint64_t got_before, gap_before; /* of those, before the last send */
};
#define INTERESTS_MAX 3

#define OUT_MAX 32768
#define UP_MAX 4096
#define DIRECT_MAX 512

struct peer {
	enum peer_state state;
	enum peer_kind kind;
	unsigned index;
	uint64_t next_ns; /* to act */
	/* the socket: up is towards the production code, down is from it */
	uint8_t up[UP_MAX];
	size_t up_begin, up_size;
	bool up_ended, reset_by_peer;
	size_t down_size, down_capacity;
	uint64_t down_total, read_total;      /* bytes that were sent; that the peer has read */
	bool down_ended, closed, reset_by_us; /* by the production code */
	unsigned address;                     /* last byte of it */
	bool over_unix, secure, unknown;      /* unknown: its address was not told */
	bool hangs_up;                        /* once what it has written is up */
	bool cut;                             /* by the production code, in a frame whose first part was sealed */
	/* what is to be written still */
	uint8_t out[OUT_MAX];
	size_t out_begin, out_end;
	size_t piece_max;
	/* its way of life */
	enum reader reader;
	unsigned actions_left;
	bool script_over, says_bye;
	uint64_t pause_ns;
	unsigned topics, want_last, want_since; /* in the request: a bit a topic */
	unsigned request;                       /* which one of script.c */
	bool offers, deflate;                   /* permessage-deflate: asked for, agreed */
	bool keeps_in, keeps_out;               /* context takeover, of what comes and what goes */
	bool compressed;                        /* the message that is coming */
	bool events;                            /* it reads server-sent events, and says nothing */
	bool books;                             /* it keeps a book of each keyed topic */
	uint64_t event_epoch, event_number;     /* of the last id */
	char line[48];                          /* so far, of what is no data */
	size_t line_size;
	bool in_data, has_data;
	int status;                    /* the answer it must get, 101 for an upgrade; 0: none */
	bool extra;                    /* it wrote more than its request before the answer */
	unsigned messages_out;         /* sent to the production code: numbers from 1 */
	unsigned messages_in;          /* of those, that arrived */
	uint16_t violation;            /* close code that its wrong frame must bring */
	uint16_t close_sent;           /* its own Close; 0: none */
	unsigned pings_out, pong_last; /* numbers */
	uint64_t violation_at;         /* up bytes before what it did wrong are right */
	uint64_t up_total;
	/* the tap */
	bool opened, response_over;
	int response; /* status that came */
	char head[2048];
	size_t head_size;
	uint8_t header[14];
	unsigned header_size;
	uint64_t payload_size, payload_done, plain_done;
	uint8_t start[128]; /* of the payload */
	uint16_t close_got; /* the Close that came; 0: none */
	uint64_t close_at;  /* bytes up to its end */
	struct {
		uint64_t at;
		uint8_t size;
		uint8_t bytes[125];
	} ping;
	bool ping_waits;
	/* what the application said to it */
	rc_conn conn;
	bool conn_open;  /* handlers.open was called, handlers.close not */
	unsigned closes; /* of handlers.close */
	struct rc_closing closing;
	bool requested;
	uint16_t app_close;
	unsigned direct[DIRECT_MAX];
	unsigned direct_begin, direct_end, direct_made;
	unsigned posted_made, posted_got;
	struct interest interests[TOPICS][INTERESTS_MAX];
	unsigned interest_count[TOPICS], interest_at[TOPICS]; /* made; the one that messages belong to now */
	unsigned marker_count;
	uint64_t bytes_in; /* up bytes that were handed to the production code */
	/* why it may have ended otherwise than it should */
	bool broken; /* a fault, or itself */
	uint64_t linked_ns;
	bool settled;
};
extern struct peer peers[PEERS_MAX];

void peer_reset_all(void);
void peer_plan(unsigned index);
void peer_step(struct peer *peer); /* it is its turn */
uint64_t peer_next_ns(const struct peer *peer);
bool peer_is_over(const struct peer *peer);
void peer_excuse(struct peer *peer, const char *why);
void peer_check(struct peer *peer); /* it has ended: did it end as it must? */
/* Puts bytes behind what is to be written. */
void peer_write(struct peer *peer, const void *bytes, size_t size);
void peer_reset(struct peer *peer);
void peer_refused(struct peer *peer); /* it never came to a connection */
bool peer_excused(const struct peer *peer);

/* ---- script.c ---- */

void script_begin(struct peer *peer);  /* the request or response */
void script_act(struct peer *peer);    /* what it does next */
void script_answer(struct peer *peer); /* to a request, when it is a server */
void script_frame(struct peer *peer, unsigned first, const void *payload, size_t size);
void script_close(struct peer *peer, uint16_t code);

/* ---- dials.c ---- */

void dials_reset(void);
bool dials_rest(void);                     /* each is open, or over */
void dial_offer(struct peer *peer);        /* rc_connect() to it */
void dial_give_up(struct peer *first);     /* rc_close() */
void dial_ends(const struct peer *life);   /* rc_close() is about to be called on its handle */
struct peer *dial_life(struct peer *peer); /* of those that we dial, the one that has the connection now */
void dial_opened(struct peer *first, rc_conn conn);
/* Returns the peer whose connection that was; null: there was none. */
struct peer *dial_closed(struct peer *first, rc_conn conn, const struct rc_closing *closing);
void names_step(void);
uint64_t names_next_ns(void);

/* ---- tap.c ---- */

void tap_take(struct peer *peer, const uint8_t *bytes, size_t size);
/* Bytes of messages are a function of a number. */
void tap_fill(uint8_t *to, unsigned number, size_t from, size_t size);

/* The same, opened if it was sealed. */
void tap_read(struct peer *peer, const uint8_t *bytes, size_t size);
/* Part of a message, inflated if need be. */
void tap_plain(struct peer *peer, const uint8_t *bytes, size_t size);

/* ---- secret.c ---- */

void secret_reset_all(void);
bool secret_serve(void);              /* gives the server its certificate */
void secret_begin(struct peer *peer); /* its connection is there */
bool secret_is_open(const struct peer *peer);
bool secret_is_half(const struct peer *peer); /* part of a record has come */
bool secret_waits(const struct peer *peer);   /* for room up */
bool secret_rests(const struct peer *peer);   /* it waits for nothing, the keys that it asked for included */
void secret_forget(struct peer *peer);
/* What is to go up next; more of what the peer writes is sealed if nothing waits. */
size_t secret_seal(struct peer *peer, const uint8_t **bytes);
void secret_went(struct peer *peer, size_t size);
void secret_act(struct peer *peer);
void secret_open(struct peer *peer, const uint8_t *bytes, size_t size);

/* ---- kernel.c ---- */

void kernel_reset_all(void);

/* ---- zip.c ---- */

const char *zip_offer(struct peer *peer); /* a header line, or nothing */
void zip_agree(struct peer *peer);        /* by the response's head */
void zip_take(struct peer *peer, const uint8_t *bytes, size_t size);
void zip_over(struct peer *peer);
size_t zip_message(struct peer *peer, const void *bytes, size_t size, uint8_t *to, size_t room); /* 0: goes plain */
size_t zip_bomb(uint8_t *to, size_t room);

/* ---- application.c, publisher.c ---- */

extern const struct rc_handlers application_handlers;
void application_reset(void);
void application_speak(void);               /* from another thread, to somebody */
void application_publisher(unsigned index); /* a fiber */
int64_t application_publish(unsigned topic, size_t size, unsigned flags);
bool application_mark(struct peer *peer, unsigned topic, unsigned marker); /* says to it where it begins */
extern uint64_t application_messages, application_closed, application_unsure, application_slow;
extern bool application_rests;

/* ---- books.c ---- */

extern const char *const books_topics[BOOKS];
void books_reset(void);
void books_publish(unsigned flags);
unsigned books_published_count(void);
/* Subscribes, in a way that `mode` chooses; or ends the subscription that there is. */
void books_subscribe(struct peer *peer, unsigned book, unsigned mode, bool opening);
void books_marked(struct peer *peer, unsigned book, unsigned marker);
void books_resync(struct peer *peer, const char *topic); /* handlers.resync was called */
/* Part of a message, and its end; false when it is not of a book. */
bool books_take(struct peer *peer, const uint8_t *bytes, size_t size);
bool books_over(struct peer *peer);
bool books_caught_up(const struct peer *peer);
void books_check(const struct peer *peer); /* that its books are true now */
bool books_may_close(const struct peer *peer);

/* ---- streams.c: for the peers that keep books ---- */

extern const char *const streams_topics[STREAMS];
void streams_reset(void);
void streams_begin(void); /* says where the stream begins */
void streams_publish(unsigned flags);
unsigned streams_published_count(void);
void streams_subscribe(struct peer *peer, unsigned topic, bool opening); /* or ends it */
void streams_marked(struct peer *peer, unsigned topic, unsigned marker);
void streams_resync(struct peer *peer, const char *topic);
bool streams_over(struct peer *peer, const uint8_t *bytes, size_t size); /* false when it is of none */
bool streams_caught_up(const struct peer *peer);

/* ---- oracle.c ---- */

struct message {
	uint64_t sequence, number, position, time_ns;
	uint32_t size;
	uint8_t topic;
	bool binary;
};
extern struct message oracle_messages[MESSAGES_MAX];
extern unsigned oracle_message_count;
extern const char *const oracle_topics[TOPICS];
extern struct rc_topic_options oracle_options[TOPICS];

void oracle_reset(void);
unsigned oracle_new_message(unsigned topic, size_t size, bool binary); /* 0: no more */
/* `behind`: so many messages follow it that were published with it. */
void oracle_published(unsigned id, int64_t result, unsigned behind);
void oracle_check_rounds(void);           /* none ends between such */
uint64_t oracle_sequence(unsigned topic); /* of the newest */
/* After rc_subscribe() returned 0 on the connection's worker, or, posted, on another thread. */
void oracle_subscribed(struct peer *peer, unsigned topic, const struct rc_start *start, unsigned marker);
void oracle_posted(struct peer *peer, unsigned topic);
void oracle_unsubscribed(struct peer *peer, unsigned topic);

/* ---- short.c ---- */

/* The production code says that it closes a connection because memory is short. */
void short_closed(struct peer *peer, rc_conn conn);
/* Whether any connection went for that. */
bool short_has_closed(void);
/* A tick of the worker that runs begins. */
void short_tick(void);
/* Others will run in the midst of what runs now. */
void short_pause(void);
struct interest *oracle_interest(struct peer *peer, unsigned topic); /* the newest, or null */
void oracle_marked(struct peer *peer, unsigned topic, unsigned marker);
void oracle_got(struct peer *peer, unsigned id, unsigned topic, size_t size, bool binary);
void oracle_before_send(struct peer *peer);
void oracle_close_code(struct peer *peer, uint16_t code); /* may the server say that now? */
bool oracle_caught_up(struct peer *peer);
void oracle_settle(struct peer *peer, bool alive); /* adds up what it must have been counted for */
void oracle_check_counters(void);

#endif
