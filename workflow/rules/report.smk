rule tables:
    input:
        metrics=of_splits("metrics.json"),
        foreign=of_foreign("metrics.json"),
        matches=of_splits("matches.npz"),
        records=of_runs("run.json"),
        modules=modules("mssts/report/*.py", "mssts/study/*.py"),
        published=modules("reports/published/*"),
    output:
        [
            REPORT / f"{name}.{kind}"
            for name, kinds in {
                "table": ("csv", "md", "tex"),
                "ablation": ("csv", "md", "tex"),
                "attributes": ("csv", "md"),
                "errors": ("csv", "md"),
                "evaluation": ("csv",),
                "provenance": ("csv",),
                "published": ("csv",),
                "cost": ("csv",),
            }.items()
            for kind in kinds
        ],
    log:
        f"logs/{STUDY_NAME}_tables.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        reads=configuration.canonical(BASELINE, ("evaluation",)),
        content=report_content(),
    shell:
        "python -m mssts table --study $MSSTS_STUDY 2> >(tee {log} >&2)"


rule curves:
    input:
        logs=of_runs("log.jsonl"),
        tables=rules.tables.output,
        modules=modules("mssts/report/*.py", "mssts/study/*.py"),
    output:
        directory(REPORT / "figures"),
    log:
        f"logs/{STUDY_NAME}_curves.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        reads=configuration.canonical(BASELINE, ("evaluation",)),
        content=report_content(),
    shell:
        "python -m mssts figures --study $MSSTS_STUDY 2> >(tee {log} >&2)"


rule attention:
    input:
        checkpoints=of_runs("checkpoint.pt"),
        predictions=of_splits("predictions.json"),
        matches=of_splits("matches.npz"),
        modules=modules("mssts/report/*.py", "mssts/study/*.py"),
    output:
        directory(REPORT / "attention"),
    log:
        f"logs/{STUDY_NAME}_attention.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=60,
    params:
        reads=configuration.canonical(BASELINE, ("predict", "runtime")),
        content=report_content(),
    shell:
        "python -m mssts attention --study $MSSTS_STUDY 2> >(tee {log} >&2)"


# Of the models as configured: it waits for no training.
rule complexity:
    output:
        REPORT / "complexity.csv",
    log:
        f"logs/{STUDY_NAME}_complexity.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        reads=complexity_content(),
    shell:
        "python -m mssts complexity --study $MSSTS_STUDY 2> >(tee {log} >&2)"


rule document:
    input:
        tables=rules.tables.output,
        complexity=rules.complexity.output,
        figures=rules.curves.output,
        attention=rules.attention.output,
        modules=modules("mssts/report/*.py", "mssts/study/*.py", "reports/templates/**/*"),
        server_scores=modules("server_scores.yaml"),
    output:
        paths.TABLE_PDF,
    log:
        f"logs/{STUDY_NAME}_document.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=30,
    params:
        content=report_content(),
    shell:
        "python -m mssts document --study $MSSTS_STUDY --output {output} 2> >(tee {log} >&2)"
