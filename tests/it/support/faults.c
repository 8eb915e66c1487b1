/* Faults of the operating system, for processes of the tests (Linux, glibc).
 *
 * A test loads it by LD_PRELOAD (faults.rs). The fault run has a copy of the program that needs it in
 * the place of libgcc_s, which the library itself needs: so every process has it, the broker among
 * them, whose environment is chosen (tests/faults/shim.rs). What to do is read from a small file, which
 * the test maps and changes: FAULT_CONTROL names it, or it lies beside the library. Probabilities
 * are parts of 65536. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The file that is mapped. The Rust side has the same layout (faults.rs). */
struct control {
    int64_t clock_offset;      /* milliseconds, added to CLOCK_REALTIME */
    uint32_t skip;             /* how many calls that would fail still succeed */
    uint32_t write_error;      /* probability of EIO at a write to a file */
    uint32_t full;             /* the same of ENOSPC */
    uint32_t read_only;        /* the same of EROFS, also when a file is opened for writing */
    uint32_t torn;             /* the same of half a write and SIGKILL */
    uint32_t sync_error;       /* EIO at fsync and fdatasync */
    uint32_t descriptors;      /* EMFILE at open, accept, socket */
    uint32_t threads;          /* EAGAIN at pthread_create */
    uint32_t hits[7];          /* how often each of these seven was done */
    uint32_t syncs;            /* how often fsync or fdatasync succeeded */
};

static volatile struct control none;
static volatile struct control *control = &none;
static uint64_t seed;
static struct timespec started;

#define REAL(name) \
    static __typeof__(&name) real_##name; \
    if (!real_##name) real_##name = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
    Dl_info info;
    char beside[256];
    const char *path = getenv("FAULT_CONTROL");
    if (!path) {
        if (!dladdr((void *)begin, &info) || strlen(info.dli_fname) > 200) return;
        strcpy(beside, info.dli_fname);
        strcat(beside, ".control");
        path = beside;
    }
    int file = (int)syscall(257 /* openat */, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    if (file < 0) return;
    void *map = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    started = now;
    seed = (uint64_t)now.tv_nsec * 2654435761u + (uint64_t)getpid();
    if (map != MAP_FAILED) control = map;
}

static int happens(uint32_t probability, int which) {
    if (!probability) return 0;
    uint64_t x = __atomic_add_fetch(&seed, 0x9e3779b97f4a7c15u, __ATOMIC_RELAXED);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    if (((x ^ (x >> 31)) & 0xffff) >= probability) return 0;
    uint32_t left = __atomic_load_n(&control->skip, __ATOMIC_RELAXED);
    while (left > 0)
        if (__atomic_compare_exchange_n(&control->skip, &left, left - 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            return 0;
    __atomic_add_fetch(&control->hits[which], 1, __ATOMIC_RELAXED);
    return 1;
}

/* A process that has just started has descriptors of its own, so none is short of them. */
static int lacks_descriptors(void) {
    struct timespec now;
    if (!control->descriptors) return 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec - started.tv_sec > 3 && happens(control->descriptors, 5);
}

/* Whether it is a file of the program's own, and no standard stream. */
static int is_file(int fd) {
    struct stat status;
    if (fd <= STDERR_FILENO) return 0;
    int before = errno;
    int is = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    errno = before;
    return is;
}

/* Returns an error for a write to a file, or 0. */
static int write_fault(int fd) {
    if (!(control->write_error | control->full | control->read_only) || !is_file(fd)) return 0;
    if (happens(control->write_error, 0)) return EIO;
    if (happens(control->full, 1)) return ENOSPC;
    if (happens(control->read_only, 2)) return EROFS;
    return 0;
}

static int is_torn(int fd, size_t length) {
    return control->torn && length > 1 && is_file(fd) && happens(control->torn, 3);
}

static ssize_t die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

ssize_t write(int fd, const void *bytes, size_t length) {
    REAL(write);
    int error = write_fault(fd);
    if (error) { errno = error; return -1; }
    if (is_torn(fd, length)) { real_write(fd, bytes, length / 2); return die(); }
    return real_write(fd, bytes, length);
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    int error = write_fault(fd);
    if (error) { errno = error; return -1; }
    if (is_torn(fd, length)) { real_pwrite64(fd, bytes, length / 2, at); return die(); }
    return real_pwrite64(fd, bytes, length, at);
}

int ftruncate64(int fd, off64_t length) {
    REAL(ftruncate64);
    int error = write_fault(fd);
    if (error) { errno = error; return -1; }
    return real_ftruncate64(fd, length);
}

static int synced(int result) {
    if (result == 0) __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    return result;
}

int fsync(int fd) {
    REAL(fsync);
    if (happens(control->sync_error, 4)) { errno = EIO; return -1; }
    return synced(real_fsync(fd));
}

int fdatasync(int fd) {
    REAL(fdatasync);
    if (happens(control->sync_error, 4)) { errno = EIO; return -1; }
    return synced(real_fdatasync(fd));
}

static int open_fault(int flags) {
    if (lacks_descriptors()) return EMFILE;
    if ((flags & O_ACCMODE) != O_RDONLY && (flags & O_CREAT) && happens(control->read_only, 2))
        return EROFS;
    return 0;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    int error = open_fault(flags); \
    if (error) { errno = error; return -1; }

int open64(const char *path, int flags, ...) {
    REAL(open64);
    MODE(flags)
    return real_open64(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    REAL(open);
    MODE(flags)
    return real_open(path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    REAL(openat64);
    MODE(flags)
    return real_openat64(directory, path, flags, mode);
}

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict length, int flags) {
    REAL(accept4);
    if (lacks_descriptors()) { errno = EMFILE; return -1; }
    return real_accept4(fd, address, length, flags);
}

int socket(int domain, int type, int protocol) {
    REAL(socket);
    if (lacks_descriptors()) { errno = EMFILE; return -1; }
    return real_socket(domain, type, protocol);
}

int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes,
                   void *(*start)(void *), void *restrict argument) {
    REAL(pthread_create);
    if (happens(control->threads, 6)) return EAGAIN;
    return real_pthread_create(thread, attributes, start, argument);
}

static void shift(struct timespec *time) {
    int64_t nanoseconds = time->tv_nsec + control->clock_offset % 1000 * 1000000;
    time->tv_sec += control->clock_offset / 1000;
    if (nanoseconds < 0) { nanoseconds += 1000000000; time->tv_sec -= 1; }
    if (nanoseconds >= 1000000000) { nanoseconds -= 1000000000; time->tv_sec += 1; }
    time->tv_nsec = nanoseconds;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real_clock_gettime(clock, time);
    if (result == 0 && clock == CLOCK_REALTIME) shift(time);
    return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    struct timespec now;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
