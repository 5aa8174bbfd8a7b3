/* SPDX-License-Identifier: MIT
 *
 * game.c - a game of 20 ticks a second: players run over a field without an edge, and each sees who is near.
 *
 * A player is a topic: what this player sees. The policy skips, so whoever's network stalled goes on with the newest.
 * All of the game is touched on the one worker, where the clock's thread posts the tick. So there is no lock.
 */
#include <ringcast.h>
#include <ringcast_publish.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define PLAYERS_MAX 16
#define FIELD_SIZE 64 /* each way; a power of two: a mask leads around the edge */
#define SIGHT 8

static struct player {
	bool here;
	int x, y, step_x, step_y;
	char topic[16];
} players[PLAYERS_MAX];

static int on_request(void *context, rc_request *request)
{
	struct player *player = players;
	(void)context;
	while (player->here)
		if (++player == players + PLAYERS_MAX)
			return 503; /* full */
	int i = (int)(player - players), size = sprintf(player->topic, "player/%d", i);
	if (!rc_request_is_websocket(request) ||
	    rc_subscribe(rc_request_server(request), rc_request_conn(request), player->topic, (size_t)size, NULL) < 0)
		return 400;
	player->here = true; /* until on_close, which comes once for whatever was accepted here */
	player->x = 4 * i, player->y = player->step_x = player->step_y = 0;
	rc_request_set_user(request, player);
	return 0;
}

/* "left", "right", "up" or "down" set the course; all else stops. */
static void on_message(void *context, rc_conn conn, void *user, const struct rc_message *message)
{
	int letter = message->size ? message->data[0] : 0;
	struct player *player = user;
	(void)context, (void)conn;
	player->step_x = (letter == 'r') - (letter == 'l');
	player->step_y = (letter == 'd') - (letter == 'u');
}

static void on_close(void *context, rc_conn conn, void *user, const struct rc_closing *closing)
{
	(void)context, (void)conn, (void)closing;
	((struct player *)user)->here = false;
}

static size_t view(const struct player *one, unsigned tick, char *text)
{
	int size = sprintf(text, "{\"tick\":%u,\"you\":[%d,%d],\"near\":[", tick, one->x, one->y);
	for (struct player *other = players; other < players + PLAYERS_MAX; other++)
		if (other->here && other != one && abs(other->x - one->x) <= SIGHT && abs(other->y - one->y) <= SIGHT)
			size += sprintf(text + size, "%s[%d,%d]", text[size - 1] == '[' ? "" : ",", other->x, other->y);
	size += sprintf(text + size, "]}");
	return (size_t)size;
}

/* On the worker. All move before anybody looks, and all views are published as one: so all see the same moment. */
static void tick(void *server)
{
	static unsigned number;
	static char texts[PLAYERS_MAX][64 + 16 * PLAYERS_MAX];
	struct rc_batch_message views[PLAYERS_MAX] = { 0 };
	size_t count = 0;
	number++;
	for (struct player *player = players; player < players + PLAYERS_MAX; player++) {
		player->x = (player->x + player->step_x) & (FIELD_SIZE - 1);
		player->y = (player->y + player->step_y) & (FIELD_SIZE - 1);
	}
	for (struct player *player = players; player < players + PLAYERS_MAX; player++)
		if (player->here) {
			views[count].name = player->topic, views[count].name_size = strlen(player->topic);
			views[count].data = texts[count], views[count].size = view(player, number, texts[count]);
			count++;
		}
	rc_publish_many(server, views, count, 0);
}

int main(int argc, char **argv)
{
	struct rc_config config;
	struct rc_error error;
	sigset_t awaited; /* blocked here and thereby in the workers: this thread waits for them */
	int number;
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGINT);
	sigaddset(&awaited, SIGTERM);
	sigaddset(&awaited, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &awaited, NULL);
	rc_config_init(&config);
	config.worker_count = 1;
	config.policy = RC_POLICY_SKIP;
	config.handlers = (struct rc_handlers){ .request = on_request, .message = on_message, .close = on_close };
	rc_server *server = rc_server_new(&config, &error);
	int port = server ? rc_server_listen(server, argc > 1 ? argv[1] : "127.0.0.1:8080", &error) : -1;
	if (port < 0 || rc_server_start(server, &error) < 0)
		return fprintf(stderr, "game: %s\n", error.text), 1;
	printf("listening on ws://127.0.0.1:%d\n", port);
	fflush(stdout);
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, 50000 }, { 0, 50000 } }, NULL); /* 20 a second */
	while (sigwait(&awaited, &number) == 0 && number == SIGALRM)
		rc_post(server, 0, tick, server);
	rc_server_stop(server, 1000);
	rc_server_join(server);
	rc_server_free(server);
	return 0;
}
