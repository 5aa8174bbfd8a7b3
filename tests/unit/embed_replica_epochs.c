/* SPDX-License-Identifier: MIT
 *
 * embed_replica_epochs.c - topics that are numbered elsewhere, when they begin anew: what readers are told, and what
 * becomes of handles, history, states and last values; and all of it at random.
 */
#include "replica_side.h"
#include "seed.h"

/* ---- another epoch ---- */

Test(replica, another_epoch_is_told_and_nothing_of_the_old_one_given, .init = begin, .fini = finish)
{
	at("t", 7, 10, "a");
	int fd = reader_open("t"), other = reader_open("t?since=0&epoch=7");
	expect_told(other, "7/10<9 a;");
	cr_expect_eq(at("t", 8, 3, "b"), 3);
	expect_told(fd, "resync 8/2;8/3<2 b;");
	expect_told(other, "resync 8/2;8/3<2 b;");
	cr_expect_eq(resyncs, 2);
	EXPECT_HISTORY("t", 0, "8/3<2 b;");
	expect_beginning("t?since=9&epoch=7", 2, "state 8/2;8/3<2 b;");
	cr_expect_eq(begin_topic("t", 9, 77), 0);
	expect_told(fd, "resync 9/77;");
	EXPECT_HISTORY("t", 0, "");
	cr_expect_eq(begin_topic("t", 9, 90), 0, "what lies between never came");
	expect_told(fd, "resync 9/90;");
	at("t", 9, 91, "c");
	expect_told(fd, "9/91<90 c;");
	cr_expect_eq(topic_count(), 3, "two of them until the log is recycled");
	come_around();
	cr_expect_eq(topic_count(), 2);
	cr_expect_eq(stats_of("t").subscribers, 2);
	close(fd);
	close(other);
}

static size_t make_no_text(void *context, const struct rc_numbers *numbers, const void **data)
{
	(void)context, (void)numbers;
	*data = "\xff";
	return 1;
}

/* It has begun anew though nothing came of the message, and stays so. */
Test(replica, an_epoch_whose_first_message_fails_is_told_too, .init = begin, .fini = finish)
{
	struct rc_publication message = { .make_of = make_no_text, .at_epoch = 8, .at_sequence = 3 };
	at("t", 7, 10, "a");
	int fd = reader_open("t");
	cr_expect_eq(rc_publish_with(server, "t", 1, &message), -EILSEQ);
	expect_told(fd, "resync 8/2;");
	at("t", 8, 4, "b");
	expect_told(fd, "8/4<2 b;");
	close(fd);
}

Test(replica, keys_and_last_values_go_with_their_epoch, .init = begin, .fini = finish)
{
	at_key("k", 7, 10, "a");
	at_key("l", 7, 20, "b");
	cr_expect_str_eq(state().text, "7/10<9 a;7/20<10 b;");
	expect_beginning("t?state=1", 0, "state 7/20;7/10<9 a;7/20<10 b;");
	at_key("k", 7, 35, "c");
	expect_beginning("t?state=1&since=20&epoch=7", 0, "7/35<20 c;");
	come_around();
	cr_expect_str_eq(state().text, "7/20<10 b;7/35<20 c;", "kept, with the number before each");
	expect_beginning("t?state=1&since=9&epoch=7", 35, "state 7/35;7/20<10 b;7/35<20 c;");
	int fd = reader_open("t?state=1");
	expect_told(fd, "state 7/35;7/20<10 b;7/35<20 c;");
	at_key("l", 8, 1, "d");
	expect_told(fd, "resync 8/0;8/1<0 d;");
	cr_expect_str_eq(state().text, "8/1<0 d;");
	struct rc_stats stats;
	rc_server_stats(server, &stats);
	cr_expect(stats.keys == 1 && stats.state_size == 0);
	close(fd);

	at("kept", 7, 10, "a");
	at("kept", 7, 30, "b");
	come_around();
	expect_beginning("kept?last=1", 0, "7/30<10 b;");
	begin_topic("kept", 8, 0);
	expect_beginning("kept?last=1", 0, "");
}

Test(replica, the_server_gives_no_numbers_of_the_stream, .init = begin, .fini = finish)
{
	at("t", 7, 10, "a");
	int fd = reader_open("t");
	cr_expect_eq(here("t", "b"), 1);
	uint64_t epoch = stats_of("t").epoch;
	cr_expect_neq(epoch, 7);
	char wanted[100];
	snprintf(wanted, sizeof wanted, "resync %lu/0;%lu/1<0 b;", epoch, epoch);
	expect_told(fd, wanted);
	at("t", 7, 10, "a");
	expect_told(fd, "resync 7/9;7/10<9 a;");
	close(fd);
}

