/* SPDX-License-Identifier: MIT
 *
 * embed_replica.c - topics that are numbered elsewhere, in one epoch: which numbers are refused, where a topic begins,
 * and what a reader of the binary form is told of holes and losses.
 */
#include "replica_side.h"

/* ---- numbers ---- */

Test(replica, numbers_rise_and_have_holes, .init = begin, .fini = finish)
{
	cr_expect_eq(at("t", 7, 10, "a"), 10);
	cr_expect_eq(at("t", 7, 11, "b"), 11);
	cr_expect_eq(at("t", 7, 500, "c"), 500);
	cr_expect_eq(at("t", 7, 500, "again"), -EEXIST);
	cr_expect_eq(at("t", 7, 11, "older"), -EEXIST);
	cr_expect_eq(at("t", 7, 1, "oldest"), -EEXIST);
	EXPECT_HISTORY("t", 0, "7/10<9 a;7/11<10 b;7/500<11 c;");
	EXPECT_HISTORY("t", 11, "7/500<11 c;");
	EXPECT_HISTORY("t", 300, "7/500<11 c;");
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 500 && stats.oldest == 10 && stats.lost == 9);
}

Test(replica, a_number_is_whole_or_refused, .init = begin, .fini = finish)
{
	cr_expect_eq(at("t", 0, 1, "x"), -EINVAL);
	cr_expect_eq(at("t", 1, 0, "x"), -EINVAL);
	cr_expect_eq(at("t", (uint64_t)INT64_MAX + 1, 1, "x"), -EINVAL);
	cr_expect_eq(at("t", 1, (uint64_t)INT64_MAX + 1, "x"), -EINVAL);
	cr_expect_eq(at("t", INT64_MAX, INT64_MAX, "x"), INT64_MAX);
	cr_expect_eq(begin_topic("", 1, 1), -EINVAL);
	cr_expect_eq(begin_topic("u", 0, 1), -EINVAL);
	cr_expect_eq(begin_topic("u", 1, (uint64_t)INT64_MAX + 1), -EINVAL);
	cr_expect_eq(rc_server_begin(server, 1, (uint64_t)INT64_MAX + 1), -EINVAL);
	cr_expect_eq(topic_count(), 1);
}

static size_t make_text(void *context, uint64_t sequence, uint64_t epoch, const void **data)
{
	*data = context;
	return (size_t)sprintf(context, "%lu of %lu", sequence, epoch);
}

Test(replica, what_is_made_knows_the_number, .init = begin, .fini = finish)
{
	char text[64];
	struct rc_publication message = { .make = make_text, .context = text, .at_epoch = 3, .at_sequence = 44 };
	cr_expect_eq(rc_publish_with(server, "t", 1, &message), 44);
	cr_expect_eq(message.epoch, 3);
	EXPECT_HISTORY("t", 0, "3/44<43 44 of 3;");
}

Test(replica, of_many_those_are_left_out_that_are_there, .init = begin, .fini = finish)
{
	struct rc_batch_message messages[7];
	static const uint64_t numbers[7] = { 5, 5, 6, 4, 9, 2, 9 };
	int fd = reader_open("t");
	for (unsigned i = 0; i < 7; i++)
		messages[i] = (struct rc_batch_message){ .name = "t",
			                                 .name_size = 1,
			                                 .data = "abcdefg" + i,
			                                 .size = 1,
			                                 .at_epoch = 7,
			                                 .at_sequence = numbers[i] };
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), 7);
	static const int64_t results[7] = { 5, -EEXIST, 6, -EEXIST, 9, -EEXIST, -EEXIST };
	for (unsigned i = 0; i < 7; i++)
		cr_expect_eq(messages[i].result, results[i], "%u: %ld", i, messages[i].result);
	EXPECT_HISTORY("t", 0, "7/5<4 a;7/6<5 c;7/9<6 e;");
	expect_told(fd, "resync 7/4;7/5<4 a;7/6<5 c;7/9<6 e;");
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), 7, "all of them");
	cr_expect_eq(messages[4].result, -EEXIST);
	expect_told(fd, "");
	for (unsigned i = 0; i < 7; i++)
		messages[i].at_sequence = 0;
	cr_expect_eq(rc_publish_many(server, messages, 7, 0), -EINVAL);
	close(fd);
}

Test(replica, many_may_begin_anew_in_between, .init = begin, .fini = finish)
{
	static const uint64_t epochs[5] = { 7, 7, 8, 8, 8 }, numbers[5] = { 5, 8, 3, 3, 4 };
	struct rc_batch_message messages[5];
	int fd = reader_open("t");
	for (unsigned i = 0; i < 5; i++)
		messages[i] = (struct rc_batch_message){ .name = "t",
			                                 .name_size = 1,
			                                 .data = "abcde" + i,
			                                 .size = 1,
			                                 .at_epoch = epochs[i],
			                                 .at_sequence = numbers[i] };
	cr_expect_eq(rc_publish_many(server, messages, 5, 0), 5);
	cr_expect(messages[1].result == 8 && messages[2].result == 3 && messages[3].result == -EEXIST);
	cr_expect(messages[1].epoch == 7 && messages[4].epoch == 8);
	EXPECT_HISTORY("t", 0, "8/3<2 c;8/4<3 e;");
	expect_told(fd, "resync 8/2;8/3<2 c;8/4<3 e;");
	close(fd);
}

/* ---- where a topic begins ---- */

