"""The command line: what it prints, writes, refuses; that runs repeat and resume."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import minidl
from minidl import _cpu, selftest
from minidl.cli import app, config, imports
from minidl.cli.predict import read_image
from minidl.data import images as image_sets, load_images
from requirements import missing, mnist_folder

FAST = ["--dataset", "digits", "--epochs", "2", "--hidden", "32"]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    return tmp_path


def call(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def train(*arguments: object):
    result = call("train", *FAST, *arguments)
    assert result.exit_code == 0, result.output
    return result


def record_of(*arguments: object) -> dict:
    train("--record", "record.json", "--quiet", *arguments)
    return json.loads(Path("record.json").read_text())


# ---- train


def test_a_run_shows_what_it_does_and_where_things_are():
    lines = train().stdout.splitlines()
    text = "\n".join(lines)
    assert "digits: 1,438 to learn from, 359 to test on" in text
    assert "64-32-10, gelu, batch norm" in text
    assert sum(line.split()[:1] == ["1"] for line in lines) == 1
    assert "test accuracy" in text
    (folder,) = Path("runs").iterdir()
    for name in ("checkpoint.safetensors", "record.json", "learning-curve.png"):
        assert str(folder / name) in text
        assert (folder / name).stat().st_size > 0


def test_the_learning_curve_is_a_picture():
    train("--plot", "curve.png", "--patience", "2")
    with Image.open("curve.png") as picture:
        assert picture.format == "PNG"
        assert picture.size[0] > 600


@pytest.mark.parametrize("curve", [[], ["--plot", "curve.svg"]], ids=["default", "named"])
def test_pictures_of_the_network_lie_beside_the_learning_curve(curve):
    text = train("--plots", *curve).stdout
    folder = Path() if curve else next(Path("runs").iterdir())
    for name in ("confusion-matrix", "worst-mistakes", "first-layer-weights"):
        path = folder / (f"curve-{name}.svg" if curve else f"{name}.png")
        assert str(path) in text
        assert path.stat().st_size > 5000
    if not curve:
        with Image.open(folder / "worst-mistakes.png") as picture:
            assert picture.format == "PNG"


def test_a_picture_of_another_kind_is_refused_before_training():
    result = call("train", *FAST, "--plot", "curve.jpeg")
    assert result.exit_code == 1
    assert "--plot must end in .png or .svg, got 'curve.jpeg'" in result.stderr
    assert "epoch" not in result.stdout


SICK = ["--activation", "sigmoid", "--hidden", "32,32,32,32,32,32,32", "--no-batch-norm"]


def test_hints_are_given_once_and_only_where_something_is_wrong():
    assert train(*SICK).stdout.count("hint: gradients vanish") == 1
    assert "hint:" not in train(*SICK, "--no-hints").stdout
    assert "hint:" not in train(*SICK, "--quiet").stdout
    assert "hint:" not in train().stdout


def test_hints_come_after_the_first_epoch_too(monkeypatch):
    from minidl.cli import hints

    looks = []

    def found(model, batch, loss, optimizer):
        looks.append(len(batch[0]))
        return [finding] if len(looks) == 2 else []

    finding = minidl.training.Finding("dead-relu", "1", "all [units] are dead: do something")
    monkeypatch.setattr(hints, "diagnose", found)
    lines = train().stdout.splitlines()
    assert looks == [256, 256]
    place = lines.index("hint: all [units] are dead: do something")
    assert lines[place - 1].split()[0] == "1"
    assert lines[place + 1].split()[0] == "2"


def test_hints_do_not_change_what_a_run_computes():
    for options in ([], ["--batch-norm", "--dropout", "0.5", "--seed", "3"]):
        records = []
        for hints in ("--hints", "--no-hints"):
            train("--record", "record.json", hints, *options)
            records.append(json.loads(Path("record.json").read_text()))
        assert records[0]["fingerprint"] == records[1]["fingerprint"]
        assert records[0]["test_loss"] == records[1]["test_loss"]


def test_quiet_prints_one_line():
    result = train("--quiet")
    assert result.stdout.count("\n") == 1
    assert result.stdout.startswith("test accuracy ")
    assert result.stderr == ""


def test_the_record_holds_the_run():
    record = record_of("--seed", "7")
    assert record["dataset"] == "digits"
    assert record["seed"] == 7
    assert record["device"] == "cpu"
    assert record["instruction_set"] == _cpu.isa()
    assert record["threads"] == minidl.get_num_threads()
    assert record["version"] == minidl.__version__
    assert record["config"]["hidden"] == [32]
    assert [figures["epoch"] for figures in record["epochs"]] == [1, 2]
    assert 0.5 < record["test_accuracy"] <= 1
    assert record["seconds"] > 0
    assert len(record["fingerprint"]) == 16


def test_the_record_can_go_to_standard_output():
    result = train("--record", "-", "--quiet")
    assert json.loads(result.stdout[: result.stdout.rindex("}") + 1])["dataset"] == "digits"


def test_equal_runs_have_equal_fingerprints():
    first = record_of()
    assert record_of("--threads", "1")["fingerprint"] == first["fingerprint"]
    assert record_of("--seed", "1")["fingerprint"] != first["fingerprint"]


def test_matmul_precision_is_kept_in_the_run_and_decides_what_it_computes():
    large = ("--hidden", "64", "--batch-size", "64")  # enough for factors in two pieces
    exact = record_of(*large)
    for name, pieces in (("medium", 1), ("high", 2)):
        record = record_of(*large, "--matmul-precision", name)
        assert record["config"]["matmul_precision"] == name
        is_rounded = _cpu.fastest_bfloat16(pieces) != "none" and _cpu.isa() == "avx512"
        assert (record["fingerprint"] != exact["fingerprint"]) == is_rounded
    assert record_of(*large)["fingerprint"] == exact["fingerprint"]
    assert "must be one of highest, high, medium" in call("train", "--matmul-precision", "low").stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--hidden", "none"],
        ["--no-batch-norm", "--dropout", "0"],
        ["--matmul-precision", "medium"],
        ["--schedule", "cosine", "--optimizer", "sgd"],
        ["--schedule", "linear", "--weight-decay", "0"],
        ["--schedule", "constant", "--val-fraction", "0.2"],
        *(["--activation", name] for name in config.ACTIVATIONS),
        *(["--init", name] for name in config.INITS),
        *(["--optimizer", name] for name in config.OPTIMIZERS),
    ],
    ids=" ".join,
)
def test_every_choice_learns_without_hints(options):
    result = train("--record", "record.json", *options)
    assert json.loads(Path("record.json").read_text())["test_accuracy"] > 0.5
    assert "hint:" not in result.stdout


def test_early_stopping_ends_the_run():
    record = record_of("--epochs", "60", "--patience", "1", "--lr", "0.05", "--schedule", "constant")
    assert len(record["epochs"]) < 60
    assert record["config"]["val_fraction"] == 0.1


def test_digits_are_learnt_well():
    result = call("train", "--dataset", "digits", "--record", "r.json", "-q")
    assert result.exit_code == 0
    assert json.loads(Path("r.json").read_text())["test_accuracy"] > 0.96


def test_mnist_is_learnt():
    options = ["--dataset", "mnist", "--data-dir", mnist_folder(), "--epochs", "1", "--record", "r.json", "-q"]
    assert call("train", *options).exit_code == 0
    record = json.loads(Path("r.json").read_text())
    assert record["dataset"] == "mnist"
    assert record["test_accuracy"] > 0.96


# ---- options that do not fit


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset", "cifar"], "must be one of mnist, fashion-mnist, digits, got 'cifar'"),
        (["--activation", "swish"], "must be one of relu, leaky-relu"),
        (["--optimizer", "lion"], "must be one of sgd, adam, adamw"),
        (["--schedule", "warm"], "must be one of one-cycle, cosine, linear, constant"),
        (["--init", "he"], "must be one of default, xavier-uniform"),
        (["--hidden", "256,x"], "--hidden must be widths such as 256,128"),
        (["--hidden", "0,3"], "--hidden must be widths of at least 1"),
        (["--dropout", "1"], "--dropout must be at least 0 and below 1, got 1.0"),
        (["--lr", "0"], "--lr must be above 0"),
        (["--lr", "nan"], "--lr must be above 0"),
        (["--weight-decay", "-1"], "--weight-decay must be at least 0"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--batch-size", "1"], "--batch-size must be at least 2 with batch norm"),
        (["--batch-size", "5000"], "--batch-size must be at most the 1438 training images"),
        (["--val-fraction", "1"], "--val-fraction must be at least 0 and below 1"),
        (["--patience", "0"], "--patience must be at least 1"),
        (["--patience", "2", "--val-fraction", "0"], "--patience needs a --val-fraction above 0"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--threads", "0"], "--threads"),
        (["--device", "tpu"], "cpu"),
        (["--data-dir", "nowhere"], "must be an existing folder, got 'nowhere'"),
        (["--resume", "nowhere"], "must be an existing file, got 'nowhere'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_are_checked_before_anything_starts(options, message):
    result = call("train", "--dataset", "digits", *options)
    assert result.exit_code in (1, 2)
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "epoch" not in result.stdout
    assert "Traceback" not in result.output


def test_paths_that_cannot_be_written_are_refused_before_training():
    Path("file").touch()
    Path("folder").mkdir()
    for option in ("--checkpoint", "--record", "--plot"):
        for path, message in (("file/x", "cannot write file/x"), ("folder", "it is a folder")):
            result = call("train", *FAST, option, path)
            assert result.exit_code == 1
            assert message in result.stderr
            assert "epoch" not in result.stdout


def test_a_picture_without_matplotlib_is_refused_or_explained(monkeypatch):
    from minidl.cli import session, train as training_run

    monkeypatch.setattr(session, "can_plot", lambda: False)
    monkeypatch.setattr(training_run, "can_plot", lambda: False)
    result = call("train", *FAST, "--plot", "curve.png")
    assert result.exit_code == 1
    assert "pip install matplotlib" in result.stderr
    assert "pip install matplotlib gives the picture" in train().stdout
    assert imports.can_plot()


def test_tensorboard_is_checked_before_training_and_told_how_to_look_at(monkeypatch):
    whole = ["tensorboard", *(name for name in sys.modules if name.startswith("tensorboard."))]
    for absent in (whole, ["tensorboard.summary.writer.event_file_writer"]):
        with monkeypatch.context() as patch:
            for name in absent:
                patch.setitem(sys.modules, name, None)
            result = call("train", *FAST, "--tensorboard", "board")
        assert result.exit_code == 1
        assert "pip install tensorboard" in result.stderr
        assert "epoch" not in result.stdout
    if importlib.util.find_spec("tensorboard") is None:
        missing("tensorboard", "tensorboard is not installed")
    Path("file").touch()
    result = call("train", *FAST, "--tensorboard", "file")
    assert result.exit_code == 1
    assert "cannot write into file: it is a file; name a folder" in result.stderr
    assert "tensorboard --logdir board" in train("--tensorboard", "board").stdout
    assert len(list(Path("board").iterdir())) == 1


def test_without_mnist_the_default_falls_back_loudly_and_a_name_fails(monkeypatch):
    monkeypatch.delenv("MINIDL_DATA_DIR", raising=False)
    monkeypatch.setattr(image_sets, "cache_folder", lambda name: Path("cache") / name)
    source = image_sets.SOURCES["mnist"]
    unreachable = image_sets.Source(
        source.title, ("http://127.0.0.1:1/",), source.files, source.classes, source.mean, source.std
    )
    monkeypatch.setitem(image_sets.SOURCES, "mnist", unreachable)
    result = call("train", "--epochs", "1", "-q")
    assert result.exit_code == 0
    assert "MNIST cannot be had" in result.stderr
    assert "--data-dir" in result.stderr
    assert "digits" in result.stderr
    result = call("train", "--epochs", "1", "-q", "--dataset", "mnist")
    assert result.exit_code == 1
    assert "error: MNIST is not in" in result.stderr


def test_a_bad_loss_is_one_clear_line():
    result = call("train", *FAST, "--optimizer", "sgd", "--lr", "1e30", "--no-batch-norm", "--schedule", "constant")
    assert result.exit_code == 1
    assert "at epoch 1, step" in result.stderr
    assert "went bad first" in result.stderr
    assert "Traceback" not in result.output


# ---- going on


def interrupted(*arguments: str) -> str:
    """Trains in a process of its own, presses Ctrl-C in its third epoch or later, returns what it said."""
    script = "from minidl.cli import main; main()"
    command = [sys.executable, "-c", script, "train", *FAST, "--epochs", "400", "--checkpoint", "c.safetensors"]
    environment = {**os.environ, "PYTHONPATH": str(Path(minidl.__file__).parents[1])}
    pipe = subprocess.PIPE
    process = subprocess.Popen([*command, *arguments], stdout=pipe, stderr=pipe, text=True, env=environment)
    deadline = time.monotonic() + 60
    while not Path("c.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    return stderr


def test_ctrl_c_saves_and_says_how_to_go_on():
    text = interrupted()
    assert "minidl train --resume c.safetensors" in text
    assert "Traceback" not in text
    progress = minidl.load("c.safetensors")["progress"]
    assert 1 <= progress["epoch"] < 400


def test_a_resumed_run_equals_the_unbroken_one(monkeypatch):
    from minidl.training import loop

    whole = record_of()
    notify, interrupts = loop.Training._notify, iter([signal.SIGINT])

    def notify_and_interrupt(self, event, *arguments):
        notify(self, event, *arguments)
        if event == "on_batch_end" and self.epoch == 1 and self.step >= 3:
            for interrupt in interrupts:
                os.kill(os.getpid(), interrupt)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Training, "_notify", notify_and_interrupt)
        result = call("train", *FAST, "--checkpoint", "c.safetensors")
        assert result.exit_code == 130
    result = call("train", "--resume", "c.safetensors", "--record", "resumed.json", "-q")
    assert result.exit_code == 0, result.output
    resumed = json.loads(Path("resumed.json").read_text())
    assert resumed["fingerprint"] == whole["fingerprint"]
    assert resumed["test_accuracy"] == whole["test_accuracy"]
    assert resumed["config"] == whole["config"]


def test_resume_takes_its_options_from_the_checkpoint():
    train("--checkpoint", "c.safetensors", "-q")
    result = call("train", "--resume", "c.safetensors", "--lr", "0.1", "--hidden", "8")
    assert result.exit_code == 1
    assert "leave out --lr, --hidden" in result.stderr
    Path("broken").write_bytes(b"something else")
    result = call("train", "--resume", "broken")
    assert result.exit_code == 1
    assert "broken must be a safetensors file" in result.stderr


# ---- predict


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("trained") / "checkpoint.safetensors"
    train("--checkpoint", path, "-q", "--epochs", "8")
    return path


def test_predict_shows_test_images_with_their_labels(checkpoint):
    result = call("predict", checkpoint, "0", "5")
    assert result.exit_code == 0, result.output
    label = load_images("digits").test_labels[0]
    assert f"test image 0 of digits: {label}" in result.stdout
    assert result.stdout.count("right") + result.stdout.count("wrong: it is") == 2
    assert "█" in result.stdout


def test_predict_reads_pictures_light_on_dark_and_dark_on_light(checkpoint):
    digit = load_images("digits").test_images[3]
    label = load_images("digits").test_labels[3]
    light = (digit / 16 * 255).astype(np.uint8)
    Image.fromarray(light).save("light.png")
    Image.fromarray(255 - light).convert("RGB").resize((64, 64), Image.Resampling.BOX).save("dark.png")
    result = call("predict", checkpoint, "light.png", "dark.png")
    assert result.exit_code == 0, result.output
    assert f"light.png: {label} with" in result.stdout
    assert "dark.png (converted to grey, inverted, as it was dark on light, resized to 8 x 8)" in result.stdout


def test_digits_in_pictures_are_centred_as_those_of_mnist():
    picture = np.full((100, 200), 255, np.uint8)
    picture[20:60, 30:40] = 0
    Image.fromarray(picture).save("one.png")
    image, done = read_image(Path("one.png"), (28, 28), centre_ink=True)
    assert done == ["inverted, as it was dark on light", "cropped, scaled and centred as MNIST's digits are"]
    rows, columns = np.nonzero(image > 128)
    assert (rows.min(), rows.max()) == (4, 23)
    assert columns.max() - columns.min() == 4
    assert abs(columns.mean() - 13.5) <= 0.5


@pytest.mark.parametrize(
    ("source", "message"),
    [("nothing.png", "there is none"), ("text", "its content is something else"), ("359", r"must be in [0, 359)")],
)
def test_predict_says_what_is_wrong_with_a_source(checkpoint, source, message):
    Path("text").write_text("no picture")
    result = call("predict", checkpoint, source)
    assert result.exit_code == 1
    assert message in result.stderr


# ---- info, selftest


def test_info_names_what_there_is():
    text = call("info").stdout
    for part in (
        minidl.__version__,
        f"active: {_cpu.isa()}",
        "bfloat16 products",
        "threads",
        "devices",
        "CUDA",
        "matplotlib",
        "digits",
    ):
        assert part in text


def test_selftest_passes_here_and_fails_on_a_wrong_kernel(monkeypatch):
    result = call("selftest")
    assert result.exit_code == 0, result.output
    assert f"{len(_cpu.kernel_names)} kernels, all" in result.stdout
    monkeypatch.setattr(_cpu, "relu_forward", lambda x, out: out.fill(1))
    result = call("selftest")
    assert result.exit_code == 1
    assert "relu_forward" in result.stdout
    assert "failed" in result.stdout
    assert "relu_forward" in selftest.CHECKS


def test_without_a_command_there_is_help():
    text = call("--help").stdout
    for command in ("train", "predict", "info", "selftest"):
        assert command in text
