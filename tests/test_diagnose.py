"""diagnose(): each mistake is found in a network that has it, and not in the same network once it is mended."""

import functools
import re
from collections.abc import Callable

import numpy as np
import pytest

import minidl
from minidl import nn, optim, training
from minidl.data import DataLoader, TensorDataset, load_images
from minidl.nn import functional as F
from minidl.training import Finding, diagnose

INPUTS, CLASSES, ROWS = 20, 4, 64


def batch() -> tuple[minidl.Tensor, minidl.Tensor]:
    return minidl.randn(ROWS, INPUTS), minidl.arange(ROWS) % CLASSES


def network(*end: nn.Module, activation: Callable[[], nn.Module] = nn.ReLU, depth: int = 1) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(INPUTS, 32), activation()]
    for _ in range(depth - 1):
        layers += [nn.Linear(32, 32), activation()]
    return nn.Sequential(*layers, nn.Linear(32, CLASSES), *end)


def only(findings: list[Finding], name: str) -> Finding:
    assert [finding.name for finding in findings] == [name], str(findings)
    return findings[0]


def fill(tensor: minidl.Tensor, value: float) -> None:
    with minidl.no_grad():
        tensor.fill_(value)


# ---- units


def test_dead_relus_are_found_by_their_layer() -> None:
    model = network()
    assert not diagnose(model, batch())
    with minidl.no_grad():
        model[0].bias.copy_(minidl.tensor([-50.0] * 26 + [0.0] * 6))
    finding = only(diagnose(model, batch()), "dead-relu")
    assert finding.layer == "1"
    assert "layer '1 ReLU', 81% of the units are 0 for the whole batch" in finding.sentence


def test_dead_relus_of_functions_are_found_behind_their_layer() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(INPUTS, 32), nn.Linear(32, CLASSES)

        def forward(self, x):
            return self.out(F.relu(self.hidden(x)))

    model = Net()
    assert not diagnose(model, batch())
    fill(model.hidden.bias[:30].data, -50.0)
    assert "the relu after layer 'hidden', 94% of the units" in only(diagnose(model, batch()), "dead-relu").sentence


def test_all_dead_relus_let_no_gradient_through() -> None:
    model = network(depth=2)
    fill(model[2].bias, -50.0)
    findings = diagnose(model, batch())
    assert findings.names == ["no-gradient", "dead-relu"]
    assert findings[0].layer == "2"
    assert findings[0].severity == "error"


@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Softsign], ids=lambda kind: kind.__name__)
def test_saturated_units_are_found(activation) -> None:
    model = network(activation=activation)
    assert not diagnose(model, batch())
    with minidl.no_grad():
        model[0].weight.mul_(3000.0)
    findings = diagnose(model, batch())
    assert "saturated" in findings.names
    finding = next(finding for finding in findings if finding.name == "saturated")
    assert finding.layer == "1"


def test_saturated_functions_are_found_and_a_sigmoid_at_the_end_may_be_sure() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(INPUTS, 32), nn.Linear(32, 1)

        def forward(self, x):
            return minidl.sigmoid(self.out(minidl.tanh(self.hidden(x)))).reshape(-1)

    x, target = minidl.randn(ROWS, INPUTS), minidl.ones(ROWS)
    model = Net()
    fill(model.out.bias, 30.0)
    assert not diagnose(model, (x, target), F.binary_cross_entropy)
    with minidl.no_grad():
        model.hidden.weight.mul_(1000.0)
    findings = diagnose(model, (x, target * 0.5), F.binary_cross_entropy)
    assert "the tanh after layer 'hidden'" in next(f.sentence for f in findings if f.name == "saturated")


def test_small_batches_say_nothing_about_units() -> None:
    model = network()
    fill(model[0].bias, -50.0)
    with minidl.no_grad():
        model[0].bias[:2].fill_(1.0)
    x, target = batch()
    assert "dead-relu" not in diagnose(model, (x[:15], target[:15])).names
    assert "dead-relu" in diagnose(model, (x[:16], target[:16])).names


