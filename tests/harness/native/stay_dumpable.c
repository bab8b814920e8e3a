/* LD_PRELOAD library: a process stays readable for its own user (prctl(2), PR_SET_DUMPABLE).
 *
 * For tests that look into the core's memory and do not run as root. Everything else is as it is.
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) int prctl(int option, ...)
{
    unsigned long arguments[4];
    va_list list;
    va_start(list, option);
    for (int number = 0; number < 4; number++)
        arguments[number] = va_arg(list, unsigned long);
    va_end(list);
    if (option == PR_SET_DUMPABLE)
        return 0;
    return (int)syscall(SYS_prctl, option, arguments[0], arguments[1], arguments[2], arguments[3]);
}
