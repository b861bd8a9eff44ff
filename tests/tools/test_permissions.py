"""Permission rules: the order, the patterns, and everything that tries to get past them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentsite.manifest.blocks import Permissions
from agentsite.tools.dispatch import build_dispatch_tools
from agentsite.tools.permissions import Guard
from tests.requirements import requirement
from tests.tools.agents import write_agent
from tests.tools.runs import answer, make_tool

SHELL = make_tool("shell_exec", answer, shell_argument="command")
WRITE = make_tool("write_repo_file", answer, subject="path")
OTHER = make_tool("other", answer)
REQUEST = make_tool("request", answer)
FETCH = make_tool("fetch_url", answer, subject="url")


def judge(rules: dict[str, Any], tool: Any = OTHER, **arguments: Any) -> str:
    return Guard(Permissions(**rules)).judge(tool, arguments).decision


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


@pytest.mark.parametrize("command", split_table(ALLOWED))
def test_what_a_rule_means_is_allowed(command: str) -> None:
    assert judge(ALLOW_SHELL, SHELL, command=command) == "allow"


DENY_VALUES = {
    "deny": (
        "write_repo_file(skills/secret/**)",
        "request(POST /refunds/**)",
        "request(crm DELETE /admin/*/keys)",
        "request(endpoint=/vault/**)",
        "fetch_url(*://internal.example/**)",
        "other(amount=9*)",
    )
}


def call(method: str, endpoint: str, **params: Any) -> dict[str, Any]:
    return {"connection": "crm", "method": method, "endpoint": endpoint, "params": params}


HIDDEN: list[tuple[Any, dict[str, Any]]] = [
    (WRITE, {"path": "skills/secret/a.md", "content": ""}),
    (WRITE, {"path": "skills//secret/a.md", "content": ""}),
    (WRITE, {"path": "skills/./secret/a.md", "content": ""}),
    (WRITE, {"path": "skills/x/../secret/a.md", "content": ""}),
    (WRITE, {"path": "/skills/secret/a.md", "content": ""}),
    (WRITE, {"path": "SKILLS/Secret/a.md", "content": ""}),
    (WRITE, {"path": "skills\\secret\\a.md", "content": ""}),
    (WRITE, {"path": "skills/secret%2fa.md", "content": ""}),
    (WRITE, {"path": "skills/%73ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/%2573ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret\u200b/a.md", "content": ""}),
    (WRITE, {"path": "skills/\uff53ecret/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret/deep/er/a.md", "content": ""}),
    (WRITE, {"path": "skills/secret/a.md\x00.txt", "content": ""}),
    (WRITE, {"path": " skills/secret/a.md", "content": ""}),
    (WRITE, {"path": ["skills/secret/a.md"], "content": ""}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "post", "endpoint": "/refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/x/../refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "//refunds/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/REFUNDS/1?x=1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/%72efunds/1"}),
    (REQUEST, call("POST", "/{a}/1", a="refunds")),
    (REQUEST, call("POST", "/{a}/{b}", a="refunds", b=1)),
    (REQUEST, call("POST", "/re{a}s/1", a="fund")),
    (REQUEST, call("POST", "/{a}{b}/1", a="refu", b="nds")),
    (REQUEST, call("POST", "/{a}/1", a="%72efunds")),
    (REQUEST, call("POST", "/{a}/1", a="REFUNDS ")),
    (REQUEST, call("POST", "/{a}/1")),
    (REQUEST, call("POST", "/{a}/" + "1" * 600)),
    (REQUEST, call("POST", "/refunds%20/1")),
    (REQUEST, call("POST", "/refunds../1")),
    (REQUEST, call("POST", "/re{a}s/1", b="fund")),
    (REQUEST, call("POST", "/{a}/1", a=["refunds"])),
    (REQUEST, call("POST", "/refunds/{id}")),
    (REQUEST, call("DELETE", "/admin/{id}/keys", id=7)),
    (REQUEST, call("DELETE", "/{a}/7/{b}", b="keys")),
    (REQUEST, call("GET", "/{a}/x", a="vault")),
    (REQUEST, call("GET", "/{a}/x")),
    (FETCH, {"url": "https://internal.example/x"}),
    (FETCH, {"url": "https://INTERNAL.example/x"}),
    (FETCH, {"url": "https://user:pw@internal.example:8443/x"}),
    (FETCH, {"url": "https://internal.example./x"}),
    (FETCH, {"url": "https://internal.example"}),
    (FETCH, {"url": "https://internal\u3002example/x"}),
    (OTHER, {"amount": 950}),
    (OTHER, {"amount": "950"}),
    (OTHER, {"amount": [1, 950]}),
    (OTHER, {"amount": {"value": 950}}),
]


@pytest.mark.parametrize(("tool", "arguments"), HIDDEN)
def test_no_spelling_of_a_value_gets_past_a_rule(tool: Any, arguments: dict[str, Any]) -> None:
    assert judge(DENY_VALUES, tool, **arguments) == "deny"


OPEN = (
    call("GET", "/refunds/{id}", id=1),
    call("POST", "/{a}/1", a="orders"),
    call("POST", "/order{a}/1"),
    call("POST", "/tenants/{tenant}"),
    call("DELETE", "/admin/{id}", id=7),
    call("DELETE", "/admin/{id}/keys/{n}"),
    call("GET", "/x?next={a}", a="vault"),
)


@pytest.mark.parametrize("arguments", OPEN)
def test_a_placeholder_means_no_more_than_it_may_become(arguments: dict[str, Any]) -> None:
    assert judge(DENY_VALUES, REQUEST, **arguments) == "allow"


def test_a_rule_on_one_name_of_a_tool_is_a_rule_on_all(tmp_path: Path) -> None:
    plain, alias = build_dispatch_tools(write_agent(tmp_path, {}))
    assert (plain.name, alias.name) == ("dispatch", "dispatch_task")
    for tool in (plain, alias):
        for name in ("dispatch", "dispatch_task", "Dispatch", "dispatch(*)"):
            assert judge({"deny": (name,)}, tool, task="x") == "deny"
            assert judge({"ask": (name,)}, tool, task="x") == "ask"
        assert judge({"mode": "deny", "allow": ("dispatch",)}, tool, task="x") == "allow"
        assert judge({"mode": "deny", "allow": ("dispatch_task",)}, tool, task="x") == "allow"


ALLOW_VALUES = {
    "mode": "deny",
    "allow": (
        "write_repo_file(skills/**)",
        "request(crm GET /deals/*)",
        "fetch_url(https://*.good.example/**)",
        "other(city=R*)",
    ),
}
TRICKS: list[tuple[Any, dict[str, Any]]] = [
    (WRITE, {"path": "skills/../amodal.json", "content": ""}),
    (WRITE, {"path": "skills/%2e%2e/amodal.json", "content": ""}),
    (WRITE, {"path": "skills/..\\..\\amodal.json", "content": ""}),
    (WRITE, {"path": "../skills/a", "content": ""}),
    (WRITE, {"path": "skills/a\u202e", "content": ""}),
    (WRITE, {"content": "skills/a"}),
    (REQUEST, {"connection": "erp", "method": "GET", "endpoint": "/deals/1"}),
    (REQUEST, {"connection": "crm", "method": "POST", "endpoint": "/deals/1"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/1/../../users"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/1/notes"}),
    (REQUEST, {"connection": "crm", "method": "GET", "endpoint": "/deals/%2e%2e"}),
    (REQUEST, call("GET", "/deals/{a}", a="1/notes")),
    (REQUEST, call("GET", "/deals/{a}", a="..")),
    (REQUEST, call("GET", "/deals/{a}", a="%2e%2e")),
    (REQUEST, call("GET", "/{a}/1", a="users")),
    (FETCH, {"url": "https://evil.example#.good.example/"}),
    (FETCH, {"url": "https://evil.example?.good.example/"}),
    (FETCH, {"url": "https://evil.example\\.good.example/"}),
    (FETCH, {"url": "https://x@evil.good.example:80@evil.example/"}),
    (FETCH, {"url": "http://a.good.example/"}),
    (OTHER, {"town": "Rome"}),
    (OTHER, {"city": ["Rome", "Paris"]}),
]


@pytest.mark.parametrize(("tool", "arguments"), TRICKS)
def test_no_trick_is_taken_for_what_is_allowed(tool: Any, arguments: dict[str, Any]) -> None:
    assert judge(ALLOW_VALUES, tool, **arguments) == "deny"


def test_values_that_fit_are_allowed() -> None:
    assert judge(ALLOW_VALUES, WRITE, path="skills/a/b.md", content="../%") == "allow"
    deals = {"connection": "crm", "method": "GET", "endpoint": "/deals/1"}
    assert judge(ALLOW_VALUES, REQUEST, **deals) == "allow"
    assert judge(ALLOW_VALUES, REQUEST, **call("GET", "/deals/{id}", id=1)) == "allow"
    assert judge(ALLOW_VALUES, REQUEST, **call("GET", "/deals/{tenant}")) == "allow"
    assert judge(ALLOW_VALUES, FETCH, url="https://a.good.example/b/c") == "allow"
    assert judge(ALLOW_VALUES, OTHER, city="Rome", other="x") == "allow"
