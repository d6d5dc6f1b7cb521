"""fit(accumulate=, penalty=, metrics=): summed gradients, terms of the loss, figures of the validation."""

import numpy as np
import pytest

import minidl
from minidl import Tensor, nn, optim, training
from minidl.data import DataLoader, TensorDataset
from minidl.nn import functional
from minidl.training import Callback, ModelCheckpoint, fit
from training_runs import StopAt, build, digits_loader, held_out, same_weights, train, without_capture

X = np.random.default_rng(0).standard_normal((70, 6))
LABELS = np.random.default_rng(1).integers(0, 3, 70)


def run(batch_size: int, samples: int = 70, epochs: int = 3, **options: object):
    """A network without batch norm and dropout, in float64."""
    minidl.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    optimizer = optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    loader = DataLoader(TensorDataset(minidl.tensor(X[:samples]), minidl.tensor(LABELS[:samples])), batch_size)
    return fit(model, loader, epochs=epochs, optimizer=optimizer, **options), model


@pytest.mark.parametrize(("batch_size", "accumulate"), [(16, 2), (4, 8), (7, 5), (32, 1)])
def test_small_batches_together_are_one_large_batch(batch_size: int, accumulate: int) -> None:
    """70 samples: the last batch is smaller and the last step incomplete for most of these."""
    large, expected = run(batch_size * accumulate)
    small, model = run(batch_size, accumulate=accumulate)
    np.testing.assert_allclose(small.losses, large.losses, rtol=1e-12)
    for ours, theirs in zip(model.parameters(), expected.parameters(), strict=True):
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-12)
    assert small.epochs[-1].train_accuracy == large.epochs[-1].train_accuracy


def test_the_last_step_of_an_epoch_has_what_is_left() -> None:
    counts: list[tuple[int, int]] = []

    class Watch(Callback):
        def on_batch_end(self, training) -> None:
            counts.append((training.step, training.samples))

    history, _ = run(16, epochs=1, accumulate=3, callbacks=[Watch()])  # batches of 16, 16, 16 | 16, 6
    assert counts == [(1, 48), (2, 70)]
    assert len(history.losses) == 2


def accumulating(**options: object) -> training.Training:
    return training.Training(train_data=digits_loader(), epochs=3, accumulate=4, **build(), **options)


def test_accumulated_steps_are_replayed_and_give_what_eager_steps_give() -> None:
    options = {"penalty": training.l2_penalty(1e-3), "callbacks": [training.GradientClipping(max_norm=0.1)]}
    captured = accumulating(**options)
    captured.run()
    assert captured._steps.captured.failure == ""
    assert [record.is_complete for record in captured._steps.captured.records.values()] == [True, True]
    eager = without_capture(accumulating(**options))
    eager.run()
    assert captured.history.losses == eager.history.losses
    assert same_weights(captured.model, eager.model)


@pytest.mark.parametrize("place", [(0, 1), (1, 3), (2, 5)])
def test_an_interrupted_accumulation_resumes_bit_by_bit(tmp_path, place: tuple[int, int]) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole, model = train(accumulate=5)
    with pytest.raises(training.TrainingInterrupted, match=f"epoch {place[0] + 1} after step {place[1]} of 5"):
        train(accumulate=5, callbacks=[ModelCheckpoint(path), StopAt(*place)])
    resumed, again = train(seed=5, accumulate=5, resume=path)
    assert resumed.losses == whole.losses
    assert same_weights(model, again)
    with pytest.raises(ValueError, match="has accumulate=5, this run accumulate=2"):
        train(accumulate=2, resume=path)


def test_a_bad_batch_among_good_ones_is_found() -> None:
    x = minidl.rand(24, 64)
    x[20, 5] = float("nan")
    loader = DataLoader(TensorDataset(x, minidl.zeros(24, dtype=minidl.int64)), 8)
    with pytest.raises(training.NonFiniteLossError, match=r"step 1 of 1; .*the input batch, which holds nan or inf"):
        train(loader=loader, accumulate=3)


def test_less_than_one_batch_in_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        train(accumulate=0)


# ---- penalties


def test_an_l2_penalty_is_weight_decay_of_the_matrices_for_plain_sgd() -> None:
    weights = []
    for decay, penalty in ((0.02, None), (0.0, training.l2_penalty(0.02))):
        minidl.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        matrices, vectors = ([p for p in model.parameters() if (p.dim() > 1) == wanted] for wanted in (True, False))
        optimizer = optim.SGD([{"params": matrices, "weight_decay": decay}, {"params": vectors}], lr=0.3)
        loader = DataLoader(TensorDataset(minidl.tensor(X), minidl.tensor(LABELS)), 16)
        fit(model, loader, epochs=2, optimizer=optimizer, penalty=penalty)
        weights.append([p.detach().numpy() for p in model.parameters()])
    for decayed, penalized in zip(*weights, strict=True):
        np.testing.assert_allclose(penalized, decayed, rtol=1e-10, atol=1e-13)