# ---- gradients and weights


def test_vanishing_gradients_are_found_and_relu_mends_them() -> None:
    finding = only(diagnose(network(activation=nn.Sigmoid, depth=8), batch()), "vanishing-gradient")
    assert finding.layer == "0"
    assert "at layer '16' to" in finding.sentence
    mended = network(depth=8)
    mended.apply(lambda module: nn.init.kaiming_uniform_(module.weight) if isinstance(module, nn.Linear) else None)
    assert not diagnose(mended, batch())


def test_exploding_gradients_are_found_and_smaller_weights_mend_them() -> None:
    model = network(depth=8)
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=1.0)
    assert "exploding-gradient" in diagnose(model, batch()).names
    model.apply(lambda module: nn.init.kaiming_normal_(module.weight) if isinstance(module, nn.Linear) else None)
    assert not diagnose(model, batch())


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_equal_weights_are_found(value: float) -> None:
    model = network(activation=nn.Tanh)
    fill(model[0].weight, value)
    finding = diagnose(model, batch())[0]
    assert (finding.name, finding.layer, finding.severity) == ("equal-weights", "0", "error")
    nn.init.xavier_uniform_(model[0].weight)
    fill(model[2].weight, 0.1)  # a last layer may start so
    assert "equal-weights" not in diagnose(model, batch()).names


def test_unused_parameters_are_named() -> None:
    class Net(nn.Module):
        def __init__(self, uses: bool) -> None:
            super().__init__()
            self.body, self.extra, self.uses = network(), nn.Linear(CLASSES, CLASSES), uses

        def forward(self, x):
            out = self.body(x)
            return self.extra(out) if self.uses else out

    finding = only(diagnose(Net(False), batch()), "unused-parameters")
    assert finding.layer == "extra"
    assert "extra.weight, extra.bias" in finding.sentence
    assert not diagnose(Net(True), batch())


def test_a_loss_without_a_graph_is_found() -> None:
    model = network()
    cut = only(diagnose(model, batch(), lambda output, target: F.cross_entropy(output.detach(), target)), "no-graph")
    assert "detach()" in cut.sentence
    frozen = only(diagnose(network().requires_grad_(False), batch()), "no-graph")
    assert "requires_grad_()" in frozen.sentence


def test_a_loss_that_is_not_finite_names_the_layer() -> None:
    model = network()
    fill(model[0].weight[0].data, float("inf"))
    finding = only(diagnose(model, batch()), "not-finite")
    assert "layer '0'" in finding.sentence


# ---- before the loss


@pytest.mark.parametrize(
    ("end", "loss", "mended"),
    [
        ([nn.Softmax(1)], nn.CrossEntropyLoss(), []),
        ([nn.Softmax(1)], F.cross_entropy, []),
        ([nn.Softmax(1)], lambda output, target: F.cross_entropy(output.reshape(-1, CLASSES), target), []),
        ([nn.Sigmoid()], nn.CrossEntropyLoss(label_smoothing=0.1), []),
        ([nn.ReLU()], nn.CrossEntropyLoss(), []),
        ([nn.LogSoftmax(1)], nn.CrossEntropyLoss(), []),
        ([], nn.NLLLoss(), [nn.LogSoftmax(1)]),
        ([nn.Softmax(1)], F.nll_loss, [nn.LogSoftmax(1)]),
        ([nn.Softmax(1), nn.LogSoftmax(1)], F.nll_loss, [nn.LogSoftmax(1)]),
    ],
    ids=str,
)
def test_an_activation_that_the_loss_does_not_want_is_found(end, loss, mended) -> None:
    finding = only(diagnose(network(*end), batch(), loss), "activation-before-loss")
    assert finding.severity == ("warning" if isinstance((end or [None])[0], nn.LogSoftmax) else "error")
    assert not diagnose(network(*mended), batch(), loss)


