/*
 * SPDX-License-Identifier: Apache-2.0
 */

/*
 * Clients over TCP.
 *
 * Each place for a client has a thread that waits for its bytes, so that the controller never does. What the
 * controller has not taken yet waits in the place's ring, and beyond that in the sender, which TCP holds back. A
 * client that goes by itself is gone when the controller has taken all that came before. Who does not take what it is
 * sent is given up: nobody waits for one client, but a little for a buffer of the network's
 * (CONFIG_NET_TCP_PKT_ALLOC_TIMEOUT), which Zephyr waits for whatever it is asked.
 */

#include <errno.h>
#include <string.h>

#include <zephyr/kernel.h>
#include <zephyr/net/net_if.h>
#include <zephyr/net/socket.h>
#include <zephyr/sys/atomic.h>
#include <zephyr/sys/printk.h>
#include <zephyr/sys/ring_buffer.h>

#include <rekindle/controller.h>

#define CLIENTS CONFIG_REKINDLE_CONTROLLER_CLIENTS

/* How often a thread that waits for bytes looks whether its client was given up. */
#define LOOK_MS 500
/* A client from which no whole frame came for so long makes room for one that comes; one that never sent any, sooner. */
#define SILENT_MS 60000
#define GREET_MS  10000
/* A client that is to go when it has taken what waits for it has so long for that. */
#define PART_MS 3000

/* A state behind those of REKINDLE_CLIENT_*: let go of, its thread is closing the connection. */
#define CLIENT_LEAVING (REKINDLE_CLIENT_GONE + 1)

struct client {
	/* One of REKINDLE_CLIENT_*, or CLIENT_LEAVING. */
	atomic_t state;
	/* It is given up: nothing that it has sent counts any more. */
	atomic_t dropped;
	/* Its connection takes nothing any more; what came over it still counts. */
	atomic_t deaf;
	/* It is to go when it has taken what waits for it, at the latest PART_MS after parted_ms. */
	atomic_t parting;
	atomic_t parted_ms;
	int fd;
	/* When its last frame came, in milliseconds since boot that wrap around. */
	atomic_t heard_ms;
	struct ring_buf rx;
	struct ring_buf tx;
	/* A connection, or its end, for the place's thread. */
	struct k_sem given;
	/* The controller has taken bytes, or given the client up. */
	struct k_sem room;
	uint8_t rx_bytes[CONFIG_REKINDLE_CONTROLLER_CLIENT_RX_SIZE];
	uint8_t tx_bytes[CONFIG_REKINDLE_CONTROLLER_CLIENT_TX_SIZE];
};

static struct client clients[CLIENTS];
static struct k_thread threads[CLIENTS];
static K_THREAD_STACK_ARRAY_DEFINE(stacks, CLIENTS, CONFIG_REKINDLE_CONTROLLER_CLIENT_STACK_SIZE);
static struct k_thread door;
static K_THREAD_STACK_DEFINE(door_stack, CONFIG_REKINDLE_CONTROLLER_CLIENT_STACK_SIZE);

/* Bytes received at the place, 0 if there were none for a while, negative at the end. */
static int receive(struct client *client, uint8_t *place, uint32_t room)
{
	struct zsock_pollfd ready = {.fd = client->fd, .events = ZSOCK_POLLIN};
	ssize_t n = zsock_poll(&ready, 1, LOOK_MS);

	if (n <= 0) {
		/* Who cannot be waited for has to go: trying again at once would let nobody else run. */
		return (int)n;
	}
	n = zsock_recv(client->fd, place, room, ZSOCK_MSG_DONTWAIT);
	if (n > 0) {
		return (int)n;
	}
	return (n < 0 && (errno == EAGAIN || errno == EINTR)) ? 0 : -ENOTCONN;
}

static uint32_t since_ms(const atomic_t *then_ms)
{
	return k_uptime_get_32() - (uint32_t)atomic_get(then_ms);
}

