/* Faults of the operating system for one process at a time: loaded by LD_PRELOAD before the C library
 * (Linux, glibc). The test sets what fails in a file that all processes map; see faults.rs, which has
 * the same structure. Everything else is passed on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t wall_offset_millis; /* added to CLOCK_REALTIME */
    _Atomic int32_t write_error;        /* errno of a write to the database; 0: none */
    _Atomic int32_t sync_error;         /* errno of a sync of the database */
    _Atomic int32_t read_error;         /* errno of a read of the database */
    _Atomic int32_t countdown;          /* calls that still succeed; below zero: every one fails */
    _Atomic int32_t torn;               /* 1: a write puts half of its bytes, then the process is killed */
    _Atomic int32_t descriptor_error;   /* errno of open, socket and accept */
    _Atomic int32_t thread_error;       /* errno of pthread_create */
    _Atomic int32_t hits;               /* how many calls failed */
    _Atomic int32_t syncs;              /* how many syncs of the database were made */
};

static struct control none;
static struct control *control = &none;

/* The descriptors of databases. */
#define DESCRIPTORS 4096
static _Atomic char is_database[DESCRIPTORS];

__attribute__((constructor)) static void load(void) {
    const char *path = getenv("FAULT_CONTROL");
    if (!path) return;
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int fd = real(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map != MAP_FAILED) control = map;
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static void note_open(const char *path, int fd) {
    if (fd < 0 || fd >= DESCRIPTORS) return;
    size_t length = strlen(path);
    is_database[fd] = (length > 3 && !strcmp(path + length - 3, ".db")) || strstr(path, ".db-wal") != NULL;
}

static int database(int fd) {
    return fd >= 0 && fd < DESCRIPTORS && is_database[fd];
}

/* Whether this call is the one that fails. */
static int due(int32_t error) {
    if (error == 0) return 0;
    int32_t left = atomic_load(&control->countdown);
    while (left > 0)
        if (atomic_compare_exchange_weak(&control->countdown, &left, left - 1)) return 0;
    atomic_fetch_add(&control->hits, 1);
    errno = error;
    return 1;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    REAL(clock_gettime);
    int result = real(clock, time);
    int64_t offset = control->wall_offset_millis;
    if (result == 0 && offset != 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t nanos = time->tv_nsec + (offset % 1000) * 1000000;
        time->tv_sec += offset / 1000 + (nanos < 0 ? -1 : nanos >= 1000000000);
        time->tv_nsec = (nanos + 1000000000) % 1000000000;
    }
    return result;
}

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, mode_t); \
            va_end(rest); \
        } \
        if (due(control->descriptor_error)) return -1; \
        int fd = real(path, flags, mode); \
        note_open(path, fd); \
        return fd; \
    }
OPEN(open)
OPEN(open64)

int openat64(int directory, const char *path, int flags, ...) {
    REAL(openat64);
    mode_t mode = 0;
    if (flags & (O_CREAT | O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    if (due(control->descriptor_error)) return -1;
    int fd = real(directory, path, flags, mode);
    note_open(path, fd);
    return fd;
}

int socket(int domain, int type, int protocol) {
    REAL(socket);
    if (due(control->descriptor_error)) return -1;
    int fd = real(domain, type, protocol);
    if (fd >= 0 && fd < DESCRIPTORS) is_database[fd] = 0;
    return fd;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
    REAL(accept4);
    if (due(control->descriptor_error)) return -1;
    int accepted = real(fd, address, length, flags);
    if (accepted >= 0 && accepted < DESCRIPTORS) is_database[accepted] = 0;
    return accepted;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    REAL(pthread_create);
    if (due(control->thread_error)) return errno;
    return real(thread, attributes, start, argument);
}

#define WRITE(name, offset_type) \
    ssize_t name(int fd, const void *bytes, size_t count, offset_type offset) { \
        REAL(name); \
        if (database(fd)) { \
            if (control->torn && due(EIO)) { \
                real(fd, bytes, count / 2, offset); \
                kill(getpid(), SIGKILL); \
            } \
            if (due(control->write_error)) return -1; \
        } \
        return real(fd, bytes, count, offset); \
    }
WRITE(pwrite64, off64_t)

ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset) {
    REAL(pread64);
    if (database(fd) && due(control->read_error)) return -1;
    return real(fd, bytes, count, offset);
}

#define SYNC(name) \
    int name(int fd) { \
        REAL(name); \
        if (database(fd)) { \
            atomic_fetch_add(&control->syncs, 1); \
            if (due(control->sync_error)) return -1; \
        } \
        return real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)
