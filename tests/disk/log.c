/* What disk.c asks: is this written down, is it to fail, is it an acknowledgement; and the log itself. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

static char directory[PATH_MAX];
static size_t directory_length;
static const char *faults, *ignored;
static int log_file = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void die(const char *why, const char *what) {
    char text[PATH_MAX + 512];
    int length = snprintf(text, sizeof text, "disk: %s: %s\n", why, what);
    syscall(SYS_write, 2, text, length);
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("DISK_DIRECTORY"), *log = getenv("DISK_LOG");
    if (where == NULL || log == NULL)
        return;
    if (realpath(where, directory) == NULL)
        die("DISK_DIRECTORY cannot be found", where);
    directory_length = strlen(directory);
    faults = getenv("DISK_FAULTS");
    ignored = getenv("DISK_IGNORE_SYNC");
    int opened = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    /* High, so that the program finds the numbers of its own descriptors as ever. */
    log_file = opened < 0 ? -1 : fcntl(opened, F_DUPFD_CLOEXEC, 500);
    if (log_file < 0)
        die("DISK_LOG cannot be opened", log);
    syscall(SYS_close, opened);
}

/* The log. */

/* A lock of the process, not of the descriptor, which a forked child shares. */
static void lock_file(short type) {
    struct flock all = {.l_type = type, .l_whence = SEEK_SET};
    while (fcntl(log_file, F_SETLKW, &all) != 0)
        if (errno != EINTR)
            die("the log cannot be locked", strerror(errno));
}

void lock(void) {
    int error = errno;
    pthread_mutex_lock(&mutex);
    lock_file(F_WRLCK);
    errno = error;
}

void unlock(void) {
    int error = errno;
    lock_file(F_UNLCK);
    pthread_mutex_unlock(&mutex);
    errno = error;
}

void record(const char *kind, uint64_t a, uint64_t b, uint64_t c, const void *data, size_t length) {
    int error = errno;
    char head[128];
    int size = snprintf(head, sizeof head, "%s %llu %llu %llu %zu\n", kind, (unsigned long long)a, (unsigned long long)b,
                        (unsigned long long)c, length);
    struct iovec parts[] = {{head, size}, {(void *)data, length}, {"\n", 1}};
    if (syscall(SYS_writev, log_file, parts, 3) != (long)(size + length + 1))
        die("the log cannot be written", kind);
    errno = error;
}

/* What is written down. */

static bool is_below(const char *path, char *below) {
    if (log_file < 0 || strncmp(path, directory, directory_length) != 0)
        return false;
    path += directory_length;
    if (*path != 0 && *path != '/')
        return false;
    strcpy(below, *path == 0 || path[1] == 0 ? "." : path + 1);
    size_t length = strlen(below);
    return length < 4 || strcmp(below + length - 4, "-shm") != 0;
}

/* Where an open file or directory has its name; what was removed keeps its last one. */
static bool path_of(int fd, char *path) {
    static const char removed[] = " (deleted)";
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0)
        return false;
    path[length] = 0;
    size_t tail = sizeof removed - 1;
    if ((size_t)length > tail && strcmp(path + length - tail, removed) == 0)
        path[length - tail] = 0;
    return true;
}

bool is_watched(int fd, struct object *object) {
    int error = errno;
    struct stat status;
    char path[PATH_MAX];
    bool watched = log_file >= 0 && fstat(fd, &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) &&
                   path_of(fd, path) && is_below(path, object->path);
    if (watched)
        object->inode = status.st_ino;
    errno = error;
    return watched;
}

