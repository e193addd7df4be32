/* Copies standard input to standard output until the input ends.
 *
 * Run once per client with both ends on the client's connection, this is an
 * echo server that has never heard of a network.
 */
#include <stdio.h>
#include <unistd.h>

int main(void) {
    static char buffer[65536];
    ssize_t filled;

    while ((filled = read(STDIN_FILENO, buffer, sizeof buffer)) > 0)
        for (ssize_t written = 0; written < filled;) {
            ssize_t n = write(STDOUT_FILENO, buffer + written, (size_t)(filled - written));
            if (n < 0) {
                perror("write");
                return 1;
            }
            written += n;
        }
    if (filled < 0) {
        perror("read");
        return 1;
    }
    return 0;
}
