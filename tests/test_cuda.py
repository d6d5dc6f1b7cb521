"""Device "cuda" as programs meet it: moving, computing, training and capturing there, with the CPU's numbers."""

import copy
import json
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import device_arrays
import minidl
from minidl import backends, nn, optim
from minidl.backends import Backend
from minidl.cli import app
from minidl.data import DataLoader, TensorDataset
from minidl.data.pixels import PixelDataset
from minidl.tensor import Tensor
from minidl.training import fit
from training_runs import make_data, make_model

EPSILON = float(np.finfo(np.float32).eps)


# ---- moving


def test_tensors_move_there_and_back(cuda: Backend) -> None:
    for x in (minidl.arange(6).reshape(2, 3), minidl.rand(4, 5).T, minidl.tensor(True), minidl.zeros(0, 3)):
        moved = x.to("cuda")
        assert moved.is_cuda
        assert moved.device == minidl.device("cuda")
        assert (moved.shape, moved.dtype) == (x.shape, x.dtype)
        np.testing.assert_array_equal(moved.cpu().numpy(), x.numpy())
        assert moved.cuda() is moved


def test_moving_converts_as_well(cuda: Backend) -> None:
    moved = minidl.arange(3).to("cuda", minidl.float64)
    assert moved.is_cuda
    assert moved.dtype is minidl.float64
    assert moved.to(minidl.zeros(1)).tolist() == [0.0, 1.0, 2.0]


def test_the_gradient_moves_back(cuda: Backend) -> None:
    x = minidl.tensor([1.0, -2.0, 3.0], requires_grad=True)
    (x.to("cuda") ** 2).sum().backward()
    assert x.grad is not None
    assert not x.grad.is_cuda
    assert x.grad.tolist() == [2.0, -4.0, 6.0]


def test_tensors_are_made_there(cuda: Backend) -> None:
    assert minidl.tensor([[1, 2]], device="cuda").tolist() == [[1, 2]]
    assert minidl.ones(2, 3, device="cuda:0").sum().item() == 6
    assert minidl.arange(3, device="cuda").tolist() == [0, 1, 2]
    assert minidl.eye(2, device="cuda").tolist() == [[1, 0], [0, 1]]
    assert minidl.linspace(0, 1, 3, device="cuda").tolist() == [0, 0.5, 1]
    there = minidl.full((2,), 0.5, device="cuda")
    assert minidl.zeros_like(there).is_cuda
    assert minidl.tensor(there).is_cuda
    assert minidl.as_tensor(there.array).is_cuda
    assert Tensor(there.array).is_cuda
    assert repr(there) == "tensor([0.5000, 0.5000], device='cuda')"


def test_a_number_beside_a_tensor_takes_its_device(cuda: Backend) -> None:
    x = minidl.tensor([1.0, 2.0], device="cuda")
    assert ((2 * x + 1) / 4 - 0.5).tolist() == [0.25, 0.75]
    assert (x > 1).tolist() == [False, True]
    assert x[1].item() == 2
    assert x.tolist() == [1, 2]


def test_tensors_of_two_devices_are_refused_by_name(cuda: Backend) -> None:
    here, there = minidl.ones(2, 2), minidl.ones(2, 2, device="cuda")
    for op in (lambda: here + there, lambda: there @ here, lambda: nn.functional.mse_loss(there, here)):
        with pytest.raises(TypeError, match=r"one device, got (cpu and cuda|cuda and cpu)"):
            op()


def test_numpy_of_a_tensor_there_says_how_to_get_it(cuda: Backend) -> None:
    with pytest.raises(TypeError, match=r"tensor\.cpu\(\)\.numpy\(\)"):
        minidl.ones(2, device="cuda").numpy()


def test_another_gpu_is_refused_with_the_way_to_it(cuda: Backend) -> None:
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES=1"):
        minidl.zeros(1, device="cuda:1")


def test_copies_and_pickles_keep_the_numbers(cuda: Backend) -> None:
    x = minidl.tensor([1.5, -2.0], device="cuda")
    assert copy.deepcopy(x).tolist() == [1.5, -2.0]
    assert pickle.loads(pickle.dumps(x)).tolist() == [1.5, -2.0]
    assert pickle.loads(pickle.dumps(cuda)) is cuda