Test(replica, who_resumes_is_told_of_what_came_before, .init = begin, .fini = finish)
{
	cr_expect_eq(begin_topic("t", 7, 100), 0);
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 100 && stats.oldest == 0 && stats.lost == 100);
	expect_beginning("t?since=99&epoch=7", 100, "");
	expect_beginning("t?since=100&epoch=7", 0, "");
	cr_expect_eq(at("t", 7, 100, "x"), -EEXIST);
	cr_expect_eq(at("t", 7, 105, "a"), 105);
	cr_expect_eq(at("t", 7, 109, "b"), 109);
	expect_beginning("t?since=99&epoch=7", 100, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=100&epoch=7", 0, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=104&epoch=7", 0, "7/105<100 a;7/109<105 b;");
	expect_beginning("t?since=105&epoch=7", 0, "7/109<105 b;");
	expect_beginning("t?since=107&epoch=7", 0, "7/109<105 b;");
	expect_beginning("t?since=109&epoch=7", 0, "");
	expect_beginning("t?since=107&epoch=6", 100, "state 7/100;7/105<100 a;7/109<105 b;");
	expect_beginning("t?last=1", 0, "7/109<105 b;");
	cr_expect_eq(begin_topic("t", 7, 50), 0, "it has more than that");
	EXPECT_HISTORY("t", 0, "7/105<100 a;7/109<105 b;");
}

Test(replica, what_was_recycled_is_a_loss_however_far_apart_the_numbers_are, .init = begin, .fini = finish)
{
	rc_topic handle;
	cr_assert_eq(rc_topic_open(server, "t", 1, &handle), 0);
	at("t", 7, 10, "a");
	at("t", 7, 20, "b");
	come_around();
	cr_expect_eq(stats_of("t").lost, 20);
	expect_beginning("t?since=19&epoch=7", 20, "");
	expect_beginning("t?since=20&epoch=7", 0, "");
	at("t", 7, 90, "c");
	expect_beginning("t?since=19&epoch=7", 20, "7/90<20 c;");
	expect_beginning("t?since=20&epoch=7", 0, "7/90<20 c;");
	expect_beginning("t?since=50&epoch=7", 0, "7/90<20 c;");
	rc_topic_close(server, handle);
}

Test(replica, all_topics_begin_where_it_is_said, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 1000), 0);
	int fd = reader_open("t");
	struct rc_topic_stats stats = stats_of("t");
	cr_expect(stats.epoch == 7 && stats.sequence == 1000 && stats.lost == 1000);
	cr_expect_eq(at("t", 7, 1000, "x"), -EEXIST);
	cr_expect_eq(at("t", 7, 1003, "a"), 1003);
	expect_told(fd, "7/1003<1000 a;");
	expect_beginning("u?since=999&epoch=7", 1000, "");
	expect_beginning("u?since=1000&epoch=7", 0, "");
	cr_expect_eq(here("here", "h"), 1, "that one is the server's");
	cr_expect_eq(stats_of("here").lost, 0);
	cr_expect_eq(rc_server_begin(server, 0, 0), 0);
	cr_expect_eq(here("v", "h"), 1);
	cr_expect_eq(stats_of("t").epoch, 7);
	close(fd);
}

Test(replica, a_topic_that_was_forgotten_has_lost_what_it_had, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	at("t", 7, 40, "a");
	at("t", 7, 60, "b");
	come_around();
	cr_expect_eq(stats_of("t").epoch, 0, "it was forgotten");
	expect_beginning("t?since=59&epoch=7", 60, "");
	expect_beginning("t?since=60&epoch=7", 0, "");
	cr_expect_eq(at("t", 7, 60, "b"), -EEXIST);
	cr_expect_eq(at("t", 7, 70, "c"), 70);
	EXPECT_HISTORY("t", 0, "7/70<60 c;");
	expect_beginning("u?since=1&epoch=7", 0, "");
}

Test(replica, where_it_begins_is_known_until_it_has_begun, .init = begin, .fini = finish)
{
	cr_expect_eq(begin_topic("t", 7, 100), 0);
	come_around();
	cr_expect_eq(stats_of("t").lost, 100);
	at("t", 7, 101, "a");
	come_around();
	cr_expect_eq(stats_of("t").epoch, 0, "nothing holds it any more");
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	cr_expect_eq(begin_topic("t", 7, 200), 0);
	cr_expect_eq(stats_of("t").epoch, 0, "its place among those that were forgotten does");
	cr_expect_eq(at("t", 7, 201, "a"), 201);
	EXPECT_HISTORY("t", 0, "7/201<200 a;");
}

Test(replica, a_node_may_be_behind_the_one_that_its_client_comes_from, .init = begin, .fini = finish)
{
	cr_expect_eq(rc_server_begin(server, 7, 0), 0);
	at("t", 7, 40, "a");
	int fd = reader_open("t?since=45&epoch=7");
	expect_told(fd, "");
	cr_expect_eq(started.lost, 0);
	at("t", 7, 43, "b");
	at("t", 7, 45, "c");
	at("t", 7, 50, "d");
	expect_told(fd, "7/50<45 d;");
	at("t", 7, 51, "e");
	expect_told(fd, "7/51<50 e;");
	close(fd);
	fd = reader_open("t?since=55&epoch=7&rate=100");
	at("t", 7, 52, "f");
	expect_told(fd, "");
	at("t", 7, 55, "g");
	at("t", 7, 56, "h");
	expect_told(fd, "7/56<55 h;");
	close(fd);
}
