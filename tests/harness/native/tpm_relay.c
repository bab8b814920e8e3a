/*
 * The TPM proxy of the benchmark: counts the commands between a core and swtpm, and delays them.
 *
 *   tpm_relay UPSTREAM LISTEN BOARD CODE=KIND...
 *
 * Serves one client at a time, as swtpm does. What tests/harness/tpm_proxy.py does in 60 to 100
 * microseconds a command takes 10 here, so that it is hwkm that is measured. Of a plan it knows
 * delays only. Prints a line when it listens.
 */
#define _GNU_SOURCE
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "board.h"

#define MESSAGE_BYTES_MAX 4096
#define HEADER_BYTES 10
#define KINDS_MAX 256

static struct {
    uint32_t code;
    const char *kind;
} kinds[KINDS_MAX];
static int kind_count;

static uint32_t big_endian(const uint8_t *data)
{
    return (uint32_t)data[0] << 24 | (uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3];
}

static const char *kind_of(const uint8_t *command)
{
    static char other[16];
    uint32_t code = big_endian(command + 6);
    for (int i = 0; i < kind_count; i++)
        if (kinds[i].code == code)
            return kinds[i].kind;
    snprintf(other, sizeof other, "tpm.0x%08x", code);
    return other;
}

static void read_kinds(int count, char **arguments)
{
    if (count > KINDS_MAX)
        board_die("too many kinds of commands");
    for (kind_count = 0; kind_count < count; kind_count++) {
        char *kind;
        kinds[kind_count].code = (uint32_t)strtoul(arguments[kind_count], &kind, 16);
        kinds[kind_count].kind = kind + 1;
    }
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        board_die("the path of a socket is too long");
    strcpy(address.sun_path, path);
    return address;
}

/* One command or answer, whose header tells its size; 0 when the other side is gone. */
static size_t receive(int end, uint8_t *message)
{
    size_t length = 0;
    while (length < HEADER_BYTES || length < big_endian(message + 2)) {
        ssize_t more = read(end, message + length, MESSAGE_BYTES_MAX - length);
        if (more <= 0)
            return 0;
        length += (size_t)more;
    }
    return length;
}

static void pass_on(int end, const uint8_t *message, size_t length)
{
    while (length) {
        ssize_t sent = send(end, message, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the next receive from that side says that it is gone */
        message += sent;
        length -= (size_t)sent;
    }
}

static void converse(int client, int tpm, struct board *board)
{
    uint8_t message[MESSAGE_BYTES_MAX];
    size_t length;
    while ((length = receive(client, message)) > 0) {
        struct board_order order = board_enter(board, kind_of(message));
        if (order.act != BOARD_PASS)
            board_die("this proxy counts and delays, and can do nothing else");
        pass_on(tpm, message, length);
        if ((length = receive(tpm, message)) == 0)
            return;
        board_sleep(order.delay_us);
        pass_on(client, message, length);
    }
}

int main(int count, char **arguments)
{
    if (count < 4)
        board_die("usage: tpm_relay UPSTREAM LISTEN BOARD CODE=KIND...");
    struct sockaddr_un upstream = address_of(arguments[1]), listen_at = address_of(arguments[2]);
    struct board *board = board_open(arguments[3]);
    read_kinds(count - 4, arguments + 4);
    prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL); /* nanoseconds: delays are to be exact */
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&listen_at, sizeof listen_at) != 0 || listen(listener, 8) != 0)
        board_die("cannot listen");
    puts("listening");
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL), tpm = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (client < 0 || tpm < 0)
            board_die("cannot accept");
        if (connect(tpm, (struct sockaddr *)&upstream, sizeof upstream) == 0)
            converse(client, tpm, board);
        close(client);
        close(tpm);
    }
}