def test_the_l1_penalty_has_the_gradient_of_its_formula_and_no_exact_zeros() -> None:
    model = nn.Linear(4, 3)
    penalty = training.l1_penalty(0.25)(model)
    penalty.backward()
    weight = model.weight.detach().numpy()
    assert penalty.item() == pytest.approx(0.25 * np.abs(weight).sum(), rel=1e-6)
    np.testing.assert_array_equal(model.weight.grad.numpy(), 0.25 * np.sign(weight))
    assert model.bias.grad is None
    _, trained = run(16, penalty=training.l1_penalty(0.05))
    assert all((parameter != 0).all() for parameter in trained.parameters())


def test_losses_are_recorded_without_the_penalty() -> None:
    plain, _ = run(70, epochs=1)
    penalized, _ = run(70, epochs=1, penalty=training.l1_penalty(10.0))
    assert penalized.losses == plain.losses  # of the first step: the weights are the same


def test_penalties_refuse_negative_weights_and_models_without_matrices() -> None:
    for make in (training.l1_penalty, training.l2_penalty):
        with pytest.raises(ValueError, match=f"{make.__name__}: weight must be at least 0, got -1"):
            make(-1)
        with pytest.raises(ValueError, match=f"{make.__name__}: the model has no parameter of more than one dimension"):
            make(0.1)(nn.BatchNorm1d(3))


# ---- metrics


def test_metrics_are_measured_on_the_whole_validation_data(tmp_path) -> None:
    """A figure that is no mean over batches: computed from all outputs at once."""
    shapes = []

    def f1(output: Tensor, target: Tensor) -> float:
        shapes.append((tuple(output.shape), tuple(target.shape)))
        return training.metrics.precision_recall_f1(output, target).f1

    def hits(output: Tensor, target: Tensor) -> Tensor:
        return functional.mse_loss(output.argmax(1).eq(target).float(), minidl.ones(len(target)))

    log = training.CSVLogger(tmp_path / "log.csv")
    history, model = train(epochs=2, val_data=held_out(), metrics={"F1": f1, "missed": hits}, callbacks=[log])
    assert shapes == [((359, 10), (359,))] * 2
    last = history.epochs[-1]
    assert last.metrics["missed"] == pytest.approx(1 - last.val_accuracy, rel=1e-6)
    model.eval()
    output = minidl.cat([model(x) for x, _ in held_out()])
    target = minidl.cat([target for _, target in held_out()])
    assert last.metrics["F1"] == training.metrics.precision_recall_f1(output, target).f1
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0].endswith("samples_per_second,F1,missed")
    assert lines[2].endswith(f"{last.metrics['F1']},{last.metrics['missed']}")


def test_metrics_need_data_and_names_of_their_own() -> None:
    metric = {"top-5": training.metrics.top_k_accuracy}
    with pytest.raises(ValueError, match="metrics are measured on val_data; pass it"):
        train(metrics=metric)
    with pytest.raises(ValueError, match="metrics must have names of their own, got val_loss"):
        train(val_data=held_out(), metrics={"val_loss": training.metrics.accuracy})


def test_a_metric_can_stop_the_run_and_choose_the_best_epoch(tmp_path) -> None:
    options = {"val_data": held_out(), "metrics": {"worse": lambda output, target: values.pop(0)}}
    values = [1.0, 3.0, 2.0, 2.5]
    stopping = training.EarlyStopping("worse", patience=2, mode="max")
    history, _ = train(callbacks=[stopping], **options)
    assert (stopping.best, stopping.best_epoch, len(history.epochs)) == (3.0, 2, 4)
    with pytest.raises(ValueError, match="say mode='min' or mode='max' for the metric 'worse'"):
        train(callbacks=[training.EarlyStopping("worse")], **options)
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'up'"):
        training.EarlyStopping("worse", mode="up")


def test_figures_of_a_resumed_run_keep_their_metrics(tmp_path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    options = {"val_data": held_out(), "metrics": {"top-5": training.metrics.top_k_accuracy}}
    whole, _ = train(**options)
    train(epochs=2, callbacks=[ModelCheckpoint(path)], **options)
    resumed, _ = train(resume=path, **options)
    assert [figures.metrics for figures in resumed.epochs] == [figures.metrics for figures in whole.epochs]
