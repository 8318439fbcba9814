/*
 * What popips-mapd is measured against, and by what: a socket map that looks at stamps, and clients of one.
 *
 *   socketmap serve SOCKET STAMPDIR SECONDS   answer RELAY for an address whose stamp is younger than that; by epoll
 *   socketmap ask SOCKET CLIENTS COUNT        ask so often from so many connections, and print the microseconds of each
 *                                             look-up, and of all of them on the last line
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 4096 };

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static int unix_socket(const char *path, int listens)
{
    struct sockaddr_un to = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strncpy(to.sun_path, path, sizeof to.sun_path - 1);
    if (fd < 0 || (listens ? bind(fd, (void *)&to, sizeof to) || listen(fd, MOST) : connect(fd, (void *)&to, sizeof to)))
        die(path);
    return fd;
}

static void watch(int poll, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event))
        die("epoll_ctl");
}

static void answer(int fd, const char *stamps, long window)
{
    char data[MOST + 1], path[2 * MOST], *key;
    const char *said = "9:NOTFOUND ,";
    struct stat stamp;
    ssize_t length = read(fd, data, MOST);

    if (length <= 0) {
        close(fd);
        return;
    }
    data[length - 1] = 0; /* the comma */
    if ((key = strrchr(data, ' '))) {
        snprintf(path, sizeof path, "%s/%s", stamps, key + 1);
        if (!strchr(key + 1, '/') && !lstat(path, &stamp) && stamp.st_mtime > time(NULL) - window)
            said = "8:OK RELAY,";
    }
    if (write(fd, said, strlen(said)) < 0)
        close(fd);
}

static void serve(const char *path, const char *stamps, long window)
{
    struct epoll_event events[64];
    int door = unix_socket(path, 1), poll = epoll_create1(0), count;

    watch(poll, door);
    while ((count = epoll_wait(poll, events, 64, -1)) >= 0 || errno == EINTR)
        for (int i = 0; i < count; i++)
            if (events[i].data.fd == door)
                watch(poll, accept(door, NULL, NULL));
            else
                answer(events[i].data.fd, stamps, window);
}

static void ask_for(int fd, long number)
{
    char key[64], data[128];

    snprintf(key, sizeof key, "popips 10.0.%ld.%ld", number >> 8 & 255, number & 255);
    snprintf(data, sizeof data, "%zu:%s,", strlen(key), key);
    if (write(fd, data, strlen(data)) < 0)
        die("write");
}

static void ask(const char *path, int clients, long count)
{
    struct epoll_event events[64];
    double sent[MOST], begin;
    char said[MOST];
    long asked = 0, heard = 0;
    int poll = epoll_create1(0), found;

    for (int i = 0; i < clients; i++)
        watch(poll, unix_socket(path, 0));
    begin = now();
    for (int fd = poll + 1; fd <= poll + clients; fd++, asked++) {
        sent[fd] = now();
        ask_for(fd, asked);
    }
    while (heard < count && (found = epoll_wait(poll, events, 64, -1)) >= 0)
        for (int i = 0; i < found; i++, heard++) {
            int fd = events[i].data.fd;

            if (read(fd, said, sizeof said) <= 0)
                die("read");
            printf("%.1f\n", now() - sent[fd]);
            if (asked < count) {
                sent[fd] = now();
                ask_for(fd, asked++);
            }
        }
    printf("%.1f\n", now() - begin);
}

int main(int argc, char **argv)
{
    if (argc == 5 && !strcmp(argv[1], "serve"))
        serve(argv[2], argv[3], atol(argv[4]));
    else if (argc == 5 && !strcmp(argv[1], "ask") && atoi(argv[3]) < MOST - 8)
        ask(argv[2], atoi(argv[3]), atol(argv[4]));
    else {
        fputs("usage: socketmap serve SOCKET STAMPDIR SECONDS | socketmap ask SOCKET CLIENTS COUNT\n", stderr);
        return 64;
    }
    return 0;
}
