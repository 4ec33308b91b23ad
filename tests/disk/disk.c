/*
 * A disk that keeps a log: loaded into a program by LD_PRELOAD, this library writes down every change below one directory, every
 * sync, and every acknowledgement given to a client, in one order. From the log, tests/support/disk rebuilds what a power cut at
 * any point would have left. It can also refuse operations, and lie about syncs.
 *
 *   DISK_DIRECTORY    the directory; everything below it is written down, but for files named *-shm, which SQLite maps and rebuilds
 *   DISK_LOG          the log, outside that directory
 *   DISK_FAULTS       a file that is read before each operation; lines `OPERATION ERROR PATTERN`, such as `fsync EIO *-wal`
 *   DISK_IGNORE_SYNC  a pattern: syncs of what it matches answer 0 and do nothing
 *
 * OPERATION: open (for writing or creating), read (open for reading, directories too), write, truncate (and fallocate), fsync
 * (and fdatasync), rename, link, unlink (and rmdir), mkdir, or * for all. ERROR: a name from errno(3); or `hold`, by which the
 * operation waits for as long as the line stands. PATTERN: as in fnmatch(3), * matches / too; it is held against the path below
 * the directory, and when it has no / against the last name also; the directory itself is `.`. The first line that fits counts.
 *
 * A record is `KIND A B C LENGTH\n`, LENGTH octets, `\n`. An operation and its record happen under one lock over all threads and
 * processes of the log, so the order of the log is the order on the disk. A sync is two records, before and after, without the
 * lock between them: what is written or acknowledged in the meantime is not covered by it. An acknowledgement is a line
 * `250 ... queued as ...` in what is sent on a socket; it is written down before it is sent.
 *
 * Works on libc's entry points: what a program does by system calls of its own (the crate rustix, so also `persist` of tempfile),
 * through a writable map or through stdio is not seen, nor are symbolic links. `Log::assert_complete` finds such a gap. What would
 * falsify the log silently ends the program with a message. Modes and owners set later, O_SYNC and sync(2) are not recorded.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "log.h"

_Static_assert(sizeof(off_t) == 8, "offsets have 64 bits here, so open64 is open, and so with all its like");

/* Opening and creating. */

