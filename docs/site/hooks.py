"""What `mkdocs build` does besides rendering docs/: pages from other folders, pages made by code, links."""

from __future__ import annotations

import sys
import tempfile
import tomllib
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]

# The package of this checkout as setup.cfg maps it, whatever is installed: pages are made of it.
_TREE = tempfile.TemporaryDirectory(prefix="atop-bench-site-")
(Path(_TREE.name) / "bench").mkdir()
for _path in [*(ROOT / "benchmark").iterdir(), ROOT / "attacks", ROOT / "defenses"]:
    (Path(_TREE.name) / "bench" / _path.name).symlink_to(_path)
sys.path[:0] = [_TREE.name]

import links  # noqa: E402
import reference  # noqa: E402

# Files of the repository outside docs/ that are pages of the site, and where.
ADOPTED = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "performance/README.md": "performance/README.md",
    "performance/RESULTS.md": "performance/RESULTS.md",
    "performance/GROWTH.md": "performance/GROWTH.md",
    "performance/growth.svg": "performance/growth.svg",
}
# What `make results` makes of each folder of results; the same places in the site.
PUBLISHED = {"README.md": "", "table.md": "the table", "leaderboard.csv": "", "report.html": "the report page"}
FOLDERS = {
    path.parent.name: tomllib.loads(path.read_text(encoding="utf-8"))["title"]
    for path in sorted((ROOT / "results").glob("*/page.toml"))
}
ADOPTED |= {
    place: place
    for folder in FOLDERS
    for place in (f"results/{folder}/{name}" for name in PUBLISHED)
    if (ROOT / place).is_file()
}

# Above the first heading of the README, where a reader of the site decides where to go.
_DOORS = (
    "[Ten minutes](docs/tutorial.md){ .md-button .md-button--primary } "
    "[The Python API](docs/api.md){ .md-button } [CIFAR-10](results/cifar10/README.md){ .md-button }"
)


@event_priority(100)  # before mkdocstrings reads its options
def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Show mkdocstrings the package as it installs, and name every folder of results in the navigation."""
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [_TREE.name]
    (section,) = (each["Results"] for each in config.nav or [] if "Results" in each)
    for folder, title in FOLDERS.items():
        for name, told in PUBLISHED.items():
            place = f"results/{folder}/{name}"
            if place in ADOPTED and not name.endswith(".csv"):
                section.append({f"{title}, {told}" if told else title: place})
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere in the repository, and those that code makes."""
    for source, place in ADOPTED.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    for place, make in reference.PAGES.items():
        files.append(File.generated(config, place, content=make()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has what they lead to."""
    if page.file.src_uri in reference.PAGES:
        return markdown
    sources = {place: source for source, place in ADOPTED.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {sources.get(place, f"docs/{place}"): place for place in _sources(config)}
    if source == "README.md":
        markdown = markdown.replace("\n## ", f"\n{_DOORS}\n\n## ", 1)
    return links.rewritten(markdown, source, pages, links.repository(ROOT))


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Give the dialog of the theme's search the name that a screen reader says."""
    return output.replace('="search" role="dialog"', '="search" role="dialog" aria-label="Search"')


def on_shutdown() -> None:
    """Remove what was made to read the package."""
    _TREE.cleanup()


def _sources(config: MkDocsConfig) -> set[str]:
    """Return the places in the site that files of the repository have."""
    docs = Path(config.docs_dir)
    own = {path.relative_to(docs).as_posix() for path in docs.rglob("*") if path.is_file()}
    return {each for each in own if not each.startswith("site/")} | {
        place for source, place in ADOPTED.items() if (ROOT / source).is_file()
    }
