/* Waits for standard input with poll(), a tick of 10 ms at a time, and copies it out.
 *
 * Says on standard error when it is about to wait, and at the end how it ended.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

int main(void) {
    char buffer[4096];
    long timeouts = 0;
    fputs("waiting\n", stderr);
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int n = poll(&input, 1, 10);
        if (n < 0) {
            perror("poll");
            return 1;
        }
        if (n == 0) {
            if (timeouts++ == 0)
                fputs("timed out\n", stderr);
            continue;
        }
        ssize_t filled = read(STDIN_FILENO, buffer, sizeof buffer);
        if (filled < 0) {
            perror("read");
            return 1;
        }
        if (filled == 0) {
            fputs("end\n", stderr);
            return 0;
        }
        if (write(STDOUT_FILENO, buffer, (size_t)filled) != filled) {
            perror("write");
            return 1;
        }
    }
}