/* Symbolic links and `..` are followed in the directories of `path`, not in its last name. */
static bool find(int at, const char *path, struct entry *entry) {
    char whole[2 * PATH_MAX], parent[PATH_MAX], joined[PATH_MAX + 256];
    *whole = 0;
    if (*path != '/' && at != AT_FDCWD && !path_of(at, whole))
        return false;
    size_t length = strlen(whole);
    snprintf(whole + length, sizeof whole - length, "%s%s", length > 0 ? "/" : "", path);
    for (length = strlen(whole); length > 1 && whole[length - 1] == '/'; length--)
        whole[length - 1] = 0;
    char *slash = strrchr(whole, '/');
    const char *name = slash == NULL ? whole : slash + 1;
    if (*name == 0 || strlen(name) > 255 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return false;
    strcpy(entry->name, name);
    if (slash != NULL)
        slash[slash == whole ? 1 : 0] = 0;
    struct stat status;
    if (realpath(slash == NULL ? "." : whole, parent) == NULL || stat(parent, &status) != 0)
        return false;
    entry->parent = status.st_ino;
    snprintf(joined, sizeof joined, "%s/%s", strcmp(parent, "/") == 0 ? "" : parent, entry->name);
    return is_below(joined, entry->path);
}

bool is_entry(int at, const char *path, struct entry *entry) {
    int error = errno;
    bool watched = log_file >= 0 && path != NULL && find(at, path, entry);
    errno = error;
    return watched;
}

/* Faults. */

static bool is_match(const char *pattern, const char *path) {
    const char *slash = strrchr(path, '/');
    if (pattern == NULL)
        return false;
    return fnmatch(pattern, path, 0) == 0 || (slash != NULL && strchr(pattern, '/') == NULL && fnmatch(pattern, slash + 1, 0) == 0);
}

bool is_ignored(const char *path) {
    return is_match(ignored, path);
}

static int error_named(const char *name) {
    for (int error = 1; error < 256; error++) {
        const char *known = strerrorname_np(error);
        if (known != NULL && strcmp(known, name) == 0)
            return error;
    }
    die("DISK_FAULTS has an unknown error", name);
}

/* What the first fault for this operation says; false where there is none. */
static bool is_asked(const char *operation, const char *path, char how[32]) {
    char text[4096], *rest = NULL;
    int file = faults == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, faults, O_RDONLY | O_CLOEXEC, 0);
    ssize_t length = file < 0 ? 0 : syscall(SYS_read, file, text, sizeof text - 1);
    if (file >= 0)
        syscall(SYS_close, file);
    text[length < 0 ? 0 : length] = 0;
    for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        char what[32], pattern[256];
        if (sscanf(line, "%31s %31s %255s", what, how, pattern) != 3)
            die("DISK_FAULTS has a line that is not OPERATION ERROR PATTERN", line);
        if ((strcmp(what, "*") == 0 || strcmp(what, operation) == 0) && is_match(pattern, path))
            return true;
    }
    return false;
}

bool fails(const char *operation, const char *path) {
    char how[32];
    int error = errno;
    while (is_asked(operation, path, how)) {
        if (strcmp(how, "hold") != 0) {
            errno = error_named(how);
            return true;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    errno = error;
    return false;
}

/* Acknowledgements. */

static const char *next_acknowledgement(const char *from, const char *end, size_t *length) {
    static const char begins[] = "250 ", holds[] = " queued as ";
    while (from < end) {
        const char *stop = memchr(from, '\n', end - from);
        stop = stop == NULL ? end : stop;
        *length = stop - from;
        if (*length > 4 && memcmp(from, begins, 4) == 0 && memmem(from, *length, holds, sizeof holds - 1) != NULL)
            return from;
        from = stop + 1;
    }
    return NULL;
}

size_t acknowledge(int fd, const char *data, size_t length) {
    struct stat status;
    size_t count = 0, size;
    int error = errno;
    const char *end = data + length, *line = log_file < 0 ? NULL : next_acknowledgement(data, end, &size);
    if (line != NULL && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) {
        lock();
        for (; line != NULL; line = next_acknowledgement(line + size, end, &size), count++)
            record("acknowledged", 0, 0, 0, line, size);
    }
    errno = error;
    return count;
}

ssize_t acknowledged(size_t count, ssize_t sent) {
    if (count > 0 && sent < 0)
        record("unsent", count, 0, 0, NULL, 0);
    if (count > 0)
        unlock();
    return sent;
}

char *join(const struct iovec *parts, int count, size_t *length) {
    *length = 0;
    for (int i = 0; i < count; i++)
        *length += parts[i].iov_len;
    char *whole = malloc(*length + 1), *end = whole;
    if (whole == NULL)
        die("no memory", "join");
    for (int i = 0; i < count; end += parts[i++].iov_len)
        memcpy(end, parts[i].iov_base, parts[i].iov_len);
    return whole;
}