def test_models_move_with_gradients_and_buffers(cuda: Backend) -> None:
    model = make_model()
    x, labels = make_data()
    nn.functional.cross_entropy(model(x), labels).backward()
    expected = {name: tensor.tolist() for name, tensor in model.state_dict().items()}
    grads = [parameter.grad.tolist() for parameter in model.parameters()]
    parameters = list(model.parameters())
    model.to("cuda")
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    assert all(tensor.is_cuda for tensor in model.state_dict().values())
    assert all(parameter.grad.is_cuda for parameter in parameters)
    model.cpu()
    assert {name: tensor.tolist() for name, tensor in model.state_dict().items()} == expected
    assert [parameter.grad.tolist() for parameter in parameters] == grads


# ---- random numbers


def test_random_numbers_are_those_of_the_cpu(cuda: Backend) -> None:
    def draws(device: str) -> list[object]:
        minidl.manual_seed(5)
        minidl.rand(3)  # as a model's weights, drawn on the CPU
        numbers = [minidl.rand(67, device=device), minidl.randn(67, device=device), minidl.randperm(101, device=device)]
        kept = nn.functional.dropout(minidl.ones(301, device=device), 0.3)
        return [tensor.tolist() for tensor in (*numbers, kept)]

    assert draws("cuda") == draws("cpu")
    assert draws("cuda") == draws("cuda")


def test_the_state_of_the_generator_comes_back(cuda: Backend) -> None:
    minidl.manual_seed(2)
    minidl.rand(3, device="cuda")
    state = minidl.get_rng_state()
    first = minidl.rand(5, device="cuda").tolist(), minidl.rand(5).tolist()
    minidl.set_rng_state(state)
    assert (minidl.rand(5, device="cuda").tolist(), minidl.rand(5).tolist()) == first


# ---- training


