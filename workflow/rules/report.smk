rule tables:
    input:
        metrics=of_splits("metrics.json"),
        external=study_files.files_of_external(STUDY, "metrics.json"),
        matches=of_splits("matches.npz"),
        box_matches=of_splits("box_matches.npz"),
        records=of_runs("run.json"),
        modules=modules("mssts/report/**/*.py", "mssts/study/*.py"),
        published=modules("reports/published/*"),
    output:
        of_report("tables", "Tables", "../report/table.rst"),
    log:
        f"logs/{STUDY.name}_tables.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        reads=literal(canonical(BASELINE, ("evaluation",))),
        content=literal(REPORT_CONTENT),
    shell:
        "python -m mssts tables --study $MSSTS_STUDY 2> >(tee {log:q} >&2)"


# Reads the predictions of two runs, and frames of five videos.
rule figures:
    input:
        logs=of_runs("log.jsonl"),
        predictions=of_splits("predictions.json"),
        tables=rules.tables.output,
        modules=modules("mssts/report/**/*.py", "mssts/study/*.py", "reports/templates/*.mplstyle"),
    output:
        of_report("figures", "Figures", "../report/figure.rst"),
    log:
        f"logs/{STUDY.name}_figures.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        reads=literal(canonical(BASELINE, ("evaluation",))),
        content=literal(REPORT_CONTENT),
    shell:
        "python -m mssts figures --study $MSSTS_STUDY 2> >(tee {log:q} >&2)"


ATTENTION = inference(SPEC.datasets[0], SPEC.backbones[0])
KILLED = (
    f"the job was killed or failed, perhaps for lack of memory ({ATTENTION.mem_mb} MB were asked for) or time. "
    "Draw it again with --forcerun attention."
)


# The report needs no maps: when the job is killed, the second attempt only writes that they were not drawn, and why.
rule attention:
    input:
        checkpoints=of_runs("checkpoint.pt"),
        predictions=of_splits("predictions.json"),
        matches=of_splits("matches.npz"),
        modules=modules(
            "mssts/report/**/*.py",
            "mssts/study/*.py",
            "mssts/inference/attention*.py",
            "mssts/data/synthvis/covers.py",
            "reports/templates/*.mplstyle",
        ),
    output:
        of_report("attention", "Attention maps", "../report/attention.rst"),
    log:
        f"logs/{STUDY.name}_attention.log",
    retries: 1
    conda:
        CONDA
    threads: ATTENTION.threads
    resources:
        gpu=ATTENTION.gpu,
        mem_mb=ATTENTION.mem_mb,
        runtime=ATTENTION.runtime,
        tries=lambda wildcards, attempt: attempt,
    params:
        reads=literal(canonical(BASELINE, ("evaluation", "predict", "runtime"))),
        content=literal(REPORT_CONTENT),
        killed=literal(KILLED),
    shell:
        "[ {resources.tries:q} = 1 ] || set -- --not-drawn {params.killed:q}; "
        'python -m mssts attention --study $MSSTS_STUDY "$@" 2> >(tee {log:q} >&2)'


# Of the models as configured: it waits for no training.
rule complexity:
    output:
        of_report("complexity", "Tables", "../report/complexity.rst"),
    log:
        f"logs/{STUDY.name}_complexity.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=1500,
        runtime=30,
    params:
        reads=literal(study_files.complexity_content(STUDY)),
    shell:
        "python -m mssts complexity --study $MSSTS_STUDY 2> >(tee {log:q} >&2)"


rule document:
    input:
        tables=rules.tables.output,
        complexity=rules.complexity.output,
        figures=rules.figures.output,
        attention=rules.attention.output,
        modules=modules("mssts/report/**/*.py", "mssts/study/*.py", "reports/templates/**/*"),
        server_scores=modules("server_scores.yaml"),
    output:
        report(paths.TABLE_PDF, caption="../report/pdf.rst", category="Report", labels={"file": "PDF"}),
    log:
        f"logs/{STUDY.name}_document.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=800,
        runtime=30,
    params:
        content=literal(REPORT_CONTENT),
    shell:
        "python -m mssts document --study $MSSTS_STUDY --output {output:q} 2> >(tee {log:q} >&2)"


# Reads the predictions of one seed of every variant, and frames of the videos that have a page.
rule html:
    input:
        tables=rules.tables.output,
        complexity=rules.complexity.output,
        figures=rules.figures.output,
        attention=rules.attention.output,
        predictions=of_splits("predictions.json"),
        modules=modules(
            "mssts/report/**/*.py",
            "mssts/report/html/*.css",
            "mssts/report/html/*.js",
            "mssts/report/html/*/*.html",
            "mssts/study/*.py",
        ),
        server_scores=modules("server_scores.yaml"),
    output:
        report(
            directory(REPORT / paths.HTML),
            htmlindex="index.html",
            caption="../report/html.rst",
            category="Report",
            labels={"file": "pages"},
        ),
    log:
        f"logs/{STUDY.name}_html.log",
    conda:
        CONDA
    threads: THREADS
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        reads=literal(canonical(BASELINE, ("evaluation",))),
        content=literal(REPORT_CONTENT),
    shell:
        "python -m mssts html --study $MSSTS_STUDY 2> >(tee {log:q} >&2)"