def test_a_sigmoid_before_the_loss_of_logits_is_found() -> None:
    x, target = minidl.randn(ROWS, INPUTS), (minidl.arange(ROWS) % 2).float().reshape(-1, 1)

    def head(*end: nn.Module) -> nn.Sequential:
        return nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, 1), *end)

    finding = only(diagnose(head(nn.Sigmoid()), (x, target), nn.BCEWithLogitsLoss()), "activation-before-loss")
    assert finding.layer == "3"
    assert not diagnose(head(), (x, target), nn.BCEWithLogitsLoss())
    assert not diagnose(head(nn.Sigmoid()), (x, target), nn.BCELoss())


# ---- labels


def one_hot(labels: minidl.Tensor) -> minidl.Tensor:
    return minidl.from_numpy(np.eye(CLASSES, dtype=np.int64)[labels.numpy()])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda labels: labels.float(), r"float32, the loss wants .*: use target.long\(\)"),
        (lambda labels: labels.reshape(-1, 1), r"shape \(64, 1\), .*: use target.squeeze\(1\)"),
        (lambda labels: labels.float().reshape(-1, 1), r"use target.squeeze\(1\).long\(\)"),
        (one_hot, r"one-hot .*: use target.argmax\(1\), or target.float\(\) for probabilities"),
        (lambda labels: labels + 1, r"from 1 to 4, .* outputs for 0\.\.3: subtract 1"),
        (lambda labels: labels * 2, r"from 0 to 6, .*: the last layer needs 7 outputs"),
        (lambda labels: labels - 1, r"from -1 to 2, .*: number the classes from 0"),
    ],
    ids=["float", "column", "float column", "one-hot", "from 1", "too many", "negative"],
)
@pytest.mark.parametrize(
    "loss", [nn.CrossEntropyLoss(), functools.partial(F.cross_entropy, label_smoothing=0.1)], ids=type
)
def test_labels_of_the_wrong_kind_are_found(spoil, message, loss) -> None:
    x, labels = batch()
    finding = only(diagnose(network(), (x, spoil(labels)), loss), "labels")
    assert finding.severity == "error"
    assert re.search(message, finding.sentence), finding.sentence


def test_labels_that_the_loss_takes_are_no_finding() -> None:
    x, labels = batch()
    ignored = labels.clone()
    ignored[0] = -100
    for target in (labels, labels.int(), one_hot(labels).float(), ignored):
        assert not diagnose(network(), (x, target))


def test_one_hot_labels_of_nll_loss_are_found() -> None:
    x, labels = batch()
    model = network(nn.LogSoftmax(1))
    assert "use target.argmax(1)" in only(diagnose(model, (x, one_hot(labels)), F.nll_loss), "labels").sentence


@pytest.mark.parametrize(
    "loss", [nn.MSELoss(), lambda output, target: ((output - target) ** 2).mean()], ids=["MSELoss", "own"]
)
def test_targets_that_broadcast_are_found(loss) -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, 1))
    x, target = minidl.randn(ROWS, INPUTS), minidl.randn(ROWS)
    finding = only(diagnose(model, (x, target), loss), "labels")
    assert "broadcast to (64, 64)" in finding.sentence
    assert not diagnose(model, (x, target.reshape(-1, 1)), loss)


def test_a_loss_that_reshapes_its_target_is_no_finding() -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.ReLU(), nn.Linear(8, 1))
    x, target = minidl.randn(ROWS, INPUTS), minidl.randn(ROWS)
    assert not diagnose(model, (x, target), lambda output, t: F.mse_loss(output.squeeze(1), t))


def test_what_model_or_loss_raise_is_a_finding() -> None:
    x, labels = batch()
    assert "must have 20 columns" in only(diagnose(network(), (x[:, :5], labels)), "model").sentence
    assert "raises ValueError" in only(diagnose(network(), (x, labels[:9])), "loss").sentence


