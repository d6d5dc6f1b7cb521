"""Learning-rate schedulers: closed forms, momentum cycles, sequences, saving and continuing, errors."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

import minidl
from minidl import optim
from minidl.optim import lr_scheduler

EPOCHS = 40
BASES = (0.3, 0.07)


def make_optimizer(kind: type[optim.Optimizer] = optim.SGD, **options: Any) -> optim.Optimizer:
    return kind([{"params": [minidl.zeros(1, requires_grad=True)], "lr": lr} for lr in BASES], **options)


def rates(scheduler: lr_scheduler.LRScheduler, epochs: int = EPOCHS) -> list[list[float]]:
    seen = []
    for _ in range(epochs):
        seen.append([group["lr"] for group in scheduler.optimizer.param_groups])
        assert seen[-1] == scheduler.get_last_lr()
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def cosine(low: float, base: float, part: float) -> float:
    return low + (base - low) * (1 + math.cos(math.pi * part)) / 2


def warm_restart(base: float, epoch: int) -> float:
    begin, length = 0, 4
    while epoch >= begin + length:
        begin, length = begin + length, 2 * length
    return cosine(0.01, base, (epoch - begin) / length)


def triangle(epoch: int, up: int, down: int) -> float:
    place = epoch % (up + down)
    return place / up if place <= up else 1 - (place - up) / down


CLOSED_FORMS: dict[str, tuple[Callable[[optim.Optimizer], Any], Callable[[float, int], float]]] = {
    "StepLR": (lambda o: lr_scheduler.StepLR(o, 4, 0.5), lambda lr, e: lr * 0.5 ** (e // 4)),
    "MultiStepLR": (
        lambda o: lr_scheduler.MultiStepLR(o, [7, 3, 7, 20], 0.3),
        lambda lr, e: lr * 0.3 ** sum(e >= milestone for milestone in (3, 7, 7, 20)),
    ),
    "ConstantLR": (lambda o: lr_scheduler.ConstantLR(o, 0.4, 6), lambda lr, e: lr * (0.4 if e < 6 else 1)),
    "LinearLR": (
        lambda o: lr_scheduler.LinearLR(o, 0.2, 0.7, 8),
        lambda lr, e: lr * (0.2 + 0.5 * min(e, 8) / 8),
    ),
    "ExponentialLR": (lambda o: lr_scheduler.ExponentialLR(o, 0.9), lambda lr, e: lr * 0.9**e),
    "PolynomialLR": (
        lambda o: lr_scheduler.PolynomialLR(o, 12, 2.5),
        lambda lr, e: lr * (1 - min(e, 12) / 12) ** 2.5,
    ),
    "CosineAnnealingLR": (
        lambda o: lr_scheduler.CosineAnnealingLR(o, 9, 0.001),
        lambda lr, e: cosine(0.001, lr, e / 9),
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 2, 0.01),
        warm_restart,
    ),
    "CyclicLR": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.5, 4, 7),
        lambda lr, e: 0.01 + 0.49 * triangle(e, 4, 7),
    ),
    "CyclicLR triangular2": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.5, 4, mode="triangular2"),
        lambda lr, e: 0.01 + 0.49 * triangle(e, 4, 4) / 2 ** (e // 8),
    ),
    "CyclicLR exp_range": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.5, 4, mode="exp_range", gamma=0.95),
        lambda lr, e: 0.01 + 0.49 * triangle(e, 4, 4) * 0.95**e,
    ),
    "CyclicLR scale_fn": (
        lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.5, 4, scale_fn=lambda e: 1 / (e + 1), scale_mode="iterations"),
        lambda lr, e: 0.01 + 0.49 * triangle(e, 4, 4) / (e + 1),
    ),
    "OneCycleLR": (
        lambda o: lr_scheduler.OneCycleLR(o, 0.5, total_steps=EPOCHS, pct_start=0.275),
        lambda lr, e: cosine(0.5, 0.02, e / 10) if e <= 10 else cosine(0.02 / 1e4, 0.5, (e - 10) / 29),
    ),
    "OneCycleLR three_phase": (
        lambda o: lr_scheduler.OneCycleLR(
            o, 0.5, epochs=5, steps_per_epoch=8, three_phase=True, anneal_strategy="linear", pct_start=0.275
        ),
        lambda lr, e: 0.02 + 0.48 * (1 - abs(e - 10) / 10) if e <= 20 else 0.02 + (0.02 / 1e4 - 0.02) * (e - 20) / 19,
    ),
    "LambdaLR": (lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)), lambda lr, e: lr / (e + 1)),
    "MultiplicativeLR": (lambda o: lr_scheduler.MultiplicativeLR(o, lambda e: 0.95), lambda lr, e: lr * 0.95**e),
}
each_scheduler = pytest.mark.parametrize("name", CLOSED_FORMS)


@each_scheduler
def test_rates_follow_the_closed_form(name: str) -> None:
    make, expected = CLOSED_FORMS[name]
    for epoch, seen in enumerate(rates(make(make_optimizer(momentum=0.9)))):
        # A chain of up to 40 factors, each rounded.
        assert seen == pytest.approx([expected(lr, epoch) for lr in BASES], rel=1e-12, abs=1e-15), f"epoch {epoch}"


@each_scheduler
def test_a_loaded_state_continues_the_schedule(name: str) -> None:
    make, _ = CLOSED_FORMS[name]
    optimizer = make_optimizer(momentum=0.9)
    scheduler = make(optimizer)
    rates(scheduler, 6)
    saved = json.loads(json.dumps([optimizer.state_dict()["param_groups"], scheduler.state_dict()]))
    resumed_optimizer = make_optimizer(momentum=0.9)
    resumed = make(resumed_optimizer)
    resumed_optimizer.load_state_dict({"state": {}, "param_groups": saved[0]})
    resumed.load_state_dict(saved[1])
    assert rates(resumed, 20) == rates(scheduler, 20)


@pytest.mark.parametrize(("kind", "options"), [(optim.SGD, {"momentum": 0.9}), (optim.AdamW, {})])
def test_momentum_runs_against_the_rate(kind: type[optim.Optimizer], options: dict[str, Any]) -> None:
    optimizer = make_optimizer(kind, **options)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=EPOCHS, pct_start=0.275)
    for epoch in range(EPOCHS):
        group = optimizer.param_groups[1]
        momentum = group["betas"][0] if "betas" in group else group["momentum"]
        expected = cosine(0.85, 0.95, epoch / 10) if epoch <= 10 else cosine(0.95, 0.85, (epoch - 10) / 29)
        assert momentum == pytest.approx(expected)
        optimizer.step()
        scheduler.step()
    cyclic = lr_scheduler.CyclicLR(optimizer, 0.1, 0.5, 4)
    assert optimizer.param_groups[0].get("momentum", optimizer.param_groups[0].get("betas", [0])[0]) == 0.9
    assert cyclic.get_last_lr() == [0.1, 0.1]


def test_schedulers_can_be_chained() -> None:
    optimizer = make_optimizer()
    steps, decay = lr_scheduler.StepLR(optimizer, 3, 0.5), lr_scheduler.ExponentialLR(optimizer, 0.9)
    for epoch in range(12):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3 * 0.5 ** (epoch // 3) * 0.9**epoch)
        optimizer.step()
        steps.step()
        decay.step()


def test_one_scheduler_follows_another() -> None:
    optimizer = make_optimizer()
    parts = [
        lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 5),
        lr_scheduler.CosineAnnealingLR(optimizer, 10),
        lr_scheduler.ExponentialLR(optimizer, 0.5),
    ]
    scheduler = lr_scheduler.SequentialLR(optimizer, parts, milestones=[5, 15])

    def expected(lr: float, epoch: int) -> float:
        if epoch < 5:
            return lr * (0.1 + 0.9 * epoch / 5)
        return cosine(0, lr, (epoch - 5) / 10) if epoch < 15 else lr * 0.5 ** (epoch - 15)

    seen = rates(scheduler, 10)
    saved = json.loads(json.dumps([optimizer.state_dict()["param_groups"], scheduler.state_dict()]))
    optimizer.load_state_dict({"state": {}, "param_groups": saved[0]})
    scheduler.load_state_dict(saved[1])
    seen += rates(scheduler, 10)
    for epoch, pair in enumerate(seen):
        assert pair == pytest.approx([expected(lr, epoch) for lr in BASES]), f"epoch {epoch}"


def test_warm_restarts_take_fractions_of_epochs() -> None:
    optimizer = make_optimizer()
    scheduler = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, 2, 0.01)
    for epoch, place in [(2.5, 2.5 / 4), (4.0, 0.0), (11.0, 7 / 8), (13.5, 1.5 / 16)]:
        scheduler.step(epoch)
        assert scheduler.get_last_lr()[0] == pytest.approx(cosine(0.01, 0.3, place))
    with pytest.raises(ValueError, match="epoch must be at least 0, got -1"):
        scheduler.step(-1)


def test_plateau_reduces_after_patience_and_cooldown() -> None:
    optimizer = make_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, cooldown=2, min_lr=[0.1, 0.0])
    seen = []
    for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, minidl.tensor(1.0)]:
        scheduler.step(loss)
        seen.append(scheduler.get_last_lr())
    # Two epochs without improvement reduce, the two after that do not count.
    assert [pair[1] for pair in seen] == pytest.approx([0.07] * 3 + [0.035] * 4 + [0.0175] * 3)
    assert [pair[0] for pair in seen] == pytest.approx([0.3] * 3 + [0.15] * 4 + [0.1] * 3)


@pytest.mark.parametrize(
    ("options", "figures", "is_reduced"),
    [
        ({"mode": "max"}, [1.0, 1.1, 1.2], False),
        ({"mode": "max"}, [1.0, 0.9, 0.9], True),
        ({"threshold": 0.5}, [1.0, 0.6, 0.6], True),
        ({"threshold": 0.5, "threshold_mode": "abs"}, [-1.0, -1.6, -2.2], False),
        ({}, [1.0, math.nan, math.nan], True),
    ],
)
def test_plateau_knows_what_is_better(options: dict[str, Any], figures: list[float], is_reduced: bool) -> None:
    optimizer = make_optimizer()
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, **options)
    for figure in figures:
        scheduler.step(figure)
    assert (optimizer.param_groups[0]["lr"] < 0.3) == is_reduced


def test_stepping_before_the_optimizer_warns() -> None:
    scheduler = lr_scheduler.StepLR(make_optimizer(), 2)
    with pytest.warns(UserWarning, match=r"StepLR.step\(\) came before the first optimizer.step\(\)"):
        scheduler.step()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.StepLR(o, 0), "StepLR: step_size must be at least 1"),
        (lambda o: lr_scheduler.StepLR(o, 1, last_epoch=3), "group 0 must hold 'initial_lr' to continue at epoch 3"),
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), "ConstantLR: factor must lie in"),
        (lambda o: lr_scheduler.LinearLR(o, 0.0), "LinearLR: start_factor must lie in"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 0.2, mode="square"), "CyclicLR: mode must be"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, [0.2]), "CyclicLR: max_lr must be a number or one per group, got 1"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1), "OneCycleLR: give total_steps, or epochs and steps_per_epoch"),
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, 10, anneal_strategy="poly"), "anneal_strategy must be 'cos' or"),
        (lambda o: lr_scheduler.LambdaLR(o, [abs]), "LambdaLR: lr_lambda must be a function or one per group, got 1"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), "factor must be below 1"),
        (lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]), "one milestone less"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(make_optimizer(), 1)], []),
            "must have been made for the same optimizer",
        ),
    ],
)
def test_bad_arguments_are_refused(make: Callable[[optim.Optimizer], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(make_optimizer())


def test_an_optimizer_without_momentum_cannot_cycle_it() -> None:
    with pytest.raises(ValueError, match="Adadelta has neither momentum nor betas; pass cycle_momentum=False"):
        lr_scheduler.OneCycleLR(make_optimizer(optim.Adadelta), 0.1, total_steps=10)
    with pytest.raises(TypeError, match="optimizer must be an Optimizer, got int"):
        lr_scheduler.StepLR(3, 1)  # type: ignore[arg-type]


def test_a_one_cycle_ends() -> None:
    optimizer = make_optimizer(momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    rates(scheduler, 3)
    with pytest.raises(ValueError, match="step 4 lies beyond total_steps = 3"):
        scheduler.step()
