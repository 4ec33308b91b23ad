/* What disk.c asks of log.c. Hidden, so that no program's own `lock` or `find` is replaced by ours. */
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#pragma GCC visibility push(hidden)

/* An open file or directory that is written down. */
struct object {
    uint64_t inode;
    char path[PATH_MAX + 256]; /* below the directory, which itself is "." */
};

/* A name in a directory that is written down; there may be nothing of this name. */
struct entry {
    uint64_t parent;
    char name[256];
    char path[PATH_MAX + 256];
};

/* Whether it is written down; if so, which it is. They leave `errno` alone, as `lock`, `unlock` and `record` do. */
bool is_watched(int fd, struct object *object);
bool is_entry(int at, const char *path, struct entry *entry);

/* Around an operation and its record. */
void lock(void);
void unlock(void);
void record(const char *kind, uint64_t a, uint64_t b, uint64_t c, const void *data, size_t length);

/* Whether this operation is to fail, with `errno` set; waits while the faults hold it. */
bool fails(const char *operation, const char *path);

/* Whether a sync of this is to do nothing. */
bool is_ignored(const char *path);

/* Writes down the acknowledgements in what is about to be sent. Any: the lock is held until `acknowledged`. */
size_t acknowledge(int fd, const char *data, size_t length);
ssize_t acknowledged(size_t count, ssize_t sent);

/* The octets of all parts in one piece; to be freed. */
char *join(const struct iovec *parts, int count, size_t *length);

/* Ends the program: the log would not be true any more. */
_Noreturn void die(const char *why, const char *what);

#pragma GCC visibility pop