# ---- input


@pytest.mark.parametrize(
    ("x", "name", "message"),
    [
        (lambda: minidl.rand(ROWS, INPUTS) * 255, "input-scale", "pixels in 0..255"),
        (lambda: minidl.randn(ROWS, INPUTS) * 40 + 7, "input-scale", "far from 0 and 1"),
        (lambda: minidl.randn(ROWS, INPUTS) + 20, "input-scale", "far from 0 and 1"),
        (lambda: minidl.rand(ROWS, INPUTS) * 1e-3, "input-scale", "no value above"),
        (lambda: minidl.full((ROWS, INPUTS), float("nan")), "input-not-finite", "nan or inf"),
        (lambda: (minidl.rand(ROWS, INPUTS) * 255).to(minidl.uint8), "input-integers", "x.float() / 255"),
    ],
    ids=["pixels", "wide", "shifted", "tiny", "nan", "bytes"],
)
def test_inputs_out_of_scale_are_found(x, name, message) -> None:
    findings = diagnose(network(), (x(), batch()[1]))
    finding = next(finding for finding in findings if finding.name == name)
    assert message in finding.sentence


@pytest.mark.parametrize("scale", [1.0, 0.3, 2.0])
def test_inputs_in_scale_are_no_finding(scale: float) -> None:
    x, labels = batch()
    assert not diagnose(network(), (x * scale, labels))
    assert not diagnose(network(), (minidl.rand(ROWS, INPUTS) * scale, labels))
    assert not diagnose(network(), ((minidl.rand(ROWS, INPUTS) < 0.05).float(), labels))


# ---- what surrounds the model


def test_batch_norm_with_a_batch_of_one_is_found() -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))
    x, labels = batch()
    finding = only(diagnose(model, (x[:1], labels[:1])), "batch-norm-batch-1")
    assert finding.layer == "1"
    assert not diagnose(model.eval(), (x[:1], labels[:1]))
    assert not diagnose(model.train(), (x[:2], labels[:2]))


def test_evaluation_mode_is_found_where_there_is_something_to_train() -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, CLASSES))
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    assert not diagnose(model, batch(), optimizer=optimizer)
    assert not diagnose(model.eval(), batch())
    finding = only(diagnose(model, batch(), optimizer=optimizer), "evaluation-mode")
    assert "layers '1', '3' would train in evaluation mode: call model.train()" in finding.sentence
    plain = network().eval()
    assert not diagnose(plain, batch(), optimizer=optim.SGD(plain.parameters(), lr=0.1))


def test_an_optimizer_with_other_parameters_is_found() -> None:
    model = network()
    some = optim.SGD(model[0].parameters(), lr=0.1)
    assert "does not hold 2.weight, 2.bias" in only(diagnose(model, batch(), optimizer=some), "not-optimized").sentence
    other = optim.SGD(network().parameters(), lr=0.1)
    assert "no parameter of this model" in only(diagnose(model, batch(), optimizer=other), "not-optimized").sentence
    more = optim.SGD([*model.parameters(), *network().parameters()], lr=0.1)
    assert "holds 4 parameters that" in only(diagnose(model, batch(), optimizer=more), "not-optimized").sentence
    assert not diagnose(model, batch(), optimizer=optim.SGD(model.parameters(), lr=0.1))
    model[2].requires_grad_(False)
    assert not diagnose(model, batch(), optimizer=some)


