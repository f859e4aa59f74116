/* How little a server can do: lines in, lines out, one epoll loop, nothing kept.
 *
 *     limit PORT single    one send for each message and member
 *     limit PORT batched   what comes in one turn of the loop is sent as one
 *
 * The first line of a connection is "ROOM NAME"; every other is said in that room. A member
 * who does not read stops everybody: the least that a server has to do comes on top.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST = 20000, NAME = 64, CHUNK = 65536 };

struct room {
    char name[NAME];
    int *members, count, room_for;
    char *due;
    size_t length, size;
    struct room *next, *next_due;
    int is_due;
};

struct client {
    struct room *room;
    char name[NAME];
    char *rest;
    size_t length;
};

static struct client clients[MOST];
static struct room *rooms, *due_rooms;
static int is_batched;

static void *grow(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory)
        abort();
    return memory;
}

static struct room *find_room(const char *name)
{
    struct room *room;
    for (room = rooms; room; room = room->next)
        if (!strcmp(room->name, name))
            return room;
    room = calloc(1, sizeof *room);
    if (!room)
        abort();
    snprintf(room->name, NAME, "%s", name);
    room->next = rooms;
    return rooms = room;
}

static void send_all(int fd, const char *data, size_t length)
{
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            data += sent;
            length -= sent;
        } else if (errno == EAGAIN) {
            struct pollfd full = {.fd = fd, .events = POLLOUT};
            poll(&full, 1, 1000);
        } else {
            return; /* gone; its reader will notice */
        }
    }
}

static void flush(struct room *room)
{
    for (int i = 0; i < room->count; i++)
        send_all(room->members[i], room->due, room->length);
    room->length = 0;
}

static void say(struct room *room, const char *name, const char *text, size_t length)
{
    size_t needed = room->length + strlen(name) + length + 2;
    if (needed > room->size)
        room->due = grow(room->due, room->size = 2 * needed);
    room->length += sprintf(room->due + room->length, "%s", name);
    memcpy(room->due + room->length, text, length);
    room->length += length;
    if (!is_batched) {
        flush(room);
    } else if (!room->is_due) {
        room->is_due = 1;
        room->next_due = due_rooms;
        due_rooms = room;
    }
}

static void enter(struct client *client, int fd, const char *line)
{
    char room[NAME], name[NAME - 2];
    if (sscanf(line, "%63s %61s", room, name) != 2)
        return;
    client->room = find_room(room);
    if (client->room->count == client->room->room_for)
        client->room->members = grow(client->room->members,
            sizeof(int) * (client->room->room_for = 2 * client->room->room_for + 8));
    client->room->members[client->room->count++] = fd;
    say(client->room, name, " joined\n", 8);
    snprintf(client->name, NAME, "%s: ", name);
}

static void leave(struct client *client, int fd)
{
    struct room *room = client->room;
    for (int i = 0; room && i < room->count; i++)
        if (room->members[i] == fd)
            room->members[i] = room->members[--room->count];
    free(client->rest);
    memset(client, 0, sizeof *client);
    close(fd);
}

static void receive(int fd)
{
    static char data[CHUNK];
    struct client *client = &clients[fd];
    ssize_t length = recv(fd, data, CHUNK, MSG_DONTWAIT);
    if (length < 0 && errno == EAGAIN)
        return;
    if (length <= 0) {
        leave(client, fd);
        return;
    }
    client->rest = grow(client->rest, client->length + length + 1);
    memcpy(client->rest + client->length, data, length);
    client->length += length;
    client->rest[client->length] = 0;
    char *line = client->rest, *end;
    while ((end = memchr(line, '\n', client->length - (line - client->rest)))) {
        if (client->room)
            say(client->room, client->name, line, end + 1 - line);
        else
            enter(client, fd, line);
        line = end + 1;
    }
    client->length -= line - client->rest;
    memmove(client->rest, line, client->length);
    if (!client->length) {
        free(client->rest);
        client->rest = NULL;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    is_batched = !strcmp(argv[2], "batched");
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1, loop = epoll_create1(0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (void *)&at, sizeof at) || listen(listener, 4096)) {
        perror("limit");
        return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(loop, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(loop, events, 1024, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd != listener) {
                receive(events[i].data.fd);
                continue;
            }
            int fd = accept(listener, NULL, NULL);
            if (fd < 0)
                continue;
            if (fd >= MOST) {
                close(fd);
                continue;
            }
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event);
        }
        for (; due_rooms; due_rooms = due_rooms->next_due) {
            flush(due_rooms);
            due_rooms->is_due = 0;
        }
    }
}
