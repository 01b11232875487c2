"""DiffPure: purification by a denoising diffusion model (Nie et al., ICML 2022, arXiv:2205.07460).

The network is a `UNet2DModel` of `diffusers`, an optional extra. Its weights come from `bench train`, or
from a folder in the layout of that library. `convert` turns such a folder into a checkpoint with a card,
so that every stored verdict includes a digest of the weights.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import _compat
from bench.defenses import purification
from bench.defenses import weights_file as files
from bench.defenses.networks import by_name
from bench.defenses.networks.denoiser import Denoiser, Diffusion, Schedule
from bench.errors import BenchError, one_line
from bench.machine.reading import MOST_SETTINGS, json_of, require_modest
from bench.threats import ThreatModel
from bench.types import Card, Defense, ImageSpec

ARCHITECTURE = "ddpm"
# Value of the parameter `ft` -> the training that writes the checkpoint.
TRAININGS = {"off": "diffpure", "on": "atop-diffusion"}
INSTALL = "pip install 'atop-bench[diffusion]'"
SMALL = 16  # pixels per side below which a network halves the image once instead of twice
GROUPS = 8  # of channels in a normalization, and channels of an attention head
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_LINEAR = {"levels": 1000, "first": 1e-4, "last": 0.02}  # the schedule of DDPM (arXiv:2006.11239)
# What a card may ask for at most, in every number of a list; those of DDPM, ADM and EDM are far below.
_MOST = {"levels": 100_000, "layers_per_block": 64, "block_out_channels": 1 << 16, "sample_size": 1 << 16}
_MOST_SCALES = 32
_CONVERT = "convert it with UNet2DModel.from_pretrained(...).save_pretrained(FOLDER, safe_serialization=True)"


def load(
    *,
    checkpoints: Mapping[str, Path],
    spec: ImageSpec,
    t: str = "0.1",
    steps: str = "10",
    ft: str = "off",
    classifier: str = "standard",
    network: str = "small",
    behind: Defense | None = None,
) -> Defense:
    """Load the diffusion model of checkpoint `diffpure`, or of `atop-diffusion`, before a classifier.

    Args:
        checkpoints: files of `classifier` and of the diffusion model.
        spec: shape and classes of the images.
        t: the noise level t* up to which noise is added, in [0, 1]; the source takes 0.1 for CIFAR-10 in
            Linf, and 0.075 in L2.
        steps: steps of the reverse process; the source takes one for every level, 100 at t* = 0.1.
        ft: `on` takes the model that AToP's adversarial loss has fine-tuned through the whole process.
        classifier: the checkpoint of the classifier.
        network: size of both: `small`, or `resnet-18` and the diffusion model that was trained beside it.
        behind: a classifier from elsewhere; `classifier` is then only its name.
    """
    level, count = _between_0_and_1("t", t), _positive("steps", steps)
    held = behind or purification.classifier(by_name.sized(classifier, network), checkpoints, spec)
    weights = by_name.sized(TRAININGS[ft], network)
    denoiser, schedule, card = restore(by_name.path_of(weights, checkpoints), spec)
    return defend(
        held.model,
        denoiser,
        schedule,
        t=level,
        steps=count,
        trained_on=tuple(dict.fromkeys((*held.trained_on, *by_name.trained_on(card)))),
        card=by_name.record(card if _was_measured(card, level, count, held) else purification.without_accuracies(card)),
    )


def _was_measured(card: Mapping[str, Any], t: float, steps: int, behind: Defense) -> bool:
    """Return whether the accuracies of a card hold at this noise level, in these steps and before this model."""
    told = card.get("recipe", {})
    # Cards of before these were part of a recipe were measured with the defaults.
    same = (told.get("t", 0.1), told.get("denoising_steps", 10)) == (t, steps)
    return same and behind.card.facts.get("sha256") in card.get("parents", {}).values()


def defend(
    classifier: nn.Module,
    denoiser: nn.Module,
    schedule: Schedule,
    *,
    t: float,
    steps: int,
    trained_on: tuple[ThreatModel, ...] = (),
    card: Card | None = None,
) -> Defense:
    """Put a diffusion model before any classifier of images in [0, 1].

    The derandomized variant runs the same process with noise that is zero throughout.
    """
    classifier.eval().requires_grad_(False)
    denoiser.eval().requires_grad_(False)
    purifier = Diffusion(denoiser, schedule, t=t, steps=steps).eval()
    stochastic = purifier.levels[0] > 0  # at t* = 0 there is no noise, and images pass unchanged
    still = Diffusion(denoiser, schedule, t=t, steps=steps, draw=torch.zeros_like).eval()
    return Defense(
        nn.Sequential(purifier, classifier).eval(),
        stochastic=stochastic,
        trained_on=trained_on,
        base=classifier,
        purifier=purifier,
        derandomized=nn.Sequential(still, classifier).eval() if stochastic else None,
        card=card or Card(),
    )


def architecture(spec: ImageSpec, width: int) -> dict[str, Any]:
    """Return the description of a new network for these images, as a card records it.

    With a width of 32 it has about 701,000 parameters for 8x8 gray images and about 1,114,000 for 32x32
    color images, where it is 32, 64 and 64 channels wide.

    Args:
        spec: shape and classes of the images.
        width: channels at full resolution, a multiple of 8; coarser scales have twice as many.
    """
    if width < GROUPS or width % GROUPS:
        raise BenchError(f"width={width} of a diffusion model must be a multiple of {GROUPS}: give {GROUPS} or more")
    scales = 2 if min(spec.shape[1:]) < SMALL else 3
    plain = scales - 1
    unet = {
        "sample_size": max(spec.shape[1:]),
        "in_channels": spec.shape[0],
        "out_channels": spec.shape[0],
        "layers_per_block": 1,
        "block_out_channels": [width, *[2 * width] * plain],
        # Attention only at the coarsest scale, where it is cheap.
        "down_block_types": [*["DownBlock2D"] * plain, "AttnDownBlock2D"],
        "up_block_types": ["AttnUpBlock2D", *["UpBlock2D"] * plain],
        "norm_num_groups": GROUPS,
        "attention_head_dim": GROUPS,
    }
    return {"name": ARCHITECTURE, "width": width, "unet": unet, "schedule": dict(_LINEAR)}


def build(description: Mapping[str, Any], spec: ImageSpec) -> tuple[Denoiser, Schedule]:
    """Build the network and the schedule that a card's `architecture` describes.

    Raises:
        BenchError: it describes no diffusion model or one for other images, or `diffusers` is not installed.
    """
    network = _network(description)
    values = description["schedule"]
    try:
        schedule = Schedule.linear(int(values["levels"]), float(values["first"]), float(values["last"]))
    except Exception as error:
        raise _unbuildable(error) from error
    _check_channels(network.config, spec)
    return _wrap(network), schedule


def _network(description: Mapping[str, Any]) -> Any:  # noqa: ANN401  (a class of an optional library)
    """Build the untrained network that a card's `architecture` describes, with errors as `build`."""
    unet, values = description.get("unet"), description.get("schedule")
    if description.get("name") != ARCHITECTURE or not isinstance(unet, Mapping) or not isinstance(values, Mapping):
        raise BenchError(
            f"architecture {description.get('name')!r} describes no diffusion model: it must be {ARCHITECTURE!r}, "
            "with 'unet' and 'schedule'"
        )
    _require_usual_size(unet, values)
    try:
        return _unet_class().from_config(dict(unet))
    except BenchError:
        raise
    except Exception as error:
        raise _unbuildable(error) from error


