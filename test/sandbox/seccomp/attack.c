// Tries system calls that a sandbox should refuse, each in its own process. Prints a line for each: "mount EPERM",
// "unshare user allowed", "i386 getpid killed". After the line "and in the end:" come calls that a sandbox should allow.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/keyctl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

static char memory[4096];

static long try_clone(unsigned long flags) {
  long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  return pid;
}

static long try_clone3(void) {
  struct { unsigned long long flags, rest[10]; } given = {.flags = CLONE_NEWUSER};
  long pid = syscall(SYS_clone3, &given, 64);
  if (pid == 0) _exit(0);
  return pid;
}

static int end_thread(void *nothing) {
  syscall(SYS_exit, 0);
  return 0;
}

static long try_lease(unsigned long command) {
  return syscall(SYS_fcntl, open("/tmp/leased", O_CREAT | O_RDWR, 0600), command, F_WRLCK);
}

static long try_thread(int flags) {
  return clone(end_thread, memory + sizeof memory, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | flags, 0);
}

// The call may succeed without effect. Then this process can still be read in /proc, and EPERM is reported.
static long try_hiding(unsigned long option) {
  if (syscall(SYS_prctl, option, 0, 0, 0, 0) < 0) return -1;
  errno = EPERM;
  return prctl(PR_GET_DUMPABLE) == 1 ? -1 : 0;
}

#ifdef __x86_64__
static long i386(long number, long first) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0) { errno = -result; return -1; }
  return result;
}
#endif

static void report(const char *name, long (*attempt)(void)) {
  fflush(stdout);
  if (fork() == 0) {
    long result = attempt();
    printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "allowed");
    fflush(stdout);
    _exit(0);
  }
  int status;
  wait(&status);
  if (WIFSIGNALED(status)) printf("%s killed\n", name);
}

#define TRY(name, call) long attempt(void) { return (call); } report(name, attempt)

static struct flock whole = { .l_type = F_WRLCK };

