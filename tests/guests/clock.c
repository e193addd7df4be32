/* Checks the three clocks of preview 1 that a program relies on, and says what it saw. */
#include <stdio.h>
#include <time.h>

typedef long long ns;

/* Not in wasi-libc's headers unless its emulation of process clocks is asked for. */
__attribute__((import_module("wasi_snapshot_preview1"), import_name("clock_time_get")))
int clock_time_get(int id, ns precision, ns *result);
__attribute__((import_module("wasi_snapshot_preview1"), import_name("clock_res_get")))
int clock_res_get(int id, ns *result);

enum { REALTIME = 0, MONOTONIC = 1, PROCESS_CPU = 2 };

static int bad;

static ns now(int id) {
    ns result = -1;
    int refused = clock_time_get(id, 1000, &result);
    if (refused != 0) {
        printf("clock %d: errno %d\n", id, refused);
        bad = 1;
    }
    return result;
}

static void check(const char *what, int holds) {
    printf("%s: %s\n", what, holds ? "yes" : "NO");
    bad |= !holds;
}

int main(void) {
    ns resolution = 0, monotonic = now(MONOTONIC), cpu = now(PROCESS_CPU);
    volatile unsigned sum = 0;
    for (unsigned i = 0; i < 20000000; i++)
        sum += i;
    ns busy = now(PROCESS_CPU) - cpu, elapsed = now(MONOTONIC) - monotonic;

    printf("realtime %lld\n", now(REALTIME));
    check("realtime is after 2024", now(REALTIME) > 1704067200LL * 1000000000);
    check("monotonic goes on", elapsed > 0);
    check("cpu time goes on while busy", busy > 0);

    ns before = now(MONOTONIC), cpu_before = now(PROCESS_CPU);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    ns slept = now(MONOTONIC) - before;
    check("sleep lasts as long as asked", slept >= 50000000);
    check("sleep costs no cpu time", now(PROCESS_CPU) - cpu_before < slept);
    for (int id = REALTIME; id <= PROCESS_CPU; id++)
        check("resolution is known", clock_res_get(id, &resolution) == 0 && resolution > 0);
    check("an unknown clock is refused", clock_time_get(99, 1000, &resolution) != 0);
    return bad;
}