def _unbuildable(error: Exception) -> BenchError:
    return BenchError(f"architecture {ARCHITECTURE!r} cannot be built ({one_line(error)}): restore the card")


def _require_usual_size(unet: Mapping[str, Any], schedule: Mapping[str, Any]) -> None:
    """Raise a `BenchError` for a card that asks for more layers or noise levels than any network of this kind has."""
    told = {**schedule, **unet}
    for name, most in _MOST.items():
        sizes = told[name] if isinstance(told.get(name), list | tuple) else [told.get(name, 0)]
        if len(sizes) > _MOST_SCALES or any(isinstance(each, int | float) and not each <= most for each in sizes):
            raise BenchError(f"architecture {ARCHITECTURE!r} has {name} beyond {most}: restore the card")


def restore(path: Path, spec: ImageSpec) -> tuple[Denoiser, Schedule, dict[str, Any]]:
    """Load the diffusion model of a checkpoint, frozen and in eval mode, its schedule, and its card."""
    state, card = files.read_state(path), files.read_card(path)
    # A card may ask for any size: without memory first, the shapes must be those of the file.
    with torch.device("meta"):
        files.require_fit(_network(card["architecture"]), state, path)
    denoiser, schedule = build(card["architecture"], spec)
    files.fill(denoiser.network, state, path)
    return denoiser.eval().requires_grad_(False), schedule, card


