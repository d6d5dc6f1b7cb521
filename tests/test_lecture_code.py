"""Snippets as a PyTorch lecture writes them, with only the import changed, and where careless libraries break."""

import math
from itertools import pairwise

import numpy as np
import pytest

import minidl as torch
import minidl.nn as nn
import minidl.nn.functional as F
import minidl.optim as optim
from minidl.utils.data import DataLoader, Dataset, TensorDataset

# ---- a first network, as the slides build it


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()  # noqa: UP008 - as the slides write it
        self.fc1 = nn.Linear(28 * 28, 64)
        self.bn1 = nn.BatchNorm1d(64)
        self.dropout = nn.Dropout()
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        x = x.view(-1, 28 * 28)
        x = F.relu(self.bn1(self.fc1(x)))
        x = self.dropout(x)
        return F.log_softmax(self.fc2(x), dim=1)


class Blobs(Dataset):
    """Ten noisy prototypes, which a network can learn within a few steps."""

    def __init__(self, count, seed):
        random = np.random.default_rng(seed)
        prototypes = np.random.default_rng(99).random((10, 1, 28, 28))
        self.labels = random.integers(0, 10, count)
        self.images = (prototypes[self.labels] + 0.3 * random.standard_normal((count, 1, 28, 28))).astype(np.float32)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return torch.from_numpy(self.images[index]), int(self.labels[index])


def train(model, device, train_loader, optimizer, epoch):
    model.train()
    losses = []
    for batch_idx, (data, target) in enumerate(train_loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.nll_loss(output, target)
        loss.backward()
        optimizer.step()
        line = f"Train Epoch: {epoch} [{batch_idx * len(data)}/{len(train_loader.dataset)}]\tLoss: {loss.item():.6f}"
        assert line.startswith("Train Epoch")
        losses.append(loss.item())
    return losses


def test(model, device, test_loader):
    model.eval()
    test_loss = 0
    correct = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            output = model(data)
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
    return test_loss / len(test_loader.dataset), correct / len(test_loader.dataset)


test.__test__ = False


def test_the_training_loop_of_the_mnist_example_learns():
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader = DataLoader(Blobs(512, 0), batch_size=64, shuffle=True)
    test_loader = DataLoader(Blobs(200, 1), batch_size=100)
    model = Net().to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for epoch in range(1, 4):
        losses = train(model, device, train_loader, optimizer, epoch)
        scheduler.step()
    loss, accuracy = test(model, device, test_loader)
    assert len(losses) == 8
    assert accuracy > 0.95
    assert loss < 0.5
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * 0.7**3)


# ---- the same numbers as PyTorch: recorded with PyTorch 2.13, float64


def deterministic(*shape):
    return torch.tensor(np.sin(np.arange(math.prod(shape), dtype=np.float64)).reshape(shape))


def trajectory(make_optimizer):
    model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)).double()
    for parameter in model.parameters():
        parameter.data.copy_(deterministic(*parameter.shape) * 0.5)
    optimizer = make_optimizer(model.parameters())
    data, target = deterministic(8, 6), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    criterion = nn.CrossEntropyLoss()
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = criterion(model(data), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


RECORDED = {
    "sgd": [1.168034100144418, 1.1625267687601288, 1.1530271450841223, 1.141364149323421, 1.1291537956651587],
    "adam": [1.168034100144418, 1.1075260120426946, 1.0851661961971497, 1.0722052562412443, 1.0660879399100942],
}


@pytest.mark.parametrize(
    ("name", "make_optimizer"),
    [
        ("sgd", lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)),
        ("adam", lambda parameters: optim.Adam(parameters, lr=0.1)),
    ],
)
def test_losses_follow_pytorchs(name, make_optimizer):
    np.testing.assert_allclose(trajectory(make_optimizer), RECORDED[name], rtol=1e-10)


# ---- by hand: tensors, autograd, no_grad


def test_linear_regression_by_hand():
    x = torch.linspace(-1, 1, 50).unsqueeze(1)
    y = 3 * x + 0.5
    w = torch.zeros(1, 1, requires_grad=True)
    b = torch.zeros(1, requires_grad=True)
    for _ in range(200):
        loss = ((x @ w + b - y) ** 2).mean()
        loss.backward()
        with torch.no_grad():
            w -= 0.5 * w.grad
            b -= 0.5 * b.grad
            w.grad.zero_()
            b.grad.zero_()
    assert w.item() == pytest.approx(3, abs=1e-4)
    assert b.item() == pytest.approx(0.5, abs=1e-4)


def test_xor_with_a_hidden_layer():
    X = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=torch.float32)
    Y = torch.tensor([[0], [1], [1], [0]], dtype=torch.float32)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        criterion(model(X), Y).backward()
        optimizer.step()
    predicted = (torch.sigmoid(model(X)) > 0.5).float()
    assert torch.equal(predicted, Y)


