/*
 * LD_PRELOAD library: writes down every change of the files in one directory.
 *
 *   HWKM_STORAGE_DIRECTORY  the directory, an absolute path without symbolic links
 *   HWKM_STORAGE_LOG        an existing file that the changes are appended to
 *   HWKM_STORAGE_BOARD      optional: a board (board.h) whose plan is obeyed at each change
 *
 * The log has what a disk is told, in order: tests/harness/lossy_storage.py works out from it what
 * may be on the disk after a power cut. fsync and fdatasync are written down and not done: they
 * would only cost time. If there is a board, a reply that leaves on an unnamed Unix socket (the
 * core's channel) is an event, too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "board.h"

#define EXPORT __attribute__((visibility("default")))
#define DESCRIPTORS_MAX 4096

enum change { CREATE = 1, OPEN, WRITE, TRUNCATE, SYNC, SYNC_DIRECTORY, RENAME, UNLINK };

struct record {
    uint32_t change, path_length, other_length, reserved;
    uint64_t file, offset, length; /* file: its inode; length: of the data that follow a WRITE */
};

static struct board *board;
static int log_descriptor = -1;
static char directory[PATH_MAX];
static size_t directory_length;
static uint64_t watched[DESCRIPTORS_MAX]; /* inode of an open file below the directory */
static char watched_directory[DESCRIPTORS_MAX];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

__attribute__((constructor)) static void begin(void)
{
    const char *where = getenv("HWKM_STORAGE_DIRECTORY"), *log = getenv("HWKM_STORAGE_LOG");
    const char *plan = getenv("HWKM_STORAGE_BOARD");
    if (!where || !log)
        return;
    snprintf(directory, sizeof directory, "%s", where);
    directory_length = strlen(directory);
    log_descriptor = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CLOEXEC, 0);
    if (log_descriptor < 0)
        board_die("cannot open the storage log");
    if (plan)
        board = board_open(plan);
}

static struct board_order enter(const char *kind)
{
    struct board_order pass = {BOARD_PASS, 0, 0};
    return board ? board_enter(board, kind) : pass;
}

static void leave(struct board_order order)
{
    if (board)
        board_leave(order);
}

static void put(enum change change, uint64_t file, uint64_t offset, const void *data, uint64_t length,
                const char *path, const char *other)
{
    struct record record = {change, path ? strlen(path) : 0, other ? strlen(other) : 0, 0, file, offset, length};
    struct iovec parts[] = {
        {&record, sizeof record},
        {(void *)path, record.path_length},
        {(void *)other, record.other_length},
        {(void *)data, data ? length : 0},
    };
    ssize_t total = (ssize_t)(sizeof record + record.path_length + record.other_length + (data ? length : 0));
    if (writev(log_descriptor, parts, 4) != total)
        board_die("cannot write the storage log");
}

static int below(const char *path)
{
    return log_descriptor >= 0 && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == '\0');
}

static int is_watched(int descriptor)
{
    return descriptor >= 0 && descriptor < DESCRIPTORS_MAX && watched[descriptor];
}

/* Every kind of event below: refuse, or do it, write it down, and obey the rest of the order. */
#define EVENT(kind, result_type, does, written)                                                        \
    do {                                                                                               \
        pthread_mutex_lock(&mutex);                                                                    \
        struct board_order order = enter(kind);                                                        \
        result_type result = -1;                                                                       \
        if (order.act == BOARD_REFUSE) {                                                               \
            errno = (int)order.code;                                                                   \
        } else {                                                                                       \
            result = (does);                                                                           \
            int kept = errno;                                                                          \
            if (result >= 0) {                                                                         \
                written;                                                                               \
            }                                                                                          \
            errno = kept;                                                                              \
            leave(order);                                                                              \
            if (order.act == BOARD_LIE) {                                                              \
                errno = (int)order.code;                                                               \
                result = -1;                                                                           \
            }                                                                                          \
        }                                                                                              \
        pthread_mutex_unlock(&mutex);                                                                  \
        return result;                                                                                 \
    } while (0)

/* --- names ----------------------------------------------------------------------------------- */

static void watch(int descriptor, const char *path, int existed, int flags)
{
    struct stat status;
    if (descriptor >= DESCRIPTORS_MAX || fstat(descriptor, &status) != 0)
        board_die("cannot watch a file");
    watched[descriptor] = status.st_ino;
    watched_directory[descriptor] = S_ISDIR(status.st_mode) ? 1 : 0;
    if (watched_directory[descriptor])
        return;
    put(existed ? OPEN : CREATE, status.st_ino, 0, NULL, 0, path, NULL);
    if (existed && (flags & O_TRUNC))
        put(TRUNCATE, status.st_ino, 0, NULL, 0, NULL, NULL);
}

static int do_open(int base, const char *path, int flags, mode_t mode)
{
    return (int)syscall(SYS_openat, base, path, flags, mode);
}

static int make_or_cut(const char *kind, const char *path, int flags, mode_t mode, int existed)
{
    int descriptor;
    EVENT(kind, int, descriptor = do_open(AT_FDCWD, path, flags, mode), watch(descriptor, path, existed, flags));
}

static int open_any(int base, const char *path, int flags, mode_t mode)
{
    struct stat status;
    if (path[0] != '/' || !below(path))
        return do_open(base, path, flags, mode);
    int existed = stat(path, &status) == 0;
    if (!existed && (flags & O_CREAT))
        return make_or_cut("storage.create", path, flags, mode, 0);
    if (existed && (flags & O_TRUNC) && status.st_size > 0)
        return make_or_cut("storage.truncate", path, flags, mode, 1);
    int descriptor = do_open(base, path, flags, mode);
    if (descriptor >= 0) {
        int kept = errno;
        watch(descriptor, path, existed, flags & ~O_TRUNC);
        errno = kept;
    }
    return descriptor;
}