def from_folder(folder: Path) -> tuple[Denoiser, dict[str, Any]]:
    """Load a diffusion model from a folder that `diffusers` wrote for a `UNet2DModel` or a `DDPMPipeline`.

    Only safetensors are read; nothing is downloaded or unpickled. Without the configuration of a
    scheduler the schedule is that of DDPM.

    Returns:
        The network, frozen and in eval mode, and its description for a card.

    Raises:
        BenchError: the folder is incomplete, or does not load; the message says why in one line.
    """
    place = folder / "unet" if (folder / "unet").is_dir() else folder
    if not (place / "config.json").is_file():
        raise BenchError(f"{str(folder)!r} is no folder of a diffusers model: {place / 'config.json'} is missing")
    if not (place / _WEIGHTS).is_file():
        raise BenchError(f"{str(place)!r} has no {_WEIGHTS}, and pickles are not read: {_CONVERT}")
    files.read_state(place / _WEIGHTS)  # for its checks: the library would load damaged or infinite weights
    kind = _unet_class()
    try:
        network, told = kind.from_pretrained(
            str(place), use_safetensors=True, local_files_only=True, output_loading_info=True
        )
    except Exception as error:
        raise BenchError(f"{str(place)!r} does not load as a UNet2DModel: {one_line(error)}; save it again") from error
    odd = [f"{name.replace('_', ' ')} {keys[:3]}" for name, keys in told.items() if keys]
    if odd:
        # The library would continue with random weights in their place.
        raise BenchError(f"{str(place)!r} does not fit its config.json ({', '.join(odd)}): save it again")
    unet = {key: value for key, value in network.config.items() if not key.startswith("_")}
    description = {"name": ARCHITECTURE, "unet": unet, "schedule": _schedule_of(folder)}
    return _wrap(network).float().eval().requires_grad_(False), json.loads(json.dumps(description))


def convert(folder: Path, path: Path, *, trained_on: tuple[ThreatModel, ...] = ()) -> Path:
    """Turn a folder of `diffusers` into a checkpoint with a card, `WEIGHTS/DATASET/diffpure.safetensors`.

    Args:
        folder: as for `from_folder`.
        path: the safetensors file to write; its card goes into the same folder.
        trained_on: the threat models that the network has seen in training, if any.
    """
    denoiser, description = from_folder(folder)
    card = {
        "name": "diffpure",
        "summary": "diffusion model, converted from a folder of diffusers",
        "architecture": description,
        "trained_on": [str(threat) for threat in trained_on],
        "stochastic": True,
    }
    files.write(path, denoiser.network.state_dict(), card)
    return path


def _unet_class() -> Any:  # noqa: ANN401  (a class of an optional library)
    _compat.torchvision()  # diffusers imports it
    try:
        return importlib.import_module("diffusers").UNet2DModel
    except ModuleNotFoundError as error:
        if error.name == "diffusers":
            raise BenchError(f"diffusion models need diffusers, which is not installed: {INSTALL}") from None
        raise BenchError(f"diffusers does not import ({one_line(error)}): {INSTALL}") from error
    except (ImportError, RuntimeError) as error:
        raise BenchError(f"diffusers does not import ({one_line(error)}): {INSTALL}") from error


def _wrap(network: Any) -> Denoiser:  # noqa: ANN401  (a class of an optional library)
    return Denoiser(network, multiple=2 ** (len(network.config.block_out_channels) - 1))


def _check_channels(config: Mapping[str, Any], spec: ImageSpec) -> None:
    channels = (config["in_channels"], config["out_channels"])
    if channels != (spec.shape[0], spec.shape[0]):
        raise BenchError(
            f"the diffusion model takes {channels[0]} channels and predicts {channels[1]}, the images have "
            f"{spec.shape[0]}: take one of these images that predicts the noise alone"
        )


def _schedule_of(folder: Path) -> dict[str, Any]:
    for path in (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json"):
        if not path.is_file():
            continue
        try:
            require_modest(path, MOST_SETTINGS, "configuration")
            told = json_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BenchError(f"{str(path)!r} cannot be read ({error}): save the scheduler again") from None
        kind, predicts = told.get("beta_schedule", "linear"), told.get("prediction_type", "epsilon")
        if kind != "linear" or predicts != "epsilon" or told.get("trained_betas") is not None:
            raise BenchError(
                f"{str(path)!r}: a {kind} schedule and prediction of {predicts} are not supported: take a model "
                "with a linear schedule that predicts epsilon"
            )
        return {
            "levels": told.get("num_train_timesteps", _LINEAR["levels"]),
            "first": told.get("beta_start", _LINEAR["first"]),
            "last": told.get("beta_end", _LINEAR["last"]),
        }
    return dict(_LINEAR)


def _between_0_and_1(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise BenchError(f"diffpure[{name}={text}]: {name} must be a number from 0 to 1, such as 0.1")
    return value


def _positive(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise BenchError(f"diffpure[{name}={text}]: {name} must be a whole number from 1 on, such as 10")
    return int(text)
