/* SPDX-License-Identifier: MIT
 *
 * nodes.c - see nodes.h.
 */
#include "nodes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 4096 /* topics, or the slowest, of all nodes together */

/* ---- looking ---- */

static void *look(void *argument)
{
	struct node *node = argument;
	char *text = top_fetch(&node->source);
	json_t *seen = text ? json_loads(text, 0, NULL) : NULL;
	json_decref(node->before);
	node->before = node->now;
	node->now = seen;
	if (text && !json_is_object(json_object_get(seen, "total"))) {
		json_decref(seen);
		node->now = NULL;
		snprintf(node->source.words, sizeof node->source.words, "its page /stats is not ringcast's");
	}
	if (!node->now) {
		json_decref(node->before);
		node->before = NULL;
	}
	free(text);
	return NULL;
}

unsigned nodes_look(struct node *nodes, unsigned count)
{
	pthread_t threads[NODES_MAX];
	bool begun[NODES_MAX] = { false };
	unsigned answered = 0;
	/* The first is this thread's, and so is one whose thread cannot be had. */
	for (unsigned index = 1; index < count; index++)
		begun[index] = !pthread_create(&threads[index], NULL, look, &nodes[index]);
	for (unsigned index = 0; index < count; index++) {
		if (begun[index])
			pthread_join(threads[index], NULL);
		else
			look(&nodes[index]);
		answered += nodes[index].now != NULL;
	}
	return answered;
}

void nodes_free(struct node *nodes, unsigned count)
{
	for (unsigned index = 0; index < count; index++) {
		json_decref(nodes[index].before);
		json_decref(nodes[index].now);
	}
}

/* ---- adding ---- */

/* Adds the numbers of an object to those of another. Of a lag the larger one stays. */
static void add_numbers(json_t *sum, json_t *from)
{
	const char *name;
	json_t *value;
	json_object_foreach(from, name, value)
	{
		double old = json_number_value(json_object_get(sum, name)), new = json_number_value(value);
		if (!json_is_number(value))
			continue;
		if (!strcmp(name, "lag_ns"))
			json_object_set_new(sum, name, json_real(old > new ? old : new));
		else
			json_object_set_new(sum, name, json_real(old + new));
	}
}

static void add_ages(json_t *sum, const json_t *from)
{
	for (size_t index = 0; index < json_array_size(from); index++) {
		double new = json_number_value(json_array_get(from, index));
		if (index < json_array_size(sum))
			json_array_set_new(sum, index, json_real(json_number_value(json_array_get(sum, index)) + new));
		else
			json_array_append_new(sum, json_real(new));
	}
}

/* Topics of one name are one: `by_name` finds the sum of each. */
static void add_topics(json_t *by_name, const json_t *from)
{
	for (size_t index = 0; index < json_array_size(from); index++) {
		json_t *topic = json_array_get(from, index);
		const char *name = json_string_value(json_object_get(topic, "name"));
		if (!name)
			continue;
		if (!json_object_get(by_name, name))
			json_object_set_new(by_name, name, json_pack("{s:s}", "name", name));
		add_numbers(json_object_get(by_name, name), topic);
	}
}

static int compare(const json_t *a, const json_t *b, const char *name)
{
	double first = json_number_value(json_object_get(a, name)),
	       second = json_number_value(json_object_get(b, name));
	return (first < second) - (first > second);
}

static int compare_subscribers(const void *a, const void *b)
{
	return compare(*(json_t *const *)a, *(json_t *const *)b, "subscribers");
}

static int compare_lag(const void *a, const void *b)
{
	return compare(*(json_t *const *)a, *(json_t *const *)b, "lag_ns");
}

/* A list anew, the most important first. Frees `list`. */
static json_t *sort(json_t *list, int (*order)(const void *, const void *))
{
	static json_t *items[LIST_MAX];
	json_t *sorted = json_array();
	size_t count = json_array_size(list) < LIST_MAX ? json_array_size(list) : LIST_MAX;
	for (size_t index = 0; index < count; index++)
		items[index] = json_array_get(list, index);
	qsort(items, count, sizeof *items, order);
	for (size_t index = 0; sorted && index < count; index++)
		json_array_append(sorted, items[index]);
	json_decref(list);
	return sorted;
}

json_t *nodes_sum(const struct node *nodes, unsigned count, bool before)
{
	json_t *sum = json_pack("{s:{},s:[],s:f}", "total", "behind_by_age_ms", "cpu_seconds", 0.0);
	json_t *by_name = json_object(), *slowest = json_array(), *topics = json_array(), *topic;
	const char *name;
	unsigned added = 0;
	for (unsigned index = 0; sum && index < count; index++) {
		const json_t *look = before ? nodes[index].before : nodes[index].now;
		if (!nodes[index].before)
			continue;
		added++;
		add_numbers(json_object_get(sum, "total"), json_object_get(look, "total"));
		add_ages(json_object_get(sum, "behind_by_age_ms"), json_object_get(look, "behind_by_age_ms"));
		add_topics(by_name, json_object_get(look, "topics"));
		json_array_extend(slowest, json_object_get(look, "slowest"));
		json_object_set_new(sum, "cpu_seconds",
		                    json_real(json_number_value(json_object_get(sum, "cpu_seconds")) +
		                              json_number_value(json_object_get(look, "cpu_seconds"))));
	}
	json_object_foreach(by_name, name, topic) json_array_append(topics, topic);
	json_object_set_new(sum, "topics", sort(topics, compare_subscribers));
	json_object_set_new(sum, "slowest", sort(slowest, compare_lag));
	json_decref(by_name);
	if (added)
		return sum;
	json_decref(sum);
	return NULL;
}