#define MODE(last)                                                                                     \
    mode_t mode = 0;                                                                                   \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                               \
        va_list rest;                                                                                  \
        va_start(rest, last);                                                                          \
        mode = va_arg(rest, mode_t);                                                                   \
        va_end(rest);                                                                                  \
    }

EXPORT int open(const char *path, int flags, ...)
{
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int open64(const char *path, int flags, ...)
{
    MODE(flags)
    return open_any(AT_FDCWD, path, flags, mode);
}

EXPORT int openat(int base, const char *path, int flags, ...)
{
    MODE(flags)
    return open_any(base, path, flags, mode);
}

EXPORT int openat64(int base, const char *path, int flags, ...)
{
    MODE(flags)
    return open_any(base, path, flags, mode);
}

EXPORT int close(int descriptor)
{
    if (descriptor >= 0 && descriptor < DESCRIPTORS_MAX)
        watched[descriptor] = 0;
    return (int)syscall(SYS_close, descriptor);
}

EXPORT int rename(const char *from, const char *to)
{
    if (!below(from) && !below(to))
        return (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    EVENT("storage.rename", int, (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0),
          put(RENAME, 0, 0, NULL, 0, from, to));
}

EXPORT int unlink(const char *path)
{
    if (!below(path))
        return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
    EVENT("storage.unlink", int, (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0),
          put(UNLINK, 0, 0, NULL, 0, path, NULL));
}

/* --- contents -------------------------------------------------------------------------------- */

EXPORT ssize_t pwrite(int descriptor, const void *data, size_t length, off_t offset)
{
    if (!is_watched(descriptor))
        return syscall(SYS_pwrite64, descriptor, data, length, offset);
    EVENT("storage.write", ssize_t, syscall(SYS_pwrite64, descriptor, data, length, offset),
          put(WRITE, watched[descriptor], (uint64_t)offset, data, (uint64_t)result, NULL, NULL));
}

EXPORT ssize_t pwrite64(int descriptor, const void *data, size_t length, off64_t offset)
{
    return pwrite(descriptor, data, length, offset);
}

static uint64_t written_at(int descriptor, ssize_t written)
{
    return (uint64_t)(lseek(descriptor, 0, SEEK_CUR) - written); /* right for O_APPEND, too */
}

EXPORT ssize_t write(int descriptor, const void *data, size_t length)
{
    if (!is_watched(descriptor))
        return syscall(SYS_write, descriptor, data, length);
    EVENT("storage.write", ssize_t, syscall(SYS_write, descriptor, data, length),
          put(WRITE, watched[descriptor], written_at(descriptor, result), data, (uint64_t)result, NULL, NULL));
}

EXPORT int ftruncate(int descriptor, off_t length)
{
    if (!is_watched(descriptor))
        return (int)syscall(SYS_ftruncate, descriptor, length);
    EVENT("storage.truncate", int, (int)syscall(SYS_ftruncate, descriptor, length),
          put(TRUNCATE, watched[descriptor], (uint64_t)length, NULL, 0, NULL, NULL));
}

EXPORT int ftruncate64(int descriptor, off64_t length)
{
    return ftruncate(descriptor, length);
}

/* Whatever could change a file without being written down must not happen unnoticed. */
EXPORT int fallocate(int descriptor, int mode, off_t offset, off_t length)
{
    if (is_watched(descriptor))
        board_die("fallocate is not followed by the storage layer");
    return (int)syscall(SYS_fallocate, descriptor, mode, offset, length);
}

EXPORT int fallocate64(int descriptor, int mode, off64_t offset, off64_t length)
{
    return fallocate(descriptor, mode, offset, length);
}

EXPORT int posix_fallocate(int descriptor, off_t offset, off_t length)
{
    return fallocate(descriptor, 0, offset, length) == 0 ? 0 : errno;
}

EXPORT ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    if (is_watched(descriptor))
        board_die("writev is not followed by the storage layer");
    return syscall(SYS_writev, descriptor, parts, count);
}

/* --- durability ------------------------------------------------------------------------------ */

static void put_sync(int descriptor)
{
    char link[64], path[PATH_MAX];
    if (!watched_directory[descriptor]) {
        put(SYNC, watched[descriptor], 0, NULL, 0, NULL, NULL);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    put(SYNC_DIRECTORY, 0, 0, NULL, 0, path, NULL);
}

static int sync_event(int descriptor)
{
    EVENT("storage.sync", int, 0, put_sync(descriptor));
}

EXPORT int fsync(int descriptor)
{
    return is_watched(descriptor) ? sync_event(descriptor) : (int)syscall(SYS_fsync, descriptor);
}

EXPORT int fdatasync(int descriptor)
{
    return is_watched(descriptor) ? sync_event(descriptor) : (int)syscall(SYS_fdatasync, descriptor);
}

/* --- replies --------------------------------------------------------------------------------- */

static int leaves_on_the_channel(int descriptor)
{
    struct sockaddr_un peer;
    socklen_t length = sizeof peer;
    return board && getpeername(descriptor, (struct sockaddr *)&peer, &length) == 0 &&
           peer.sun_family == AF_UNIX && length <= offsetof(struct sockaddr_un, sun_path);
}

static ssize_t send_reply(int descriptor, const void *data, size_t length, int flags)
{
    EVENT("channel.reply", ssize_t, syscall(SYS_sendto, descriptor, data, length, flags, NULL, 0), );
}

EXPORT ssize_t send(int descriptor, const void *data, size_t length, int flags)
{
    if (leaves_on_the_channel(descriptor))
        return send_reply(descriptor, data, length, flags);
    return syscall(SYS_sendto, descriptor, data, length, flags, NULL, 0);
}