/* Whether a client from which nothing came for a while has nothing left to wait for. */
static bool is_done(struct client *client)
{
	return atomic_get(&client->deaf) != 0 ||
	       (atomic_get(&client->parting) != 0 && ring_buf_is_empty(&client->tx));
}

static bool is_late(const struct client *client)
{
	return atomic_get(&client->parting) != 0 && since_ms(&client->parted_ms) >= PART_MS;
}

/* Until the client goes, or is to. */
static void attend(struct client *client)
{
	while (atomic_get(&client->dropped) == 0 && !is_late(client)) {
		uint8_t *place;
		uint32_t room = ring_buf_put_claim(&client->rx, &place, UINT32_MAX);
		int n = (room > 0U) ? receive(client, place, room) : 0;

		(void)ring_buf_put_finish(&client->rx, (uint32_t)MAX(n, 0));
		if (n > 0) {
			rekindle_wake();
		} else if (room == 0U) {
			(void)k_sem_take(&client->room, K_MSEC(LOOK_MS));
		} else if (n < 0 || is_done(client)) {
			return;
		}
	}
}

/* Until the controller has taken what came before the end, which it would not look for behind that. */
static void await_taken(struct client *client)
{
	while (atomic_get(&client->dropped) == 0 && !ring_buf_is_empty(&client->rx)) {
		(void)k_sem_take(&client->room, K_MSEC(LOOK_MS));
	}
}

static void serve(void *one, void *p2, void *p3)
{
	struct client *client = one;

	ARG_UNUSED(p2);
	ARG_UNUSED(p3);
	for (;;) {
		(void)k_sem_take(&client->given, K_FOREVER);
		attend(client);
		await_taken(client);
		(void)atomic_set(&client->state, REKINDLE_CLIENT_GONE);
		rekindle_wake();
		/* Until the controller has let go of it. */
		(void)k_sem_take(&client->given, K_FOREVER);
		(void)zsock_close(client->fd);
		ring_buf_reset(&client->rx);
		ring_buf_reset(&client->tx);
		(void)atomic_set(&client->dropped, 0);
		(void)atomic_set(&client->deaf, 0);
		(void)atomic_set(&client->parting, 0);
		(void)atomic_set(&client->state, REKINDLE_CLIENT_FREE);
	}
}

static struct client *find_free(void)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		if (atomic_get(&clients[i].state) == REKINDLE_CLIENT_FREE) {
			return &clients[i];
		}
	}
	return NULL;
}

static void give_up(struct client *client)
{
	(void)atomic_set(&client->dropped, 1);
	k_sem_give(&client->room);
}

/* A place for a connection; where all are taken, that of a client which was silent for long. */
static struct client *make_room(void)
{
	struct client *client = find_free();
	struct client *oldest = &clients[0];

	if (client != NULL) {
		return client;
	}
	for (size_t i = 1; i < CLIENTS; i++) {
		if (since_ms(&clients[i].heard_ms) > since_ms(&oldest->heard_ms)) {
			oldest = &clients[i];
		}
	}
	if (since_ms(&oldest->heard_ms) < SILENT_MS) {
		return NULL;
	}
	give_up(oldest);
	for (int waited_ms = 0; waited_ms < 3 * LOOK_MS; waited_ms += 10) {
		(void)k_msleep(10);
		client = find_free();
		if (client != NULL) {
			return client;
		}
	}
	return NULL;
}

static int listen_on(uint16_t port)
{
	const struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = zsock_socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);

	if (fd < 0) {
		return -errno;
	}
	if (zsock_bind(fd, (const struct sockaddr *)&any, sizeof(any)) != 0 ||
	    zsock_listen(fd, CLIENTS) != 0) {
		int rc = -errno;

		(void)zsock_close(fd);
		return rc;
	}
	return fd;
}

