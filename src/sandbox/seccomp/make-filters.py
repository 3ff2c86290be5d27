#!/usr/bin/python3
"""Makes the seccomp filters of sandboxes: one compiled BPF program for each processor architecture.

    /usr/bin/python3 src/sandbox/seccomp/make-filters.py FOLDER

It writes x86_64.bpf and aarch64.bpf into FOLDER. It needs Debian's python3-seccomp. The program depends on the version
of libseccomp: the files in this folder were made with 2.5.4.

allowed.json is the list of Podman and Buildah as Debian ships it: /usr/share/containers/seccomp.json of
golang-github-containers-common 0.50.1+ds1-4, Apache-2.0. Only its rules for a container without capabilities are used.
CLOSED removes more, because a sandbox starts no containers. A system call that is not listed, such as io_uring and all
future system calls, fails with ENOSYS, so that programs fall back to an older system call.

A system call of another architecture's table (i386, x32, 32-bit ARM) kills the process.
"""

import errno
import json
import sys
from pathlib import Path

import seccomp
from seccomp import ALLOW, EQ, ERRNO, MASKED_EQ, NE, Arch, Arg, Attr, SyscallFilter

ARCHITECTURES = {"x86_64": (Arch.X86_64, "amd64"), "aarch64": (Arch.AARCH64, "arm64")}

CLOSED = {
    # Namespaces and mounts.
    *("setns", "unshare", "chroot", "pivot_root", "mount", "umount", "umount2", "mount_setattr", "move_mount"),
    *("open_tree", "fsconfig", "fsmount", "fsopen", "fspick"),
    # Keyrings, which namespaces do not separate.
    *("add_key", "keyctl", "request_key"),
    # Calls that read or change other processes. The first process of a sandbox has the same user as the tool. A program
    # that controls that process could hide the end of the sandbox.
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"),
    # The kernel's log, and restarting the machine.
    *("syslog", "reboot"),
}

# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET. clone3 reads these flags from memory, which
# filters cannot inspect. So clone3 fails with ENOSYS, and the C library uses clone.
NEW_NAMESPACES = [0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000]

# A thread with open files of its own would hide these files: the server sees only the open files of the process
# (hidden-disk-use.ts). No C library makes such threads.
CLONE_FILES, CLONE_THREAD, CLOSE_RANGE_UNSHARE = 0x00000400, 0x00010000, 2

# A process that is not dumpable hides its open files from a server that is not root. prctl(PR_SET_DUMPABLE, 0) succeeds
# without effect, because some programs (sftp-server) end if it fails.
PR_SET_DUMPABLE = 4

# With the ioctl requests of Btrfs, a program could make subvolumes. No disk limit counts subvolumes, and read-only
# subvolumes cannot be removed. Three requests of the same kind are for all file systems and stay allowed: they let files
# share blocks.
BTRFS, KIND, NUMBER = 0x9400, 0xFF00, 0xFFFFFFFF
FICLONE, FICLONERANGE, FIDEDUPERANGE = 0x40049409, 0x4020940D, 0xC0189436

# While a program holds a lease on a file, others wait up to 45 s to open the file. If tools have no users of their own,
# some files belong to the user of all sandboxes, /etc/passwd for example. F_SETDELEG does the same for folders, and its
# number differs in one bit. Both commands fail with the error of a kernel without leases.
F_SETLEASE, F_SETDELEG = 1024, 1040

# The kernel tells a program of each use of a folder for which the program has asked (dnotify). The folders of /usr are
# the same in all sandboxes, so each program that starts anywhere would wait while thousands are told. F_NOTIFY fails
# with the error of a kernel without dnotify. Its successor, inotify, has limits.
F_NOTIFY = 1026

# A lock of an open file (OFD, fcntl_locking(2)) stays while the file waits in a socket, where the server cannot count
# the locks. The commands F_OFD_GETLK, F_OFD_SETLK and F_OFD_SETLKW fail with the error of a kernel without such locks,
# so that programs fall back to locks of the process.
OFD_LOCKS = range(36, 39)

# The machine has one limit for the memory of all compiled filters (net.core.bpf_jit_limit). If it is reached, no sandbox
# can start, because each has this filter. So a program cannot load filters: into the kernel by seccomp, as on a kernel
# without seccomp filters, or into a socket. The socket options have the numbers of SO_ATTACH_FILTER, SO_ATTACH_BPF,
# SO_ATTACH_REUSEPORT_CBPF and SO_ATTACH_REUSEPORT_EBPF.
PR_SET_SECCOMP = 22
SECCOMP_SET_MODE_STRICT, SECCOMP_SET_MODE_FILTER = 0, 1
SOL_SOCKET, FILTERS = 1, {26, 50, 51, 52}

# These socket options fail as if the kernel lacked them, and are listed by level. They keep kernel memory that no control
# group counts: IPV6_2292PKTOPTIONS keeps any bytes, and TCP_MD5SIG, TCP_MD5SIG_EXT and TCP_AO_ADD_KEY keep keys.
IPPROTO_IP, IPPROTO_TCP, IPPROTO_IPV6 = 0, 6, 41
MISSING_OPTIONS = {SOL_SOCKET: FILTERS, IPPROTO_TCP: {14, 32, 38}, IPPROTO_IPV6: {6}}