def test_a_loader_of_tensors_gives_int64_labels():
    dataset = TensorDataset(torch.randn(10, 4), torch.tensor(list(range(10))))
    for inputs, labels in DataLoader(dataset, batch_size=5):
        assert inputs.shape == (5, 4)
        assert inputs.dtype == torch.float32
        assert labels.dtype == torch.int64
    images, labels = next(iter(DataLoader(Blobs(6, 0), batch_size=3)))
    assert images.shape == (3, 1, 28, 28)
    assert labels.dtype == torch.long


# ---- initialisation


def test_writing_through_weight_data_changes_the_parameter():
    layer = nn.Linear(300, 200)
    layer.weight.data.normal_(0, 0.25)
    layer.bias.data.fill_(0.01)
    assert abs(layer.weight.std().item() - 0.25) < 0.01
    assert layer.bias.min().item() == layer.bias.max().item() == pytest.approx(0.01)


def test_apply_with_isinstance_or_type_reaches_every_layer():
    def init_weights(m):
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            m.bias.data.fill_(0.25)

    def init_by_type(m):
        if type(m) == nn.Linear:  # noqa: E721 - as the slides write it
            torch.nn.init.zeros_(m.weight)

    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 2)))
    model.apply(init_weights)
    assert model[2][0].bias.tolist() == [0.25, 0.25]
    model.apply(init_by_type)
    assert model[0].weight.abs().sum().item() == 0


def test_the_first_loss_of_a_fresh_classifier_is_the_logarithm_of_the_classes():
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    loss = nn.CrossEntropyLoss()(model(torch.rand(256, 28, 28)), torch.randint(0, 10, (256,)))
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


# ---- evaluation


def test_max_gives_values_and_indices():
    outputs = torch.tensor([[0.1, 0.7, 0.2], [0.9, 0.05, 0.05]])
    labels = torch.tensor([1, 2])
    values, predicted = outputs.max(1)
    assert values.tolist() == pytest.approx([0.7, 0.9])
    assert predicted.tolist() == [1, 0]
    _, predicted = torch.max(outputs.data, 1)
    correct = (predicted == labels).sum().item()
    assert correct == predicted.eq(labels).sum().item() == 1
    assert 100 * correct / labels.size(0) == 50


def test_losses_are_formatted_like_numbers():
    loss = nn.MSELoss()(torch.tensor([1.0, 2.0], requires_grad=True), torch.zeros(2))
    assert f"{loss:.4f}" == "2.5000"
    assert f"{loss.item():.2f}" == "2.50"
    assert "loss: {:>7f}".format(loss.item()) == "loss: 2.500000"  # noqa: UP032 - as the slides write it


def test_tensors_print_as_in_pytorch():
    assert str(torch.tensor([[0.5, 2.0]])) == "tensor([[0.5000, 2.0000]])"
    assert str(torch.tensor([1.0, 2.0])) == "tensor([1., 2.])"
    assert str(torch.tensor(1.75)) == "tensor(1.7500)"
    assert str(torch.tensor([1e-5, 1.0])) == "tensor([1.0000e-05, 1.0000e+00])"


def test_numpy_of_a_tensor_that_requires_grad_says_detach():
    x = torch.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="detach"):
        x.numpy()
    assert (x * 2).detach().numpy().tolist() == [2, 2]