static void admit(int listener, uint8_t kind)
{
	struct client *client;
	int fd = zsock_accept(listener, NULL, NULL);

	if (fd < 0) {
		/* One that is gone already keeps nobody. Else it is memory or file descriptors: not for ever. */
		if (errno != ECONNABORTED) {
			(void)k_msleep(100);
		}
		return;
	}
	client = make_room();
	if (client == NULL) {
		(void)zsock_close(fd);
		return;
	}
	client->fd = fd;
	/* make_room() may have given up the one before in the moment in which it had gone by itself. */
	(void)atomic_set(&client->dropped, 0);
	(void)atomic_set(&client->heard_ms, (atomic_val_t)(k_uptime_get_32() - (SILENT_MS - GREET_MS)));
	(void)atomic_set(&client->state, kind);
	k_sem_give(&client->given);
	rekindle_wake();
}

static void watch_door(void *p1, void *p2, void *p3)
{
	struct zsock_pollfd doors[] = {{.fd = POINTER_TO_INT(p1), .events = ZSOCK_POLLIN},
				       {.fd = POINTER_TO_INT(p2), .events = ZSOCK_POLLIN}};
	static const uint8_t kinds[] = {REKINDLE_CLIENT_TCP, REKINDLE_CLIENT_WEB};

	ARG_UNUSED(p3);
	for (;;) {
		if (zsock_poll(doors, ARRAY_SIZE(doors), -1) <= 0) {
			(void)k_msleep(100);
			continue;
		}
		for (size_t i = 0; i < ARRAY_SIZE(doors); i++) {
			if ((doors[i].revents & ZSOCK_POLLIN) != 0) {
				admit(doors[i].fd, kinds[i]);
			} else if (doors[i].revents != 0) {
				(void)k_msleep(100);
			}
		}
	}
}

int rekindle_clients_listen(void)
{
	const int priority = CONFIG_REKINDLE_CONTROLLER_CLIENT_PRIORITY;
	struct net_if *interface = net_if_get_default();
	int tcp;
	int web;

	/* Before there is a socket, which takes its segments' size from it. */
	if (interface != NULL && CONFIG_REKINDLE_CONTROLLER_MTU > 0) {
		net_if_set_mtu(interface, CONFIG_REKINDLE_CONTROLLER_MTU);
	}
	tcp = listen_on(CONFIG_REKINDLE_CONTROLLER_TCP_PORT);
	if (tcp < 0) {
		return tcp;
	}
	web = listen_on(CONFIG_REKINDLE_CONTROLLER_WEB_PORT);
	if (web < 0) {
		(void)zsock_close(tcp);
		return web;
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *client = &clients[i];

		ring_buf_init(&client->rx, sizeof(client->rx_bytes), client->rx_bytes);
		ring_buf_init(&client->tx, sizeof(client->tx_bytes), client->tx_bytes);
		(void)k_sem_init(&client->given, 0, 1);
		(void)k_sem_init(&client->room, 0, 1);
		(void)k_thread_create(&threads[i], stacks[i], K_THREAD_STACK_SIZEOF(stacks[i]), serve,
				      client, NULL, NULL, priority, 0, K_NO_WAIT);
		(void)k_thread_name_set(&threads[i], "rekindle client");
	}
	(void)k_thread_create(&door, door_stack, K_THREAD_STACK_SIZEOF(door_stack), watch_door,
			      INT_TO_POINTER(tcp), INT_TO_POINTER(web), NULL, priority, 0, K_NO_WAIT);
	(void)k_thread_name_set(&door, "rekindle door");
	return 0;
}

size_t rekindle_clients_stack_unused(void)
{
	size_t least = 0;

#if defined(CONFIG_INIT_STACKS) && defined(CONFIG_THREAD_STACK_INFO)
	if (k_thread_stack_space_get(&door, &least) != 0) {
		return 0;
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		size_t unused = 0;

		(void)k_thread_stack_space_get(&threads[i], &unused);
		least = MIN(least, unused);
	}
#endif
	return least;
}

