"""The system calls that no sandboxed program may make, as a BPF program.

Law: x86_64 alone; another architecture, the 32-bit and the x32 entry kill the process.
Most are refused with EPERM, so that programs which merely try go on.
"""

from __future__ import annotations

import platform
import struct

REFUSED: dict[str, int] = {
    # other processes
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "process_madvise": 440,
    "pidfd_getfd": 438, "kcmp": 312,
    # mounts and namespaces
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "mount_setattr": 442, "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431,
    "fsmount": 432, "fspick": 433, "open_by_handle_at": 304, "name_to_handle_at": 303,
    # the kernel's wide interfaces
    "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
    "io_uring_enter": 426, "io_uring_register": 427, "keyctl": 250, "add_key": 248,
    "request_key": 249, "fanotify_init": 300, "lookup_dcookie": 212, "modify_ldt": 154,
    "iopl": 172, "ioperm": 173, "personality": 135, "uselib": 134, "ustat": 136, "sysfs": 139,
    "_sysctl": 156, "nfsservctl": 180, "syslog": 103, "acct": 163,
    # the machine
    "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "create_module": 174, "get_kernel_syms": 177, "query_module": 178,
    "reboot": 169, "swapon": 167, "swapoff": 168, "quotactl": 179, "quotactl_fd": 443,
    "vhangup": 153, "settimeofday": 164, "clock_settime": 227, "clock_adjtime": 305,
    "adjtimex": 159, "sethostname": 170, "setdomainname": 171,
    # memory that no process limit counts
    "memfd_create": 319, "memfd_secret": 447, "shmget": 29, "shmat": 30, "msgget": 68,
    "semget": 64, "mq_open": 240,
    "move_pages": 279, "mbind": 237, "set_mempolicy": 238, "migrate_pages": 256,
    "get_mempolicy": 239,
}  # fmt: skip
SIGNALS: dict[str, int] = {"kill": 62, "tkill": 200, "pidfd_send_signal": 424}
CLONE, CLONE3, SOCKET, IOCTL = 56, 435, 41, 16
NAMESPACES = 0x7E020000 | 0x00000080
"""All CLONE_NEW* flags of clone()."""
FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6; not AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG and the rest."""
TERMINAL_REQUESTS = (0x5412, 0x541C, 0x541D)
"""TIOCSTI, TIOCLINUX, TIOCCONS: they put words into somebody's terminal."""

X86_64 = 0xC000003E
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050026
LOAD, EQUAL, ATLEAST, BITS, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST, SECOND = 0, 4, 16, 24


def is_supported() -> bool:
    """Whether the filter can be used on this machine."""
    return platform.machine() == "x86_64"


def build(*, sockets: bool, signals: bool = True) -> bytes:
    """The filter. `sockets`: local ones may be made (where the network is a namespace of its own);
    `signals`: other processes may be signalled (where they are a namespace of their own)."""
    program = [
        _op(LOAD, ARCHITECTURE), _op(EQUAL, X86_64, 1, 0), _op(RETURN, KILL),
        _op(LOAD, NUMBER), _op(ATLEAST, 0x40000000, 0, 1), _op(RETURN, KILL),
    ]  # fmt: skip
    refused = set(REFUSED.values()) | (set() if signals else set(SIGNALS.values()))
    for number in sorted(refused):
        program += [_op(EQUAL, number, 0, 1), _op(RETURN, EPERM)]
    # glibc takes clone() when there is no clone3(), whose flags a filter cannot see.
    program += [_op(EQUAL, CLONE3, 0, 1), _op(RETURN, ENOSYS)]
    program += [
        _op(EQUAL, CLONE, 0, 4),
        _op(LOAD, FIRST), _op(BITS, NAMESPACES, 0, 1), _op(RETURN, EPERM), _op(RETURN, ALLOW),
    ]  # fmt: skip
    if sockets:
        tests = [_op(EQUAL, family, len(FAMILIES) - n, 0) for n, family in enumerate(FAMILIES)]
        program += [
            _op(EQUAL, SOCKET, 0, len(tests) + 3),
            _op(LOAD, FIRST), *tests, _op(RETURN, EPERM), _op(RETURN, ALLOW),
        ]  # fmt: skip
    else:
        program += [_op(EQUAL, SOCKET, 0, 1), _op(RETURN, EPERM)]
    requests = [
        _op(EQUAL, request, len(TERMINAL_REQUESTS) - n, 0)
        for n, request in enumerate(TERMINAL_REQUESTS)
    ]
    program += [
        _op(EQUAL, IOCTL, 0, len(requests) + 3),
        _op(LOAD, SECOND), *requests, _op(RETURN, ALLOW), _op(RETURN, EPERM),
        _op(RETURN, ALLOW),
    ]  # fmt: skip
    return b"".join(program)


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)
