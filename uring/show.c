/* SPDX-License-Identifier: MIT
 *
 * show.c - see show.h. It must not know how anything is sent. Invariant: `index` values of the picture end at or before
 * `at`, and the next one behind it.
 */
#include "show.h"

#include "worker.h"

int rc_shows_open(struct worker *worker)
{
	/* Pages of slots that are shown nothing take no memory. */
	worker->shows.of_slot = rc_map(worker->slot_count * sizeof *worker->shows.of_slot);
	return worker->shows.of_slot ? 0 : -ENOMEM;
}

void rc_shows_close(struct worker *worker)
{
	for (uint32_t slot = 0; worker->shows.of_slot && slot < worker->slot_high; slot++)
		rc_show_end(worker, slot);
	rc_unmap(worker->shows.of_slot, worker->slot_count * sizeof *worker->shows.of_slot);
	worker->shows.of_slot = NULL;
}

static struct show *show_of(const struct worker *worker, uint32_t slot)
{
	return &worker->shows.of_slot[slot];
}

/* Where the last value that has left whole ends. */
static uint64_t whole_end(const struct show *show)
{
	return show->index ? show->picture->ends[show->index - 1] : 0;
}

void rc_show_begin(struct worker *worker, uint32_t slot, struct picture *picture, uint32_t subscription)
{
	struct show *show = show_of(worker, slot);
	RC_ASSERT(!show->picture);
	*show = (struct show){ .picture = picture, .subscription = subscription + 1 };
}

bool rc_show_is_on(const struct worker *worker, uint32_t slot)
{
	const struct show *show = show_of(worker, slot);
	return show->picture && show->subscription;
}

bool rc_show_is_within(const struct worker *worker, uint32_t slot)
{
	const struct show *show = show_of(worker, slot);
	return show->picture && show->at > whole_end(show);
}

/* The index of the first value that ends behind `at`. */
static uint32_t index_behind(const struct picture *picture, uint32_t low, uint64_t at)
{
	uint32_t high = picture->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (picture->ends[middle] <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct rc_range rc_show_next(const struct worker *worker, uint32_t slot, size_t size_max)
{
	const struct show *show = show_of(worker, slot);
	const struct picture *picture = show->picture;
	if (show->index == picture->count || (!show->subscription && show->at == whole_end(show)))
		return (struct rc_range){ 0 };
	uint64_t end = picture->ends[show->index];
	if (show->subscription && show->at == whole_end(show)) {
		uint32_t index = index_behind(picture, show->index, show->at + size_max);
		end = index > show->index ? picture->ends[index - 1] : end;
	}
	return (struct rc_range){ picture->bytes + show->at, RC_MIN(end - show->at, size_max) };
}

uint32_t rc_show_sent(struct worker *worker, uint32_t slot, size_t size)
{
	struct show *show = show_of(worker, slot);
	uint32_t before = show->index;
	show->at += size;
	show->index = index_behind(show->picture, show->index, show->at);
	return show->index - before;
}

void rc_show_end(struct worker *worker, uint32_t slot)
{
	struct show *show = show_of(worker, slot);
	if (!show->picture)
		return;
	rc_picture_drop(worker->server, show->picture);
	*show = (struct show){ 0 };
}

void rc_show_abandon(struct worker *worker, uint32_t slot, uint32_t subscription)
{
	struct show *show = show_of(worker, slot);
	if (show->picture && show->subscription == subscription + 1)
		show->subscription = 0;
	if (show->picture && !show->range.size && !rc_show_next(worker, slot, 1).size)
		rc_show_end(worker, slot);
}