static int open_at(int at, const char *path, int flags, mode_t mode) {
    struct entry entry;
    struct stat status;
    bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0;
    if (!is_entry(at, path, &entry))
        return syscall(SYS_openat, at, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        die("a file without a name is not understood", path);
    if (fails(changes ? "open" : "read", entry.path))
        return -1;
    lock();
    bool missing = (flags & O_CREAT) != 0 && fstatat(at, path, &status, 0) != 0;
    int fd = syscall(SYS_openat, at, path, flags, mode);
    if (fd >= 0 && (missing || (flags & O_TRUNC) != 0)) {
        if (fstat(fd, &status) != 0)
            die("a file just opened is not there", path);
        if (missing)
            record("create", entry.parent, status.st_ino, status.st_mode & 07777, entry.name, strlen(entry.name));
        else if (S_ISREG(status.st_mode))
            record("size", status.st_ino, 0, 0, NULL, 0);
    }
    unlock();
    return fd;
}

/* The mode is there only when something may be created. */
#define OPEN(at)                                                                                                               \
    va_list rest;                                                                                                              \
    va_start(rest, flags);                                                                                                     \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;                                             \
    va_end(rest);                                                                                                              \
    return open_at(at, path, flags, mode)

int open(const char *path, int flags, ...) {
    OPEN(AT_FDCWD);
}

int open64(const char *path, int flags, ...) {
    OPEN(AT_FDCWD);
}

int openat(int at, const char *path, int flags, ...) {
    OPEN(at);
}

int openat64(int at, const char *path, int flags, ...) {
    OPEN(at);
}

/* What glibc makes of open where _FORTIFY_SOURCE is set and the flags are not constant. */
int __open_2(const char *path, int flags) {
    return open_at(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags) {
    return open_at(AT_FDCWD, path, flags, 0);
}

int __openat_2(int at, const char *path, int flags) {
    return open_at(at, path, flags, 0);
}

int __openat64_2(int at, const char *path, int flags) {
    return open_at(at, path, flags, 0);
}

int creat(const char *path, mode_t mode) {
    return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode) {
    return creat(path, mode);
}

/* Writing. */

/* `offset` -1: where the descriptor stands. */
static ssize_t write_at(int fd, const void *data, size_t length, off_t offset) {
    struct object object;
    bool here = offset < 0;
    if (!is_watched(fd, &object)) {
        size_t count = here ? acknowledge(fd, data, length) : 0;
        return acknowledged(count, here ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset));
    }
    if (fails("write", object.path))
        return -1;
    lock();
    ssize_t written = here ? syscall(SYS_write, fd, data, length) : syscall(SYS_pwrite64, fd, data, length, offset);
    if (written > 0) {
        if (here)
            offset = lseek(fd, 0, SEEK_CUR) - written;
        else if ((fcntl(fd, F_GETFL) & O_APPEND) != 0)
            offset = lseek(fd, 0, SEEK_END) - written; /* Linux appends, whatever the offset; pwrite(2), BUGS */
        record("write", object.inode, offset, 0, data, written);
    }
    unlock();
    return written;
}

ssize_t write(int fd, const void *data, size_t length) {
    return write_at(fd, data, length, -1);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return write_at(fd, data, length, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    return write_at(fd, data, length, offset);
}

static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset) {
    struct object object;
    struct stat status;
    int error = errno;
    bool whole = is_watched(fd, &object) || (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode));
    errno = error;
    if (!whole)
        return offset < 0 ? syscall(SYS_writev, fd, parts, count) : syscall(SYS_pwritev, fd, parts, count, offset, 0);
    size_t length;
    char *data = join(parts, count, &length);
    ssize_t written = write_at(fd, data, length, offset);
    error = errno;
    free(data);
    errno = error;
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    return write_parts(fd, parts, count, -1);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_parts(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) {
    return write_parts(fd, parts, count, offset);
}

/* Copies inside the kernel are refused as by a file system that cannot do them; programs then read and write. */

static bool is_refused(int fd) {
    struct object object;
    if (!is_watched(fd, &object))
        return false;
    errno = EINVAL;
    return true;
}

ssize_t copy_file_range(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags) {
    return is_refused(to) ? -1 : syscall(SYS_copy_file_range, from, from_offset, to, to_offset, length, flags);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t length) {
    return is_refused(to) ? -1 : syscall(SYS_sendfile, to, from, offset, length);
}

ssize_t sendfile64(int to, int from, off_t *offset, size_t length) {
    return sendfile(to, from, offset, length);
}

ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags) {
    return is_refused(to) ? -1 : syscall(SYS_splice, from, from_offset, to, to_offset, length, flags);
}

/* Sizes. */

int ftruncate(int fd, off_t length) {
    struct object object;
    if (!is_watched(fd, &object))
        return syscall(SYS_ftruncate, fd, length);
    if (fails("truncate", object.path))
        return -1;
    lock();
    int result = syscall(SYS_ftruncate, fd, length);
    if (result == 0)
        record("size", object.inode, length, 0, NULL, 0);
    unlock();
    return result;
}

int ftruncate64(int fd, off_t length) {
    return ftruncate(fd, length);
}

