"""The pages agree with the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from api.app import create_app
from scripts.generate_docs import DOCS, PAGES
from shared.process.environment import _READ_ELSEWHERE
from shared.settings import Settings, all_settings, variable_of

_ROOT = DOCS.parent
_MARKDOWN = sorted(
    [*_ROOT.glob("*.md"), *DOCS.rglob("*.md"), *_ROOT.glob("examples/*.md"), *_ROOT.glob("models/*/*.md")]
)
_DEPLOYED = [
    *_ROOT.glob("docker-compose*.yml"),
    *_ROOT.glob("Dockerfile.*"),
    *(path for path in (_ROOT / "deploy").rglob("*") if path.suffix in {".yaml", ".yml", ".tpl", ".conf", ".json"}),
]
_VARIABLE = re.compile(r"\bMASKQ_[A-Z0-9_]*[A-Z0-9]\b")
_SUFFIXES = "py|lua|md|toml|txt|html|yml|yaml|json|lock"
_PATH = re.compile(rf"`([\w.-]+(?:/[\w.-]+)*/|[\w./-]+\.(?:{_SUFFIXES})|(?:scripts|\.ci)/[\w-]+)`")
"""A folder, a file, or a command, in backticks."""
_COMMAND = re.compile(r"(python -m [\w.]+|scripts/evaluate)([^`\n|#;]*)")
_SOURCES = "".join(path.read_text("utf-8") for path in _ROOT.glob("[a-z]*/**/*.py"))
_FILE_IN_PICTURE = re.compile(rf"\w+(?:/\w+)+\.(?:{_SUFFIXES})\b")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def _name(path: Path) -> str:
    return str(path.relative_to(_ROOT))


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == PAGES[name](), "run: python -m scripts.generate_docs"


@pytest.mark.parametrize("name", ["durability.md", "security.md"])
def test_every_test_that_a_page_names_exists(root: Path, name: str) -> None:
    page = (DOCS / name).read_text("utf-8")
    assert {path for path in re.findall(r"`(tests/[\w/.]+)`", page) if not (root / path).exists()} == set()
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 15
    sources = "\n".join(path.read_text("utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()


@pytest.mark.parametrize("page", [*_MARKDOWN, *_DEPLOYED], ids=_name)
def test_every_variable_that_a_page_or_a_deployment_names_is_a_setting(page: Path) -> None:
    known = {variable_of(name, field) for _, name, field in all_settings()} | _READ_ELSEWHERE
    assert set(_VARIABLE.findall(page.read_text("utf-8"))) - known == set()


@pytest.mark.parametrize("page", _MARKDOWN, ids=_name)
def test_every_link_of_a_page_leads_to_a_file_and_a_heading(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        if not link.startswith("http"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in _anchors(target), link


def _anchors(page: Path) -> Iterator[str]:
    """The anchors that GitHub gives to the headings of a page."""
    for heading in re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


@pytest.mark.parametrize("name", ["architecture.md", "../CONTRIBUTING.md"])
def test_every_file_and_folder_that_a_page_names_exists(name: str) -> None:
    text = (DOCS / name).read_text("utf-8")
    pictures = "".join(re.findall(r"^```mermaid\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    named = {*_PATH.findall(text), *_FILE_IN_PICTURE.findall(pictures)}
    assert len(named) > 5
    assert {path for path in named if not (_ROOT / path).exists()} == set()


@pytest.mark.parametrize("page", [page for page in _MARKDOWN if page.name != "CHANGELOG.md"], ids=_name)
def test_every_command_that_a_page_names_exists_with_its_options(page: Path) -> None:
    for program, words in _COMMAND.findall(page.read_text("utf-8")):
        module = program.removeprefix("python -m ")
        assert module == "scripts/evaluate" or find_spec(module), program
        if module == "scripts/evaluate":
            assert re.match(r" (scenes|coco|refcoco|\.\.\.)(?= )|$", words), f"{program}{words}"
        for option in re.findall(r"(?<= )--([a-z-]+)", words):
            assert f'"--{option}"' in _SOURCES or f"{option.replace('-', '_')}:" in _SOURCES, f"{program}{words}"


def test_the_architecture_page_describes_every_package() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    modules = [*_ROOT.glob("[a-z]*/__init__.py"), *_ROOT.glob("[a-z]*/*/__init__.py")]
    packages = {f"{_name(module.parent)}/" for module in modules if "tests" not in module.parts}
    assert len(packages) > 10
    assert {package for package in packages if f"`{package}`" not in text} == set()


def test_the_index_names_every_page() -> None:
    linked = set(_LINK.findall((DOCS / "README.md").read_text("utf-8")))
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert pages - linked == set()


def test_the_list_of_decisions_has_every_page_with_its_title() -> None:
    folder = DOCS / "decisions"
    titles = {path.name: path.read_text("utf-8").splitlines()[0].removeprefix("# ") for path in folder.glob("0*.md")}
    listed = re.findall(r"^(\d+)\. \[(.*)\]\((.*)\)$", (folder / "README.md").read_text("utf-8"), re.MULTILINE)
    assert {link: title for _, title, link in listed} == titles
    assert [f"{int(number):04}" for number, _, _ in listed] == sorted(name[:4] for name in titles)


def test_the_api_page_lists_every_endpoint() -> None:
    text = (DOCS / "api.md").read_text("utf-8")
    paths = create_app(Settings.of()).openapi()["paths"]
    requests = {f"`{method.upper()} {path}`" for path, operations in paths.items() for method in operations}
    assert len(requests) > 10
    assert {request for request in requests if f"| {request} |" not in text} == set()
