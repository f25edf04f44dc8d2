// The children and the yardstick of the restart benchmark, one static binary.
//
//   child stamp        write CLOCK_MONOTONIC and PID, 8 bytes each, to descriptor 1 as the first thing, then sleep
//   child --stamp=FIFO the same, to a FIFO: under a supervisor that takes descriptor 1 for itself
//   child loop CMD…    vfork, exec, wait, again: the least a supervisor can do; ends when a child ends otherwise than by SIGKILL
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void stamp(const char *fifo) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int fd = fifo ? open(fifo, O_WRONLY) : 1;
    uint64_t rec[2] = {(uint64_t)t.tv_sec * 1000000000ull + t.tv_nsec, getpid()};
    if (write(fd, rec, sizeof rec) != sizeof rec) _exit(1);
    for (;;) pause();
}

static int loop(char **argv) {
    for (;;) {
        pid_t p = vfork();
        if (p < 0) return 1;
        if (p == 0) {
            execv(argv[0], argv);
            _exit(127);
        }
        int st;
        while (waitpid(p, &st, 0) < 0 && errno == EINTR) {
        }
        if (!WIFSIGNALED(st) || WTERMSIG(st) != 9) return 1;
    }
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "stamp") == 0) stamp(0);
    if (argc == 2 && strncmp(argv[1], "--stamp=", 8) == 0) stamp(argv[1] + 8);
    if (argc >= 3 && strcmp(argv[1], "loop") == 0) return loop(argv + 2);
    return 2;
}
