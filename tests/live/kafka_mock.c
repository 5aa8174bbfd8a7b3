/* SPDX-License-Identifier: MIT
 *
 * kafka_mock.c - a Kafka cluster of one broker for the tests: librdkafka's own mock, which listens on loopback. The
 * first line it prints is where. It does what the lines of its input say, answers each with "0" or an error's number,
 * and ends with its input. It knows nothing of ringcast.
 *
 *      topic NAME   makes a topic with one partition
 *      down, up     the broker refuses connections, and answers again
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <string.h>

static int obey(rd_kafka_mock_cluster_t *cluster, char *line)
{
	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(line, "topic ", 6))
		return rd_kafka_mock_topic_create(cluster, line + 6, 1, 1);
	if (!strcmp(line, "down"))
		return rd_kafka_mock_broker_set_down(cluster, 1);
	if (!strcmp(line, "up"))
		return rd_kafka_mock_broker_set_up(cluster, 1);
	return -1;
}

int main(void)
{
	char line[256], wrong[256];
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	rd_kafka_conf_set(conf, "log_level", "0", wrong, sizeof wrong);
	rd_kafka_t *owner = rd_kafka_new(RD_KAFKA_PRODUCER, conf, wrong, sizeof wrong);
	rd_kafka_mock_cluster_t *cluster = owner ? rd_kafka_mock_cluster_new(owner, 1) : NULL;
	if (!cluster)
		return fprintf(stderr, "kafka_mock: %s\n", owner ? "no cluster" : wrong), 1;
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	fflush(stdout);
	while (fgets(line, sizeof line, stdin)) {
		printf("%d\n", obey(cluster, line));
		fflush(stdout);
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(owner);
	return 0;
}
