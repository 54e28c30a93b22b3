"""What a training asks of a machine."""

from __future__ import annotations

import json

import pytest

from mssts.config import digest, resolve
from mssts.data.datasets import entry
from mssts.study.resources import ON_NODES, of_inference, of_training, on_nodes
from mssts.study.workflow import longest_video


def configured(**execution):
    config = resolve("paper-2019")
    return config.model_copy(update={"execution": config.execution.model_copy(update=execution)})


def test_a_process_has_a_cpu_for_itself_and_one_for_each_worker():
    few, many = configured(devices=2, workers=0), configured(devices=2, workers=7)
    assert of_training(few, "resnet50")[:2] == (2, 2)
    assert of_training(many, "resnet50")[:2] == (2, 16)
    assert of_training(many, "resnet50").mem_mb > of_training(few, "resnet50").mem_mb
    assert digest(few) == digest(many)


def test_without_a_gpu_a_process_has_the_threads_that_it_computes_with():
    config = configured(devices=2, workers=1)
    config = config.model_copy(update={"runtime": config.runtime.model_copy(update={"device": "cpu", "threads": 3})})
    assert of_training(config, "resnet50")[:2] == (0, 8)
    assert of_inference(config, "resnet50", 0)[:2] == (0, 3)


def test_inference_on_a_cpu_asks_for_the_memory_of_the_longest_video():
    config = resolve("paper-2019")
    on_cpu = config.model_copy(update={"runtime": config.runtime.model_copy(update={"device": "cpu"})})
    short, long = (of_inference(on_cpu, "resnet50", frames).mem_mb for frames in (0, 84))
    assert long - short == pytest.approx(800 * 84 * 360 * 640 / 1e6, abs=1)
    assert of_inference(config, "resnet50", 0) == of_inference(config, "resnet50", 84)  # a GPU holds the activations


def test_the_longest_video_is_that_of_all_annotation_files(tmp_path):
    for split, lengths in (("train", (4, 36)), ("valid", (20,))):
        path = entry("ytvis2019").paths(tmp_path, split)[0]
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"videos": [{"id": 1, "length": length} for length in lengths]}))
    assert longest_video(tmp_path, "ytvis2019") == 36
    assert longest_video(tmp_path / "nothing", "ytvis2019") == longest_video(tmp_path, "synthvis") == 0


def test_a_backbone_s_own_execution_decides(tmp_path):
    config = resolve("paper-2019")
    sections = {"swin_l": config.execution.model_validate({"devices": 4, "workers": 2})}
    config = configured(backbones=sections)
    assert of_training(config.on("swin_l"), "swin_l")[:2] == (4, 12)
    assert of_training(config.on("resnet50"), "resnet50")[:2] == (8, 40)


def test_on_several_nodes_each_node_has_the_gpus_and_each_process_its_share_of_the_cpus():
    config = configured(devices=4, nodes=2, workers=3)
    expected = {"nodes": 2, "mpi": "srun", "tasks_per_node": 4, "cpus_per_task": 4, "gres": "gpu:4", "tasks_per_gpu": 0}
    assert on_nodes(config) == expected and set(expected) < set(ON_NODES)
    assert of_training(config, "resnet50")[:2] == (0, 16)
    assert on_nodes(configured(devices=4)) == {"nodes": 1}
