/* SPDX-License-Identifier: MIT
 *
 * nodes.h - the nodes themselves: who holds a lease, whose members are gone with it, and when this node says all of its
 * own again.
 *
 * A lease is a node's, not a connection's, so what it costs at rest grows with the nodes alone. When one ends, the
 * first of the nodes that are left writes for each member of the lost one that it has left, as that node would have
 * done. So a node's death is nothing new to anybody: its members leave in the one order, and everybody is told of them
 * in the same place. It is first whose number is the lowest; should it die over that, the next one does it, and writing
 * twice that somebody left does no harm.
 */
#ifndef APP_NODES_H
#define APP_NODES_H

#include <stdbool.h>
#include <stdint.h>

struct app;
struct backplane;
struct backplane_handlers;

/* What the backplane is to call, of control messages and of nodes. */
void app_nodes_handlers(struct app *app, struct backplane_handlers *handlers);
/* Once the backplane has been made. False without memory. */
bool app_nodes_begin(struct app *app, struct backplane *backplane, uint64_t seed);
void app_nodes_end(struct app *app);

/* Asks the other nodes for their figures, unless that was just done: they come as peers' figures (replica.h). */
void app_nodes_ask(struct app *app);
/* Tells the others this node's. On the follower's thread. */
void app_nodes_tell(struct app *app);

/* Says all members of this node again, soon. Any thread. */
void app_nodes_say_again(struct app *app);
/* Does what is due. About once a second; any thread. */
void app_nodes_look(struct app *app);

#endif
