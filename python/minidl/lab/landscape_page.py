"""The page of `minidl lab landscape`: what its numbers say."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.lab.experiment import Result
from minidl.lab.statistics import spread_of
from minidl.lab.words import NO_DIFFERENCE, compare, counted, listed


def page(results: Sequence[Result], setup: str, radii: Sequence[float]) -> list[str]:
    """Setup, how to read the pictures, batch norm, depth, curvature."""
    seeds = len({result.run.seed for result in results})
    depths = sorted({result.run.settings["depth"] for result in results})
    paragraphs = [
        f"Trained: {setup}; {counted(seeds, 'seed')}.",
        "The two directions are random numbers; for every unit they are scaled to the size of its incoming weights, so "
        "that a step of 1 is as large as the weights themselves (Li et al. 2018, filter normalization). Biases and the "
        "scale and shift of batch norm stay, as in the authors' code. Batch norm is in evaluation mode: its running "
        "averages belong to the minimum and do not follow the weights as they move. The middle of every plane is the "
        "trained network itself. A plane of random directions shows little of a space of so many dimensions: what it "
        "shows is there, what it does not show may be there all the same.",
    ]
    diverged = [f"{r.run.variant}, seed {r.run.seed}" for r in results if r.figures["diverged"]]
    if diverged:
        paragraphs.append(f"Diverged, and left out of what follows: {listed(diverged)}.")
    sharpness = f"circle_{radii[-1]:g}"
    pairs = [(depth, *(values(results, depth, flag, sharpness) for flag in (False, True))) for depth in depths]
    compared = [_compared(plain, normed, counted(depth, "layer")) for depth, plain, normed in pairs]
    parts = [part for part in compared if part]
    if parts:
        paragraphs.append(
            f"Batch norm: at the distance {radii[-1]:g} from the minimum (figure.png, cut.png) the mean loss is "
            f"{'; '.join(parts)}."
        )
    if len(depths) > 1:
        paragraphs.append(_depth(results, depths[0], depths[-1], sharpness, radii[-1]))
    paragraphs.append(_curvature(results, depths))
    return paragraphs


def values(results: Sequence[Result], depth: int, is_normed: bool, key: str) -> list[float]:
    """A figure over the seeds of one variant, without those that diverged."""
    wanted = {"depth": depth, "batch_norm": is_normed}
    found = [result.figures[key] for result in results if result.run.settings == wanted]
    return [value for value in found if value is not None]


def _compared(plain: Sequence[float], normed: Sequence[float], name: str) -> str:
    if not plain or not normed:
        return ""
    text = f"{spread_of(normed).text(3)} with and {spread_of(plain).text(3)} without for {name}"
    verdicts = {"higher": "sharper with", "lower": "flatter with", "equal": NO_DIFFERENCE}
    return f"{text} ({verdicts[compare(normed, plain)]})"


def _depth(results: Sequence[Result], shallow: int, deep: int, key: str, radius: float) -> str:
    texts, verdicts = [], []
    for is_normed, name in ((False, "without batch norm"), (True, "with batch norm")):
        few, many = (values(results, depth, is_normed, key) for depth in (shallow, deep))
        if few and many:
            verdict = {"higher": "sharper", "lower": "flatter", "equal": NO_DIFFERENCE}[compare(many, few)]
            verdicts.append(verdict)
            texts.append(f"from {spread_of(few).text(3)} to {spread_of(many).text(3)} {name} ({verdict})")
    if not texts:
        return "Depth: too many runs diverged to compare."
    text = f"Depth: from {shallow} to {deep} layers the mean loss at the distance {radius:g} goes {listed(texts)}."
    if set(verdicts) == {"sharper"}:
        text += (
            " A plausible reason: each layer multiplies what the one below hands on, so relative changes of all layers "
            "add up on the way to the output."
        )
    return text


def _curvature(results: Sequence[Result], depths: Sequence[int]) -> str:
    shares = []
    for depth in depths:
        for is_normed, suffix in ((False, ""), (True, " with batch norm")):
            found = values(results, depth, is_normed, "concave_share")
            if found:
                shares.append(f"{100 * spread_of(found).mean:.0f} % for {counted(depth, 'layer')}{suffix}")
    if not shares:
        return "All runs diverged: there is no curvature to tell of."
    return (
        f"Curvature: the plane bends down in some direction at {listed(shares)} of its points. Where it does, the "
        "loss is not convex (Li et al. 2018, section 6)."
    )
