"""Speed of the post-hoc maps against the grad-cam package, as Markdown: ``python benchmarks/posthoc.py [--write]``.

Both get the same network and images in the same process; the maps are compared before a number is printed. The package
needs ``pip install --no-deps grad-cam ttach``. On a GPU where there is one.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytorch_grad_cam
import torch
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from wsol_bench.registry import METHODS

RESULTS = Path(__file__).parent / "results" / "posthoc.md"
PAIRS = {"grad_cam": "GradCAM", "grad_cam_pp": "GradCAMPlusPlus", "xgrad_cam": "XGradCAM", "layer_cam": "LayerCAM"}
CASES = (("resnet50", 224), ("resnet18", 224), ("resnet_small", 64))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside printing it")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lines = []
    for line in table(device, options.batch, options.rounds):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table(device: torch.device, batch: int, rounds: int) -> Iterator[str]:
    name = torch.cuda.get_device_name() if device.type == "cuda" else "no GPU"
    yield "# Speed of post-hoc maps"
    yield ""
    cores = len(os.sched_getaffinity(0))
    yield f"{platform.machine()}, {cores} cores, {name}, torch {torch.__version__}; batch {batch}"
    yield f"load {os.getloadavg()[0]:.1f}; images per second, maps of the last layer enlarged to the image"
    yield ""
    yield "| method | backbone | px | grad-cam package | here | ratio |"
    yield "|---|---|---|---|---|---|"
    for backbone, frame in CASES:
        for mine, theirs in PAIRS.items():
            slow, fast = compare(mine, theirs, backbone, frame, batch, rounds, device)
            yield f"| {mine} | {backbone} | {frame} | {slow:.1f} | {fast:.1f} | {fast / slow:.1f} |"


def compare(
    mine: str, theirs: str, backbone: str, frame: int, batch: int, rounds: int, device: torch.device
) -> tuple[float, float]:
    """Returns images per second of the package and of this project."""
    torch.manual_seed(0)
    method = METHODS.get(mine)()
    method.build(200, [str(i) for i in range(200)], type(method).HParams.from_dict({"backbone": backbone}), frame)
    nn.init.normal_(method.head.linear.weight, mean=100.0, std=200.0)
    method.eval().to(device)
    images = torch.randn(batch, 3, frame, frame, device=device)
    labels = torch.arange(batch, device=device) % 200
    net = nn.Sequential(method.backbone, method.head)
    target = method.backbone.trunk.get_submodule(method.layer)
    with getattr(pytorch_grad_cam, theirs)(model=net, target_layers=[target]) as extractor:
        targets = [ClassifierOutputTarget(int(label)) for label in labels]
        their_maps = torch.from_numpy(extractor(input_tensor=images, targets=targets))
        slow = seconds(lambda: extractor(input_tensor=images, targets=targets), rounds)
    my_maps = maps(method, images, labels).cpu()
    gap = float((my_maps - their_maps).abs().max())
    if gap > 1e-3:
        raise SystemExit(f"{mine} on {backbone}: maps differ by {gap:.3f}")
    fast = seconds(lambda: maps(method, images, labels).cpu(), rounds)
    return batch / slow, batch / fast


def maps(method: Any, images: Tensor, labels: Tensor) -> Tensor:
    """The same product as the package's: stretched, enlarged to the size of the image, and stretched again."""
    with torch.no_grad():
        found = stretched(method.localize(images, labels).maps)
    return stretched(nn.functional.interpolate(found[:, None], images.shape[2:], mode="bilinear")[:, 0])


def stretched(found: Tensor) -> Tensor:
    low, high = found.amin(dim=(1, 2), keepdim=True), found.amax(dim=(1, 2), keepdim=True)
    return (found - low) / (high - low).clamp(min=1e-7)


def seconds(run: Callable[[], object], rounds: int) -> float:
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    main()