# These socket options, with which a socket joins and leaves groups of multicast, succeed without effect. No control group
# counts the memory of groups. If a tool leaves thousands of groups, the kernel holds the lock of all networks (RTNL) for
# minutes, and no sandbox can start. A sandbox gets no multicast from outside anyway. The options of IP are
# IP_ADD_MEMBERSHIP and IP_DROP_MEMBERSHIP, and the same for a source. The options of IPv6 are IPV6_JOIN_GROUP and
# IPV6_LEAVE_GROUP. Both have MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP, and the same for a source.
MULTICAST = {42, 45, 46, 47}
#
# SO_BROADCAST also succeeds without effect, so that to send to a broadcast address fails. The kernel copies such a message
# for all sockets of a port with interrupts off. With one message, a tool could make a processor do that for seconds.
SO_BROADCAST = 6
OPTIONS_WITHOUT_EFFECT = {
    SOL_SOCKET: {SO_BROADCAST},
    IPPROTO_IP: {35, 36, 39, 40} | MULTICAST,
    IPPROTO_IPV6: {20, 21} | MULTICAST,
}

# These system calls fail as on a kernel that lacks them. The whole machine shares one number of contexts for
# asynchronous input and output (fs.aio-max-nr), so one tool could take all. Programs fall back to threads. A rule of
# Landlock keeps a deleted file on the disk, although no process has it open: the server could not see it. No measure of
# a process's memory counts the memory of memfd_secret.
MISSING = {
    *("io_setup", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "memfd_secret"),
}

# These system calls succeed without effect, so that a tool cannot lower its priority. In the kernel, every program at
# times holds locks for which the server and other tools wait, for example the lock of a folder or of the file system's
# journal. A program with a low priority and busy neighbours would hold such a lock for minutes.
PRIORITIES = {"ioprio_set", "sched_setattr", "sched_setparam", "sched_setscheduler", "setpriority"}

# System calls that are allowed only with some arguments.
ONLY_SOME = {"clone", "clone3", "close_range", "fcntl", "ioctl", "prctl", "seccomp", "setsockopt", "socket", "socketpair"}

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
# The list of addresses (getifaddrs) and `ip` need only this protocol. By the other protocols of netlink, a program can
# send messages to itself, which use memory that no control group counts, or reach rarely used parts of the kernel.
NETLINK_ROUTE = 0
# The protocols of Internet sockets: the usual one of the socket's type, ICMP, TCP, UDP and ICMPv6. If a program asks for
# another one, such as SCTP, DCCP or L2TP, the kernel loads a rarely used part of itself.
PROTOCOLS = (0, 1, 6, 17, 58)
# UDP-Lite and MPTCP fail as on a kernel that lacks them, and programs fall back to UDP and TCP. Their sockets hold memory
# that counts toward the machine's limits for UDP and TCP (net.ipv4.udp_mem, tcp_mem), but the lists of sockets do not
# show it, so the server could not count it.
IPPROTO_UDPLITE, IPPROTO_MPTCP = 136, 262


