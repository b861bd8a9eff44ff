"""The house rules, checked: sizes, words, layers, what the README owes, what may be committed."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
from django.core.management import call_command

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
APPS = {"sessions_app", "automations_app", "memory_app", "stores_app"}
CARD = {"manage.py", "pyproject.toml", "README.md", "LICENSE", *LOCKS}
CARD |= {"agentsite", *APPS, "templates", "tests"}
LONGEST = 400
READS_ENVIRONMENT = {"agentsite/settings.py", "agentsite/manifest/env.py"}
STREAMS = {"agentsite/host/replies.py"}
WITHOUT_DJANGO = {
    "engine",
    "manifest",
    "providers",
    "fakemodel",
    "embedded",
    "sandbox",
    "mcp_client",
}


@cache
def project_files() -> list[str]:
    """Every file that is or could be committed."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return sorted({line for line in listed.splitlines() if (ROOT / line).is_file()})


def python_files(*, tests: bool = True) -> list[str]:
    """Our own modules; what the agents of users are made of has rules of its own."""
    return [
        name
        for name in project_files()
        if name.endswith(".py")
        and "/migrations/" not in name
        and "default_agent/" not in name
        and (tests or not name.startswith("tests/"))
    ]


@cache
def tree_of(name: str) -> ast.Module:
    """The parsed module."""
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), name)


def test_top_level_is_the_card() -> None:
    top = {name.split("/")[0] for name in project_files()}
    assert {name for name in top if not name.startswith(".")} == CARD


def test_files_stay_readable() -> None:
    lengths = {name: len((ROOT / name).read_text().splitlines()) for name in python_files()}
    assert {name: n for name, n in lengths.items() if n > LONGEST} == {}


def test_modules_say_what_they_are_for() -> None:
    silent = [
        name
        for name in python_files()
        if (ROOT / name).read_text().strip() and not ast.get_docstring(tree_of(name))
    ]
    assert silent == []


def test_module_docstrings_are_short() -> None:
    docstrings = {name: ast.get_docstring(tree_of(name)) or "" for name in python_files()}
    assert [name for name, text in docstrings.items() if len(text.splitlines()) > 7] == []


def test_names_say_what_happens() -> None:
    vague_function = re.compile(r"^_?(handle|process|manage|do)_")
    # Django, uvicorn, httpx2 and the standard library's HTTP server call these by their own names.
    given = {
        "process_view",
        "process_request",
        "process_response",
        "handle_exit",
        "handle_async_request",
    }
    given |= {"do_GET", "do_POST"}
    given |= {"handle_starttag", "handle_data", "handle_endtag"}  # of its HTML parser
    vague_class = re.compile(r"(Service|Helper|Util|Utils)$|^(?!Base)\w*Manager$")
    found = []
    for name in python_files():
        for node in ast.walk(tree_of(name)):
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() if node.name not in given:
                    found += [(name, node.name)] if vague_function.match(node.name) else []
                case ast.ClassDef() if vague_class.search(node.name):
                    found.append((name, node.name))
                case _:
                    pass
    assert found == []
    assert [name for name in python_files() if Path(name).name in {"utils.py", "helpers.py"}] == []


def test_environment_is_read_in_two_places() -> None:
    readers = {
        name
        for name in python_files(tests=False)
        for node in ast.walk(tree_of(name))
        if reads_environment(node)
    }
    assert readers <= READS_ENVIRONMENT


def reads_environment(node: ast.AST) -> bool:
    """Whether this is a use of the environment that takes something out of it.

    Naming Django's settings module and passing options on to children only put something in.
    """
    match node:
        case ast.Attribute(value=ast.Attribute(attr="environ"), attr=method):
            return method not in {"setdefault", "update"}
        case ast.Subscript(value=ast.Attribute(attr="environ"), ctx=ast.Load()):
            return True
        case ast.Attribute(attr="getenv" | "environb"):
            return True
        case ast.ImportFrom(module="os", names=names):
            return any(alias.name in {"environ", "getenv"} for alias in names)
        case _:
            return False