int main(void) {
  { TRY("unshare user", unshare(CLONE_NEWUSER)); }
  { TRY("unshare mount", unshare(CLONE_NEWNS)); }
  { TRY("unshare user+net", unshare(CLONE_NEWUSER | CLONE_NEWNET)); }
  { TRY("clone user", try_clone(CLONE_NEWUSER)); }
  { TRY("clone user+mount, high bits set", try_clone(0xffff000000000000 | CLONE_NEWUSER | CLONE_NEWNS)); }
  { TRY("clone3 user", try_clone3()); }
  { TRY("setns", setns(0, 0)); }
  { TRY("mount", syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, 0)); }
  { TRY("umount", syscall(SYS_umount2, "/tmp", 0)); }
  { TRY("fsopen", syscall(SYS_fsopen, "tmpfs", 0)); }
  { TRY("open_tree", syscall(SYS_open_tree, -100, "/tmp", 1)); }
  { TRY("pivot_root", syscall(SYS_pivot_root, "/", "/")); }
  { TRY("chroot", chroot("/")); }
  { TRY("io_uring_setup", syscall(SYS_io_uring_setup, 4, memory)); }
  { TRY("userfaultfd", syscall(SYS_userfaultfd, 1)); }
  { TRY("keyctl read session", syscall(SYS_keyctl, KEYCTL_SEARCH, KEY_SPEC_SESSION_KEYRING, "user", "secret", 0)); }
  { TRY("keyctl clear session", syscall(SYS_keyctl, KEYCTL_CLEAR, KEY_SPEC_SESSION_KEYRING)); }
  { TRY("keyctl user keyring", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1)); }
  { TRY("add_key", syscall(SYS_add_key, "user", "mine", "x", 1, KEY_SPEC_USER_KEYRING)); }
  { TRY("request_key", syscall(SYS_request_key, "user", "secret", 0, 0)); }
  { TRY("bpf", syscall(SYS_bpf, 0, memory, 64)); }
  { TRY("perf_event_open", syscall(SYS_perf_event_open, memory, 0, -1, -1, 0)); }
  { TRY("ptrace", ptrace(PTRACE_SEIZE, getppid(), 0, 0)); }
  { TRY("process_vm_readv", syscall(SYS_process_vm_readv, getppid(), memory, 1, memory, 1, 0)); }
  { TRY("process_vm_writev", syscall(SYS_process_vm_writev, getppid(), memory, 1, memory, 1, 0)); }
  { TRY("pidfd_getfd", syscall(SYS_pidfd_getfd, syscall(SYS_pidfd_open, getppid(), 0), 0, 0)); }
  { TRY("landlock", syscall(SYS_landlock_create_ruleset, 0, 0, 1)); }
  { TRY("thread with files of its own", try_thread(0)); }
  { TRY("close_range with files of its own", syscall(SYS_close_range, 1000, 1000, 2)); }
  { TRY("not dumpable", try_hiding(PR_SET_DUMPABLE)); }
  { TRY("not dumpable, high bits set", try_hiding(0xffffffff00000000 | PR_SET_DUMPABLE)); }
  { TRY("lease", try_lease(F_SETLEASE)); }
  { TRY("lease, high bits set", try_lease(0xffffffff00000000 | F_SETLEASE)); }
  { TRY("lease on a folder", syscall(SYS_fcntl, open("/tmp", O_RDONLY), 1040, memory)); }
  { TRY("lock of an open file", fcntl(open("/tmp/locked", O_CREAT | O_RDWR, 0600), 37, &whole)); }
  { TRY("lock of an open file, high bits set", syscall(SYS_fcntl, open("/tmp/locked", O_CREAT | O_RDWR, 0600), 0xffffffff00000026, &whole)); }
  { TRY("secret memory", syscall(SYS_memfd_secret, 0)); }
  { TRY("btrfs subvolume", ioctl(open("/tmp", O_RDONLY), 0x5000940e, memory)); }
  { TRY("btrfs snapshot, high bits set", syscall(SYS_ioctl, open("/tmp", O_RDONLY), 0xffffffff50009417, memory)); }
  { TRY("reflink", ioctl(open("/tmp", O_RDONLY), FICLONE, 0)); }
  { TRY("io_setup", syscall(SYS_io_setup, 65536, memory)); }
  { TRY("syslog", syscall(SYS_syslog, 3, memory, 100)); }
  { TRY("socket vsock", socket(AF_VSOCK, SOCK_STREAM, 0)); }
  { TRY("socket packet", socket(AF_PACKET, SOCK_DGRAM, 0)); }
  { TRY("socket crypto", socket(AF_ALG, SOCK_SEQPACKET, 0)); }
  { TRY("socket sctp", socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP)); }
  { TRY("socket mptcp", socket(AF_INET, SOCK_STREAM, 262)); }
  { TRY("socket mptcp of IPv6", socket(AF_INET6, SOCK_STREAM, 262)); }
  { TRY("socket udp-lite", socket(AF_INET, SOCK_DGRAM, IPPROTO_UDPLITE)); }
  { TRY("socket dccp", socket(AF_INET6, 6, IPPROTO_DCCP)); }
  { TRY("netlink to itself", socket(AF_NETLINK, SOCK_RAW, 2)); }
  { TRY("netlink generic", socket(AF_NETLINK, SOCK_RAW, 16)); }
  { TRY("netlink audit", socket(AF_NETLINK, SOCK_RAW, 9)); }
  { TRY("socketpair tipc", socketpair(AF_TIPC, SOCK_STREAM, 0, (int *)memory)); }
#ifdef __x86_64__
  { TRY("i386 getpid", i386(20, 0)); }
  { TRY("i386 unshare", i386(310, CLONE_NEWUSER)); }
  { TRY("x32 getpid", syscall(0x40000000 | SYS_getpid)); }
  { TRY("x32 unshare", syscall(0x40000000 | SYS_unshare, CLONE_NEWUSER)); }
#endif
  printf("and in the end:\n");
  { TRY("fork", try_clone(0)); }
  { TRY("thread", try_thread(CLONE_FILES)); }
  { TRY("close_range", syscall(SYS_close_range, 1000, 1000, 4)); }
  { TRY("prctl not dumpable", prctl(PR_SET_DUMPABLE, 0)); }
  { TRY("prctl dumpable", prctl(PR_SET_DUMPABLE, 1)); }
  { TRY("prctl name", prctl(PR_SET_NAME, "attack")); }
  { TRY("fcntl", fcntl(0, F_GETFD)); }
  { TRY("lock of the process", fcntl(open("/tmp/locked", O_CREAT | O_RDWR, 0600), F_SETLK, &whole)); }
  { TRY("limit of a pipe", pipe((int *)memory) < 0 ? -1 : fcntl(*(int *)memory, F_SETPIPE_SZ, 8192)); }
  { TRY("socket inet", socket(AF_INET, SOCK_STREAM, 0)); }
  { TRY("socket udp of inet6", socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP)); }
  { TRY("socket netlink", socket(AF_NETLINK, SOCK_RAW, 0)); }
  { TRY("socketpair unix", socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)memory)); }
  return 0;
}
