// feed: a fast writer of log lines, for the benchmarks.
//
//   feed lines LEN TOTAL      wait for a byte on standard input, write TOTAL
//                             bytes of LEN-byte lines to standard output, one
//                             write(2) a line; print the longest write in ns
//                             on standard error
//   feed tick COUNT USEC FILE write a time-stamped 300-byte line each USEC, spin
//                             until it is in FILE (a size increase), print the
//                             ns each took on standard error
//   feed paced LEN USEC MSEC  lines of LEN bytes each USEC for MSEC, then print
//                             the longest write in ns
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void put(const char *p, size_t n) {
    while (n) {
        ssize_t k = write(1, p, n);
        if (k < 0) exit(1);
        p += k;
        n -= k;
    }
}

static char line[1 << 16];

static void make(size_t len, uint64_t seq) {
    if (!line[0]) memset(line, 'x', sizeof line);
    for (int i = 11; i >= 0; i--, seq /= 10) line[i] = '0' + seq % 10;
    line[len - 1] = '\n';
}

static int lines(size_t len, uint64_t total, uint64_t usec, uint64_t msec) {
    char c;
    if (!usec && read(0, &c, 1) != 1) return 1;
    uint64_t worst = 0, seq = 0, end = now() + msec * 1000000ull;
    struct timespec nap = {0, usec * 1000};
    for (uint64_t done = 0; usec ? now() < end : done < total; done += len, seq++) {
        make(len, seq);
        uint64_t t = usec ? now() : 0;
        put(line, len);
        if (usec) {
            t = now() - t;
            if (t > worst) worst = t;
            if (usec > 1) nanosleep(&nap, 0);
        }
    }
    fprintf(stderr, "%llu %llu\n", (unsigned long long)worst, (unsigned long long)seq);
    return 0;
}

static int tick(int count, long usec, const char *file) {
    uint64_t *took = calloc(count, sizeof *took);
    int fd = open(file, O_RDONLY);
    if (fd < 0) return 1;
    struct timespec nap = {0, usec * 1000};
    struct stat st;
    fstat(fd, &st);
    off_t size = st.st_size;
    for (int i = 0; i < count; i++) {
        nanosleep(&nap, 0);
        make(300, i);
        uint64_t t = now();
        put(line, 300);
        do fstat(fd, &st);
        while (st.st_size < size + 300);
        took[i] = now() - t;
        size += 300;
    }
    for (int i = 0; i < count; i++) fprintf(stderr, "%llu\n", (unsigned long long)took[i]);
    return 0;
}

int main(int n, char **a) {
    if (n == 4 && !strcmp(a[1], "lines")) return lines(atoi(a[2]), strtoull(a[3], 0, 10), 0, 0);
    if (n == 5 && !strcmp(a[1], "paced")) return lines(atoi(a[2]), 0, atol(a[3]), atol(a[4]));
    if (n == 5 && !strcmp(a[1], "tick")) return tick(atoi(a[2]), atol(a[3]), a[4]);
    return 2;
}
