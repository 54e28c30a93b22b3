# Modules are not inputs here: a comment must not cost days of training. The commit of each run is recorded instead.
rule pretrain:
    input:
        data=data_state,
    output:
        checkpoint=PRETRAIN_DIR / "checkpoint.pt",
        records=[PRETRAIN_DIR / name for name in ("run.json", "log.jsonl", "cost.json")],
    log:
        f"{LOGS}/pretrain_seed{{seed}}.log",
    priority: 100
    conda:
        CONDA
    threads: of_training("threads")
    resources:
        **{name: on_nodes(name) for name in resources.ON_NODES},
        gpu=of_training("gpu"),
        mem_mb=of_training("mem_mb"),
        runtime=of_training("runtime"),
    params:
        data=subpath(input.data, parent=True),
        run=subpath(output.checkpoint, parent=True),
        reads=reads_stage(PRETRAIN),
    shell:
        "python -m mssts pretrain --study $MSSTS_STUDY --dataset {wildcards.dataset:q} "
        "--backbone {wildcards.backbone:q} --seed {wildcards.seed:q} --data {params.data:q} "
        "--output {params.run:q} 2> >(tee {log:q} >&2)"


rule train:
    input:
        data=data_state,
        coco=coco_state,
        init=initial_checkpoint,
    output:
        checkpoint=RUN_DIR / "checkpoint.pt",
        records=[RUN_DIR / name for name in ("run.json", "log.jsonl", "cost.json")],
    log:
        f"{LOGS}/{{variant}}_seed{{seed}}.log",
    wildcard_constraints:
        variant="(?!pretrain/)[a-z0-9_-]+",
    # The more a variant adds, the longer it trains: start it first.
    priority: lambda wildcards: 50 + len(STUDY.variants[wildcards.variant].changes)
    conda:
        CONDA
    threads: of_training("threads")
    resources:
        **{name: on_nodes(name) for name in resources.ON_NODES},
        gpu=of_training("gpu"),
        mem_mb=of_training("mem_mb"),
        runtime=of_training("runtime"),
    params:
        data=subpath(input.data, parent=True),
        run=subpath(output.checkpoint, parent=True),
        init=lambda wildcards, input: ["--init", *input.init] if input.init else [],
        reads=reads_stage(TRAIN),
    shell:
        "python -m mssts train --study $MSSTS_STUDY --dataset {wildcards.dataset:q} "
        "--backbone {wildcards.backbone:q} --variant {wildcards.variant:q} --seed {wildcards.seed:q} "
        "--data {params.data:q} {params.init:q} --output {params.run:q} 2> >(tee {log:q} >&2)"
