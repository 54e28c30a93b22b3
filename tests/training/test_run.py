"""Real training of the smoke scale on generated data: what it writes, what it repeats, what it refuses."""

import json
from dataclasses import replace

import pytest
import torch

from mssts.config import ABLATIONS, RECORDED, canonical, resolve, resolve_variants
from mssts.core.checkpoint import load_checkpoint, save_checkpoint
from mssts.core.errors import InputError
from mssts.core.files import read_json, sha256_file
from mssts.data.training import training_clips
from mssts.inference.predict import load_run_model, predict
from mssts.losses import Criterion, ForegroundBackgroundAdversary
from mssts.models import build_model
from mssts.study.attention_measure import load_model
from mssts.study.matrix import Run
from mssts.study.runs import Result
from mssts.training import run as stage
from mssts.training.optimizer import build_optimizer
from tests.training.conftest import pretraining, training

RUN_FILES = ("checkpoint.pt", "run.json", "log.jsonl")
ZERO_OUTPUTS = ("widen.weight", "temporal.output_projection.weight")
VARIANTS = sorted(path.stem for path in (ABLATIONS / "variants").glob("*.yaml"))


def train(data, pretrained, output, variant="ms_sts_temporal_fgbg", seed=1):
    stage.train(training(variant, seed), data, output, pretrained)
    return output


def test_the_same_run_gives_the_same_bytes_and_another_seed_does_not(data, pretrained, tmp_path):
    first = train(data, pretrained, tmp_path / "first")
    torch.rand(7)  # whatever was drawn before must not matter
    second = train(data, pretrained, tmp_path / "second")
    other = train(data, pretrained, tmp_path / "other", seed=2)
    for name in RUN_FILES:
        assert sha256_file(first / name) == sha256_file(second / name), name
    assert sha256_file(first / "checkpoint.pt") != sha256_file(other / "checkpoint.pt")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_stage_computes_on_the_cpu_in_place_of_a_missing_gpu(data, tmp_path):
    run = pretraining()
    runtime = run.config.runtime.model_copy(update={"device": "cuda"})
    config = run.config.model_copy(update={"runtime": runtime})
    planned = Run("synthvis", "tiny", "baseline", 1, tmp_path)
    for computes in (
        lambda: stage.train(replace(run, config=config), data, tmp_path / "run"),
        lambda: predict(config, tmp_path / "checkpoint.pt", data, "synthvis", "valid", tmp_path / "predictions.json"),
        lambda: load_model(Result("valid", None, planned), config),
    ):
        with pytest.raises(InputError, match=r"found cuda, but there is no GPU here .* set runtime.device: cpu"):
            computes()
    assert not list(tmp_path.iterdir())


def test_a_run_says_where_it_comes_from(data, pretrained, tmp_path):
    output = train(data, pretrained, tmp_path, seed=4)
    record = read_json(output / "run.json")
    assert (record["variant"], record["seed"], record["pretrain_seed"]) == ("ms_sts_temporal_fgbg", 4, 2)
    assert record["initial_checkpoint_sha256"] == sha256_file(pretrained)
    assert record["checkpoint_sha256"] == sha256_file(output / "checkpoint.pt")
    assert record["data_fingerprint"] == read_json(data / "fingerprint.json")["fingerprint"]
    assert not [key for key in record if "time" in key or "path" in key]


def test_epochs_become_steps_once_the_clips_are_counted(data, tmp_path):
    run = pretraining()
    section = run.config.pretrain.model_copy(update={"steps": None, "epochs": 3, "batch_clips": 7})
    run = replace(run, config=run.config.model_copy(update={"pretrain": section}))
    stage.train(run, data, tmp_path)
    record = read_json(tmp_path / "run.json")
    assert (record["clips"], record["steps"]) == (16, 7)  # 3 x 16 / 7 steps, rounded up
    assert record["epochs"] == round(7 * 7 / 16, 4)
    assert json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["step"] == 6  # logged every two steps


