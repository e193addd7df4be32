/* Says hello on standard output and on standard error, with its arguments. */
#include <stdio.h>

int main(int argc, char **argv) {
    puts("hello from c");
    for (int i = 1; i < argc; i++)
        printf("arg %s\n", argv[i]);
    fputs("hello on stderr\n", stderr);
    return 0;
}
