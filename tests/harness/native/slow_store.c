/*
 * LD_PRELOAD library for swtpm: a TPM whose non-volatile memory takes its time.
 *
 *   HWKM_SLOW_STORE_MS  milliseconds to wait whenever swtpm has replaced its state file
 *
 * swtpm does that at every command that changes the non-volatile memory, and at no other, before it
 * answers. Nothing stands between the core and the TPM. (poll, because swtpm's filter of system calls
 * knows what an event loop needs.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <stdlib.h>

__attribute__((visibility("default"))) int rename(const char *from, const char *to)
{
    int (*replace)(const char *, const char *) = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    const char *wait = getenv("HWKM_SLOW_STORE_MS");
    int result = replace(from, to);
    if (result == 0 && wait)
        poll(NULL, 0, atoi(wait));
    return result;
}
