"""Whether a rule covers a shell program: `git status`, `git log *`, `rm:*`.

Law: a refusing rule covers a program when any command of it might be meant; a permitting rule
only when each command is meant for sure. What a program does once it runs is the sandbox's part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from agentsite.tools.shell_words import Command, Script, Word, parse


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NESTING = 5
BINARIES = re.compile(r"/(usr/(local/)?)?s?bin/[^/]+")
SHELLS = _names("sh bash dash zsh ksh mksh ash fish csh tcsh")
OPAQUE = re.compile(
    r"(python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|luajit|tclsh|expect|gawk|mawk|nawk|awk"
    r"|sed|ed|ex|vi|vim|nvim|emacs|nano|less|more|man|make|gmake|ninja|gdb|ssh|ftp|sqlite3|psql"
    r"|mysql|m4|dc|bc|R|julia|ghc|java|jshell|ocaml|erl|elixir|gcc|cc|ld|openssl|source|alias"
    r"|enable|hash|bind|fc|history|crontab|at|batch|npm|npx|pip|uv|uvx|git-shell)[\d.]*"
)
"""Programs that run what their arguments or their input say, in a language of their own."""
PLAIN = _names(
    "echo printf ls cat head tail wc grep egrep fgrep rg cut tr uniq sort diff cmp comm git cd pwd"
    " mkdir rmdir touch cp mv ln chmod chown stat file du df date which type test [ true false"
    " basename dirname realpath readlink rm tee md5sum sha256sum seq sleep id whoami uname"
)
"""Programs whose arguments are no commands: `echo rm` removes nothing."""
RISKY: dict[str, tuple[str, ...]] = {
    "find": ("-exec*", "-ok*", "-delete", "-fprint*", "-fls"),
    "git": (
        "-c*",
        "--config-env*",
        "--exec-path*",
        "--upload-pack*",
        "--receive-pack*",
        "--output*",
        "--ext-diff",
        "--open-files-in-pager*",
        "-O*",
        "--extcmd*",
        "-x",
        "--exec*",
    ),
    "tar": ("--checkpoint*", "--to-command*", "-I*", "--use-compress*", "-F*", "--info-script*"),
    "sort": ("-o*", "--output*", "--compress-program*"),
    "rg": ("--pre*", "--hostname-bin*"),
    "rsync": ("-e*", "--rsh*", "--rsync-path*"),
    "zip": ("-T*", "--unzip-command*"),
}
"""Options that run or write something else; a `*` of a permitting rule does not stand for them."""
RUNNERS = SHELLS | _names(
    "sudo doas su runuser env xargs nohup time timeout nice ionice chrt taskset setsid stdbuf"
    " unbuffer watch parallel flock script strace ltrace valgrind chroot unshare nsenter bwrap"
    " busybox toybox entr systemd-run command exec builtin eval trap coproc setpriv prlimit"
    " dbus-run-session xvfb-run start-stop-daemon faketime proxychains setarch linux64"
)
"""Programs whose arguments are a command."""
RISKY_NAMES = re.compile(
    r"(PATH|IFS|ENV|BASH_.*|LD_.*|PS4|PROMPT_COMMAND|SHELLOPTS|GIT_.*|.*PAGER)"
)
SCRIPT_LIKE = re.compile(r"[\s;|&$`()<>\"']")


def split_pattern(pattern: str) -> tuple[str, ...]:
    """The words of a rule's pattern; `git:*` is another way to write `git *`."""
    return tuple(re.sub(r":\*$", " *", pattern.strip()).split())


def may_run(script: Script, pattern: str) -> bool:
    """Whether a command of this program might be one that the pattern means."""
    words = split_pattern(pattern)
    return any(_might_be(found, words) for found in _candidates(script, NESTING))


def is_opaque(script: Script, trusted: Sequence[str] = (), depth: int = NESTING) -> bool:
    """Whether the program might run commands that nobody can see in it.

    `trusted`: patterns of commands that somebody has named on purpose; they hide nothing.
    """
    if not script.clear or any(RISKY_NAMES.fullmatch(name) for name in script.assigned):
        return True
    wanted = [split_pattern(pattern) for pattern in trusted]
    return any(
        _hides(command, depth)
        for command in script.commands
        if command.words and not any(_is(command, words) for words in wanted)
    )


