"""Ways out of a sandbox: each program prints ESCAPED when it got through.

Law: entries stand alone; `{port}`, `{secret}`, `{pid}` and `{folder}` are filled in by the test:
a listening port that answers datagrams with `y` (a socket can be connected to itself), a file
with a secret, a process and a folder of this machine. `$TOOL` is where the tool's own files lie.
"""

from __future__ import annotations

E = "print('ESCAPED')"
LIBC = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)"
OPEN = "no attempt: it must come out"
"""What is no escape: with it missing the attempts beside it could not be made at all."""
SHELL_CONTROL = (
    "for c in cat chmod cp env grep head ln ls mknod readlink rm touch; do "
    "command -v $c > /dev/null || exit; done; echo ESCAPED"
)
PYTHON_CONTROL = f"import ctypes, fcntl, mmap, os, pathlib, pty, resource, socket; {E}"
FILES = {
    OPEN: SHELL_CONTROL,
    "secret by path": "grep -q TREASURE {secret} && echo ESCAPED",
    "secret through /proc/1/root": "grep -q TREASURE /proc/1/root{secret} && echo ESCAPED",
    "secret through its folder": "cd /; grep -q TREASURE /proc/self/cwd{secret} && echo ESCAPED",
    "secret by dots": "cat ../../../../../../../..{secret} | grep -q TREASURE && echo ESCAPED",
    "secret by a link": "ln -s {secret} l; grep -q TREASURE l && echo ESCAPED",
    "secret by a hard link": "ln {secret} h && grep -q TREASURE h && echo ESCAPED",
    "shadow": "test -s /etc/shadow && cat /etc/shadow > /dev/null && echo ESCAPED",
    "home of root": "ls /root/* > /dev/null 2>&1 && echo ESCAPED",
    "write to the host": "touch {folder}/x && echo ESCAPED",
    "write to /usr": "touch /usr/x && echo ESCAPED",
    "write to /etc": "touch /etc/x && echo ESCAPED",
    "write to /": "touch /x && echo ESCAPED",
    "write to its tool": "echo x >> $TOOL/data.txt && echo ESCAPED",
    "remove its tool": "rm -f $TOOL/data.txt && test ! -e $TOOL/data.txt && test -d $TOOL "
    "&& echo ESCAPED",
    "replace a program": "cp /bin/true /usr/bin/ls && echo ESCAPED",
    "raw disk": "for d in /dev/vda /dev/sda /dev/nvme0n1 /dev/mem /dev/kmem /dev/kvm; do "
    "test -e $d && head -c1 $d && echo ESCAPED; done",
    "make a device": "mknod d b 254 0 && echo ESCAPED",
    "set-uid programs": "grep -q 'NoNewPrivs:.*0' /proc/self/status && echo ESCAPED",
    "su": "su root -c 'echo ESCAPED' < /dev/null",
    "an open file of the host": "for f in /proc/self/fd/*; do case $(readlink $f) in {folder}*) "
    "echo ESCAPED;; esac; done",
    "environment of the server": "env | grep -q TREASURE && echo ESCAPED; "
    "cat /proc/*/environ 2>/dev/null | grep -q TREASURE && echo ESCAPED",
}
NETWORK = {
    OPEN: PYTHON_CONTROL,
    "loopback of the host": "import socket; "
    f"socket.create_connection(('127.0.0.1', {{port}}), 2); {E}",
    "loopback by IPv6": f"import socket; socket.create_connection(('::1', {{port}}), 2); {E}",
    "loopback by 0": f"import socket; socket.create_connection(('0.0.0.0', {{port}}), 2); {E}",
    "metadata": f"import socket; socket.create_connection(('169.254.169.254', 80), 1); {E}",
    "a public address": f"import socket; socket.create_connection(('192.0.2.1', 80), 1); {E}",
    "datagram": f"import socket; s = socket.socket(2, 2); s.sendto(b'x', ('192.0.2.1', 53)); {E}",
    "datagram to the host": "import socket; s = socket.socket(2, 2); "
    f"s.connect(('127.0.0.1', {{port}})); s.send(b'x'); s.settimeout(1); "
    f"assert s.recv(1) == b'y'; {E}",
    "raw socket": f"import socket; socket.socket(2, 3, 1); {E}",
    "packet socket": f"import socket; socket.socket(17, 3, 0); {E}",
    "netlink": f"import socket; socket.socket(16, 3, 0); {E}",
    "vsock to the hypervisor": f"import socket; socket.socket(40, 1, 0); {E}",
    "kernel crypto": f"import socket; socket.socket(38, 5, 0); {E}",
    "bluetooth": f"import socket; socket.socket(31, 3, 1); {E}",
    "abstract socket of the host": "import socket; s = socket.socket(socket.AF_UNIX); "
    f"s.connect(chr(0) + 'agentsite-{{port}}'); {E}",
    "socket file of the host": "import socket; s = socket.socket(socket.AF_UNIX); "
    f"s.connect('{{folder}}/socket'); {E}",
    "a name": f"import socket; socket.getaddrinfo('example.com', 80); {E}",
}
PROCESSES = {
    OPEN: PYTHON_CONTROL,
    "signal a process of the host": f"import os; os.kill({{pid}}, 0); {E}",
    "signal the server": f"import os; os.kill({{server}}, 0); {E}",
    "read its memory": f"open('/proc/{{pid}}/mem', 'rb'); {E}",
    "see its command line": "import pathlib; "
    f"assert 'sleep' in pathlib.Path('/proc/{{pid}}/cmdline').read_text(); {E}",
    "trace its own": f"{LIBC}; assert libc.ptrace(0, 0, 0, 0) == 0; {E}",
    "trace the first": f"{LIBC}; assert libc.ptrace(16, 1, 0, 0) == 0; {E}",
    "lower its niceness": f"import os; os.nice(-5); {E}",
    "raise its limits": f"import resource as r; r.setrlimit(r.RLIMIT_NPROC, (9999, 9999)); {E}",
    "real-time scheduling": f"import os; os.sched_setscheduler(0, 1, os.sched_param(1)); {E}",
    "become root": f"import os; os.setuid(0); {E}",
    "become the group of root": f"import os; os.setgid(0); {E}",
    "push into a terminal": "import fcntl, os, pty; m, s = pty.openpty(); os.setsid(); "
    f"fcntl.ioctl(s, 0x540E, 0); fcntl.ioctl(s, 0x5412, b'x'); {E}",
    "a leaked descriptor": """
import os
for number in range(3, 64):
    try:
        kind = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        continue
    if not kind.startswith("/proc/"):
        print("ESCAPED")
""",
}
KERNEL = {
    # Refused is what the kernel did not even look at: any other error says that it did.
    name: f"{LIBC}; done = libc.syscall({call}) >= 0; "
    f"assert done or ctypes.get_errno() not in (1, 13, 38); {E}"
    for name, call in {
        "user namespace": "272, 0x10000000",
        "mount namespace": "272, 0x20000",
        "namespace by clone": "56, 0x10000011, 0, 0, 0, 0",
        "namespace by clone3": "435, (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17, 0, 0, 0), 64",
        "mount": "165, b'none', b'/tmp', b'tmpfs', 0, None",
        "new mount interface": "430, b'tmpfs', 0",
        "open a tree": "428, -100, b'/', 1",
        "change root": "161, b'/tmp'",
        "enter a namespace": "308, os.open('/proc/self/ns/net', 0), 0",
        "file handle": "303, -100, b'/usr', (ctypes.c_int * 40)(128), "
        "ctypes.byref(ctypes.c_int()), 0",
        "bpf": "321, 0, (ctypes.c_uint32 * 32)(2, 4, 4, 1), 128",
        "perf": "298, (ctypes.c_uint64 * 16)(1 + (64 << 32), 0, 0, 0, 0, 0x60), 0, -1, -1, 0",
        "userfaultfd": "323, 1",
        "io_uring": "425, 8, (ctypes.c_char * 256)()",
        "keys": "250, 0, -3, 1",
        "add a key": "248, b'user', b'a', b'b', 1, -3",
        "kernel log": "103, 3, ctypes.create_string_buffer(99), 99",
        "module": "175, b'x', 1, b''",
        "kexec": "246, 0, 0, 0, 0",
        "set the clock": "227, 0, (ctypes.c_long * 2)(1, 1)",
        "host name": "170, b'x', 1",
        "memory file": "319, b'x', 0",
        "shared memory": "29, 0, 4096, 0o1600",
        "message queue": "68, 0, 0o1600",
        "fanotify": "300, 0, 0",
        "read another process": "310, {pid}, None, 0, None, 0, 0",
        "personality": "135, 0x40000",
        "32-bit numbers": "0x40000000 + 39",
    }.items()
}
KERNEL[OPEN] = PYTHON_CONTROL
KERNEL["old 32-bit entry"] = (
    "import mmap, ctypes; m = mmap.mmap(-1, 4096, prot=7); "
    "m.write(bytes.fromhex('b814000000cd80c3')); "
    "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m))); "
    f"assert f() > 0; {E}"
)
KERNEL["kernel settings"] = f"open('/proc/sys/kernel/core_pattern', 'w').write('x'); {E}"
KERNEL["system request"] = f"open('/proc/sysrq-trigger', 'w').write('h'); {E}"
KERNEL["kernel memory"] = f"open('/proc/kcore', 'rb').read(1); {E}"
KERNEL["device tree"] = f"import os; os.listdir('/sys/class'); {E}"
