"""Files of somebody who means harm, fed through every door: nothing in them runs, and the answer is one line.

Every file is made here. A payload writes a marker where it is executed; after each test there is none.
"""

import ast
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import _compat
from bench.attacks.perceptual.alexnet import alexnet
from bench.cli import main
from bench.datasets import batches
from bench.datasets.corruptions import Shift
from bench.datasets.load import load
from bench.defenses import weights_file
from bench.defenses.adapters import hub, pickles, pretrained
from bench.defenses.adapters.wanted import Wanted
from bench.defenses.networks import by_name
from bench.defenses.training.resume import Journal
from bench.errors import BenchError
from bench.results import documents
from bench.types import ImageSpec

ROOT = Path(__file__).parents[2]
DIGITS, COLOR = ImageSpec((1, 8, 8), 10), ImageSpec((3, 32, 32), 10)
MANY = os.environ.get("BENCH_FAULTS") == "many"
GIANT = (1 << 30) + (1 << 29) if MANY else 300 << 20


class Payload:
    """Executed by whoever unpickles it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()


def test_the_payload_would_be_executed(tmp_path):
    """Otherwise none of these tests could fail."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "executed")))  # noqa: S301

    assert (tmp_path / "executed").is_dir()


def torch_zip(path, payload):
    torch.save({"state_dict": payload}, path)


def torch_legacy(path, payload):
    torch.save(payload, path, _use_new_zipfile_serialization=False)


def bare(path, payload):
    path.write_bytes(pickle.dumps(payload, protocol=2))


def text(path, payload):
    path.write_bytes(pickle.dumps(payload, protocol=0))


def torch_tar(path, payload):
    """The format before torch 0.2, which torch unpacks with `extractall`."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            content = pickle.dumps(payload)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def script(path, payload):
    """A zip that says it is TorchScript, which is code."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload))
        archive.writestr("archive/constants.pkl", pickle.dumps(payload))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/code/__torch__.py", "import os; os.mkdir('executed')")


PICKLES = {"zip": torch_zip, "legacy": torch_legacy, "pickle": bare, "text": text, "tar": torch_tar, "script": script}


def through_weights(path):
    weights_file.read_state(path)


def through_adapters(path):
    pickles.load_into(torch.nn.Linear(1, 1), path)


def through_libraries(path):
    """As RobustBench's loader reads its files, which asks for everything."""
    with pickles.reading_only():
        torch.load(path, map_location="cpu", weights_only=False)


def through_resumed(path):
    Journal(path).read()


def through_alexnet(path):
    alexnet(str(path), torch.zeros(1, 3, 64, 64))


def through_batches(path):
    try:
        batches.parse(path.read_bytes(), labels="labels", classes=10)
    except batches.DamagedError as error:
        raise BenchError(str(error)) from None


def through_documents(path):
    documents.read(path)


def through_images(path):
    documents.read_images(path, "")


DOORS = (
    *(through_weights, through_adapters, through_libraries, through_resumed),
    *(through_alexnet, through_batches, through_documents, through_images),
)


def refused(door, path):
    with pytest.raises(BenchError) as error:
        door(path)
    said = str(error.value)
    assert "\n" not in said
    assert said.isprintable()
    assert len(said) < 1200
    return said


@pytest.mark.malicious("X01")
@pytest.mark.parametrize("kind", PICKLES)
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_no_door_executes_a_pickle(tmp_path, marker, door, kind):
    PICKLES[kind](tmp_path / "a.pth", Payload(marker))
    refused(door, tmp_path / "a.pth")


@pytest.fixture
def bench(capsys):
    """Run a command that is refused, and return its line."""

    def run(*words, status=2):
        found = main([str(word) for word in words])
        told = capsys.readouterr()
        assert found == status, told.err
        if status == 2:
            *notes, said = told.err.splitlines()
            assert said.startswith("bench: ")
            assert all(note.startswith("note: ") for note in notes)
            return said
        return told.out + told.err

    return run