def test_eval_mode_makes_dropout_and_batch_norm_deterministic():
    model, x = Net(), torch.randn(4, 784)
    model(x)
    model.eval()
    with torch.no_grad():
        assert torch.equal(model(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


# ---- defaults that the slides rely on


def test_defaults_of_batch_norm_dropout_and_linear():
    batch_norm = nn.BatchNorm1d(1)
    batch_norm(torch.tensor([[1.0], [3.0]]))
    assert batch_norm.running_mean.item() == pytest.approx(0.1 * 2)
    assert batch_norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 2)  # unbiased: ((1-2)^2 + (3-2)^2) / 1
    with pytest.raises(ValueError, match="needs more than 1 value per channel when training"):
        batch_norm(torch.ones(1, 1))
    assert nn.Dropout().p == 0.5
    bound = 1 / math.sqrt(50)
    weight = nn.Linear(50, 400).weight
    assert bound * 0.99 < weight.abs().max().item() <= bound


def test_adam_adds_eps_outside_the_root():
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = optim.Adam([w], lr=0.1, eps=0.5)
    (2 * w).sum().backward()
    optimizer.step()
    assert w.item() == pytest.approx(1 - 0.1 * 2 / (2 + 0.5), rel=1e-12)


# ---- mistakes that must be loud


def test_modules_assigned_before_super_init_raise():
    class Broken(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(2, 2)

    with pytest.raises(AttributeError, match=r"cannot assign module before Module.__init__\(\) call"):
        Broken()


def test_an_unused_parameter_keeps_no_gradient_and_is_not_stepped():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used = nn.Linear(2, 1)
            self.unused = nn.Linear(2, 1)

        def forward(self, x):
            return self.used(x)

    model = Partly()
    optimizer = optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1)
    before = model.unused.weight.tolist()
    model(torch.ones(3, 2)).sum().backward()
    optimizer.step()
    assert model.unused.weight.grad is None
    assert model.unused.weight.tolist() == before


def test_a_second_backward_says_retain_graph():
    x = torch.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.tolist() == [6, 6]


def test_images_that_are_not_flattened_name_the_layer_and_the_fix():
    with pytest.raises(ValueError, match=r"Linear\(784, 64\): .* flatten it first \(nn.Flatten\(\)\)"):
        nn.Linear(784, 64)(torch.zeros(64, 28, 28))


def test_one_hot_or_float_labels_are_refused():
    logits = torch.zeros(2, 3)
    with pytest.raises(TypeError, match="class indices"):
        nn.CrossEntropyLoss()(logits, torch.tensor([0.0, 1.0]))
    with pytest.raises(ValueError, match="one-hot"):
        nn.CrossEntropyLoss()(logits, torch.tensor([[1, 0, 0], [0, 1, 0]]))


def test_an_unknown_device_lists_those_that_exist():
    with pytest.raises(ValueError, match="'cpu'"):
        torch.device("tpu")
    with pytest.raises(ValueError, match="'cpu'"):
        nn.Linear(1, 1).to("gpu:0")


# ---- deep graphs


def test_a_chain_of_100_000_ops_runs_back_and_is_freed():
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(100_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    del y


# ---- saving


def test_save_and_load_a_state_dict(tmp_path):
    model = Net()
    path = tmp_path / "model.pt"
    torch.save(model.state_dict(), path)
    loaded = Net()
    loaded.load_state_dict(torch.load(path, map_location=torch.device("cpu")))
    x = torch.randn(3, 784)
    assert torch.equal(model.eval()(x), loaded.eval()(x))
    assert path.read_bytes()[8:9] == b"{"  # a safetensors header: nothing is pickled


def test_save_and_load_a_checkpoint(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    path = str(tmp_path / "checkpoint.pt")
    torch.save(
        {"epoch": 5, "model_state_dict": model.state_dict(), "optimizer_state_dict": optimizer.state_dict()}, path
    )
    checkpoint = torch.load(path)
    model2 = nn.Linear(3, 2)
    model2.load_state_dict(checkpoint["model_state_dict"])
    optimizer2 = optim.Adam(model2.parameters(), lr=0.5)
    optimizer2.load_state_dict(checkpoint["optimizer_state_dict"])
    assert checkpoint["epoch"] == 5
    for m, o in ((model, optimizer), (model2, optimizer2)):
        o.zero_grad()
        m(torch.ones(1, 3)).pow(2).sum().backward()
        o.step()
    assert model.weight.tolist() == model2.weight.tolist()


# ---- looking into a model


def test_hooks_collect_activations_and_summaries_count_parameters():
    activations = {}

    def get_activation(name):
        def hook(model, input, output):
            activations[name] = output.detach()

        return hook

    model = Net().eval()
    handle = model.fc1.register_forward_hook(get_activation("fc1"))
    model(torch.randn(2, 784))
    handle.remove()
    assert activations["fc1"].shape == (2, 64)
    total = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert total == 784 * 64 + 64 + 2 * 64 + 64 * 10 + 10
    for name, param in model.named_parameters():
        if name.startswith("fc1"):
            param.requires_grad = False
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * 64 + 64 * 10 + 10


def test_a_function_of_ones_own_has_its_own_gradient():
    class MyReLU(torch.autograd.Function):
        @staticmethod
        def forward(ctx, input):
            ctx.save_for_backward(input)
            return input.clamp(min=0)

        @staticmethod
        def backward(ctx, grad_output):
            (input,) = ctx.saved_tensors
            grad_input = grad_output.clone()
            grad_input[input < 0] = 0
            return grad_input

    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    MyReLU.apply(x).sum().backward()
    assert x.grad.tolist() == [0, 1]


def test_a_model_of_a_list_of_layers():
    class MLP(nn.Module):
        def __init__(self, sizes):
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise(sizes)])
            self.activation = nn.ModuleDict({"relu": nn.ReLU(), "lrelu": nn.LeakyReLU()})["relu"]

        def forward(self, x):
            for i, layer in enumerate(self.layers):
                x = layer(x)
                if i < len(self.layers) - 1:
                    x = self.activation(x)
            return x

    model = MLP([4, 8, 8, 2])
    model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert next(model.parameters()).device == torch.device("cpu")


def test_the_weights_of_two_models_can_be_averaged():
    teacher, student = nn.Linear(2, 2), nn.Linear(2, 2)
    with torch.no_grad():
        for p, q in zip(teacher.parameters(), student.parameters(), strict=True):
            p.mul_(0.5).add_(0.5 * q)
    assert teacher.weight.requires_grad
    total = torch.cat([p.view(-1) for p in student.parameters()]).norm()
    assert total.item() == pytest.approx(math.sqrt(sum((p**2).sum().item() for p in student.parameters())), rel=1e-5)
