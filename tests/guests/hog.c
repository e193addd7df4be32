// Allocates until malloc gives nothing, and aborts: a trap.
#include <stdlib.h>
#include <string.h>

char *volatile last; // so that no compiler leaves the memory out

int main(void) {
    for (;;) {
        char *piece = malloc(1 << 20);
        if (!piece) abort();
        memset(piece, 1, 1 << 20);
        last = piece;
    }
}