def _hides(command: Command, depth: int) -> bool:
    """Whether this one command might run others that its words do not show."""
    name, rest = command.words[0], command.words[1:]
    if name is None or any(RISKY_NAMES.fullmatch(each) for each in command.assigned):
        return True
    if name == "." or ("/" in name and not BINARIES.fullmatch(name)):
        return True
    base = _base(name)
    if base in PLAIN:
        return any(_is_risky(base, word) for word in rest if base in RISKY)
    if _speaks(command.words) or any(_speaks(rest[n:]) for n in range(len(rest))):
        return True
    if base not in RUNNERS:
        return base != "find" and any(_is_risky(base, word) for word in rest if base in RISKY)
    inner = [parse(word) for word in rest if word is not None and SCRIPT_LIKE.search(word)]
    return None in rest or not depth or any(is_opaque(each, (), depth - 1) for each in inner)


def _speaks(words: Sequence[Word]) -> bool:
    """Whether this starts an interpreter whose program is not to be seen here."""
    base = _base(words[0] or "")
    if base in SHELLS:
        return not any(re.match(r"-\w*c", word or "") for word in words[1:])
    return bool(OPAQUE.fullmatch(base)) or base.startswith(("ld-linux", "ld.so"))


def permits(script: Script, patterns: Sequence[str]) -> bool:
    """Whether each command of the program is meant by one of the patterns, for sure."""
    if not script.clear or not script.simple or script.assigned or not script.commands:
        return False
    wanted = [split_pattern(pattern) for pattern in patterns]
    return all(
        any(_is(command, words) for words in wanted) and not command.assigned
        for command in script.commands
    )


def _base(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _is_risky(name: str, word: Word) -> bool:
    return word is None or any(fnmatchcase(word, option) for option in RISKY.get(name, ()))


def _candidates(script: Script, depth: int) -> Iterator[tuple[Word, ...]]:
    """Word lists that might be run as commands, those hidden in arguments included."""
    for command in script.commands:
        words = command.words
        if not words:
            continue
        yield words
        if words[0] is None or _base(words[0]) in PLAIN:
            continue
        for start in range(1, len(words)):
            yield (*words[start:], None)  # xargs and its like add words of their own
        for word in words[1:]:
            if depth and word is not None and SCRIPT_LIKE.search(word):
                yield from _candidates(parse(word), depth - 1)


def _might_be(words: tuple[Word, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return True
    name, *rest = words
    if name is not None and not fnmatchcase(_base(name), _base(pattern[0])):
        return False
    remaining = iter(rest)
    letters = {letter for word in rest if word and re.match(r"-\w", word) for letter in word[1:]}
    vague = None in rest or any(word and re.match(r"--\w", word) for word in rest)
    for wanted in pattern[1:]:
        if set(wanted) == {"*"}:
            continue
        if re.fullmatch(r"-\w+", wanted):  # flags come in any order and in any cluster
            if not vague and not set(wanted[1:]) <= letters:
                return False
        elif not any(word is None or fnmatchcase(word, wanted) for word in remaining):
            return False
    return True


def _is(command: Command, pattern: tuple[str, ...]) -> bool:
    words = command.words
    if not pattern or not words or words[0] is None:
        return False
    if pattern[-1] == "*" and len(words) >= len(pattern) - 1:
        exact, rest = pattern[:-1], words[len(pattern) - 1 :]
    elif len(words) == len(pattern):
        exact, rest = pattern, ()
    else:
        return False
    name = _base(words[0])
    if (
        name in RUNNERS
        and rest
        and not any(re.match(r"[A-Za-z][^=]*$", each) for each in exact[1:])
    ):
        return False  # the rule does not name what it runs
    if name in RISKY and any(_is_risky(name, word) for word in rest):
        return False
    return all(
        word is not None and fnmatchcase(word, wanted)
        for word, wanted in zip(words, exact, strict=False)
    )
