"""Whether a rule covers a shell program: `git status`, `git log *`, `rm:*`.

Law: a refusing rule covers a program when any command of it might be meant; a permitting rule
only when each command is meant for sure. What a program does once it runs is the sandbox's part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise

from agentsite.tools.shell_words import Command, Script, Word, parse


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


NESTING = 5
LONGEST_CLUSTER = 8
"""Letters of options written together that are looked through for a program behind them."""
BINARIES = re.compile(r"/(usr/(local/)?)?s?bin/[^/]+")
SHELLS = _names("sh bash dash zsh ksh mksh ash fish csh tcsh")
OPAQUE = re.compile(
    r"(python|pypy|perl|ruby|node|nodejs|deno|bun|php|lua|luajit|tclsh|expect|gawk|mawk|nawk|awk"
    r"|sed|ed|ex|vi|vim|nvim|emacs|nano|less|more|man|make|gmake|ninja|gdb|ssh|ftp|sqlite3|psql"
    r"|mysql|m4|dc|bc|R|julia|ghc|java|jshell|ocaml|erl|elixir|gcc|cc|ld|openssl|source|alias"
    r"|enable|hash|bind|fc|history|crontab|at|batch|npm|npx|pip|uv|uvx|git-shell|socat|nc|ncat|netcat"
    r"|parallel|tmux|screen)[\d.]*"
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
    "split": ("--filter*",),
    "rsync": ("-e*", "--rsh*", "--rsync-path*"),
    "zip": ("-T*", "--unzip-command*"),
}
"""Options that run or write something else; a `*` of a permitting rule does not stand for them."""
RUNNERS = SHELLS | _names(
    "sudo doas su runuser env xargs nohup time timeout nice ionice chrt taskset setsid stdbuf"
    " unbuffer watch flock script strace ltrace valgrind chroot unshare nsenter bwrap"
    " busybox toybox entr systemd-run command exec builtin eval trap coproc setpriv prlimit"
    " dbus-run-session xvfb-run start-stop-daemon faketime proxychains setarch linux64"
)
"""Programs whose arguments are a command."""
APPENDING = _names("xargs find")
"""They add words of their own to the command in their arguments."""
OWN_SHELL = re.compile(r"-\w*[is]\w*|--(shell|login)")
ON_THEIR_OWN: dict[str, int] = {
    "su": 99, "runuser": 99, "script": 99, "unshare": 1, "nsenter": 1, "chroot": 2
}  # fmt: skip
"""Programs that start a shell when they are given fewer words than this, options apart."""
GIT_PLAIN = _names(
    "add am annotate apply archive blame branch bundle cat-file check-attr check-ignore checkout"
    " cherry cherry-pick clean clone commit commit-tree count-objects describe diff diff-files"
    " diff-index diff-tree fetch for-each-ref format-patch fsck gc grep hash-object init log"
    " ls-files ls-remote ls-tree merge merge-base mktree mv name-rev notes prune pull push"
    " range-diff read-tree rebase reflog remote repack reset restore rev-list rev-parse revert rm"
    " shortlog show show-branch show-ref sparse-checkout stash status switch symbolic-ref tag"
    " update-index update-ref var verify-commit verify-tag version whatchanged worktree write-tree"
)
"""Any other word may be an alias, or runs what it is given: bisect, config, submodule foreach."""
GIT_VALUED = _names("-C -c --git-dir --work-tree --namespace --super-prefix --attr-source")
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
        return _is_risky_call(base, rest)
    if _speaks(command.words) or any(_speaks(rest[n:]) for n in range(len(rest))):
        return True
    if base in APPENDING and _hands_over(base, rest):
        return True
    if base not in RUNNERS:
        return base != "find" and _is_risky_call(base, rest)
    if None in rest or not depth or _starts_shell(base, rest):
        return True
    if rest and _base(rest[-1] or "") in RUNNERS:
        return True
    inner = [parse(text) for word in rest if word for text in _read_inside(word, runner=True)]
    return any(is_opaque(each, (), depth - 1) for each in inner)


def _hands_over(base: str, rest: Sequence[Word]) -> bool:
    """Whether what it finds or reads becomes the name of a program."""
    if base == "find":
        pairs = pairwise(rest)
        started = [
            _base(word or "") for option, word in pairs if fnmatchcase(option or "", "-[eo]*")
        ]
        return any(name == "{}" or name in RUNNERS - SHELLS for name in started)
    return any(_base(word or "") in RUNNERS - SHELLS for word in rest)


def _starts_shell(base: str, rest: Sequence[Word]) -> bool:
    """Whether it starts a shell that reads its commands from elsewhere."""
    if base in ("sudo", "doas"):
        return any(OWN_SHELL.fullmatch(word or "") for word in rest)
    told = any(re.match(r"-\w*c|--command", word or "") for word in rest)
    words = [word for word in rest if not (word or "").startswith("-")]
    return not told and len(words) < ON_THEIR_OWN.get(base, 0)


def _read_inside(word: str, *, runner: bool) -> Iterator[str]:
    """Texts in a word that may be a program: it, `-c` and `--long=` before it left out."""
    is_script = SCRIPT_LIKE.search(word) is not None
    if is_script:
        yield word
    if not word.startswith("-") or not (is_script or runner):
        return
    value = word.partition("=")[2]
    if word.startswith("--"):
        if value:
            yield value
        return
    cluster = re.match(r"-\w*", word)
    for start in range(2, min(LONGEST_CLUSTER, cluster.end() if cluster else 0) + 1):
        yield word[start:]


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


def _is_risky_call(name: str, rest: Sequence[Word]) -> bool:
    """Whether options of it, or a subcommand, run something that is not its own."""
    if name not in RISKY:
        return False
    if name == "git" and (place := _find_subcommand(rest)) is not None:
        return rest[place] not in GIT_PLAIN or any(_is_risky(name, word) for word in rest)
    return any(_is_risky(name, word) for word in rest)


def _find_subcommand(rest: Sequence[Word]) -> int | None:
    """Where git's own options are over."""
    skip = False
    for place, word in enumerate(rest):
        if not skip and not (word or "").startswith("-"):
            return place
        skip = not skip and word in GIT_VALUED
    return None


def _is_risky(name: str, word: Word) -> bool:
    """Long options may be cut short: `--filt=` means `--filter=`."""
    if word is None:
        return True
    start = word.partition("=")[0]
    return any(
        fnmatchcase(word, option)
        or (start[:2] == "--" != start and option.rstrip("*").startswith(start))
        for option in RISKY.get(name, ())
    )


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
        runner = _base(words[0]) in RUNNERS
        for place, word in enumerate(words[1:], 1):
            for text in _read_inside(word or "", runner=runner) if depth else ():
                inner = parse(text)
                yield from _candidates(inner, depth - 1)
                if inner.commands:  # env -S appends what stands after it
                    yield (*inner.commands[-1].words, *words[place + 1 :], None)


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
    if name == "git" and len(exact) == 1 and _is_risky_call(name, rest):
        return False
    if name in RISKY and any(_is_risky(name, word) for word in rest):
        return False
    return all(
        word is not None and fnmatchcase(word, wanted)
        for word, wanted in zip(words, exact, strict=False)
    )
