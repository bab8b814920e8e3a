/* Other clocks for one process: LD_PRELOAD this library and write to the file that HWKM_CLOCKS names.
 *
 * The file holds two signed 64-bit numbers, host byte order: milliseconds to add to the wall clock,
 * and to the time since boot. They may be changed at any moment. If HWKM_BOOT_ID names a file, it is
 * opened in place of /proc/sys/kernel/random/boot_id: with a new id and a time since boot that begins
 * again at nothing, the machine was rebooted as far as the process can tell.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

struct clocks {
    int64_t wall_ms;
    int64_t boot_ms;
};

static const volatile struct clocks none;
static const volatile struct clocks *clocks = &none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("HWKM_CLOCKS");
    int file = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct clocks), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED)
        clocks = mapped;
    close(file);
}

static void add(struct timespec *time, int64_t ms)
{
    int64_t ns = time->tv_nsec + ms % 1000 * 1000000;
    time->tv_sec += ms / 1000 + (ns < 0 ? -1 : ns / 1000000000);
    time->tv_nsec = ns < 0 ? ns + 1000000000 : ns % 1000000000;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *time)
{
    long result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
        add(time, clocks->wall_ms);
    if (result == 0 && clock == CLOCK_BOOTTIME)
        add(time, clocks->boot_ms);
    return (int)result;
}

EXPORT int gettimeofday(struct timeval *restrict time, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

EXPORT time_t time(time_t *result)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result)
        *result = now.tv_sec;
    return now.tv_sec;
}

static const char *instead_of(const char *path)
{
    const char *boot_id = getenv("HWKM_BOOT_ID");
    return boot_id && strcmp(path, "/proc/sys/kernel/random/boot_id") == 0 ? boot_id : path;
}

#define OPEN(name)                                                                                    \
    EXPORT int name(const char *path, int flags, ...)                                                 \
    {                                                                                                 \
        va_list arguments;                                                                            \
        va_start(arguments, flags);                                                                   \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, int) : 0;                        \
        va_end(arguments);                                                                            \
        return (int)syscall(SYS_openat, AT_FDCWD, instead_of(path), flags | O_LARGEFILE, mode);       \
    }

OPEN(open)
OPEN(open64)
