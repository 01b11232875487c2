"""DiffPure as a defense: built with diffusers, loaded from files, and honest about what it is."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import bench.defenses
from bench import _compat
from bench.catalogue import DEFENSES, resolve, selection
from bench.catalogue.request import Request
from bench.datasets.digits import digits
from bench.defenses import diffpure
from bench.defenses import weights_file as files
from bench.errors import BenchError
from bench.oracle.variants import offered, variant
from bench.types import ImageSpec

DIGITS = ImageSpec((1, 8, 8), 10)
CIFAR = ImageSpec((3, 32, 32), 10)
ODD = ImageSpec((3, 33, 35), 10)
STANDARD = Path(bench.defenses.__file__).parent / "weights" / "digits" / "standard.safetensors"


@pytest.fixture(scope="module", autouse=True)
def library():
    _compat.torchvision()
    return pytest.importorskip("diffusers", reason="diffusers is not installed: pip install 'atop-bench[diffusion]'")


@pytest.fixture
def checkpoints(tmp_path):
    """The shipped classifier and an untrained diffusion model, as `bench train` would write it."""
    torch.manual_seed(0)
    description = diffpure.architecture(DIGITS, 8)
    denoiser, _ = diffpure.build(description, DIGITS)
    path = tmp_path / "diffpure.safetensors"
    files.write(path, denoiser.network.state_dict(), {"name": "diffpure", "architecture": description})
    return {"standard": STANDARD, "diffpure": path}


@pytest.fixture
def folder(tmp_path, library):
    """A pipeline as diffusers saves it: network and scheduler in folders of their own."""
    torch.manual_seed(1)
    network = library.UNet2DModel.from_config(diffpure.architecture(DIGITS, 8)["unet"])
    scheduler = library.DDPMScheduler(num_train_timesteps=500, beta_start=2e-4, beta_end=0.03)
    network.save_pretrained(tmp_path / "model" / "unet", safe_serialization=True)
    scheduler.save_pretrained(tmp_path / "model" / "scheduler")
    return tmp_path / "model"


@pytest.mark.parametrize("spec", [DIGITS, CIFAR, ODD], ids=["digits", "cifar", "odd"])
def test_the_network_predicts_noise_for_images_of_any_size_each_for_itself(spec):
    """Sides that cannot be halved are extended and cropped; an image alone gets the same answer."""
    torch.manual_seed(0)
    denoiser, schedule = diffpure.build(diffpure.architecture(spec, 8), spec)
    denoiser.double().train()
    x, times = torch.rand(3, *spec.shape, dtype=torch.float64), torch.tensor([0, 99, 400])

    noise = denoiser(x, times)

    assert noise.shape == x.shape
    assert schedule.levels == 1000
    assert torch.allclose(noise[1:2], denoiser(x[1:2], times[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("spec", "parameters"), [(DIGITS, 701_345), (CIFAR, 1_113_955)], ids=["digits", "cifar"])
def test_the_network_is_as_large_as_the_docstring_says(spec, parameters):
    denoiser, _ = diffpure.build(diffpure.architecture(spec, 32), spec)

    assert sum(parameter.numel() for parameter in denoiser.parameters()) == parameters
    assert f"{round(parameters, -3):,}" in diffpure.architecture.__doc__


def test_the_schedule_is_that_of_the_library(library):
    """Our levels are one more than its times: level 0 is the image itself."""
    theirs = library.DDPMScheduler().alphas_cumprod

    _, schedule = diffpure.build(diffpure.architecture(DIGITS, 8), DIGITS)

    assert torch.allclose(torch.tensor(schedule.kept), theirs, rtol=1e-4)


@pytest.mark.parametrize(("level", "lower"), [(700, 699), (90, 60)])
def test_a_reverse_step_is_that_of_the_library(library, level, lower):
    """Told the same noise, its DDPM scheduler reaches the same mean, with and without skipped levels."""
    scheduler = library.DDPMScheduler(clip_sample=False, variance_type="fixed_small")
    scheduler.set_timesteps(timesteps=[level - 1, lower - 1])
    _, schedule = diffpure.build(diffpure.architecture(DIGITS, 8), DIGITS)
    x, noise = torch.randn(1, 1, 4, 4), torch.randn(1, 1, 4, 4)
    torch.manual_seed(0)
    theirs = scheduler.step(noise, level - 1, x).prev_sample
    torch.manual_seed(0)

    ours = schedule.remove_noise(x, noise, torch.randn_like(x), level, lower)

    assert torch.allclose(ours, theirs, atol=1e-4)


def test_a_checkpoint_loads_as_a_frozen_stochastic_defense(checkpoints):
    """Base, purifier and derandomized variant are there, and a gradient flows through all of them."""
    defense = diffpure.load(checkpoints=checkpoints, spec=DIGITS, t="0.1", steps="3")
    x = torch.tensor(digits("validation").first(4).x).requires_grad_()

    defense.model(x).logsumexp(1).sum().backward()

    assert defense.stochastic
    assert not torch.equal(defense.model(x), defense.model(x))
    assert not any(parameter.requires_grad for parameter in defense.model.parameters())
    assert not any(module.training for module in defense.model.modules())
    assert (x.grad.flatten(1).abs().amax(1) > 0).all()
    assert offered(defense) == DEFENSES.get("diffpure").offers
    still = variant(defense, "derandomized").model
    assert torch.equal(still(x), still(x))


def test_fine_tuned_weights_are_another_checkpoint_and_a_network_has_its_own(checkpoints):
    """`ft=on` takes `atop-diffusion` and `network` a larger classifier; nothing else steps in for them."""
    for given, missing in (
        ({"ft": "on"}, "atop-diffusion"),
        ({"network": "resnet-18"}, "standard-resnet-18"),
        ({"network": "resnet-18", "classifier": "at"}, "at-resnet-18"),
    ):
        with pytest.raises(BenchError, match=f"no checkpoint '{missing}' was given"):
            diffpure.load(checkpoints=checkpoints, spec=DIGITS, **given)
    both = {**checkpoints, "atop-diffusion": checkpoints["diffpure"]}
    x = torch.rand(2, 1, 8, 8)
    answers = []
    for ft in ("on", "off"):
        torch.manual_seed(0)
        answers.append(diffpure.load(checkpoints=both, spec=DIGITS, ft=ft).model(x))
    assert torch.equal(*answers)


def test_the_accuracies_of_a_card_hold_for_the_purification_they_were_measured_in(tmp_path):
    """Another noise level, or another classifier, is another defense: nobody may be held to that accuracy."""
    description = diffpure.architecture(DIGITS, 8)
    denoiser, _ = diffpure.build(description, DIGITS)
    card = {
        "name": "diffpure",
        "architecture": description,
        "recipe": {"t": 0.2, "denoising_steps": 2},
        "parents": {"standard": files.read_card(STANDARD)["sha256"]},
        "standard_accuracy": {"value": 0.9, "n": 10},
    }
    path = tmp_path / "diffpure.safetensors"
    files.write(path, denoiser.network.state_dict(), card)
    given = {"standard": STANDARD, "at": STANDARD.with_stem("at"), "diffpure": path}

    def told(**chosen):
        return "standard_accuracy" in diffpure.load(checkpoints=given, spec=DIGITS, **chosen).card.facts

    assert told(t="0.2", steps="2")
    assert not told()
    assert not told(t="0.2", steps="3")
    assert not told(t="0.2", steps="2", classifier="at")


@pytest.mark.parametrize("spec", [DIGITS, CIFAR], ids=["digits", "cifar"])
def test_the_gradient_of_the_real_network_is_that_of_the_whole_process(spec):
    """In float64: of finite differences along a line for images, and to the bit the same if steps are kept."""
    torch.manual_seed(0)
    denoiser, schedule = diffpure.build(diffpure.architecture(spec, 8), spec)
    network = denoiser.double().eval().network
    x = torch.rand(2, *spec.shape, dtype=torch.float64)
    along = torch.randn_like(x)
    found = []

    def purified(image, checkpointed=True):
        torch.manual_seed(1)
        purifier = diffpure.Diffusion(denoiser, schedule, t=0.2, steps=3, checkpointed=checkpointed)
        return (purifier(image) * torch.linspace(-1, 1, image[0].numel()).view(spec.shape)).sum()

    for checkpointed in (True, False):
        image = x.clone().requires_grad_()
        wanted = [image, *network.parameters()]
        found.append(torch.autograd.grad(purified(image, checkpointed), wanted, allow_unused=True))

    with torch.no_grad():
        step = 1e-5
        slope = (purified(x + step * along) - purified(x - step * along)) / (2 * step)
    assert (found[0][0] * along).sum().item() == pytest.approx(slope.item(), rel=1e-6)
    for kept, again in zip(*found, strict=True):
        assert (kept is None) == (again is None)
        assert kept is None or torch.equal(kept, again)
    assert sum(bool(each.any()) for each in found[0][1:] if each is not None) > 20  # weights have a gradient, too


def test_the_model_classifies_what_the_purifier_yields(checkpoints):
    """BPDA takes the two apart: with the same random numbers they are the defense to the bit."""
    defense = diffpure.load(checkpoints=checkpoints, spec=DIGITS)
    x = torch.rand(4, 1, 8, 8)

    torch.manual_seed(5)
    whole = defense.model(x)
    torch.manual_seed(5)
    parts = defense.base(defense.purifier(x))

    assert torch.equal(whole, parts)


def test_without_noise_the_defense_is_the_classifier(checkpoints):
    """t = 0 is the undefended control, deterministic, here and in the catalogue."""
    defense = diffpure.load(checkpoints=checkpoints, spec=DIGITS, t="0")
    x = torch.rand(4, 1, 8, 8)

    assert torch.equal(defense.model(x), defense.base(x))
    assert not defense.stochastic
    assert defense.derandomized is None
    assert not DEFENSES.get("diffpure").is_stochastic({"t": "0", "steps": "10"})


def test_every_level_the_catalogue_offers_is_as_stochastic_as_it_says(checkpoints):
    """A choice left out of `stochastic_when` would be attacked without EOT."""
    entry = DEFENSES.get("diffpure")

    for t in entry.choices["t"]:
        defense = diffpure.load(checkpoints=checkpoints, spec=DIGITS, t=t, steps="1")

        assert entry.is_stochastic({"t": t, "steps": "1"}) == defense.stochastic


@pytest.mark.parametrize("changed", [{"t": "1.5"}, {"t": "nan"}, {"t": "much"}, {"steps": "0"}, {"steps": "2.5"}])
def test_a_level_or_a_number_of_steps_out_of_range_is_named(checkpoints, changed):
    ((key, value),) = changed.items()

    with pytest.raises(BenchError, match=rf"diffpure\[{key}={value}\]: {key} must be a"):
        diffpure.load(checkpoints=checkpoints, spec=DIGITS, **changed)


def test_a_folder_of_the_library_loads_and_converts_to_a_checkpoint(folder, tmp_path):
    """Network and schedule are those of the folder, there and back again."""
    denoiser, description = diffpure.from_folder(folder)
    path = diffpure.convert(folder, tmp_path / "weights" / "digits" / "diffpure.safetensors")
    again, schedule, card = diffpure.restore(path, DIGITS)
    x, times = torch.rand(2, 1, 8, 8), torch.tensor([3, 400])

    assert torch.equal(denoiser(x, times), again(x, times))
    assert schedule.levels == 500
    assert schedule.at(1) == pytest.approx(1 - 2e-4)
    assert card["architecture"] == description
    assert card["trained_on"] == []
    assert not any(parameter.requires_grad for parameter in denoiser.parameters())
    defense = diffpure.load(checkpoints={"standard": STANDARD, "diffpure": path}, spec=DIGITS)
    assert defense.model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_folder_of_the_network_alone_has_the_schedule_of_the_source(folder):
    """`UNet2DModel.save_pretrained` writes no scheduler."""
    _, description = diffpure.from_folder(folder / "unet")

    assert description["schedule"] == {"levels": 1000, "first": 1e-4, "last": 0.02}


def weights_of(folder):
    return folder / "unet" / "diffusion_pytorch_model.safetensors"


def change_weights(folder, change):
    path = weights_of(folder)
    state = files.read_state(path)
    change(state)
    files.write(path, state, {})


def change_json(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("break_", "said"),
    [
        (lambda folder: shutil.rmtree(folder / "unet"), "is no folder of a diffusers model"),
        (lambda folder: weights_of(folder).rename(folder / "unet" / "diffusion_pytorch_model.bin"), "pickles are not"),
        (lambda folder: weights_of(folder).write_bytes(b"\x80\x04 a pickle"), "looks like a torch checkpoint"),
        (lambda folder: weights_of(folder).write_bytes(weights_of(folder).read_bytes()[:-9]), "truncated or damaged"),
        (lambda folder: change_weights(folder, lambda state: state.pop("conv_in.bias")), "does not fit its config"),
        (lambda folder: change_weights(folder, lambda state: state["conv_in.bias"].fill_(torch.nan)), "NaN"),
        (lambda folder: change_json(folder / "unet" / "config.json", block_out_channels=[8, 24]), "does not load"),
        (
            lambda folder: change_json(folder / "scheduler" / "scheduler_config.json", beta_schedule="scaled_linear"),
            "a scaled_linear schedule and prediction of epsilon are not supported",
        ),
        (
            lambda folder: change_json(folder / "scheduler" / "scheduler_config.json", prediction_type="v_prediction"),
            "prediction of v_prediction",
        ),
    ],
    ids=["nothing", "bin", "pickle", "truncated", "missing", "nan", "shape", "schedule", "prediction"],
)
def test_a_folder_that_cannot_be_trusted_is_refused_in_one_line(folder, break_, said):
    """Nothing is unpickled and no weight is made up, which the library would do for a missing one."""
    break_(folder)

    with pytest.raises(BenchError, match=said) as caught:
        diffpure.from_folder(folder)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "unet", "width": 12}, "describes no diffusion model"),
        ({"name": "ddpm", "unet": {"block_out_channels": [7]}, "schedule": {}}, "cannot be built"),
        (diffpure.architecture(CIFAR, 8), "takes 3 channels and predicts 3, the images have 1"),
    ],
    ids=["other", "broken", "color"],
)
def test_a_card_that_describes_another_network_is_named(architecture, said):
    with pytest.raises(BenchError, match=said):
        diffpure.build(architecture, DIGITS)


@pytest.mark.parametrize("width", [0, 4, 12])
def test_a_width_that_groups_do_not_divide_is_named(width):
    with pytest.raises(BenchError, match=f"width={width} of a diffusion model must be a multiple of 8"):
        diffpure.architecture(DIGITS, width)


def test_without_the_library_one_line_says_how_to_install_it(monkeypatch):
    real = importlib.import_module

    def import_module(name, *rest):
        if name == "diffusers":
            raise ModuleNotFoundError("No module named 'diffusers'", name="diffusers")
        return real(name, *rest)

    monkeypatch.setattr(importlib, "import_module", import_module)

    with pytest.raises(BenchError, match=r"not installed: pip install 'atop-bench\[diffusion\]'"):
        diffpure.build(diffpure.architecture(DIGITS, 8), DIGITS)


def test_all_leaves_out_what_has_no_weights_or_no_library(monkeypatch):
    """`bench run --defenses all` must not end for want of an extra; by name it is asked for."""

    def labels():
        return {ref.label for ref in selection.defenses("all", digits("test").first(8), None)}

    assert {"standard", "at", "ap", "atop", "trades", "at-l2", "diffpure"} <= labels()
    real = importlib.metadata.version

    def version(name):
        if name == "diffusers":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    assert "diffpure" not in labels()
    with pytest.raises(BenchError, match="package 'diffusers' is not installed"):
        resolve.defense(Request("diffpure", {}), "digits", None)
    with pytest.raises(BenchError, match="no weights 'diffpure' for dataset 'cifar10'"):
        resolve.defense(Request("diffpure", {}), "cifar10", None)


def test_the_version_of_the_library_is_part_of_the_key(checkpoints, tmp_path, monkeypatch):
    """Another diffusers may compute another network from the same weights."""
    place = tmp_path / "digits"
    place.mkdir()
    for suffix in (".safetensors", ".json"):
        shutil.copy(checkpoints["diffpure"].with_suffix(suffix), place / f"diffpure{suffix}")

    digests = []
    for version in ("0.1", "0.2"):
        monkeypatch.setattr("importlib.metadata.version", lambda name, version=version: version)
        digests.append(resolve.defense(Request("diffpure", {}), "digits", tmp_path).digest)

    assert digests[0] != digests[1]


def test_any_classifier_can_be_put_behind_a_diffusion_model(folder):
    """As a user's own file does it: `defend` needs no checkpoint of ours."""
    denoiser, description = diffpure.from_folder(folder)
    _, schedule = diffpure.build(description, DIGITS)
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    defense = diffpure.defend(classifier, denoiser, schedule, t=0.1, steps=2)

    assert defense.stochastic
    assert defense.model(torch.rand(2, 1, 8, 8)).shape == (2, 10)