size_t rekindle_origins(char *list, size_t capacity)
{
	static const char origins[] = CONFIG_REKINDLE_CONTROLLER_ORIGINS;
	size_t len = MIN(sizeof(origins) - 1, capacity);

	BUILD_ASSERT(sizeof(origins) - 1 <= REKINDLE_ORIGINS_MAX, "CONFIG_REKINDLE_CONTROLLER_ORIGINS is too long");
	memcpy(list, origins, len);
	return len;
}

void rekindle_client_heard(uint8_t client)
{
	if (client < CLIENTS) {
		(void)atomic_set(&clients[client].heard_ms, (atomic_val_t)k_uptime_get_32());
	}
}

uint8_t rekindle_client_state(uint8_t client)
{
	return (client < CLIENTS) ? (uint8_t)atomic_get(&clients[client].state) : REKINDLE_CLIENT_FREE;
}

size_t rekindle_client_read(uint8_t client, uint8_t *data, size_t capacity)
{
	uint32_t n;

	if (client >= CLIENTS || atomic_get(&clients[client].dropped) != 0) {
		return 0;
	}
	n = ring_buf_get(&clients[client].rx, data, (uint32_t)capacity);
	if (n > 0U) {
		k_sem_give(&clients[client].room);
	}
	return n;
}

/* Sends what the connection takes at once; negative if it takes nothing any more. */
static int send_some(const struct client *client, const uint8_t *data, size_t len)
{
	ssize_t n = zsock_send(client->fd, data, len, ZSOCK_MSG_DONTWAIT);

	if (n >= 0) {
		return (int)n;
	}
	return (errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM) ? 0 : -errno;
}

/* True while something waits. */
static bool flush(struct client *client)
{
	uint8_t *bytes;
	uint32_t n = ring_buf_get_claim(&client->tx, &bytes, UINT32_MAX);
	int sent = (n > 0U) ? send_some(client, bytes, n) : 0;

	(void)ring_buf_get_finish(&client->tx, (uint32_t)MAX(sent, 0));
	if (sent < 0) {
		(void)atomic_set(&client->deaf, 1);
	}
	return sent >= 0 && !ring_buf_is_empty(&client->tx);
}

/* Whether it takes what waits for it. */
static bool listens(const struct client *client)
{
	atomic_val_t state = atomic_get(&client->state);

	return (state == REKINDLE_CLIENT_TCP || state == REKINDLE_CLIENT_WEB) &&
	       atomic_get(&client->dropped) == 0 && atomic_get(&client->deaf) == 0;
}

void rekindle_client_write(uint8_t number, const uint8_t *data, size_t len)
{
	struct client *client;
	int sent = 0;

	if (number >= CLIENTS) {
		return;
	}
	client = &clients[number];
	if (!listens(client) || atomic_get(&client->parting) != 0) {
		return;
	}
	if (!flush(client)) {
		sent = listens(client) ? send_some(client, data, len) : -ENOTCONN;
	}
	if (sent < 0) {
		(void)atomic_set(&client->deaf, 1);
		return;
	}
	data += sent;
	len -= (size_t)sent;
	if (ring_buf_space_get(&client->tx) < len) {
		give_up(client);
		return;
	}
	(void)ring_buf_put(&client->tx, data, (uint32_t)len);
}

bool rekindle_clients_flush(void)
{
	bool waits = false;

	for (size_t i = 0; i < CLIENTS; i++) {
		if (listens(&clients[i])) {
			waits |= flush(&clients[i]);
		}
	}
	return waits;
}

void rekindle_client_end(uint8_t client)
{
	if (client < CLIENTS && atomic_get(&clients[client].parting) == 0) {
		(void)atomic_set(&clients[client].parted_ms, (atomic_val_t)k_uptime_get_32());
		(void)atomic_set(&clients[client].parting, 1);
	}
}

void rekindle_client_release(uint8_t client)
{
	/* Once: closing can wait for the network, and a second giving would be taken for the next connection. */
	if (client < CLIENTS && atomic_cas(&clients[client].state, REKINDLE_CLIENT_GONE, CLIENT_LEAVING)) {
		k_sem_give(&clients[client].given);
	}
}