def test_the_log_holds_every_term_at_every_interval(data, pretrained, tmp_path):
    output = train(data, pretrained, tmp_path)
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    settings = resolve("smoke").train
    assert [line["step"] for line in lines] == list(range(settings.log_every, settings.steps + 1, settings.log_every))
    terms = {"class", "l1", "giou", "mask", "dice", "adversary", "discriminator"}
    assert all({f"loss_{term}" for term in terms} < line.keys() for line in lines)


def test_a_loss_that_never_acted_is_reported_and_trains_the_model_without_it(data, pretrained, tmp_path, capsys):
    run = training("fgbg")
    unreachable = run.config.loss.foreground_background.model_copy(update={"min_score": 1.0})
    loss = run.config.loss.model_copy(update={"foreground_background": unreachable})
    changed = replace(run, config=run.config.model_copy(update={"loss": loss}))
    weights = {}
    for name, one, reported in (
        ("acts", run, False),
        ("never", changed, True),
        ("without", training("baseline"), False),
    ):
        stage.train(one, data, tmp_path / name, pretrained)
        assert ("foreground-background loss never acted" in capsys.readouterr().err) == reported
        weights[name] = load_checkpoint(tmp_path / name / "checkpoint.pt")["model"]
    assert all(torch.equal(weights["never"][name], value) for name, value in weights["without"].items())
    assert not all(torch.equal(weights["acts"][name], value) for name, value in weights["without"].items())


def test_a_run_is_read_back_with_its_own_config(data, pretrained, tmp_path):
    output = train(data, pretrained, tmp_path)
    model, config, categories = load_run_model(output / "checkpoint.pt")
    assert canonical(config, RECORDED) == canonical(resolve("smoke", "ms_sts_temporal_fgbg"), RECORDED)
    assert [number for number, _ in categories] == list(range(1, len(categories) + 1))
    assert not model.training


def test_weights_that_do_not_fit_are_named(data, pretrained, tmp_path):
    content = load_checkpoint(pretrained)
    content["model"]["decoder.of_another_house"] = torch.zeros(1)
    save_checkpoint(tmp_path / "foreign.pt", content)
    with pytest.raises(InputError, match=r"foreign\.pt: weights do not fit: 1 not in this model.*of_another_house"):
        train(data, tmp_path / "foreign.pt", tmp_path / "run")


@pytest.mark.parametrize("variant", [name for name in VARIANTS if resolve_variants("smoke", [name])[0][name].changes])
def test_one_optimiser_step_sets_a_variant_apart_from_the_baseline(variant, data):
    """After one step from the same weights on the same batch, shared or added weights differ from the baseline's."""
    batch = next(iter(stage.ClipLoader(clips(data), 2, 1, seed=0, pad_multiple=32)))
    start = build_model(resolve("smoke").model, "tiny", 5, torch.Generator().manual_seed(0)).state_dict()
    after = {name: one_step(resolve("smoke", name), start, batch) for name in ("baseline", variant)}
    shared = [key for key in start if not torch.equal(after["baseline"][key], after[variant][key])]
    outputs = [key for key in after[variant].keys() - start.keys() if key.endswith(ZERO_OUTPUTS)]
    assert shared or any(after[variant][key].abs().sum() > 0 for key in outputs)


def clips(data):
    return training_clips("synthvis", data, resolve("smoke"))


def one_step(config, start, batch):
    """Weights after one step from `start`; zero-initialised outputs are still zero before it."""
    model = build_model(config.model, "tiny", 5, torch.Generator().manual_seed(0)).train()
    model.load_state_dict(start, strict=False)
    optimizer = build_optimizer(model, config.train)
    criterion = Criterion(config.loss)
    output = model(batch.frames_BT3HW, batch.padding_mask_BTHW)
    terms, matches = criterion(output, batch, sum(len(clip.labels_N) for clip in batch.instances))
    loss = criterion.total(terms)
    if config.loss.foreground_background.enabled:
        adversary = ForegroundBackgroundAdversary(
            config.loss.foreground_background, config.model.hidden_dim, torch.Generator().manual_seed(0)
        )
        loss = loss + adversary.generator_loss(batch, output, matches)
    loss.backward()
    optimizer.step()
    return model.state_dict()