@pytest.mark.malicious("X01")
@pytest.mark.parametrize("kind", PICKLES if MANY else ("zip", "text"))
def test_no_command_executes_a_pickle(tmp_path, marker, bench, kind, record_property):
    """At the command line: own weights, a network of a library, an archive, a folder of images, a study, a claim."""
    make, payload = PICKLES[kind], Payload(marker)
    small = ("--n", 8, "--checks", "none", "--results", tmp_path / "results")
    (tmp_path / "digits").mkdir()
    (tmp_path / "images" / "a").mkdir(parents=True)
    (tmp_path / "images" / "b").mkdir()
    places = ["digits/at.safetensors", "net.pt", "a.pth", "a.npz", "a.npy", "a.safetensors", "images/a/1.png", "s.toml"]
    for place in (*places, "images/b/1.png"):
        make(tmp_path / place, payload)
    (tmp_path / "digits" / "at.json").write_text(json.dumps({"architecture": {"name": "small-cnn", "width": 4}}))

    bench("run", "--weights", tmp_path, "--defenses", "at", "--attacks", "fgsm", "--threat", "Linf:0.2", *small)
    bench("check", "at", "--weights", tmp_path)
    for suffix in ("pth", "npz", "npy", "safetensors"):
        given = ("--defense", "at", "--threat", "Linf:0.2", *small)
        bench("import", tmp_path / f"a.{suffix}", *given)
    bench("run", "--dataset", f"imagefolder:{tmp_path / 'images'}", "--defenses", "at", *small)
    bench("run", "--study", tmp_path / "s.toml")
    bench("audit", tmp_path / "s.toml")
    record_property("injections", 9)


@pytest.mark.malicious("X01")
def test_arrays_of_objects_are_pickles_too(tmp_path, marker, bench, record_property):
    """In CIFAR-C's arrays, and in archives of examples, alone or among honest ones."""
    held = np.array([Payload(marker)], dtype=object)
    np.save(tmp_path / "fog.npy", held)
    np.save(tmp_path / "labels.npy", held)
    np.savez(tmp_path / "a.npz", x_adv=np.zeros((1, 1, 8, 8), np.float32), labels=held)
    examples = load("digits", "test", n=4)

    with pytest.raises(BenchError, match="is damaged"):
        Shift(str(tmp_path), "fog").images(examples, 1)
    for name in ("a.npz", "fog.npy"):
        said = bench("import", tmp_path / name, "--defense", "at", "--threat", "Linf:0.2", "--n", 8)
        assert "objects" in said or "bject" in said
    record_property("injections", 3)


@pytest.mark.malicious("X01")
@pytest.mark.parametrize("arch", ["timm:test_vit", "torchvision:resnet18"])
def test_a_model_of_a_library_or_of_the_hub_is_only_its_tensors(tmp_path, marker, arch):
    """As `timm:NAME[weights=FILE]`, `torchvision:NAME[weights=FILE]` and `hf:OWNER/REPO[file=FILE]` load one."""
    _compat.torchvision()
    pytest.importorskip(arch.partition(":")[0])
    torch_zip(tmp_path / "model.bin", Payload(marker))
    told = {"arch": arch, "mean": "0", "std": "1"}

    said = refused(
        lambda path: pretrained.load(checkpoints={"model.bin": path}, spec=COLOR, **told), tmp_path / "model.bin"
    )

    assert "holds more than tensors (posix.mkdir)" in said


@pytest.mark.malicious("X01")
@pytest.mark.parametrize("told", ['{"architecture": "os.mkdir"}', '{"architecture": ["a"]}', "[" * 100_000, "\x80"])
def test_what_the_hub_says_of_a_model_is_data(tmp_path, monkeypatch, told):
    _compat.torchvision()
    pytest.importorskip("timm")
    (tmp_path / "config.json").write_text(told, encoding="utf-8")
    monkeypatch.setattr("bench.defenses.adapters.snapshots.fetch", lambda *_: (tmp_path / "config.json", "0" * 40))

    def find(_):
        found = hub.find(Wanted("a/b", {"mean": "0", "std": "1"}, "digits", COLOR))
        pretrained.network(found.config["arch"], COLOR)

    refused(find, tmp_path)


@pytest.mark.malicious("X02")
@pytest.mark.parametrize("door", [through_adapters, through_libraries, through_resumed, through_alexnet])
def test_no_door_trusts_an_old_torch(tmp_path, monkeypatch, door):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", "2.9.1")

    assert "torch>=2.10" in refused(door, tmp_path / "a.pth")


# What runs code, or may, with the only modules that are allowed to.
FORBIDDEN = {
    "torch.load": set(),
    "torch.jit.load": set(),
    "torch.serialization.load": {"benchmark/machine/reading.py"},
    "torch.hub.load": set(),
    "torch.hub.load_state_dict_from_url": set(),
    "load_state_dict_from_url": set(),
    "pickle.load": set(),
    # From a run to its own tasks on a cluster, which runs the code of that run anyway; nothing of it is ever a file.
    "pickle.loads": {"benchmark/harness/executors/ray_node.py"},
    "pickle.dump": set(),
    "pickle.dumps": {"benchmark/harness/executors/ray_driver.py"},
    "torch.save": {"defenses/training/resume.py"},  # tensors and plain data, read by `reading.tensors`
    "marshal.loads": set(),
    "shelve.open": set(),
    "joblib.load": set(),
    "yaml.load": set(),
    "eval": set(),
    "exec": {"docs/site/gallery.py"},  # the examples of our own pages
    "os.system": set(),
    "shutil.unpack_archive": set(),
    "urlretrieve": set(),
}
METHODS = {"extractall", "extract", "exec_module"}
RUNS = {"benchmark/catalogue/user_file.py"}  # what somebody typed
SHELL = {"shell": True, "allow_pickle": True, "weights_only": False, "trust_remote_code": True}