Test(replica, handles_stay_good, .init = begin, .fini = finish)
{
	rc_topic first, second;
	cr_assert_eq(rc_topic_open(server, "t", 1, &first), 0);
	for (uint64_t epoch = 7; epoch < 20; epoch++) {
		struct rc_publication message = {
			.data = "a", .size = 1, .topic = first, .at_epoch = epoch, .at_sequence = 5
		};
		cr_expect_eq(rc_publish_with(server, NULL, 0, &message), 5);
		cr_expect_eq(message.epoch, epoch);
	}
	cr_assert_eq(rc_topic_open(server, "t", 1, &second), 0);
	cr_expect_eq(rc_publish_to(server, second, "b", 1, 0), 1);
	cr_expect_eq(rc_publish_to(server, first, "c", 1, 0), 2);
	EXPECT_HISTORY("t", 1, history("t", 1).text);
	come_around();
	cr_expect_eq(topic_count(), 4, "who was opened, and who has the name");
	cr_expect_eq(rc_topic_close(server, first), 0);
	cr_expect_eq(rc_topic_close(server, first), -ENOENT);
	cr_expect_eq(rc_publish_to(server, second, "d", 1, 0), 3);
	cr_expect_eq(rc_topic_close(server, second), 0);
	cr_expect_eq(rc_publish_to(server, second, "d", 1, 0), -ENOENT);
	come_around();
	cr_expect_eq(topic_count(), 1);
}

Test(replica, all_topics_of_the_stream_begin_anew_with_it, .init = begin, .fini = finish)
{
	rc_server_begin(server, 7, 10);
	at("t", 7, 20, "a");
	here("here", "x");
	int one = reader_open("t"), other = reader_open("u"), own = reader_open("here");
	cr_expect_eq(rc_server_begin(server, 7, 15), 0);
	expect_told(one, "");
	expect_told(other, "resync 7/15;");
	cr_expect_eq(rc_server_begin(server, 8, 3), 0);
	expect_told(one, "resync 8/3;");
	expect_told(other, "resync 8/3;");
	expect_told(own, "");
	cr_expect_eq(at("t", 8, 3, "b"), -EEXIST);
	cr_expect_eq(at("t", 8, 4, "b"), 4);
	expect_told(one, "8/4<3 b;");
	close(one);
	close(other);
	close(own);
}

/* ---- all at once ---- */

/* A stream of some topics, which loses its data now and then; each reader knows what it must have been told. */
enum { TOPICS = 6, READERS = 12, STEPS = 3000 };

static void follow(int fd, uint64_t *epoch, uint64_t *sequence)
{
	struct frame frame;
	while (next_frame(fd, &frame, 0)) {
		if (frame.kind == 1 || frame.kind == 2) {
			cr_assert(frame.epoch > *epoch || frame.sequence >= *sequence);
			*epoch = frame.epoch;
			*sequence = frame.sequence;
			continue;
		}
		cr_assert_eq(frame.epoch, *epoch, "epoch %lu without a word after %lu", frame.epoch, *epoch);
		cr_assert_leq(frame.previous, *sequence, "%lu has %lu before it, after %lu", frame.sequence,
		              frame.previous, *sequence);
		cr_assert_gt(frame.sequence, *sequence);
		*sequence = frame.sequence;
	}
}

Test(replica, readers_of_a_stream_that_is_lost_now_and_then, .init = begin, .fini = finish, .timeout = 120)
{
	uint64_t seed = seed_of("replica"), epoch = 100, sequence = 0, newest[TOPICS] = { 0 };
	struct {
		int fd;
		unsigned topic;
		uint64_t epoch, sequence;
	} readers[READERS] = { 0 };
	char name[64];
	rc_server_begin(server, epoch, sequence);
	for (unsigned step = 0; step < STEPS; step++) {
		unsigned topic = (unsigned)below(&seed, TOPICS);
		snprintf(name, sizeof name, "topic%u", topic);
		sequence += 1 + below(&seed, 3);
		cr_assert_eq(at(name, epoch, sequence, "payload"), (int64_t)sequence);
		newest[topic] = sequence;
		if (below(&seed, 300) == 0) {
			rc_server_begin(server, ++epoch, sequence = below(&seed, 50));
			memset(newest, 0, sizeof newest);
		}
		unsigned i = (unsigned)below(&seed, READERS);
		if (readers[i].fd && below(&seed, 20)) {
			follow(readers[i].fd, &readers[i].epoch, &readers[i].sequence);
			continue;
		}
		if (readers[i].fd)
			close(readers[i].fd);
		else
			readers[i].topic = topic;
		snprintf(name, sizeof name, "topic%u?since=%lu&epoch=%lu", readers[i].topic, readers[i].sequence,
		         readers[i].epoch ? readers[i].epoch : epoch);
		if (!readers[i].epoch)
			readers[i].epoch = epoch;
		readers[i].fd = reader_open(name);
		if (started.lost > readers[i].sequence && started.epoch == readers[i].epoch)
			readers[i].sequence = started.lost;
	}
	for (unsigned i = 0; i < READERS; i++) {
		for (unsigned tries = 0; readers[i].fd && tries < 100; tries++) {
			follow(readers[i].fd, &readers[i].epoch, &readers[i].sequence);
			if (readers[i].epoch == epoch && readers[i].sequence >= newest[readers[i].topic])
				break;
			usleep(20000);
		}
		if (!readers[i].fd)
			continue;
		cr_assert(readers[i].epoch == epoch && readers[i].sequence >= newest[readers[i].topic],
		          "reader %u: %lu/%lu, and the newest of topic%u is %lu/%lu", i, readers[i].epoch,
		          readers[i].sequence, readers[i].topic, epoch, newest[readers[i].topic]);
		close(readers[i].fd);
	}
}