int truncate(const char *path, off_t length) {
    int fd = open_at(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    int result = ftruncate(fd, length), error = errno;
    close(fd);
    errno = error;
    return result;
}

int truncate64(const char *path, off_t length) {
    return truncate(path, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length) {
    struct object object;
    if (!is_watched(fd, &object))
        return syscall(SYS_fallocate, fd, mode, offset, length);
    if ((mode & ~FALLOC_FL_KEEP_SIZE) != 0)
        die("this mode of fallocate is not understood", object.path);
    if (fails("truncate", object.path))
        return -1;
    struct stat before, after;
    lock();
    int result = fstat(fd, &before) != 0 ? -1 : syscall(SYS_fallocate, fd, mode, offset, length);
    if (result == 0 && fstat(fd, &after) == 0 && after.st_size != before.st_size)
        record("size", object.inode, after.st_size, 0, NULL, 0);
    unlock();
    return result;
}

int fallocate64(int fd, int mode, off_t offset, off_t length) {
    return fallocate(fd, mode, offset, length);
}

/* Returns the error, and leaves `errno` alone. */
int posix_fallocate(int fd, off_t offset, off_t length) {
    int before = errno, result = fallocate(fd, 0, offset, length) == 0 ? 0 : errno;
    errno = before;
    return result;
}

int posix_fallocate64(int fd, off_t offset, off_t length) {
    return posix_fallocate(fd, offset, length);
}

/* Names. */

static int rename_at(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    struct entry old, new;
    bool leaves = is_entry(from_at, from, &old), comes = is_entry(to_at, to, &new);
    if (!leaves && !comes)
        return syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (!leaves || !comes)
        die("a rename across the border of the directory is not understood", to);
    if ((flags & ~RENAME_NOREPLACE) != 0)
        die("these flags of renameat2 are not understood", to);
    if (fails("rename", old.path) || fails("rename", new.path))
        return -1;
    char names[2 * sizeof old.name];
    int length = snprintf(names, sizeof names, "%s/%s", old.name, new.name);
    lock();
    int result = syscall(SYS_renameat2, from_at, from, to_at, to, flags);
    if (result == 0)
        record("rename", old.parent, new.parent, 0, names, length);
    unlock();
    return result;
}

int rename(const char *from, const char *to) {
    return rename_at(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_at, const char *from, int to_at, const char *to) {
    return rename_at(from_at, from, to_at, to, 0);
}

int renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags) {
    return rename_at(from_at, from, to_at, to, flags);
}

int linkat(int from_at, const char *from, int to_at, const char *to, int flags) {
    struct entry old, new;
    struct stat status;
    bool known = is_entry(from_at, from, &old);
    if (!is_entry(to_at, to, &new))
        return syscall(SYS_linkat, from_at, from, to_at, to, flags);
    if (!known || flags != 0)
        die("a link from outside the directory is not understood", to);
    if (fails("link", old.path) || fails("link", new.path))
        return -1;
    lock();
    int result = syscall(SYS_linkat, from_at, from, to_at, to, 0);
    if (result == 0 && fstatat(to_at, to, &status, AT_SYMLINK_NOFOLLOW) == 0)
        record("link", new.parent, status.st_ino, 0, new.name, strlen(new.name));
    unlock();
    return result;
}

int link(const char *from, const char *to) {
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int unlinkat(int at, const char *path, int flags) {
    struct entry entry;
    if (!is_entry(at, path, &entry))
        return syscall(SYS_unlinkat, at, path, flags);
    if (fails("unlink", entry.path))
        return -1;
    lock();
    int result = syscall(SYS_unlinkat, at, path, flags);
    if (result == 0)
        record("remove", entry.parent, 0, 0, entry.name, strlen(entry.name));
    unlock();
    return result;
}

int unlink(const char *path) {
    return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path) {
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int at, const char *path, mode_t mode) {
    struct entry entry;
    struct stat status;
    if (!is_entry(at, path, &entry))
        return syscall(SYS_mkdirat, at, path, mode);
    if (fails("mkdir", entry.path))
        return -1;
    lock();
    int result = syscall(SYS_mkdirat, at, path, mode);
    if (result == 0 && fstatat(at, path, &status, AT_SYMLINK_NOFOLLOW) == 0)
        record("mkdir", entry.parent, status.st_ino, status.st_mode & 07777, entry.name, strlen(entry.name));
    unlock();
    return result;
}

int mkdir(const char *path, mode_t mode) {
    return mkdirat(AT_FDCWD, path, mode);
}

/* Syncs. sync_file_range(2) promises nothing, so it is no sync here either. */

static void record_sync(const char *kind, const struct object *object) {
    lock();
    record(kind, object->inode, syscall(SYS_gettid), 0, NULL, 0);
    unlock();
}

static int sync_by(long call, int fd) {
    struct object object;
    if (!is_watched(fd, &object))
        return syscall(call, fd);
    if (is_ignored(object.path))
        return 0;
    record_sync("sync", &object);
    int result = fails("fsync", object.path) ? -1 : syscall(call, fd);
    record_sync(result == 0 ? "synced" : "unsynced", &object);
    return result;
}

int fsync(int fd) {
    return sync_by(SYS_fsync, fd);
}

int fdatasync(int fd) {
    return sync_by(SYS_fdatasync, fd);
}

/* Sending. */

ssize_t sendto(int fd, const void *data, size_t length, int flags, const struct sockaddr *to, socklen_t size) {
    size_t count = acknowledge(fd, data, length);
    return acknowledged(count, syscall(SYS_sendto, fd, data, length, flags, to, size));
}

ssize_t send(int fd, const void *data, size_t length, int flags) {
    return sendto(fd, data, length, flags, NULL, 0);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    size_t length, count;
    char *data = join(message->msg_iov, message->msg_iovlen, &length);
    count = acknowledge(fd, data, length);
    ssize_t sent = acknowledged(count, syscall(SYS_sendmsg, fd, message, flags));
    int error = errno;
    free(data);
    errno = error;
    return sent;
}