def calls():
    for folder in ("benchmark", "attacks", "defenses", "gpu", "docs", "performance"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield path.relative_to(ROOT).as_posix(), node, ast.unparse(node.func)


@pytest.mark.malicious("X03")
def test_nothing_in_the_source_falls_back_to_what_executes():
    """One place reads torch's files, none unpickles, and no option asks for more."""
    found, loaded = [], 0
    for place, node, name in calls():
        if place not in FORBIDDEN.get(name, {place}):
            found.append(f"{place}:{node.lineno} {name}")
        if name.rpartition(".")[2] in METHODS and place not in RUNS and "." in name:
            found.append(f"{place}:{node.lineno} {name}")
        given = {each.arg: each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)}
        found += [f"{place}:{node.lineno} {key}" for key, value in SHELL.items() if given.get(key, not value) is value]
        if name in ("np.load", "numpy.load"):
            loaded += 1
            if given.get("allow_pickle") is not False:
                found.append(f"{place}:{node.lineno} {name} without allow_pickle=False")
        if name == "torch.serialization.load" and given.get("weights_only") is not True:
            found.append(f"{place}:{node.lineno} {name} without weights_only=True")

    assert found == []
    assert loaded >= 3  # the search finds what there is


@pytest.mark.malicious("X03")
@pytest.mark.parametrize("door", [through_adapters, through_libraries, through_resumed, through_alexnet])
def test_what_the_careful_reader_refuses_is_not_read_again(tmp_path, marker, monkeypatch, door):
    """Each reads once, by the careful reader."""
    asked = []
    real = torch.serialization.load

    def load(*given, **options):
        asked.append(options.get("weights_only"))
        return real(*given, **options)

    monkeypatch.setattr(torch.serialization, "load", load)
    torch_zip(tmp_path / "a.pth", Payload(marker))

    refused(door, tmp_path / "a.pth")

    assert asked == [True]


def deflated(path, name, size, head=b""):
    """A zip with one entry of zeros that takes a thousandth of what it unpacks to."""
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w", force_zip64=True) as entry,
    ):
        entry.write(head)
        for _ in range(size >> 20):
            entry.write(bytes(1 << 20))


def bomb_of_torch(path):
    """A checkpoint whose numbers are compressed, which torch reads although it never writes so."""
    torch.save({"w": torch.zeros(2)}, path)
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    (top,) = {name.partition("/")[0] for name in kept}
    size = GIANT // 4
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            if not name.endswith("data/0"):
                archive.writestr(name, content.replace(b"K\x02", b"J" + struct.pack("<i", size)))
    deflated(path, f"{top}/data/0", GIANT)


