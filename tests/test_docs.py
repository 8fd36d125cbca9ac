"""The documents: the README is short, and every link between them leads somewhere."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]
DOCUMENTS += sorted(ROOT.glob("docs/*.md"))
README_LINES = 150

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
# What leads out of the repository is not followed.
ABSOLUTE = re.compile(r"[a-z]+:")


def links(text: str) -> Iterator[str]:
    """The relative links and pictures of a document; what stands in code is none."""
    prose = CODE.sub("", FENCED.sub("", text))
    yield from (link for link in LINK.findall(prose) if not ABSOLUTE.match(link))


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, named as GitHub names them."""
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in HEADING.findall(FENCED.sub("", text)):
        name = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


def broken_links(document: Path, text: str) -> list[str]:
    """The links of `text`, as it stands in `document`, that lead to no file or to no heading of one."""
    return [link for link in links(text) if not _leads_somewhere(document, text, link)]


def _leads_somewhere(document: Path, text: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    if not path:
        return anchor in anchors(text)
    target = document.parent / path
    return target.exists() and (not anchor or anchor in anchors(target.read_text()))


PATH = re.compile(r"`((?:services|ui|web|pages|tests|demo|sandbox|migrations|bench|locales|docs)/[\w./-]*)`")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_files_that_it_names_are_there(document: Path) -> None:
    assert [path for path in PATH.findall(document.read_text()) if not (ROOT / path).exists()] == []


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= README_LINES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_its_links_lead_to_files_and_headings(document: Path) -> None:
    text = document.read_text()
    assert broken_links(document, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "see [it](docs/gone.md)",
        "![a picture](docs/screenshots/gone.png)",
        "see [it](docs/api.md#gone)",
        "# Here\nsee [it](#there)",
        "```\n# there\n```\nsee [it](#there)",
        "[`code`](docs/gone.md)",
    ],
)
def test_it_sees_a_broken_link(text: str) -> None:
    assert len(broken_links(README, text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "see [it](docs/api.md#who-calls) and [that](https://example.com/gone)",
        "# Not `sent`: why?\n## Twice\n## Twice\n[a](#not-sent-why) [b](#twice-1)",
        "`[it](docs/gone.md)`",
    ],
)
def test_it_accepts_what_leads_somewhere(text: str) -> None:
    assert broken_links(README, text) == []
