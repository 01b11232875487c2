"""What a user names to be written is refused before it could replace something that is needed."""

import os
import re
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.report.outputs import require_files, require_folder, require_page


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").touch()
    Path("results").mkdir()
    Path("link").symlink_to("results")


def test_files_that_can_be_written_pass_and_nothing_is_made():
    before = sorted(Path().rglob("*"))

    require_files({"--csv": Path("file"), "--plot": Path("new/deep/a.svg"), "--html": None}, [Path("results"), None])
    require_files({"--csv": Path("results/table.csv")}, [Path("results")])  # no document, and none that it replaces
    require_files({"--badge": Path("results-of-mine.json")}, [Path("results")])
    require_files({"--summary": Path(os.devnull)})
    require_folder("--out", Path("new/deep"))
    require_folder("--out", Path("results"))
    require_folder("--out", None)
    require_page(Path("a.HTML"))

    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"--csv": "folder"}, "--csv 'folder' is a folder: name a file, such as 'folder/NAME.csv'"),
        ({"--csv": ""}, "--csv '.' is a folder: name a file, such as 'NAME.csv'"),
        ({"--csv": "file/a.csv"}, "--csv 'file/a.csv': 'file' is a file: name another folder"),
        ({"--csv": os.devnull}, "is a device or a pipe, no file: name a file"),
        ({"--a": "a", "--b": "folder/../a"}, "--a and --b name the same file 'folder/../a': name two"),
        ({"--badge": "results/runs/a.json"}, "lies in the results folder 'results'"),
        ({"--badge": "link/a.json"}, "lies in the results folder 'results'"),
    ],
)
def test_files_that_cannot_be_are_named_with_a_remedy(named, said):
    with pytest.raises(BenchError, match=re.escape(said)):
        require_files({option: Path(path) for option, path in named.items()}, [Path("results")])


def test_a_folder_that_cannot_be_written_is_named(monkeypatch):
    # Asked of the system, because nothing is forbidden to root.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "folder")

    with pytest.raises(BenchError, match=r"'.*folder' may not be written: name another folder"):
        require_files({"--csv": Path("folder/a.csv")})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("file", "--out 'file': 'file' is a file: name another folder"),
        ("file/a", "--out 'file/a': 'file' is a file: name another folder"),
        ("results", "--out 'results' lies in the results folder 'results'"),
        ("link/a", "lies in the results folder 'results'"),
    ],
)
def test_folders_likewise(path, said):
    with pytest.raises(BenchError, match=re.escape(said)):
        require_folder("--out", Path(path), [Path("results")])


def test_a_page_has_a_name_of_a_page():
    with pytest.raises(BenchError, match=r"--html 'study.toml' is no name for a page: end it in .html"):
        require_page(Path("study.toml"))
