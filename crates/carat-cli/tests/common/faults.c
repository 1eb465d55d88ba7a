/* Loaded before the C library (LD_PRELOAD), so that tests can set the clock and the disk of the real, unchanged binary.
 *
 * The file named by CARAT_TEST_FAULTS holds numbers of eight bytes each, in the machine's order; tests change them while the
 * program runs. What is not asked for goes through to the system unchanged. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct faults {
    int64_t clock_seconds; /* added to the wall clock */
    int64_t sync_ms;       /* waited before each sync */
    int64_t sync_errno;    /* 0: syncs work */
    int64_t write_errno;   /* of writes to files; 0: they work */
    int64_t syncs;         /* counted here, so that a test knows that it is not talking to itself */
    int64_t clocks;
    int64_t die_in_job;    /* n: the process dies at the n-th write to a file by the thread that works on jobs */
};

static struct faults none;
static volatile struct faults *faults = &none;

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("CARAT_TEST_FAULTS");
    int file = path ? open(path, O_RDWR) : -1;
    if (file < 0) return;
    void *map = mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map != MAP_FAILED) faults = map;
}

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int clock_gettime(clockid_t id, struct timespec *at) {
    REAL(clock_gettime);
    int status = real(id, at);
    if (status == 0 && id == CLOCK_REALTIME) {
        __atomic_add_fetch(&faults->clocks, 1, __ATOMIC_RELAXED);
        at->tv_sec += faults->clock_seconds;
    }
    return status;
}

static int before_sync(void) {
    __atomic_add_fetch(&faults->syncs, 1, __ATOMIC_RELAXED);
    /* In steps, so that a test can end the wait. */
    int64_t start = faults->sync_ms;
    for (int64_t waited = 0; waited < start && faults->sync_ms; waited += 10) usleep(10 * 1000);
    if (faults->sync_errno) errno = (int)faults->sync_errno;
    return faults->sync_errno != 0;
}

int fsync(int file) {
    REAL(fsync);
    return before_sync() ? -1 : real(file);
}

int fdatasync(int file) {
    REAL(fdatasync);
    return before_sync() ? -1 : real(file);
}

static int fails(int file) {
    struct stat about;
    char name[16] = "";
    if (!faults->write_errno && !faults->die_in_job) return 0;
    if (file <= 2 || fstat(file, &about) || !S_ISREG(about.st_mode)) return 0;
    if (faults->die_in_job && !prctl(PR_GET_NAME, name) && !strcmp(name, "carat-jobs") && !--faults->die_in_job)
        kill(getpid(), SIGKILL);
    if (!faults->write_errno) return 0;
    errno = (int)faults->write_errno;
    return 1;
}

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    return fails(file) ? -1 : real(file, bytes, length);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(writev);
    return fails(file) ? -1 : real(file, parts, count);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    return fails(file) ? -1 : real(file, bytes, length, at);
}
