/* Prints "tick 1", "tick 2", ... at a fixed interval.
 *
 *     ticker [MILLISECONDS [TICKS]]
 *
 * The interval is a second unless told; without TICKS it goes on for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long argument(int argc, char **argv, int position, long fallback) {
    if (position >= argc)
        return fallback;
    char *end;
    long number = strtol(argv[position], &end, 10);
    if (*end != '\0' || number <= 0) {
        fprintf(stderr, "%s: want a number above 0\n", argv[position]);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv) {
    long interval = argument(argc, argv, 1, 1000);
    long last = argument(argc, argv, 2, 0);
    struct timespec due;
    clock_gettime(CLOCK_MONOTONIC, &due);

    for (long count = 1;; count++) {
        /* The next due time follows from the last one, not from when we got to
         * run, so lateness does not add up. */
        due.tv_sec += interval / 1000;
        due.tv_nsec += interval % 1000 * 1000000;
        if (due.tv_nsec >= 1000000000) {
            due.tv_sec++;
            due.tv_nsec -= 1000000000;
        }
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
            ;
        printf("tick %ld\n", count);
        fflush(stdout);
        if (count == last)
            return 0;
    }
}
