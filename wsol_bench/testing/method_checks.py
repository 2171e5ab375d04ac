"""The checks of a method, one function each; the first line of its docstring says what is expected.

A check raises :class:`~wsol_bench.testing.method_case.CheckFailure`, or lets the method's own error pass.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import pickle

import torch
from torch import Tensor, nn

from wsol_bench.annotations import firewall
from wsol_bench.errors import UsageError
from wsol_bench.methods.base import Method
from wsol_bench.methods.hparams import Fixed, draw
from wsol_bench.testing.method_case import (
    EPOCHS,
    FRAME,
    IMAGES,
    RATE,
    CheckFailure,
    MethodCase,
    labels,
    localized,
    loss_of,
    number,
    same,
    seeded,
)

STEPS = 30


def check_hyper_parameters(case: MethodCase) -> None:
    """Hyper-parameters survive pickling and dictionaries, and accept whatever the search may draw."""
    declared = case.method_class.HParams
    hparams = declared.from_dict(case.hparams)
    if pickle.loads(pickle.dumps(hparams)) != hparams or declared.from_dict(hparams.as_dict()) != hparams:
        raise CheckFailure("HParams change on the way through pickle or as_dict and from_dict")
    for name, (_, distribution, doc) in declared.declarations().items():
        if not doc.strip():
            raise CheckFailure(f"the hyper-parameter '{name}' has no description")
        if not isinstance(distribution, Fixed):
            for index in range(20):
                declared.from_dict({**case.hparams, name: draw(name, distribution, 0, index)})


def check_description(case: MethodCase) -> None:
    """The class says what it is: a title and a citation."""
    for name in ("title", "citation"):
        if not str(getattr(case.method_class, name, "")).strip():
            raise CheckFailure(f"the class attribute '{name}' is empty")


def check_same_seed_same_weights(case: MethodCase) -> None:
    """Two methods built with the same seed of torch are equal."""
    one, other = (case.build(seed=3).state_dict() for _ in range(2))
    for name, value in one.items():
        if not torch.equal(value, other[name]):
            raise CheckFailure(f"'{name}' differs between two builds with the same seed; draw from torch only")


def check_stages(case: MethodCase) -> None:
    """Stages divide the epochs, have different names, and can be entered again."""
    method = case.build()
    stages = method.stages(EPOCHS)
    if sum(stage.epochs for stage in stages) != EPOCHS or min(stage.epochs for stage in stages) < 1:
        raise CheckFailure(f"stages({EPOCHS}) gives {[(stage.name, stage.epochs) for stage in stages]}")
    if len({stage.name for stage in stages}) != len(stages):
        raise CheckFailure("two stages have the same name")
    for stage in stages:
        method.enter_stage(stage.name)
        before = _trainable(method)
        method.enter_stage(stage.name)
        if _trainable(method) != before:
            raise CheckFailure(f"entering the stage '{stage.name}' twice changes what is trainable")


def check_losses_are_finite(case: MethodCase) -> None:
    """Losses are finite scalars, and so are their gradients, in every stage."""
    for method, stage in _stages_to_train(case):
        with seeded():
            loss = loss_of(method, case.batch(method))
            loss.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(loss):
            raise CheckFailure(f"the loss is {number(loss):g} in the stage '{stage}'")
        for name, parameter in method.named_parameters():
            if parameter.grad is not None and not torch.isfinite(parameter.grad).all():
                raise CheckFailure(f"the gradient of '{name}' is not finite in the stage '{stage}'")


def check_losses_decrease(case: MethodCase) -> None:
    """Thirty steps on eight images lower the loss, in every stage."""
    for method, stage in _stages_to_train(case):
        optimizer = torch.optim.Adam(method.param_groups(RATE), RATE)
        batch = case.batch(method)
        values = []
        with seeded():
            for _ in range(STEPS):
                loss = loss_of(method, batch)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                values.append(number(loss))
        first, last = sum(values[:5]) / 5, sum(values[-5:]) / 5
        if not last < first:
            raise CheckFailure(f"the loss goes from {first:.4g} to {last:.4g} in the stage '{stage}'")


def check_everything_trainable_is_optimised_once(case: MethodCase) -> None:
    """Every trainable parameter is in exactly one group of param_groups, and no frozen one is."""
    for method, stage in _stages_to_train(case):
        grouped = [id(parameter) for group in method.param_groups(RATE) for parameter in group["params"]]
        trainable = {id(p): name for name, p in method.named_parameters() if p.requires_grad}
        if len(grouped) != len(set(grouped)):
            raise CheckFailure(f"a parameter is in two groups in the stage '{stage}'")
        forgotten = [name for key, name in trainable.items() if key not in set(grouped)]
        if forgotten:
            raise CheckFailure(f"'{forgotten[0]}' is trainable but in no group in the stage '{stage}'")


def check_training_is_repeatable(case: MethodCase) -> None:
    """A training step with the same seed gives the same losses."""
    for method, stage in _stages_to_train(case):
        method = _without_running_statistics(method)
        values = []
        for _ in range(2):
            with seeded(7):
                values.append(number(loss_of(method, case.batch(method))))
        if values[0] != values[1]:
            raise CheckFailure(f"{values[0]!r} and {values[1]!r} in the stage '{stage}'; draw from torch only")


def check_inputs_are_left_alone(case: MethodCase) -> None:
    """Neither training nor prediction writes into the images or labels given."""
    for method, stage in _stages_to_train(case):
        batch = case.batch(method)
        before = batch.images.clone(), batch.labels.clone()
        with seeded():
            method.training_step(batch)
        if not (torch.equal(batch.images, before[0]) and torch.equal(batch.labels, before[1])):
            raise CheckFailure(f"training_step changes its batch in the stage '{stage}'; clone first")
    method = case.finished()
    images, wanted = case.images(method), labels(IMAGES)
    kept = images.clone()
    localized(method, images, wanted, case.num_classes)
    if not torch.equal(images, kept):
        raise CheckFailure("localize changes the images; clone first")


def check_maps_and_logits(case: MethodCase) -> None:
    """Localize gives finite maps [B, h, w] and logits [B, C], at other frames and class counts too."""
    for classes, frame in ((case.num_classes, FRAME), (3, FRAME), (case.num_classes, 96)):
        method = case.finished(num_classes=classes, frame=frame)
        found = localized(method, case.images(method, frame=frame), labels(IMAGES) % classes, classes)
        for name in ("maps", "logits"):
            value: Tensor = getattr(found, name)
            if not torch.isfinite(value).all():
                raise CheckFailure(f"{name} are not finite with {classes} classes at {frame} pixels")
            if value.requires_grad:
                raise CheckFailure(f"{name} carry a graph out of localize; detach them")


def check_without_labels_the_prediction_is_shown(case: MethodCase) -> None:
    """Localize without labels is localize with the predicted classes."""
    method = case.finished()
    images = case.images(method)
    blind = localized(method, images, None, case.num_classes)
    told = localized(method, images, blind.logits.argmax(dim=1), case.num_classes)
    same(told, blind, "without labels")


def check_prediction_is_repeatable(case: MethodCase) -> None:
    """In evaluation mode, the same images give the same answer, whatever the random numbers."""
    method = case.finished()
    images = case.images(method)
    with seeded(1):
        first = localized(method, images, labels(IMAGES), case.num_classes)
    with seeded(2):
        second = localized(method, images, labels(IMAGES), case.num_classes)
    same(first, second, "at the second call", 1e-6)


def check_an_image_does_not_depend_on_its_batch(case: MethodCase) -> None:
    """One image at a time gives what the batch gives."""
    method = case.finished()
    images, wanted = case.images(method), labels(IMAGES)
    together = localized(method, images, wanted, case.num_classes)
    single = [localized(method, images[i : i + 1], wanted[i : i + 1], case.num_classes) for i in range(IMAGES)]
    for name in ("maps", "logits"):
        expected, got = getattr(together, name), torch.cat([getattr(one, name) for one in single])
        gap, scale = float((expected - got).abs().max()), max(float(expected.abs().max()), 1e-6)
        if not gap <= 1e-3 * scale:
            raise CheckFailure(f"{name} differ by {gap:.3g} (largest value {scale:.3g}) from those of a batch")


def check_prediction_changes_nothing(case: MethodCase) -> None:
    """Prediction leaves weights, statistics, modes, gradients and trainable parts as they are."""
    method = case.finished()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    modes, trainable = [module.training for module in method.modules()], _trainable(method)
    for _ in range(3):
        localized(method, case.images(method), labels(IMAGES), case.num_classes)
    changed = [name for name, value in method.state_dict().items() if not torch.equal(value, before[name])]
    if changed:
        raise CheckFailure(f"localize changes '{changed[0]}'")
    if [module.training for module in method.modules()] != modes or _trainable(method) != trainable:
        raise CheckFailure("localize switches modes or freezes parameters")
    if any(parameter.grad is not None for parameter in method.parameters()):
        raise CheckFailure("localize leaves gradients on parameters; use torch.autograd.grad")


def check_training_mode_comes_back(case: MethodCase) -> None:
    """Switching to training mode and back does not change predictions."""
    method = case.finished()
    images = case.images(method)
    before = localized(method, images, labels(IMAGES), case.num_classes)
    method.train()
    method.eval()
    same(before, localized(method, images, labels(IMAGES), case.num_classes), "after train() and eval()", 1e-6)


def check_nothing_leaks(case: MethodCase) -> None:
    """Two hundred predictions leave no hook and no tensor behind, an error in between included."""
    method = case.finished()
    hooks = _hooks(method)
    images, wanted = case.images(method), labels(IMAGES)
    counts = []
    for _ in range(2):
        for _ in range(0, 100, IMAGES):
            localized(method, images, wanted, case.num_classes)
        gc.collect()
        counts.append(sum(issubclass(type(one), Tensor) for one in gc.get_objects()))
    if counts[1] > counts[0]:
        raise CheckFailure(f"{counts[1] - counts[0]} tensors more are alive after 100 more images")
    # Any error will do; what it leaves behind is the question.
    with contextlib.suppress(Exception):
        localized(method, images[:, :1], wanted, case.num_classes)
    if _hooks(method) != hooks:
        raise CheckFailure("hooks stay on the modules; remove them in a finally block")


def check_weights_carry_everything(case: MethodCase) -> None:
    """A state dict loaded into a method built with another seed gives the same predictions."""
    method = case.build()
    for name in [stage.name for stage in method.stages(EPOCHS)]:
        method.enter_stage(name)
        if method.needs_training:
            optimizer = torch.optim.SGD(method.param_groups(RATE), RATE)
            with seeded():
                loss_of(method.train(), case.batch(method)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    method.eval()
    other = case.finished(seed=99)
    other.load_state_dict(method.state_dict())
    images = case.images(method)
    expected = localized(method, images, labels(IMAGES), case.num_classes)
    same(expected, localized(other, images, labels(IMAGES), case.num_classes), "after loading the state dict", 1e-5)


def check_everything_moves_to_a_device(case: MethodCase) -> None:
    """Moving the method moves all that it computes with; on a GPU, if there is one, it predicts as on the CPU."""
    method = case.finished()
    images = case.images(method)
    if torch.cuda.is_available():
        expected = localized(method, images, labels(IMAGES), case.num_classes)
        method.cuda()
        got = localized(method, images.cuda(), labels(IMAGES).cuda(), case.num_classes)
        same(expected, type(got)(got.maps.cpu(), got.logits.cpu()), "on the GPU", 2e-2)
    method.to("meta")
    for name, module in method.named_modules():
        for attribute, value in vars(module).items():
            if isinstance(value, Tensor) and value.device.type != "meta":
                raise CheckFailure(
                    f"the tensor '{name}.{attribute}' stays behind; register it as a buffer".replace("'.", "'")
                )


def check_no_box_is_read(case: MethodCase) -> None:
    """Building, training and predicting read no annotation of any kind."""
    with firewall.ledger() as book, firewall.training("the method under test"):
        for method, _ in _stages_to_train(case):
            with seeded():
                method.training_step(case.batch(method))
        localized(case.finished(), case.images(case.finished()), labels(IMAGES), case.num_classes)
    if book.accesses:
        raise CheckFailure(f"it reads {book.supervision()}")


def check_one_class(case: MethodCase) -> None:
    """With a single class it works, or says clearly that it cannot."""
    try:
        method = case.finished(num_classes=1)
    except UsageError:
        return
    found = localized(method, case.images(method), torch.zeros(IMAGES, dtype=torch.long), 1)
    if not torch.isfinite(found.maps).all():
        raise CheckFailure("maps are not finite")
    method = case.build(num_classes=1)
    if method.needs_training:
        with seeded():
            loss = loss_of(method, case.batch(method, classes=1))
        if not torch.isfinite(loss):
            raise CheckFailure(f"the loss is {number(loss):g}")


def check_one_image(case: MethodCase) -> None:
    """A batch of one image can be trained on."""
    for method, stage in _stages_to_train(case):
        with seeded():
            loss = loss_of(method, case.batch(method, 1))
        if not torch.isfinite(loss):
            raise CheckFailure(f"the loss is {number(loss):g} in the stage '{stage}'")


def check_constant_images(case: MethodCase) -> None:
    """Images of one colour give finite maps and losses."""
    method = case.finished()
    flat = torch.zeros_like(case.images(method))
    found = localized(method, flat, labels(IMAGES), case.num_classes)
    if not (torch.isfinite(found.maps).all() and torch.isfinite(found.logits).all()):
        raise CheckFailure("maps or logits are not finite; a map that is constant must not be divided by its range")
    for trained, stage in _stages_to_train(case):
        with seeded():
            loss = loss_of(trained, dataclasses.replace(case.batch(trained), images=flat))
        if not torch.isfinite(loss):
            raise CheckFailure(f"the loss is {number(loss):g} in the stage '{stage}'")


def _stages_to_train(case: MethodCase) -> list[tuple[Method, str]]:
    """A fresh method for every stage that has something to train, in that stage and in training mode."""
    found = []
    names = [stage.name for stage in case.build().stages(EPOCHS)]
    for position, name in enumerate(names):
        method = case.build()
        for earlier in names[1 : position + 1]:
            method.enter_stage(earlier)
        if method.needs_training:
            found.append((method.train(), name))
    return found


def _trainable(method: Method) -> dict[str, bool]:
    return {name: parameter.requires_grad for name, parameter in method.named_parameters()}


def _hooks(method: Method) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in method.modules() for kind in kinds)


def _without_running_statistics(method: Method) -> Method:
    """Batch statistics of a step do not depend on those of earlier steps, but their running means do."""
    for module in method.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    return method