def bomb_of_arrays(path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (GIANT // 4,)})
    deflated(path, "x_adv.npy", GIANT, head.getvalue())


def claim_of_arrays(path):
    """A few bytes that declare a thousand gigabytes."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 38,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_adv.npy", head.getvalue())


def claim_of_array(path):
    with path.open("wb") as file:
        shape = {"descr": "<f4", "fortran_order": False, "shape": (1 << 28, 1, 8, 8)}
        np.lib.format.write_array_header_1_0(file, shape)


def claim_of_safetensors(path):
    head = json.dumps({"x_adv": {"dtype": "F32", "shape": [1 << 38], "data_offsets": [0, 1 << 40]}}).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head)


def long_head_of_safetensors(path):
    path.write_bytes((1 << 40).to_bytes(8, "little") + b"{" + bytes(100))


def repeated(path):
    torch.save({"x_adv": torch.zeros(1).expand(GIANT, 1, 8, 8)}, path)


def sparse(path):
    where = torch.zeros(1, 1, dtype=torch.int64)
    torch.save({"x_adv": torch.sparse_coo_tensor(where, torch.ones(1), (1 << 40,), check_invariants=False)}, path)


def endless(path):
    """A file that says it has a terabyte; it takes no room on the disk."""
    with path.open("wb") as file:
        file.write(b"PK\x03\x04")
        file.truncate(1 << 40)


BOMBS = {
    "torch's zip, compressed": (bomb_of_torch, "pt"),
    "numpy's zip, compressed": (bomb_of_arrays, "npz"),
    "a shape in numpy's zip": (claim_of_arrays, "npz"),
    "a shape in numpy's file": (claim_of_array, "npy"),
    "a shape in safetensors": (claim_of_safetensors, "safetensors"),
    "the head of safetensors": (long_head_of_safetensors, "safetensors"),
    "one number, repeated": (repeated, "pt"),
    "one number, far away": (sparse, "pt"),
    "a terabyte of nothing": (endless, "pt"),
}


@pytest.fixture
def peak():
    """Measure by how many bytes the memory of this process grows at most during a call."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("only Linux tells")

    def of(*names):
        lines = Path("/proc/self/status").read_text().splitlines()
        return [1024 * int(line.split()[1]) for name in names for line in lines if line.startswith(f"{name}:")]

    def measured(call):
        Path("/proc/self/clear_refs").write_text("5")
        (before,) = of("VmRSS")
        call()
        (after,) = of("VmHWM")
        return after - before

    return measured


@pytest.mark.malicious("X04")
def test_the_measure_of_memory_sees_what_is_used(peak):
    assert peak(lambda: bytearray(b"x") * (100 << 20)) > 90 << 20
    assert peak(lambda: None) < 10 << 20


@pytest.mark.malicious("X04")
@pytest.mark.parametrize("what", BOMBS)
def test_the_size_is_asked_before_there_is_memory_for_it(tmp_path, what, bench, peak):
    """Through the door of archives and, where it may come there, of weights."""
    make, suffix = BOMBS[what]
    path = tmp_path / f"a.{suffix}"
    make(path)
    if path.stat().st_size < 1 << 40:
        assert path.stat().st_size < max(GIANT >> 7, 1 << 16)
    # What a command needs at all is not counted.
    bench("import", tmp_path / "missing.pt", "--defense", "at", "--threat", "Linf:0.2", "--n", 8)

    given = ("import", path, "--defense", "at", "--threat", "Linf:0.2", "--n", 8, "--results", tmp_path / "results")
    assert peak(lambda: bench(*given)) < 100 << 20
    if suffix in ("pt", "safetensors"):
        assert peak(lambda: refused(through_adapters, path)) < 100 << 20
    assert not (tmp_path / "results").exists()


@pytest.mark.malicious("X04")
@pytest.mark.parametrize("width", [20_000, 10**12])
def test_a_card_asks_for_no_more_memory_than_its_weights(tmp_path, peak, width):
    network = by_name.build({"name": "resnet-18", "width": 2}, DIGITS)
    path = tmp_path / "at.safetensors"
    weights_file.write(path, network.state_dict(), {"architecture": {"name": "resnet-18", "width": 2}})
    by_name.restore("at", {"at": path}, DIGITS)  # the honest one
    path.with_suffix(".json").write_text(json.dumps({"architecture": {"name": "resnet-18", "width": width}}))

    assert peak(lambda: refused(lambda file: by_name.restore("at", {"at": file}, DIGITS), path)) < 50 << 20


@pytest.mark.malicious("X04")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_at_every_door(tmp_path, bad):
    state = {"weight": torch.tensor([[bad]]), "bias": torch.zeros(1)}
    torch.save(state, tmp_path / "a.pt")
    weights_file.write(tmp_path / "a.safetensors", state, {})

    assert "NaN or infinite" in refused(through_adapters, tmp_path / "a.pt")
    assert "NaN or infinite" in refused(through_weights, tmp_path / "a.safetensors")


@pytest.mark.malicious("X04")
@pytest.mark.parametrize("odd", ["sparse", "float8", "quantized", "meta"])
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_tensors_of_no_usual_kind_are_one_line(tmp_path, odd):
    made = {
        "sparse": lambda: torch.eye(2).to_sparse(),
        "float8": lambda: torch.eye(2).to(torch.float8_e4m3fn),
        "quantized": lambda: torch.quantize_per_tensor(torch.eye(2), 0.1, 0, torch.qint8),
        "meta": lambda: torch.empty(2, 2, device="meta"),
    }
    torch.save({"weight": made[odd](), "bias": torch.zeros(1)}, tmp_path / "a.pt")

    refused(through_adapters, tmp_path / "a.pt")


@pytest.mark.malicious("X04")
def test_an_image_of_a_gigabyte_in_a_few_bytes_is_refused(tmp_path, bench, peak):
    """Below the size at which Pillow warns."""
    side = 9_000
    row = zlib.compress(bytes(side * (side // 8 + 1)), 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)), (b"IDAT", row), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        (tmp_path / "images" / name / "1.png").write_bytes(png)
    where = f"imagefolder:{tmp_path / 'images'}"

    said = []
    assert peak(lambda: said.append(bench("run", "--dataset", where, "--n", 2, "--results", tmp_path / "r"))) < 60 << 20
    assert "9000 x 9000 pixels" in said[0]
