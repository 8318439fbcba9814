/*
 * What popips is measured against: a login the way of Georg Horn's C patch (1999), written afresh.
 *
 *   baseline put MAP STAMPDIR N [FIRST]   put N addresses, 10.0.0.0 + FIRST and up, and print the microseconds of each
 *   baseline del MAP                      delete the keys that come on standard input, a line each
 *
 * As there: open, then lock, always write, then the stamp; the close syncs.
 */
#include <sys/file.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <db_185.h>

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static DB *open_locked(const char *map)
{
    DB *db = dbopen(map, O_RDWR, 0, DB_HASH, NULL);

    if (!db || flock(db->fd(db), LOCK_EX))
        die(map);
    return db;
}

static DBT text(char *string)
{
    DBT dbt = { string, strlen(string) };

    return dbt;
}

static void put(const char *map, const char *stamps, char *address)
{
    char path[4096];
    DBT key = text(address), value = text("RELAY");
    DB *db = open_locked(map);
    int stamp;

    if (db->put(db, &key, &value, 0))
        die(map);
    snprintf(path, sizeof path, "%s/%s", stamps, address);
    if ((stamp = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600)) < 0 || close(stamp))
        die(path);
    if (db->close(db))
        die(map);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void put_all(const char *map, const char *stamps, unsigned count, unsigned first)
{
    char address[32];

    for (unsigned n = first; n < first + count; n++) {
        snprintf(address, sizeof address, "10.%u.%u.%u", n >> 16 & 255, n >> 8 & 255, n & 255);
        double start = now();
        put(map, stamps, address);
        printf("%.1f\n", now() - start);
    }
}

static void delete_all(const char *map)
{
    char line[256];
    DB *db = open_locked(map);

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        DBT key = text(line);
        if (db->del(db, &key, 0) < 0)
            die(line);
    }
    if (db->close(db))
        die(map);
}

int main(int argc, char **argv)
{
    if (argc >= 5 && !strcmp(argv[1], "put"))
        put_all(argv[2], argv[3], atoi(argv[4]), argc > 5 ? atoi(argv[5]) : 0);
    else if (argc == 3 && !strcmp(argv[1], "del"))
        delete_all(argv[2]);
    else {
        fputs("usage: baseline put MAP STAMPDIR N [FIRST] | baseline del MAP\n", stderr);
        return 64;
    }
    return 0;
}