def test_rows_are_touched_in_units() -> None:
    banned = {"aget", "asave", "acreate", "adelete", "aupdate", "afirst", "alast", "acount"}
    banned |= {"aexists", "aiterator", "aget_or_create", "aupdate_or_create", "abulk_create"}
    banned |= {"arefresh_from_db", "sync_to_async", "async_to_sync"}
    found = [
        (name, node.attr if isinstance(node, ast.Attribute) else node.id)
        for name in python_files(tests=False)
        for node in ast.walk(tree_of(name))
        if (isinstance(node, ast.Attribute) and node.attr in banned)
        or (isinstance(node, ast.Name) and node.id in banned)
    ]
    assert found == []


def test_streams_are_made_in_one_place() -> None:
    users = {
        name
        for name in python_files(tests=False)
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Name) and node.id == "StreamingHttpResponse"
    }
    assert users <= STREAMS


def test_nothing_is_left_for_later() -> None:
    unfinished = re.compile(r"\b(TO" r"DO|FIX" r"ME|XXX|HACK)\b")
    skipped = re.compile(r"pytest\.(mark\.)?(skip|xfail|importorskip)|mark\.skipif")
    slept = re.compile(r"\btime\.sleep\(|asyncio\.sleep\((?!0\))")
    found = []
    for name in python_files():
        text = (ROOT / name).read_text()
        rules = [unfinished] + ([skipped, slept] if name.startswith("tests/") else [])
        if name != "tests/test_house.py":
            found += [(name, match[0]) for rule in rules for match in rule.finditer(text)]
    assert found == []


def test_lock_files_name_no_host() -> None:
    for lock in LOCKS:
        lines = (ROOT / lock).read_text().splitlines()
        assert [
            line for line in lines if "://" in line or line.lstrip().startswith("--index")
        ] == []
        pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
        assert [line for line in pinned if "==" not in line] == []
        assert sum(line.lstrip().startswith("--hash=sha256:") for line in lines) >= len(pinned)


def test_lock_files_hold_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = {LOCKS[0]: project["project"]["dependencies"]}
    wanted[LOCKS[1]] = wanted[LOCKS[0]] + project["dependency-groups"]["dev"]
    for lock, requirements in wanted.items():
        locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / lock).read_text(), re.M))
        names = {re.split(r"[\[<>=~ ]", line)[0].lower().replace("_", "-") for line in requirements}
        assert names - locked == set()


def test_nothing_names_this_machine() -> None:
    here = {str(ROOT), str(ROOT.parent) + "/", str(Path.home()) + "/.", "/opt/" + "pypi"}
    here.add("pypi." + "org")
    found = [
        (name, place)
        for name in project_files()
        for place in here
        if place.encode() in (ROOT / name).read_bytes()
    ]
    assert found == []


def test_readme_explains_every_setting() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [name for name in settings_read() if f"`{name}`" not in readme]
    assert missing == []


def settings_read() -> list[str]:
    """The names that settings.py takes from the environment."""
    readers = {"_text", "_number", "_flag", "_names", "_pauses"}
    return [
        node.args[0].value
        for node in ast.walk(tree_of("agentsite/settings.py"))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in readers
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]


def test_every_package_without_django_is_under_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    bound = {
        module
        for contract in contracts["contracts"]
        if "django" in contract.get("forbidden_modules", [])
        for module in contract["source_modules"]
    }
    there = {
        f"agentsite.{name}"
        for name in WITHOUT_DJANGO
        if any((ROOT / "agentsite" / name).glob("*.py"))
    }
    assert there - bound == set()


def test_every_package_has_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(c["layers"] for c in contracts["contracts"] if c["type"] == "layers")
    placed = set(re.findall(r"[\w.]+", " ".join(layers)))
    packages = {
        f"agentsite.{path.parent.name}" for path in (ROOT / "agentsite").glob("*/__init__.py")
    }
    # The agent that ships is a user's folder, not a part of the program.
    assert packages - placed - {"agentsite.default_agent"} == set()


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