def make(architecture, name_in_list):
    """The filter for one architecture."""
    made = SyscallFilter(ERRNO(errno.ENOSYS))
    made.remove_arch(Arch())
    made.add_arch(architecture)
    made.set_attr(Attr.CTL_OPTIMIZE, 2)
    rules = [rule for rule in listed() if applies(rule, name_in_list)]
    refused = CLOSED | {name for rule in rules if rule["action"] == "SCMP_ACT_ERRNO" for name in rule["names"]}
    for name in sorted(refused - MISSING - {"socket"}):
        add(made, ERRNO(errno.EPERM), architecture, name)
    for name in sorted(PRIORITIES):
        add(made, ERRNO(0), architecture, name)
    for rule in rules:
        for name in rule["names"] if rule["action"] == "SCMP_ACT_ALLOW" else []:
            if name not in refused | MISSING | PRIORITIES | ONLY_SOME:
                add(made, ALLOW, architecture, name, *map(argument, rule["args"] or []))
    thread, namespaces = CLONE_THREAD | CLONE_FILES, sum(NEW_NAMESPACES)
    made.add_rule(ALLOW, "clone", Arg(0, MASKED_EQ, namespaces | CLONE_THREAD, 0))
    made.add_rule(ALLOW, "clone", Arg(0, MASKED_EQ, namespaces | thread, thread))
    made.add_rule(ERRNO(errno.EPERM), "clone", Arg(0, MASKED_EQ, namespaces | thread, CLONE_THREAD))
    for flag in NEW_NAMESPACES:
        made.add_rule(ERRNO(errno.EPERM), "clone", Arg(0, MASKED_EQ, flag, flag))
    made.add_rule(ALLOW, "close_range", Arg(2, MASKED_EQ, CLOSE_RANGE_UNSHARE, 0))
    made.add_rule(ERRNO(errno.EPERM), "close_range", Arg(2, MASKED_EQ, CLOSE_RANGE_UNSHARE, CLOSE_RANGE_UNSHARE))
    for option in others(PR_SET_DUMPABLE, PR_SET_SECCOMP):
        made.add_rule(ALLOW, "prctl", Arg(0, *option))
    made.add_rule(ERRNO(0), "prctl", Arg(0, *only(PR_SET_DUMPABLE)), Arg(1, EQ, 0))
    made.add_rule(ALLOW, "prctl", Arg(0, *only(PR_SET_DUMPABLE)), Arg(1, NE, 0))
    made.add_rule(ERRNO(errno.EINVAL), "prctl", Arg(0, *only(PR_SET_SECCOMP)))
    refused_operations = SECCOMP_SET_MODE_STRICT, SECCOMP_SET_MODE_FILTER
    for operation in others(*refused_operations):
        made.add_rule(ALLOW, "seccomp", Arg(0, *operation))
    for operation in refused_operations:
        made.add_rule(ERRNO(errno.EINVAL), "seccomp", Arg(0, *only(operation)))
    refused_commands = F_SETLEASE, F_SETDELEG, F_NOTIFY, *OFD_LOCKS
    for command in others(*refused_commands):
        made.add_rule(ALLOW, "fcntl", Arg(1, *command))
    for command in refused_commands:
        made.add_rule(ERRNO(errno.EINVAL), "fcntl", Arg(1, *only(command)))
    special_levels = MISSING_OPTIONS.keys() | OPTIONS_WITHOUT_EFFECT.keys()
    for level in others(*special_levels):
        made.add_rule(ALLOW, "setsockopt", Arg(1, *level))
    for level in sorted(special_levels):
        missing, without_effect = MISSING_OPTIONS.get(level, set()), OPTIONS_WITHOUT_EFFECT.get(level, set())
        for option in others(*missing, *without_effect):
            made.add_rule(ALLOW, "setsockopt", Arg(1, *only(level)), Arg(2, *option))
        for action, options in ((ERRNO(errno.ENOPROTOOPT), missing), (ERRNO(0), without_effect)):
            for option in sorted(options):
                made.add_rule(action, "setsockopt", Arg(1, *only(level)), Arg(2, *only(option)))
    # Allow each request of ioctl whose kind differs from that of Btrfs in at least one bit.
    for bit in [1 << place for place in range(16) if KIND & 1 << place]:
        made.add_rule(ALLOW, "ioctl", Arg(1, MASKED_EQ, bit, ~BTRFS & bit))
    for request in (FICLONE, FICLONERANGE, FIDEDUPERANGE):
        made.add_rule(ALLOW, "ioctl", Arg(1, MASKED_EQ, NUMBER, request))
    # Other kinds of sockets either bypass the network namespace (AF_VSOCK reaches the hypervisor) or open rarely used
    # parts of the kernel.
    made.add_rule(ALLOW, "socket", Arg(0, EQ, AF_UNIX))
    for family in (AF_INET, AF_INET6):
        for protocol in PROTOCOLS:
            made.add_rule(ALLOW, "socket", Arg(0, EQ, family), Arg(2, EQ, protocol))
        for protocol in (IPPROTO_UDPLITE, IPPROTO_MPTCP):
            made.add_rule(ERRNO(errno.EPROTONOSUPPORT), "socket", Arg(0, EQ, family), Arg(2, EQ, protocol))
    made.add_rule(ALLOW, "socket", Arg(0, EQ, AF_NETLINK), Arg(2, EQ, NETLINK_ROUTE))
    made.add_rule(ALLOW, "socketpair", Arg(0, EQ, AF_UNIX))
    return made


def only(number):
    """The condition that the low 32 bits of an argument are this number. The kernel ignores the high ones."""
    return MASKED_EQ, NUMBER, number


def others(*numbers):
    """Conditions, of which exactly one is true if the low 32 bits of an argument are none of these numbers."""
    conditions, prefixes = [], {0}
    for place in reversed(range(32)):
        mask = NUMBER >> place << place
        wanted = {number & mask for number in numbers}
        halves = {prefix | bit << place for prefix in prefixes for bit in (0, 1)}
        conditions += [(MASKED_EQ, mask, half) for half in sorted(halves - wanted)]
        prefixes = wanted
    return conditions


def listed():
    return json.loads(Path(__file__).with_name("allowed.json").read_text())["syscalls"]


def applies(rule, name_in_list):
    """Whether a rule of the list applies on this architecture without capabilities."""
    wanted = rule.get("includes") or {}
    return "caps" not in wanted and name_in_list in wanted.get("arches", [name_in_list])


def argument(of_rule):
    return Arg(of_rule["index"], {"SCMP_CMP_EQ": EQ}[of_rule["op"]], of_rule["value"])


def add(made, action, architecture, name, *arguments):
    # Names that this architecture does not have get a negative number.
    if seccomp.resolve_syscall(architecture, name) >= 0:
        made.add_rule(action, name, *arguments)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name, (architecture, name_in_list) in ARCHITECTURES.items():
        with open(folder / f"{name}.bpf", "wb") as file:
            make(architecture, name_in_list).export_bpf(file)