@pytest.mark.parametrize("clips", [False, True])
@pytest.mark.parametrize("place", ["before", "after", "never"])
def test_forgotten_zero_grad_is_found_by_taking_a_step_twice(place: str, clips: bool) -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    x, labels = batch()

    def step() -> None:
        if place == "before":
            optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        if clips:
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        if place == "after":
            optimizer.zero_grad()

    step()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [parameter.grad for parameter in model.parameters()]
    kept = {id(p): {n: t.clone() for n, t in s.items()} for p, s in optimizer.state.items()}
    random = minidl.get_rng_state()

    findings = diagnose(model, (x, labels), optimizer=optimizer, step=step)

    if place == "never":
        assert "call optimizer.zero_grad()" in only(findings, "zero-grad").sentence
    else:
        assert not findings
    assert all(minidl.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is grad for parameter, grad in zip(model.parameters(), grads, strict=True))
    assert all(minidl.equal(kept[id(p)][n], t) for p, s in optimizer.state.items() for n, t in s.items())
    assert minidl.get_rng_state() == random
    with pytest.raises(ValueError, match="need the optimizer"):
        diagnose(model, (x, labels), step=step)


@pytest.mark.parametrize(("rate", "word"), [(1e3, "high"), (1e-6, "low"), (0.1, None)])
def test_a_learning_rate_far_from_the_finders_is_found(rate: float, word: str | None) -> None:
    x = minidl.randn(512, INPUTS)
    target = (x[:, 0] > 0).long()
    loader = DataLoader(TensorDataset(x, target), 32, shuffle=True)
    model = network()
    optimizer = optim.SGD(model.parameters(), lr=rate)
    findings = diagnose(model, (x[:ROWS], target[:ROWS]), optimizer=optimizer, train_data=loader)
    if word is None:
        assert not findings
    else:
        assert f"is too {word}: lr_find suggests about" in only(findings, "learning-rate").sentence
    assert optimizer.param_groups[0]["lr"] == rate


# ---- no false alarms, no traces


DIGITS = load_images("digits")


@pytest.mark.parametrize(
    "activation",
    ["ReLU", "LeakyReLU", "ELU", "SELU", "GELU", "SiLU", "Mish", "Tanh", "Sigmoid", "Hardtanh", "Softsign", "Softplus"],
)
def test_healthy_networks_have_no_findings_before_and_after_training(activation: str) -> None:
    x = minidl.from_numpy(DIGITS.train_images.reshape(-1, 64).astype(np.float32) / 16)
    labels = minidl.from_numpy(DIGITS.train_labels)
    loader = DataLoader(TensorDataset(x, labels), 32, shuffle=True)
    for seed in range(3):
        minidl.manual_seed(seed)
        kind = getattr(nn, activation)
        model = nn.Sequential(nn.Linear(64, 64), kind(), nn.Linear(64, 64), kind(), nn.Linear(64, 10))
        optimizer = optim.Adam(model.parameters(), lr=0.003)
        for epochs in (0, 3):
            if epochs:
                training.fit(model, loader, epochs=epochs, optimizer=optimizer)
            for rows in (32, 256):
                findings = diagnose(model, (x[:rows], labels[:rows]), optimizer=optimizer)
                assert not findings, str(findings)


def test_a_batch_that_is_no_pair_of_tensors_is_refused() -> None:
    x, labels = batch()
    for wrong in (x, (x,), (x.numpy(), labels), (x, labels, labels)):
        with pytest.raises(TypeError, match=r"a pair of tensors \(x, target\)"):
            diagnose(network(), wrong)


def test_the_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(INPUTS, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, CLASSES))
    x, labels = batch()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    random = minidl.get_rng_state()
    diagnose(model, (x, labels))
    diagnose(model, (x, labels.float()))
    assert all(minidl.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert minidl.get_rng_state() == random
    assert model.training


def test_errors_come_first_and_findings_print_one_line_each() -> None:
    model = network(nn.Softmax(1))
    with minidl.no_grad():
        model[0].bias.copy_(minidl.tensor([-50.0] * 26 + [0.0] * 6))
    x, labels = batch()
    findings = diagnose(model, (x, labels))
    lines = str(findings).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "warning"]
    assert findings.names == ["activation-before-loss", "dead-relu"]
