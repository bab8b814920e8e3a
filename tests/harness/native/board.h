/*
 * The board: memory that a test shares with the instruments in the processes under test.
 *
 * The test writes a plan on it, the instruments obey the plan and write down what passes. It is a
 * mapped file, so what was written is there after a SIGKILL. tests/harness/board.py is its other
 * side; both must agree on every offset.
 *
 * One event is under way at a time: the core is one thread, and waits for its hardware.
 */
#ifndef HWKM_BOARD_H
#define HWKM_BOARD_H

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BOARD_MAGIC "hwkmbrd1"
#define BOARD_NAME_BYTES 32
#define BOARD_KINDS_MAX 128
#define BOARD_RULES_MAX 32
#define BOARD_EVENTS_MAX (1u << 20)
#define BOARD_MODULE_BYTES 512

enum board_act {
    BOARD_PASS = 0,
    BOARD_KILL_BEFORE = 1,
    BOARD_KILL_EXECUTED = 2,
    BOARD_KILL_ANSWERED = 3,
    BOARD_DELAY = 4,
    BOARD_DROP = 5,
    BOARD_DROP_ANSWER = 6,
    BOARD_REFUSE = 7,
    BOARD_LIE = 8,
};

struct board_kind {
    char name[BOARD_NAME_BYTES];
    uint64_t count;
};

struct board_rule {
    char kind[BOARD_NAME_BYTES]; /* a name, or the beginning of names and '*' */
    uint32_t act, code, delay_us, reserved;
    uint64_t first, last, seen;
};

struct board {
    char magic[8];
    uint32_t kind_count, rule_count;
    uint64_t event_count, struck;
    char module[BOARD_MODULE_BYTES]; /* the real PKCS#11 library */
    struct board_kind kinds[BOARD_KINDS_MAX];
    struct board_rule rules[BOARD_RULES_MAX];
    uint8_t events[BOARD_EVENTS_MAX]; /* indices into kinds */
};

struct board_order {
    uint32_t act, code, delay_us;
};

static inline void board_die(const char *what)
{
    dprintf(2, "hwkm test board: %s\n", what);
    abort();
}

/* System calls without libc's names, which the storage layer replaces. */
static inline struct board *board_open(const char *path)
{
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (descriptor < 0)
        board_die("cannot open the board");
    void *memory = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    syscall(SYS_close, descriptor);
    if (memory == MAP_FAILED || memcmp(memory, BOARD_MAGIC, 8) != 0)
        board_die("this is not a board");
    return memory;
}

static inline void board_kill_self(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int board_doomed;

/* SIGKILL in 20 microseconds, or at the next event if that comes first. */
static inline void board_kill_soon(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGKILL};
    struct itimerspec soon = {.it_value = {.tv_nsec = 20000}};
    timer_t timer;
    board_doomed = 1;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 || timer_settime(timer, 0, &soon, NULL) != 0)
        board_kill_self();
}

static inline void board_sleep(uint32_t delay_us)
{
    struct timespec pause = {.tv_sec = delay_us / 1000000, .tv_nsec = (delay_us % 1000000) * 1000L};
    if (delay_us)
        nanosleep(&pause, NULL);
}

static inline void board_count(struct board *board, const char *kind)
{
    uint32_t index = 0;
    while (index < board->kind_count && strncmp(board->kinds[index].name, kind, BOARD_NAME_BYTES) != 0)
        index++;
    if (index == board->kind_count) {
        if (index == BOARD_KINDS_MAX)
            board_die("too many kinds of events");
        strncpy(board->kinds[index].name, kind, BOARD_NAME_BYTES - 1);
        board->kind_count++;
    }
    board->kinds[index].count++;
    if (board->event_count < BOARD_EVENTS_MAX)
        board->events[board->event_count] = (uint8_t)index;
    board->event_count++;
}

static inline int board_matches(const char *pattern, const char *kind)
{
    size_t length = strnlen(pattern, BOARD_NAME_BYTES);
    if (length && pattern[length - 1] == '*')
        return strncmp(pattern, kind, length - 1) == 0;
    return strncmp(pattern, kind, BOARD_NAME_BYTES) == 0;
}

/* Every rule counts; the first that strikes decides the act, and all delays add up. */
static inline struct board_order board_order(struct board *board, const char *kind)
{
    struct board_order order = {BOARD_PASS, 0, 0};
    for (uint32_t i = 0; i < board->rule_count; i++) {
        struct board_rule *rule = &board->rules[i];
        if (!board_matches(rule->kind, kind))
            continue;
        rule->seen++;
        if (rule->seen < rule->first || rule->seen > rule->last)
            continue;
        board->struck++;
        order.delay_us += rule->delay_us;
        if (order.act == BOARD_PASS && rule->act != BOARD_DELAY) {
            order.act = rule->act;
            order.code = rule->code;
        }
    }
    return order;
}

/* Before an event: write it down, and obey what comes before its execution. */
static inline struct board_order board_enter(struct board *board, const char *kind)
{
    if (board_doomed)
        board_kill_self();
    board_count(board, kind);
    struct board_order order = board_order(board, kind);
    if (order.act == BOARD_KILL_BEFORE)
        board_kill_self();
    while (order.act == BOARD_DROP)
        pause();
    return order;
}

/* After its execution: obey the rest. */
static inline void board_leave(struct board_order order)
{
    board_sleep(order.delay_us);
    if (order.act == BOARD_KILL_EXECUTED)
        board_kill_self();
    while (order.act == BOARD_DROP_ANSWER)
        pause();
    if (order.act == BOARD_KILL_ANSWERED)
        board_kill_soon();
}

#endif