def train(device: str, steps: int = 12, captured: bool = False) -> tuple[list[float], dict[str, object]]:
    minidl.manual_seed(3)
    model = make_model().to(device)
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, total_steps=steps)
    x, labels = (tensor.to(device) for tensor in make_data())

    def step(x: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    run = minidl.capture(step) if captured else step
    losses = []
    for number in range(steps):
        rows = slice(number % 3, 64 + number % 3)  # other memory at every step
        losses.append(run(x[rows], labels[rows]).item())
        scheduler.step()
    return losses, {name: tensor.tolist() for name, tensor in model.state_dict().items()}


def test_training_there_follows_the_cpu(cuda: Backend) -> None:
    expected, _ = train("cpu")
    # A step differs by a few roundings, and later ones amplify that.
    np.testing.assert_allclose(train("cuda")[0], expected, rtol=1000 * EPSILON)


def test_a_replayed_step_equals_an_eager_one_there(cuda: Backend) -> None:
    losses, state = train("cuda")
    again, state_again = train("cuda", captured=True)
    assert again == losses
    assert state_again == state


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1", "random:2", "random:3"])
def test_calls_of_a_graph_that_do_not_follow_each_other_may_run_in_any_order(
    cuda: Backend, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train("cuda")
    monkeypatch.setenv("CUDA_EMULATOR_ORDER", order)
    assert train("cuda", captured=True) == expected


def test_weight_gradients_run_beside_what_does_not_need_them(cuda: Backend) -> None:
    model = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5)).to("cuda")
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    x, labels = (tensor.to("cuda") for tensor in make_data(16))

    @minidl.capture
    def step(x: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(x, labels)
    (record,) = step.records.values()
    # The gradients of the last two layers' weights; no 1 is made for the way back to begin with.
    assert record.plan.longest_chain == len(record.plan) - 2


def test_two_trainings_there_are_bitwise_alike(cuda: Backend) -> None:
    assert train("cuda") == train("cuda")


@pytest.mark.parametrize("kind", ["tensors", "pixels"])
def test_fit_there_follows_the_cpu(cuda: Backend, kind: str) -> None:
    def history(device: str) -> list[float]:
        minidl.manual_seed(0)
        model = make_model().to(device)
        x, labels = make_data(90)
        pixels = (minidl.rand(90, 12) * 255).to(minidl.uint8)
        data = (
            TensorDataset(x.to(device), labels.to(device))
            if kind == "tensors"
            else PixelDataset(pixels.to(device), labels.to(device))
        )
        loader = DataLoader(data, 16, shuffle=True)
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        run = fit(model, loader, epochs=3, optimizer=optimizer, val_data=DataLoader(data, 32))
        return [*run.losses, *(figures.val_accuracy for figures in run.epochs)]

    np.testing.assert_allclose(history("cuda"), history("cpu"), rtol=1000 * EPSILON)


def test_a_step_with_inputs_on_another_device_is_not_captured(cuda: Backend) -> None:
    model = nn.Linear(3, 2).to("cuda")

    @minidl.capture
    def step(x: Tensor) -> Tensor:
        return model(x.to("cuda")).sum()

    with pytest.raises(RuntimeError, match="move tensors before the step"):
        step(minidl.ones(4, 3))


def test_a_step_without_arguments_is_captured_where_it_computes(cuda: Backend) -> None:
    x = minidl.ones(4, 3, device="cuda")

    @minidl.capture
    def step() -> Tensor:
        return (x * 2).sum()

    assert [step().item() for _ in range(4)] == [24.0] * 4
    x.fill_(2.0)
    assert step().item() == 48.0


def test_an_input_that_the_step_writes_is_written_where_it_is(cuda: Backend) -> None:
    @minidl.capture
    def step(x: Tensor) -> Tensor:
        x.add_(1.0)
        return x.sum()

    tensors = [minidl.zeros(5, device="cuda") for _ in range(3)]
    for _ in range(4):
        for x in tensors:
            step(x)
    assert [x.tolist() for x in tensors] == [[4.0] * 5] * 3


def train_in_groups(groups: list[int]) -> tuple[list[float], dict[str, object]]:
    minidl.manual_seed(3)
    model = make_model().to("cuda")
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    x, labels = (tensor.to("cuda") for tensor in make_data(200))
    log = minidl.zeros(1 + 2 * sum(groups), dtype=minidl.float64, device="cuda")

    @minidl.capture
    def step(index: Tensor) -> None:
        optimizer.zero_grad()
        output, target = model(minidl.ops.gather_rows(x, index)), minidl.ops.gather_labels(labels, index)
        loss = nn.functional.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        minidl.ops.append_result_(log, loss.detach(), minidl.ops.count_correct(output, target))

    order = minidl.randint(0, 200, (sum(groups), 24)).to("cuda")
    begin = 0
    for steps in groups:
        step.each(order[begin : begin + steps])
        begin += steps
    return log.tolist(), {name: tensor.tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("order", ["forward", "reverse", "random:1", "random:2"])
def test_graphs_of_several_steps_do_what_graphs_of_one_do(
    cuda: Backend, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = train_in_groups([1] * 41)
    monkeypatch.setenv("CUDA_EMULATOR_ORDER", order)
    for groups in ([41], [3, 16, 22], [2, 33, 1, 5]):
        assert train_in_groups(groups) == expected


def test_steps_of_a_graph_have_inputs_of_any_layout(cuda: Backend) -> None:
    total, wanted = minidl.zeros(3, device="cuda"), np.zeros(3)
    layouts = [
        lambda x: x[:, 1:4],  # rows with gaps
        lambda x: x.flip(0)[:, 1:4],
        lambda x: x[:1, :3].expand(40, 3),  # one row again and again
    ]
    for layout in layouts:
        rows = minidl.arange(200.0).reshape(40, 5)
        step = minidl.capture(lambda x: total.add_(x))
        for _ in range(2):
            step.each(layout(rows.to("cuda")))
            wanted += layout(rows).numpy().sum(axis=0)
        assert total.tolist() == wanted.tolist()


def test_what_a_step_writes_into_the_inputs_of_later_ones_is_read(cuda: Backend) -> None:
    """Shifts: each step copies its row into the next one, which is another input."""
    rows = minidl.zeros(40, 3, device="cuda")
    rows[0] = 7.0

    @minidl.capture
    def step(x: Tensor, out: Tensor) -> None:
        out.copy_(x * 1)

    step.each(rows[:-1], rows[1:])
    assert rows.tolist() == [[7.0] * 3] * 40
    rows, total = minidl.zeros(31, 3, device="cuda"), minidl.zeros(3, device="cuda")
    tenth = rows[10]

    @minidl.capture
    def count(x: Tensor) -> None:
        total.add_(x)
        tenth.add_(1.0)

    for wanted in (10, 10 + 31 + 10):
        count.each(rows)
        assert total.tolist() == [wanted] * 3


def test_state_dicts_and_checkpoints_travel_between_devices(cuda: Backend, tmp_path) -> None:
    model = make_model().to("cuda")
    minidl.save(model.state_dict(), tmp_path / "model.safetensors")
    loaded = minidl.load(tmp_path / "model.safetensors")
    assert not any(tensor.is_cuda for tensor in loaded.values())
    other = make_model()
    other.load_state_dict(model.state_dict())
    model.load_state_dict(loaded)
    for name, tensor in other.state_dict().items():
        assert tensor.tolist() == model.state_dict()[name].tolist()
    assert all(t.is_cuda for t in minidl.load(tmp_path / "model.safetensors", map_location="cuda").values())


def test_optimizer_states_travel_between_devices(cuda: Backend) -> None:
    def stepped(device: str) -> tuple[nn.Linear, optim.Adam]:
        minidl.manual_seed(1)
        model = nn.Linear(3, 2).to(device)
        optimizer = optim.Adam(model.parameters(), lr=0.1)
        model(minidl.ones(4, 3, device=device)).sum().backward()
        optimizer.step()
        return model, optimizer

    _, here = stepped("cpu")
    model, there = stepped("cuda")
    there.load_state_dict(here.state_dict())
    assert all(kept.is_cuda for state in there.state.values() for kept in state.values())
    model(minidl.ones(4, 3, device="cuda")).sum().backward()
    there.step()


@pytest.mark.parametrize("options", [[], ["--profile"]], ids=["plain", "profile"])
def test_the_command_trains_there_as_on_the_cpu(cuda: Backend, options: list[str], tmp_path: Path) -> None:
    def record(device: str) -> dict[str, Any]:
        path = tmp_path / f"{device}.json"
        files = [
            "--checkpoint",
            str(tmp_path / device),
            "--record",
            str(path),
            "--plot",
            str(tmp_path / f"{device}.png"),
        ]
        arguments = ["train", "--dataset", "digits", "--epochs", "2", "--hidden", "32", "--device", device, *files]
        result = CliRunner().invoke(app, [*arguments, *options])
        assert result.exit_code == 0, result.output
        return json.loads(path.read_text())

    there, here = record("cuda"), record("cpu")
    assert (there["device"], here["device"]) == ("cuda", "cpu")
    losses = [[epoch["train_loss"] for epoch in run["epochs"]] for run in (there, here)]
    np.testing.assert_allclose(*losses, rtol=1000 * EPSILON)
    assert abs(there["test_accuracy"] - here["test_accuracy"]) <= 1 / 359  # one of the test images


def test_a_training_leaves_no_arithmetic_to_cupy(
    cuda: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy compiles a kernel at the first use of each function, which takes longer than an epoch of MNIST."""
    if cuda.xp is not device_arrays.xp:
        pytest.skip("CuPy does not say what it compiles")

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"CuPy is asked for {arguments[1]}")

    for name in ("__array_ufunc__", "__array_function__", "__setitem__"):
        monkeypatch.setattr(device_arrays.DeviceArray, name, refuse)
    files = [word for name in ("checkpoint", "record", "plot") for word in (f"--{name}", str(tmp_path / f"{name}.png"))]
    arguments = ["train", "--dataset", "digits", "--epochs", "2", "--hidden", "16", "--device", "cuda", *files]
    result = CliRunner().invoke(app, [*arguments, "--until-accuracy", "1"])
    assert result.exit_code == 0, result.exception


def test_threads_load_one_back_end(cuda: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "cuda", None)
    monkeypatch.setattr(backends, "why_no_cuda", lambda: time.sleep(0.01) or "")
    monkeypatch.setattr(backends, "cuda_module", lambda: cuda.kernels)
    monkeypatch.setattr(backends.importlib, "import_module", lambda name: cuda.xp)
    with ThreadPoolExecutor(4) as pool:
        loaded = list(pool.map(backends.load, ["cuda"] * 4))
    assert all(backend is loaded[0] for backend in loaded)


# ---- without


def test_what_is_missing_is_said_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "cuda", None)

    class Module:
        reason = ""

        def why_unusable(self) -> str:
            return self.reason

    def refusal() -> str:
        with pytest.raises(ImportError) as error:
            minidl.zeros(1, device="cuda")
        return str(error.value)

    monkeypatch.setattr(backends, "cuda_module", lambda: None)
    assert "no CUDA module; build it where the CUDA toolkit" in refusal()
    module = Module()
    monkeypatch.setattr(backends, "cuda_module", lambda: module)
    module.reason = "the NVIDIA driver finds no GPU"
    assert "finds no GPU" in refusal()
    module.reason = ""
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'cupy-cuda13x[ctk]'" in refusal()
    assert not minidl.cuda.is_available()
